"""What the names shelf's book holds: the files that were offered, and the origin of every image."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Offered:
    """One file, zip member or chunk of an array that was offered; ``code`` and ``reason`` say why it was refused.

    ``lost`` files beside it could not be read, and may have been of its series.
    """

    key: str
    name: str
    size: int
    mtime_ns: int
    code: str | None = None
    reason: str | None = None
    reader: str = ""
    lost: int = 0

    @property
    def is_chunk(self) -> bool:
        """True for a part of an array: its name is that of the whole file, its key says which images."""
        return "!" in self.key and "!" not in self.name

    @property
    def within(self) -> str:
        """The file on disk that it is a part of, or the label table that names it."""
        return self.key.partition("?")[0] if self.code == "missing-file" else self.key.partition("!")[0]


@dataclass(frozen=True)
class Source:
    """One image's origin.

    Parameters
    ----------
    file : str
        Absolute path of its first file (``…!member`` in an archive).
    digest, image : str
        SHA-256 of the source bytes; content hash of the image.
    own, said : mapping
        What the file says of itself, and what a table or a folder says of it: ``patient`` and ``study`` (pseudonyms),
        ``labels``, ``strata``, ``splits``, ``folder``; a file's own ``series`` (a pseudonym, too).
    keys : tuple of str
        Of everything offered that it was read from.
    """

    file: str
    digest: str
    image: str
    own: Mapping[str, Any] = field(default_factory=dict)
    said: Mapping[str, Any] = field(default_factory=dict)
    keys: tuple[str, ...] = ()

    @property
    def base(self) -> str:
        """The file's bare name."""
        return self.file.replace("!", "/").rsplit("/", 1)[-1]
