"""Whether a heat-map may be believed: the tests, each with its limit, and a verdict in words.

A map that survives a network whose answer has been redrawn by chance says nothing of the network. One whose hottest
places can be covered without changing the answer more than covering anywhere else is a decoration. One that changes with
a little noise shows the noise. A map is shown in colour only after it has passed them all on at least `FEWEST` cases.

References
----------
Adebayo et al. 2018, arXiv 1810.03292 (randomisation); Petsiuk et al. 2018, arXiv 1806.07421 (deletion, insertion);
Arun et al. 2021, doi:10.1148/ryai.2021200267 (trust criteria in medical images).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import scipy  # its statistics load when they are first asked for: a prediction asks for none

from overread.domain import Estimate
from overread.domain.canonical import plain
from overread.stats.resample import Who, bootstrap, cases, interval, per_patient

FEWEST = 50
"""Cases below which nothing is said of a kind of map."""

FEWEST_POINTED = 20
"""Images with known lesions below which the pointing game is told, and decides nothing."""

MOST_LUCKY = 1 / 2000
"""Share of networks with redrawn weights that may tell the images apart as well as the network does."""

FEWEST_ANSWERS = 15
"""Images with the rarer answer below which nobody can say whether a network has learned anything."""

MOST_ALIKE = 0.5
"""Rank correlation with the map of a network with a redrawn head: above, the map does not depend on the answer."""

LEAST_STABLE = 0.7
"""Rank correlation with the map of the same image under a little noise: below, the map shows the noise."""

MOST_BORDER = 0.5
"""Share of a map's size that may lie on the border of the image, where no finding is looked for."""

BORDER = 1 / 16
"""Width of the border on each side, as a share of the side: its area is 23 % of a picture."""

SHARES = (0.0, 0.04, 0.08, 0.15, 0.25, 0.4, 0.6, 1.0)
"""Shares of the image that are taken away, or put back, along a curve."""

CAUTION = "A heat-map is evidence about the model, not an outline of disease."

RIVALS = {"random": "the same map put elsewhere at random", "centre": "a blob in the middle"}


def rank_correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Return Spearman's rank correlation of two maps; 0 where one of them is the same everywhere.

    Examples
    --------
    >>> a = np.array([[0.0, 1], [2, 5]])
    >>> rank_correlation(a, np.exp(a)), rank_correlation(a, -a), rank_correlation(a, np.ones((2, 2)))
    (1.0, -1.0, 0.0)
    """
    first, second = (scipy.stats.rankdata(np.asarray(v, float).ravel()) for v in (a, b))
    first, second = first - first.mean(), second - second.mean()
    size = float(np.sqrt((first @ first) * (second @ second)))
    return round(float(first @ second) / size, 12) if size > 0 else 0.0


def elsewhere(heat: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return the map mirrored and moved at random, round the edges: as smooth and as large, but it knows no place."""
    for axis in range(heat.ndim):
        heat = np.roll(np.flip(heat, axis) if rng.random() < 0.5 else heat, rng.integers(heat.shape[axis]), axis)
    return heat


def centre_blob(shape: Sequence[int]) -> np.ndarray:
    """Return a round blob in the middle, a quarter of the side wide: where most findings, and most bodies, are.

    Examples
    --------
    >>> blob = centre_blob((9, 9))
    >>> np.unravel_index(blob.argmax(), blob.shape) == (4, 4)
    True
    """
    far = [((np.arange(n) - (n - 1) / 2) / (n / 4)) ** 2 for n in shape]
    return np.exp(-sum(np.meshgrid(*far, indexing="ij")) / 2)


