"""The slope of a score in every pixel, as a graph of its own: the inference runtime gives scores, not gradients.

The exported graph is read backwards once, after training: each operation is followed by the one that passes slopes
back through it, and the result is a second graph, ``gradient.onnx``, that runs wherever the first one runs and needs no
training framework. The weights are the first graph's own. A graph with an operation that is not in `BACK` is refused,
and so is one that disagrees with the training framework, or with small steps of the score itself.

References
----------
Griewank & Walther, Evaluating Derivatives, 2nd ed. 2008, doi:10.1137/1.9780898717761 (the reverse mode);
ONNX operators, https://onnx.ai/onnx/operators.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from overread.errors import ExportError

if TYPE_CHECKING:
    import onnx

TOLERANCE = 0.03
"""Largest difference from the framework's gradient, as a share of the slopes' own size (root of the sum of squares).

A unit that stands within rounding of its kink (0, or 6 for ReLU6) passes the slope in one computation and not in the
other, and a few pixels differ. In EfficientNet-Lite0 the framework differs from itself by 0.004 to 0.014 when the image
changes by a millionth, and from this graph by up to 0.008; a margin on the wrong side makes it 1.2."""


def derive(graph: bytes) -> bytes:
    """Return the graph of the slopes: (image, direction) → slope, the gradient of ``direction · logits`` in the image.

    Parameters
    ----------
    graph : bytes
        ``model.onnx``: ``image`` → ``logits``.

    Returns
    -------
    bytes
        Inputs ``image`` (batch, …) and ``direction`` (batch, outputs); outputs ``slope`` like ``image``, and ``logits``.

    Raises
    ------
    ExportError
        When the graph holds an operation whose slope is not known here, or the ``onnx`` package is not installed.
    """
    try:
        import onnx
        from onnx import TensorProto, helper, shape_inference
    except ImportError:
        raise ExportError(
            "the package onnx is not installed, and this run has no graph of its slopes",
            expected="gradient.onnx beside model.onnx, or the extra [train]",
            do='run: pip install "overread[train]"',
        ) from None
    model = onnx.load_from_string(graph)
    tape = _Tape(shape_inference.infer_shapes(model).graph)
    tape.slopes = {"logits": "direction"}
    for node in reversed([n for n in model.graph.node if tape.moves(n)]):
        given = tape.slopes.pop(node.output[0], None)
        if given is None:
            continue  # nothing of the logits depends on it
        if node.op_type not in BACK:
            raise _unknown(node.op_type)
        BACK[node.op_type](tape, node, given)
    outputs = model.graph.output[0].type.tensor_type.shape.dim[1].dim_value
    if "image" not in tape.slopes or not outputs:
        raise ExportError("a graph whose logits do not depend on the image", expected="a graph that `train` exported")
    del model.graph.output[1:]
    model.graph.input.append(helper.make_tensor_value_info("direction", TensorProto.FLOAT, ["batch", outputs]))
    image = model.graph.input[0].type.tensor_type.shape.dim
    shape = [d.dim_value or d.dim_param or "batch" for d in image]
    model.graph.output.append(helper.make_tensor_value_info("slope", TensorProto.FLOAT, shape))
    model.graph.node.extend([*tape.made, helper.make_node("Identity", [tape.slopes["image"]], ["slope"])])
    model.graph.initializer.extend(tape.constants)
    _drop_unused(model.graph)
    return model.SerializeToString(deterministic=True)


def check(gradient: bytes, exported, examples: np.ndarray) -> float:
    """Return the largest difference between the graph's slopes and the training framework's, on real images.

    Parameters
    ----------
    gradient : bytes
        From `derive`.
    exported : keras.Model
        Images → (logits, feature maps), on TensorFlow.
    examples : ndarray, (n, …)

    Returns
    -------
    float
        As a share of the slopes' size in an image.
    """
    import tensorflow as tf

    from overread.learn.predict import open_graph

    x = tf.constant(np.asarray(examples, np.float32))
    session, worst = open_graph(gradient), 0.0
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(x)
        each = tf.unstack(exported(x, training=False)[0], axis=1)
    for k, logit in enumerate(each):
        want = np.asarray(tape.gradient(logit, x), np.float64)
        direction = np.tile(np.eye(len(each), dtype=np.float32)[k], (len(want), 1))
        have = session.run(["slope"], {"image": np.asarray(x), "direction": direction})[0]
        if have.shape != want.shape or not np.isfinite(have).all():
            return float("inf")
        size = np.linalg.norm(want.reshape(len(want), -1), axis=1)
        gap = np.linalg.norm((want - have).reshape(len(want), -1), axis=1)
        worst = max(worst, float(np.max(gap / np.maximum(size, 1e-6))))
    return worst


class _Tape:
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


def _reshape(tape: _Tape, node, slope: str) -> None:
    tape.passes(node.input[0], tape.add("Reshape", slope, tape.add("Shape", node.input[0])))


def _transpose(tape: _Tape, node, slope: str) -> None:
    tape.passes(node.input[0], tape.add("Transpose", slope, perm=np.argsort(_settings(node)["perm"]).tolist()))


def _same(tape: _Tape, node, slope: str) -> None:
    tape.passes(node.input[0], slope)


def _relu(tape: _Tape, node, slope: str) -> None:
    alive = tape.add("Greater", node.output[0], tape.constant(np.zeros(1, np.float32)))
    tape.passes(node.input[0], tape.add("Mul", slope, tape.add("Cast", alive, to=1)))


def _clip(tape: _Tape, node, slope: str) -> None:
    """Pass the slope where the value lies between the limits, as the training framework does for ReLU6."""
    alive = tape.add("Greater", node.output[0], node.input[1])
    if len(node.input) > 2:
        alive = tape.add("And", alive, tape.add("Less", node.output[0], node.input[2]))
    tape.passes(node.input[0], tape.add("Mul", slope, tape.add("Cast", alive, to=1)))


def _margin(tape: _Tape, node, slope: str) -> None:
    """Leave the margin's slopes out: it does not depend on the image."""
    pads = tape.weights.get(node.input[1])
    if pads is None or len(node.input) > 3 or _settings(node).get("mode", b"constant") != b"constant":
        raise _unknown("Pad with other than a fixed margin")
    before, after = np.split(pads.astype(np.int64), 2)
    ends = np.where(after > 0, -after, np.iinfo(np.int64).max)
    tape.passes(node.input[0], tape.add("Slice", slope, tape.constant(before), tape.constant(ends)))


