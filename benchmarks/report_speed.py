"""How long the figures of a report take: 10,000 images of 4,000 patients, floors and all.

Everything that ``overread evaluate`` computes from scores: the model's figures, those of three floors that have scores,
three ways, sets, and six subgroups with their gaps; then the page. Heat-maps and pictures are not in it. The intervals
are closed forms (docs/statistics.md); what 2,000 bootstrap replicates over the same patients say of the AUROC and of the
Brier score is asked too, and must be nearly the same.
"""

from __future__ import annotations

import argparse
import time

import numpy as np

from overread.domain import Task
from overread.pages.report import fill, page_of
from overread.stats import conformal
from overread.stats.guarantee import operating_point
from overread.stats.ranking import weighted_auroc
from overread.stats.resample import bootstrap, cases, interval, per_patient
from overread.stats.splits import Split
from overread.steps.beside import shorten
from overread.steps.covered import covered
from overread.steps.scores import Question, Scores
from overread.steps.subgroups import told_of

TASK = Task(labels=("mass",), kind="binary", name="mass")
SPLIT = Split({"training": (), "tuning": (), "calibration": (), "testing": ()})


def made(n: int, patients: int, *, seed: int) -> tuple[Scores, np.ndarray]:
    """Return cases of known truth and their probabilities; a patient's images resemble each other."""
    rng = np.random.default_rng(seed)
    who = np.sort(rng.integers(0, patients, n))
    lean = rng.normal(0, 1, patients)
    truth = (rng.random(n) < 1 / (1 + np.exp(-lean[who]))).astype(float)
    z = 1.5 * truth - 0.75 + 0.4 * lean[who] + rng.normal(0, 1, n)
    entries = tuple(("testing", f"{i:08x}", f"S{i:08x}", f"P{w:08x}") for i, w in enumerate(who))
    return Scores(entries, truth[:, None], z[:, None]), 1 / (1 + np.exp(-z[:, None]))


def measure(arguments: list[str] | None = None) -> list[dict[str, str]]:
    """Time each part once."""
    words = argparse.ArgumentParser(prog="python -m benchmarks report_speed")
    words.add_argument("--images", type=int, default=10_000)
    given = words.parse_args(arguments or [])
    testing, p = made(given.images, max(2, 2 * given.images // 5), seed=1)
    held, q = made(2_000, 800, seed=2)
    known, patients = held.truth[:, 0], held.patients
    point = operating_point(q[:, 0], known, patients, sensitivity=0.9)
    sets = {"mass": conformal.fit(np.stack([1 - q[:, 0], q[:, 0]], 1), known, patients)}
    how = Question(TASK, SPLIT, {"mass": point}, 0, sets)
    times, began = {}, time.perf_counter()

    def lap(name: str) -> None:
        nonlocal began
        times[name], began = time.perf_counter() - began, time.perf_counter()

    labels = how.figures(testing, p)
    lap("figures of the model")
    rng = np.random.default_rng(3)
    floors = {
        name: shorten(how.figures(testing, np.clip(p + rng.normal(0, far, p.shape), 0, 1)))
        for name, far in (("logistic_thumbnails", 0.1), ("nearest_thumbnail", 0.2), ("simple-cnn", 0.05))
    }
    floors["majority"] = shorten(how.figures(testing, np.full(p.shape, 0.5)))
    lap("figures of four floors")
    between = np.stack([p - 0.05, p + 0.05], axis=2)
    labels["mass"]["three_way"] = how.referrals(testing, p, between)["mass"]
    found = covered(how, testing, p)
    lap("three ways and sets")
    groups = [("site", str(k), list(range(k, given.images, 6))) for k in range(6)]
    subgroups = told_of(testing, p, groups, how, tick=lambda: None)
    lap("six subgroups")
    page = _page(testing, p, labels, floors, found, subgroups, point)
    fill(page_of(page), {})
    lap("the page")
    agreed = _drawn(testing, p, labels["mass"])
    lap("2,000 bootstrap replicates of AUROC and Brier score")
    whole = sum(times.values())
    goal = {"must": "under 20 s on 2 cores"} if given.images == 10_000 else {}
    return [
        *({"what": name, "value": f"{seconds:.2f} s"} for name, seconds in times.items()),
        {"what": f"all, {given.images:,} images", "value": f"{whole:.1f} s", **goal},
        *({"what": f"{name}: closed form against bootstrap", "value": words} for name, words in agreed.items()),
    ]


def _drawn(testing: Scores, p: np.ndarray, figures: dict) -> dict[str, str]:
    """Return the intervals by closed form and by drawing patients, side by side."""
    c = cases(testing.truth[:, 0], p[:, 0], testing.patients)
    error = per_patient(c, (c.score - c.truth) ** 2)
    images = per_patient(c, np.ones(len(c.truth)))
    rng, found = np.random.default_rng(4), {}
    for name, drawn in (
        ("auroc", bootstrap(c, weighted_auroc(c.truth, c.score), rng=rng)),
        ("brier", bootstrap(c, lambda w: (w @ error) / (w @ images), rng=rng, by_patient=True)),
    ):
        low, high, _ = interval(drawn)
        found[name] = f"{figures[name].low:.4f}–{figures[name].high:.4f} | {low:.4f}–{high:.4f}"
    return found


def _page(testing: Scores, p, labels, floors, found, subgroups, point) -> dict:
    from overread.domain.canonical import plain

    cohort = {"images": 1, "studies": 1, "patients": 1, "labels": {"mass": {"true": 1, "false": 0, "unknown": 0}}}
    card = {
        "name": "mass", "version": "1", "hashes": {}, "network": {}, "recipe": {}, "training": {}, "limits": [],
        "task": plain(TASK), "cohorts": {"testing": cohort},
    }  # fmt: skip
    measured = plain({"labels": labels, "floors": floors, "subgroups": subgroups, "sets": found})
    return {
        **measured, "split": {k: v for k, v in SPLIT.to_json().items() if k != "cohorts"}, "operating_points": {"mass": point},
        "unit": {"images": len(testing.entries), "patients": 4_000}, "name": "mass", "task": plain(TASK), "network": "none",
        "cohorts": card["cohorts"], "card": card, "card_fingerprint": "0", "strata": [], "strata_known": True,
        "curves": {"mass": {"truth": testing.truth[:, 0], "probability": p[:, 0], "beside": {}}}, "gallery": [], "calibration": {},
        "warnings": [], "reads": 1, "measured_before": "the 1st model", "apart": True, "now": "2026-01-02T03:04:00+00:00",
        "external": False, "overread": "0",
    }  # fmt: skip
