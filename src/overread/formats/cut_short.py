"""What is told of a volume of which files may be missing: it may be cut short at one of its ends."""

from __future__ import annotations

from collections.abc import Mapping

from pydicom.dataset import Dataset

from overread.domain import noted
from overread.formats.found import Found, Refused, with_notes


def incomplete(result: Found | Refused, gone: int) -> Found | Refused:
    """Say on a volume how many files of its series its disc should hold, and does not."""
    if isinstance(result, Refused) or not gone:
        return result
    some = "1 more file of this series is" if gone == 1 else f"{gone} more files of this series are"
    said = f"{some} named by the DICOMDIR of the disc and not on it; the volume may be cut short"
    return with_notes(result, noted("files-lost", said))


def doubted(result: Found | Refused, others: list[Found | Refused], beside: int, adrift: int) -> Found | Refused:
    """Say on a volume that files of its series could not be read or placed: a slice at one of its ends may be missing."""
    if isinstance(result, Refused):
        return result
    lost = sum(isinstance(r, Refused) and r.code != "copy" for r in others)
    for count, whose in ((lost, "of this series"), (beside, "beside it, of a series that is not known,")):
        if count:
            said = f"{count} more file{'s' if count > 1 else ''} {whose} could not be read; the volume may be cut short"
            result = with_notes(result, noted("files-lost", said))
    if adrift:
        said = f"{adrift} more slice{'s' if adrift > 1 else ''} of this series do{'' if adrift > 1 else 'es'} not say where it lies"
        said = said.replace("it lies", "they lie") if adrift > 1 else said
        result = with_notes(result, noted("slices-adrift", f"{said}; the volume may be cut short"))
    return result


def fewer(result: Found | Refused, headers: Mapping[str, Dataset]) -> Found | Refused:
    """Say on a volume that its headers count more slices, images, time points or parts than were offered.

    Parameters
    ----------
    result : Found or Refused
    headers : mapping of str to Dataset
        File → header, of all slices of the series.

    References
    ----------
    DICOM PS3.3 C.8.9.1 (Number of Slices, of each volume), C.12.1.1.1 (Images in Acquisition), C.7.6.16.2.2.4.
    """
    if isinstance(result, Refused) or len(result.origin.files) < 2:
        return result
    own = [headers[name] for name in result.origin.files if name in headers]
    if not own:
        return result
    first, told = own[0], []
    if (slices := _count(first, "NumberOfSlices")) > len(own) and first.get("Modality") == "PT":
        told.append(f"{len(own)} of {slices} slices (Number of Slices)")
    if (images := _count(first, "ImagesInAcquisition")) > len(own):
        of = _count(first, "AcquisitionNumber")
        if (here := sum(_count(ds, "AcquisitionNumber") == of for ds in headers.values())) < images:
            told.append(f"{here} of the {images} images of the acquisition (Images in Acquisition)")
    if (moments := _count(first, "NumberOfTemporalPositions")) > 1:
        here = len({_count(ds, "TemporalPositionIdentifier") for ds in headers.values()} - {0})
        if 0 < here < moments:
            told.append(f"{here} of {moments} time points (Number of Temporal Positions)")
    if (parts := _count(first, "InConcatenationTotalNumber")) > 1:
        same = [ds for ds in headers.values() if ds.get("ConcatenationUID") == first.get("ConcatenationUID")]
        if (here := len({_count(ds, "InConcatenationNumber") for ds in same} - {0})) < parts:
            told.append(f"{here} of {parts} parts of one multi-frame object (In-concatenation Total Number)")
    said = " and ".join(told)
    return (
        with_notes(result, noted("fewer-than-counted", f"{said}: the others were not offered here")) if told else result
    )


def _count(ds: Dataset, keyword: str) -> int:
    """Return a number that a header counts with; 0 where it says none."""
    try:
        return int(ds.get(keyword) or 0)
    except (TypeError, ValueError):
        return 0


def torn(result: Found | Refused, headers: Mapping[str, Dataset], divided: int) -> Found | Refused:
    """Say on slices why they may be a part only: their series stands under two patients or studies, or has no number."""
    if isinstance(result, Refused):
        return result
    if divided:
        said = f"its Series Instance UID also stands under {divided} other patient{'s' * (divided > 1)} or stud{'ies' if divided > 1 else 'y'}"
        return with_notes(result, noted("series-divided", f"{said}: these slices may be a part of a volume"))
    first = headers.get(result.origin.files[0])
    if first is not None and not str(first.get("SeriesInstanceUID") or "").strip(" \0"):
        said = "a slice without a Series Instance UID: nothing says which others it makes a volume with"
        return with_notes(result, noted("no-series", said))
    return result
