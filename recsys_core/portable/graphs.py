"""Whether an ONNX graph keeps to itself: one whose weights lie in other files would have onnxruntime open whatever path it names.

Only the wire format of protocol buffers is read here (a tag, then a number or so many bytes), so that nothing beside numpy is needed and
nothing of the graph is taken for true before it was looked at.
Source: https://github.com/onnx/onnx/blob/main/onnx/onnx.proto3 (field numbers), https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations

from collections.abc import Iterator

MOST_FIELDS, MOST_DEPTH = 1_000_000, 60
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5

# message -> field -> message it holds: all ways from a model to a tensor
_INSIDE: dict[str, dict[int, str]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "training": {1: "graph", 2: "graph"},
    "function": {7: "node", 11: "attribute"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {},
}
_EXTERNAL_DATA, _DATA_LOCATION = 13, 14  # of a tensor


def outside(graph: bytes | memoryview) -> str | None:
    """Why this graph is refused, as the rest of a sentence ("keeps weights in other files"); None: it keeps to itself."""
    walk = _Walk(memoryview(graph))
    try:
        return walk.message("model", 0, len(graph), 0)
    except (IndexError, ValueError):
        return "is no ONNX graph"


class _Walk:
    def __init__(self, content: memoryview) -> None:
        self.content, self.fields = content, 0

    def message(self, kind: str, start: int, end: int, depth: int) -> str | None:
        if depth > MOST_DEPTH:
            return f"is nested more than {MOST_DEPTH} deep"
        for field, wire, at, to in self._fields(start, end):
            if kind == "tensor" and (field == _EXTERNAL_DATA or (field == _DATA_LOCATION and wire == _VARINT and self._varint(at, end)[0])):
                return "keeps weights in other files"
            inside = _INSIDE[kind].get(field) if wire == _BYTES else None
            if inside is not None and (found := self.message(inside, at, to, depth + 1)) is not None:
                return found
        return None

    def _fields(self, at: int, end: int) -> Iterator[tuple[int, int, int, int]]:
        """(number, wire type, where its content begins, where it ends) of every field. Raises ValueError where that is impossible."""
        while at < end:
            self.fields += 1
            if self.fields > MOST_FIELDS:
                raise ValueError("more fields than any graph has")
            tag, at = self._varint(at, end)
            wire, start = tag & 7, at
            if wire == _VARINT:
                at = self._varint(at, end)[1]
            elif wire == _BYTES:
                size, start = self._varint(at, end)
                at = start + size
            elif wire in (_FIXED64, _FIXED32):
                at += 8 if wire == _FIXED64 else 4
            else:
                raise ValueError("a wire type that ONNX does not use")
            if at > end:
                raise ValueError("a field that is cut short")
            yield tag >> 3, wire, start, at

    def _varint(self, at: int, end: int) -> tuple[int, int]:
        value = 0
        for shift in range(0, 70, 7):
            if at >= end:
                raise ValueError("a number that is cut short")
            byte = self.content[at]
            at += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value, at
        raise ValueError("a number of more than ten bytes")
