"""Where one file that was offered belongs: among the images, in its series, or refused for what its first bytes are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import PurePosixPath
from typing import BinaryIO

from overread.errors import UnreadableFile
from overread.formats import sidecar
from overread.formats.jobs import Jobs, Part
from overread.formats.series_key import is_cut_short, series_key
from overread.formats.sidecar import Beside, Lies
from overread.formats.sniff import HEAD, READABLE, sniff

LARGEST_FILE = 4 << 30
"""Bytes of one file above which it is refused unread."""
LARGEST_MEMBER = 1 << 30
"""Bytes of an archive's member, once unpacked, above which it is refused unread: a few packed megabytes can claim them."""

_LITTER = ("thumbs.db", "desktop.ini", "ehthumbs.db", "__macosx")
_PICTURES_WE_DO_NOT_READ = ("picture", "NIfTI", "NumPy", "volume", "MetaImage", "DICOM", "Analyze")
_COMPANION = "text beside images: what it says of their acquisition and of groups of patients is read with them"
_EXPECTED = "DICOM, NIfTI, PNG, JPEG, TIFF, BMP, GIF, WebP, a zip or tar archive or a MedMNIST .npz"


class Harvest:
    """The jobs gathered so far, and whom to tell of each file that was looked at."""

    def __init__(self, tick: Callable[[], object] | None = None) -> None:
        self.jobs, self.tick = Jobs(), tick

    def looked(self) -> None:
        """Tell whoever waits that one more file, or member of an archive, was looked at."""
        if self.tick is not None:
            self.tick()

    def refuse(self, part: Part, code: str, came: str, *, expected: str = "", do: str = "") -> None:
        """Account for a file that is not read."""
        self.jobs.refuse(part, code, str(UnreadableFile(came, code=code, expected=expected, do=do)))

    def refuse_large(self, part: Part, size: int) -> None:
        """Account for a file, or a member of an archive, that is too large to be read."""
        most, do = (LARGEST_MEMBER, "unpack it first") if part.member else (LARGEST_FILE, "divide it into parts")
        expected = f"at most {most >> 30} GiB"
        self.refuse(part, "too-large", f"{size / (1 << 30):.1f} GiB", expected=expected, do=do)


def is_litter(name: str) -> bool:
    """True for hidden files and what operating systems leave in folders.

    Examples
    --------
    >>> is_litter("a/.DS_Store"), is_litter("__MACOSX/._a.png"), is_litter("a/b.png")
    (True, True, False)
    """
    return any(p.startswith(".") or p.lower() in _LITTER for p in name.split("/") if p not in (".", ".."))


def is_unsafe(name: str) -> bool:
    """True for a member's name that leads out of its archive.

    Examples
    --------
    >>> is_unsafe("../a.png"), is_unsafe("C:a.png"), is_unsafe("a/b.png")
    (True, True, False)
    """
    where = PurePosixPath(name.replace("\\", "/"))
    return where.is_absolute() or ".." in where.parts or ":" in name[:3] or "\0" in name


def offer(
    part: Part, head: bytes, stream: BinaryIO, harvest: Harvest, *, beside: Beside, lies: Lies, kind: str | None = None
) -> None:
    """Put one file, or one member of an archive, where its kind belongs.

    Parameters
    ----------
    part : Part
    head : bytes
        Its first bytes; ``sniff.HEAD`` of them or more.
    stream : binary file
        That can be sought.
    harvest : Harvest
    beside : callable
        Returns the small file of a name from the same disk or archive; None where there is none.
    lies : callable
        True where a file of that name lies on the same disk or in the same archive.
    kind : str, optional
        What ``sniff`` said of the head, where it was asked.
    """
    kind = sniff(head[:HEAD]) if kind is None else kind
    if kind == "dicom":
        _offer_dicom(part, head, stream, harvest)
    elif kind in ("zip", "tar"):
        harvest.refuse(part, "nested-archive", "an archive inside an archive", expected="images", do="unpack it first")
    elif kind in READABLE:
        harvest.jobs.add("files", part)
    elif kind == "a text file" and sidecar.is_companion(part.member or part.path, head, beside, lies):
        if part.span is None:
            harvest.jobs.refuse(part, code="companion", reason=_COMPANION)
        else:
            harvest.jobs.refuse(
                part, code="companion-unread", reason=f"{_COMPANION}, but not in a tar archive: unpack it first"
            )
    else:
        code = "unsupported-format" if any(w in kind for w in _PICTURES_WE_DO_NOT_READ) else "not-an-image"
        code = "empty-file" if kind == "an empty file" else code
        do = {"empty-file": "export it again", "unsupported-format": "convert it"}.get(code, "leave it out")
        harvest.refuse(part, code, kind, expected=_EXPECTED, do=do)


def _offer_dicom(part: Part, head: bytes, stream: BinaryIO, harvest: Harvest) -> None:
    try:
        key = series_key(stream, head)
    except UnreadableFile as error:
        harvest.jobs.refuse(part, error.code, str(error))
        harvest.jobs.lose(part)
        return
    if key is None:
        harvest.jobs.add("dicom", part)
        if is_cut_short(stream, head):
            harvest.jobs.lose(part)
    else:
        harvest.jobs.add_to_series(key, part)
