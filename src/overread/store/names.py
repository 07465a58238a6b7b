"""The names shelf: the folder beside an archive that holds identity, readable by its owner only, and the key in it.

Delete it and the archive is anonymous.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from overread.errors import ArchiveError
from overread.store.database import disk_full_told
from overread.store.objects import write_atomically

_KEY = "key"


def names_beside(archive: Path) -> Path:
    """Return the folder beside an archive that holds identity.

    Examples
    --------
    >>> names_beside(Path("/data/chest")).name
    'chest.names'
    """
    return archive.absolute().with_name(archive.absolute().name + ".names")


def is_lost(names: Path) -> bool:
    """True when a names shelf has been deleted, or was never made."""
    return not (names / _KEY).is_file()


def names_kept(names: Path) -> Path:
    """Return the names shelf of an archive that can still be added to.

    Raises
    ------
    ArchiveError
        When it has been deleted.
    """
    if is_lost(names):
        raise ArchiveError(
            "this archive's names shelf has been deleted, so it is anonymous",
            expected="the folder beside the archive that ends in .names",
            do="collect into a new archive",
        )
    return names


def key_in(names: Path) -> bytes:
    """Return the secret key of the pseudonyms.

    Raises
    ------
    ArchiveError
        When the names shelf has been deleted: nothing can then be added under the same pseudonyms.
    """
    return (names_kept(names) / _KEY).read_bytes()


def make_key(names: Path) -> None:
    """Make a names shelf with a key of its own; a key that is there stays."""
    with disk_full_told():
        names.mkdir(mode=0o700, exist_ok=True)
        names.chmod(0o700)
        fresh = names / f".key.{os.getpid()}.{secrets.token_hex(4)}"
        write_atomically(fresh, secrets.token_bytes(32), mode=0o600)
        try:
            os.link(fresh, names / _KEY)  # never over another process's key
        except FileExistsError:
            pass  # two collectors began at once; the first one's key holds for both
        finally:
            fresh.unlink()
