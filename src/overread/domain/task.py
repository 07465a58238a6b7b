"""The clinical question, and the recipe that turns an image into network input."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
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
    """

    labels: tuple[str, ...]
    kind: Kind
    name: str
    modality: str = ""
    side_matters: bool = True
    intended_use: str = ""
