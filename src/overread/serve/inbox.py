"""The only shelf with names on it: studies as they arrive in a folder, and what has become of each.

```
INBOX/                        files as the hospital put them there; overread never changes or removes one
INBOX/.overread/              mode 0700
  key                         the key of the pseudonyms
  taken.json                  every file looked at: its size and time, and the studies in it or the reason it was refused
  journal.jsonl (.head)       what was done, chained by hash; pseudonyms only
  studies/S0123456789ab/
    study.json                where its files are, whose it is, when it came
    images-…/0.npy images.json   pixels as the reading page shows them
    draft-…/                  heat-maps, draft Structured Report, Secondary Captures of one report
    report.json               the report now; written last and at once, so a crash leaves the old one or the new one
    signed-1.json signed-1.dcm   what a doctor signed
```
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from overread.domain import Finding, Report, canonical_json, fingerprint
from overread.errors import IntegrityError, NothingToDo, RunError
from overread.formats.deid import pseudonym
from overread.formats.door import scan
from overread.formats.found import Found, Origin, Refused
from overread.store.journal import Journal, exclusive
from overread.store.objects import write_atomically

SHELF = ".overread"
HALF_NAMES = (".part", ".partial", ".tmp", ".filepart", ".crdownload", ".download")
"""How copying programs call a file that is not finished."""

SETTLE = timedelta(seconds=2)
"""A file must have kept its size and time for this long before it is taken."""

PATIENCE = timedelta(seconds=60)
"""A finished file waits at most this long for the other files of its folder to be finished too."""


@dataclass(frozen=True)
class Entry:
    """One study on the shelf, as it arrived.

    Parameters
    ----------
    study : str
        Pseudonym.
    arrived : str
        ISO 8601; when its first file was taken.
    patient : str
        The patient's id as the files say; "" where they do not. It stays on this shelf and on the reader's screen.
    sources : tuple of str
        Files below the inbox.
    content : str
        Fingerprint of the files' names, sizes and times: another value means the study has changed.
    is_dicom : bool
        False for pictures, which have no study of their own in a hospital.
    """

    study: str
    arrived: str
    patient: str
    sources: tuple[str, ...]
    content: str
    is_dicom: bool


@dataclass(frozen=True)
class Draft:
    """A report as the worker left it, and the files made with it.

    ``overlays``, ``sr`` and ``captures`` are paths below the study's folder; ``sr`` is "" for pictures.
    ``notes`` say in words what could not be made, and why.
    """

    report: Report
    content: str
    made: str
    model: str
    images: str
    overlays: Mapping[str, str] = field(default_factory=dict)
    sr: str = ""
    captures: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


class Inbox:
    """A folder that studies arrive in, and the shelf beside them.

    Parameters
    ----------
    folder : Path
        Must exist.

    Raises
    ------
    NothingToDo
        If there is no such folder.
    """

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder).resolve()
        if not self.folder.is_dir():
            raise NothingToDo(
                "no inbox folder there", expected="an existing folder", do="make it, or name another with --inbox"
            )
        self.shelf = self.folder / SHELF
        self.shelf.mkdir(mode=0o700, exist_ok=True)
        self.shelf.chmod(0o700)
        (self.shelf / "studies").mkdir(exist_ok=True)
        self.key = _key(self.shelf / "key")
        self.journal = Journal(self.shelf / "journal.jsonl")
        self._taken: dict[str, dict[str, Any]] = _json(self.shelf / "taken.json", {})
        self._seen: dict[str, tuple[tuple[int, int], datetime]] = {}

    def hold(self) -> None:
        """Keep other servers away from this inbox for as long as this object lives.

        Raises
        ------
        RunError
            If another server has it.
        """
        self._hold = contextlib.ExitStack()
        try:
            self._hold.enter_context(exclusive(self.shelf / "lock", wait=False))
        except BlockingIOError as error:
            raise RunError(
                "this inbox is open in another server", expected="one server for an inbox", do="close the other one"
            ) from error

    def release(self) -> None:
        """Let another server have the inbox."""
        self._hold.close()

    # --- what arrives ----------------------------------------------------------------------------------------

    def take(self, *, now: datetime) -> list[str]:
        """Look once at the folder and put new or changed studies on the shelf.

        A file that is still being copied is left for the next look: it must have kept its size and time for
        ``SETTLE``, and so must every file beside it (for at most ``PATIENCE``), so that a series is taken whole.

        Returns
        -------
        list of str
            Pseudonyms of studies that are new or have changed.
        """
        marks = dict(self._files())
        fresh = [name for name in self._ready(marks, now) if self._mark(name) != marks[name]]
        if not fresh:
            return []
        studies: dict[str, list[Origin]] = {}
        verdicts: dict[str, dict[str, Any]] = {name: {"mark": list(marks[name]), "studies": []} for name in fresh}
        for item in scan(*(self.folder / name for name in fresh)):
            if isinstance(item, Refused):
                name = self._name(item.file)
                verdicts.setdefault(name.split("!")[0], {"mark": None, "studies": []})
                verdicts[name.split("!")[0]].setdefault("refused", []).append([name, item.code, item.reason])
                continue
            study = self.pseudonym(item)
            studies.setdefault(study, []).append(item.origin)  # not its pixels: an inbox does not fit in memory
            for name in {self._name(file).split("!")[0] for file in item.origin.files}:
                if name in verdicts and study not in verdicts[name]["studies"]:
                    verdicts[name]["studies"].append(study)
        for name, verdict in verdicts.items():
            if not verdict["studies"] and not verdict.get("refused"):
                verdict["refused"] = [[name, "no-image", "no image was found in it"]]
        before = {s for name in fresh for s in self._taken.get(name, {}).get("studies", ())}
        taken = {**self._taken, **{k: v for k, v in verdicts.items() if v["mark"] is not None}}
        touched = sorted(set(studies) | before)
        for study in touched:
            self._enter(study, studies.get(study, []), taken, now)
        write_atomically(self.shelf / "taken.json", canonical_json(taken).encode())
        self._taken = taken  # only now: a crash before this line means the same files are looked at again
        return touched

    def pseudonym(self, item: Found) -> str:
        """The pseudonym of the study an image belongs to; a picture is a study of its own.

        Two patients under one Study Instance UID (a mistake of the sender) are two studies, never one.
        """
        origin = item.origin
        if origin.study_uid is None:
            return pseudonym("S", self._name(origin.files[0]), key=self.key)
        return pseudonym("S", canonical_json([origin.patient_id, origin.study_uid]), key=self.key)

    def refused(self) -> list[tuple[str, str, str]]:
        """(file, code, reason) of everything in the inbox that could not be read."""
        rows = [row for verdict in self._taken.values() for row in verdict.get("refused", ())]
        return sorted((f, code, why) for f, code, why in rows if (self.folder / f.split("!")[0]).exists())

    def arriving(self) -> int:
        """Number of files that are in the folder but not taken yet."""
        return sum(self._mark(name) != mark for name, mark in self._files())

    def _enter(self, study: str, origins: list[Origin], taken: Mapping[str, Any], now: datetime) -> None:
        """Write or renew a study's entry from the files that hold it."""
        old = self.entry(study)
        sources = tuple(sorted(name for name, verdict in taken.items() if study in verdict["studies"]))
        first = origins[0] if origins else None
        entry = Entry(
            study=study,
            arrived=old.arrived if old else now.isoformat(),
            patient=(first.patient_id or "") if first else (old.patient if old else ""),
            sources=sources,
            content=fingerprint([[name, taken[name]["mark"]] for name in sources]),
            is_dicom=bool(first.series_uid) if first else bool(old and old.is_dicom),
        )
        if entry != old:
            (self.home(study)).mkdir(mode=0o700, exist_ok=True)
            write_atomically(self.home(study) / "study.json", canonical_json(entry).encode())

    def _files(self) -> Iterator[tuple[str, tuple[int, int]]]:
        """(name below the inbox, (size, time in ns)) of every file that is not hidden or called unfinished."""
        for folder, folders, names in os.walk(self.folder):
            folders[:] = sorted(f for f in folders if not f.startswith("."))
            for name in sorted(names):
                if name.startswith(".") or name.lower().endswith(HALF_NAMES):
                    continue
                path = Path(folder) / name
                try:
                    facts = path.stat()
                except OSError:
                    continue  # it went away between listing and looking; the next look will tell
                yield path.relative_to(self.folder).as_posix(), (facts.st_size, facts.st_mtime_ns)

    def _ready(self, marks: Mapping[str, tuple[int, int]], now: datetime) -> list[str]:
        """Names of files that have settled, in folders that have settled (or after ``PATIENCE``)."""
        self._seen = {
            name: self._seen[name] if name in self._seen and self._seen[name][0] == mark else (mark, now)
            for name, mark in marks.items()
        }
        waited = {name: now - since for name, (_, since) in self._seen.items()}
        restless = {name.rpartition("/")[0] for name, wait in waited.items() if wait < SETTLE}
        return [n for n, w in waited.items() if w >= SETTLE and (n.rpartition("/")[0] not in restless or w >= PATIENCE)]

    def _mark(self, name: str) -> tuple[int, int] | None:
        mark = self._taken.get(name, {}).get("mark")
        return (mark[0], mark[1]) if mark else None

    def _name(self, file: str) -> str:
        """A path as the door gives it → the name below the inbox."""
        path, bang, member = file.partition("!")
        try:
            path = Path(path).resolve().relative_to(self.folder).as_posix()
        except ValueError:
            path = Path(path).name
        return path + bang + member

    # --- what lies on the shelf ------------------------------------------------------------------------------

    def home(self, study: str) -> Path:
        """The study's folder on the shelf."""
        return self.shelf / "studies" / study

    def entry(self, study: str) -> Entry | None:
        """The study's entry; None where there is none."""
        told = _json(self.home(study) / "study.json", None)
        return Entry(**{**told, "sources": tuple(told["sources"])}) if told else None

    def entries(self) -> list[Entry]:
        """All studies, the first to come first."""
        found = (self.entry(home.name) for home in (self.shelf / "studies").iterdir())
        return sorted((e for e in found if e), key=lambda e: (e.arrived, e.study))

    def draft(self, study: str) -> Draft | None:
        """The report as it is now, read from the disk; None before the worker has made one.

        Raises
        ------
        IntegrityError
            If the stored report is not the one its fingerprint was taken of.
        """
        told = _json(self.home(study) / "report.json", None)
        if told is None:
            return None
        report = read_report(told["report"])
        if report.fingerprint != told.pop("fingerprint"):
            raise IntegrityError(
                "a stored report that does not match its fingerprint",
                expected="the report as it was made",
                do="remove its report.json: it will be made anew",
            )
        told.update(report=report, captures=tuple(told["captures"]), notes=tuple(told["notes"]))
        return Draft(**told)

    def keep(self, draft: Draft, *, now: datetime) -> None:
        """Make ``draft`` the study's report at once, after the journal has the hash of every file that belongs to it."""
        report = draft.report
        home = self.home(report.study)
        content = canonical_json({**draft.__dict__, "fingerprint": report.fingerprint}).encode()
        beside = {
            name: (home / name).read_bytes() for name in (*draft.overlays.values(), draft.sr, *draft.captures) if name
        }
        hashes = {name: hashlib.sha256(c).hexdigest() for name, c in {"report.json": content, **beside}.items()}
        facts = {
            "study": report.study,
            "report": report.fingerprint,
            "card": report.card,
            "images": list(report.images),
        }
        facts["drafted"] = {f"studies/{report.study}/{name}": digest for name, digest in sorted(hashes.items())}
        self.journal.append("report", facts, now=now)
        write_atomically(home / "report.json", content)

    def images(self, entry: Entry) -> Iterable[Found | Refused]:
        """Read the study's images from its files, in a fixed order."""
        for item in scan(*(self.folder / name for name in entry.sources)):
            if isinstance(item, Refused) or self.pseudonym(item) == entry.study:
                yield item


def read_report(told: Mapping[str, Any]) -> Report:
    """A ``Report`` from its plain form; a number written as null is not a number again."""
    findings = []
    for f in told["findings"]:
        numbers = {k: float("nan") if f[k] is None else f[k] for k in ("probability", "low", "high", "threshold")}
        findings.append(Finding(**{**f, **numbers}))
    return Report(told["study"], told["card"], tuple(told["images"]), tuple(findings))


def _key(path: Path) -> bytes:
    """The pseudonym key; made once, readable by its owner only (the folder is 0700 already)."""
    if not path.exists():
        write_atomically(path, secrets.token_bytes(32), mode=0o600)
    key = path.read_bytes()
    if len(key) != 32:
        raise IntegrityError("a damaged pseudonym key", expected="32 bytes", do="put it back from a copy")
    return key


def _json(path: Path, default: Any) -> Any:
    """A JSON file's content, or ``default`` where there is none."""
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        return default
    except ValueError as error:
        raise IntegrityError(f"a damaged {path.name}", expected="JSON", do="put it back from a copy") from error
