"""Write de-identified copies of DICOM images; name every file that could not be made safe, and why."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from overread.errors import IdentityRefused, NothingToDo, UnreadableFile
from overread.formats.clean_copy import clean_copy
from overread.steps.collected import refused_lines
from overread.steps.progress import progress as bar
from overread.store.objects import write_atomically


@dataclass(frozen=True)
class Deidentified:
    """What one run wrote, what was there already, and what it refused.

    Parameters
    ----------
    into : Path
        The folder of the copies.
    written, already : int
        Files written now; files a former run with the same key had written.
    refused : tuple of (file, code, reason)
        Every file that did not leave, as the user named it.
    patients, studies, series : int
        How many pseudonyms the accepted files belong to.
    """

    into: Path
    written: int
    already: int
    refused: tuple[tuple[str, str, str], ...]
    patients: int
    studies: int
    series: int

    def to_json(self) -> dict[str, Any]:
        """Return the account as plain JSON values; files are named as the user named them, so it is not anonymous."""
        return {
            "into": str(self.into),
            "written": self.written,
            "already": self.already,
            "refused": [{"file": f, "code": c, "reason": r} for f, c, r in self.refused],
            "patients": self.patients,
            "studies": self.studies,
            "series": self.series,
        }

    def __str__(self) -> str:
        lines = [
            f"{self.written} images written, {self.already} already there, {len(self.refused)} files refused; "
            f"{self.patients} patients, {self.studies} studies, {self.series} series",
            *refused_lines(self.to_json()["refused"], all_in="--json lists all"),
        ]
        return "\n".join(lines)

    @property
    def came_to_nothing(self) -> bool:
        """True when no file could be made safe."""
        return not self.written and not self.already


def deidentify(
    sources: Iterable[str | Path] | str | Path,
    *,
    into: str | Path,
    key: bytes | None = None,
    progress: bool = True,
) -> Deidentified:
    """Copy DICOM images into a folder with the patient, the people and the place taken out.

    Parameters
    ----------
    sources : path or iterable of paths
        DICOM files, or folders that are walked. Any other file is refused by name.
    into : path
        Made if absent: ``patient/study/series/instance.dcm``, all of them pseudonyms.
    key : bytes, optional
        Secret for the pseudonyms, 16 bytes or more. By default one is drawn and kept in the folder ``INTO.names``
        beside ``into`` (readable by you alone), so that a later run gives the same pseudonyms. Who has it can test
        whether a known patient is in the copies: delete the folder and nobody can.
    progress : bool
        Draw a bar on stderr when the run takes longer than two seconds.

    Returns
    -------
    Deidentified

    Raises
    ------
    NothingToDo
        When the sources hold no file.
    IdentityRefused
        When ``into`` lies inside a source (the copies would be read as originals), or the kept key is damaged.
    """
    into = Path(into)
    given = [Path(s) for s in ([sources] if isinstance(sources, (str, Path)) else sources)]
    files = list(_files(given, into=into))
    if not files:
        raise NothingToDo("sources without a file", expected="DICOM files or folders of them", do="check the path")
    key = _kept_key(into) if key is None else key
    counts, refused, seen = {"written": 0, "already": 0}, [], set()
    for file in bar(files, total=len(files), what="de-identifying", unit="files", show=progress):
        try:
            where, data = clean_copy(file, key=key)
            counts[_write(data, into / where, final=where in seen)] += 1
            seen.add(where)
        except UnreadableFile as e:
            refused.append((str(file), e.code, str(e)))
        except IdentityRefused as e:
            refused.append((str(file), "identity", str(e)))
    return Deidentified(
        into=into,
        written=counts["written"],
        already=counts["already"],
        refused=tuple(refused),
        patients=len({w.parts[:1] for w in seen}),
        studies=len({w.parts[:2] for w in seen}),
        series=len({w.parts[:3] for w in seen}),
    )


def _files(given: list[Path], *, into: Path) -> Iterator[Path]:
    """Yield the files of the sources in a fixed order; hidden ones are files too."""
    for source in given:
        if source.is_dir() and into.resolve().is_relative_to(source.resolve()):
            raise IdentityRefused(
                "a target folder inside the source folder",
                expected="a folder elsewhere, so that copies are not read as originals",
                do="choose another --into",
            )
        if source.is_dir():
            yield from sorted(p for p in source.rglob("*") if p.is_file())
        else:
            yield source


def _kept_key(into: Path) -> bytes:
    """Return the key of this target folder, drawn at the first run and kept beside it for the owner alone."""
    shelf = into.parent / f"{into.name}.names"
    path = shelf / "key"
    shelf.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.chmod(shelf, 0o700)
    if not path.exists():
        write_atomically(path, secrets.token_bytes(32).hex().encode() + b"\n", mode=0o600)
    try:
        key = bytes.fromhex(path.read_text().strip())
    except ValueError:
        key = b""
    if len(key) != 32:
        raise IdentityRefused(
            "a damaged key beside the target folder",
            expected="64 hexadecimal digits",
            do="restore it, or choose a new target folder: other pseudonyms must not mix with these",
        )
    return key


def _write(data: bytes, target: Path, *, final: bool) -> str:
    """Write the copy whole or not at all; a file that is there already with these bytes is left alone.

    ``final``: this run has written the target, so a second file of the same instance may not replace it.
    """
    if target.exists() and target.read_bytes() == data:
        return "already"
    if final:
        raise UnreadableFile(
            "a second file of one instance, with other content",
            code="duplicate",
            expected="each instance once",
            do="keep one of the two",
        )
    write_atomically(target, data)
    return "written"
