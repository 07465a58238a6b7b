"""How often does each 95 % interval hold the truth? Made-up studies whose truth is known by integration.

Each figure is asked of 1,000 studies in each of 27 settings: 60, 200 or 1,000 patients; one image each, or 1 to 6 that
resemble each other, the finding in all or none of them or in some; the finding in 1, 3 or 5 of 10. A table has a row a
figure, three columns a kind of cohort; ``docs/statistics.md`` tells what follows. What it costs to count images as
patients is printed beside it.
"""

from __future__ import annotations

import argparse
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from itertools import product

import numpy as np
from scipy import stats

from benchmarks import made_studies as made
from benchmarks.made_studies import Setting, Study
from overread.domain import Estimate
from overread.stats import claims, metrics
from overread.stats.decisions import predictive_values
from overread.stats.resample import cases
from overread.stats.shares import shares

PATIENTS, PREVALENCES = (60, 200, 1000), (0.1, 0.3, 0.5)
KINDS = {"one": "one image each", "patient": "1–6 images, finding by patient", "image": "1–6 images, finding by image"}
FEW = 20
"""Patients of an answer below which nothing is promised."""

NOT_FIGURES = ("confusion", "decision_curve", "accuracy_at_half", "prevalence")


def figures(study: Study, *, threshold: float, alone: bool = False) -> dict[str, Estimate]:
    """Return every figure of a study; with ``alone`` each image is taken for a patient of its own."""
    who = None if alone else study.patients
    every = metrics.binary_figures(study.truth, study.probability, threshold=threshold, patients=who)
    found = {name: e for name, e in every.items() if name not in NOT_FIGURES}
    ends = predictive_values(found["lr_plus"], found["lr_minus"], prevalence=made.STATED)
    found |= {f"{name} at {made.STATED}": e for name, e in zip(("ppv", "npv"), ends, strict=True)}
    curve = every["decision_curve"]
    for t in made.ACTED:
        k = int(np.argmin(np.abs(np.array(curve["thresholds"]) - t)))
        found[f"net benefit at {t}"] = Estimate(
            *(curve[end][k] for end in ("model", "low", "high")), n=len(study.truth)
        )
    return found | _differences(study, threshold, who) | _gaps(study, threshold, who)


def _differences(study: Study, threshold: float, who: list[str] | None) -> dict[str, Estimate]:
    c, present = cases(study.truth, study.probability, who), study.truth == 1
    mine, its = study.probability >= threshold, study.other >= threshold
    return {
        "difference of auroc": claims.difference_auroc(c, study.other),
        "difference of ap": claims.difference_ap(c, study.other),
        "difference of sensitivity": claims.difference_share(c, mine, its, present),
        "difference of specificity": claims.difference_share(c, ~mine, ~its, ~present),
        "difference of brier": claims.difference_mean(c, (study.probability - present) ** 2, (study.other - present) ** 2),
    }  # fmt: skip


def _gaps(study: Study, threshold: float, who: list[str] | None) -> dict[str, Estimate]:
    groups = (np.flatnonzero(study.new), np.flatnonzero(~study.new))
    told = metrics.brief_gaps(study.truth, study.probability, threshold=threshold, patients=who, groups=groups)
    return {f"gap in {name}": told[name] for name in ("auroc", "sensitivity")}


def levels(setting: Setting, rng: np.random.Generator, *, alone: bool = False) -> dict[str, Estimate]:
    """Draw a study with four ordered levels, and return its figures."""
    truth, p, who = made.levels_study(setting, rng)
    f = metrics.multiclass_figures(truth, p, levels=list("abcd"), ordinal=True, patients=None if alone else who)
    names = {"auroc": "auroc", "accuracy": "accuracy", "balanced_accuracy": "balanced accuracy", "brier": "brier"}
    return {f"{words} of levels": f[name] for name, words in names.items()} | {"kappa_quadratic": f["kappa_quadratic"]}


def covered(
    setting: Setting, *, studies: int, seed: int = 0, alone: bool = False
) -> dict[str, tuple[float, float, int]]:
    """Return, for each figure, how often its interval holds the truth, its mean width, and in how many studies it is told."""
    threshold = setting.prevalence  # calls about as often as the finding is there
    true = made.truths(setting, threshold=threshold) | made.level_truths()
    held: dict[str, list[tuple[bool, float]]] = {name: [] for name in true}
    asked = setting.prevalence == PREVALENCES[1]  # of levels the prevalence says nothing
    for k in range(studies):
        rng = np.random.default_rng(
            [seed, setting.patients, round(100 * setting.prevalence), *setting.kind.encode(), k]
        )
        drawn = made.study(setting, rng)
        if not 0 < drawn.truth.sum() < len(drawn.truth):
            continue
        every = figures(drawn, threshold=threshold, alone=alone)
        for name, e in (every | (levels(setting, rng, alone=alone) if asked else {})).items():
            if not np.isnan(e.low):
                held[name].append((e.low <= true[name] <= e.high, e.high - e.low))
    return {
        name: (float(np.mean([h for h, _ in told])), float(np.median([w for _, w in told])), len(told))
        for name, told in held.items()
        if told
    }


