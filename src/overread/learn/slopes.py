"""How slopes pass back through each operation of a graph: the chain rule, one function an operation, listed in `BACK`.

References
----------
ONNX operators, https://onnx.ai/onnx/operators.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from overread.errors import ExportError

if TYPE_CHECKING:
    import onnx


class Tape:
    """The nodes that pass slopes back, and what is known of the forward graph."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        from onnx import numpy_helper

        self.weights = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
        self.shapes = {
            v.name: [d.dim_value for d in v.type.tensor_type.shape.dim]
            for v in (*graph.input, *graph.value_info, *graph.output)
        }
        self.nodes, self.made, self.constants, self.slopes = list(graph.node), [], [], {}
        self.moving = {"image"}
        for node in self.nodes:
            if self.moving & set(node.input):
                self.moving |= set(node.output)

    def moves(self, node) -> bool:
        """True when a node's result depends on the image."""
        return node.output[0] in self.moving

    def constant(self, values: np.ndarray) -> str:
        """Keep an array in the graph and return its name."""
        from onnx import numpy_helper

        name = f"back.constant{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(values), name))
        return name

    def add(self, kind: str, *inputs: str, **settings) -> str:
        """Add a node and return the name of its result."""
        from onnx import helper

        name = f"back{len(self.made)}"
        self.made.append(helper.make_node(kind, list(inputs), [name], name=f"{kind}.{name}", **settings))
        return name

    def passes(self, to: str, slope: str) -> None:
        """Let a slope arrive at a forward value; several are summed."""
        if to in self.moving:
            self.slopes[to] = self.add("Add", self.slopes[to], slope) if to in self.slopes else slope

    def space(self, value: str) -> list[int]:
        """Return channels and spatial sizes (channels first) of a forward value."""
        shape = self.shapes.get(value, [])[1:]
        if len(shape) < 2 or 0 in shape:
            raise ExportError("a graph of free image size", expected="a graph for images of one size")
        return shape


def _settings(node) -> dict:
    from onnx import helper

    return {a.name: helper.get_attribute_value(a) for a in node.attribute}


def _reshape(tape: Tape, node, slope: str) -> None:
    tape.passes(node.input[0], tape.add("Reshape", slope, tape.add("Shape", node.input[0])))


def _transpose(tape: Tape, node, slope: str) -> None:
    tape.passes(node.input[0], tape.add("Transpose", slope, perm=np.argsort(_settings(node)["perm"]).tolist()))


def _same(tape: Tape, node, slope: str) -> None:
    tape.passes(node.input[0], slope)


def _relu(tape: Tape, node, slope: str) -> None:
    alive = tape.add("Greater", node.output[0], tape.constant(np.zeros(1, np.float32)))
    tape.passes(node.input[0], tape.add("Mul", slope, tape.add("Cast", alive, to=1)))


def _clip(tape: Tape, node, slope: str) -> None:
    """Pass the slope where the value lies between the limits, as the training framework does for ReLU6."""
    alive = tape.add("Greater", node.output[0], node.input[1])
    if len(node.input) > 2:
        alive = tape.add("And", alive, tape.add("Less", node.output[0], node.input[2]))
    tape.passes(node.input[0], tape.add("Mul", slope, tape.add("Cast", alive, to=1)))


def _margin(tape: Tape, node, slope: str) -> None:
    """Leave the margin's slopes out: it does not depend on the image."""
    pads = tape.weights.get(node.input[1])
    if pads is None or len(node.input) > 3 or _settings(node).get("mode", b"constant") != b"constant":
        raise unknown("Pad with other than a fixed margin")
    if (pads < 0).any():  # it leaves slices out, which have no slope; the margin's own is dropped
        tape.passes(node.input[0], tape.add("Pad", slope, tape.constant(-pads)))
        return
    before, after = np.split(pads.astype(np.int64), 2)
    ends = np.where(after > 0, -after, np.iinfo(np.int64).max)
    tape.passes(node.input[0], tape.add("Slice", slope, tape.constant(before), tape.constant(ends)))


def _sum(tape: Tape, node, slope: str) -> None:
    for name in node.input:
        tape.passes(name, slope)


def _difference(tape: Tape, node, slope: str) -> None:
    tape.passes(node.input[0], slope)
    if node.input[1] in tape.moving:
        tape.passes(node.input[1], tape.add("Neg", slope))


def _product(tape: Tape, node, slope: str) -> None:
    for name, other in (node.input, reversed(node.input)):
        if name in tape.moving:
            tape.passes(name, _summed(tape, tape.add("Mul", slope, other), name, node.output[0]))


