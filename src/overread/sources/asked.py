"""What a person asks a PACS for, and the series it lists: the same words for DICOMweb and for DIMSE.

References
----------
PS3.4 C.2.2.2 (matching), C.6.2.1 (Study Root); PS3.18 10.6 (QIDO-RS).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace

from overread.errors import SourceError

MOST_SERIES = 200_000
"""A query that lists more series than this was hardly meant."""

_UID = re.compile(r"[0-9]+(\.[0-9]+)*")
_DATES = re.compile(r"\d{8}|\d{8}-|-\d{8}|\d{8}-\d{8}")


@dataclass(frozen=True)
class Asked:
    """Which studies are wanted; what is empty does not matter.

    Parameters
    ----------
    modality : str
        "CT"; several with commas. Of the series too: other series of such a study are not wanted.
    date : str
        Study date: "20200131", "20200101-20201231", "20200101-" or "-20201231".
    description : str
        Of the study; ``*`` stands for any text, ``?`` for one character, case does not matter.
    patient : str
        Patient ID; ``*`` and ``?`` as above.
    accession : str
        Accession number.
    study : str
        Study Instance UID; several with commas.

    Examples
    --------
    >>> Asked(modality="CT", date="20200101-").fits({"date": "20210203"})
    True
    >>> Asked(description="*chest*").fits({"description": "CT CHEST LOW DOSE"})
    True
    >>> Asked(date="01/02/2020")
    Traceback (most recent call last):
    ...
    overread.errors.SourceError: a date of 10 characters; expected 20200131, 20200101-20201231, 20200101- or -20201231; write it so
    """

    modality: str = ""
    date: str = ""
    description: str = ""
    patient: str = ""
    accession: str = ""
    study: str = ""

    def __post_init__(self) -> None:
        if self.date and not _DATES.fullmatch(self.date):
            raise SourceError(
                f"a date of {len(self.date)} characters",
                expected="20200131, 20200101-20201231, 20200101- or -20201231",
                do="write it so",
            )
        if not all(is_uid(uid) for uid in self.studies):
            raise SourceError("a study that is no UID", expected="digits and dots, at most 64", do="write study=1.2.…")
        for each in fields(self):
            if "\\" in getattr(self, each.name):
                raise SourceError(f"a backslash in {each.name}=", expected="one value", do="ask several times")

    @property
    def modalities(self) -> tuple[str, ...]:
        """The modalities asked for, in capitals."""
        return tuple(m.strip().upper() for m in self.modality.split(",") if m.strip())

    @property
    def studies(self) -> tuple[str, ...]:
        """The study UIDs asked for."""
        return tuple(s.strip() for s in self.study.split(",") if s.strip())

    def each(self) -> Iterator[Asked]:
        """Yield the questions with one modality and one study each: what every server understands."""
        for modality in self.modalities or ("",):
            for study in self.studies or ("",):
                yield replace(self, modality=modality, study=study)

    def fits(self, told: Mapping[str, str]) -> bool:
        """Return whether a study that a server lists was asked for: some servers pass over keys they do not know."""
        if self.studies and told.get("study") not in self.studies:
            return False
        if self.date and not _within(told.get("date", ""), self.date):
            return False
        words = ("description", "patient", "accession")
        return all(_like(told.get(w, ""), getattr(self, w)) for w in words if getattr(self, w))

    def sift(self, listed: Iterable[dict[str, str]]) -> tuple[dict[str, dict[str, str]], int]:
        """Return the studies that were asked for, by their UIDs, and how many others a server listed.

        Examples
        --------
        >>> Asked(patient="7").sift([{"study": "1.2", "patient": "7"}, {"study": "1.3", "patient": "8"}])
        ({'1.2': {'study': '1.2', 'patient': '7'}}, 1)
        """
        fit: dict[str, dict[str, str]] = {}
        others: set[str] = set()
        for told in listed:
            if self.fits(told):
                fit[told["study"]] = told
            else:
                others.add(told["study"])
        return fit, len(others)


EVERYTHING = Asked()
"""All studies of a PACS."""


@dataclass(frozen=True)
class Series:
    """One series that a PACS lists. It names a patient: show it to the person who asked, and store it nowhere.

    Parameters
    ----------
    study, series : str
        UIDs.
    modality, date, description : str
        As the server says; ``date`` and ``description`` of the study.
    patient, accession : str
    instances : int or None
        How many the server says it has.
    """

    study: str = field(repr=False)
    series: str = field(repr=False)
    modality: str = ""
    date: str = field(default="", repr=False)
    description: str = field(default="", repr=False)
    patient: str = field(default="", repr=False)
    accession: str = field(default="", repr=False)
    instances: int | None = None


@dataclass(frozen=True)
class Listed:
    """``series`` that fit what was asked; ``unasked`` counts studies that the server listed and that do not."""

    series: tuple[Series, ...]
    unasked: int = 0


def is_uid(text: str) -> bool:
    """True for what may stand as a UID in a path or a request: digits and dots, at most 64.

    Examples
    --------
    >>> is_uid("1.2.840.10008"), is_uid("../../etc"), is_uid("")
    (True, False, False)
    """
    return len(text) <= 64 and bool(_UID.fullmatch(text))


def _within(date: str, asked: str) -> bool:
    first, dash, last = asked.partition("-")
    if not re.fullmatch(r"\d{8}", date):
        return False
    return (first or "0") <= date <= (last or "9") if dash else date == first


def _like(value: str, pattern: str) -> bool:
    """True when a value fits a pattern with ``*`` and ``?``; spaces around it and case do not matter."""
    signs = {"*": ".*", "?": "."}
    regex = "".join(signs.get(c) or re.escape(c) for c in pattern.strip())
    return bool(re.fullmatch(regex, value.strip(), re.IGNORECASE | re.DOTALL))
