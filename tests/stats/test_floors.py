"""The floors learn from training alone, and are quick."""

from __future__ import annotations

import time

import numpy as np
import pytest

from overread.stats import floors, metrics


def rng(seed=0):
    return np.random.default_rng(seed)


def made(n, seed, *, levels=2):
    y = rng(seed).integers(0, levels, n)
    return rng(seed + 1).normal(size=(n, 40)) + np.eye(40)[y * 3] * 2, y


def test_majority_is_worth_nothing_in_ranking():
    p = floors.majority(np.array([[1.0], [1], [0]]), 50)
    f = metrics.binary_figures(np.arange(50) % 2, p[:, 0], threshold=0.5)
    assert f["auroc"].value == 0.5 and f["accuracy"].value == 0.5


@pytest.mark.parametrize("kind", ["binary", "multilabel", "multiclass"])
def test_logistic_learns_what_is_there_and_nothing_from_noise(kind):
    levels = 3 if kind == "multiclass" else 2
    (x, y), (x2, y2) = made(600, 1, levels=levels), made(300, 5, levels=levels)
    truth = {"binary": y[:, None], "multilabel": np.stack([y, 1 - y], 1), "multiclass": np.eye(levels)[y]}[kind].astype(
        float
    )
    (p,) = floors.logistic(x, truth, [x2], kind=kind, rng=rng())
    target = {"binary": y2[:, None], "multilabel": np.stack([y2, 1 - y2], 1), "multiclass": np.eye(levels)[y2]}[kind]
    assert metrics.mean_auroc(target.astype(float), p) > 0.85
    (noise,) = floors.logistic(
        rng(9).normal(size=x.shape), truth, [rng(10).normal(size=x2.shape)], kind=kind, rng=rng()
    )
    assert 0.4 < metrics.mean_auroc(target.astype(float), noise) < 0.6


def test_what_is_asked_changes_nothing_for_the_others():
    (x, y), (x2, _) = made(200, 1), made(50, 5)
    together = floors.logistic(x, y[:, None].astype(float), [x2, x2 * 100], kind="binary", rng=rng())[0]
    alone = floors.logistic(x, y[:, None].astype(float), [x2], kind="binary", rng=rng())[0]
    assert np.array_equal(together, alone)


def test_one_answer_in_training_is_no_crash():
    x, _ = made(30, 1)
    (p,) = floors.logistic(x, np.ones((30, 1)), [x], kind="binary", rng=rng())
    assert (p == 1).all()


def test_five_thousand_thumbnails_are_quick():
    x, y = rng(1).normal(size=(5000, 256)), rng(2).integers(0, 2, (5000, 1)).astype(float)
    began = time.process_time()
    floors.logistic(x, y, [x[:500]], kind="binary", rng=rng())
    assert time.process_time() - began < 20


@pytest.mark.parametrize(("kind", "outputs"), [("binary", 1), ("multilabel", 3), ("multiclass", 3)])
@pytest.mark.parametrize("rare", [False, True])
def test_every_fit_is_told_once(kind, outputs, rare):
    x = rng().normal(size=(60, 4))
    level = np.arange(60) % 3 if not rare else (np.arange(60) < 2).astype(int)
    y = np.eye(3)[level] if kind == "multiclass" else np.stack([(level == j).astype(float) for j in range(outputs)], 1)
    told = []
    floors.logistic(x, y, [x], kind=kind, rng=rng(), tick=lambda: told.append(1))
    assert len(told) == floors.fits(kind, outputs)


def test_the_nearest_case_is_that_of_scikit_learn_and_a_copy_gets_its_answer():
    from sklearn.neighbors import KNeighborsClassifier

    r = rng()
    x, y, x2 = r.normal(size=(300, 6)), r.integers(0, 2, 300), r.normal(size=(100, 6))
    own, new = floors.nearest(x, y[:, None].astype(float), [x, x2])
    other = KNeighborsClassifier(1).fit(x, y)
    assert ((new[:, 0] > 0.5) == (other.predict(x2) == 1)).all()
    assert (own[:, 0] == y).all()
    unknown = np.where(np.arange(300)[:, None] < 150, y[:, None], np.nan)
    (half,) = floors.nearest(x, unknown, [x2])
    assert ((half[:, 0] > 0.5) == (KNeighborsClassifier(1).fit(x[:150], y[:150]).predict(x2) == 1)).all()
    (sure,) = floors.nearest(x, np.ones((300, 1)), [x2])
    assert (sure == 1).all()
