"""Lies in the places where each format keeps its lengths, sizes, names and counts."""

from __future__ import annotations

import gzip
import io
import re
import struct
import zipfile
import zlib
from collections.abc import Callable
from random import Random

LENGTHS = (0, 1, 2, 3, 7, 8, 0xFE, 0xFF, 0x7FFF, 0x8000, 0xFFFE, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF)
PATHS = (
    "../../../../../../etc/passwd", "/etc/passwd", "..\\..\\..\\windows\\win.ini", "C:\\boot.ini", "\\\\host\\share\\x",
    "../bait/secret.dcm", "../bait/secret.png", "..", ".", "/", "a/../../b", "x\0y", "~root/.ssh/id", "%2e%2e%2fbait",
    "A" * 64, "B" * 5000, "1." * 2000, "\u202egnp.exe", "CON", "$(touch pwned)", "-rf", "a!b!c.png", "a?b", "\r\nline",
)  # fmt: skip
NUMBERS = (
    "-1", "0", "1", "65535", "65536", "2147483647", "2147483648", "4294967295", "99999999999999999999", "1e308", "1e400",
    "-1e-320", "NaN", "inf", "-inf", "1\\2", "1\\2\\3\\4\\5\\6\\7", "\\\\\\", " ", "٣", "0x10", "1_000", "", "9" * 4000,
    "1.0.0", "--1", "1e",
)  # fmt: skip
_LONG_VR = (b"OB", b"OW", b"OF", b"OD", b"OL", b"OV", b"SQ", b"UC", b"UN", b"UR", b"UT", b"SV", b"UV")
_TAGS = tuple(
    struct.pack("<HH", group, element)
    for group, element in (
        (0x0008, 0x0005), (0x0008, 0x0008), (0x0008, 0x0016), (0x0008, 0x0060), (0x0010, 0x0010), (0x0010, 0x1010),
        (0x0018, 0x0050), (0x0018, 0x1164), (0x0020, 0x000D), (0x0020, 0x000E), (0x0020, 0x0013), (0x0020, 0x0032),
        (0x0020, 0x0037), (0x0028, 0x0002), (0x0028, 0x0004), (0x0028, 0x0006), (0x0028, 0x0008), (0x0028, 0x0009),
        (0x0028, 0x0010), (0x0028, 0x0011), (0x0028, 0x0030), (0x0028, 0x0100), (0x0028, 0x0101), (0x0028, 0x0102),
        (0x0028, 0x0103), (0x0028, 0x0120), (0x0028, 0x1050), (0x0028, 0x1051), (0x0028, 0x1052), (0x0028, 0x1053),
        (0x0028, 0x1101), (0x0028, 0x1201), (0x0028, 0x3000), (0x0028, 0x3010), (0x0054, 0x1001), (0x5200, 0x9229),
        (0x5200, 0x9230), (0x7FE0, 0x0001), (0x7FE0, 0x0008), (0x7FE0, 0x0010), (0xFFFE, 0xE000), (0xFFFE, 0xE00D),
        (0xFFFE, 0xE0DD), (0x0002, 0x0000), (0x0002, 0x0010), (0x0004, 0x1220), (0x0004, 0x1500),
    )
)  # fmt: skip


# -- DICOM --------------------------------------------------------------------------------------------------------


def elements(raw: bytes) -> list[tuple[int, int, int, bytes]]:
    """Return (start, header's length, value's length, VR) of each top-level element of a little-endian file."""
    at, out = (132 if raw[128:132] == b"DICM" else 0), []
    while at + 8 <= len(raw) and len(out) < 500:
        vr = raw[at + 4 : at + 6]
        if vr.isalpha() and vr.isupper():
            head = 12 if vr in _LONG_VR else 8
            size = struct.unpack_from("<I", raw, at + 8)[0] if head == 12 and at + 12 <= len(raw) else 0
            size = size if head == 12 else struct.unpack_from("<H", raw, at + 6)[0]
        else:
            head, vr, size = 8, b"", struct.unpack_from("<I", raw, at + 4)[0]
        out.append((at, head, size, vr))
        at += head + (size if size < len(raw) else len(raw))
    return out


