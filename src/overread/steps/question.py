"""From the name of a label to the Task it asks, and from studies to the truth the network learns."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

import numpy as np

from overread.domain import LabelValue, Study, Task
from overread.errors import LabelError
from overread.stats.rare import rare_levels

KINDS = ("auto", "binary", "multiclass", "multilabel", "ordinal")


def ask(
    studies: Sequence[Study], label: str, *, kind: str = "auto", modality: str = "", side_matters: bool = True
) -> Task:
    """Return the task that a label name asks of a cohort.

    One yes-or-no label is a binary task; a label with several levels a multi-class one (or ordinal, when said);
    several yes-or-no labels with commas between are one multi-label task. Levels that have an order are numbers, or numbered
    words ("grade 2"); of other words nobody but a person knows it, who says it: ``"ordinal: none < mild < severe"``.

    Parameters
    ----------
    studies : sequence of Study
    label : str
        A label's name, or several with commas.
    kind : str
        "auto", or what the person says it is; after "ordinal:" the levels from least to most, with commas or " < " between.
    modality : str
    side_matters : bool

    Raises
    ------
    LabelError
        For a label that no study has, a kind that does not fit its values, or levels whose order is not known.

    Examples
    --------
    >>> cohort = [Study(f"S{i}", (), labels={"mass": bool(i), "class": "ab"[i]}) for i in range(2)]
    >>> ask(cohort, "mass").kind, ask(cohort, "class").labels
    ('binary', ('class=a', 'class=b'))
    >>> ask(cohort, "class", kind="ordinal:b,a").labels
    ('class=b', 'class=a')
    """
    kind, _, order = kind.partition(":")
    have = _values(studies)
    names = (label,) if label in have else tuple(dict.fromkeys(n.strip() for n in label.split(",") if n.strip()))
    missing = [n for n in names if not have.get(n)]
    if missing or not names:
        known = sorted(n for n, values in have.items() if values)
        raise LabelError(
            f"no study has the label {(missing or [label])[0]!r}",
            expected="one of " + (", ".join(map(repr, known)) or "none: no label is known at all"),
            do="name one of these, or collect again with --labels or --labels-from-folders",
        )
    levels = {n: sorted((v for v in have[n] if isinstance(v, str)), key=_level) for n in names}
    if len(names) > 1:
        many = [n for n in names if levels[n]]
        if many:
            raise LabelError(
                f"{many[0]!r} has the levels {', '.join(levels[many[0]])}",
                expected="yes-or-no labels when several are asked for together",
                do="train it alone",
            )
        return Task(names, "multilabel", ",".join(names), modality, side_matters)
    name = names[0]
    if not levels[name]:
        if kind not in ("auto", "binary"):
            raise LabelError(f"{name!r} is a yes-or-no label", expected="kind binary", do="leave --kind out")
        return Task((name,), "binary", name, modality, side_matters)
    if kind not in ("auto", "multiclass", "ordinal"):
        raise LabelError(
            f"{name!r} has {len(levels[name])} levels", expected="kind multiclass or ordinal", do="leave --kind out"
        )
    ordered = _least_first(name, levels[name], order) if kind == "ordinal" else levels[name]
    outputs = tuple(f"{name}={level}" for level in ordered)
    return Task(outputs, "ordinal" if kind == "ordinal" else "multiclass", name, modality, side_matters)


def truth(studies: Sequence[Study], task: Task) -> np.ndarray:
    """Return what is known of each study, (n, outputs): 1 present, 0 absent, NaN unknown; one-hot for levels.

    A level that the task does not have is unknown, not another level; `never_learned` counts them.

    Raises
    ------
    LabelError
        When words stand where yes or no is asked for, or the reverse: nothing is guessed from them.

    Examples
    --------
    >>> task = Task(("mass",), "binary", "mass")
    >>> truth([Study("S1", (), labels={"mass": True}), Study("S2", ())], task).tolist()
    [[1.0], [nan]]
    """
    many = task.kind in ("multiclass", "ordinal")
    _refuse_other_answers(studies, task, many=many)
    out = np.full((len(studies), len(task.labels)), np.nan)
    for i, study in enumerate(studies):
        if many:
            output = f"{task.name}={study.labels.get(task.name)}"
            if output in task.labels:
                out[i] = [float(label == output) for label in task.labels]
        else:
            for j, label in enumerate(task.labels):
                value = study.labels.get(label)
                out[i, j] = np.nan if value is None else float(value)
    return out


def never_learned(studies: Sequence[Study], task: Task) -> str:
    """Say how many studies have levels that the task does not; empty when none has.

    Examples
    --------
    >>> task = Task(("class=a", "class=b"), "multiclass", "class")
    >>> never_learned([Study("S1", (), labels={"class": "c"}), Study("S2", (), labels={"class": "a"})], task)
    "1 study has a level the model never learned: 'c' (1). It is left out of every figure."
    """
    if task.kind not in ("multiclass", "ordinal"):
        return ""
    values = Counter(study.labels.get(task.name) for study in studies)
    strange = {v: n for v, n in values.items() if v is not None and f"{task.name}={v}" not in task.labels}
    if not strange:
        return ""
    ordered = sorted(strange, key=lambda v: _level(str(v)))
    told = ", ".join(f"{v!r} ({strange[v]:,})" for v in ordered[:12])
    told += f" and {len(ordered) - 12:,} more" if len(ordered) > 12 else ""
    count = sum(strange.values())
    if count == 1:
        return f"1 study has a level the model never learned: {told}. It is left out of every figure."
    return f"{count:,} studies have levels the model never learned: {told}. They are left out of every figure."


def without_rare(
    studies: Sequence[Study], task: Task, *, alike: Mapping[str, str]
) -> tuple[list[Study], Task, tuple[str, ...]]:
    """Leave out levels that too few patients have to be learned and tested (`stats.rare`), and say so.

    Levels with an order all stay: between two grades none can be missing. Of them and of yes and no too few are refused later.

    Examples
    --------
    >>> cohort = [Study(f"S{i}", (str(i),), labels={"class": "abc"[i % 2 if i < 98 else 2]}) for i in range(100)]
    >>> kept, task, told = without_rare(cohort, ask(cohort, "class"), alike={})
    >>> len(kept), task.labels, told[0][:67]
    (98, ('class=a', 'class=b'), "1 level of 'class' is too rare to be learned and tested ('c' 2): 2 ")
    """
    rare = rare_levels(studies, task.name, alike=alike) if task.kind == "multiclass" else {}
    if not rare:
        return list(studies), task, ()
    kept = [s for s in studies if s.labels.get(task.name) not in rare]
    outputs = tuple(label for label in task.labels if label.removeprefix(f"{task.name}=") not in rare)
    each = ", ".join(f"{level!r} {n}" for level, n in rare.items())
    told = (
        (f"1 level of {task.name!r} is" if len(rare) == 1 else f"{len(rare)} levels of {task.name!r} are")
        + f" too rare to be learned and tested ({each}): {len(studies) - len(kept)} studies are left out, and this network "
        "never gives these answers: a case of one gets another. Merge them with another level, or collect more."
    )
    return kept, replace(task, labels=outputs), (told,)


def _refuse_other_answers(studies: Sequence[Study], task: Task, *, many: bool) -> None:
    """Raise where a label's values are not of the kind that the task asks for."""
    for name in columns(task):
        values = [v for study in studies if (v := study.labels.get(name)) is not None]
        wrong = sum(isinstance(v, str) != many for v in values)
        if wrong:
            came, expected = ("yes or no", "a level in words") if many else ("words", "yes or no")
            raise LabelError(
                f"{wrong:,} of {len(values):,} studies answer {name!r} with {came}",
                expected=f"{expected}, as the model has learned it",
                do="collect them again with a label table that answers as the training data did",
            )


