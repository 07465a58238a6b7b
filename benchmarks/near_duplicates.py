"""Near copies: how often each kind is found, how often strangers are called copies, and how long 20,000 images take."""

from __future__ import annotations

import csv
import io
import time
import tracemalloc
from collections.abc import Callable

import numpy as np
from PIL import Image

from benchmarks.data import SHARED
from overread.imaging.likeness import near_pairs, signature

INJECTED = 200
MANY, VERY_MANY = 20_000, 100_000


def _jpeg(film: np.ndarray, quality: int) -> np.ndarray:
    file = io.BytesIO()
    Image.fromarray(film).save(file, "jpeg", quality=quality)
    return np.asarray(Image.open(file))


def _scaled(film: np.ndarray, factor: float) -> np.ndarray:
    size = (round(film.shape[1] * factor), round(film.shape[0] * factor))
    return np.asarray(Image.fromarray(film).resize(size, Image.Resampling.BICUBIC))


def _cropped(film: np.ndarray, share: float) -> np.ndarray:
    rows, columns = (round(n * share / 2) for n in film.shape)
    return film[rows : film.shape[0] - rows, columns : film.shape[1] - columns]


KINDS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "re-encoded, JPEG quality 50": lambda f: _jpeg(f, 50),
    "re-encoded, JPEG quality 20": lambda f: _jpeg(f, 20),
    "half the size": lambda f: _scaled(f, 0.5),
    "a third larger": lambda f: _scaled(f, 1.33),
    "mirrored": lambda f: f[:, ::-1],
    "mirrored, half the size, JPEG 40": lambda f: _jpeg(_scaled(f, 0.5)[:, ::-1].copy(), 40),
    "inverted": lambda f: 255 - f,
    "40 of 255 brighter, cut at white": lambda f: np.clip(f.astype(int) + 40, 0, 255).astype(np.uint8),
    "40 of 255 darker, cut at black": lambda f: np.clip(f.astype(int) - 40, 0, 255).astype(np.uint8),
    "contrast × 0.6": lambda f: (f * 0.6 + 30).astype(np.uint8),
    "gamma 0.7": lambda f: (255 * (f / 255) ** 0.7).astype(np.uint8),
    "gamma 1.5": lambda f: (255 * (f / 255) ** 1.5).astype(np.uint8),
    "noise of 8 of 255": lambda f: np.clip(f + np.random.default_rng(0).normal(0, 8, f.shape), 0, 255).astype(np.uint8),
    "cropped by 2 % (not promised)": lambda f: _cropped(f, 0.02),
    "turned by 2° (not promised)": lambda f: np.asarray(Image.fromarray(f).rotate(2, Image.Resampling.BILINEAR)),
}


