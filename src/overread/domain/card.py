"""A trained model told completely, but for its weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from overread.domain.canonical import fingerprint


@dataclass(frozen=True)
class ModelCard:
    """What must be known of a model before it may be used, and every hash needed to make it again.

    Parameters
    ----------
    name, version : str
    task : mapping
        The question (``plain(Task)``), with the intended use as a human wrote it, or "".
    recipe : mapping
        Preprocessing, step by step (``plain(Recipe)``).
    network : mapping
        Name, input shape, parameters, start.
    hashes : mapping of str to str
        SHA-256 of weights, graph, plan, split, code, lock file.
    cohorts : mapping of str to mapping
        For each cohort: patients, studies, images, label counts, fingerprint.
    training : mapping
        Optimiser, schedule, epochs, seed, augmentation, seconds, machine, versions.
    operating_points : mapping of str to mapping
        For each label: threshold, rule, cohort it was chosen on.
    calibration : mapping
        Method and parameters by label.
    performance : mapping
        ``metrics.json`` in short.
    limits : tuple of str
        In words.
    """

    name: str
    version: str
    task: Mapping[str, Any]
    recipe: Mapping[str, Any]
    network: Mapping[str, Any]
    hashes: Mapping[str, str]
    cohorts: Mapping[str, Any]
    training: Mapping[str, Any]
    operating_points: Mapping[str, Any]
    calibration: Mapping[str, Any]
    performance: Mapping[str, Any] = field(default_factory=dict)
    limits: tuple[str, ...] = ()

    @property
    def fingerprint(self) -> str:
        """SHA-256 of what the model *is*: everything but its performance, which later reads may add to."""
        return fingerprint({k: v for k, v in self.__dict__.items() if k != "performance"})
