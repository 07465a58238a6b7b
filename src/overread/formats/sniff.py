"""What a file is, by its first bytes and never by its name."""

from __future__ import annotations

import zlib

from overread.formats import tar

HEAD = 4096
"""Bytes of a file that ``sniff`` wants to see."""

READABLE = ("png", "jpeg", "tiff", "bmp", "gif", "webp", "dicom", "nifti", "zip", "tar")
"""Kinds that overread opens; every other answer of ``sniff`` is a description for a person."""

_MAGIC = (  # (offset, bytes, kind): the signature each format's own specification gives
    (
        128,
        b"DICM",
        "dicom",
    ),  # first: the 128 bytes before it may belong to another format (PS3.10 7.1 allows a TIFF there)
    (0, b"\x89PNG\r\n\x1a\n", "png"),
    (0, b"\xff\xd8\xff", "jpeg"),
    (0, b"II*\0", "tiff"),
    (0, b"MM\0*", "tiff"),
    (0, b"II+\0", "tiff"),
    (0, b"MM\0+", "tiff"),
    (0, b"GIF87a", "gif"),
    (0, b"GIF89a", "gif"),
    (8, b"WEBP", "webp"),
    (344, b"n+1\0", "nifti"),
    (4, b"n+2\0\r\n\x1a\n", "nifti"),
    (344, b"ni1\0", "a NIfTI header whose voxels lie in a second file"),
    (0, b"PK\x03\x04", "zip"),
    (0, b"PK\x05\x06", "zip"),
    (0, b"%PDF", "a PDF document"),
    (0, b"\x93NUMPY", "a bare NumPy array"),
    (0, b"\x89HDF\r\n\x1a\n", "an HDF5 file"),
    (0, b"SQLite format 3\0", "a database"),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (0, b"Rar!", "a RAR archive"),
    (0, b"\x7fELF", "a program"),
    (0, b"MZ", "a program"),
    (0, b"\0\0\0\x0cjP  \r\n", "a JPEG 2000 picture"),
    (0, b"\xff\x4f\xff\x51", "a JPEG 2000 picture"),
    (4, b"ftyphei", "a HEIC picture"),
    (4, b"ftypavif", "an AVIF picture"),
    (4, b"ftyp", "a video"),
    (0, b"\x1aE\xdf\xa3", "a video"),
    (0, b"NRRD", "an NRRD volume"),
    (0, b"ObjectType = Image", "a MetaImage header"),
    (0, b"8BPS", "a Photoshop picture"),
)


def sniff(head: bytes) -> str:
    """Say what a file is from its first bytes: a word of ``READABLE``, or a description such as "a text file".

    Parameters
    ----------
    head : bytes
        The first ``HEAD`` bytes of the file, or all of a shorter one.

    Examples
    --------
    >>> sniff(b"file,label\\na.png,1\\n")
    'a text file'
    >>> sniff(b"\\xff\\xd8\\xff\\xe0")
    'jpeg'
    >>> sniff(b"")
    'an empty file'
    """
    if not head:
        return "an empty file"
    if head[:3] == b"BZh" and head[4:10] == b"1AY&SY":
        return "tar"  # what is inside can only be known once 900 kB are unpacked
    if head[:6] == b"\xfd7zXZ\0":
        inner = sniff(tar.head(head))
        return inner if inner == "tar" else f"an xz file that holds {described(inner)}"
    if head[:2] == b"\x1f\x8b":
        inner = sniff(_gunzip_head(head))
        return inner if inner in ("nifti", "tar") else f"a gzip file that holds {described(inner)}"
    for offset, magic, kind in _MAGIC:
        if head.startswith(magic, offset):
            return kind
    if (
        head[:2] == b"BM"
        and len(head) >= 18
        and int.from_bytes(head[14:18], "little") in (12, 40, 52, 56, 64, 108, 124)
    ):
        return "bmp"
    if len(head) == 348 and head[:4] in (b"\x5c\1\0\0", b"\0\0\1\x5c"):
        return "an Analyze header, which does not say which side is left"
    if tar.is_tar(head[: tar.BLOCK]):
        return "tar"
    if _dicom_without_preamble(head):
        return "dicom"
    return _text(head)


def described(kind: str) -> str:
    """Return the words for an answer of ``sniff``.

    Examples
    --------
    >>> described("png"), described("a text file")
    ('a PNG picture', 'a text file')
    """
    return (
        kind
        if " " in kind
        else {"dicom": "a DICOM file", "zip": "a zip archive", "tar": "a tar archive"}.get(
            kind, f"a {kind.upper()} picture"
        )
    )


def _gunzip_head(head: bytes) -> bytes:
    """The first bytes inside a gzip file; b"" where it is damaged. Bounded: a bomb gives no more than HEAD bytes."""
    try:
        return zlib.decompressobj(wbits=31).decompress(head, HEAD)
    except zlib.error:
        return b""


def _dicom_without_preamble(head: bytes) -> bool:
    """True for a data set written without its 128-byte preamble, as old scanners did (PS3.5 7.1, groups 0002 and 0008)."""
    if len(head) < 16:
        return False
    group, element = head[:2], head[2:4]
    if group in (b"\x02\0", b"\x08\0"):
        if element[1] not in (0, 1) and group == b"\x02\0":
            return False
        explicit = head[4:6] in (b"UL", b"UI", b"CS", b"SH", b"LO", b"DA", b"TM", b"AE", b"OB", b"LT", b"UN", b"SQ")
        return explicit or int.from_bytes(head[4:8], "little") <= 64
    return group == b"\0\x08" and head[4:6] in (b"UL", b"UI", b"CS", b"DA", b"TM", b"SH", b"LO")


def _text(head: bytes) -> str:
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n")[:64].lower()
    if start.startswith((b"<!doctype html", b"<html")):
        return "a web page"
    if start.startswith((b"<?xml", b"<svg")):
        return "an XML file"
    if head[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return "a text file"
    printable = sum(b >= 32 or b in b"\t\r\n\f\b\x1b" for b in head) / len(head)
    return "a text file" if printable > 0.97 and b"\0" not in head else "bytes of no known image format"
