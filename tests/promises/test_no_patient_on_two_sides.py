"""We promise a hospital: no patient, and no copy of an image, stands in two cohorts of a split that we draw.

Nor does any count in the headline figures of a split that somebody else drew.
"""

from __future__ import annotations

import random

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from overread.domain import Study
from overread.stats.certificate import Copies
from overread.stats.splits import divide, overlap
from overread.steps.leakage import certify, clean


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


@settings(max_examples=40, deadline=None)
@given(cohorts(), st.integers(0, 1000))
def test_no_near_copy_is_on_two_sides_and_the_certificate_says_so(studies, seed):
    copies = near_copies(studies, seed)
    split = divide(studies, labels=["mass"], seed=seed, alike=copies.near)
    found = certify(split, copies, studies=studies, labels=["mass"])
    assert not any(count for pair in found["overlaps"].values() for count in pair.values())
    assert found["excluded"]["testing"] == []


@settings(max_examples=40, deadline=None)
@given(cohorts(), st.integers(0, 1000))
def test_what_leaked_in_the_split_of_somebody_else_does_not_count(studies, seed):
    """Divided study by study, as if nobody had several: the certificate leaves out of testing all that is known."""
    copies, rng = near_copies(studies, seed), random.Random(seed)
    parts = [rng.choices(("train", "val", "test"), (6, 1, 3))[0] for _ in studies]
    parts[:4] = ["train"] * 4
    split = divide(studies, labels=["mass"], seed=seed, published=parts, alike=copies.near)
    found = certify(split, copies, studies=studies, labels=["mass"])
    assert clean(found)
    for pair in ("training|tuning", "training|calibration", "tuning|calibration"):
        assert not any(found["overlaps_left"][pair].values())
    gone = {(row["image"], row["study"]) for row in found["excluded"]["testing"]}
    left = [e for e in split.cohorts["testing"] if (e[0], e[1]) not in gone]
    learned = [e for c, rows in split.cohorts.items() if c != "testing" for e in rows]
    for road in (lambda e: e[2], lambda e: e[1], lambda e: copies.near_of(e[0])):
        assert not ({road(e) for e in left} - {None}) & {road(e) for e in learned}


def near_copies(studies: list[Study], seed: int) -> Copies:
    """Call some images near copies of others, whoever they are of; exact ones are told by their hash."""
    rng = random.Random(seed)
    images = sorted({image for s in studies[60:] for image in s.images})
    near: dict[str, str] = {}
    for k in range(len(images) // 10):
        near |= dict.fromkeys(rng.sample(images, 2), f"group {k}")
    return Copies({}, near)


def test_the_promise_of_near_copies_can_fail():
    """The twin: a split that is not told of near copies tears them apart, and the certificate counts it."""
    studies = [Study(f"S{i}", (f"{i:064x}",), patient=f"P{i}", labels={"mass": i % 2 == 0}) for i in range(100)]
    near = Copies({}, {f"{i:064x}": f"g{i % 50}" for i in range(100)})
    split = divide(studies, labels=["mass"], seed=0)
    found = certify(split, near, studies=studies, labels=["mass"])
    assert found["overlaps"]["training|testing"]["near"] > 3 and found["excluded"]["testing"]
    assert sum(found["overlaps_left"]["training|testing"].values()) == 0
