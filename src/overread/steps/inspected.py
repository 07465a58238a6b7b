"""What came of inspecting, for a person and for a machine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from overread.domain.canonical import plain
from overread.steps.collected import (
    PASSED_OVER,
    duplicates_told,
    files_line,
    label_lines,
    patients_told,
    printable,
    refused_lines,
)
from overread.steps.verdicts import NOTED

_CODES = 12  # lines of notes that are printed


@dataclass(frozen=True)
class Inspection:
    """What lies in an archive; printed, it is a page for a person, and :meth:`to_json` is the same for a machine.

    Parameters
    ----------
    archive : str
    images, studies, patients, volumes, bytes : int
    studies_without_patient, patients_with_several_images : int
    modalities, sizes, units, formats, bits, spacings, body_parts, views, scanners : mapping of str to int
        Images of each kind; a size is "rows × columns" or "slices × rows × columns", a spacing is in mm.
    images_a_patient : mapping of str to int
        Patients with one image, two, …
    intensities : mapping
        Unit → the lowest and highest value of all images.
    duplicates : int
        Files whose picture another file had already.
    labels : mapping
        Name → counts of true, false, unknown; with "kind" and "values" where there are several levels.
    strata, splits : mapping
        Column → value → studies.
    files : mapping
        ``{"read": n, "refused": [{"file", "reason", "code"}, …]}``: every file that was ever offered.
    verdicts : mapping of str to int
        Images ``accepted`` and ``accepted with a note``, files ``refused``.
    codes : tuple of {"verdict", "code", "count", "sentence", "sentences"}
        Every code that was given, on how many images or files, its commonest sentence and how many different ones;
        ``docs/reasons.md`` explains them.
    each : tuple of {"image", "verdict", "codes", "notes"}
        Every image, by its content hash.
    near_copies : tuple of {"images", "likeness", "way"} or None
        Pairs of images that are nearly the same; None where there were too many images to compare.
    seen : mapping
        How many: ``near_copies`` (pairs, or None), ``lettering``, ``outliers``, ``two_labels``.
    warnings : tuple of str
    contact_sheet : str
        Path of a PNG with some of the images.
    page : str
        Path of the page in HTML.
    shared_numbers : int
        Patients whose number stands for several people.
    """

    archive: str
    images: int
    studies: int
    patients: int
    volumes: int
    bytes: int
    studies_without_patient: int
    patients_with_several_images: int
    modalities: Mapping[str, int]
    sizes: Mapping[str, int]
    units: Mapping[str, int]
    formats: Mapping[str, int]
    bits: Mapping[str, int]
    spacings: Mapping[str, int]
    body_parts: Mapping[str, int]
    views: Mapping[str, int]
    scanners: Mapping[str, int]
    images_a_patient: Mapping[str, int]
    intensities: Mapping[str, Any]
    duplicates: int
    labels: Mapping[str, Any]
    strata: Mapping[str, Any]
    splits: Mapping[str, Any]
    files: Mapping[str, Any]
    verdicts: Mapping[str, int]
    codes: tuple[Mapping[str, Any], ...]
    each: tuple[Mapping[str, Any], ...]
    near_copies: tuple[Mapping[str, Any], ...] | None
    seen: Mapping[str, Any]
    warnings: tuple[str, ...]
    contact_sheet: str
    page: str
    shared_numbers: int = 0

    def to_json(self) -> dict[str, Any]:
        """Return everything as plain JSON values."""
        return plain(self.__dict__)

    def __str__(self) -> str:
        refused = [r for r in self.files["refused"] if r["code"] not in PASSED_OVER]
        lines = [
            f"{self.archive}: {self.images:,} image{'s' * (self.images != 1)} ({size_told(self.bytes)}), "
            f"{self.volumes:,} of them volume{'s' * (self.volumes != 1)}",
            f"  studies    {self.studies:,}",
            "  patients   "
            + patients_told(
                self.patients,
                self.studies_without_patient,
                several=self.patients_with_several_images,
                shared=self.shared_numbers,
            ),
            *([f"  modality   {_counts(self.modalities)}"] if self.modalities else []),
            *([f"  format     {_counts(self.formats)}"] if self.formats else []),
            *([f"  size       {_counts(self.sizes)}"] if self.sizes else []),
            *(f"  values     {unit}: {r['low']:g} to {r['high']:g}" for unit, r in self.intensities.items()),
            f"  duplicates {duplicates_told(self.duplicates)}",
            *label_lines(self.labels),
            *(f"  split      {name}: {_counts(values)}" for name, values in self.splits.items()),
            *(f"  stratum    {name}: {_counts(values)}" for name, values in self.strata.items()),
            files_line([f"{self.files['read']:,} read"], self.files["refused"]),
            *refused_lines(refused),
            *self._code_lines(),
            *(f"  warning    {warning}" for warning in self.warnings),
        ]
        lines += [f"  pictures   {self.contact_sheet}"] if self.contact_sheet else []
        return "\n".join(map(printable, [*lines, f"  page       {self.page}"]))

    def _code_lines(self) -> list[str]:
        """Return the verdicts, and one line a code; the refusals stand above."""
        lines = [f"  verdicts   {' · '.join(f'{n:,} {verdict}' for verdict, n in self.verdicts.items())}"]
        notes = [entry for entry in self.codes if entry["verdict"] == NOTED]
        for entry in notes[:_CODES]:
            such = "" if entry["sentences"] == 1 else "such as "
            lines.append(f"  note       {entry['count']:,} × {entry['code']}: {such}{entry['sentence']}")
        rest = len(notes) - _CODES
        return [*lines, f"  note       … and {rest:,} more codes; the page lists all"] if rest > 0 else lines


def size_told(size: int) -> str:
    """Say how much room something takes.

    Examples
    --------
    >>> [size_told(n) for n in (300, 52_000, 1_500_000, 7_200_000_000)]
    ['1 kB', '52 kB', '2 MB', '7,200 MB']
    """
    return f"{size / 1e6:,.0f} MB" if size >= 1e6 else f"{max(1, round(size / 1e3))} kB"


def _counts(counts: Mapping[str, int], most: int = 8) -> str:
    """Return counts in one line, the rest summed up."""
    shown = [f"{name} {n:,}" for name, n in list(counts.items())[:most]]
    rest = list(counts.values())[most:]
    return " · ".join([*shown, f"{len(rest):,} others {sum(rest):,}"] if rest else shown)