def _sum(tape: _Tape, node, slope: str) -> None:
    for name in node.input:
        tape.passes(name, slope)


def _difference(tape: _Tape, node, slope: str) -> None:
    tape.passes(node.input[0], slope)
    if node.input[1] in tape.moving:
        tape.passes(node.input[1], tape.add("Neg", slope))


def _product(tape: _Tape, node, slope: str) -> None:
    for name, other in (node.input, reversed(node.input)):
        if name in tape.moving:
            tape.passes(name, tape.add("Mul", slope, other))


def _quotient(tape: _Tape, node, slope: str) -> None:
    if node.input[1] in tape.moving:
        raise _unknown("Div by a value that depends on the image")
    tape.passes(node.input[0], tape.add("Div", slope, node.input[1]))


def _linear(tape: _Tape, node, slope: str) -> None:
    how = _settings(node)
    if node.input[0] not in tape.moving or how.get("transA") or how.get("alpha", 1.0) != 1.0:
        raise _unknown(f"{node.op_type} of a weight by a value")
    weight = node.input[1]
    tape.passes(
        node.input[0], tape.add("MatMul", slope, weight if how.get("transB") else tape.add("Transpose", weight))
    )


def _convolution(tape: _Tape, node, slope: str) -> None:
    how, weight = _settings(node), tape.weights.get(node.input[1])
    if weight is None:
        raise _unknown("Conv with a kernel that depends on the image")
    kernel = [1 + d * (k - 1) for k, d in zip(weight.shape[2:], how.get("dilations", [1] * 9), strict=False)]
    _spread(tape, node, slope, node.input[1], kernel, group=how.get("group", 1), dilations=how.get("dilations"))


def _mean_pool(tape: _Tape, node, slope: str) -> None:
    how, channels = _settings(node), tape.space(node.input[0])[0]
    if any(how.get("pads", ())) or how.get("ceil_mode"):
        raise _unknown("AveragePool with a margin")
    kernel = how["kernel_shape"]
    even = tape.constant(np.full((channels, 1, *kernel), 1 / np.prod(kernel), np.float32))
    _spread(tape, node, slope, even, kernel, group=channels)


def _spread(tape: _Tape, node, slope: str, weight: str, kernel, *, group: int, dilations=None) -> None:
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


