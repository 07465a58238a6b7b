"""Where fetched DICOM files lie: each under the hash of its SOP Instance UID, whole or not at all.

No name that a server sends ever becomes a path. A file is written beside the folder, checked, forced to the disk and
renamed: a power cut or ``kill -9`` at any instant leaves the whole file or none, and what is there need not be fetched
again.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import struct
import time
import zlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from overread.errors import SourceError
from overread.sources.asked import Series, is_uid

LARGEST = 4 << 30
"""Bytes of one instance above which it is refused; the door would refuse it too."""

_STALE_AFTER_S = 24 * 3600
_HEAD = 32 << 10
_TRANSFER_SYNTAX, _SOP_INSTANCE_UID = 0x00020010, 0x00080018
_LONG = (b"OB", b"OW", b"UN", b"SQ", b"UT", b"OF", b"OD", b"OL", b"UC", b"UR", b"OV", b"SV", b"UV")


class Gone(SourceError):
    """One thing that was asked for is not there, or came damaged; others may still come."""


@dataclass
class Taken:
    """What a fetch took home.

    Parameters
    ----------
    new, already : int
        Instances fetched now; instances that were there.
    whole : list of Path
        Folders of the series that are there complete.
    broken : dict of str to int
        Why some series are not complete → how many.
    withdrawn : int
        Instances that were here and that the PACS no longer lists: set aside (:meth:`Shelf.withdraw`).
    tick : callable, optional
        Called with a number of instances that are there now.
    """

    new: int = 0
    already: int = 0
    whole: list[Path] = field(default_factory=list)
    broken: dict[str, int] = field(default_factory=dict)
    withdrawn: int = 0
    tick: Callable[[int], object] | None = field(default=None, repr=False)

    def came(self, new: int, already: int) -> None:
        """Count instances, and tell whoever waits."""
        self.new += new
        self.already += already
        if self.tick is not None and new + already:
            self.tick(new + already)

    def miss(self, why: Gone) -> None:
        """Count a series that could not be fetched whole."""
        self.broken[str(why)] = self.broken.get(str(why), 0) + 1


class Shelf:
    """The folder of one PACS."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.partial = folder.with_name(f"{folder.name}.partial")
        self.aside = folder.with_name(f"{folder.name}.withdrawn")
        for each in (self.folder, self.partial):
            each.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._sweep()

    def place(self, series: Series) -> Path:
        """Return the folder of a series."""
        return self.folder / safe(series.study) / safe(series.series)

    def there(self, series: Series) -> set[str]:
        """Return the file names that a series has here."""
        place = self.place(series)
        return set(os.listdir(place)) if place.is_dir() else set()

    def missing(self, series: Series, listed: Collection[str]) -> dict[str, Path]:
        """Return which of the instances that a PACS lists of a series are not here, and where each belongs.

        Raises
        ------
        Gone
            When it lists none.
        """
        if not listed:
            raise Gone("a series without instances", expected="at least one", do="look at it on the PACS")
        place, there = self.place(series), self.there(series)
        return {uid: place / name for uid in listed if (name := file_name(uid)) not in there}

    def withdraw(self, series: Series, listed: Collection[str]) -> int:
        """Set aside what is here of a series and no longer in the PACS's whole list of it; return how many files.

        A list that is shorter than the number of instances the PACS itself gives takes nothing away.
        """
        if not listed or len(listed) < (series.instances or 0):
            return 0
        place, gone = self.place(series), self.there(series) - {file_name(uid) for uid in listed}
        for name in gone:
            to = self.aside / place.relative_to(self.folder) / name
            to.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.replace(place / name, to)
        return len(gone)

    def set_aside(self) -> list[Path]:
        """Return where the files lay that were ever set aside and have not come back."""
        was = [self.folder / file.relative_to(self.aside) for file in sorted(self.aside.glob("*/*/*"))]
        return [place for place in was if not place.exists()]

    def keep(self, chunks: Iterable[bytes], wanted: Mapping[str, Path], *, largest: int = LARGEST) -> str:
        """Write one DICOM file where it belongs, and return its SOP Instance UID.

        Parameters
        ----------
        chunks : iterable of bytes
            The file, with preamble and file meta information. An exception on the way leaves nothing.
        wanted : mapping of str to Path
            The instances that were asked for → where each belongs.
        largest : int
            Bytes.

        Raises
        ------
        Gone
            When it is too large, no DICOM file, or was not asked for.
        """
        temporary = self.partial / f"{os.getpid()}-{secrets.token_hex(8)}"
        head, size = b"", 0
        try:
            with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                for chunk in chunks:
                    size += len(chunk)
                    if size > largest:
                        raise Gone(
                            f"an instance of more than {largest:,} bytes", expected="less", do="look at it on the PACS"
                        )
                    head += chunk[: max(0, _HEAD - len(head))]
                    file.write(chunk)
                uid = sop_instance_uid(head)
                if uid not in wanted:
                    what = "something that is no DICOM file" if uid is None else "an instance that was not asked for"
                    raise Gone(
                        f"the server sent {what}", expected="the series asked for", do="tell who runs the server"
                    )
                file.flush()
                os.fsync(file.fileno())
            for above in (wanted[uid].parent.parent, wanted[uid].parent):
                above.mkdir(mode=0o700, exist_ok=True)
            os.replace(temporary, wanted[uid])
        finally:
            temporary.unlink(missing_ok=True)  # gone already unless something failed
        return uid

    def _sweep(self) -> None:
        """Remove what a killed process left half-written more than a day ago."""
        for entry in self.partial.iterdir():
            try:
                if time.time() - entry.stat().st_mtime > _STALE_AFTER_S:
                    entry.unlink()
            except FileNotFoundError:
                continue  # another process swept it, or finished it


