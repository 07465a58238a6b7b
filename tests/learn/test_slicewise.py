"""A graph for volumes, computed slice by slice, gives what it gave."""

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="graphs are rewritten where they are exported")
from onnx import TensorProto, helper, numpy_helper

from overread.learn.predict import open_graph
from overread.learn.slicewise import slicewise

RNG = np.random.default_rng(0)


def graph(shape, layers):
    """Volumes (slices, rows, columns, channels) through convolutions and poolings: (kernel, stride, pad) or a pool's size."""
    weights, nodes, channels = {}, [helper.make_node("Transpose", ["image"], ["v0"], perm=[0, 4, 1, 2, 3])], shape[-1]
    for k, layer in enumerate(layers):
        come, go = f"v{k}", f"v{k + 1}"
        if isinstance(layer[0], str):
            nodes.append(helper.make_node("AveragePool", [come], [go], kernel_shape=layer[1], strides=layer[1]))
            continue
        kernel, stride, pad = layer
        weights[f"w{k}"] = RNG.normal(size=(5, channels, *kernel)).astype(np.float32)
        weights[f"b{k}"] = RNG.normal(size=5).astype(np.float32)
        pads = [*pad, *pad] if len(pad) == 3 else list(pad)
        conv = helper.make_node("Conv", [come, f"w{k}", f"b{k}"], [f"c{k}"], strides=stride, pads=pads)
        nodes += [conv, helper.make_node("Relu", [f"c{k}"], [f"r{k}"])]
        same = channels == 5 and tuple(stride) == (1, 1, 1)
        nodes.append(helper.make_node("Add", [f"r{k}", come if same else f"r{k}"], [go]))
        channels = 5
    last = f"v{len(layers)}"
    nodes += [
        helper.make_node("Transpose", [last], ["features"], perm=[0, 2, 3, 4, 1]),
        helper.make_node("GlobalAveragePool", [last], ["mean"]),
        helper.make_node("Flatten", ["mean"], ["logits"]),
    ]
    made = helper.make_graph(
        nodes,
        "volumes",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", *shape])],
        [
            helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", channels]),
            helper.make_tensor_value_info("features", TensorProto.FLOAT, None),
        ],
        [numpy_helper.from_array(v, k) for k, v in weights.items()],
    )
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 15)], ir_version=8)


CASES = {
    "three slices": ((7, 6, 9, 2), [((3, 3, 3), (1, 1, 1), (1, 1, 1)), ((3, 3, 3), (1, 1, 1), (1, 1, 1))]),
    "steps of two": ((8, 8, 6, 1), [((4, 4, 4), (2, 2, 2), (1, 1, 1)), ((3, 3, 3), (1, 1, 1), (1, 1, 1))]),
    "an odd number, steps of two": ((9, 8, 6, 1), [((4, 4, 4), (2, 2, 2), (1, 1, 1))]),
    "within slices": ((5, 8, 8, 1), [((1, 4, 4), (1, 2, 2), (0, 1, 1)), ((1, 1, 1), (1, 1, 1), (0, 0, 0))]),
    "pooled": ((8, 8, 8, 3), [((3, 3, 3), (1, 1, 1), (1, 1, 1)), ("pool", (2, 2, 2)), ("pool", (1, 2, 2))]),
    "a margin on one side": ((6, 6, 6, 2), [((4, 4, 4), (2, 2, 2), (0, 0, 0, 2, 2, 2))]),
    "no margin": ((6, 6, 6, 2), [((3, 3, 3), (1, 1, 1), (0, 0, 0))]),
}


def run(model, x):
    return open_graph(model.SerializeToString()).run(["logits", "features"], {"image": x})


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("n", [1, 3])
def test_the_same_values_for_one_volume_and_for_several(name, n):
    shape, layers = CASES[name]
    before = graph(shape, layers)
    after = slicewise(onnx.ModelProto.FromString(before.SerializeToString()))
    assert not [w for w in after.graph.initializer if len(w.dims) == 5]  # nothing convolves volumes any more
    x = RNG.normal(size=(n, *shape)).astype(np.float32)
    for want, have in zip(run(before, x), run(after, x), strict=True):
        assert want.shape == have.shape
        assert np.abs(want - have).max() < 2e-5 * max(1, np.abs(want).max())


def test_the_check_can_fail():
    """Neighbours in the wrong order are another network."""
    shape, layers = CASES["three slices"]
    before = graph(shape, layers)
    after = slicewise(onnx.ModelProto.FromString(before.SerializeToString()))
    weight = next(w for w in after.graph.initializer if w.name == "w0")
    turned = numpy_helper.to_array(weight).reshape(5, 3, 2, 3, 3)[:, ::-1].reshape(5, 6, 3, 3)
    weight.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(turned), "w0"))
    x = RNG.normal(size=(1, *shape)).astype(np.float32)
    assert np.abs(run(before, x)[0] - run(after, x)[0]).max() > 0.01


def test_what_cannot_be_done_by_slices_stays_as_it_was():
    odd = graph((9, 9, 9, 1), [((3, 3, 3), (2, 2, 2), (1, 1, 1))])  # three slices, in steps of two
    assert slicewise(onnx.ModelProto.FromString(odd.SerializeToString())) == odd
