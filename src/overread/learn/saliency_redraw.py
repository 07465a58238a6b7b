"""Redraw the weights of an exported graph by chance: a heat-map that does not change then says nothing of the model.

The weights are written over inside the graph's own bytes, so that no package but NumPy is needed: a graph is a
Protocol Buffers message, of which four kinds of field are read (graph, node, weight, and what a weight holds).

References
----------
Adebayo et al. 2018, arXiv 1810.03292; https://protobuf.dev/programming-guides/encoding;
https://github.com/onnx/onnx/blob/main/onnx/onnx.proto.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from overread.errors import RunError

WEIGHTED = ("Conv", "Gemm", "MatMul")
"""Operations whose second input is a weight that was learned."""

_GRAPH, _NODE, _WEIGHT = 7, 1, 5  # ModelProto.graph; GraphProto.node, .initializer
_FLOAT, _DIMS, _TYPE, _PACKED, _NAME, _RAW = 1, 1, 2, 4, 8, 9  # TensorProto


@dataclass(frozen=True)
class Weight:
    """One learned array of a graph: its name, its shape, and where its numbers lie in the graph's bytes."""

    name: str
    shape: tuple[int, ...]
    start: int
    end: int

    def of(self, graph: bytes) -> np.ndarray:
        """Return the numbers, float32."""
        return np.frombuffer(graph, "<f4", offset=self.start, count=(self.end - self.start) // 4).reshape(self.shape)


def weights(graph: bytes) -> list[Weight]:
    """Return the learned weights in the order in which an image meets them: the first layer's first.

    Raises
    ------
    RunError
        When the graph holds no weights of the kinds in ``WEIGHTED``.
    """
    kept, order = {}, []
    (start, end), *_ = [(a, b) for number, a, b in _fields(graph, 0, len(graph)) if number == _GRAPH] or [(0, 0)]
    for number, a, b in _fields(graph, start, end):
        if number == _WEIGHT:
            found = _weight(graph, a, b)
            kept[found.name] = found
        elif number == _NODE:
            order.append(_node(graph, a, b))
    names = [inputs[1] for kind, inputs in order if kind in WEIGHTED and len(inputs) > 1]
    found = [kept[name] for name in dict.fromkeys(names) if name in kept and kept[name].end > kept[name].start]
    if not found:
        raise RunError("a graph without weights", expected="a trained network", do="train one with `overread train`")
    return found


def drawn(graph: bytes, *, share: float, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Return new numbers for the last weights of a graph, by name: normal, as widely spread as the learned ones.

    Parameters
    ----------
    graph : bytes
    share : float
        Of the weighted layers, counted from the answer down; 0 redraws the last one alone, 1 all.
    rng : numpy.random.Generator
    """
    layers = weights(graph)
    count = max(1, round(share * len(layers)))
    return {
        layer.name: rng.normal(0.0, max(float(layer.of(graph).std()), 1e-6), layer.shape).astype("<f4")
        for layer in reversed(layers[-count:])
    }


def replaced(graph: bytes, new: Mapping[str, np.ndarray]) -> bytes:
    """Return the graph with other numbers in the weights named."""
    out = bytearray(graph)
    for layer in weights(graph):
        if layer.name in new:
            out[layer.start : layer.end] = np.ascontiguousarray(new[layer.name], "<f4").tobytes()
    return bytes(out)


def tail_replaced(tail: Mapping[str, np.ndarray], graph: bytes, new: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the head beside the graph (`head.npz`) with the same new numbers: its kernels are the graph's own.

    Raises
    ------
    RunError
        When the last layer of the graph is not the head's: no test could then be made of it.
    """
    out = dict(tail)
    learned = {layer.name: layer.of(graph) for layer in weights(graph)}
    met = set()
    for key in [k for k in tail if k.startswith("kernel")]:
        for name, values in new.items():
            old = learned[name]
            for turned in (lambda v: v, np.transpose):
                if old.ndim == 2 and turned(old).shape == tail[key].shape and np.allclose(turned(old), tail[key]):
                    out[key] = np.asarray(turned(values), tail[key].dtype)
                    met.add(name)
    if next(iter(new)) not in met:
        raise RunError(
            "a head that is not the last layer of the graph",
            expected="head.npz and model.onnx of one training",
            do="restore the run, or train again",
        )
    return out


def _fields(data: bytes, at: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Yield (field number, start, end) of a message; for a plain number start is its value and end is -1."""
    while at < end:
        key, at = _varint(data, at)
        number, kind = key >> 3, key & 7
        if kind == 0:
            value, at = _varint(data, at)
            yield number, value, -1
            continue
        if kind == 2:
            size, at = _varint(data, at)
        elif kind in (1, 5):
            size = 8 if kind == 1 else 4
        else:
            raise RunError("a graph that cannot be read", expected="model.onnx of a run", do="restore the run")
        yield number, at, at + size
        at += size


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at


def _weight(data: bytes, at: int, end: int) -> Weight:
    """Return where a weight's numbers lie; nowhere for one that holds no 32-bit floats."""
    shape: list[int] = []
    name, kind, place = "", 0, (0, 0)
    for number, a, b in _fields(data, at, end):
        if number == _DIMS:
            shape += [a] if b < 0 else list(_varints(data, a, b))
        elif number == _TYPE:
            kind = a
        elif number == _NAME:
            name = data[a:b].decode()
        elif number in (_RAW, _PACKED) and b > a:
            place = (a, b)
    whole = kind == _FLOAT and place[1] - place[0] == 4 * int(np.prod(shape))
    return Weight(name, tuple(shape), *(place if whole else (0, 0)))


def _varints(data: bytes, at: int, end: int) -> Iterator[int]:
    while at < end:
        value, at = _varint(data, at)
        yield value


def _node(data: bytes, at: int, end: int) -> tuple[str, list[str]]:
    kind, inputs = "", []
    for number, a, b in _fields(data, at, end):
        if number == 1:
            inputs.append(data[a:b].decode())
        elif number == 4:
            kind = data[a:b].decode()
    return kind, inputs
