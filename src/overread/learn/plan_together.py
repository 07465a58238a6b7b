"""How many networks answer together, and in how many mirrored views: two parts of a plan. Loads without Keras."""

from __future__ import annotations

from typing import Any

from overread.learn.plan_cohort import Fingerprint

Part = dict[str, Any]

CHEAP = {"pictures": 64, "volumes": 32}
"""Up to so many pixels a side three networks are trained in the time of a report."""

VERY_MANY = 15_000
"""From so many training images the fewest passes take more steps than the recipe was tried with, and one network is planned:
three of 90,000 pictures would take an hour."""


def ensemble(seen: Fingerprint, seed: int, *, fewest: int) -> Part:
    """How many networks answer together when neither a number nor a time was named; one below ``fewest`` images."""
    small = max(seen.shape) <= CHEAP["volumes" if seen.volumes else "pictures"]
    if small and fewest <= seen.n < VERY_MANY:
        read = "read volumes better in cross-validation (AUROC .854 against .840)"
        if not seen.volumes:
            read = "read pictures about as well as one in cross-validation (AUROC .778 against .776), and show how far chance goes"
        reason = f"such small images are learned in minutes; three networks {read}"
        return {"networks": 3, "first_seed": seed, "rule": "three small networks", "reason": reason}
    reason = "more are trained when asked for (--seeds) or when a budget leaves the time"
    if small and seen.n >= VERY_MANY:
        reason = f"{seen.n:,} images take long to go through; {reason}"
    return {"networks": 1, "first_seed": seed, "rule": "one network", "reason": reason}


def views(seen: Fingerprint, flips: list[str]) -> Part:
    """Whether an image is also read mirrored: never along an axis that training was not."""
    if seen.volumes and flips:
        reason = f"a volume is read in {2 ** len(flips)} ways, mirrored as in training, and the mean counts: worth its time in cross-validation"
        return {"mirrored": list(flips), "rule": "mirrored views of volumes", "reason": reason}
    reason = "each image is read once" + (
        "; mirrored views of pictures gained nothing in cross-validation" if flips else ""
    )
    return {"mirrored": [], "rule": "no views", "reason": reason}
