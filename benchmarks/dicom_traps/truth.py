"""What is true of a trap: the values at every point, in physical units, and what a reader may say instead."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np


@dataclass(frozen=True, eq=False)
class Piece:
    """One image or volume that a reader should return.

    Parameters
    ----------
    values : ndarray, (rows, columns[, 3]) or (slices, rows, columns)
        What is true, in physical units.
    affine : ndarray, (4, 4), optional
        (slice, row, column) → LPS mm, for a volume whose place is known. A reader that states a place is judged at
        these points: its own affine says which of its voxels lies there.
    tolerance : float
        How far a value may be from the truth (lossy encodings, rounding).
    spacing_mm : (float, float), optional
        Between rows, between columns, of a film; a reader that states another is wrong.
    unplaced : str
        Axes ("z" slices, "y" rows, "x" columns) of which nothing in the file says how far apart they lie: a reader that
        states a distance there, without a word, has invented it.
    units : tuple of str
        Units that would be right; a reader that names another is wrong. Empty: not asked.
    offset_free : bool
        Right up to an added constant (turning MONOCHROME1 over leaves its zero open).
    padding : (mask, float), optional
        Pixels outside the field of view, and the highest value that could not be taken for anatomy.
    told : str
        A pattern that one of the reader's notes or warnings must match, else these values are not enough.
    attributes : mapping of str to str
        Facts that a reader which returns facts must return so.
    upright : bool
        The array itself must be straight: one whose stated axes lean is slanted anatomy to a network, which sees no affine.
    """

    values: np.ndarray
    affine: np.ndarray | None = None
    tolerance: float = 0.05
    spacing_mm: tuple[float, float] | None = None
    unplaced: str = ""
    units: tuple[str, ...] = ()
    offset_free: bool = False
    padding: tuple[np.ndarray, float] | None = None
    told: str = ""
    attributes: dict[str, str] = field(default_factory=dict)
    upright: bool = False


@dataclass(frozen=True)
class Case:
    """What one trap's function has written, and what is true of it.

    Parameters
    ----------
    path : Path
        The file or folder that the reader is given.
    kind : str
        "DICOM film" (one projection), "DICOM slice" (one of CT, MR, PET), "DICOM colour", "DICOM frames" (several in one
        file), "DICOM series" (a folder), "picture", "TIFF picture", "colour picture" or
        "NIfTI": what a reader must claim to read, to be asked.
    answers : tuple of tuples of Piece
        Each answer is all images of the source; any one of the answers is right. Empty: it must be refused.
    topic : str
        A pattern: a refusal or warning that matches it names the matter.
    numbers : tuple of str
        What overread's own refusal must hold (asked of nobody else).
    may_refuse : bool
        A refusal that names the matter is as good as the right pixels.
    """

    path: Path
    kind: str
    answers: tuple[tuple[Piece, ...], ...]
    topic: str = r"(?i)unsupported|not supported(?! between)|inconsistent|missing|not.a.volume|unable|could ?n.t|cannot"
    numbers: tuple[str, ...] = ()
    may_refuse: bool = False


@dataclass(frozen=True)
class Trap:
    """A case with its name and the sentence that says why it matters."""

    name: str
    group: str
    why: str
    case: Case
