"""How long one compressed slice takes to become stored values, beside the fastest library for each encoding.

Both have the header's values already. Ours then cuts the frame out, looks at its head, has it decoded in the process
where that is done, and gives it depth and sign; the others get the frame, and stay in this process. Calls are made in
turn; CPU time is counted, that of our decoding process with it. The values must be equal. Told beside it: ours from the
bytes of the file to HU, and who takes three quarters of a stream for a whole one without a word.
"""

from __future__ import annotations

import importlib
import io
import time
import warnings
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pydicom
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import HTJ2KLossless, JPEGBaseline8Bit

from benchmarks.data import SHARED
from overread.formats import decoder
from overread.formats.dicom import parse
from overread.formats.pixels import decode
from overread.formats.plain import plain
from overread.formats.units import numbers, physical

REPEATS = 25
FOLDER = SHARED / "dicom_codecs"
FILES = {
    "RLE": "RLE/CT1_RLE",
    "JPEG Lossless": "JPLL/CT1_JPLL",
    "JPEG Extended, 12 bits": "JPLY/MR1_JPLY",
    "JPEG-LS": "JLSL/CT1_JLSL",
    "JPEG-LS near-lossless": "JLSN/CT1_JLSN",
    "JPEG 2000 lossless": "J2KR/CT1_J2KR",
    "JPEG 2000": "J2KI/CT1_J2KI",
}


def measure() -> list[dict]:
    if not FOLDER.is_dir():
        return [{"what": "decoding", "value": "not measured: ../shared/data/dicom_codecs is not here"}]
    warnings.simplefilter("ignore")
    raw = (FOLDER / "REF/CT1_UNC").read_bytes()
    figures = [_plain(raw)]
    coded = {name: (FOLDER / file).read_bytes() for name, file in FILES.items()}
    coded["HTJ2K lossless"] = _htj2k(raw)
    coded["JPEG Baseline"] = _baseline(raw)
    figures += [_compressed(name, data) for name, data in coded.items()]
    return figures + [_bounds(folder) for folder in ("J2KI", "JLSN", "JPLY")]


def _plain(raw: bytes) -> dict:
    def ours() -> np.ndarray:
        return numbers(raw).voxels.astype(np.float32)

    def theirs() -> np.ndarray:
        ds = pydicom.dcmread(io.BytesIO(raw))
        return ds.pixel_array.astype(np.float32) * float(ds.RescaleSlope) + float(ds.RescaleIntercept)

    a, b, ratio = _paired(ours, theirs)
    same = np.array_equal(ours()[0], theirs())
    return {
        "what": f"uncompressed 512 × 512 CT slice to float HU: {a:.2f} ms, pydicom + NumPy {b:.2f} ms; equal: {same}",
        "value": f"{ratio:.1f} × faster",
        "must": "≥ 5 ×",
    }


def _compressed(name: str, raw: bytes) -> dict:
    ds = pydicom.dcmread(io.BytesIO(raw))
    frame = next(generate_frames(ds.PixelData, number_of_frames=1))
    header = plain(raw) or parse(raw)
    ours = decode(header)[0][0]
    found: list[tuple[float, float, float, str]] = []
    apart, careful = 0.0, {}
    for library, peer in _libraries(ds, raw).items():
        try:
            values = np.asarray(peer(frame))
        except Exception:  # not an encoding of this library; each has errors of its own
            continue
        if values.shape != ours.shape:
            continue
        away = float(np.abs(values.view(ours.dtype).astype(np.int64) - ours).max())
        if away > 1:  # an encoding that it only believes to be its own
            continue
        found.append((*_paired(lambda: decode(header), partial(peer, frame)), library))
        careful[library], apart = _notices(peer, frame), max(apart, away)
    if not found:
        return {"what": f"{name}: no other library here decodes it", "value": "-"}
    whole, _, _ = _paired(lambda: numbers(raw), lambda: None)
    a, b, ratio, library = min(found, key=lambda figures: figures[1])
    cut = "refuses" if careful[library] else "accepts"
    others = [f"{t:.2f} ms of {who}, which refuses it" for _, t, _, who in found if careful[who] and who != library]
    return {
        "what": f"{name} {ours.shape[0]} × {ours.shape[1]}: {a:.2f} ms (file to HU {whole:.2f}), {library} {b:.2f} ms, "
        f"{cut} a cut stream{''.join(f' ({other})' for other in others)}; largest difference {apart:g}",
        "value": f"{ratio:.2f} × its speed",
        "must": "≥ 0.9 ×",
    }


