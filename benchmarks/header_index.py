"""Headers indexed in a CPU second: the walk's scanner against pydicom with ``specific_tags``, on the same files in turn.

Real files where they are on the machine; synthetic CT slices (60 and 300 elements, a private block of 100 kB) everywhere.
"""

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pydicom
from pydicom.dataset import Dataset, FileMetaDataset

from benchmarks.data import SHARED
from overread.formats.series_key import series_key

ROUNDS = 7
TAGS = ["PatientID", "StudyInstanceUID", "SeriesInstanceUID"]


def measure() -> list[dict]:
    figures = []
    with tempfile.TemporaryDirectory() as folder:
        sets = {f"synthetic CT, {n} elements": _synthetic(Path(folder) / str(n), elements=n) for n in (60, 300)}
        sets["synthetic CT, 60 elements and a private block of 100 kB"] = _synthetic(
            Path(folder) / "private", elements=60, private=100_000
        )
        real = [
            p for name in ("dicom_codecs", "dicom_series") for p in sorted((SHARED / name).rglob("*")) if _is_dicom(p)
        ]
        if real:
            sets[f"{len(real)} real files"] = real
        for what, files in sets.items():
            assert_same(files)
            pairs = [(_seconds(_with_pydicom, files), _seconds(_with_overread, files)) for _ in range(ROUNDS)]
            theirs, ours = (len(files) / statistics.median(p[i] for p in pairs) for i in (0, 1))
            ratio = statistics.median(a / b for a, b in pairs)
            figures.append(
                {
                    "what": f"header index, {what}",
                    "value": f"{ours:,.0f} files/CPU-s, pydicom {theirs:,.0f}: {ratio:.1f} ×",
                    "must": "≥ 5 ×",
                }
            )
    return figures


def assert_same(files: list[Path]) -> None:
    """Stop where the two do not agree: speed of wrong answers is no figure."""
    for path in files:
        if _with_pydicom(path) != _with_overread(path):
            raise RuntimeError("the scanner and pydicom disagree on a file of this benchmark")


def _with_pydicom(path: Path) -> tuple[str, ...] | None:
    ds = pydicom.dcmread(path, force=True, stop_before_pixels=True, specific_tags=TAGS)
    values = tuple(str(ds.get(tag) or "") for tag in TAGS)
    return values if values[2] else None


def _with_overread(path: Path) -> tuple[str, ...] | None:
    with open(path, "rb") as stream:
        return series_key(stream, stream.read(4096))


def _seconds(read: Callable, files: list[Path]) -> float:
    before = time.process_time()
    for path in files:
        read(path)
    return time.process_time() - before


def _is_dicom(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as stream:
        return stream.read(132)[128:] == b"DICM"


def _synthetic(folder: Path, *, elements: int, private: int = 0, count: int = 200) -> list[Path]:
    """Write slices with so many elements before their pixels."""
    folder.mkdir()
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = pydicom.uid.CTImageStorage
    ds.Modality, ds.PatientID, ds.PatientName = "CT", "1234567", "Synthetic^Slice"
    ds.StudyInstanceUID, ds.SeriesInstanceUID = "1.2.826.0.1.3680043.8.498.1", "1.2.826.0.1.3680043.8.498.2"
    for i in range(elements - 12):
        group, element = (
            (0x0009, 0x1000 + i) if i % 3 == 0 else (0x0019, 0x1000 + i) if i % 3 == 1 else (0x0029, 0x1000 + i)
        )
        ds.add_new(group << 16 | element, "LO", f"value number {i}")
    if private:
        ds.add_new(0x00291F10, "OB", bytes(private))
    ds.Rows = ds.Columns = 16
    ds.add_new(0x7FE00010, "OW", bytes(512))
    files = []
    for n in range(count):
        ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = f"1.2.826.0.1.3680043.8.498.2.{n}"
        files.append(folder / f"IM{n:06d}")
        ds.save_as(files[-1], enforce_file_format=True)
    return files
