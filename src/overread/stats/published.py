"""Read the words of a published split column."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from overread.domain import COHORT_WORDS, Study
from overread.errors import LabelError


def cohort_words(studies: list[Study], published: str | Sequence[str | None] | None) -> list[str] | None:
    """Return the cohort each study is in by the published split; refuse words that are not a cohort's."""
    if published is None:
        return None
    values = [s.splits.get(published) for s in studies] if isinstance(published, str) else list(published)
    if len(values) != len(studies):
        raise LabelError(f"a split column of {len(values)} values", expected=f"{len(studies)}, one a study")
    if isinstance(published, str) and studies and all(v is None for v in values):
        have = sorted({name for s in studies for name in s.splits})
        raise LabelError(
            f"no study has the split column {published!r}", expected="one of " + (", ".join(map(repr, have)) or "none")
        )
    plain = [str(v).strip().lower() if v is not None else "" for v in values]
    strange = Counter(str(v) if p else "(blank)" for v, p in zip(values, plain, strict=True) if p not in COHORT_WORDS)
    if strange:
        # many different words are not a split column but perhaps a name or an id: those are counted, never printed
        few = len(strange) <= 6
        told = ", ".join(f"{w} ({n})" for w, n in strange.most_common()) if few else f"{len(strange)} different words"
        raise LabelError(
            f"the split column holds {told}",
            expected="train, val or test in each row (also training, validation, valid, tuning, tune, dev, calibration, testing)",
            do="mend the column, or leave it out and let the split be drawn",
        )
    return [COHORT_WORDS[p] for p in plain]


def hidden_told(cohort: str) -> str:
    """Say that a published part cannot serve as a cohort, and what stands in for it."""
    told = f"the published {cohort} part has no labels: {cohort} was carved from the published training part instead."
    if cohort == "testing":
        told += " The figures here are not those of the published testing part, and must not be set beside them."
    return told