def dicom(rng: Random, raw: bytes) -> bytes:
    """Change one element of a DICOM file: its length, value, VR, tag; or leave it out, or double it."""
    found = elements(raw)
    if not found:
        return raw
    named = [e for e in found if raw[e[0] : e[0] + 4] in _TAGS]
    at, head, size, vr = rng.choice(named if named and rng.random() < 0.7 else found)
    end = min(len(raw), at + head + size)
    element = raw[at:end]
    match rng.choice(("length", "value", "value", "value", "vr", "tag", "gone", "twice", "moved", "items")):
        case "length":
            return raw[:at] + _length_lie(rng, element, head, vr, size) + raw[end:]
        case "value":
            value = _value(rng, vr, element[head:])
            return raw[:at] + _with_value(element[:head], vr, value) + raw[end:]
        case "vr" if vr:
            other = rng.choice(
                (b"SQ", b"UN", b"US", b"IS", b"DS", b"OB", b"UI", b"PN", b"UT", b"FD", b"AT", b"ZZ", b"\0\0")
            )
            return raw[: at + 4] + other + raw[at + 6 :]
        case "tag":
            return raw[:at] + rng.choice(_TAGS) + raw[at + 4 :]
        case "gone":
            return raw[:at] + raw[end:]
        case "twice":
            return raw[:end] + element * rng.choice((1, 1, 50)) + raw[end:]
        case "moved":
            there = rng.choice(found)[0]
            return raw[:there] + element + raw[there:]
        case "items":
            return _items(rng, raw)
    return raw


def _length_lie(rng: Random, element: bytes, head: int, vr: bytes, size: int) -> bytes:
    lie = rng.choice((*LENGTHS, size + 1, size + 2, max(0, size - 1), size * 2))
    if vr and head == 8:
        return element[:6] + struct.pack("<H", lie & 0xFFFF) + element[8:]
    return element[: head - 4] + struct.pack("<I", lie & 0xFFFFFFFF) + element[head:]


def _with_value(head: bytes, vr: bytes, value: bytes) -> bytes:
    value += b"\0" * (len(value) % 2)
    if vr and len(head) == 8:
        return head[:6] + struct.pack("<H", len(value) & 0xFFFF) + value
    return head[:-4] + struct.pack("<I", len(value)) + value


