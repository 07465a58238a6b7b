"""Are leaks and shortcuts found that were put in on purpose? Detection and false-alarm rates, on real chest films.

Leaks: copies of training films are put into the testing cohort under new patients: 0.1 %, 1 % and 10 % of it. Each kind
of copy has sources of its own, so that no kind is found through another. What is printed is the share of the injected
films that the certificate names, and the share of the others that it names wrongly. Shortcuts: for a share of one class
the file format is changed; and facts that mean nothing are asked, to see how often one is warned of. One patient under two
ids: can the left breast be told to be that of the right one by its pixels? It cannot: nobody but the source knows a patient.
"""

from __future__ import annotations

import csv
import io
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as Picture
from scipy import ndimage

from benchmarks.data import SHARED
from overread.domain import Image, Study
from overread.imaging.likeness import NEAR_TURNED, mirrored, signature
from overread.stats import shortcuts
from overread.stats.certificate import touched
from overread.steps.leakage import find_copies
from overread.store.archive import Archive

SHARES = (0.001, 0.01, 0.1)
TRAINING, TESTING = 2000, 1000
STUDIES = 200
"""Made-up cohorts asked for each share of a shortcut."""


def jpeg(v: np.ndarray, quality: int) -> np.ndarray:
    held = io.BytesIO()
    Picture.fromarray(v).save(held, "JPEG", quality=quality)
    return np.asarray(Picture.open(held).convert("L"))


def scaled(v: np.ndarray, factor: float) -> np.ndarray:
    size = tuple(max(8, round(n * factor)) for n in v.shape[::-1])
    return np.asarray(Picture.fromarray(v).resize(size, Picture.Resampling.BICUBIC))


def lit(v: np.ndarray, contrast: float, shift: float) -> np.ndarray:
    return np.clip((v.astype(float) - 128) * contrast + 128 + shift, 0, 255).astype(np.uint8)


def cropped(v: np.ndarray, share: float) -> np.ndarray:
    r, c = (round(n * share) for n in v.shape)
    return v[r : v.shape[0] - r, c : v.shape[1] - c]


KINDS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "exact copy": lambda v: v.copy(),
    "JPEG at quality 75": lambda v: jpeg(v, 75),
    "JPEG at quality 20": lambda v: jpeg(v, 20),
    "three quarters of the size": lambda v: scaled(v, 0.75),
    "half the size": lambda v: scaled(v, 0.5),
    "mirrored": lambda v: v[:, ::-1].copy(),
    "brighter by 40 levels": lambda v: lit(v, 1, 40),
    "darker, with 70 % of the contrast": lambda v: lit(v, 0.7, -20),
    "inverted": lambda v: 255 - v,
    "half the size, JPEG at 50, brighter, mirrored": lambda v: lit(jpeg(scaled(v, 0.5), 50), 1, 20)[:, ::-1].copy(),
    "cropped by 1 % on each side": lambda v: cropped(v, 0.01),
    "cropped by 5 % on each side": lambda v: cropped(v, 0.05),
    "turned by 2 degrees": lambda v: ndimage.rotate(v, 2, reshape=False, order=1, mode="nearest"),
}
"""What is done to a training film before it stands in testing under another patient. The last three are known limits."""


def measure(_: list[str] | None = None) -> list[dict[str, Any]]:
    """Return detection and false-alarm rates of leaks and shortcuts."""
    if not (SHARED / "chest_xray").is_dir():
        return [{"what": "leaks", "value": "not measured: the real films are not on this machine"}]
    return [*leaks(TRAINING, TESTING), *other_breasts(), *shortcut_rates(STUDIES)]


def leaks(training: int, testing: int) -> list[dict[str, Any]]:
    """Return, for each kind and share, how many of the injected films are named, and how many others."""
    each = round(max(SHARES) * testing)
    films, patients, more = _films(training + testing, again=each)
    with tempfile.TemporaryDirectory() as home, Archive.create(Path(home) / "archive") as archive:
        entries = [(_put(archive, film), f"S{i}", patients[i]) for i, film in enumerate(films)]
        train, test = entries[:training], entries[training:]
        injected: dict[str, list] = {}
        for k, (kind, change) in enumerate(KINDS.items()):
            sources = films[k * each : (k + 1) * each]
            injected[kind] = [(_put(archive, change(v)), f"S{kind}{i}", f"P{kind}{i}") for i, v in enumerate(sources)]
        injected["another film of the same patient, under another id"] = [
            (_put(archive, v), f"Sagain{i}", f"Pagain{i}") for i, v in enumerate(more)
        ]
        began, cpu = time.perf_counter(), time.process_time()
        copies = find_copies(archive)
        seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
        count = sum(1 for _ in archive.images())
    found = []
    for kind, rows in injected.items():
        told = []
        for share in SHARES:
            put = rows[: max(1, round(share * testing))]
            named = touched([*test, *put], {"training": train}, copies)
            hit = sum((e[0], e[1]) in named for e in put)
            wrong = sum((e[0], e[1]) in named for e in test)
            told.append(f"{share:.1%}: {hit}/{len(put)} named, {wrong}/{len(test)} others")
        limit = any(word in kind for word in ("cropped", "turned", "another film"))
        found.append({"what": kind, "value": "; ".join(told), **({} if limit else {"must": "all named, no others"})})
    found.append(
        {"what": f"search for copies among {count:,} films", "value": f"{seconds:.1f} s ({cpu:.1f} s of CPU here)"}
    )
    return found


