"""What a NIfTI header says of its file: where voxels begin, how many there are, what they are, and what is wrong with it."""

from __future__ import annotations

import nibabel as nib
import numpy as np

from overread.domain import noted
from overread.errors import UnreadableFile


def intent_told(code: int) -> list[str]:
    """Note where the header says that the numbers are no picture: a statistic, a map of labels, displacements.

    References
    ----------
    NIfTI-1.1, "intent codes": 2 to 24 are statistics, 1001 to 1011 (and 2005) what else is no measured intensity.
    """
    known = {1002: "a map of labels", 1006: "displacements", 1007: "vectors"}
    what = known.get(code, "a statistic" if 2 <= code <= 24 else "no measured intensities")
    if not (2 <= code <= 24 or 1001 <= code <= 1011 or code == 2005):
        return []
    return [noted("no-picture", f"the header says that its numbers are {what} (intent code {code}), not a picture")]


FIRST = {nib.Nifti1Image: 352, nib.Nifti2Image: 544}
"""The first byte at which voxels may lie in one file: behind the header and the four bytes that say whether more follows."""


def begin_of(left: int, said: int, first: int) -> tuple[int, list[str]]:
    """Return where voxels begin whose header says that they begin within the header: where they end with the file.

    Parameters
    ----------
    left : int
        Bytes of the file that are no voxels.
    said : int
        What the header says.
    first : int
        What the format says.

    Raises
    ------
    UnreadableFile
        ``malformed`` where the voxels would not lie right behind the header either.

    Examples
    --------
    >>> begin_of(352, 0, 352)
    (352, ['header-rules: voxels begin at byte 0 by the header, within the header itself; they were read from byte 352 to the end'])
    """
    if left not in (first, first - 4):  # without those four bytes: as some programs write
        raise UnreadableFile(
            f"a NIfTI file whose voxels begin at byte {said:,} by its header, within the header itself",
            code="malformed",
            expected=f"{first:,} or more; {max(left, 0):,} bytes of the file are no voxels",
            do="convert it again from the original images",
        )
    if left == said:
        return left, []
    where = f"voxels begin at byte {said:,} by the header, within the header itself; they were read from byte {left:,} to the end"
    return left, [noted("header-rules", where)]


def check_dimensions(shape: list[int]) -> None:
    """Refuse more than four dimensions that are more than one value wide."""
    many = " × ".join(str(n) for n in shape)
    if len(shape) > 4 and int(np.prod(shape[4:], dtype=np.int64)) > 1:
        if shape[3] == 1 and len(shape) == 5:
            raise UnreadableFile(
                f"a NIfTI file of {many} voxels, each a vector of {shape[4]} numbers",
                code="unsupported-format",
                expected="one number for each voxel",
                do="save each component as its own file",
            )
        raise UnreadableFile(
            f"a NIfTI file of {many} voxels, {int(np.prod(shape[3:], dtype=np.int64))} volumes in {len(shape) - 3} dimensions",
            code="several-volumes",
            expected="at most four dimensions",
            do="save each volume as its own file",
        )


def faults_of(header: nib.Nifti1Header) -> list[str]:
    """Refuse a header whose lengths or factors are no numbers where they are needed; tell of those that are not.

    (nibabel would put 1 mm for 0 mm, and say so in a log only.)
    """
    notes = []
    sizes = np.asarray(header["pixdim"][1:4], float)[: max(1, int(header["dim"][0]))]
    placed_by_sizes = int(header["qform_code"]) > 0 and int(header["sform_code"]) <= 0
    if placed_by_sizes and not (np.isfinite(sizes) & (sizes > 0)).all():
        raise UnreadableFile(
            f"a NIfTI file with voxels of {' × '.join(f'{s:g}' for s in sizes)}",
            code="malformed",
            expected="sizes above 0",
            do="convert it again from the original images",
        )
    if placed_by_sizes and float(header["pixdim"][0]) not in (1.0, -1.0, 0.0):
        said = f"qfac is {float(header['pixdim'][0]):g} where only 1 and -1 have a meaning; it was taken as 1, as the format says for 0"
        notes.append(noted("header-rules", said))
    slope, shift = float(header["scl_slope"]), float(header["scl_inter"])
    if not np.isfinite(slope) or (slope and not np.isfinite(shift)):
        if np.isfinite(slope):
            raise UnreadableFile(
                f"a NIfTI file whose values are to be scaled by {slope:g} and shifted by {shift}",
                code="malformed",
                expected="two numbers",
                do="convert it again",
            )
        if not (np.isnan(slope) and np.isnan(shift)):  # two NaN are how nibabel writes "not scaled"
            notes.append(noted("scale-ignored", f"a scale factor of {slope} means nothing: the values are as stored"))
    return notes