def columns(task: Task) -> tuple[str, ...]:
    """Return the label columns a task asks for, as the archive names them."""
    return (task.name,) if task.kind in ("multiclass", "ordinal") else task.labels


def _values(studies: Sequence[Study]) -> dict[str, set[LabelValue]]:
    have: dict[str, set[LabelValue]] = {}
    for study in studies:
        for name, value in study.labels.items():
            have.setdefault(name, set())
            if value is not None:
                have[name].add(value)
    return have


def as_said(kind: str, name: str, labels: Sequence[str]) -> str:
    """Return what a person would say of the kind of a question, so that `ask` asks it again with its levels in this order.

    Examples
    --------
    >>> as_said("ordinal", "g", ("g=low", "g=high")), as_said("binary", "mass", ("mass",))
    ('ordinal: low < high', 'binary')
    """
    if kind != "ordinal" or not labels:
        return kind
    return "ordinal: " + " < ".join(label.removeprefix(f"{name}=") for label in labels)


def _level(value: str) -> tuple[int, float, str]:
    """Numbers in their order before words in theirs: "2" before "10"."""
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    return (0, number, value) if math.isfinite(number) else (1, 0.0, value)


_ROMAN = {word: n for n, word in enumerate("i ii iii iv v vi vii viii ix x xi xii".split(), 1)}
_NUMBERED = re.compile(r"(?P<word>.*?)[ _-]*(?P<number>\d+)[ _-]*(?P<part>[a-z]?)")
_IN_ROMAN = re.compile(r"(?P<word>.*?\W|)(?P<number>[ivx]+)[ _-]*(?P<part>[abc]?)")


def _least_first(name: str, levels: Collection[str], order: str) -> list[str]:
    """Return levels from least to most: as a person said, as their numbers say; refused where neither does.

    Raises
    ------
    LabelError

    Examples
    --------
    >>> _least_first("g", ["grade 10", "grade 9"], ""), _least_first("g", ["IV", "IX", "I"], "")
    (['grade 9', 'grade 10'], ['I', 'IV', 'IX'])
    >>> _least_first("g", ["mild", "none", "severe"], "none < mild < severe")
    ['none', 'mild', 'severe']
    """
    if order.strip():
        said = [word.strip() for word in re.split(r"\s<\s" if " < " in order else ",", order)]
        if sorted(said) != sorted(levels):
            raise LabelError(
                f"the order {', '.join(map(repr, said))} for {name!r}, which has the levels {', '.join(map(repr, sorted(levels)))}",
                expected="each level once, the least first",
                do="say them as they stand in the archive",
            )
        return said
    if all(_level(level)[0] == 0 for level in levels):
        return sorted(levels, key=_level)
    for pattern, numbers in ((_NUMBERED, None), (_IN_ROMAN, _ROMAN)):
        found = {level: pattern.fullmatch(level.strip().lower()) for level in levels}
        whole = {level: m for level, m in found.items() if m and (numbers is None or m["number"] in numbers)}
        if len(whole) == len(levels) and len({m["word"].strip() for m in whole.values()}) == 1:
            place = {
                v: (int(m["number"]) if numbers is None else numbers[m["number"]], m["part"]) for v, m in whole.items()
            }
            if len(set(place.values())) == len(place):
                return sorted(levels, key=place.__getitem__)
    raise LabelError(
        f"{name!r} has the levels {', '.join(map(repr, sorted(levels)))}, and which is more than which their words do not say",
        expected="levels that are numbers or numbered, or their order",
        do=f'say it, the least first: --kind "ordinal: {" < ".join(sorted(levels))}", in the right order',
    )
