"""Simulated cohorts whose symmetry is known, both ways: the heart on one side is found, and nothing is found where nothing is."""

import numpy as np
import pytest

from overread.stats import mirrors
from overread.stats.resample import Nameless


def cohort(n=400, side=12, *, heart=0.0, seed=0):
    """Pictures with a bright blob that lies left of the middle by ``heart`` pixels on average, and noise."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side] - (side - 1) / 2
    middle = rng.normal(-heart, 1.5, n)
    blobs = np.exp(-((x - middle[:, None, None]) ** 2 + (y - rng.normal(0, 1, (n, 1, 1))) ** 2) / 6)
    return blobs + 0.1 * rng.normal(size=(n, side, side))


def asked(pictures, truth=None, who=None, seed=0):
    n = len(pictures)
    truth = np.arange(n)[:, None] % 2 if truth is None else truth
    mirrored = np.flip(pictures, axis=-1)
    rows = (a.reshape(n, -1) for a in (pictures, mirrored))
    return mirrors.told_apart(*rows, truth, who or list(range(n)), rng=np.random.default_rng(seed))


def test_a_heart_on_one_side_is_found():
    told = asked(cohort(heart=3))
    assert not told.alike
    assert told.looks.low > 0.9


def test_a_cohort_that_is_its_own_mirror_image_is_found_so():
    assert asked(cohort(heart=0)).alike
    both = np.concatenate([cohort(heart=3), np.flip(cohort(heart=3, seed=1), axis=-1)])  # left eyes and right ones
    assert asked(both).alike


def test_an_answer_that_is_a_side_is_found_though_all_images_together_are_symmetric():
    """A left hand or a right one, written 0 and 1: the looks tell nothing, the looks of each answer all."""
    both = np.concatenate([cohort(heart=3), np.flip(cohort(heart=3, seed=1), axis=-1)])
    truth = np.repeat([0.0, 1.0], 400)[:, None]
    told = asked(both, truth)
    assert told.looks.high < mirrors.LIMIT
    assert told.answered.low > 0.8
    assert told.worst == told.answered
    assert not told.alike


def test_the_error_of_calling_a_sided_cohort_symmetric_is_rare_and_a_symmetric_one_passes_mostly():
    """Known truth: hearts so little to one side that the best line has AUROC .71 never pass; symmetric ones mostly do."""
    passed = [asked(cohort(500, heart=0, seed=s), seed=s).alike for s in range(10)]
    sided = [asked(cohort(500, heart=0.6, seed=s), seed=s).alike for s in range(10)]
    assert np.mean(passed) >= 0.8
    assert np.mean(sided) == 0


def test_few_patients_pass_nothing_however_many_images_they_have():
    pictures = cohort(400)
    assert not asked(pictures, who=[f"P{i % 15}" for i in range(400)]).alike
    assert not asked(pictures[:15]).alike


def test_unknown_patients_are_patients_of_their_own_and_copies_are_one():
    pictures = cohort(400)
    assert asked(pictures, who=[None] * 400).looks.n_patients == 400
    assert asked(pictures, who=[Nameless(f"S{i // 2}") for i in range(400)]).looks.n_patients == 200


def test_a_patients_images_are_never_judged_by_a_line_that_has_seen_them():
    """Twin: each patient has a mark of his own on the left; a line that knew him would tell his mirror image."""
    rng = np.random.default_rng(0)
    marks = rng.normal(size=(60, 12, 12)) * 3
    pictures = np.repeat(marks, 8, axis=0) + 0.1 * rng.normal(size=(480, 12, 12))
    by_patient = asked(pictures, who=[f"P{i // 8}" for i in range(480)])
    by_image = asked(pictures)
    assert by_patient.looks.value < 0.65 < 0.75 < by_image.looks.value


@pytest.mark.parametrize("truth", [np.full((300, 1), np.nan), np.ones((300, 1)), np.eye(9)[np.arange(300) % 9]])
def test_unknown_one_sided_and_many_answers_are_no_trouble(truth):
    told = asked(cohort(300), truth)
    assert np.isfinite([told.looks.value, told.answered.value]).all()


def test_the_interval_is_the_jackknifes_over_patients():
    """Second author: leave out each patient in turn and compute the AUROC again."""
    rng = np.random.default_rng(1)
    n, patient = 120, np.repeat(np.arange(40), 3)
    a, b = rng.normal(size=n), rng.normal(0.4, 1, n)

    def auroc(keep):
        return np.mean([(b[keep] > x).mean() for x in a[keep]])

    told = mirrors._auroc(a, b, patient)
    without = np.array([auroc(patient != p) for p in range(40)])
    se = np.sqrt(39 / 40 * ((without - without.mean()) ** 2).sum())
    value = auroc(patient >= 0)
    half = 1.96 * se / (value * (1 - value))
    low, high = 1 / (1 + np.exp(-(np.log(value / (1 - value)) + half * np.array([-1, 1]))))
    assert told.value == pytest.approx(value)
    assert (told.low, told.high) == pytest.approx((low, high), abs=2e-3)
