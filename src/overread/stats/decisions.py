"""What a call is worth to a doctor: likelihood ratios, predictive values where the disease is rarer, net benefit.

Sensitivity and specificity describe a test; these figures describe what its answer changes.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from overread.domain import Estimate
from overread.stats.jackknife import FISHER, few, jackknifed, limits, without_each
from overread.stats.resample import Cases, per_patient
from overread.stats.shares import counted, mover, ratio, shares, together

ODDS = np.round(np.arange(0.01, 1.0, 0.01), 2)
"""Threshold probabilities of the decision curve."""


def figures(c: Cases, call: np.ndarray) -> dict[str, Any]:
    """Return what a call is worth: lr_plus, lr_minus, mcc (`Estimate`) and the decision curve.

    Parameters
    ----------
    c : Cases
        score holds probabilities.
    call : ndarray of bool, (n,)
    """
    plus, minus = likelihood_ratios(c, call)
    found: dict[str, Any] = {"lr_plus": plus, "lr_minus": minus, "mcc": matthews(c, call)}
    if len(c.truth):
        found["decision_curve"] = decision_curve(c)
    return found


def likelihood_ratios(c: Cases, call: np.ndarray) -> tuple[Estimate, Estimate]:
    """Return by how much a call multiplies the odds of the finding, and by how much no call does (LR+, LR−).

    Parameters
    ----------
    c : Cases
        truth is 1 or 0.
    call : ndarray of bool, (n,)

    Notes
    -----
    The ratio of two shares, from Wilson's interval of each (MOVER), with what they have in common where patients have
    images of both kinds. An empty cell needs no half case added to it.

    References
    ----------
    Zou and Donner 2008, doi:10.1002/sim.3095.

    Examples
    --------
    >>> from overread.stats.resample import cases
    >>> call = np.r_[np.ones(90), np.zeros(10), np.ones(20), np.zeros(80)].astype(bool)
    >>> c = cases(np.r_[np.ones(100), np.zeros(100)], call.astype(float))
    >>> plus, minus = likelihood_ratios(c, call)
    >>> f"{plus.value:.2f} {plus.low:.2f} {plus.high:.2f}", f"{minus.value:.3f} {minus.low:.3f} {minus.high:.3f}"
    ('4.50 3.08 6.76', '0.125 0.069 0.221')
    """
    present, call = c.truth == 1, np.asarray(call, bool)
    m, n = int(present.sum()), int((~present).sum())
    if not m or not n:
        gone = c.undefined(f"{m} cases with the finding and {n} without")
        return gone, gone
    s = shares(
        counted(c, call & present, call & ~present, ~call & present, ~call & ~present),
        counted(c, present, ~present, present, ~present),
    )
    told = f"Wilson by answer, their ratio by MOVER{few(c)}"
    return c.estimate(*ratio(s, 0, 1), told), c.estimate(*ratio(s, 2, 3), told)


def predictive_values(plus: Estimate, minus: Estimate, *, prevalence: float) -> tuple[Estimate, Estimate]:
    """Return PPV and NPV where the finding is as common as stated, from a test's likelihood ratios.

    A testing cohort half full of disease says nothing of a ward where 1 in 50 has it. The odds there, times the
    likelihood ratio, are the odds after the call, and so are the ends of its interval.

    Parameters
    ----------
    plus, minus : Estimate
        LR+ and LR−.
    prevalence : float
        Between 0 and 1, of the place where the test will be used.

    Examples
    --------
    >>> told = {"n": 200, "method": "MOVER"}
    >>> ppv, npv = predictive_values(Estimate(9, 5, 16, **told), Estimate(0.1, 0.05, 0.2, **told), prevalence=0.02)
    >>> f"{ppv.value:.3f} ({ppv.low:.3f}–{ppv.high:.3f})", f"{npv.value:.4f} ({npv.low:.4f}–{npv.high:.4f})"
    ('0.155 (0.093–0.246)', '0.9980 (0.9959–0.9990)')
    """
    before = prevalence / (1 - prevalence)

    def after(ratio: float) -> float:
        return 1.0 if np.isinf(ratio) else float(before * ratio / (1 + before * ratio))

    made = []
    for e, ends, share in (
        (plus, (plus.value, plus.low, plus.high), after),
        (minus, (minus.value, minus.high, minus.low), lambda ratio: 1 - after(ratio)),
    ):
        value, low, high = (share(end) for end in ends)
        told = f"Bayes at a prevalence of {prevalence:g}, from the likelihood ratio"
        made.append(Estimate(value, low, high, n=e.n, n_patients=e.n_patients, method=told))
    return made[0], made[1]


def matthews(c: Cases, call: np.ndarray) -> Estimate:
    """Return Matthews' correlation of call and truth: 1 perfect, 0 chance, whatever the prevalence.

    The jackknife over patients, on Fisher's scale. Where too few cases are called wrongly for it, the correlation is
    taken at the ends of Wilson's intervals of sensitivity and specificity, one at a time, and what each loses is joined
    (MOVER).

    Examples
    --------
    >>> from overread.stats.resample import cases
    >>> c = cases([1, 1, 1, 0, 0, 0], np.zeros(6))
    >>> round(matthews(c, np.array([1, 1, 0, 0, 0, 1], bool)).value, 4)
    0.3333
    """
    present, call = c.truth == 1, np.asarray(call, bool)
    if not present.any() or present.all():
        return c.undefined("one answer only")
    if call.all() or not call.any():
        return c.undefined("every case is called the same")
    sums = counted(c, call & present, call & ~present, ~call & present, ~call & ~present)

    def correlation(s: np.ndarray) -> np.ndarray:
        tp, fp, fn, tn = np.moveaxis(s, -1, 0)
        return (tp * tn - fp * fn) / np.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn))

    value, pull = without_each(sums, correlation)
    wrong, right = (np.count_nonzero(sums[:, pair].sum(1)) for pair in ([1, 2], [0, 3]))
    if abs(value) < 1 and min(wrong, right) >= 3 and np.isfinite(limits(value, pull, FISHER)[0]):
        return jackknifed(c, value, pull, FISHER)
    s = shares(sums[:, [0, 3]], counted(c, present, ~present))
    share = present.mean()

    def at(se: float, sp: float) -> float:
        called = share * se + (1 - share) * (1 - sp)
        spread = share * (1 - share) * called * (1 - called)
        return float(share * (se - called) / np.sqrt(spread)) if spread > 0 else 0.0

    (se, sp), told = s.value, f"Wilson by answer, joined by MOVER, as few cases differ{few(c)}"
    low = value - np.hypot(value - at(s.low[0], sp), value - at(se, s.low[1]))
    high = value + np.hypot(at(s.high[0], sp) - value, at(se, s.high[1]) - value)
    return c.estimate(value, max(-1.0, low), min(1.0, high), told)


def decision_curve(c: Cases, *, thresholds: np.ndarray = ODDS) -> dict[str, Any]:
    """Return the net benefit of acting on the probability, against acting on everybody and on nobody.

    NB(t) = TP / n − FP / n · t / (1 − t): true alarms, less false ones at the rate at which a doctor who acts from a
    probability of t weighs them. Acting on nobody has 0.

    Parameters
    ----------
    c : Cases
        score holds probabilities.
    thresholds : ndarray, (k,)
        Between 0 and 1, both excluded, rising.

    Returns
    -------
    dict
        thresholds, model, low, high (95 %, point by point), everybody, ahead_low (lower end of what the model gains over
        the better of everybody and nobody, in the same patients): lists of k; best_from, best_to: the longest unbroken
        run of thresholds at which ahead_low is above 0, point by point, or None; n, n_patients, method.

    Notes
    -----
    True and false alarms per image have Wilson's intervals, which are combined with what they have in common (MOVER).
    What is gained over acting on everybody is, in the same way, the false alarms spared less the findings missed:
    though hardly anybody is missed at a low threshold, Wilson's interval says how many might have been.

    References
    ----------
    Vickers and Elkin 2006, doi:10.1177/0272989X06295361; Zou and Donner 2008, doi:10.1002/sim.3095.

    Examples
    --------
    >>> from overread.stats.resample import cases
    >>> c = cases([1, 1, 0, 0], np.array([0.9, 0.6, 0.4, 0.1]))
    >>> curve = decision_curve(c, thresholds=np.array([0.2, 0.5]))
    >>> curve["model"], curve["everybody"]
    ([0.4375, 0.5], [0.375, 0.0])
    """
    t = np.asarray(thresholds, float)
    weight, k = t / (1 - t), len(t)
    over = np.searchsorted(t, c.score, side="right")  # how many thresholds a case is at or above
    hits = []
    for here in (c.truth == 1, c.truth != 1):
        at = np.bincount(c.patient[here] * (k + 1) + over[here], minlength=c.patients * (k + 1)).reshape(-1, k + 1)
        acted = at[:, ::-1].cumsum(1)[:, ::-1][:, 1:]
        hits += [acted, at.sum(1, keepdims=True) - acted]
    tp, fn, fp, tn = hits
    images = per_patient(c, np.ones(len(c.truth)))[:, None]

    def gained(first: np.ndarray, second: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, ...]:
        s = shares(np.concatenate([first, second], axis=1).astype(float), np.tile(images, 2 * k))
        pairs = [part.reshape(2, k).T for part in (s.value, s.low, s.high)]
        return mover(*pairs, weights, together(s.pull.reshape(-1, 2, k).swapaxes(1, 2)))

    model, low, high = gained(tp, fp, np.stack([np.ones(k), -weight], axis=1))
    _, over_all, _ = gained(tn, fn, np.stack([weight, -np.ones(k)], axis=1))
    share = float((c.truth == 1).mean())
    ahead_low = np.minimum(low, over_all)
    if c.patients < 2:
        low = high = ahead_low = np.full(k, np.nan)
    best = longest_run(ahead_low > 0)
    return {
        "thresholds": t.tolist(),
        "model": model.tolist(),
        "low": low.tolist(),
        "high": high.tolist(),
        "everybody": (share - (1 - share) * weight).tolist(),
        "ahead_low": ahead_low.tolist(),
        "best_from": float(t[best[0]]) if best else None,
        "best_to": float(t[best[1]]) if best else None,
        "n": len(c.truth),
        "n_patients": c.patients if c.known else None,
        "method": c.in_words("Wilson on patients, combined by MOVER"),
    }


def longest_run(holds: np.ndarray) -> tuple[int, int] | None:
    """Return the first and last place of the longest unbroken run of what holds, or None.

    Examples
    --------
    >>> longest_run(np.array([True, False, True, True, True, False, True])), longest_run(np.zeros(3, bool))
    ((2, 4), None)
    """
    edges = np.flatnonzero(np.diff(np.r_[False, np.asarray(holds, bool), False]))
    starts, ends = edges[::2], edges[1::2] - 1
    if not len(starts):
        return None
    k = int(np.argmax(ends - starts))
    return int(starts[k]), int(ends[k])
