"""Who was examined (by pseudonym), what is known of it, and which studies belong together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from overread.domain.canonical import fingerprint

LabelValue = bool | str | None
"""True, False, or a level of a many-valued label ("benign"); None is unknown, which is not absent."""

COHORTS = ("training", "tuning", "calibration", "testing")
"""The four parts of every split, by patient: fit on one, watch on the next, calibrate on the third, test once."""

COHORT_WORDS = {
    "training": "training",
    "train": "training",
    "tuning": "tuning",
    "tune": "tuning",
    "dev": "tuning",
    "validation": "tuning",
    "valid": "tuning",
    "val": "tuning",
    "calibration": "calibration",
    "testing": "testing",
    "test": "testing",
}
"""What published split columns call the cohorts, in lower case."""


@dataclass(frozen=True)
class Study:
    """One examination of one pseudonym. It has no field for a name.

    Parameters
    ----------
    pseudonym : str
        Of the study ("S" + 12 hex digits).
    images : tuple of str
        Content hashes of its images in the archive.
    patient : str or None
        The patient's pseudonym ("P" + 12 hex digits); None where the source does not say who it was.
    labels : mapping of str to LabelValue
        ``{"pneumonia": True, "class": "benign", "effusion": None}``.
    strata : mapping of str to str
        For subgroups: sex, age band, site, scanner, view.
    splits : mapping of str to str
        Published split columns as they came: ``{"published_split": "test"}``.
    """

    pseudonym: str
    images: tuple[str, ...]
    patient: str | None = None
    labels: Mapping[str, LabelValue] = field(default_factory=dict)
    strata: Mapping[str, str] = field(default_factory=dict)
    splits: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Cohort:
    """A named, fixed set of studies."""

    name: str
    studies: tuple[Study, ...]

    def __len__(self) -> int:
        return len(self.studies)

    @property
    def fingerprint(self) -> str:
        """SHA-256 over its studies' content: two cohorts with one fingerprint are the same."""
        return fingerprint(sorted(fingerprint(s) for s in self.studies))

    @property
    def patients_known(self) -> bool:
        """True when every study says (by pseudonym) who it was."""
        return all(s.patient is not None for s in self.studies)
