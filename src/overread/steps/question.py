"""From the name of a label to the Task it asks, and from studies to the truth the network learns."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from overread.domain import LabelValue, Study, Task
from overread.errors import LabelError

KINDS = ("auto", "binary", "multiclass", "multilabel", "ordinal")


def ask(
    studies: Sequence[Study], label: str, *, kind: str = "auto", modality: str = "", side_matters: bool = True
) -> Task:
    """Return the task that a label name asks of a cohort.

    One yes-or-no label is a binary task; a label with several levels a multi-class one (or ordinal, when said);
    several yes-or-no labels with commas between are one multi-label task.

    Parameters
    ----------
    studies : sequence of Study
    label : str
        A label's name, or several with commas.
    kind : str
        "auto", or what the person says it is.
    modality : str
    side_matters : bool

    Raises
    ------
    LabelError
        For a label that no study has, or a kind that does not fit its values.

    Examples
    --------
    >>> cohort = [Study(f"S{i}", (), labels={"mass": bool(i), "class": "ab"[i]}) for i in range(2)]
    >>> ask(cohort, "mass").kind, ask(cohort, "class").labels
    ('binary', ('class=a', 'class=b'))
    """
    have = _values(studies)
    names = (label,) if label in have else tuple(n.strip() for n in label.split(",") if n.strip())
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
    outputs = tuple(f"{name}={level}" for level in levels[name])
    return Task(outputs, "ordinal" if kind == "ordinal" else "multiclass", name, modality, side_matters)


def truth(studies: Sequence[Study], task: Task) -> np.ndarray:
    """Return what is known of each study, (n, outputs): 1 present, 0 absent, NaN unknown; one-hot for levels.

    Examples
    --------
    >>> task = Task(("mass",), "binary", "mass")
    >>> truth([Study("S1", (), labels={"mass": True}), Study("S2", ())], task).tolist()
    [[1.0], [nan]]
    """
    out = np.full((len(studies), len(task.labels)), np.nan)
    for i, study in enumerate(studies):
        if task.kind in ("multiclass", "ordinal"):
            value = study.labels.get(task.name)
            if value is not None:
                out[i] = [float(label == f"{task.name}={value}") for label in task.labels]
        else:
            for j, label in enumerate(task.labels):
                value = study.labels.get(label)
                out[i, j] = np.nan if value is None else float(bool(value))
    return out


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


def _level(value: str) -> tuple[int, float, str]:
    """Numbers in their order before words in theirs: "2" before "10"."""
    try:
        return (0, float(value), value)
    except ValueError:
        return (1, 0.0, value)
