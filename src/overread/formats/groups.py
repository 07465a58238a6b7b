"""What a multi-frame object says of all its frames, and says again of one, must be the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from pydicom.datadict import dictionary_description
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue

from overread.errors import UnreadableFile

PLACE = (
    ("PlanePositionSequence", {"ImagePositionPatient": 0.01}),
    ("PlaneOrientationSequence", {"ImageOrientationPatient": 1e-3}),
    ("PixelMeasuresSequence", {"PixelSpacing": 1e-3}),
)
"""What places a frame: groups, their elements, and by how much (mm, or a cosine) two texts of one number may differ."""
RESCALE = {"RescaleSlope": 0.0, "RescaleIntercept": 0.0, "RescaleType": 0.0}


def check_agreement(own: Sequence[Dataset | None], common: Dataset | None, allowed: Mapping[str, float]) -> None:
    """Refuse frames that are described otherwise than all frames are said to be: nobody knows which is true.

    Parameters
    ----------
    own : sequence of Dataset or None
        The item of each frame's own group; None where it has none.
    common : Dataset or None
        The item of the group that all frames share.
    allowed : mapping of str to float
        The elements that are compared, and how far their numbers may be apart.

    Raises
    ------
    UnreadableFile
        ``malformed``, with both values and the number of frames.

    References
    ----------
    DICOM PS3.3 C.7.6.16.1.1: what all frames share is not said again of a frame.

    Examples
    --------
    >>> all_frames, one = Dataset(), Dataset()
    >>> all_frames.RescaleIntercept, one.RescaleIntercept = -1024, 0
    >>> check_agreement([None, all_frames], all_frames, RESCALE)
    >>> check_agreement([None, one], all_frames, RESCALE)
    Traceback (most recent call last):
    overread.errors.UnreadableFile: Rescale Intercept is -1024 for all frames, and 0 in the description of 1 of 2 frames; ...
    """
    for keyword, tolerance in allowed.items():
        said = None if common is None else common.get(keyword)
        if said in (None, ""):
            continue
        values = [item.get(keyword) for item in own if item is not None]
        other = [v for v in values if v not in (None, "") and not _same(v, said, tolerance)]
        if other:
            raise UnreadableFile(
                f"{dictionary_description(keyword)} is {_shown(said)} for all frames, and {_shown(other[0])} in the "
                f"description of {len(other)} of {len(own)} frames",
                code="malformed",
                expected="one of them: what all frames share is not said again of a frame",
                do="export it again",
            )


def check_places(own: Sequence[Dataset], common: Dataset) -> None:
    """Refuse frames that lie, are turned or are sized otherwise than all frames are said to be (``check_agreement``)."""
    for macro, allowed in PLACE:
        shared = group_item(common, macro)
        if shared is not None:
            check_agreement([group_item(group, macro) for group in own], shared, allowed)


def group_item(group: Dataset, macro: str) -> Dataset | None:
    """Return the one item of a functional group; None where the group is not there or empty."""
    found = group.get(macro)
    return found[0] if found else None


def _same(one: object, other: object, tolerance: float) -> bool:
    if isinstance(one, str) or isinstance(other, str):
        return str(one).strip() == str(other).strip()
    first, second = np.atleast_1d(np.array(one, float)), np.atleast_1d(np.array(other, float))
    return first.shape == second.shape and bool(np.abs(first - second).max() <= tolerance)


def _shown(value: object) -> str:
    if isinstance(value, str):
        return value
    return "\\".join(f"{float(v):g}" for v in (value if isinstance(value, (MultiValue, list)) else [value]))