def _notices(peer: Callable[[bytes], object], frame: bytes) -> bool:
    """True when a library does not take three quarters of a stream for a whole one."""
    try:
        peer(frame[: len(frame) * 3 // 4])
    except Exception:  # each has errors of its own
        return True
    return False


def _libraries(ds: pydicom.Dataset, raw: bytes) -> dict[str, Callable[[bytes], np.ndarray]]:
    import imagecodecs

    tag = f"imagecodecs {version('imagecodecs')}"
    out: dict[str, Callable[[bytes], np.ndarray]] = {
        f"{tag} {name}": getattr(imagecodecs, f"{name}_decode")
        for name in ("jpeg", "ljpeg", "jpegls", "jpeg2k", "htj2k")
    }
    if ds.file_meta.TransferSyntaxUID == pydicom.uid.RLELossless:
        shape = int(ds.Rows), int(ds.Columns)
        out = {f"{tag} packbits": lambda frame: _packbits(imagecodecs.packbits_decode, frame, shape)}
    try:
        dicomsdl = importlib.import_module("dicomsdl")
    except ImportError:  # no wheel for every Python; install it beside to have it measured
        return out
    return out | {f"dicomsdl {version('dicomsdl')}": lambda _: dicomsdl.open_memory(raw).pixelData(storedvalue=True)}


def _packbits(unpack: Callable[[bytes], bytes], frame: bytes, shape: tuple[int, int]) -> np.ndarray:
    offsets, size = np.frombuffer(frame, "<u4", 16), shape[0] * shape[1]
    high = np.frombuffer(unpack(frame[offsets[1] : offsets[2]]), "u1", size).astype(np.uint16)
    return (high << 8 | np.frombuffer(unpack(frame[offsets[2] :]), "u1", size)).reshape(shape)


def _paired(ours: Callable[[], object], theirs: Callable[[], object]) -> tuple[float, float, float]:
    """Return the least CPU time in ms of calls made in turn, and their ratio."""
    took: dict[Callable[[], object], list[int]] = {ours: [], theirs: []}
    for turn in range(REPEATS):
        for call in (ours, theirs) if turn % 2 else (theirs, ours):
            began = _cpu()
            call()
            took[call].append(_cpu() - began)
    a, b = min(took[ours]) / 1e6, min(took[theirs]) / 1e6
    return a, b, b / a


def _cpu() -> int:
    """CPU time of this process and of its decoding process, in ns (Linux tells it of others to the ns)."""
    own = time.process_time_ns()
    for helper in decoder._helpers[-1:]:
        own += int(Path(f"/proc/{helper.process.pid}/schedstat").read_text().split()[0])
    return own


def _htj2k(raw: bytes) -> bytes:
    import imagecodecs

    ds = pydicom.dcmread(io.BytesIO(raw))
    return _with(ds, imagecodecs.htj2k_encode(ds.pixel_array, reversible=True), HTJ2KLossless)


def _baseline(raw: bytes) -> bytes:
    import imagecodecs

    ds = pydicom.dcmread(io.BytesIO(raw))
    grey = np.clip((ds.pixel_array.astype(float) + 1000) / 8, 0, 255).astype(np.uint8)
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 8, 8, 7, 0
    return _with(ds, imagecodecs.jpeg_encode(grey, level=90), JPEGBaseline8Bit)


def _with(ds: pydicom.Dataset, frame: bytes, syntax: pydicom.uid.UID) -> bytes:
    ds.PixelData = encapsulate([frame + b"\0" * (len(frame) % 2)])
    ds.file_meta.TransferSyntaxUID = syntax
    out = io.BytesIO()
    ds.save_as(out, enforce_file_format=True)
    return out.getvalue()


def _bounds(folder: str) -> dict:
    """How far a lossy encoding of the shared files lies from its uncompressed twin."""
    worst_mean, worst = 0.0, 0.0
    for path in sorted((FOLDER / folder).iterdir()):
        coded = _values(path)
        twin = _values(FOLDER / "REF" / f"{path.name.split('_')[0]}_UNC")
        away = np.abs(coded - twin) / np.ptp(twin)
        worst_mean, worst = max(worst_mean, float(away.mean())), max(worst, float(away.max()))
    return {
        "what": f"{folder}, largest mean and largest single difference from the uncompressed twins, of their range",
        "value": f"{worst_mean:.1%}, {worst:.1%}",
    }


def _values(path: Path) -> np.ndarray:
    raw = path.read_bytes()
    return (numbers(raw) or physical(parse(raw))).voxels.astype(float)
