"""Read the words of a published split column, and set aside of it what cannot serve."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

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


def set_aside(
    where: Mapping[str, str], whole: Sequence[Sequence[Study]], answers: Sequence[set], *, fewest: int
) -> set[str]:
    """Return the tuning and calibration studies of a published split that cannot serve, by pseudonym.

    A tuning case that has a copy in training says nothing of other patients, and one that has a copy in testing would
    choose for the testing cohort: both go. Testing keeps its cases here, because published figures were found on all
    of them; those with a copy in training are left out of the headline figures later. Where too little of a cohort
    would remain, or none with some answer, all of it goes: it is then carved from training instead.

    Parameters
    ----------
    where : mapping of str to str
        The cohort of each study.
    whole : sequence of sequence of Study
        What belongs together: `overread.stats.units.units`.
    answers : sequence of set
        Those of each unit.
    fewest : int
        Units that a cohort must keep.
    """
    gone: set[str] = set()
    for cohort, others in (
        ("tuning", {"training", "calibration", "testing"}),
        ("calibration", {"training", "testing"}),
    ):
        here = [k for k, unit in enumerate(whole) if cohort in {where[s.pseudonym] for s in unit}]
        shared = [k for k in here if others & {where[s.pseudonym] for s in whole[k]}]
        kept = sorted(set(here) - set(shared))
        lost = set().union(*(answers[k] for k in here)) - set().union(*(answers[k] for k in kept))
        if shared and (len(kept) < fewest or lost):
            shared = here
        gone |= {s.pseudonym for k in shared for s in whole[k] if where[s.pseudonym] == cohort}
    return gone


def set_aside_told(where: Mapping[str, str], gone: set[str]) -> list[str]:
    """Say how many studies of a published tuning or calibration part were set aside, and why."""
    told = []
    for cohort in ("tuning", "calibration"):
        all_of, lost = [n for n, c in where.items() if c == cohort], sum(where[n] == cohort for n in gone)
        if lost:
            rest = "; so few were left that the cohort was carved from training instead" if lost == len(all_of) else ""
            told.append(
                f"{lost:,} of {len(all_of):,} studies of the published {cohort} part were set aside: the patient, or a "
                f"copy of the image, also stands in another part{rest}."
            )
    return told
