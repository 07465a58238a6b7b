"""Several networks and views as one: exactly the mean of their logits, in Keras, in the graph, and in the heat-map."""

import numpy as np
import pytest

pytest.importorskip("keras")

from overread.learn import export, members, networks, predict
from overread.learn.framework import keras

SHAPES = {"pictures": (16, 16, 1), "volumes": (8, 12, 12, 1)}


def built(shape, seed):
    """A network as it might be after training: its averages and its head have moved from where they begin."""
    keras.utils.set_random_seed(seed)
    made = networks.residual(
        input_shape=shape, outputs=2, kind="multilabel", widths=(6, 8), stem_stride=1, stem_kernel=3
    )
    rng = np.random.default_rng(seed)
    moved = [
        w * np.exp(0.2 * rng.normal(size=w.shape)) + 0.05 * rng.normal(size=w.shape) for w in made.trained.get_weights()
    ]
    made.trained.set_weights(moved)
    return made


def logits(network, x):
    return np.asarray(network.exported(x, training=False)[0], np.float64)


def images(shape, n=5):
    return np.random.default_rng(9).normal(size=(n, *shape)).astype("f")


@pytest.mark.parametrize("kind", SHAPES)
@pytest.mark.parametrize("views", [(), ("left-right",), ("left-right", "up-down")])
def test_the_logit_is_exactly_the_mean_over_networks_and_views(kind, views):
    shape, x = SHAPES[kind], images(SHAPES[kind])
    each = [built(shape, s) for s in range(2)]
    axes = {"left-right": -2, "up-down": -3}
    several = [x]
    for view in views:
        several += [np.flip(v, axis=axes[view]) for v in several]
    want = np.mean([logits(m, v) for m in each for v in several], axis=0)
    one = members.together(each, views=views)
    np.testing.assert_allclose(logits(one, x), want, atol=1e-5)
    assert np.abs(logits(each[0], x) - want).max() > 1e-3  # twin: one network alone says something else


@pytest.mark.parametrize("kind", SHAPES)
def test_the_graph_says_the_same_and_its_maps_are_the_answers_decomposition(kind, tmp_path):
    shape, x = SHAPES[kind], images(SHAPES[kind])
    one = members.together([built(shape, s) for s in range(2)], views=("left-right",))
    assert export.export(one, tmp_path / "model.onnx", examples=x) < 1e-4
    found = list(predict.run_graph(predict.open_graph(tmp_path / "model.onnx"), x))
    np.testing.assert_allclose([z for z, _ in found], logits(one, x), atol=1e-4)
    head = export.head(one)
    for z, features in found:
        maps = features @ head["kernel0"]
        np.testing.assert_allclose(maps.reshape(-1, 2).mean(axis=0) + head["bias0"], z, atol=1e-4)
    assert export.export_slopes(one, tmp_path / "model.onnx", tmp_path / "gradient.onnx", examples=x) == ""


def test_with_mirrored_views_a_mirrored_image_has_the_same_answer_and_the_mirrored_map():
    x = images(SHAPES["pictures"])
    one = members.together([built(SHAPES["pictures"], 0)], views=("left-right",))
    here, there = (one.exported(v, training=False) for v in (x, np.flip(x, axis=2)))
    np.testing.assert_allclose(here[0], there[0], atol=1e-5)
    np.testing.assert_allclose(np.flip(np.asarray(here[1]), axis=2), there[1], atol=1e-5)
    alone = built(SHAPES["pictures"], 0)
    assert np.abs(logits(alone, x) - logits(alone, np.flip(x, axis=2))).max() > 1e-3  # twin


def test_one_network_alone_stays_as_it_is():
    alone = built(SHAPES["pictures"], 0)
    assert members.together([alone]) is alone


def test_what_was_put_together_is_saved_and_read_back(tmp_path):
    x = images(SHAPES["pictures"])
    one = members.together([built(SHAPES["pictures"], s) for s in range(2)], views=("left-right",))
    one.trained.save(tmp_path / "w.keras")
    again = keras.saving.load_model(tmp_path / "w.keras", compile=False)
    np.testing.assert_allclose(np.asarray(again(x, training=False)), logits(one, x), atol=1e-5)


def test_the_articles_network_cannot_be_put_together():
    article = networks.simple_cnn(input_shape=(64, 64, 3), outputs=1, kind="binary")
    with pytest.raises(ValueError, match="global average"):
        members.together([article, article])
