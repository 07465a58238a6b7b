import numpy as np
import pytest

from overread.stats.resample import bootstrap, cases, interval, per_patient
from overread.stats.shares import counted, proportion, shares, wilson


def study(r, p, *, patients, within=0.3):
    """Patients with 1 to 3 images each, whose answers agree with an intraclass correlation of ``within``."""
    ease = r.beta(p * (1 - within) / within, (1 - p) * (1 - within) / within, patients)
    who = np.repeat(np.arange(patients), r.integers(1, 4, patients))
    return cases(np.ones(len(who)), np.zeros(len(who)), who.astype(str)), r.random(len(who)) < ease[who]


def share(c, hit):
    return proportion(c, hit, np.ones(len(hit), bool), nobody="no cases")


@pytest.mark.parametrize("p", [0.95, 0.98])
@pytest.mark.parametrize("patients", [60, 100])
def test_shares_near_1_are_held_19_times_in_20_though_patients_have_several_images(p, patients):
    held = 0
    for seed in range(1000):
        e = share(*study(np.random.default_rng(seed), p, patients=patients))
        held += e.low <= p <= e.high
    assert 0.93 <= held / 1000 <= 0.98


def test_the_twin_drawing_patients_misses_shares_near_1_too_often():
    held, p = 0, 0.98
    for seed in range(300):
        r = np.random.default_rng(seed)
        c, hit = study(r, p, patients=100)
        hits, ones = per_patient(c, hit.astype(float)), per_patient(c, np.ones(len(hit)))

        def drawn(w, hits=hits, ones=ones):
            return (w @ hits) / (w @ ones)

        low, high, _ = interval(bootstrap(c, drawn, rng=r, replicates=200, by_patient=True))
        held += low <= p <= high
    assert held / 300 < 0.93


def test_copies_count_once_and_strangers_count_each():
    r = np.random.default_rng(0)
    hit = np.repeat(r.random(400) < 0.7, 3)
    c = cases(np.ones(1200), np.zeros(1200), np.repeat(np.arange(400), 3).astype(str))
    copies = shares(counted(c, hit), counted(c, np.ones(1200, bool)))
    assert copies.single[0] == pytest.approx(400, rel=0.02)
    singles = []
    for seed in range(100):
        hit = np.random.default_rng(seed).random(900) < 0.7
        c = cases(np.ones(900), np.zeros(900), (np.arange(900) // 3).astype(str))
        singles.append(shares(counted(c, hit), counted(c, np.ones(900, bool))).single[0])
    assert 0.9 < np.mean(singles) / 900 <= 1


def test_copies_of_every_image_say_no_more_than_the_images():
    hit = np.arange(60) < 54
    once = share(cases(np.ones(60), np.zeros(60), np.arange(60).astype(str)), hit)
    thrice = share(cases(np.ones(180), np.zeros(180), np.repeat(np.arange(60), 3).astype(str)), np.repeat(hit, 3))
    assert (thrice.low, thrice.high) == pytest.approx((once.low, once.high), abs=0.012)
    assert "count as" in thrice.method and once.method == "Wilson"


def test_one_patient_is_one_witness():
    e = share(cases([1, 1, 1, 1], np.zeros(4), ["a"] * 4), np.array([1, 1, 1, 0], bool))
    assert (e.low, e.high) == wilson(0.75, 1)
