"""The corpus: every trap written into a folder of its own, with a list of what is true of each.

`python -m benchmarks.dicom_traps.corpus FOLDER` writes it, for a reader that is not in the table.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from benchmarks.dicom_traps import encodings, frames, meanings, nuclear, people, pictures, stacks, values, volumes
from benchmarks.dicom_traps.truth import Case, Trap

GROUPS = {
    "Values": values.TRAPS + meanings.TRAPS + nuclear.PET_TRAPS,
    "Encodings": encodings.TRAPS,
    "Volumes": volumes.TRAPS,
    "Series that are no one volume": stacks.TRAPS + people.TRAPS,
    "Frames and films": frames.TRAPS + nuclear.TRAPS,
    "Pictures and NIfTI": pictures.TRAPS,
}


def build(folder: Path) -> list[Trap]:
    """Write all traps below ``folder`` and ``manifest.json`` beside them.

    Parameters
    ----------
    folder : Path
        Made if it is not there; each trap gets a folder of its name.

    Returns
    -------
    list of Trap
    """
    traps = []
    for group, functions in GROUPS.items():
        for write in functions:
            name = write.__name__.replace("_", "-")
            place = folder / name
            place.mkdir(parents=True, exist_ok=True)
            traps.append(Trap(name, group, " ".join(write.__doc__.split()), write(place)))
    if len({t.name for t in traps}) < len(traps):
        raise ValueError("two traps of one name")
    (folder / "manifest.json").write_text(json.dumps([_told(t, folder) for t in traps], indent=1, ensure_ascii=False))
    return traps


def _told(trap: Trap, folder: Path) -> dict:
    """What is true, for a person and for a reader in another language: shapes, corner values, places."""
    case = trap.case
    return {
        "name": trap.name,
        "group": trap.group,
        "why": trap.why,
        "path": str(case.path.relative_to(folder)),
        "kind": case.kind,
        "expected": _expected(case),
        "right": [[_piece(p) for p in answer] for answer in case.answers],
    }


def _expected(case: Case) -> str:
    if not case.answers:
        return "a refusal that names the matter"
    return "right, or a refusal that names the matter" if case.may_refuse else "right"


def _piece(piece) -> dict:
    flat = piece.values.reshape(-1)
    told = {
        "shape": list(piece.values.shape),
        "first, middle, last value": [float(flat[0]), float(flat[flat.size // 2]), float(flat[-1])],
        "tolerance": piece.tolerance,
    }
    if piece.affine is not None:
        told["(slice, row, column) to LPS mm"] = piece.affine.tolist()
    if piece.spacing_mm:
        told["row, column spacing mm"] = list(piece.spacing_mm)
    if piece.units:
        told["unit"] = list(piece.units)
    return told


if __name__ == "__main__":
    print(f"{len(build(Path(sys.argv[1])))} traps, and manifest.json")
