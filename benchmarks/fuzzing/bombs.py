"""Files that are small on the disk and huge, deep or endless once somebody believes them."""

from __future__ import annotations

import functools
import gzip
import io
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from random import Random

from benchmarks.fuzzing.seeds import Seed, tarred, zipped

SIZES = (1 << 26, 1 << 26, 1 << 26, 1 << 26, 1 << 28, 1 << 28, 3 << 30)
"""Bytes that a bomb unpacks to; the last passes every bound that overread keeps."""
SMALL_SIZES = SIZES[:1]
"""For a run that has no minute to lose."""
DEPTHS = (3, 40, 200, 1_100, 8_000)


@functools.lru_cache(1)
def _block() -> tuple[bytes, bytes]:
    """One MiB of zeros as a deflate block that can be repeated, and the empty block that ends a stream."""
    engine = zlib.compressobj(9, zlib.DEFLATED, -15)
    first = engine.compress(bytes(1 << 20)) + engine.flush(zlib.Z_FULL_FLUSH)
    return first, engine.flush()


def zeros(size: int, head: bytes = b"") -> bytes:
    """A raw deflate stream of ``head`` and then ``size`` zeros, made without packing them."""
    engine = zlib.compressobj(9, zlib.DEFLATED, -15)
    block, end = _block()
    return engine.compress(head) + engine.flush(zlib.Z_FULL_FLUSH) + block * (size >> 20) + end


def _gzip(size: int, head: bytes) -> bytes:
    return b"\x1f\x8b\x08\0\0\0\0\0\0\x03" + zeros(size, head) + bytes(8)


def deflated_dicom(rng: Random, seeds: dict[str, Seed]) -> tuple[str, bytes]:
    """A deflated DICOM file whose pixels never end."""
    raw = seeds["ct-deflated.dcm"].raw
    start = 144 + int.from_bytes(raw[140:144], "little")
    inner = zlib.decompress(raw[start:], -15)
    size = rng.choice(SIZES)
    return "bomb.dcm", raw[:start] + zeros(
        size, inner + struct.pack("<HH2sHI", 0x7FE1, 0x10, b"OB", 0, size & 0xFFFFFFFE)
    )


def gzipped_nifti(rng: Random, seeds: dict[str, Seed]) -> tuple[str, bytes]:
    """A .nii.gz that unpacks to more than its header says, or whose header asks for terabytes."""
    head = bytearray(seeds["int16.nii"].raw)
    if rng.random() < 0.5:
        struct.pack_into("<4h", head, 40, 3, *(rng.choice((64, 300, 1000, 32767)) for _ in range(3)))
    return "bomb.nii.gz", _gzip(rng.choice(SIZES), bytes(head))


def png(rng: Random, seeds: dict[str, Seed]) -> tuple[str, bytes]:
    """A PNG of millions of pixels in a few kilobytes, or with a text that unpacks to gigabytes."""
    side = rng.choice((4_000, 9_999, 20_000, 65_535, 2_000_000_000))
    colour, depth = rng.choice(((0, 8), (2, 8), (6, 8), (0, 16), (2, 16), (3, 8)))
    body = b"\x78\x01" + zeros(1 << 26) + bytes(4)
    text = b"k\0\0\x78\x01" + zeros(rng.choice(SIZES)) + bytes(4)
    parts = [(b"IHDR", struct.pack(">IIBBBBB", side, rng.choice((side, 64)), depth, colour, 0, 0, rng.choice((0, 1))))]
    if colour == 3:
        parts.append((b"PLTE", bytes(48)))
    if rng.random() < 0.3:
        parts.append((rng.choice((b"zTXt", b"iCCP", b"iTXt")), text))
    parts += [(b"IDAT", body), (b"IEND", b"")]
    packed = (struct.pack(">I", len(b)) + k + b + struct.pack(">I", zlib.crc32(k + b)) for k, b in parts)
    return "bomb.png", b"\x89PNG\r\n\x1a\n" + b"".join(packed)


def zip_member(rng: Random, seeds: dict[str, Seed]) -> tuple[str, bytes]:
    """A zip member that begins like an image and unpacks to gigabytes; its directory may lie about that."""
    head, size = rng.choice(list(seeds.values())).raw, rng.choice(SIZES)
    body = zeros(size, head)
    said = rng.choice((size + len(head), size + len(head), len(head), 100, 0xFFFFFFFE)) & 0xFFFFFFFF
    check = zlib.crc32(head)  # wrong where zeros follow: what is checked comes too late anyway
    fields = struct.pack("<HHHHHIIIHH", 20, 0, 8, 0, 33, check, len(body), said, 5, 0)
    local = b"PK\x03\x04" + fields + b"a.png" + body
    entry = b"PK\x01\x02\x14\0" + fields + struct.pack("<HHHII", 0, 0, 0, 0, 0) + b"a.png"
    many = rng.choice((1, 1, 1, 2_000))  # many entries of one body: an overlapping bomb
    end = struct.pack("<HHHHIIH", 0, 0, many, many, len(entry) * many, len(local), 0)
    return "bomb.zip", local + entry * many + b"PK\x05\x06" + end