def measure(arguments: list[str] | None = None) -> list[dict[str, str]]:
    """Ask every setting; the twin asks fewer studies with images counted as patients."""
    words = argparse.ArgumentParser(prog="python -m benchmarks coverage")
    words.add_argument("--studies", type=int, default=1000)
    words.add_argument("--seed", type=int, default=0)
    words.add_argument("--processes", type=int, default=2)
    words.add_argument(
        "--apart", type=float, default=1.5, help="of the bell curves: 1.5 is an AUROC of 0.85, 2.6 one of 0.97"
    )
    words.add_argument("--patients", type=int, nargs="+", default=PATIENTS)
    given = words.parse_args(arguments or [])
    how = {"apart": given.apart, "other_apart": 0.8 * given.apart}
    asked = [Setting(n, share, kind, **how) for n, kind, share in product(given.patients, KINDS, PREVALENCES)]
    twins = [s for s in asked if s.kind != "one" and s.patients == min(given.patients, key=lambda n: abs(n - 200))]
    jobs = [(s, given.studies, False) for s in asked] + [(s, max(1, given.studies // 5), True) for s in twins]
    jobs.sort(key=lambda job: -job[0].patients)
    with ProcessPoolExecutor(given.processes) as pool:
        results = list(pool.map(_job, [(*job, given.seed) for job in jobs]))
    found = {(s, alone): told for (s, _, alone), told in zip(jobs, results, strict=True)}
    return [*_table(found, asked, given.studies, given.seed), *_summary(found, asked, twins), *few_patients(given.seed)]


def few_patients(seed: int, *, studies: int = 3000) -> list[dict[str, str]]:
    """Return how often a share's interval holds the truth where few patients bear witness, with images that are much alike."""
    rng, rows = np.random.default_rng(seed), []
    for patients, (least, most), common in product((4, 6, 10, 18), ((10, 10), (1, 6), (1, 40)), (0.5, 0.99)):
        rates = []
        for share in (0.05, 0.2, 0.5):
            of = rng.integers(least, most + 1, (patients, studies))
            own, each = rng.normal(size=of.shape), rng.normal(size=(most, *of.shape))
            ill = np.sqrt(common) * own + np.sqrt(1 - common) * each > stats.norm.isf(share)
            told = shares((ill & (np.arange(most)[:, None, None] < of)).sum(0).astype(float), of.astype(float))
            rates.append(f"{100 * np.mean((told.low <= share) & (share <= told.high)):.1f}")
        what = (
            f"a share of 0.05 | 0.2 | 0.5, {patients} patients of {least} to {most} images that correlate by {common}"
        )
        rows.append({"what": what, "value": " | ".join(rates)})
    return rows


def _job(job: tuple[Setting, int, bool, int]) -> dict[str, tuple[float, float, int]]:
    setting, studies, alone, seed = job
    return covered(setting, studies=studies, seed=seed, alone=alone)


def _table(found: dict, asked: list[Setting], studies: int, seed: int) -> list[dict[str, str]]:
    """A row a figure and a kind of cohort: coverage in % (median width) at each prevalence."""
    rows = [{"what": "each row", "value": f"coverage in % (median width) at a prevalence of 0.1 | 0.3 | 0.5; {studies:,} studies a setting, seed {seed}"}]  # fmt: skip
    names = list(dict.fromkeys(name for s in asked for name in found[s, False]))
    for name, kind, n in product(names, KINDS, dict.fromkeys(s.patients for s in asked)):
        cells = []
        for share in PREVALENCES:
            told = found[replace(asked[0], patients=n, prevalence=share, kind=kind), False].get(name)
            if told:
                part = "" if told[2] == studies else f" of {told[2]:,}"
                cells.append(f"{100 * told[0]:.1f} ({told[1]:.3g}){part}")
        rows.append({"what": f"{name}, {n:,} patients, {KINDS[kind]}", "value": " | ".join(cells)})
    return rows


def few(setting: Setting) -> bool:
    """True where fewer than 20 patients are expected to have the finding."""
    return setting.patients * setting.prevalence < FEW


def _summary(found: dict, asked: list[Setting], twins: list[Setting]) -> list[dict[str, str]]:
    """A row a figure: lowest and highest coverage, with 20 patients of each answer and with fewer, and the twin's."""
    rows = []
    for name in dict.fromkeys(name for s in asked for name in found[s, False]):
        parts = []
        for words, chosen in (
            ("20 patients or more with the finding", [s for s in asked if not few(s)]),
            ("fewer", [s for s in asked if few(s)]),
        ):
            rates = [found[s, False][name][0] for s in chosen if name in found[s, False]]
            if rates:
                parts.append(f"{words} {100 * min(rates):.1f}–{100 * max(rates):.1f} %")
        naive = [found[s, True][name][0] for s in twins if name in found[s, True]]
        if naive:
            parts.append(f"images counted as patients {100 * min(naive):.1f}–{100 * max(naive):.1f} %")
        rows.append({"what": name, "value": "; ".join(parts), "must": "95 ± 2 % in 1,000 studies or more"})
    return rows
