"""From a torch module to an ONNX graph that says the same, checked against it, and to one of whole numbers a quarter the size.

Source: torch.onnx (the exporter on torch.export) and onnxruntime's dynamic quantisation.
Cost: 1 to 4 seconds a network; the graph is as large as the weights.
"""

from __future__ import annotations

import contextlib
import copy
import io
import logging
import tempfile
import warnings
import weakref
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import Unsupported, WorkbenchError
from ..models._portable import Net

if TYPE_CHECKING:
    import onnx

TOLERANCE = 1e-4  # of torch, relative to the largest output where that is above 1
TRIALS = 4  # inputs of other sizes a graph is tried on
QUANTISED = ("MatMul", "Gemm")  # what onnxruntime multiplies in whole numbers
_graphs_made: weakref.WeakKeyDictionary[Net, bytes] = weakref.WeakKeyDictionary()  # the variants of a bundle share one export
INSTALL = "Install them: pip install onnx onnxscript onnxruntime."


def to_onnx(net: Net, *, quantize: bool = False) -> bytes:
    """The graph of a network: the same network gives the same bytes, without any path or name of this machine.

    The examples of `net` are the largest inputs there will be (at least 2 long on every axis that varies); it is tried on smaller ones.
    Raises WorkbenchError when torch cannot export it or the graph says something else than torch does.
    """
    graph = _graphs_made.get(net)
    if graph is None:
        graph = plain(_exported(net))
        check(graph, net)
        _graphs_made[net] = graph
    return quantised(graph) if quantize else graph


def quantised(graph: bytes) -> bytes:
    """The graph with the weights of its products as int8, one scale an output unit; what comes in is rounded as it comes."""
    onnx, quantization = _need("onnx"), _need("onnxruntime.quantization")
    model = onnx.load_from_string(graph)
    model.graph.ClearField("value_info")  # shapes of what products become are no longer true, and quantising fails on them
    with tempfile.TemporaryDirectory() as folder, _quiet():
        to = Path(folder) / "graph.onnx"
        options = {"per_channel": True, "weight_type": quantization.QuantType.QInt8, "op_types_to_quantize": list(QUANTISED)}
        quantization.quantize_dynamic(model, to, **options)
        small = onnx.load(str(to))
    return plain(small)


def plain(model: onnx.ModelProto) -> bytes:
    """The bytes of a model without notes of where and how it was made."""
    onnx = _need("onnx")
    model.producer_name = model.producer_version = model.doc_string = model.domain = ""
    model.ClearField("metadata_props")
    for graph in _graphs(model):
        for part in (graph, *graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer):
            part.ClearField("doc_string")
            part.ClearField("metadata_props")
    for function in model.functions:
        for part in (function, *function.node):
            part.ClearField("doc_string")
            part.ClearField("metadata_props")
    onnx.checker.check_model(model)
    return model.SerializeToString(deterministic=True)


def check(graph: bytes, net: Net, seed: int = 0) -> float:
    """The largest difference between graph and torch, on the example and on inputs drawn from it of other sizes.

    Raises WorkbenchError where it is above TOLERANCE."""
    import torch

    from ..portable.network import OnnxNetwork

    run, rng, worst = OnnxNetwork(graph), np.random.default_rng(seed), 0.0
    for example in (net.example, *(_resized(net, rng) for _ in range(TRIALS))):
        with torch.inference_mode():
            wanted = net.module.eval()(*example.values())
        wanted = wanted if isinstance(wanted, (tuple, list)) else (wanted,)
        got = run(**{name: value.numpy() for name, value in example.items() if name in run.inputs})
        if not len(net.outputs) == len(wanted) == len(got):
            said = f"{len(net.outputs)} outputs are named, the network has {len(wanted)} and its graph {len(got)}."
            raise WorkbenchError(said, "Name each output of the network.")
        for name, one, other in zip(net.outputs, wanted, got, strict=True):
            one = one.numpy()
            if one.shape != other.shape:
                raise WorkbenchError(
                    f"The exported network gives '{name}' as {other.shape} instead of {one.shape}.", "Report this network."
                )
            if not one.size:
                continue
            error = float(np.abs(one - other).max() / max(1.0, float(np.abs(one).max())))
            if not error <= TOLERANCE:
                said = f"The exported network differs from the trained one by {error:.1g} in '{name}'; at most {TOLERANCE:g} is allowed."
                raise WorkbenchError(said, "Bundle another model, and report this one.")
            worst = max(worst, error)
    return worst


def _exported(net: Net) -> onnx.ModelProto:
    import torch

    _need("onnx")
    _need("onnxscript")
    shapes = tuple(dict.fromkeys(net.dynamic[name], torch.export.Dim.DYNAMIC) if net.dynamic.get(name) else None for name in net.example)
    try:
        with _quiet():
            program = torch.onnx.export(
                copy.deepcopy(net.module).eval(),  # the exporter may leave its marks on a module
                tuple(net.example.values()),
                dynamo=True,
                verbose=False,
                input_names=list(net.example),
                output_names=list(net.outputs),
                dynamic_shapes=shapes,
            )
    except Exception as error:  # whatever the exporter meets: its own errors have no common base
        said = (str(error.__cause__ or error).splitlines() or [""])[0][:200]
        raise WorkbenchError(f"This network cannot be exported ({type(error).__name__}: {said}).", "Bundle another model.") from error
    model = program.model_proto
    for value in model.graph.input:  # axes by the names the model gave them
        for axis, name in net.dynamic.get(value.name, {}).items():
            value.type.tensor_type.shape.dim[axis].dim_param = name
    model.graph.ClearField("value_info")
    return model


def _resized(net: Net, rng: np.random.Generator) -> dict[str, Any]:
    """Inputs like the example, shorter along the axes that vary, of numbers that are in it."""
    sizes: dict[str, int] = {}
    for name, axes in net.dynamic.items():
        for axis, called in axes.items():
            longest = net.example[name].shape[axis]
            sizes[called] = min(sizes.get(called, longest), longest)
    sizes = {called: int(rng.integers(1, longest + 1)) for called, longest in sizes.items()}
    out = {}
    for name, value in net.example.items():
        axes = net.dynamic.get(name, {})
        shape: Sequence[int] = [sizes[axes[axis]] if axis in axes else size for axis, size in enumerate(value.shape)]
        at = rng.integers(0, value.numel(), int(np.prod(shape))) if value.numel() else np.zeros(0, np.int64)
        out[name] = value.reshape(-1)[at].reshape(list(shape))
    return out


def _graphs(model: onnx.ModelProto) -> Iterator[Any]:
    """The graph and those inside its loops and branches."""
    waiting = [model.graph]
    while waiting:
        graph = waiting.pop()
        yield graph
        for node in graph.node:
            waiting += [attribute.g for attribute in node.attribute if attribute.HasField("g")]


def _need(name: str) -> Any:
    import importlib

    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise Unsupported(f"Bundling a network needs onnx, onnxscript and onnxruntime; '{name}' is not installed.", INSTALL) from error


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Exporters print and warn of what is not the caller's doing."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
