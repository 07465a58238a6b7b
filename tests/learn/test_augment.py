import numpy as np
import pytest

keras = pytest.importorskip("keras")

from overread.learn.augment import Augment, reseed

STILL = dict(rotation=0, scale=0, aspect=0, shift=0, blur=0, gamma=0, contrast=0, brightness=0, noise=0)


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
