"""``collect`` with two worker processes against one: wall time, in turn, on the same folders.

"2" is at most two: small folders are read by one all the same. Synthetic folders (small pictures, CT slices, RLE-compressed
CT slices, few large volumes) everywhere; real ones where they are on the machine. Each figure is the median of the ratios of
neighbouring runs; start-up of the processes is included. Beside each stand two bounds:

- *two halves*: two collectors of one process each, started at once, each with half of the folder and an archive of its own,
  against one with all of it. They share nothing but the machine, so it is what its two cores have to give to this very work.
- *by CPU*: the CPU seconds of one, over those that two spend on end (what only the parent can do, before and after the
  reading) and half of all the others. Cores that are free would give that; a crowded machine hardly moves it.
"""

import gzip
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pydicom
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset

from benchmarks.data import SHARED

ROUNDS = 3
_COLLECT = """
import json, resource, sys, time
from overread.steps import collect as step
from overread.steps.collecting import Collecting

def cpu(who):
    used = resource.getrusage(who)
    return used.ru_utime + used.ru_stime

def read(run, *given, **said):
    before = cpu(resource.RUSAGE_SELF)
    reads(run, *given, **said)
    told["beside"] = cpu(resource.RUSAGE_SELF) - before

told, reads, Collecting.read = {}, Collecting.read, read
loaded, began = cpu(resource.RUSAGE_SELF), time.monotonic()
step.collect(sys.argv[1], into=sys.argv[2], workers=int(sys.argv[3]), progress=False)
told["wall"], parent = time.monotonic() - began, cpu(resource.RUSAGE_SELF) - loaded
told["cpu"], told["alone"] = parent + cpu(resource.RUSAGE_CHILDREN), parent - told["beside"]
print(json.dumps(told))
"""
_LOOP = (
    "import io, time; from PIL import Image; raw = io.BytesIO(); Image.effect_noise((224, 224), 40).save(raw, 'JPEG')\n"
    "end, n = time.monotonic() + 2, 0\n"
    "while time.monotonic() < end:\n    Image.open(io.BytesIO(raw.getvalue())).load(); n += 1\n"
    "print(n)"
)


def measure(scale: float = 1.0) -> list[dict]:
    figures = []
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        sets = {
            "4,000 pictures of 256 × 256": _pictures(root / "pictures", int(4000 * scale)),
            "40 CT series of 40 slices of 512 × 512": _series(root / "ct", max(4, int(40 * scale)), compressed=False),
            "40 CT series, RLE": _series(root / "rle", max(4, int(40 * scale)), compressed=True),
            "60 NIfTI volumes, gzip": _volumes(root / "nifti", max(4, int(60 * scale))),
        }
        for name in ("chest_xray", "dicom_series"):
            if (SHARED / name).is_dir():
                sets[name] = SHARED / name
        for what, source in sets.items():
            halves = _halves(source, root / "halves")
            rounds = [_round(source, halves, root, first=1 + n % 2) for n in range(ROUNDS)]
            subprocess.run(["rm", "-rf", str(root / "halves")], check=True)
            figures.append({"what": f"collect, {what}", "value": _told(rounds), "must": "≥ 1.7 ×"})
    figures.append(
        {
            "what": "two loops that decode pictures and share nothing, against one: what the machine has to give",
            "value": f"{statistics.median(_ceiling() for _ in range(ROUNDS)):.2f} ×",
        }
    )
    figures.append({"what": "cores this machine lends", "value": str(len(os.sched_getaffinity(0)))})
    return figures


def _round(source: Path, halves: list[Path], root: Path, *, first: int) -> tuple[dict, dict, float]:
    """Measure one process and two, one after the other, ``first`` before; then the slower of two halves at once (s)."""
    took = {workers: _collected([source], root, workers)[0] for workers in (first, 3 - first)}
    return took[1], took[2], max(half["wall"] for half in _collected(halves, root, 1))


def _told(rounds: list[tuple[dict, dict, float]]) -> str:
    def middle(value) -> float:
        return statistics.median(value(*each) for each in rounds)

    ratio = middle(lambda one, two, halves: one["wall"] / two["wall"])
    apart = middle(lambda one, two, halves: one["wall"] / halves)
    bound = middle(lambda one, two, halves: one["cpu"] / (two["alone"] + (two["cpu"] - two["alone"]) / 2))
    walls = [middle(lambda *each, i=i: each[i]["wall"]) for i in (0, 1)]
    cpus = [middle(lambda *each, i=i: each[i]["cpu"]) for i in (0, 1)]
    alone = middle(lambda one, two, halves: two["alone"])
    return (
        f"{ratio:.2f} × ({walls[0]:.1f} s with 1 process, {walls[1]:.1f} s with 2; two halves {apart:.2f} ×, by CPU "
        f"{bound:.2f} ×: {cpus[0]:.2f} s of CPU, {cpus[1]:.2f} with 2, {alone:.2f} of them alone)"
    )


