"""Learning without answers: what is minimised, that it separates what looks different, and that a killed one goes on."""

from __future__ import annotations

import numpy as np
import pytest

from overread.errors import RunError

pytest.importorskip("keras")
from scipy.linalg import hadamard

from overread.learn import fine_tuned, networks, pretrain, pretrained

BUILD = {"widths": (4, 6, 8), "stem_stride": 2, "stem_kernel": 4}


def loss_of(first, second) -> float:
    pair = np.stack([first, second], axis=1).astype(np.float32)
    return float(pretrain.TwoViews().call(None, pair))


def test_alike_views_of_images_that_differ_in_every_number_cost_nothing():
    apart = hadamard(8)[:, 1:5].astype(float)  # columns of mean 0, variance 8/7, and no two of them correlated
    assert loss_of(apart, apart) == pytest.approx(0.0, abs=1e-5)


def test_a_network_that_calls_all_alike_costs_the_spread_it_lacks():
    same = np.ones((8, 4))
    assert loss_of(same, same) == pytest.approx(pretrain.SPREAD * (1 - np.sqrt(1e-4)), rel=1e-5)


def test_the_loss_is_that_of_the_paper():
    rng = np.random.default_rng(1)
    a, b = 0.4 * rng.normal(size=(16, 6)), 0.4 * rng.normal(size=(16, 6))
    want = pretrain.ALIKE * np.mean((a - b) ** 2)
    for z in (a, b):
        c = np.cov(z, rowvar=False)
        want += pretrain.SPREAD / 2 * np.maximum(0, 1 - np.sqrt(np.diag(c) + 1e-4)).mean()
        want += pretrain.APART * ((c**2).sum() - (np.diag(c) ** 2).sum()) / 6
    assert loss_of(a, b) == pytest.approx(want, rel=1e-4)


def pictures(n: int = 96) -> np.ndarray:
    """Stripes that lie or stand, at a place of their own."""
    rng = np.random.default_rng(5)
    y, x = np.mgrid[:16, :16]
    place = rng.uniform(0, 6, (n, 1, 1))
    stripes = np.sin(np.where((np.arange(n) % 2 == 0)[:, None, None], y, x) * 1.2 + place)
    return (stripes + 0.3 * rng.normal(size=(n, 16, 16)))[..., None].astype(np.float32)


def learn(where, *, epochs=2, tell=lambda news: None, seed=0, images=None):
    images = pictures() if images is None else images
    settings = pretrain.Settings(epochs=epochs, batch=32, seed=seed)
    return pretrain.learn(images, BUILD, settings, checkpoint=where / "c.npz", tell=tell)


def test_what_was_cut_short_goes_on_to_the_same_weights(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    whole = pretrained.taken(learn(tmp_path / "a").built.trained)

    class Cut(Exception):
        pass

    def cut(news):
        if news["epoch"] == 1 and news["step"] == 2:
            raise Cut

    with pytest.raises(Cut):
        learn(tmp_path / "b", tell=cut)
    with np.load(tmp_path / "b" / "c.npz") as kept:
        half = [kept[name] for name in kept.files if name.startswith("w")]
    again = pretrained.taken(learn(tmp_path / "b").built.trained)
    assert all(np.array_equal(whole[name], again[name]) for name in whole)
    first = whole["000.kernel"]  # twin: what had been kept was not the end yet
    assert not any(np.array_equal(first, w) for w in half if w.shape == first.shape)
    with pytest.raises(RunError, match="other images or settings"):
        learn(tmp_path / "b", epochs=3)


def test_volumes_are_learned_from_too(tmp_path):
    volumes = np.random.default_rng(0).normal(size=(32, 8, 8, 8, 1)).astype(np.float32)
    learned = learn(tmp_path, epochs=1, images=volumes)
    assert learned.built.exported.outputs[1].shape[1:] == (1, 1, 1, 8)
    assert np.isfinite(learned.history[-1]["loss"])


def test_images_that_are_all_the_same_teach_nothing_and_are_refused(tmp_path):
    grey = np.zeros((32, 16, 16, 1), np.float32)
    with pytest.raises(RunError, match="every image looks the same"):
        pretrain.learn(
            grey, BUILD, pretrain.Settings(1, 32, 0, {k: 0.0 for k in pretrain.VIEWS}), checkpoint=tmp_path / "c"
        )


def test_settling_takes_the_statistics_of_these_images_and_of_no_others():
    built = networks.residual(input_shape=(16, 16, 1), outputs=1, kind="binary", **BUILD)
    first = pretrained.weighted(built.trained)[1]
    images = 3.0 * pictures(64) + 5.0
    fine_tuned.settle(built, images, seed=0, batch=64)
    before = np.asarray(pretrained.weighted(built.trained)[0](images))
    np.testing.assert_allclose(np.asarray(first.moving_mean), before.mean(axis=(0, 1, 2)), rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(np.asarray(first.moving_variance), before.var(axis=(0, 1, 2)), rtol=1e-2)
    assert first.momentum == 0.97
