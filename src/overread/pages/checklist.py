"""Forty things that a report about a medical model must say: each answered by the program, or a named blank for a human.

The items are those that recur in CLAIM 2024 (doi:10.1148/ryai.240300), TRIPOD+AI (doi:10.1136/bmj-2023-078378), STARD-AI
(2025), Metrics Reloaded (doi:10.1038/s41592-023-02151-z) and the good machine learning practice of IMDRF N88:2025 and the
FDA, in our own words.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from overread.domain.human import HUMAN
from overread.pages import checklist_training as about
from overread.pages import checklist_words as words

Fill = Callable[[Mapping[str, Any]], str]


@dataclass(frozen=True)
class Item:
    """One of the forty.

    Parameters
    ----------
    number : int
    group : str
    text : str
        What must be said.
    sources : str
        Which guidelines ask for it.
    section : str
        Where the report says it: the id of a section.
    fill : callable or None
        Returns what the program knows, in one line; "" where it was not measured.
    without : str
        What is said where it was not measured.
    keys : tuple of str
        What a human must answer (`overread.domain.human.HUMAN`).
    """

    number: int
    group: str
    text: str
    sources: str
    section: str
    fill: Fill | None = None
    without: str = ""
    keys: tuple[str, ...] = ()


@dataclass(frozen=True)
class Row:
    """One row of the table: the item, what is said, and whether that is an answer.

    Parameters
    ----------
    item : Item
    state : {"answered", "not measured", "blank"}
    told : str
    blank : tuple of str
        Names of the answers that a human has not written.
    """

    item: Item
    state: str
    told: str
    blank: tuple[str, ...] = ()


_C, _T, _S, _M, _G = "CLAIM", "TRIPOD+AI", "STARD-AI", "Metrics Reloaded", "IMDRF/FDA"

_USE, _DATA, _SPLIT, _TRAIN = "Identity and use", "Data", "Split", "Training"
_WELL, _CAL, _SURE, _FAIR, _RUN = "Performance", "Probabilities", "Doubt", "Robustness and fairness", "Operation"

ITEMS: tuple[Item, ...] = (
    Item(1, _USE, "Name, version, and hashes of weights, code and lock file", f"{_C}, {_G}", "repeat", words.identity),
    Item(2, _USE, "Intended use, users, population, out of scope", f"{_C}, {_T}, {_S}, {_G}", "asked",
         keys=("intended_use", "users", "population", "out_of_scope")),
    Item(3, _USE, "Role: second reader, triage or concurrent", f"{_S}, {_G}", "asked", keys=("role",)),
    Item(4, _USE, "Regulatory status", _G, "asked", keys=("regulatory_status",)),
    Item(5, _USE, "Contact, licence and funding", f"{_C}, {_T}, {_S}", "asked", keys=("contact", "licence", "funding")),
    Item(6, _DATA, "Sources, dates, sites, scanners, acquisition", f"{_C}, {_T}, {_S}", "whom", words.sources,
         keys=("data_sources",)),
    Item(7, _DATA, "Who was included, who was left out, with counts", f"{_C}, {_T}, {_S}", "whom", words.flow,
         "the training archive is not here: it could not be counted"),
    Item(8, _DATA, "Reference standard: who, how many, agreement", f"{_C}, {_S}, {_G}", "asked", words.standard,
         keys=("reference_standard",)),
    Item(9, _DATA, "Sex, age, site, scanner, prevalence, what is unknown, by cohort", f"{_C}, {_T}, {_G}", "whom", words.strata),
    Item(10, _DATA, "De-identification, and what may remain", f"{_C}, {_G}", "repeat", words.identities),
    Item(11, _DATA, "What happens to an image before it is read", f"{_C}, {_T}", "repeat", words.recipe),
    Item(12, _SPLIT, "What was divided, its hash, when it was frozen", f"{_C}, {_T}, {_G}", "whom", words.split),
    Item(13, _SPLIT, "Overlaps by patient, study, exact and near copies", f"{_C}, {_G}", "certificate", words.overlaps),
    Item(14, _SPLIT, "Patients, images and positives by cohort; how wide the interval is", f"{_T}, {_S}", "whom", words.sizes),
    Item(15, _SPLIT, "Tested elsewhere: another site, another time", f"{_C}, {_T}, {_G}", "limits", words.elsewhere),
    Item(16, _TRAIN, "Network, parameters, start", f"{_C}, {_T}", "repeat", words.network),
    Item(17, _TRAIN, "Augmentation, loss, optimiser, schedule, seed, time", f"{_C}, {_T}", "repeat", about.training,
         "the plan of the training is not in the card"),
    Item(18, _TRAIN, "How the model was selected, and on which cohort", f"{_C}, {_T}, {_M}", "whom", words.selection),
    Item(19, _TRAIN, "How often the testing cohort was read", _G, "whom", words.reads),
    Item(20, _WELL, "AUROC, and average precision beside its prevalence", f"{_C}, {_T}, {_S}, {_M}", "well", words.ranking),
    Item(21, _WELL, "Operating point: rule, value, cohort; sensitivity, specificity, likelihood ratios", f"{_C}, {_S}, {_M}",
         "label-1", words.point),
    Item(22, _WELL, "Table of calls, with those referred", f"{_C}, {_S}, {_M}", "label-1", words.calls),
    Item(23, _WELL, "Predictive values here and at a stated prevalence", f"{_S}, {_M}", "label-1", words.predictive,
         "only here: no other prevalence was stated (overread evaluate RUN --prevalence 0.02)"),
    Item(24, _WELL, "Matthews' correlation, balanced accuracy or quadratic kappa", _M, "well", words.agreement),
    Item(25, _WELL, "Spread over at least three seeds", f"{_C}, {_M}", "well", words.seeds,
         "fewer than three seeds: overread train --seeds 3, or overread evaluate RUN --seeds-from RUN2 RUN3"),
    Item(26, _WELL, 'Floors beside it; published figures with the one-sided p-value of "not better"', f"{_C}, {_M}", "well", words.floors),
    Item(27, _CAL, "Reliability, slope, intercept, Brier score and skill", f"{_T}, {_M}", "label-1", words.reliability),
    Item(28, _CAL, "Decision curve", f"{_T}, {_M}", "label-1", words.benefit,
         "one of several levels is called: net benefit is drawn for each level only"),
    Item(29, _CAL, "Spread of the scores by class", f"{_T}, {_M}", "label-1", words.distribution),
    Item(30, _SURE, "Conformal sets: coverage asked and found, by answer; how many are answered", f"{_M}, {_G}", "label-1", words.sets,
         "the sets were not measured"),
    Item(31, _SURE, "Gate before an answer: rule, limit, share refused", f"{_S}, {_G}", "label-1", words.gate),
    Item(32, _FAIR, "Made worse on purpose: corruptions at five severities", f"{_C}, {_M}, {_G}", "worse", words.corruptions,
         "no corrupted images were read"),
    Item(33, _FAIR, "Subgroups with gaps and intervals; too few to say under 30", f"{_C}, {_T}, {_S}, {_G}", "groups", words.subgroups,
         "no subgroup was looked at"),
    Item(34, _FAIR, "Shortcuts: can the answer be had from what it must not depend on", f"{_C}, {_G}", "shortcuts", words.shortcuts,
         "shortcuts were not looked for"),
    Item(35, _FAIR, "Where it fails: a gallery of the surest mistakes", f"{_C}, {_T}", "cases", words.failures,
         "the archive is not here: no case can be shown"),
    Item(36, _FAIR, "Explanations: methods, and the tests they passed", f"{_C}, {_G}", "heat-maps", words.maps,
         "the heat-maps were not tested: they show what the score was made of, and prove nothing"),
    Item(37, _FAIR, "Privacy of the model itself", _G, "limits", words.privacy,
         "trained without a privacy guarantee, and no attack was tried"),
    Item(38, _RUN, "Monitoring plan, alarm, rollback", f"{_T}, {_G}", "asked", keys=("monitoring",)),
    Item(39, _RUN, "Oversight: own reading first, how it is overruled", _G, "asked", keys=("oversight",)),
    Item(40, _RUN, "Change control; known limits", f"{_T}, {_G}", "limits", words.limits, keys=("change_control",)),
)  # fmt: skip


def known_of(evaluation: Mapping[str, Any]) -> list[str]:
    """Return what the program can say of each of the forty items, in their order; "" where nothing."""
    return [item.fill(evaluation) if item.fill else "" for item in ITEMS]


def rows_of(known: Sequence[str], answers: Mapping[str, str]) -> list[Row]:
    """Return the forty rows: what the program says (`known_of`), what a human wrote, and what nobody has said yet."""
    return [row_of(item, told, answers) for item, told in zip(ITEMS, known, strict=True)]


def row_of(item: Item, known: str, answers: Mapping[str, str]) -> Row:
    """Return one row from what the program knows and what a human wrote.

    Examples
    --------
    >>> role = ITEMS[2]
    >>> row_of(role, "", {}).state, row_of(role, "", {}).told
    ('blank', 'to be written: role of the machine')
    >>> row_of(role, "", {"role": "second reader"}).told
    'second reader'
    """
    missing = tuple(key for key in item.keys if not answers.get(key))
    said = [answers[key] for key in item.keys if answers.get(key)]
    if missing:
        said.append("to be written: " + ", ".join(HUMAN[key].words for key in missing))
        return Row(item, "blank", "; ".join([*([known] if known else []), *said]), missing)
    if known.startswith(words.UNMEASURED) and not said:
        return Row(item, "not measured", known.removeprefix(words.UNMEASURED))
    if item.fill and not known and not said:
        return Row(item, "not measured", item.without)
    return Row(item, "answered", "; ".join([*([known] if known else []), *said]))
