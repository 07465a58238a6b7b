"""The slope of a score in every pixel, as a graph of its own: the inference runtime gives scores, not gradients.

The exported graph is read backwards once, after training: each operation is followed by the one that passes slopes
back through it, and the result is a second graph, ``gradient.onnx``, that runs wherever the first one runs and needs no
training framework. The weights are the first graph's own. A graph with an operation that is not in `slopes.BACK` is refused,
and so is one that disagrees with the training framework, or with small steps of the score itself.

References
----------
Griewank & Walther, Evaluating Derivatives, 2nd ed. 2008, doi:10.1137/1.9780898717761 (the reverse mode);
ONNX operators, https://onnx.ai/onnx/operators.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from overread.errors import ExportError
from overread.learn.slopes import BACK, Tape, unknown

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
    tape = Tape(shape_inference.infer_shapes(model).graph)
    tape.slopes = {"logits": "direction"}
    for node in reversed([n for n in model.graph.node if tape.moves(n)]):
        given = tape.slopes.pop(node.output[0], None)
        if given is None:
            continue  # nothing of the logits depends on it
        if node.op_type not in BACK:
            raise unknown(node.op_type)
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

    from overread.learn.graph import open_graph

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
