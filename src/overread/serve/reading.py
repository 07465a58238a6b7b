"""Worklist and reading page: what the doctor is shown of a study, of a finding, and of the doubt about it.

Pure functions from what lies on the shelf to what a page says. A probability is told as a natural frequency with
its interval (people reason better with "83 of 100" than with 0.83), and beside what speaks for a finding stands
what speaks against it.

References
----------
Gigerenzer & Hoffrage 1995, doi:10.1037/0033-295X.102.4.684 (natural frequencies); Dratsch et al. 2023,
doi:10.1148/radiol.222176 (automation bias: why the own impression comes first); Saerens et al. 2002,
doi:10.1162/089976602753284446 (prevalence shift).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from overread.domain import Finding, ModelCard, Report
from overread.serve.inbox import Draft, Entry
from overread.serve.signing import Signature
from overread.stats.frequency import of_hundred, outward

RANK = {"present": 0, "refer": 1, "absent": 2}
WAITING, OPENED, READING, SIGNED, VOID = "waiting", "opened", "machine", "signed", "void"


@dataclass(frozen=True)
class Row:
    """One line of the worklist.

    ``moved_up`` counts the studies that came no later and that the machine put this one before. It does not say why: neither page
    nor data tell a finding, or whether it is "present" or "refer", before the reader's own impression. ``passed_by``
    counts the later arrivals now above it: no study sinks in silence.
    """

    entry: Entry
    state: str
    moved_up: int
    passed_by: int
    waited: str
    signature: Signature | None = None


def urgency(report: Report) -> tuple[int, float]:
    """Where a report belongs on the worklist: present first (the most probable first), then refer, then absent.

    Examples
    --------
    >>> a = Finding("nodule", .9, .8, .95, .5, "present")
    >>> b = Finding("nodule", .4, .2, .6, .5, "refer", "too close to call")
    >>> urgency(Report("S0", "", (), (a,))) < urgency(Report("S1", "", (), (b,)))
    True
    """
    first = worst(report)
    probability = _number(first.probability) if first.decision == "present" else 0.0
    return RANK[first.decision], -probability


def worst(report: Report) -> Finding:
    """The finding that decides where a report belongs on the worklist."""
    return min(report.findings, key=lambda f: (RANK[f.decision], -_number(f.probability)))


def worklist(
    studies: Sequence[tuple[Entry, Draft | None, str, Signature | None]], *, now: datetime, by_urgency: bool = True
) -> tuple[list[Row], list[Row]]:
    """The studies to read, in order, and the ones that are signed, the last one first.

    Parameters
    ----------
    studies : sequence of (entry, draft, state, last signature)
    now : datetime
    by_urgency : bool
        False: by arrival only.
    """

    def rank(item) -> tuple[int, float]:
        return urgency(item[1].report) if item[1] and by_urgency else (2, 0.0)

    def key(item) -> tuple:
        return *rank(item), item[0].arrived, item[0].study

    waiting = sorted((s for s in studies if s[2] != SIGNED), key=key)
    rows = []
    for i, item in enumerate(waiting):
        entry, _, state, signature = item
        up = sum(below[0].arrived <= entry.arrived and rank(below) > rank(item) for below in waiting[i + 1 :])
        passed = sum(other.arrived > entry.arrived for other, *_ in waiting[:i])
        rows.append(Row(entry, state, up, passed, waited(entry.arrived, now), signature))
    signed = sorted((s for s in studies if s[2] == SIGNED), key=lambda s: s[3].time if s[3] else "", reverse=True)
    return rows, [Row(e, state, 0, 0, waited(e.arrived, now), sig) for e, _, state, sig in signed]


def waited(since: str, now: datetime) -> str:
    """How long ago, in the largest unit that is worth saying.

    Examples
    --------
    >>> from datetime import timezone
    >>> waited("2026-01-05T09:00:00+00:00", datetime(2026, 1, 5, 11, 30, tzinfo=timezone.utc))
    '2 h 30 min'
    """
    minutes = max(0, int((now - datetime.fromisoformat(since)).total_seconds() // 60))
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours < 48 else f"{hours // 24} d {hours % 24} h"


def at_prevalence(probability: float, *, learned: float, here: float) -> float:
    """The probability where a finding is more or less common than where the model was calibrated.

    ``logit p' = logit p + logit π' − logit π``: right when only the share of ill patients differs, not what the
    ill and the well look like.

    Examples
    --------
    >>> round(at_prevalence(.8, learned=.5, here=.08), 3)
    0.258
    """
    if not 0 < probability < 1:
        return probability
    return 1 / (1 + math.exp(-(_logit(probability) + _logit(here) - _logit(learned))))


def learned_prevalence(card: ModelCard, label: str) -> float | None:
    """The share of studies with this finding where the model was calibrated; None where the card does not say."""
    counts = card.cohorts.get("calibration", {}).get("labels", {}).get(label, {})
    if not isinstance(counts, Mapping):
        return None
    yes, no = (int(counts.get(k) or 0) for k in ("true", "false"))
    return yes / (yes + no) if yes and no else None


def opened_finding(
    finding: Finding, card: ModelCard, *, prevalence: float | None, impression: str, images: int = 1
) -> dict[str, Any]:
    """All that the page says of one finding once it is open, numbers ready to be put into sentences."""
    known = math.isfinite(finding.probability)
    told: dict[str, Any] = {
        "label": finding.label,
        "decision": finding.decision,
        "reason": finding.reason,
        "known": known,
        "impression": impression,
        "differs": finding.decision != "refer" and impression not in (finding.decision, "unsure"),
    }
    if not known:
        return told
    low, high = outward(finding.low, finding.high)
    told.update(
        of_hundred=of_hundred(finding.probability),
        low=low,
        high=high,
        threshold=f"{100 * finding.threshold:.0f}" if has_line(card) else None,
        images=images,
        dots=round(100 * finding.probability),
        against=against(finding, card),
        here=None,
    )
    learned = learned_prevalence(card, finding.label)
    if prevalence is not None and learned is not None:
        p, low, high = (
            at_prevalence(x, learned=learned, here=prevalence) for x in (finding.probability, finding.low, finding.high)
        )
        told["here"] = {
            "of_hundred": of_hundred(p),
            "low": outward(low, high)[0],
            "high": outward(low, high)[1],
            "prevalence": f"{100 * prevalence:.3g}",
            "learned": f"{100 * learned:.3g}",
        }
    return told


def against(finding: Finding, card: ModelCard) -> list[tuple[str, dict[str, Any]]]:
    """What speaks against a finding, as (word of the table, facts): counter-evidence stands beside evidence."""
    points: list[tuple[str, dict[str, Any]]] = []
    if has_line(card) and finding.low < finding.threshold <= finding.high:
        low, high = outward(finding.low, finding.high)
        points.append(("crosses", {"low": low, "high": high, "threshold": round(100 * finding.threshold)}))
    if finding.decision == "present":
        points.append(("without", {"n": of_hundred(1 - finding.probability)}))
    elif finding.decision == "absent":
        points.append(("with", {"n": of_hundred(finding.probability)}))
    wrong = {"present": ("specificity", "false_alarm"), "absent": ("sensitivity", "missed")}.get(finding.decision)
    if wrong:
        figure = measured(card, finding.label, wrong[0])
        if figure:
            value, low, high, n = figure
            facts = {
                "n": of_hundred(1 - value),
                "low": outward(1 - high, 1 - low)[0],
                "high": outward(1 - high, 1 - low)[1],
                "of": n,
            }
            points.append((wrong[1], facts))
    return points


def has_line(card: ModelCard) -> bool:
    """True when a threshold decides; among many answers the most probable one does."""
    return card.task.get("kind") not in ("multiclass", "ordinal")


def measured(card: ModelCard, label: str, name: str) -> tuple[float, float, float, int] | None:
    """(value, low, high, n) of a figure of the testing cohort; None where the card does not hold it."""
    labels = card.performance.get("labels", card.performance)
    told = labels.get(label, {}) if isinstance(labels, Mapping) else {}
    figure = told.get(name) if isinstance(told, Mapping) else None
    if not isinstance(figure, Mapping) or figure.get("value") is None:
        return None
    value = float(figure["value"])
    low, high = (value if figure.get(k) is None else float(figure[k]) for k in ("low", "high"))
    return value, low, high, int(figure.get("n") or 0)


def _number(value: float) -> float:
    """A missing probability (the machine failed) counts as the most urgent of its kind."""
    return value if math.isfinite(value) else 1.0


def _logit(p: float) -> float:
    return math.log(p / (1 - p))
