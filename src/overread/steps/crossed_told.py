"""What is said of a cross-validation: its parts, what was done in a few sentences, and what is not promised."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from overread.errors import RunError
from overread.stats.splits import Split
from overread.steps.crossed_networks import Wanted
from overread.steps.plan import Divided


def parts_told(divided: Divided, parts: np.ndarray, wanted: Wanted) -> dict[str, Any]:
    """Return what is told of the parts: how large they are, and what stands in two of one repeat, counted.

    Raises
    ------
    RunError
        When anything does: it would be tested by a network that saw it.
    """
    entries = divided.split.cohorts["training"]
    shared = {"patients": 0, "studies": 0, "images": 0, "near": 0}
    for row in parts:
        seen: dict[tuple[str, str], set[int]] = {}
        for (image, study, patient), part in zip(entries, row, strict=True):
            near = (divided.copies.near or {}).get(image)
            keys = [("studies", study), ("images", image), ("patients", patient), ("near", near)]
            for key in keys:
                if key[1] is not None:
                    seen.setdefault(key, set()).add(int(part))
        for (what, _), where in seen.items():
            shared[what] += len(where) > 1
    if any(shared.values()):
        raise RunError(
            f"parts that share {', '.join(f'{n} {what}' for what, n in shared.items() if n)}",
            expected="parts that share nothing",
            do="report this as a defect",
        )
    return {
        "folds": wanted.folds,
        "repeats": wanted.repeats,
        "networks": wanted.networks,
        "images": len(entries),
        "sizes": [np.bincount(row, minlength=wanted.folds).tolist() for row in parts],
        "in_two_parts": shared,
    }


NOT_ONE_NETWORK = (
    "cross-validated: the figures are of the procedure, by networks that each learned from a part of these patients; the "
    "exported networks together were never tested on patients whom none of them had seen. Intervals of the main figures know "
    "that the parts were drawn by chance; those of subgroups, referrals and differences to the floors do not, and are too narrow"
)


def how_calibrated(drawn) -> str:
    if drawn.network == "features":
        return "on the patients outside the part, by lines that had seen neither them nor the part"
    return (
        "on the patients outside the part, by networks that had not seen them; these networks had learned from the part, so "
        "that what is tested touched its own line by way of other patients' scores only"
    )


def in_words(told: Mapping[str, Any], drawn, split: Split) -> str:
    """Say in a few sentences what was done."""
    sizes = [n for row in told["sizes"] for n in row]
    end = (
        "the published testing cohort was kept aside and read once, by all networks together"
        if split.cohorts["testing"]
        else "there is no testing cohort that nothing was learned from"
    )
    joined = f"; {told['joined']['in_words']}" if "joined" in told else ""
    return (
        f"{told['images']:,} images were divided by {split.unit} into {told['folds']} parts of {min(sizes):,} to {max(sizes):,}, "
        f"{told['repeats']} times anew; each part was answered by a network that had not seen it ({told['networks']} in all), "
        f"its probabilities and its threshold were learned {how_calibrated(drawn)}{joined}. The figures are of this procedure; {end}"
    )


def guarantee(drawn) -> str:
    """Say what holds of the sets of possible answers of the exported networks."""
    return (
        "the sets of possible answers were learned on answers from outside each part, in the manner of CV+, but the mean of "
        "all networks answers at work: the bound of 1 − 2α that Barber et al. 2021 prove (doi:10.1214/20-AOS1965) is of sets "
        "that ask each network by itself and is not claimed; what was measured is told"
    )
