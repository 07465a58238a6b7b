"""How long one slice takes from the bytes of its file to its numbers, beside the fastest library for each encoding.

Ours is what the door does: header, frames, the decoder in its own process, sign, rescale. The others get their frame cut
out beforehand, and stay in this process. Calls are made in turn; CPU time is counted, that of our decoding process with it.
The values must be equal.
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
    slope, intercept = float(ds.get("RescaleSlope", 1)), float(ds.get("RescaleIntercept", 0))
    ours = numbers(raw).voxels[0]
    best: tuple[float, float, float, str] | None = None
    apart = 0.0
    for library, decode in _libraries(ds, frame, raw).items():
        try:
            values = np.asarray(decode())
        except Exception:  # not an encoding of this library; each has errors of its own
            continue
        if values.shape != ours.shape:
            continue
        values = values.view(values.dtype.str.replace("u", "i")) if ds.PixelRepresentation else values
        away = float(np.abs(values * slope + intercept - ours).max())
        if away > 1:  # an encoding that it only believes to be its own
            continue
        a, b, ratio = _paired(lambda: numbers(raw), decode)
        if best is None or b < best[1]:
            best, apart = (a, b, ratio, library), away
    if best is None:
        return {"what": f"{name}: no other library here decodes it", "value": "-"}
    a, b, ratio, library = best
    return {
        "what": f"{name} {ours.shape[0]} × {ours.shape[1]}: {a:.2f} ms, {library} {b:.2f} ms; largest difference {apart:g}",
        "value": f"{ratio:.2f} × its speed",
        "must": "≥ 0.9 ×",
    }


def _libraries(ds: pydicom.Dataset, frame: bytes, raw: bytes) -> dict[str, Callable[[], np.ndarray]]:
    import imagecodecs

    tag = f"imagecodecs {version('imagecodecs')}"
    size = int(ds.Rows) * int(ds.Columns)
    out: dict[str, Callable[[], np.ndarray]] = {
        f"{tag} {name}": partial(getattr(imagecodecs, f"{name}_decode"), frame)
        for name in ("jpeg", "ljpeg", "jpegls", "jpeg2k", "htj2k")
    }
    if ds.file_meta.TransferSyntaxUID == pydicom.uid.RLELossless:
        out = {f"{tag} packbits": lambda: _packbits(imagecodecs.packbits_decode, frame, size)}
    try:
        dicomsdl = importlib.import_module("dicomsdl")
    except ImportError:  # no wheel for every Python; install it beside to have it measured
        return out
    return out | {f"dicomsdl {version('dicomsdl')}": lambda: dicomsdl.open_memory(raw).pixelData(storedvalue=True)}


def _packbits(decode: Callable[[bytes], bytes], frame: bytes, size: int) -> np.ndarray:
    offsets = np.frombuffer(frame, "<u4", 16)
    high = np.frombuffer(decode(frame[offsets[1] : offsets[2]]), "u1", size).astype(np.uint16)
    return (high << 8 | np.frombuffer(decode(frame[offsets[2] :]), "u1", size)).reshape(512, 512)


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