def many_members(rng: Random, seeds: dict[str, Seed]) -> tuple[str, bytes]:
    """A zip archive or a tar of thousands of tiny members."""
    files = {f"{i}.png": b"" for i in range(rng.choice((300, 2_000)))}
    return ("many.zip", zipped(files, zipfile.ZIP_STORED)) if rng.random() < 0.5 else ("many.tar", tarred(files))


def nested_archives(rng: Random, seeds: dict[str, Seed]) -> tuple[str, bytes]:
    """Archives in archives in archives."""
    raw, name = seeds["png-0.png"].raw, "a.png"
    for _ in range(rng.choice((1, 3, 40))):
        how = rng.choice(("zip", "tar", "gz"))
        if how == "gz":
            raw, name = gzip.compress(raw, 1, mtime=0), f"{name[-60:]}.gz"
        else:
            raw, name = (zipped if how == "zip" else tarred)({name: raw}), f"a.{how}"
    return name, raw


def sparse_tar(rng: Random, seeds: dict[str, Seed]) -> tuple[str, bytes]:
    """A tar member that says it is sparse and gigabytes long, or whose content is a link, a device or a pipe."""
    about = tarfile.TarInfo("a.png")
    raw = seeds["png-0.png"].raw
    about.size = len(raw)
    about.type = rng.choice(
        (tarfile.GNUTYPE_SPARSE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE)
    )
    about.linkname = rng.choice(("../bait/secret.png", "/etc/passwd", "a.png", "b.png"))
    if rng.random() < 0.4:
        about.type = tarfile.REGTYPE
        about.pax_headers = {
            "GNU.sparse.major": "0", "GNU.sparse.minor": "1", "GNU.sparse.name": "../b.png",
            "GNU.sparse.realsize": str(rng.choice(SIZES)), "GNU.sparse.size": str(rng.choice(SIZES)),
            "GNU.sparse.map": f"0,{len(raw)},{1 << 40},1", "path": rng.choice(("../../x.png", "/x.png", "é" * 4000)),
        }  # fmt: skip
        return "pax.tar", about.tobuf(tarfile.PAX_FORMAT) + raw.ljust(-(-len(raw) // 512) * 512, b"\0") + bytes(1024)
    block = bytearray(about.tobuf(tarfile.GNU_FORMAT))
    struct.pack_into("<12s12s", block, 386, b"00000000000\0", b"77777777777\0")
    block[483:495] = b"77777777777\0"
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return "sparse.tar", bytes(block) + raw.ljust(-(-len(raw) // 512) * 512, b"\0") + bytes(1024)


def tar_bomb(rng: Random, seeds: dict[str, Seed]) -> tuple[str, bytes]:
    """A .tar.gz whose member begins like an image and goes on for gigabytes."""
    raw, size = seeds["png-0.png"].raw, rng.choice(SIZES)
    about = tarfile.TarInfo("a.png")
    about.size = len(raw) + size
    return "bomb.tar.gz", _gzip(size, about.tobuf(tarfile.GNU_FORMAT) + raw)


def nested_sequences(rng: Random, seeds: dict[str, Seed]) -> tuple[str, bytes]:
    """A DICOM file with sequences in sequences, of stated or of undefined length, closed or left open."""
    depth = rng.choice(DEPTHS)
    tag = rng.choice((b"\x08\0\x11\x11", b"\x00\x52\x29\x92", b"\x40\0\x30\xa7", b"\x09\0\x10\x10"))
    if rng.random() < 0.6:
        opened = tag + b"SQ\0\0\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff"
        closed = b"\xfe\xff\x0d\xe0\0\0\0\0\xfe\xff\xdd\xe0\0\0\0\0" if rng.random() < 0.7 else b""
        deep = opened * depth + closed * depth
    else:
        heads, size = [], 0
        for _ in range(depth):
            heads.append(tag + b"SQ\0\0" + struct.pack("<I", size + 8) + b"\xfe\xff\x00\xe0" + struct.pack("<I", size))
            size += 20
        deep = b"".join(reversed(heads))
    raw = seeds["ct-explicit.dcm"].raw
    at = raw.index(b"\x10\0\x10\0PN") if tag[0] in (8, 9) else raw.index(b"\xe0\x7f\x10\0OW")
    return "deep.dcm", raw[:at] + deep + raw[at:]


def many_elements(rng: Random, seeds: dict[str, Seed]) -> tuple[str, bytes]:
    """A DICOM file with thousands of elements, items or frames more than it has pixels for."""
    raw = seeds["ct-explicit.dcm"].raw
    at = raw.index(b"\xe0\x7f\x10\0OW")
    count = rng.choice((500, 4_000))
    if rng.random() < 0.5:
        more = b"".join(struct.pack("<HH2sH4s", 0x0029, 0x1000 + i, b"LO", 4, b"abcd") for i in range(count))
    else:
        item = b"\xfe\xff\x00\xe0\0\0\0\0"
        more = b"\x00\x52\x30\x92SQ\0\0" + struct.pack("<I", len(item) * count) + item * count
    frames = str(rng.choice((1, count, 2**31 - 1, 10**9))).encode()
    frames += b" " * (len(frames) % 2)
    head = raw.index(b"\x28\0\x10\0US")
    said = struct.pack("<HH2sH", 0x28, 8, b"IS", len(frames)) + frames
    return "many.dcm", raw[:head] + said + raw[head:at] + more + raw[at:]


def claims(rng: Random, seeds: dict[str, Seed]) -> tuple[str, bytes]:
    """A picture whose header asks for the largest size its format can say, with nothing behind it."""
    kind = rng.choice(("bmp", "gif", "tiff", "jpeg", "webp", "npz"))
    if kind == "bmp":
        sizes = [rng.choice((65_535, 2**31 - 1, -(2**31), 20_000)) for _ in range(2)]
        return "big.bmp", b"BM" + bytes(8) + b"\x36\0\0\0" + struct.pack(
            "<IiiHHIIiiII", 40, *sizes, 1, rng.choice((1, 8, 24, 32)), *[0] * 6
        )
    if kind == "gif":
        size = b"\xff\xff\xff\xff"
        return "big.gif", b"GIF89a" + size + b"\x80\0\0" + bytes(6) + b"," + bytes(
            4
        ) + size + b"\0\x08" + b"\xff" * 255 + b"\0;"
    if kind == "npz":
        head = b"{'descr': '<f8', 'fortran_order': False, 'shape': (4611686018427387905, 4, 4), }"
        return "big.npz", zipped({"train_images.npy": b"\x93NUMPY\x01\0" + struct.pack("<H", len(head)) + head})
    if kind == "tiff":
        entries = [(256, 4, 1, 9_999), (257, 4, 1, 9_999), (258, 3, 1, 8), (259, 3, 1, rng.choice((1, 5, 8, 32773, 7, 50001))), (262, 3, 1, 1),
                   (273, 4, 1, 8), (277, 3, 1, rng.choice((1, 4, 65535))), (278, 4, 1, 1), (279, 4, 1, 2**32 - 1)]  # fmt: skip
        body = b"".join(struct.pack("<HHII", *e) for e in entries)
        return "big.tif", b"II*\0\x08\0\0\0" + struct.pack("<H", len(entries)) + body + struct.pack(
            "<I", rng.choice((0, 8))
        )
    raw = bytearray(seeds["jpeg-6.jpeg" if kind == "jpeg" else "webp-23.webp"].raw)
    at = raw.index(b"\xff\xc0") + 5 if kind == "jpeg" else 21
    raw[at : at + 4] = b"\xff\xff\xff\xff" if rng.random() < 0.5 else b"\x27\x0f\x27\x0f"
    return f"big.{kind}", bytes(raw)


def long_table(rng: Random, seeds: dict[str, Seed]) -> tuple[str, bytes]:
    """A label table with a cell of a million letters, thousands of columns, or rows without end."""
    out = io.StringIO()
    match rng.choice(("cell", "columns", "rows")):
        case "cell":
            out.write("file,mass\na.png," + "x" * 1_000_000 + "\n")
        case "columns":
            out.write("file," + ",".join(f"c{i}" for i in range(5_000)) + "\na.png" + ",1" * 5_000 + "\n")
        case "rows":
            out.write("file,mass\n" + "a.png,1\n" * 20_000)
    return "long.csv", out.getvalue().encode()


BOMBS: tuple[Callable[[Random, dict[str, Seed]], tuple[str, bytes]], ...] = (
    deflated_dicom, gzipped_nifti, png, zip_member, many_members, nested_archives, sparse_tar, tar_bomb, nested_sequences,
    nested_sequences, nested_sequences, many_elements, claims, claims, claims, long_table,
)  # fmt: skip
