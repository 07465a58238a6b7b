"""Testing cohorts drawn from a law that is known, and what each figure truly is under it, by integration.

Scores are bell curves, one for cases with the finding and one for cases without. Patients have one image, or 1 to 6 that
resemble each other: half of the variance of a score is the patient's own. With several images the finding is in all or
none of a patient's images ("by patient") or may be in some ("by image"). What one image looks like, seen alone, is the
same in all three, and so is the truth of every figure.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import optimize, stats
from scipy.special import expit, logit

SHARED = 0.5
"""Share of the variance that a patient's images have in common."""

MOST = 6
"""Images of a patient at most, where there are several."""

STATED = 0.02
"""Prevalence at which predictive values are stated."""

ACTED = (0.1, 0.3, 0.5)
"""Threshold probabilities of the net benefit."""

CUTS = (-0.5, 0.5, 1.2)
"""Where an ordered scale of four levels is cut, on the scale of what truly ails the patient."""

BLUR = 0.7
"""How far a reader of levels is off, on the same scale."""


@dataclass(frozen=True)
class Setting:
    """A kind of cohort: how many patients, how common the finding, and whose it is ("one", "patient" or "image")."""

    patients: int
    prevalence: float
    kind: str
    apart: float = 1.5
    other_apart: float = 1.2


@dataclass(frozen=True)
class Study:
    """A cohort drawn: one row an image.

    Parameters
    ----------
    truth : ndarray of int, (n,)
    probability, other : ndarray, (n,)
        What two models say of the same images.
    patients : list of str
    new : ndarray of bool, (n,)
        A scanner on which the finding stands out more; a patient may have been on both.
    """

    truth: np.ndarray
    probability: np.ndarray
    other: np.ndarray
    patients: list[str]
    new: np.ndarray


def probability(score: np.ndarray, prevalence: float, apart: float) -> np.ndarray:
    """Return what the model tells: too sure of itself by a fifth, and a little too high."""
    return expit(0.2 + 1.2 * (logit(prevalence) + apart * score - apart**2 / 2))


def who(setting: Setting, rng: np.random.Generator) -> np.ndarray:
    """Return the patient of each image."""
    size = np.ones(setting.patients, int) if setting.kind == "one" else rng.integers(1, MOST + 1, setting.patients)
    return np.repeat(np.arange(setting.patients), size)