def measure() -> list[dict]:
    figures = [
        {
            "what": f"all pairs of {MANY:,} images that have nothing in common",
            "value": _time(_made_up(np.eye(575), MANY)),
        }
    ]
    if not SHARED.is_dir():
        return [*figures, {"what": "skipped", "value": "the real images (../shared/data) are not on this machine"}]
    films, patients = _chest()
    began = time.perf_counter()
    looks = np.stack([signature(film) for film in films])
    each = (time.perf_counter() - began) / len(films)
    many = _made_up(looks, 2 * MANY)
    figures += [
        {"what": "signature, ms a film of 224²", "value": f"{each * 1e3:.2f}"},
        {
            "what": f"all pairs of {MANY:,} images as alike as chest films",
            "value": _time(many[:MANY]),
            "must": "with their signatures < 60 s on 2 cores",
        },
        {
            "what": f"{MANY:,} of them against {MANY:,} others (another archive)",
            "value": _time(many[:MANY], many[MANY:]),
            "must": "< 10 s on 2 cores",
        },
        {"what": f"all pairs of {VERY_MANY:,}", "value": _time(_made_up(looks, VERY_MANY))},
    ]
    exact = {}
    copies = [exact.setdefault(film.tobytes(), i) for i, film in enumerate(films)]
    once = sorted(set(copies))
    false = [p for p in near_pairs(looks[once])]
    figures += [
        {"what": "chest films: identical ones, thereof under two patients", "value": _identical(copies, patients)},
        {
            "what": f"chest films: pairs of {len(once):,} different films called copies",
            "value": f"{len(false)} of {len(once) * (len(once) - 1) // 2:,}",
        },
        {"what": "chest films: likeness of the two most alike", "value": f"{_most_alike(looks[once]):.3f}"},
    ]
    for name in ("mammography", "brain_mri"):
        pictures = _pictures(name)
        pairs = near_pairs(np.stack([signature(p) for p in pictures]))
        same = sum(
            pictures[p.first].shape == pictures[p.second].shape and (pictures[p.first] == pictures[p.second]).all()
            for p in pairs
        )
        figures.append({"what": f"{name}: pairs found, thereof identical", "value": f"{len(pairs)}, {same}"})
    some = np.random.default_rng(0).choice(once, INJECTED, replace=False)
    for kind, change in KINDS.items():
        injected = np.stack([signature(change(films[i])) for i in some])
        pairs = near_pairs(looks[once], injected)
        right = {p.second for p in pairs if once[p.first] == some[p.second]}
        wrong = sum(once[p.first] != some[p.second] for p in pairs)
        figures.append({"what": f"{kind}: found of {INJECTED}, wrongly paired", "value": f"{len(right)}, {wrong}"})
    return figures


def _made_up(like: np.ndarray, n: int) -> np.ndarray:
    """Return signatures that differ in the directions in which these do, as an archive keeps them; (n, 575) float16."""
    strength, axes = np.linalg.eigh(like.T @ like / len(like))
    mix = (axes * np.sqrt(np.maximum(strength, 0))).T.astype(np.float32)
    rng, made = np.random.default_rng(0), np.empty((n, len(mix)), np.float16)
    for start in range(0, n, MANY):
        part = rng.standard_normal((min(MANY, n - start), len(mix)), np.float32) @ mix
        made[start : start + MANY] = part / np.linalg.norm(part, axis=1, keepdims=True)
    return made


def _time(looks: np.ndarray, others: np.ndarray | None = None) -> str:
    """Return how long the search takes, on the clock and of a processor, and what memory beside the signatures."""
    began, cpu = time.perf_counter(), time.process_time()
    near_pairs(looks, others)
    seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    tracemalloc.start()
    near_pairs(looks[:MANY], others)
    held = tracemalloc.get_traced_memory()[1] / 2**20
    tracemalloc.stop()
    return f"{seconds:.1f} s ({cpu:.1f} s of one processor, {held:.0f} MB beside the signatures of {min(MANY, len(looks)):,})"


def _chest() -> tuple[list[np.ndarray], list[str]]:
    with open(SHARED / "chest_xray" / "labels.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    films = [np.asarray(Image.open(SHARED / "chest_xray" / row["file"]).convert("L")) for row in rows]
    return films, [row["patient"] for row in rows]


def _pictures(folder: str) -> list[np.ndarray]:
    files = sorted(f for f in (SHARED / folder).rglob("*") if f.suffix.lower() in (".png", ".jpg", ".jpeg"))
    return [np.asarray(Image.open(f).convert("L")) for f in files]


def _identical(copies: list[int], patients: list[str]) -> str:
    extra = [i for i, first in enumerate(copies) if i != first]
    return f"{len(extra)}, {sum(patients[i] != patients[copies[i]] for i in extra)}"


def _most_alike(looks: np.ndarray) -> float:
    highest = 0.0
    for start in range(0, len(looks), 1024):
        alike = looks[start : start + 1024] @ looks.T
        alike[np.arange(len(alike)), start + np.arange(len(alike))] = 0
        highest = max(highest, float(alike.max()))
    return highest
