"""What was fetched is kept, and not asked for again: pages for some days, half a file until the rest of it comes."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from overread.sources.answers import Answer

_SET_BACK = 0.1  # days by which a clock may have been corrected; a page from further in the future is not believed


@dataclass(frozen=True)
class Pages:
    """Pages in a folder, each under the hash of its address, with the time it was asked for.

    Parameters
    ----------
    folder : Path or None
        None keeps nothing.
    days, days_missing : float
        How long a page, or the word that there is none, is believed.
    """

    folder: Path | None
    days: float
    days_missing: float

    def get(self, address: str, *, now: float) -> Answer | None:
        """Return a page that is whole and young enough; None where it has to be asked for (again)."""
        slot = self._slot(address)
        if slot is None:
            return None
        try:
            head, _, content = slot.read_bytes().partition(b"\n")
            told = json.loads(head)
            age = (now - float(told["asked"])) / 86400
            whole = hashlib.sha256(content).hexdigest() == told["sha256"]
            answer = Answer(int(told["status"]), str(told["address"]), content)
        except (OSError, ValueError, KeyError, TypeError):
            return None  # not there, or damaged
        limit = self.days_missing if answer.missing else self.days
        return answer if whole and -_SET_BACK <= age < limit else None

    def put(self, address: str, answer: Answer, *, now: float) -> None:
        """Keep a page, or the word that there is none; anything else may be different in a minute."""
        slot = self._slot(address)
        if slot is None or not (answer.status == 200 or answer.missing):
            return
        digest = hashlib.sha256(answer.content).hexdigest()
        head = {"asked": now, "status": answer.status, "address": answer.address, "sha256": digest}
        write(slot, json.dumps(head).encode() + b"\n" + answer.content)

    def _slot(self, address: str) -> Path | None:
        return None if self.folder is None else self.folder / f"{hashlib.sha256(address.encode()).hexdigest()}.page"


def resume(part: Path, address: str) -> dict[str, str]:
    """Return the headers that ask for the rest of a half-fetched file, if it can be known to be the same file."""
    try:
        told = json.loads(about(part).read_bytes())
        size = part.stat().st_size
    except (OSError, ValueError):
        return {}
    if not size or told.get("address") != address or not told.get("if"):
        return {}
    return {"Range": f"bytes={size}-", "If-Range": told["if"]}


def about(part: Path) -> Path:
    return part.with_name(part.name + ".json")


def forget(part: Path) -> None:
    part.unlink(missing_ok=True)
    about(part).unlink(missing_ok=True)


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    write(path, json.dumps(value, ensure_ascii=False, indent=1).encode())


def write(path: Path, content: bytes) -> None:
    """Write a file so that another process, or the next run, sees all of it or nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    half = path.with_name(f"{path.name}.{os.getpid()}.half")
    half.write_bytes(content)
    os.replace(half, path)