def other_breasts() -> list[dict[str, Any]]:
    """Return how often the two breasts of a patient under two ids are called copies, and how often those of two patients.

    The left film is compared with every right one in the mirror, at the certificate's limit and at lower ones.
    """
    folder = SHARED / "mammography"
    with open(folder / "labels.csv", newline="") as table:
        rows = list(csv.DictReader(table))
    looks = {
        side: {
            r["patient"]: signature(_read(folder / "images" / r["file"])) for r in rows if r["side_by_readme"] == side
        }
        for side in "LR"
    }
    patients = sorted(looks["L"])
    left, right = (np.stack([looks[side][patient] for patient in patients]) for side in "LR")
    alike = mirrored(left) @ right.T
    own = np.diag(alike)
    others = alike[~np.eye(len(patients), dtype=bool)]
    told = [
        f"at {limit:.2f}: {(own >= limit).sum()}/{len(own)} named, {(others >= limit).sum():,}/{others.size:,} pairs of strangers"
        for limit in (NEAR_TURNED, 0.9, 0.8, 0.7, 0.6)
    ]
    nearest = (alike.argmax(1) == np.arange(len(patients))).mean()
    told.append(f"the likest right breast is her own for {nearest:.0%}")
    return [{"what": "the other breast of the same patient, under another id (mirrored)", "value": "; ".join(told)}]


def _films(count: int, *, again: int) -> tuple[list[np.ndarray], list[str], list[np.ndarray]]:
    """Return films of different patients, whose they are, and a second film of each of the first patients that has one."""
    folder = SHARED / "chest_xray"
    seen: dict[str, list[str]] = {}
    with open(folder / "labels.csv", newline="") as table:
        for row in csv.DictReader(table):
            seen.setdefault(row["patient"], []).append(row["file"])
    several = [p for p in sorted(seen) if len(seen[p]) > 1][:again]
    order = several + [p for p in sorted(seen) if p not in set(several)]
    films, whose, known = [], [], set()
    second = []
    for patient in order:
        film = _read(folder / seen[patient][0])
        if film.tobytes() in known:  # the set holds copies of its own: they are no false alarms
            continue
        known.add(film.tobytes())
        films.append(film)
        whose.append(f"P{patient}")
        other = _read(folder / seen[patient][1]) if patient in several else None
        if other is not None and other.tobytes() not in known:
            known.add(other.tobytes())
            second.append(other)
        if len(films) == count:
            break
    return films, whose, second


def _read(path: Path) -> np.ndarray:
    return np.asarray(Picture.open(path).convert("L"))


def _put(archive: Archive, film: np.ndarray) -> str:
    name = archive.put(Image(film[None], full_range=(0, 255)))
    archive.add(Study(f"S{name[:20]}", (name,)))
    return name


def shortcut_rates(studies: int) -> list[dict[str, Any]]:
    """Return how often a fact is warned of that tells the label for a share of one class, over made-up cohorts."""
    found = []
    for share in (0.0, 0.1, 0.3, 0.5, 1.0):
        warned, values = 0, []
        for seed in range(studies):
            rng = np.random.default_rng(seed)
            truth = (rng.random(1000) < 0.4).astype(float)[:, None]
            kinds = ["JPEG" if (t and rng.random() < share) or rng.random() < 0.2 else "PNG" for t in truth[:, 0]]
            (s,) = shortcuts.find({"file format": kinds}, truth, None, labels=["finding"], rng=rng)
            warned += s.warns
            values.append(s.auroc.value)
        what = f"one class in JPEG for {share:.0%} of its cases, 20 % of all others: warned of"
        must = {0.0: "0 %", 1.0: "100 %"}.get(share)
        value = f"{warned / studies:.1%} of {studies} cohorts of 1,000 (mean AUROC {np.mean(values):.3f})"
        found.append({"what": what, "value": value, **({"must": must} if must else {})})
    return found