def safe(uid: str) -> str:
    """Return a file name for a UID, which a server could have made into a path.

    Examples
    --------
    >>> safe("../../etc/passwd")
    '3754d6cb3a38e1185e5b382d5f3ef3f1'
    """
    return hashlib.sha256(uid.encode()).hexdigest()[:32]


def file_name(uid: str) -> str:
    """Return the file name of an instance."""
    return f"{safe(uid)}.dcm"


def sop_instance_uid(head: bytes) -> str | None:
    """Return the SOP Instance UID from the first bytes of a DICOM file; None when it is not among them.

    The data set's own counts: file meta information of copies and anonymised files often says another. No length is
    trusted beyond these bytes.

    References
    ----------
    PS3.10 7.1: preamble, ``DICM``, then group 0002 in Explicit VR Little Endian; PS3.5 7.1 (data elements).
    """
    if head[128:132] != b"DICM":
        return None
    syntax, at = b"", 132
    for tag, value, end in _elements(head, at, implicit=False, order="<"):
        if tag >> 16 != 2:
            break
        syntax, at = (value.rstrip(b"\0 ") if tag == _TRANSFER_SYNTAX else syntax), end
    body = head[at:]
    if syntax == b"1.2.840.10008.1.2.1.99":
        try:
            body = zlib.decompressobj(-zlib.MAX_WBITS).decompress(body, _HEAD)
        except zlib.error:
            return None
    order = ">" if syntax == b"1.2.840.10008.1.2.2" else "<"
    for tag, value, _ in _elements(body, 0, implicit=syntax == b"1.2.840.10008.1.2", order=order):
        if tag >= _SOP_INSTANCE_UID:
            uid = value.decode("ascii", "replace").strip("\0 ")
            return uid if tag == _SOP_INSTANCE_UID and is_uid(uid) else None
    return None


def _elements(data: bytes, at: int, *, implicit: bool, order: str) -> Iterator[tuple[int, bytes, int]]:
    """Yield the tag, the value and the end of each data element, as far as these bytes go."""
    while at + 12 <= len(data):
        group, element = struct.unpack_from(f"{order}HH", data, at)
        if implicit:
            (length,) = struct.unpack_from(f"{order}I", data, at + 4)
            at += 8
        elif data[at + 4 : at + 6] in _LONG:
            (length,) = struct.unpack_from(f"{order}I", data, at + 8)
            at += 12
        else:
            (length,) = struct.unpack_from(f"{order}H", data, at + 6)
            at += 8
        if at + length > len(data):
            return
        yield group << 16 | element, data[at : at + length], at + length
        at += length