def _largest(tape: _Tape, node, slope: str) -> None:
    how = _settings(node)
    strides = how.get("strides", [1] * len(how["kernel_shape"]))
    if list(strides) != list(how["kernel_shape"]) or any(how.get("pads", ())) or how.get("ceil_mode"):
        raise _unknown("MaxPool with windows that overlap or a margin")
    size = tape.add("Shape", node.input[0])
    again = f"back.where{len(tape.made)}"  # the forward node once more, with the places of the largest values
    tape.made.append(type(node)())
    tape.made[-1].CopyFrom(node)
    tape.made[-1].output[:] = [f"{again}.value", again]
    tape.made[-1].name = again
    back = tape.add("MaxUnpool", slope, again, size, kernel_shape=how["kernel_shape"], strides=list(strides))
    tape.passes(node.input[0], back)


def _whole_mean(tape: _Tape, node, slope: str) -> None:
    tape.passes(node.input[0], _shared(tape, node, slope))


def _shared(tape: _Tape, node, slope: str) -> str:
    """Share the slope of a mean among the values behind it, however many there are."""
    many = tape.add("Div", tape.add("Size", node.input[0]), tape.add("Size", node.output[0]))
    share = tape.add("Div", slope, tape.add("Cast", many, to=1))
    return tape.add("Expand", share, tape.add("Shape", node.input[0]))


def _mean(tape: _Tape, node, slope: str) -> None:
    how, shape = _settings(node), tape.shapes.get(node.input[0], [])
    axes = how.get("axes") or (tape.weights[node.input[1]].tolist() if len(node.input) > 1 else range(1, len(shape)))
    axes = sorted(a % len(shape) for a in axes)
    if 0 in axes:
        raise _unknown("ReduceMean over the images")
    if how.get("keepdims", 1) == 0:
        sizes = [-1 if i == 0 else 1 if i in axes else n for i, n in enumerate(shape)]
        if 0 in sizes:
            raise _unknown("ReduceMean of a free size")
        slope = tape.add("Reshape", slope, tape.constant(np.array(sizes, np.int64)))
    tape.passes(node.input[0], _shared(tape, node, slope))


def _side_by_side(tape: _Tape, node, slope: str) -> None:
    """Give each of the values that were laid side by side its part of the slope."""
    axis, start = _settings(node)["axis"], 0
    for name in node.input:
        shape = tape.shapes.get(name, [])
        size = shape[axis] if shape else 0
        if not size:
            raise _unknown("Concat of a free size")
        ends = (np.array([v], np.int64) for v in (start, start + size, axis))
        tape.passes(name, tape.add("Slice", slope, *(tape.constant(e) for e in ends)))
        start += size


def _reversed(tape: _Tape, node, slope: str) -> None:
    """A reversed image: the slopes are reversed back."""
    steps = tape.weights.get(node.input[4]) if len(node.input) > 4 else None
    starts, ends = (tape.weights.get(name) for name in node.input[1:3])
    if any(v is None for v in (steps, starts, ends)) or not all(
        _whole(*v) for v in zip(starts, ends, steps, strict=True)
    ):
        raise _unknown("Slice of a part")
    tape.passes(node.input[0], tape.add("Slice", slope, *node.input[1:]))


def _whole(start: int, end: int, step: int) -> bool:
    """True when a slice takes a whole axis, forward or backward."""
    far = 10**9  # what the converter writes for "to the end"
    return (step == 1 and start == 0 and end >= far) or (step == -1 and (start == -1 or start >= far) and end <= -far)


def _unknown(what: str) -> ExportError:
    return ExportError(
        f"the network's graph holds {what}, whose slope is not known here",
        expected="one of " + ", ".join(sorted(BACK)),
        do="explain it with a method that needs no slopes: grad-cam, occlusion, rise",
    )


def _drop_unused(graph: onnx.GraphProto) -> None:
    """Leave out nodes and weights that neither slope nor logits need."""
    needed, kept = {o.name for o in graph.output}, []
    for node in reversed(graph.node):
        if needed & set(node.output):
            needed |= set(node.input)
            kept.append(node)
    kept.reverse()
    weights = [t for t in graph.initializer if t.name in needed]
    del graph.node[:], graph.initializer[:]
    graph.node.extend(kept)
    graph.initializer.extend(weights)


Back = Callable[["_Tape", "onnx.NodeProto", str], None]

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
    "Slice": _reversed,
    "Squeeze": _reshape,
    "Sub": _difference,
    "Sum": _sum,
    "Transpose": _transpose,
    "Unsqueeze": _reshape,
}
"""Operation → how slopes pass back through it."""
