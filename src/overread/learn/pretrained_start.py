"""A start on disk: weights that were learned before, what is known of them, and, salted, whom they were learned from.

``START/start.json`` tells everything and names the two other files by hash: ``weights.npz``, and ``seen.npz``, in which no
patient can be read but any patient can be looked up. Loads without Keras.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from overread.domain import canonical_json
from overread.errors import IntegrityError, RunError

NAME = "pretrained"
"""What a plan's [start] calls it."""

CARD, WEIGHTS, SEEN = "start.json", "weights.npz", "seen.npz"
FORMAT = 1

PRIVACY = (
    "Weights were learned from the pictures of patients: they are personal data unless shown otherwise (EDPB Opinion 28/2024). "
    "No privacy guarantee was given and no attack was tried. seen.npz holds salted hashes of pseudonyms and pictures: whoever has "
    "the archive can look up whether a patient was seen; nobody can read a name in it."
)
LICENCE = "That of the images it was learned from, which only their owner can give; the code is that of this package."


@dataclass(frozen=True)
class Given:
    """A start that lies in a folder, checked.

    Parameters
    ----------
    path : Path
    told : mapping
        ``start.json``.
    sha256 : str
        Of ``start.json``, and through it of weights and patients.
    """

    path: Path
    told: Mapping[str, Any]
    sha256: str

    @property
    def in_words(self) -> str:
        """One line for the plan and the model card."""
        who = f"{self.told['patients']:,} patients" if self.told["patients"] is not None else "patients not known"
        return (
            f"{self.told['method']}; learned on {self.told['images']:,} images ({who}); licence: that of those images; "
            f"SHA-256 {self.sha256[:16]}"
        )

    def weights(self) -> dict[str, np.ndarray]:
        """Return the weights by name (`learn.pretrained.taken`)."""
        return _arrays(self.path / WEIGHTS)

    def knows(self, images: Iterable[str], people: Iterable[str]) -> tuple[int, int]:
        """Return how many of these pictures, and of these patients or studies, were learned from."""
        kept, salt = _arrays(self.path / SEEN), self.told["salt"]

        def known(name: str, values: Iterable[str]) -> int:
            return len({hidden(value, salt) for value in values} & set(kept[name].tolist()))

        return known("images", images), known("people", people)

    def unseen(self, images: Iterable[str], people: Iterable[str]) -> np.ndarray:
        """Return for each picture, with its patient or study, whether neither was learned from."""
        kept, salt = _arrays(self.path / SEEN), self.told["salt"]
        pictures, persons = (set(kept[name].tolist()) for name in ("images", "people"))
        return np.array(
            [hidden(i, salt) not in pictures and hidden(p, salt) not in persons for i, p in zip(images, people, strict=True)],
            bool,
        )  # fmt: skip


def hidden(value: str, salt: str) -> str:
    """Return a pseudonym or a picture's hash so that it can be compared within one start, and not read.

    Examples
    --------
    >>> hidden("P0001", "00") == hidden("P0001", "00"), hidden("P0001", "00") == hidden("P0001", "01")
    (True, False)
    """
    return hmac.new(bytes.fromhex(salt), value.encode(), "sha256").hexdigest()[:24]


def write(
    folder: Path, told: Mapping[str, Any], weights: Mapping[str, np.ndarray], *, images: Iterable[str], people: Iterable[str]
) -> Given:  # fmt: skip
    """Write a start, its card last, so that half a start is none.

    Parameters
    ----------
    folder : Path
        Is there.
    told : mapping
        What the card says, with ``salt``; the hashes are added.
    weights : mapping
    images, people : iterable of str
        Hashes of the pictures, pseudonyms of the patients (of the studies, where patients are not known).
    """
    salt = told["salt"]
    seen = {name: np.array(sorted({hidden(v, salt) for v in values}), "U24") for name, values in (("images", images), ("people", people))}  # fmt: skip
    for name, arrays in ((WEIGHTS, weights), (SEEN, seen)):
        part = folder / f"{name}.part"
        with open(part, "wb") as out:
            np.savez(out, **arrays)
        part.replace(folder / name)
    card = {"format": FORMAT, **told, "hashes": {"weights": digest(weights), "seen": digest(seen)}}
    part = folder / f"{CARD}.part"
    part.write_text(json.dumps(json.loads(canonical_json(card)), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    part.replace(folder / CARD)
    return read(folder)


def read(path: str | Path, *, expected: str = "") -> Given:
    """Read a start and check it.

    Parameters
    ----------
    path : path
    expected : str
        SHA-256 of the start that a plan names.

    Raises
    ------
    RunError
        When there is none.
    IntegrityError
        When one of its files was changed, or it is not the one that the plan names.
    """
    folder = Path(path)
    file = folder / CARD
    if not file.is_file():
        raise RunError(
            f"{folder.name} is no start", expected=f"a folder with {CARD}, as `overread pretrain --out` writes it", do="check the path"
        )  # fmt: skip
    raw = file.read_bytes()
    sha256 = hashlib.sha256(raw).hexdigest()
    if expected and sha256 != expected:
        raise IntegrityError(
            f"the start has the SHA-256 {sha256[:12]}…", expected=f"{expected[:12]}…, which the plan names", do="name that start, or draw up the plan again"
        )  # fmt: skip
    try:
        told = json.loads(raw)
        hashes, known = told["hashes"], told["format"] == FORMAT
    except (ValueError, KeyError, TypeError):
        raise IntegrityError(f"{CARD} is damaged", expected="as `overread pretrain` wrote it", do="learn it again") from None  # fmt: skip
    if not known:
        raise RunError(f"a start of format {told['format']}", expected=f"format {FORMAT}", do="learn it again")
    for name, kept in (("weights", WEIGHTS), ("seen", SEEN)):
        try:
            found = digest(_arrays(folder / kept))
        except (OSError, ValueError, KeyError, EOFError):
            found = ""
        if found != hashes[name]:
            raise IntegrityError(f"{kept} of the start was changed or is missing", expected=f"what {CARD} was written with", do="restore it from a copy you trust, or learn it again")  # fmt: skip
    return Given(folder, told, sha256)


def copied(given: Given, into: Path) -> Given:
    """Copy a start into a folder of its own, so that a training finds it again whatever becomes of the first."""
    if (into / CARD).is_file():
        return read(into, expected=given.sha256)
    into.mkdir(parents=True, exist_ok=True)
    for name in (WEIGHTS, SEEN, CARD):
        part = into / f"{name}.part"
        shutil.copyfile(given.path / name, part)
        part.replace(into / name)
    return read(into, expected=given.sha256)


def digest(arrays: Mapping[str, np.ndarray]) -> str:
    """Return the SHA-256 over arrays by name, whatever file they lie in.

    Examples
    --------
    >>> digest({"a": np.zeros(2), "b": np.ones(1)}) == digest({"b": np.ones(1), "a": np.zeros(2)})
    True
    """
    total = hashlib.sha256()
    for name in sorted(arrays):
        value = np.ascontiguousarray(arrays[name])
        total.update(f"{name} {value.dtype.str} {value.shape}\0".encode() + value.tobytes())
    return total.hexdigest()


def _arrays(file: Path) -> dict[str, np.ndarray]:
    with np.load(file, allow_pickle=False) as kept:
        return {name: kept[name] for name in kept.files}