def _halves(source: Path, root: Path) -> list[Path]:
    """Return two folders of links to half of the files each: every other series, or picture."""
    files = sorted(path for path in source.rglob("*") if path.is_file())
    whole = {path.parent for path in files if path.suffix.lower() not in (".jpeg", ".jpg", ".png", ".gz")}
    turns: dict[Path, int] = {}
    for path in files:
        what = path.parent if path.parent in whole else path
        link = root / "ab"[turns.setdefault(what, len(turns)) % 2] / path.relative_to(source)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(path)
    return [root / "a", root / "b"]


def _ceiling() -> float:
    """Return how much more two processes do in a second than one, where nothing holds them up but each other."""

    def done(processes: int) -> int:
        loops = [subprocess.Popen([sys.executable, "-c", _LOOP], stdout=subprocess.PIPE) for _ in range(processes)]
        return sum(int(loop.communicate()[0]) for loop in loops)

    return done(2) / done(1)


def _collected(sources: list[Path], root: Path, workers: int) -> list[dict]:
    """Collect each source into an archive of its own, all at once."""
    into = [root / f"into{n}" for n in range(len(sources))]
    commands = [
        [sys.executable, "-P", "-c", _COLLECT, str(source), str(there), str(workers)]
        for source, there in zip(sources, into, strict=True)
    ]
    collectors = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for command in commands]
    told = [json.loads(collector.communicate()[0]) for collector in collectors]
    subprocess.run(["rm", "-rf", *(f"{there}{end}" for there in into for end in ("", ".names"))], check=True)
    return told


def _anatomy(rng: np.random.Generator, side: int) -> np.ndarray:
    """Return smooth shapes with noise on them: it compresses as images do."""
    y, x = np.mgrid[:side, :side] / side
    centre = rng.uniform(0.3, 0.7, 2)
    body = 1000 * np.exp(-((y - centre[0]) ** 2 + (x - centre[1]) ** 2) * 8)
    return body + rng.normal(0, 12, (side, side))


def _pictures(folder: Path, count: int) -> Path:
    folder.mkdir()
    rng = np.random.default_rng(0)
    for n in range(count):
        shape = np.clip(_anatomy(rng, 256) / 4, 0, 255).astype(np.uint8)
        Image.fromarray(shape).save(folder / f"{n:06d}.{'jpg' if n % 2 else 'png'}")
    return folder


def _series(folder: Path, count: int, *, compressed: bool) -> Path:
    rng = np.random.default_rng(1)
    slices = [np.round(_anatomy(rng, 512)).astype(np.int16) for _ in range(8)]
    for s in range(count):
        (folder / f"{s:03d}").mkdir(parents=True)
        for n in range(40):
            _slice(folder / f"{s:03d}" / f"{n:03d}", slices[n % 8] + s, s, n, compressed=compressed)
    return folder


def _slice(path: Path, values: np.ndarray, series: int, number: int, *, compressed: bool) -> None:
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = pydicom.uid.CTImageStorage
    ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = f"1.2.826.0.1.3680043.8.498.3.{series}.{number}"
    ds.Modality, ds.PatientID = "CT", f"P{series}"
    ds.StudyInstanceUID = f"1.2.826.0.1.3680043.8.498.1.{series}"
    ds.SeriesInstanceUID = f"1.2.826.0.1.3680043.8.498.2.{series}"
    ds.Rows, ds.Columns = values.shape
    ds.BitsAllocated = ds.BitsStored = 16
    ds.HighBit, ds.PixelRepresentation, ds.SamplesPerPixel = 15, 1, 1
    ds.PhotometricInterpretation = "MONOCHROME2"
    ds.RescaleSlope, ds.RescaleIntercept = 1, -1024
    ds.PixelSpacing, ds.SliceThickness = [0.7, 0.7], 2.5
    ds.ImageOrientationPatient, ds.ImagePositionPatient = [1, 0, 0, 0, 1, 0], [0, 0, 2.5 * number]
    ds.InstanceNumber = number + 1
    ds.PixelData = values.tobytes()
    if compressed:
        ds.compress(pydicom.uid.RLELossless)
    ds.save_as(path, enforce_file_format=True)


def _volumes(folder: Path, count: int) -> Path:
    import nibabel

    folder.mkdir()
    rng = np.random.default_rng(2)
    for n in range(count):
        values = np.stack([_anatomy(rng, 128) for _ in range(64)], axis=-1).astype(np.int16)
        raw = nibabel.Nifti1Image(values, np.diag([1.0, 1, 2, 1])).to_bytes()
        (folder / f"{n:03d}.nii.gz").write_bytes(gzip.compress(raw, 1))
    return folder
