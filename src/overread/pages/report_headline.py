"""The result in a few sentences: how much is answered, how well, how well had it answered all, and beside what."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from overread.pages.counted import word
from overread.pages.plots import percent, told
from overread.pages.report_words import FLOORS, crossed
from overread.stats.frequency import outward

E = Mapping[str, Any]

HARDLY = 0.1
"""Of a model that answers no more than this share of the images, an alarm says so before all figures."""


FEW_OTHERS = 3
"""So many other labels the headline tells one by one; of more only the worst."""


def headline(evaluation: E) -> str:
    """Return the result: share answered, the calls of the answered and of all, chance, and the best floor."""
    name, figures = evaluation["name"], evaluation["labels"][evaluation["name"]]
    auroc = figures["auroc"]
    unseen = ", none of them in its training" if evaluation["apart"] else ""
    unseen = (
        ", each read by networks that had not seen its patient (cross-validated)" if crossed(evaluation) else unseen
    )
    whom = f"{whose(auroc['n'], auroc['n_patients'], evaluation.get('unit'))}{unseen}{_with_it(evaluation)}"
    if auroc["value"] is None:
        return f"On {whom}, nothing can be said: the AUROC is {auroc['method']}."
    answers = _answers(figures.get("three_way"))
    span = f"{auroc['value']:.3f} (95 % interval {auroc['low']:.3f} to {auroc['high']:.3f})"
    if auroc["low"] <= 0.5:
        worse = "worse than" if auroc["high"] < 0.5 else "no better than"
        all_the_same = f" All the same, it {answers}." if answers else ""
        none = f"On {whom}, it is {worse} chance: its AUROC is {span}, and a coin has 0.5.{all_the_same}"
        return " ".join([none, *_others(evaluation)])
    ours = (
        f"Its {'' if 'sensitivity' in figures else 'mean '}AUROC over all {word(evaluation.get('unit'), 2)} is {span}."
    )
    calls = _three_ways(figures, name)
    if crossed(evaluation):  # each part had a threshold of its own
        calls = [c.replace("a threshold fixed beforehand", "thresholds learned on other patients") for c in calls]
    if not answers:
        told = [f"On {whom}, it {calls[0]}."]
    else:
        told = [f"On {whom}, it {answers}.", *calls]
    return " ".join([*told, ours, *_against_floor(evaluation, auroc), *_others(evaluation)])


def _others(evaluation: E) -> list[str]:
    """Say of the labels that all this is not about: their AUROC, and how much of them is referred."""
    name, labels = evaluation["name"], evaluation["task"]["labels"]
    if name not in labels or len(labels) < 2:
        return []
    parts = []
    for label in labels:
        figures = evaluation["labels"].get(label)
        if label == name or figures is None or figures["auroc"]["value"] is None:
            continue
        account, auroc = figures.get("three_way"), figures["auroc"]
        referred = (
            f", {percent(account['referred'] / account['all'], 1)} referred" if account and account["all"] else ""
        )
        parts.append((auroc["value"], f"{label} (AUROC {auroc['value']:.3f}{referred})"))
    if not parts:
        return []
    if len(parts) > FEW_OTHERS:
        worst = min(parts)[1]
        return [f"All this is of {name} alone; the worst told of the {len(parts)} other labels is {worst}."]
    return [f"All this is of {name} alone; beside it: {'; '.join(words for _, words in parts)}."]


def hardly(evaluation: E) -> list[str]:
    """Say of which labels hardly an image is answered: what the figures of all images promise, nobody gets at work."""
    lines = []
    for label, figures in evaluation["labels"].items():
        account = figures.get("three_way")
        if account and account["all"] and account["answered"] <= HARDLY * account["all"]:
            some, rest, help_ = "none", "all", "no"
            if account["answered"]:
                some, rest, help_ = f"only {account['answered']:,}", "the others", "hardly any"
            lines.append(
                f"{label}: it answers {some} of {account['all']:,} {word(evaluation.get('unit'), 2)} and refers {rest} to the doctor. At work it "
                f"is {help_} help, however good the figures of all images look."
            )
    return lines


def whose(n: int, patients: int | None, unit: E | None = None) -> str:
    """Return how many images, and of how many patients where that is known.

    Examples
    --------
    >>> whose(1200, 300), whose(1, None)
    ('1,200 images (of 300 patients)', '1 image')
    """
    images = f"{n:,} {word(unit, n)}"
    return images if patients is None else f"{images} (of {patients:,} patient{'' if patients == 1 else 's'})"


def _with_it(evaluation: E) -> str:
    """Say how many images have the finding; of several levels, how many the rarest has."""
    name, task = evaluation["name"], evaluation["task"]
    found = evaluation["labels"][name].get("sensitivity")
    if found:
        others = len(task["labels"]) - 1
        of = f" (the first of {others + 1} labels)" if others else ""
        patients = f" (of {found['n_patients']:,} patients)" if found["n_patients"] is not None else ""
        return f", {found['n']:,} of them{patients} with {name}{of}"
    levels = {level: evaluation["labels"].get(level, {}).get("sensitivity") for level in task["labels"]}
    there = {level.removeprefix(f"{name}="): e for level, e in levels.items() if e}
    if not there:
        return ""
    rarest = min(there, key=lambda level: there[level]["n"])
    return f", with {len(there)} answers, the rarest ({rarest}) in {whose(there[rarest]['n'], there[rarest]['n_patients'])}"


def _answers(account: E | None) -> str:
    """Say how much it answers, and that it refers the rest."""
    if not account or not account["all"]:
        return ""
    share = account["share_referred"]
    span = ""
    if share["low"] is not None:
        span = f" (95 % interval {percent(1 - share['high'], 1)} to {percent(1 - share['low'], 1)})"
    if not account["answered"]:
        return f"answers none{span}: all are referred to the doctor"
    rest = "none" if not account["referred"] else percent(account["referred"] / account["all"], 1)
    return f"answers {percent(account['answered'] / account['all'], 1)}{span} and refers {rest} to the doctor"


def _three_ways(figures: E, name: str) -> list[str]:
    """Say the calls of the answered, of all and of the referred; of all alone, without a verb, where nothing is referred."""
    account, parts = figures.get("three_way"), figures.get("three_ways") or {}
    before = "" if "sensitivity" not in figures else ", at a threshold fixed beforehand"
    if not account or not account["all"]:
        return [f"{_calls(figures, name)}{before}"]
    lines = []
    if account["answered"]:
        lines.append(f"Of the answered, it {_calls(account, name)}{before}.")
        if not account["referred"]:
            return lines
        lines.append(f"Had it answered all, it would have {_calls(figures, name)}.")
    else:
        lines.append(f"Had it answered all, it would have {_calls(figures, name)}{before}.")
        return lines
    if parts.get("referred"):
        lines.append(f"Of the referred, it would have {_calls(parts['referred'], name)}.")
    return lines


def _calls(figures: E, name: str) -> str:
    if "sensitivity" not in figures:
        return f"called {_share(figures['accuracy'], 'images')} rightly"
    return (
        f"found {_share(figures['sensitivity'], f'with {name}')} and cleared "
        f"{_share(figures['specificity'], 'without')}"
    )


def _share(e: E, of: str) -> str:
    """Return a share with its interval and the number of images that it is a share of."""
    if e["value"] is None:
        return f"none (there is no image {of})" if of != "images" else "none (there is no image)"
    span = ""
    if e["low"] is not None:
        low, high = outward(e["low"], e["high"])  # as in every interval of whole numbers: no narrower than it is
        span = f" ({percent(low / 100)} to {percent(high / 100)})"
    return f"{percent(e['value'])}{span} of the {e['n']:,} {of}"


def _against_floor(evaluation: E, auroc: E) -> list[str]:
    """Say how the AUROC stands against the best floor that learns: by their difference on the same images, where it was measured.

    A page of an older run has none; there two intervals that overlap are called not clearly apart.
    """
    there = [
        (FLOORS[k], evaluation["floors"].get(k, {}).get(evaluation["name"], {}))
        for k in ("logistic_thumbnails", "nearest_thumbnail", "simple-cnn")
    ]
    known = [
        (who, its["auroc"], its.get("lead")) for who, its in there if its.get("auroc", {}).get("value") is not None
    ]
    if not known:
        return []
    who, floor, lead = max(known, key=lambda f: f[1]["value"])
    apart = "" if lead is None or lead["low"] is None else f"; the difference is {told(lead)}"
    if auroc["low"] > floor["high"] if lead is None else (lead["low"] or 0.0) > 0:
        against = "clearly above"
    else:
        against = "not clearly above" if auroc["value"] > floor["value"] else "no better than"
    return [f"That is {against} the best of the simple models on the same images ({who}: {floor['value']:.3f}{apart})."]
