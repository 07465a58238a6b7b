"""What operating point and gate promise, and whether testing kept it: both count patients, not images."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from overread.pages.plots import percent, told

E = Mapping[str, Any]

VISIBLE = 0.005
"""Two sensitivities that lie further apart than this differ to the eye, and both are told."""


def promise(point: E, figures: E) -> str:
    """Say whether testing kept what the operating point promised on the calibration cohort."""
    given, found = point.get("promise"), judged(figures)
    applied = f"It was chosen on the {point['cohort']} cohort; testing only applied it"
    if point["cohort"] == "cross-validated":
        applied = (
            "The exported threshold was chosen on the answers that patients got from networks that had not seen them; what is "
            "measured here are thresholds chosen likewise without the patient who is measured"
        )
    if not given or found is None or found["value"] is None:
        return applied + "."
    if given["threshold"] is None:
        return f"{applied}: sensitivity {sensitivity_told(figures)}."  # the rule has said why nothing is promised
    held = kept(point, figures)
    if held is not None:
        verdict = "kept" if held else "not kept"
        return f"{applied}, and the promise was {verdict}: sensitivity {sensitivity_told(figures)}."
    asked = percent(given["sensitivity"])
    return f"{applied}, and the promise of {asked} was not contradicted: sensitivity {sensitivity_told(figures)}."


def judged(figures: E) -> E | None:
    """Return the sensitivity that was promised, that averaged over patients; None where it was never measured.

    With one image a patient it is the sensitivity itself, which is all that runs of an earlier version hold.
    """
    pooled = figures["sensitivity"]
    alone = pooled["n"] == pooled.get("n_patients")
    return figures.get("sensitivity_by_patient") or (pooled if alone else None)


def sensitivity_told(figures: E) -> str:
    """Return the sensitivity that was promised, and beside it that of all images where the two differ to the eye.

    Examples
    --------
    >>> one, other = ({"value": v, "low": v - 0.02, "high": v + 0.02, "n": 60, "n_patients": 40} for v in (0.96, 0.91))
    >>> sensitivity_told({"sensitivity": other, "sensitivity_by_patient": one})
    '0.960 (0.940–0.980), averaged over patients; over all images 0.910 (0.890–0.930)'
    >>> sensitivity_told({"sensitivity": one, "sensitivity_by_patient": one})
    '0.960 (0.940–0.980)'
    """
    found, pooled = judged(figures), figures["sensitivity"]
    if found is None or pooled["value"] is None or told(found) == told(pooled):
        return told(found or pooled)
    if abs(found["value"] - pooled["value"]) < VISIBLE:
        return f"{told(found)}, averaged over patients"
    return f"{told(found)}, averaged over patients; over all images {told(pooled)}"


def kept(point: E, figures: E) -> bool | None:
    """Return True where the whole interval keeps what was promised, False where the whole of it falls short.

    None where the promised sensitivity lies within it (neither shown nor contradicted), or where nothing was promised.
    """
    given, found = point.get("promise"), judged(figures)
    if not given or given["threshold"] is None or found is None or found["high"] is None:
        return None
    if found["low"] >= given["sensitivity"]:
        return True
    return False if found["high"] < given["sensitivity"] else None


def gate_told(found: E | None, *, whom: str = "patients") -> str:
    """Say how many new patients the gate may refuse wrongly; "" where there is no gate, or an earlier version's.

    ``whom`` are patients, or cases where nobody knows all of them (`overread.pages.report_words.people`).

    Examples
    --------
    >>> here = {"asked": 0.01, "limits": {"look": 2.0, "features": 2.1, "quality": 1.8}}
    >>> gate_told({**here, "patients": 420, "promised": 0.01})[-81:]
    'at most 1 in 100 has an image refused (on average over such calibration cohorts).'
    >>> "at most 5.9\xa0%" in gate_told({**here, "patients": 50, "promised": 3 / 51})
    True
    """
    if not found or found["promised"] is None:
        return ""
    n, asked, kinds = found["patients"], found["asked"], len(found["limits"])
    if all(limit is None for limit in found["limits"].values()):
        return (
            f"The gate refuses nothing: {n:,} calibration {whom} are too few to learn from where an image is strange."
        )
    gate = (
        f"The gate (distance from the training images: {', '.join(found['limits'])}): of new {whom} like the {n:,} of "
    )
    gate += "the calibration cohort"
    aside = "(on average over such calibration cohorts)"
    if found["promised"] <= asked + 1e-9:
        return f"{gate}, at most 1 in {round(1 / asked):,} has an image refused {aside}."
    return (
        f"{gate}, at most {percent(found['promised'], 1)} have an image refused {aside}. The limits lie half as far again "
        f"as the furthest of them: {round(kinds / asked) - 1:,} {whom.split()[0]} would be needed to promise 1 in {round(1 / asked):,}."
    )