def _summed(tape: Tape, slope: str, name: str, result: str) -> str:
    """Add up the slopes of a value that stood for several, as one weight does for all pixels of a slice."""
    own, whole = tape.shapes.get(name, []), tape.shapes.get(result, [])
    if not own or len(own) != len(whole):
        return slope
    axes = [i for i, (a, b) in enumerate(zip(own, whole, strict=True)) if i and a == 1 and b != 1]
    return tape.add("ReduceSum", slope, tape.constant(np.array(axes, np.int64)), keepdims=1) if axes else slope


def _tanh(tape: Tape, node, slope: str) -> None:
    one, y = tape.constant(np.ones(1, np.float32)), node.output[0]
    tape.passes(node.input[0], tape.add("Mul", slope, tape.add("Sub", one, tape.add("Mul", y, y))))


def _sigmoid(tape: Tape, node, slope: str) -> None:
    one, y = tape.constant(np.ones(1, np.float32)), node.output[0]
    tape.passes(node.input[0], tape.add("Mul", slope, tape.add("Mul", y, tape.add("Sub", one, y))))


def _softmax(tape: Tape, node, slope: str) -> None:
    """Pass on each weight times what its slope has more than their weighted mean."""
    y, axis = node.output[0], _settings(node).get("axis", -1)
    part = tape.add("Mul", slope, y)
    whole = tape.add("ReduceSum", part, tape.constant(np.array([axis], np.int64)), keepdims=1)
    tape.passes(node.input[0], tape.add("Sub", part, tape.add("Mul", y, whole)))


def _quotient(tape: Tape, node, slope: str) -> None:
    if node.input[1] in tape.moving:
        raise unknown("Div by a value that depends on the image")
    tape.passes(node.input[0], tape.add("Div", slope, node.input[1]))


def _linear(tape: Tape, node, slope: str) -> None:
    how = _settings(node)
    if node.input[0] not in tape.moving or how.get("transA") or how.get("alpha", 1.0) != 1.0:
        raise unknown(f"{node.op_type} of a weight by a value")
    weight = node.input[1]
    tape.passes(
        node.input[0], tape.add("MatMul", slope, weight if how.get("transB") else tape.add("Transpose", weight))
    )


def _convolution(tape: Tape, node, slope: str) -> None:
    how, weight = _settings(node), tape.weights.get(node.input[1])
    if weight is None:
        raise unknown("Conv with a kernel that depends on the image")
    kernel = [1 + d * (k - 1) for k, d in zip(weight.shape[2:], how.get("dilations", [1] * 9), strict=False)]
    _spread(tape, node, slope, node.input[1], kernel, group=how.get("group", 1), dilations=how.get("dilations"))


def _mean_pool(tape: Tape, node, slope: str) -> None:
    how, channels = _settings(node), tape.space(node.input[0])[0]
    if any(how.get("pads", ())) or how.get("ceil_mode"):
        raise unknown("AveragePool with a margin")
    kernel = how["kernel_shape"]
    even = tape.constant(np.full((channels, 1, *kernel), 1 / np.prod(kernel), np.float32))
    _spread(tape, node, slope, even, kernel, group=channels)


def _spread(tape: Tape, node, slope: str, weight: str, kernel, *, group: int, dilations=None) -> None:
    """Pass slopes back through a sliding window: each is spread over the window it came from."""
    how, nd = _settings(node), len(kernel)
    strides = list(how.get("strides", [1] * nd))
    size = tape.space(node.input[0])[1:] if set(strides) != {1} or "auto_pad" in how else kernel  # of no account at 1
    pads = _pads(how, size, kernel, strides)
    left = [(n + pads[i] + pads[i + nd] - k) % s for i, (n, k, s) in enumerate(zip(size, kernel, strides, strict=True))]
    more = {"dilations": list(dilations)} if dilations else {}
    back = tape.add(
        "ConvTranspose", slope, weight, strides=strides, pads=pads, output_padding=left, group=group, **more
    )
    tape.passes(node.input[0], back)