def hottest(heat: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    """Return which places (boolean, like the map) are the hottest ``share`` of it; ties are drawn.

    Examples
    --------
    >>> hottest(np.array([0.0, 3, 1, 2]), 0.5, np.random.default_rng(0)).tolist()
    [False, True, False, True]
    """
    order = np.lexsort((rng.random(heat.size), -heat.ravel()))
    chosen = np.zeros(heat.size, bool)
    chosen[order[: round(share * heat.size)]] = True
    return chosen.reshape(heat.shape)


def area(shares: Sequence[float], scores: Sequence[float]) -> float:
    """Return the area under a curve of scores over the share that was changed.

    Examples
    --------
    >>> area([0, 0.5, 1], [1, 0, 0])
    0.25
    """
    return float(np.trapezoid(scores, shares))


def border_share(heat: np.ndarray) -> float:
    """Return the share of a map's size that lies on the border of the image.

    Examples
    --------
    >>> border_share(np.ones((32, 32)))
    0.234375
    """
    size = np.abs(heat)
    inner = size[tuple(slice(round(n * BORDER), n - round(n * BORDER)) if n > 4 else slice(None) for n in heat.shape)]
    total = float(size.sum())
    return round(1 - float(inner.sum()) / total, 12) if total > 0 else 0.0


def mean(values: Sequence[float], patients: Sequence[str | None] | None, rng: np.random.Generator) -> Estimate:
    """Return the mean of a figure over the cases, with an interval over patients drawn with replacement.

    Examples
    --------
    >>> found = mean([1.0, 2.0, 3.0], ["a", "b", "c"], np.random.default_rng(0))
    >>> found.value, found.low < 2 < found.high, found.n_patients
    (2.0, True, 3)
    """
    values = np.asarray(values, float)
    c = cases(np.where(np.isnan(values), np.nan, 1.0), values, patients)
    if not len(c.truth):
        return c.undefined("no case")
    sums, ones = per_patient(c, c.score), per_patient(c, np.ones(len(c.score)))
    samples = bootstrap(c, lambda w: (w @ sums) / (w @ ones), rng=rng, by_patient=True)
    return c.estimate(float(c.score.mean()), *interval(samples))


def verdict(
    trials: Sequence[Mapping[str, Any]],
    patients: Sequence[str | None] | None,
    rng: np.random.Generator,
    *,
    learned: Mapping[str, Any],
) -> dict[str, Any]:
    """Return what the tests of one kind of map say together.

    Parameters
    ----------
    trials : sequence of mapping
        One a case: ``randomisation`` {"head", "half", "all": absolute rank correlation}, ``deletion`` and ``insertion``
        {"map", "random", "centre": area}, ``stability``, ``border``.
    patients : sequence of str or None
        Of each case.
    rng : numpy.random.Generator
    learned : mapping
        ``auroc`` of the network, ``as_good``: the share of ``twins`` networks with redrawn weights that do as well on
        the same ``n`` images, ``rarely``: what `MOST_LUCKY` of them reach, ``answers``: images with the rarer answer. The
        map of a network that has learned nothing may be true to the network, and is still no evidence of anything.

    Returns
    -------
    dict
        ``passed``, ``why`` in words, ``cases``, ``checks`` (name, passed, told), and the figures as `Estimate`.
    """
    n = len(trials)
    if n < FEWEST:
        why = f"It was tested on {n:,} cases; at least {FEWEST} are needed to say anything."
        return {"passed": False, "tested": False, "cases": n, "why": why, "checks": []}

    def over(values) -> Estimate:
        return mean(list(values), patients, rng)

    alike = {depth: over(t["randomisation"][depth] for t in trials) for depth in trials[0]["randomisation"]}
    better = {
        kind: {rival: over(_better(kind, t[kind], rival) for t in trials) for rival in RIVALS}
        for kind in ("deletion", "insertion")
    }
    stability, border = over(t["stability"] for t in trials), over(t["border"] for t in trials)
    checks = [_has_learned(learned), _randomised(alike["head"]), *(_curve(kind, better[kind]) for kind in better)]
    checks += [_stable(stability), _inside(border)]
    figures = {
        "randomisation": alike["head"],
        "cascade": alike,
        "learned": dict(learned),
        "deletion": better["deletion"]["random"],
        "insertion": better["insertion"]["random"],
        "against_centre": {kind: better[kind]["centre"] for kind in better},
        "stability": stability,
        "border": border,
    }
    return {**_summed(checks, n), **figures}


def pointed(
    verdict: Mapping[str, Any],
    known: Sequence[Mapping[str, float]],
    rng: np.random.Generator,
    *,
    patients: Sequence[Who] | None,
) -> dict[str, Any]:
    """Return a verdict with the pointing game added to it, in place of an earlier one.

    Parameters
    ----------
    verdict : mapping
        From `verdict`, of a kind of map that has been tested.
    known : sequence of mapping
        One an image with lesions whose place is known: ``map`` 1 where the hottest point lies on one, ``others`` the share
        of other cases' maps that would, ``overlap`` of the hottest places with the lesions.
    rng : numpy.random.Generator
    patients : sequence of str, Nameless or None
        Whose each image is; None where nobody knows of any.
    """
    figures, found = pointing(known, patients, rng)
    if len(known) < FEWEST_POINTED:  # told, and nothing is decided by it
        return {**verdict, "pointing": figures}
    return _with_pointing(verdict, found, figures)


def carried(new: Mapping[str, Any], old: Mapping[str, Any]) -> dict[str, Any]:
    """Return a new verdict with the pointing game of an older one on the same model, which nobody played again."""
    played = [c for c in old.get("checks", ()) if c["name"] == "pointing"]
    if not new.get("tested") or not played or "pointing" in new:
        return dict(new)
    return _with_pointing(new, played[0], old["pointing"])


def _with_pointing(verdict: Mapping[str, Any], found: Mapping[str, Any], figures: Mapping[str, Any]) -> dict[str, Any]:
    checks = [c for c in verdict["checks"] if c["name"] != "pointing"]
    return {**verdict, **_summed([*checks, found], verdict["cases"]), "pointing": figures}


def _summed(checks: Sequence[Mapping[str, Any]], n: int) -> dict[str, Any]:
    failed = [c["told"] for c in checks if not c["passed"]]
    why = " ".join(failed) if failed else f"It passed all {len(checks)} tests on {n:,} cases."
    return {"passed": not failed, "tested": True, "cases": n, "why": why, "checks": list(checks)}


def pointing(
    known: Sequence[Mapping[str, float]], patients: Sequence[Who] | None, rng: np.random.Generator
) -> tuple[dict[str, Estimate], dict[str, Any]]:
    """Return how often the hottest point lies on a lesion, beside other cases' maps, and the check made of it."""
    figures = {
        "hits": mean([t["map"] for t in known], patients, rng),
        "others": mean([t["others"] for t in known], patients, rng),
        "gain": mean([t["map"] - t["others"] for t in known], patients, rng),
        "overlap": mean([t["overlap"] for t in known], patients, rng),
    }
    return figures, _check("pointing", figures["gain"].low > 0, pointing_words(plain(figures)))


def pointing_told(known: int, check: Mapping[str, Any], *, tested: bool) -> str:
    """Say what came of a pointing game on so many images, and whether anything hangs on it.

    Examples
    --------
    >>> won = {"told": "Its hottest point lies on it.", "passed": True}
    >>> pointing_told(60, won, tested=True)
    'Pointing game on 60 images with known lesions: passed. Its hottest point lies on it.'
    >>> pointing_told(8, won, tested=True)[:75]
    'Pointing game on 8 images with known lesions, decides nothing (from 20 on):'
    """
    if known < FEWEST_POINTED:
        word = f", decides nothing (from {FEWEST_POINTED} on):"
    elif not tested:
        word = f": {'won' if check['passed'] else 'lost'}, and not kept, as this kind of map was not tested (--test)."
    else:
        word = ": passed." if check["passed"] else ": not passed."
    images = "1 image" if known == 1 else f"{known:,} images"
    return f"Pointing game on {images} with known lesions{word} {check['told']}"


def pointing_words(figures: Mapping[str, Any]) -> str:
    """Return the line on a pointing game from its figures, as they stand in a run."""
    hits, others = (100 * figures[k]["value"] for k in ("hits", "others"))
    told = (
        f"Its hottest point lies on a known lesion in {hits:.0f} of 100 cases; with another case's map in {others:.0f}."
    )
    if figures["hits"]["n_patients"] is None:
        told += " Nobody knows all of their patients: where that is so, each image, or each study, counts as one."
    return told


def _better(kind: str, areas: Mapping[str, float], rival: str) -> float:
    """Return by how much the map beats a rival: a deleted image should score lower, a restored one higher."""
    gain = areas["map"] - areas[rival]
    return -gain if kind == "deletion" else gain


def _check(name: str, passed: bool, told: str) -> dict[str, Any]:
    return {"name": name, "passed": bool(passed), "told": told}


def _span(e: Estimate, digits: int = 2) -> str:
    """Return a figure with its interval, a minus as a minus.

    Examples
    --------
    >>> _span(Estimate(-0.25, -0.5, 0.125, n=9, n_patients=9, method=""))
    '−0.25 (−0.50 to 0.12)'
    """
    return f"{e.value:.{digits}f} ({e.low:.{digits}f} to {e.high:.{digits}f})".replace("-", "−")


def _has_learned(learned: Mapping[str, Any]) -> dict[str, Any]:
    """Compare the network with networks drawn by chance: fewer than one in 2,000 of those may do as well.

    A tie fails. Where the question is so easy that chance answers it as well, a good answer shows no learning.
    """
    auroc, n = learned["auroc"], learned["n"]
    if learned["answers"] < FEWEST_ANSWERS:
        told = (
            f"Of {n:,} labelled cases {learned['answers']:,} have the rarer answer; at least {FEWEST_ANSWERS} are needed: "
            "too few to say whether the network has learned anything."
        )
        return _check("learned", False, told)
    ok = learned["as_good"] < MOST_LUCKY
    told = (
        f"The network tells {n:,} cases apart with an AUROC of {auroc:.3f}; of {learned['twins']:,} networks with redrawn "
        f"weights one in {round(1 / MOST_LUCKY):,} reaches {learned['rarely']:.3f}"
    )
    return _check("learned", ok, told + ("." if ok else ": it has not shown that it learned anything."))


def _randomised(e: Estimate) -> dict[str, Any]:
    ok = e.high < MOST_ALIKE
    end = "it depends on what was learned." if ok else "what the head has learned hardly matters to it."
    if not ok and e.value < MOST_ALIKE:
        end = "the interval does not end below it, so what the head has learned may hardly matter to the map."
    digits = 2 if ok or e.value >= MOST_ALIKE else 4
    told = f"With the head redrawn by chance the map keeps a rank correlation of {_span(e, digits)}, limit {MOST_ALIKE}: {end}"
    return _check("randomisation", ok, told)


def _curve(kind: str, better: Mapping[str, Estimate]) -> dict[str, Any]:
    verb = (
        "Covering its hottest places first lowers" if kind == "deletion" else "Showing its hottest places first raises"
    )
    lost = [rival for rival, e in better.items() if not e.low > 0]
    parts = " and ".join(f"{_span(better[rival])} more than {words}" for rival, words in RIVALS.items())
    end = "." if not lost else f": not clearly more than {' or '.join(RIVALS[rival] for rival in lost)}."
    return _check(kind, not lost, f"{verb} the score by {parts}{end}")


def _stable(e: Estimate) -> dict[str, Any]:
    ok = e.low > LEAST_STABLE
    told = f"Under a little noise the map keeps a rank correlation of {_span(e)}, limit {LEAST_STABLE}"
    return _check("stability", ok, told + ("." if ok else ": it changes too much."))


def _inside(e: Estimate) -> dict[str, Any]:
    ok = not e.low > MOST_BORDER
    told = (
        f"{100 * e.value:.0f} % of it lies on the border, which is 23 % of a picture, limit {100 * MOST_BORDER:.0f} %"
    )
    return _check("border", ok, told + ("." if ok else ": the model looks at the frame."))
