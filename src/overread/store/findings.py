"""Small JSON files beside an archive's objects: what `collect` found about the whole of it, under hashes and pseudonyms."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from overread.errors import ArchiveError
from overread.store.objects import write_atomically


def keep(place: Path, found: Mapping[str, Mapping[str, Any]]) -> None:
    """Write what was found, whole or not at all; no file where there is nothing, and none written anew where nothing changed."""
    if not found:
        place.unlink(missing_ok=True)
        return
    data = (json.dumps(found, sort_keys=True, ensure_ascii=False, indent=1) + "\n").encode()
    if not place.is_file() or place.read_bytes() != data:
        write_atomically(place, data)


def read(place: Path) -> dict[str, dict[str, Any]]:
    """Return what :func:`keep` wrote; empty where it wrote nothing, or the archive is older than the question.

    Raises
    ------
    ArchiveError
        When the file is damaged.
    """
    try:
        return {name: dict(said) for name, said in json.loads(place.read_bytes()).items()}
    except FileNotFoundError:
        return {}
    except (ValueError, AttributeError, TypeError):
        raise ArchiveError(
            f"{place.name} of the archive is damaged",
            expected="the file that `overread collect` wrote",
            do="collect again: it is written anew",
        ) from None