def _pads(how: dict, size, kernel, strides) -> list[int]:
    auto = how.get("auto_pad", b"NOTSET")
    if auto in (b"SAME_UPPER", b"SAME_LOWER"):
        whole = [max(0, (-(-n // s) - 1) * s + k - n) for n, k, s in zip(size, kernel, strides, strict=True)]
        less, more = [w // 2 for w in whole], [w - w // 2 for w in whole]
        return [*less, *more] if auto == b"SAME_UPPER" else [*more, *less]
    return list(how.get("pads", [0] * 2 * len(size)))


def _largest(tape: Tape, node, slope: str) -> None:
    how = _settings(node)
    strides = how.get("strides", [1] * len(how["kernel_shape"]))
    if list(strides) != list(how["kernel_shape"]) or any(how.get("pads", ())) or how.get("ceil_mode"):
        raise unknown("MaxPool with windows that overlap or a margin")
    size = tape.add("Shape", node.input[0])
    again = f"back.where{len(tape.made)}"  # the forward node once more, with the places of the largest values
    tape.made.append(type(node)())
    tape.made[-1].CopyFrom(node)
    tape.made[-1].output[:] = [f"{again}.value", again]
    tape.made[-1].name = again
    back = tape.add("MaxUnpool", slope, again, size, kernel_shape=how["kernel_shape"], strides=list(strides))
    tape.passes(node.input[0], back)


def _whole_mean(tape: Tape, node, slope: str) -> None:
    tape.passes(node.input[0], _shared(tape, node, slope))


def _shared(tape: Tape, node, slope: str) -> str:
    """Share the slope of a mean among the values behind it, however many there are."""
    many = tape.add("Div", tape.add("Size", node.input[0]), tape.add("Size", node.output[0]))
    share = tape.add("Div", slope, tape.add("Cast", many, to=1))
    return tape.add("Expand", share, tape.add("Shape", node.input[0]))


def _mean(tape: Tape, node, slope: str) -> None:
    how, shape = _settings(node), tape.shapes.get(node.input[0], [])
    axes = how.get("axes") or (tape.weights[node.input[1]].tolist() if len(node.input) > 1 else range(1, len(shape)))
    axes = sorted(a % len(shape) for a in axes)
    if 0 in axes:
        raise unknown("ReduceMean over the images")
    if how.get("keepdims", 1) == 0:
        sizes = [-1 if i == 0 else 1 if i in axes else n for i, n in enumerate(shape)]
        if 0 in sizes:
            raise unknown("ReduceMean of a free size")
        slope = tape.add("Reshape", slope, tape.constant(np.array(sizes, np.int64)))
    tape.passes(node.input[0], _shared(tape, node, slope))


def _side_by_side(tape: Tape, node, slope: str) -> None:
    """Give each of the values that were laid side by side its part of the slope."""
    axis, start = _settings(node)["axis"], 0
    for name in node.input:
        shape = tape.shapes.get(name, [])
        size = shape[axis] if shape else 0
        if not size:
            raise unknown("Concat of a free size")
        ends = (np.array([v], np.int64) for v in (start, start + size, axis))
        tape.passes(name, tape.add("Slice", slope, *(tape.constant(e) for e in ends)))
        start += size


def _reversed(tape: Tape, node, slope: str) -> None:
    """A reversed image: the slopes are reversed back."""
    steps = tape.weights.get(node.input[4]) if len(node.input) > 4 else None
    starts, ends = (tape.weights.get(name) for name in node.input[1:3])
    if any(v is None for v in (steps, starts, ends)) or not all(
        _whole(*v) for v in zip(starts, ends, steps, strict=True)
    ):
        raise unknown("Slice of a part")
    tape.passes(node.input[0], tape.add("Slice", slope, *node.input[1:]))


def _whole(start: int, end: int, step: int) -> bool:
    """True when a slice takes a whole axis, forward or backward."""
    far = 10**9  # what the converter writes for "to the end"
    return (step == 1 and start == 0 and end >= far) or (step == -1 and (start == -1 or start >= far) and end <= -far)


def unknown(what: str) -> ExportError:
    """The refusal of a graph that holds an operation, or a way of using it, whose slope is not known here."""
    return ExportError(
        f"the network's graph holds {what}, whose slope is not known here",
        expected="one of " + ", ".join(sorted(BACK)),
        do="explain it with a method that needs no slopes: grad-cam, occlusion, rise",
    )


Back = Callable[["Tape", "onnx.NodeProto", str], None]


BACK: dict[str, Back] = {
    "Add": _sum,
    "AveragePool": _mean_pool,
    "Cast": _same,
    "Clip": _clip,
    "Concat": _side_by_side,
    "Conv": _convolution,
    "Div": _quotient,
    "Dropout": _same,
    "Flatten": _reshape,
    "Gemm": _linear,
    "GlobalAveragePool": _whole_mean,
    "Identity": _same,
    "MatMul": _linear,
    "MaxPool": _largest,
    "Mul": _product,
    "Pad": _margin,
    "ReduceMean": _mean,
    "Relu": _relu,
    "Reshape": _reshape,
    "Sigmoid": _sigmoid,
    "Slice": _reversed,
    "Softmax": _softmax,
    "Squeeze": _reshape,
    "Sub": _difference,
    "Sum": _sum,
    "Tanh": _tanh,
    "Transpose": _transpose,
    "Unsqueeze": _reshape,
}
"""Operation → how slopes pass back through it."""
