"""Simulated cohorts where it is known whether the side tells the finding: the gain has the right sign, both ways."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from overread.imaging import patches
from overread.stats import twins


def cohort(n=300, *, side_tells, seed=0):
    """Noise with one disc; ill is a disc on the left (the side tells), or a ring in place of the disc (it does not)."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:28, :28]
    ill = rng.random(n) < 0.5
    column = np.where(ill, 8, 19) if side_tells else rng.uniform(7, 21, n)
    far = np.hypot(x - column[:, None, None], y - rng.uniform(8, 20, (n, 1, 1)))
    ring = np.abs(far - 3) < 1.2
    shape = far < 3.2 if side_tells else np.where(ill[:, None, None], ring, far < 3.2)
    return np.clip(0.4 + 0.3 * shape + 0.12 * rng.normal(size=shape.shape), 0, 1), ill[:, None].astype(float)


def asked(images, truth, who=None):
    bank = patches.filters(images, rng=np.random.default_rng(0))
    plain = patches.described(images, bank)
    mean = (plain + patches.described(np.flip(images, axis=-1), bank)) / 2
    return twins.gain(plain, mean, truth, who or list(range(len(truth))), rng=np.random.default_rng(0))


def test_where_the_side_tells_the_finding_mirror_images_do_harm():
    told = asked(*cohort(side_tells=True))
    assert told.high < 0


def test_where_the_finding_is_a_shape_that_may_lie_anywhere_mirror_images_help():
    told = asked(*cohort(side_tells=False))
    assert told.low > 0


def test_where_there_is_nothing_to_read_nothing_is_gained():
    """The interval holds 0 in about 95 of 100 cohorts whose answers were drawn by lot."""
    found = []
    for seed in range(12):
        images, _ = cohort(120, side_tells=False, seed=seed)
        found.append(asked(images, np.random.default_rng(100 + seed).integers(0, 2, (120, 1)).astype(float)))
    assert sum(e.low <= 0 <= e.high for e in found) >= 10


def test_too_few_patients_or_answers_tell_nothing():
    images, truth = cohort(60, side_tells=False)
    assert np.isnan(asked(images, truth, [f"P{i % 15}" for i in range(60)]).low)
    assert np.isnan(asked(images, np.zeros((60, 1))).low)


def test_the_interval_is_the_jackknifes_over_patients():
    """Second author: leave out each patient and take the difference of scikit-learn's AUROCs again."""
    rng = np.random.default_rng(2)
    n, patient = 120, np.arange(120) // 2
    truth = rng.integers(0, 2, n).astype(float)
    first, second = truth + rng.normal(0, 1, n), truth + rng.normal(0, 1.5, n)

    def difference(keep):
        return roc_auc_score(truth[keep], second[keep]) - roc_auc_score(truth[keep], first[keep])

    without = np.array([difference(patient != p) for p in range(60)])
    se = np.sqrt(59 / 60 * ((without - without.mean()) ** 2).sum())
    pulls = [twins._auroc(truth, s, patient, 60)[1] for s in (second, first)]
    assert np.sqrt(60 / 59 * ((pulls[0] - pulls[1]) ** 2).sum()) == pytest.approx(se, rel=0.05)
    assert twins._auroc(truth, first, patient, 60)[0] == pytest.approx(roc_auc_score(truth, first))
