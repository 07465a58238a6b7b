"""What is told of a volume of which files may be missing: it may be cut short at one of its ends."""

from __future__ import annotations

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
