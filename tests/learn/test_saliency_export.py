"""The graph of the slopes against the training framework's own gradient, as an export checks it."""

from __future__ import annotations

import numpy as np
import pytest

keras = pytest.importorskip("keras")

from overread.learn import export, networks, saliency, saliency_gradient
from overread.learn.predict import open_graph
from overread.learn.slopes import BACK

NETWORKS = [("residual", (28, 26, 2), 3), ("residual", (8, 12, 12, 1), 1), ("simple-cnn", (24, 24, 1), 2)]


@pytest.mark.parametrize(("name", "shape", "outputs"), NETWORKS)
def test_slopes_of_every_network_are_the_frameworks_own(name, shape, outputs, tmp_path):
    keras.utils.set_random_seed(3)
    rng = np.random.default_rng(0)
    built = networks.NETWORKS[name](input_shape=shape, outputs=outputs, kind="multilabel")
    for layer in built.trained.layers:  # as after training: averages that are not zero, spreads that are not one
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.set_weights([rng.uniform(0.5, 1.5, w.shape) for w in layer.get_weights()])
    x = rng.normal(size=(3, *shape)).astype(np.float32)
    graph, slopes = tmp_path / "model.onnx", tmp_path / "gradient.onnx"
    export.export(built, graph, examples=x)
    assert export.export_slopes(built, graph, slopes, examples=x) == ""
    assert saliency_gradient.check(slopes.read_bytes(), built.exported, x) < 1e-4
    net = saliency.Network(open_graph(graph), export.head(built), open_graph(slopes.read_bytes()))
    for method in saliency.METHODS.values():
        heat = method.field(net, x[0], outputs - 1, tick=lambda n: None)
        assert heat.ndim == len(shape) - 1 and np.isfinite(heat).all()


def test_a_graph_of_other_slopes_is_not_kept(tmp_path, monkeypatch):
    """The twin: slopes of another network's weights are found out, and nothing is written."""
    built, other = (networks.residual(input_shape=(16, 16, 1), outputs=1, kind="binary") for _ in range(2))
    x = np.random.default_rng(0).normal(size=(2, 16, 16, 1)).astype(np.float32)
    for network, name in ((built, "model.onnx"), (other, "other.onnx")):
        export.export(network, tmp_path / name, examples=x)
    into = tmp_path / "gradient.onnx"
    assert "differs from the training framework's" in export.export_slopes(
        built, tmp_path / "other.onnx", into, examples=x
    )
    assert not into.exists()
    monkeypatch.delitem(BACK, "Relu")
    assert "whose slope is not known here" in export.export_slopes(built, tmp_path / "model.onnx", into, examples=x)
    assert not into.exists()
