"""A network of a bundle that would read other files, or is none, is refused when the bundle is opened."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper

from recsys_core.errors import BadInput
from recsys_core.portable.archive import Archive, write_archive
from recsys_core.portable.graphs import outside
from recsys_core.portable.network import OnnxNetwork


def _graph(where: str, location: str, *, alone: bool = False) -> bytes:
    """x + w, with w in a file of its own (alone: in the graph)."""
    w = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[2])
    if alone:
        w.raw_data = bytes(8)
    else:
        w.data_location = TensorProto.EXTERNAL
        w.external_data.add(key="location", value=location)
    given, out = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [2]) for name in "xy")
    nodes = [helper.make_node("Add", ["x", "w"], ["y"])]
    if where == "constant":
        nodes.insert(0, helper.make_node("Constant", [], ["w"], value=w))
    if where == "branch":
        branch = helper.make_graph([helper.make_node("Identity", ["w"], ["w2"])], "b", [], [out], [w])
        nodes = [helper.make_node("If", ["x"], ["y"], then_branch=branch, else_branch=branch)]
    graph = helper.make_graph(nodes, "g", [given], [out], [w] if where == "weights" else [])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]).SerializeToString()


def _bundle(path: Path, graph: bytes) -> Path:
    write_archive(path, {}, {"model/encoder.onnx": graph, "codes.npy": np.zeros(3)})
    return path


@pytest.mark.parametrize("where", ["weights", "constant", "branch"])
def test_networks_that_read_other_files_are_refused(tmp_path: Path, where: str) -> None:
    for location in ("weights.bin", "/etc/passwd", "../../secret"):
        with pytest.raises(BadInput, match="its network 'model/encoder.onnx' keeps weights in other files") as raised:
            Archive.open(_bundle(tmp_path / "b.zip", _graph(where, location)))
        assert raised.value.message.endswith(".") and raised.value.hint
    alone = Archive.open(_bundle(tmp_path / "b.zip", _graph(where, "", alone=True))).read("model/encoder.onnx")
    if where != "branch":
        assert OnnxNetwork(alone)(x=np.ones(2, np.float32))[0].tolist() == [1, 1]


def test_a_sparse_weight_and_a_function_are_looked_at_too() -> None:
    w = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[2], data_location=TensorProto.EXTERNAL).SerializeToString()
    for ways in ((7, 15, 1), (7, 15, 2), (20, 1, 5), (20, 2, 5), (25, 7, 5, 10), (25, 11, 5), (7, 1, 5, 23, 1), (7, 1, 5, 11, 5)):
        model = w
        for field in reversed(ways):
            model = _field(field, model)
        assert outside(model) == "keeps weights in other files", ways
    assert outside(_field(7, _field(9, w))) is None, "a name that looks like one is none"


@pytest.mark.parametrize("graph", [b"\x0f", b"\x3a\xff", b"\x3a" + b"\xff" * 12, b"\x3a\x05abc", b"not a graph at all"])
def test_networks_that_are_none_are_refused(tmp_path: Path, graph: bytes) -> None:
    with pytest.raises(BadInput, match="is no ONNX graph"):
        Archive.open(_bundle(tmp_path / "b.zip", graph))


def test_a_network_that_onnxruntime_refuses_is_a_sentence() -> None:
    with pytest.raises(BadInput, match=r"A network of this bundle cannot be loaded \(onnxruntime says"):
        OnnxNetwork(_graph("branch", "", alone=True))  # its condition is no truth value


def test_graphs_nested_without_end_are_given_up() -> None:
    deep = b""
    for _ in range(400):  # a graph in an attribute of a node of a graph …
        deep = _field(1, _field(5, _field(6, deep)))
    assert outside(_field(7, deep)) == "is nested more than 60 deep"


def _varint(number: int) -> bytes:
    out = []
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


def _field(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(content)) + content