def _value(rng: Random, vr: bytes, old: bytes) -> bytes:
    text = rng.choice(NUMBERS if vr in (b"IS", b"DS") or rng.random() < 0.3 else PATHS)
    match vr:
        case b"US" | b"SS" | b"OW":
            return struct.pack("<H", rng.choice(LENGTHS) & 0xFFFF) * rng.choice((1, 1, 1, 2, 3, 0))
        case b"UL" | b"SL" | b"AT" | b"FL":
            return struct.pack("<I", rng.choice(LENGTHS)) * rng.choice((1, 1, 2, 0))
        case b"FD":
            return struct.pack("<d", rng.choice((0.0, -1.0, 1e300, 5e-324, float("nan"), float("inf"))))
        case b"OB" | b"UN" | b"SQ":
            return rng.choice((b"", old[: len(old) // 2], old + old, old[::-1], rng.randbytes(40)))
        case b"CS":
            return rng.choice((
                b"ISO 2022 IR 87\\ISO 2022 IR 149", b"ISO_IR 192", b"GB18030", b"\\", b"PALETTE COLOR", b"RGB", b"YBR_FULL_422",
                b"YBR_ICT", b"MONOCHROME1", b"HSV", b"CT", b"PT", b"LOCALIZER", b"utf-8", b"../x", b"none" * 99,
            ))  # fmt: skip
        case b"UI":
            return rng.choice(
                (text.encode(), b"1.2.840.10008.1.2.1.99", b"1.2.840.10008.1.2.2", b"1.2.840.10008.1.2.5", b"", b"\\")
            )
    return rng.choice(
        (text.encode("utf-8", "replace"), b"\x1b$B" + rng.randbytes(9), b"\xff\xfe\xfd", old + b"\\" + old)
    )


def _items(rng: Random, raw: bytes) -> bytes:
    """Lie in the length of an item, or of the offset table, of a sequence or of encapsulated pixels."""
    places = [m.start() for m in re.finditer(rb"\xfe\xff\x00\xe0|\xfe\xff\xdd\xe0|\xfe\xff\x0d\xe0", raw)]
    if not places:
        return raw
    at = rng.choice(places)
    lie = struct.pack("<I", rng.choice((*LENGTHS, len(raw), len(raw) - at - 8)) & 0xFFFFFFFF)
    match rng.choice(("length", "gone", "more", "table")):
        case "length":
            return raw[: at + 4] + lie + raw[at + 8 :]
        case "gone":
            return raw[:at] + raw[at + 8 :]
        case "more":
            return raw[:at] + (b"\xfe\xff\x00\xe0" + lie) * rng.choice((1, 2, 500)) + raw[at:]
    return raw[: at + 4] + b"\x04\0\0\0" + lie + raw[at + 8 :]


# -- the others ---------------------------------------------------------------------------------------------------


def nifti(rng: Random, raw: bytes) -> bytes:
    """Change one field of a NIfTI header."""
    out = bytearray(raw)
    at, form = rng.choice((
        *((40 + 2 * i, "<h") for i in range(8)), (70, "<h"), (72, "<h"), (0, "<i"), (108, "<f"), (112, "<f"), (116, "<f"),
        (123, "<b"), (252, "<h"), (254, "<h"), *((76 + 4 * i, "<f") for i in range(8)), (348, "<i"), (352, "<i"),
        *((256 + 4 * i, "<f") for i in range(6)), *((280 + 4 * i, "<f") for i in range(12)), *((16 + 8 * i, "<q") for i in range(8)),
    ))  # fmt: skip
    if "f" in form:
        value = rng.choice((0.0, -1.0, 1e30, 1e-30, float("nan"), float("inf"), 351.0, 3.9, -352.0))
    else:
        bits = 8 * struct.calcsize(form)
        value = rng.choice(
            (0, 1, -1, 2, 3, 5, 7, 9, 16, 128, 1024, 1536, 2304, 32, (1 << bits - 1) - 1, -(1 << bits - 1))
        )
        value = max(-(1 << bits - 1), min((1 << bits - 1) - 1, value))
    if at + struct.calcsize(form) <= len(out):
        struct.pack_into(form, out, at, value)
    return bytes(out)


def png(rng: Random, raw: bytes) -> bytes:
    """Change a chunk's length or content; most often with a checksum that fits again, so that it is believed."""
    chunks, at = [], 8
    while at + 12 <= len(raw):
        size = struct.unpack_from(">I", raw, at)[0]
        chunks.append([raw[at + 4 : at + 8], raw[at + 8 : at + 8 + size]])
        at += 12 + size
    if not chunks:
        return raw
    n = rng.randrange(len(chunks))
    n = 0 if rng.random() < 0.4 else n
    kind, body = chunks[n]
    match rng.choice(("body", "body", "gone", "twice", "kind", "new", "length")):
        case "body" if body:
            body = bytearray(body)
            if kind == b"IHDR" and rng.random() < 0.6 and len(body) >= 13:
                struct.pack_into(">I", body, rng.choice((0, 4)), rng.choice((*LENGTHS, 1 << 14, 20_000)))
            else:
                body[rng.randrange(len(body))] = rng.choice((0, 1, 2, 3, 4, 6, 8, 16, 255))
            chunks[n][1] = bytes(body)
        case "gone":
            del chunks[n]
        case "twice":
            chunks.insert(n, chunks[n])
        case "kind":
            chunks[n][0] = rng.choice(
                (b"IDAT", b"IEND", b"PLTE", b"tRNS", b"gAMA", b"iCCP", b"zTXt", b"eXIf", b"acTL", b"fdAT")
            )
        case "new":
            text = b"k\0\0" + zlib.compress(b"A" * rng.choice((10, 100_000, 20_000_000)))
            chunks.insert(
                rng.randrange(len(chunks) + 1), [rng.choice((b"zTXt", b"iCCP", b"iTXt", b"eXIf", b"tRNS")), text]
            )
    lie = rng.choice(LENGTHS) if rng.random() < 0.1 else None
    right = rng.random() < 0.85
    out = [raw[:8]]
    for i, (kind, body) in enumerate(chunks):
        check = zlib.crc32(kind + body) if right else rng.getrandbits(32)
        out.append(
            struct.pack(">I", lie if lie is not None and i == n else len(body)) + kind + body + struct.pack(">I", check)
        )
    return b"".join(out)


def jpeg(rng: Random, raw: bytes) -> bytes:
    """Lie in a segment's length, or in the frame header's size, precision and components."""
    places = [m.start() for m in re.finditer(rb"\xff[\xc0-\xc4\xc9\xca\xda\xdb\xdd\xe0-\xef\xfe]", raw)]
    if not places:
        return raw
    out, at = bytearray(raw), rng.choice(places)
    frame = 0xC0 <= raw[at + 1] <= 0xCA and raw[at + 1] != 0xC4
    where, form = (
        rng.choice(((at + 4, ">B"), (at + 5, ">H"), (at + 7, ">H"), (at + 9, ">B"), (at + 11, ">B")))
        if frame
        else (at + 2, ">H")
    )
    if where + 2 <= len(out):
        struct.pack_into(
            form,
            out,
            where,
            rng.choice((0, 1, 2, 3, 4, 8, 12, 16, 255, 65535, 20_000)) & (0xFF if form == ">B" else 0xFFFF),
        )
    return bytes(out)


def tiff(rng: Random, raw: bytes) -> bytes:
    """Change an entry of the directory: its tag, type, count or value; or have directories follow one another for ever."""
    order = "<" if raw[:2] == b"II" else ">"
    if len(raw) < 8:
        return raw
    first = struct.unpack_from(order + "I", raw, 4)[0]
    if first + 2 > len(raw):
        return raw
    count = struct.unpack_from(order + "H", raw, first)[0]
    out, at = bytearray(raw), first + 2 + 12 * rng.randrange(max(1, min(count, 40)))
    where, form, value = rng.choice((
        (at, "H", rng.choice((256, 257, 258, 259, 262, 273, 277, 278, 279, 317, 320, 322, 323, 324, 330, 338, 339, 34665))),
        (at + 2, "H", rng.randrange(0, 20)), (at + 4, "I", rng.choice(LENGTHS)), (at + 8, "I", rng.choice(LENGTHS)),
        (at + 8, "I", rng.choice((1, 2, 4, 5, 7, 8, 32773, 34712, 50000, 16, 32, 64))), (first, "H", rng.choice((0, 1, 65535))),
        (first + 2 + 12 * count, "I", first), (4, "I", rng.choice(LENGTHS)),
    ))  # fmt: skip
    if where + struct.calcsize(form) <= len(out):
        struct.pack_into(order + form, out, where, value & (0xFFFF if form == "H" else 0xFFFFFFFF))
    return bytes(out)


def small(rng: Random, raw: bytes) -> bytes:
    """Change one number in the first 64 bytes, where BMP, GIF and WebP say their sizes."""
    out, at, size = bytearray(raw), rng.randrange(2, max(3, min(len(raw), 64))), rng.choice((1, 2, 4))
    out[at : at + size] = (rng.choice(LENGTHS) & ((1 << 8 * size) - 1)).to_bytes(size, "little")
    return bytes(out)


def packed(rng: Random, raw: bytes) -> bytes:
    """Change a zip archive's directory, or the name or the content of a member."""
    places = [m.start() for m in re.finditer(rb"PK\x01\x02|PK\x03\x04|PK\x05\x06|PK\x06\x06", raw)]
    if rng.random() < 0.5 and places:
        out, at = bytearray(raw), rng.choice(places)
        where, form = rng.choice(((6, "<H"), (8, "<H"), (10, "<H"), (18, "<I"), (20, "<I"), (22, "<I"), (24, "<I"), (26, "<H"),
                                  (28, "<H"), (30, "<H"), (32, "<H"), (38, "<I"), (42, "<I"), (16, "<I"), (12, "<I")))  # fmt: skip
        if at + where + 4 <= len(out):
            value = rng.choice((*LENGTHS, 8, 12, 14, 93, 99, 0x0801))
            struct.pack_into(form, out, at + where, value & (0xFFFF if form == "<H" else 0xFFFFFFFF))
        return bytes(out)
    try:
        with zipfile.ZipFile(io.BytesIO(raw)) as archive:
            members = {m.filename: archive.read(m) for m in archive.infolist()}
    except Exception:  # damaged by an earlier change: as it is
        return raw
    if not members:
        return raw
    name = rng.choice(list(members))
    body = members.pop(name)
    if name.endswith(".npy"):
        members[name] = array(rng, body)
    else:
        members[rng.choice(PATHS)] = body
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, body in members.items():
            about = zipfile.ZipInfo("x")
            about.filename = name
            archive.writestr(about, body)
    return out.getvalue()


def array(rng: Random, raw: bytes) -> bytes:
    """Rewrite the header of a NumPy array: shape, type, order, or what is no header at all."""
    shape = rng.choice((
        "(0, 12, 12)", "(5, -12, -12)", "(4611686018427387904, 4, 4)", "(5, 100000, 100000)", "(99999999999999999999, 9, 9)", "()",
        "(5,)", "(5, 12, 12, 3)", "(5, 0, 12)", "(5, 12, 1.5)", "(True, 12, 12)", "'abc'", "(5, 12, 12, 12, 12, 12)", "(1, 8, 8)",
    ))  # fmt: skip
    kind = rng.choice(
        ("'|u1'", "'<f8'", "'|O'", "'|S99'", "'<c16'", "[('a','<u1')]", "'>f2'", "'<M8[s]'", "'garbage'", "7")
    )
    head = rng.choice((
        f"{{'descr': {kind}, 'fortran_order': False, 'shape': {shape}, }}",
        f"{{'descr': '|u1', 'fortran_order': {rng.choice(('True', 'None', '2'))}, 'shape': {shape}, }}",
        "(" * rng.choice((100, 5000)), "{" * 3000, "'''", "{'descr': '|u1'}", "[1,\n 2", "\0", "__import__('os').system('x')",
    ))  # fmt: skip
    body = head.encode("latin-1", "replace")
    return b"\x93NUMPY" + bytes((rng.choice((1, 1, 1, 2, 3, 9)), 0)) + struct.pack("<H", len(body)) + body + raw[-720:]


def tar(rng: Random, raw: bytes) -> bytes:
    """Change one header block of a tar: name, size, type, link; with a checksum that fits again."""
    blocks = [at for at in range(0, len(raw) - 511, 512) if raw[at + 257 : at + 262] == b"ustar"]
    if not blocks:
        return raw
    out, at = bytearray(raw), rng.choice(blocks)
    match rng.choice(("name", "size", "type", "link", "prefix")):
        case "name":
            out[at : at + 100] = rng.choice(PATHS).encode("utf-8", "replace")[:100].ljust(100, b"\0")
        case "size":
            out[at + 124 : at + 136] = rng.choice((
                b"77777777777\0", b"-0000000001\0", b"\x80" + b"\xff" * 11, b"\xff" * 12, b"garbage!!!!\0", b"\0" * 12,
                b"00000000001\0", b"\x80" + bytes(7) + b"\x01\0\0\0",
            ))  # fmt: skip
        case "type":
            out[at + 156] = rng.choice(b"0123456789LKxgSDVN\0\xff")
        case "link":
            out[at + 156] = rng.choice(b"12")
            out[at + 157 : at + 257] = rng.choice(PATHS).encode("utf-8", "replace")[:100].ljust(100, b"\0")
        case "prefix":
            out[at + 345 : at + 500] = (rng.choice(PATHS).encode("utf-8", "replace") * 9)[:155].ljust(155, b"\0")
    out[at + 148 : at + 156] = b" " * 8
    out[at + 148 : at + 156] = b"%06o\0 " % sum(out[at : at + 512])
    return bytes(out)


def table(rng: Random, raw: bytes) -> bytes:
    """Put a hostile word into a cell, or repeat, shorten or quote a line."""
    lines = raw.split(b"\n")
    n = rng.randrange(len(lines))
    cells = lines[n].split(b",")
    match rng.choice(("cell", "cell", "cell", "line", "short", "quote", "wide")):
        case "cell":
            cells[rng.randrange(len(cells))] = rng.choice((*PATHS, *NUMBERS, "=cmd()", '"', "\ufeff", "*?[")).encode(
                "utf-8", "replace"
            )
        case "line":
            lines += [lines[n]] * rng.choice((1, 300))
        case "short":
            cells = cells[:1]
        case "quote":
            cells[0] = b'"' + cells[0]
        case "wide":
            cells += [b"x"] * rng.choice((1, 3000))
    lines[n] = b",".join(cells)
    return b"\n".join(lines)


def within(change: Callable[[Random, bytes], bytes], rng: Random, raw: bytes) -> bytes:
    """Change what a gzip file holds."""
    try:
        return gzip.compress(change(rng, gzip.decompress(raw)), 1, mtime=0)
    except (OSError, EOFError, zlib.error):
        return raw


def deflated(rng: Random, raw: bytes) -> bytes:
    """Change what a deflated DICOM file holds; any other DICOM file as ``dicom`` does."""
    start = 144 + int.from_bytes(raw[140:144], "little") if raw[128:132] == b"DICM" else len(raw)
    if b"1.2.840.10008.1.2.1.99" not in raw[:400] or start >= len(raw):
        return dicom(rng, raw)
    try:
        inner = zlib.decompress(raw[start:], -15)
    except zlib.error:
        return raw
    engine = zlib.compressobj(1, zlib.DEFLATED, -15)
    return raw[:start] + engine.compress(dicom(rng, inner)) + engine.flush()


LIES: dict[str, Callable[[Random, bytes], bytes]] = {
    "dicom": deflated, "real dicom": deflated, "dicomdir": dicom, "nifti": nifti,
    "nifti.gz": lambda rng, raw: within(nifti, rng, raw), "png": png, "jpeg": jpeg, "tiff": tiff, "bmp": small,
    "gif": small, "webp": small, "zip": packed, "npz": packed, "csv": table,
    "tar": lambda rng, raw: within(tar, rng, raw) if raw[:2] == b"\x1f\x8b" else tar(rng, raw),
}  # fmt: skip
"""For each kind of seed, what knows where it keeps its lengths."""
