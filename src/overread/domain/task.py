"""The clinical question, and the recipe that turns an image into network input."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from typing import Any, Literal

Kind = Literal["binary", "multiclass", "multilabel", "ordinal"]


@dataclass(frozen=True)
class Step:
    """One step of a recipe: the name of a function in ``imaging.preprocess`` and its arguments."""

    name: str
    args: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Recipe:
    """How pixels become network input: data, not code, so that training and clinic cannot differ."""

    steps: tuple[Step, ...]


@dataclass(frozen=True)
class Task:
    """The clinical question that a model answers.

    Parameters
    ----------
    labels : tuple of str
        The outputs in order: one for binary (``("pneumonia",)``), one a label for multi-label, one a level for
        multi-class and ordinal (``("class=benign", "class=malignant")``).
    kind : str
        binary, multiclass, multilabel or ordinal.
    name : str
        The label column asked for ("pneumonia", "class").
    modality : str
        Modalities seen in training, joined by "+" ("CT", "CR+DX"); "" for pictures.
    side_matters : bool
        True: a left-right flip would change the meaning (chest, heart, abdomen), so none is used in augmentation.
    intended_use : str
        In words, by a human; empty until one has written it.
    unit : str
        Unit of the training voxels ("HU", "stored"); "" where it was not recorded.
    eight_bit : bool
        True: trained on pictures of 256 levels, windowed by whoever made them.
    body_part, view : str
        Body parts and views that the headers of the training images name, joined by "+" ("CHEST", "AP+PA"); "" where
        not every one of them names one.
    """

    labels: tuple[str, ...]
    kind: Kind
    name: str
    modality: str = ""
    side_matters: bool = True
    intended_use: str = ""
    unit: str = ""
    eight_bit: bool = False
    body_part: str = ""
    view: str = ""


@dataclass(frozen=True)
class ReadyTask:
    """A question that comes with the package: what is usually asked of one kind of study.

    ``intended_use`` is empty on purpose: who may use a model, and for what, is for a human to say.
    """

    name: str
    title: str
    label: str
    modalities: tuple[str, ...]
    side_matters: bool
    why_side_matters: str
    intended_use: str = ""


def ready_tasks() -> dict[str, ReadyTask]:
    """Return the questions that come with the package, by name.

    Examples
    --------
    >>> ready_tasks()["mammography-cancer"].side_matters
    False
    """
    found = {}
    for entry in sorted((resources.files(__package__) / "tasks").iterdir(), key=lambda e: e.name):
        if entry.name.endswith(".toml"):
            record = tomllib.loads(entry.read_text(encoding="utf-8"))
            name = entry.name.removesuffix(".toml")
            found[name] = ReadyTask(name, **{**record, "modalities": tuple(record["modalities"])})
    return found
