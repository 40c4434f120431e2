"""From torch to ONNX: the same numbers at every size, the same bytes each time, nothing of this machine; and whole numbers."""

from __future__ import annotations

import builtins

import numpy as np
import pytest

from recsys_core.errors import Unsupported, WorkbenchError
from recsys_core.models._portable import Net
from recsys_core.portable.network import OnnxNetwork
from recsys_core.serving import onnx_export


@pytest.fixture(scope="module")
def net() -> Net:
    import torch
    from torch import nn

    class Reader(nn.Module):
        """Mean of looked-up rows, beside one more input, through two layers; and a number for each row."""

        def __init__(self) -> None:
            super().__init__()
            self.rows = nn.Embedding(30, 16)
            self.layers = nn.Sequential(nn.Linear(20, 64), nn.GELU(), nn.Linear(64, 12))

        def forward(self, codes, other):
            pooled = self.rows(codes).mean(1)
            out = self.layers(torch.cat([pooled, other], 1))
            return out, out.sum(1)

    torch.manual_seed(0)
    example = {"codes": torch.randint(0, 30, (4, 9)), "other": torch.randn(4, 4)}
    dynamic = {"codes": {0: "batch", 1: "length"}, "other": {0: "batch"}}
    return Net(Reader(), example, ("scores", "total"), dynamic)


@pytest.fixture(scope="module")
def graph(net: Net) -> bytes:
    return onnx_export.to_onnx(net)


def test_the_graph_gives_what_torch_gives_at_sizes_never_shown(net: Net, graph: bytes) -> None:
    import torch

    run = OnnxNetwork(graph)
    assert run.inputs == ["codes", "other"]
    for batch, length in ((1, 1), (1, 40), (6, 3)):
        codes, other = torch.randint(0, 30, (batch, length)), torch.randn(batch, 4)
        with torch.inference_mode():
            wanted = net.module(codes, other)
        for got, one in zip(run(codes=codes.numpy(), other=other.numpy()), wanted, strict=True):
            assert got.shape == one.shape
            np.testing.assert_allclose(got, one.numpy(), atol=1e-5)


def test_the_same_network_gives_the_same_bytes_without_names_of_this_machine(net: Net, graph: bytes) -> None:
    assert onnx_export.to_onnx(Net(net.module, net.example, net.outputs, net.dynamic)) == graph
    for word in (b"/recsys", b".py", b"site-packages", b"pytorch", b"Reader"):
        assert word not in graph, word


def test_int8_is_smaller_and_close(net: Net, graph: bytes) -> None:
    small = onnx_export.quantised(graph)
    assert len(small) < 0.8 * len(graph)
    inputs = {name: value.numpy() for name, value in net.example.items()}
    whole, whole_numbers = OnnxNetwork(graph)(**inputs)[0], OnnxNetwork(small)(**inputs)[0]
    error = np.abs(whole - whole_numbers).max() / whole.std()
    assert 1e-6 < error < 0.05, "rounded, but not by much"


def test_a_graph_that_says_something_else_is_refused(net: Net, graph: bytes) -> None:
    import copy

    import torch

    other = copy.deepcopy(net.module)
    with torch.no_grad():
        other.layers[2].bias[3] += 0.01
    changed = Net(other, net.example, net.outputs, net.dynamic)
    with pytest.raises(WorkbenchError, match="differs from the trained one by 0.01 in 'scores'; at most 0.0001 is allowed"):
        onnx_export.check(graph, changed)


def test_what_cannot_be_exported_is_told_in_a_sentence() -> None:
    import torch
    from torch import nn

    class Branching(nn.Module):
        def forward(self, x):
            return x if float(x.sum()) > 0 else -x

    with pytest.raises(WorkbenchError, match="This network cannot be exported"):
        onnx_export.to_onnx(Net(Branching(), {"x": torch.ones(2, 2)}))


def test_without_onnx_one_sentence_says_what_to_install(net: Net, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def none(name, *args, **kwargs):
        if name.split(".")[0] == "onnxscript":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    import sys

    monkeypatch.setattr(builtins, "__import__", none)
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(Unsupported, match="'onnxscript' is not installed") as told:
        onnx_export.to_onnx(Net(net.module, net.example))
    assert "pip install onnx onnxscript" in told.value.hint
