"""We promise a hospital: no patient, and no copy of an image, stands in two cohorts of a split that we draw."""

from __future__ import annotations

import random

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from overread.domain import Study
from overread.stats.splits import divide, overlap


@st.composite
def cohorts(draw) -> list[Study]:
    """Patients with one to four studies of one to three images, some of them copies, some without a name."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    share, copies, nameless = draw(st.floats(0.1, 0.9)), draw(st.floats(0, 0.3)), draw(st.sampled_from([0, 0, 0.3, 1]))
    studies: list[Study] = []
    images: list[str] = []
    for p in range(draw(st.integers(60, 140))):
        sick = p < 16 if p < 32 else bool(rng.random() < share)
        for _ in range(rng.integers(1, 5)):
            own = []
            for _ in range(rng.integers(1, 4)):
                copy = images and p >= 32 and rng.random() < copies * 0.2
                own.append(images[rng.integers(len(images))] if copy else f"{rng.integers(2**62):064x}")
            images += own
            patient = None if rng.random() < nameless else f"P{p:04d}"
            label = sick if rng.random() < 0.9 else not sick
            studies.append(
                Study(f"S{len(studies):06d}", tuple(dict.fromkeys(own)), patient=patient, labels={"mass": label})
            )
    return studies


def sides(split, what: int) -> dict[object, set[str]]:
    """Return in which cohorts each image (0), study (1) or patient (2) stands."""
    found: dict[object, set[str]] = {}
    for cohort, entries in split.cohorts.items():
        for entry in entries:
            if entry[what] is not None:
                found.setdefault(entry[what], set()).add(cohort)
    return found


@settings(max_examples=40, deadline=None)
@given(cohorts(), st.integers(0, 1000))
def test_no_patient_no_study_and_no_image_is_in_two_cohorts(studies, seed):
    split = divide(studies, labels=["mass"], seed=seed)
    for what in range(3):
        assert all(len(where) == 1 for where in sides(split, what).values())
    assert split.overlap == {"patients": 0, "studies": 0, "images": 0}
    assert len(sides(split, 1)) == len(studies)  # and nobody was lost


def test_the_promise_can_fail():
    """The twin: dividing by image, as many published studies did, puts patients on two sides, and the count sees it."""
    studies = [Study(f"S{i}", (f"{i:064x}",), patient=f"P{i // 3}", labels={"mass": i % 2 == 0}) for i in range(90)]
    order = list(range(90))
    random.Random(0).shuffle(order)
    parts = {"training": order[:60], "testing": order[60:]}
    naive = {
        c: [(studies[i].images[0], studies[i].pseudonym, studies[i].patient) for i in rows] for c, rows in parts.items()
    }
    assert overlap(naive)["patients"] > 10
    split = divide(studies, labels=["mass"], seed=0)
    split.cohorts["testing"] += (split.cohorts["training"][0],)  # a leak made on purpose
    assert any(len(where) > 1 for where in sides(split, 2).values())