def bells(patient: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return a number of variance 1 an image, half of which belongs to the patient."""
    own, each = rng.normal(size=patient[-1] + 1)[patient], rng.normal(size=len(patient))
    return np.sqrt(SHARED) * own + np.sqrt(1 - SHARED) * each


def study(setting: Setting, rng: np.random.Generator) -> Study:
    """Draw a cohort."""
    patient = who(setting, rng)
    if setting.kind == "image":
        ill = bells(patient, rng) > stats.norm.isf(setting.prevalence)
    else:
        ill = (rng.random(setting.patients) < setting.prevalence)[patient]
    common, first, second = (bells(patient, rng) for _ in range(3))  # both models see much of the same
    new = rng.random(len(patient)) < 0.5
    mixed = [np.sqrt(0.6) * common + np.sqrt(0.4) * own for own in (first, second)]
    score = mixed[0] + (setting.apart + 0.4 * new) * ill - 0.2 * ill
    other = mixed[1] + setting.other_apart * ill
    return Study(
        ill.astype(int),
        probability(score, setting.prevalence, setting.apart),
        probability(other, setting.prevalence, setting.other_apart),
        [str(i) for i in patient],
        new,
    )


def truths(setting: Setting, *, threshold: float) -> dict[str, float]:
    """Return what each figure truly is, for calls from a probability of ``threshold`` on."""
    pi, x = setting.prevalence, np.linspace(-10, 13, 46_001)
    step, well = x[1] - x[0], stats.norm.pdf(x)
    kinds = [setting.apart - 0.2, setting.apart + 0.2]  # on the old and on the new scanner
    ill = np.mean([stats.norm.pdf(x - d) for d in kinds], axis=0)
    found = _figures(x, step, ill, well, setting, setting.apart, threshold)
    other = _figures(x, step, stats.norm.pdf(x - setting.other_apart), well, setting, setting.other_apart, threshold)
    for name in ("auroc", "ap", "sensitivity", "specificity", "brier"):
        found[f"difference of {name}"] = found[name] - other[name]
    cut = _score_of(threshold, pi, setting.apart)
    old, new = (stats.norm.cdf(d / np.sqrt(2)) for d in kinds)
    found["gap in auroc"] = float(new - old)
    found["gap in sensitivity"] = float(stats.norm.sf(cut - kinds[1]) - stats.norm.sf(cut - kinds[0]))
    return found


def _score_of(p: float, prevalence: float, apart: float) -> float:
    """Return the score from which the model tells a probability of p."""
    return float(((logit(p) - 0.2) / 1.2 - logit(prevalence) + apart**2 / 2) / apart)


def _figures(x, step, ill, well, setting: Setting, apart: float, threshold: float) -> dict[str, float]:
    pi = setting.prevalence
    ill_above, well_above = (1 - np.cumsum(f) * step + f * step / 2 for f in (ill, well))
    p = probability(x, pi, apart)
    error = pi * ill * (1 - p) ** 2 + (1 - pi) * well * p**2
    line = logit(np.clip(p, 1e-12, 1 - 1e-12))

    def above(limit: float) -> tuple[float, float]:
        cut = _score_of(limit, pi, apart)
        return float(np.interp(cut, x, ill_above)), float(np.interp(cut, x, well_above))

    se, false = above(threshold)
    called = pi * se + (1 - pi) * false
    mass = (pi * ill + (1 - pi) * well) * step
    found = {
        "auroc": float((well * ill_above).sum() * step),
        "ap": float((ill * pi * ill_above / (pi * ill_above + (1 - pi) * well_above + 1e-300)).sum() * step),
        "sensitivity": se,
        "sensitivity_by_patient": se,  # whose images they are tells nothing of how hard they are
        "specificity": 1 - false,
        "ppv": pi * se / called,
        "npv": (1 - pi) * (1 - false) / (1 - called),
        "accuracy": pi * se + (1 - pi) * (1 - false),
        "balanced_accuracy": (se + 1 - false) / 2,
        "mcc": float(pi * (se - called) / np.sqrt(pi * (1 - pi) * called * (1 - called))),
        "lr_plus": se / false,
        "lr_minus": (1 - se) / (1 - false),
        "brier": float(error.sum() * step),
        "brier_skill": float(1 - error.sum() * step / (pi * (1 - pi))),
        "intercept": optimize.brentq(lambda a: float((mass * expit(line + a)).sum()) - pi, -5, 5),
        "slope": _slope(line, mass, pi * ill * step),
        f"ppv at {STATED}": STATED * se / (STATED * se + (1 - STATED) * false),
        f"npv at {STATED}": (1 - STATED) * (1 - false) / ((1 - STATED) * (1 - false) + STATED * (1 - se)),
    }
    for t in ACTED:
        acted = above(t)
        found[f"net benefit at {t}"] = pi * acted[0] - (1 - pi) * acted[1] * t / (1 - t)
    return found


def _slope(line: np.ndarray, mass: np.ndarray, ill: np.ndarray) -> float:
    """Return the slope that logistic regression has in endless data: Newton's method on the law itself."""
    design, beta = np.stack([np.ones(len(line)), line], axis=1), np.array([0.0, 1.0])
    for _ in range(50):
        p = expit(design @ beta)
        curve = (design * (mass * p * (1 - p))[:, None]).T @ design
        beta = beta + np.linalg.solve(curve, design.T @ (ill - mass * p))
    return float(beta[1])


def levels_study(setting: Setting, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Draw a cohort with four ordered levels: truth (n,), probabilities (n, 4), patients."""
    patient = who(setting, rng)
    ails = bells(patient, rng) if setting.kind == "image" else rng.normal(size=setting.patients)[patient]
    seen = ails + BLUR * bells(patient, rng)
    return np.digitize(ails, CUTS), level_probability(seen), [str(i) for i in patient]


def level_probability(seen: np.ndarray) -> np.ndarray:
    """Return how probable each level is for what was seen: exact, for patients as these."""
    middle, spread = seen / (1 + BLUR**2), BLUR / np.sqrt(1 + BLUR**2)
    below = stats.norm.cdf((np.array(CUTS) - np.asarray(middle)[..., None]) / spread)
    return np.diff(below, axis=-1, prepend=0.0, append=1.0)


def level_truths() -> dict[str, float]:
    """Return what each figure of the levels truly is."""
    x = np.linspace(-6, 6, 4_001) * np.sqrt(1 + BLUR**2)
    mass = stats.norm.pdf(x, scale=np.sqrt(1 + BLUR**2)) * (x[1] - x[0])
    p = level_probability(x)  # what is told is what is so
    joint = p * mass[:, None]
    share, call = joint.sum(0), p.argmax(1)
    table = np.stack([joint[call == k].sum(0) for k in range(4)], axis=1)  # truth down, call across
    areas = []
    for k in range(4):
        order = np.argsort(p[:, k], kind="stable")
        with_it, without = joint[order, k], mass[order] - joint[order, k]
        below = np.cumsum(without) - without / 2
        areas.append((with_it * below).sum() / (share[k] * (1 - share[k])))
    distance = (np.arange(4)[:, None] - np.arange(4)) ** 2
    chance = share[:, None] * table.sum(0)
    return {
        "auroc of levels": float(np.mean(areas)),
        "accuracy of levels": float(np.trace(table)),
        "balanced accuracy of levels": float(np.mean(np.diag(table) / share)),
        "brier of levels": float((joint * (1 - 2 * p + (p**2).sum(1, keepdims=True))).sum()),
        "kappa_quadratic": float(1 - (table * distance).sum() / (chance * distance).sum()),
    }
