import numpy as np
import pytest

from overread.stats.shortcuts import find


def rng(seed=0):
    return np.random.default_rng(seed)


def cohort(r, n=400):
    return (r.random(n) < 0.4).astype(float)[:, None], [str(i // 2) for i in range(n)]


def test_a_fact_that_means_nothing_ranks_like_chance_and_its_interval_says_so():
    """Over many studies: 0.5 on average, warned of almost never, and 0.5 within the interval 19 times of 20."""
    values, warned, held = [], 0, 0
    for seed in range(150):
        r = rng(seed)
        truth, patients = cohort(r)
        facts = {"scanner": list(r.choice(["A", "B", "C", None], 400)), "brightness": list(r.normal(size=400))}
        for s in find(facts, truth, patients, labels=["x"], rng=r):
            values.append(s.auroc.value)
            warned += s.warns
            held += s.auroc.low <= 0.5 <= s.auroc.high
    assert np.mean(values) == pytest.approx(0.5, abs=0.01)
    assert warned == 0
    assert 0.91 <= held / len(values) <= 1


@pytest.mark.parametrize("share", [0.1, 0.5, 1.0])
def test_an_injected_shortcut_is_found_with_its_strength(share):
    """One class in JPEG for a share of its cases; the truth of the AUROC is known: 0.5 + share / 2."""
    r = rng(1)
    truth, patients = cohort(r, 3000)
    kinds = ["JPEG" if t and r.random() < share else "PNG" for t in truth[:, 0]]
    (s,) = find({"file format": kinds}, truth, patients, labels=["x"], rng=r)
    assert s.auroc.value == pytest.approx(0.5 + share / 2, abs=0.03)
    assert s.warns == (share > 0.2)
    assert dict((v, round(p, 1)) for v, p, _ in s.values)["JPEG"] == 1.0


def test_numbers_that_speak_at_both_ends_are_found():
    r = rng(2)
    truth, patients = cohort(r, 2000)
    far = np.where(truth[:, 0] == 1, r.choice([-3, 3], 2000), 0) + r.normal(size=2000)
    (s,) = find({"brightness": list(far)}, truth, patients, labels=["x"], rng=r)
    assert s.auroc.value > 0.85  # a straight line would say 0.5
    assert all(" to " in value for value, _, _ in s.values)


def test_a_site_known_by_its_patients_is_not_learned_by_heart():
    """Each patient has a value of their own: on other patients it says nothing."""
    r = rng(3)
    truth = (r.random(200) < 0.5).astype(float).repeat(3)[:, None]
    patients = [str(i) for i in np.arange(200).repeat(3)]
    (s,) = find({"room": [f"room {p}" for p in patients]}, truth, patients, labels=["x"], rng=r)
    assert s.auroc.value == pytest.approx(0.5, abs=0.05)
    by_image = find({"room": [f"room {p}" for p in patients]}, truth, None, labels=["x"], rng=r)[0]
    assert by_image.auroc.value > 0.8  # which is what forgetting who is who would have claimed


def test_several_labels_name_the_one_that_is_told_best():
    r = rng(4)
    truth = (r.random((900, 3)) < 0.5).astype(float)
    truth[:50, 1] = np.nan
    facts = {"view": ["AP" if t == 1 else "PA" for t in truth[:, 1]], "same": ["x"] * 900}
    (s,) = find(facts, truth, None, labels=["a", "b", "c"], rng=r)
    assert (s.label, s.auroc.n) == ("b", 850)
    assert s.auroc.value > 0.98
