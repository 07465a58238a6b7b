import numpy as np
import pytest

keras = pytest.importorskip("keras")

from overread.learn.augment import Augment, reseed

STILL = dict(rotation=0, scale=0, aspect=0, shift=0, margin=0, blur=0, gamma=0, contrast=0, brightness=0, noise=0)


def batch(*shape):
    return np.random.default_rng(0).normal(size=shape).astype("f")


def test_nothing_changes_at_prediction():
    x = batch(2, 16, 16, 1)
    assert (np.asarray(Augment()(x, training=False)) == x).all()


def test_nothing_changes_when_every_amount_is_zero():
    x = batch(2, 16, 16, 1)
    np.testing.assert_allclose(np.asarray(Augment(**STILL)(x, training=True)), x, atol=1e-5)


@pytest.mark.parametrize("shape", [(8, 20, 20, 1), (8, 20, 20, 3), (4, 8, 12, 12, 1)])
def test_each_image_is_changed_by_its_own_amount(shape):
    x = np.broadcast_to(batch(1, *shape[1:]), shape).clip(-2, 2)
    out = np.asarray(Augment(noise=0)(x, training=True))
    assert out.shape == shape
    assert np.isfinite(out).all()
    assert len({v.tobytes() for v in out}) == shape[0]


def test_no_flip_unless_the_task_allows_it():
    """Laterality: a bright dot on the left stays on the left in a thousand draws, and does not when flips are allowed."""
    x = np.full((1000, 9, 9, 1), -2, "f")
    x[:, 4, 1] = 1
    assert np.asarray(Augment(**STILL)(x, training=True))[:, 4, 1].min() > 0.99
    flipped = np.asarray(Augment(**STILL, flips=("left-right",))(x, training=True))
    assert 400 < (flipped[:, 4, 7, 0] > 0.99).sum() < 600
    assert (np.maximum(flipped[:, 4, 1, 0], flipped[:, 4, 7, 0]) > 0.99).all()


def test_a_turn_is_about_the_centre_and_in_the_plane():
    x = np.full((50, 6, 21, 21, 1), -2, "f")  # black: what comes in from outside the picture
    x[:, 2, 10, 10] = 1
    out = np.asarray(Augment(**{**STILL, "rotation": 90})(x, training=True))
    np.testing.assert_allclose(out[:, 2, 10, 10, 0], 1, atol=1e-4)
    assert out[:, [0, 1, 3, 4, 5]].max() == -2


def test_the_same_seed_and_epoch_give_the_same_changes():
    x = batch(4, 16, 16, 1)
    model = keras.Sequential([keras.Input((16, 16, 1)), Augment(seed=3), keras.layers.Dropout(0.5)])
    reseed(model, 3, 7)
    first = np.asarray(model(x, training=True))
    second = np.asarray(model(x, training=True))
    reseed(model, 3, 7)
    assert (np.asarray(model(x, training=True)) == first).all()
    assert (second != first).any()
    reseed(model, 3, 8)
    assert (np.asarray(model(x, training=True)) != first).any()


def test_a_collimator_blackens_the_border_of_half_the_images_and_never_the_middle():
    x = np.full((400, 40, 40, 1), 1, "f")
    out = np.asarray(Augment(**{**STILL, "margin": 0.1})(x, training=True))[..., 0]
    np.testing.assert_allclose(out[:, 4:36, 4:36], 1, atol=1e-5)
    touched = (out < 0).any(axis=(1, 2)).mean()
    assert 0.4 < touched < 0.6


def test_a_stretch_changes_the_shape_and_not_the_place_of_the_middle():
    y, x = np.mgrid[:41, :41]
    disc = np.where((y - 20) ** 2 + (x - 20) ** 2 < 100, 1, -2).astype("f")[None, ..., None]
    out = np.asarray(Augment(**{**STILL, "aspect": 0.3})(np.repeat(disc, 200, 0), training=True))[..., 0] > -0.5
    width, height = out.any(axis=1).sum(1), out.any(axis=2).sum(1)
    assert (width / height).max() > 1.2
    assert (width / height).min() < 0.84
    assert np.ptp(width * height) < 0.25 * np.mean(width * height)  # the area stays
