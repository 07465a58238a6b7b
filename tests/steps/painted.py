"""Painted films, and what the tests of collect do with them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image as Picture

from overread.steps.collect import collect
from overread.steps.opened import remote_of
from overread.store.archive import Archive


def paint(path: Path, seed: int, side: int = 24) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Picture.fromarray(np.random.default_rng(seed).integers(0, 256, (side, side), np.uint8)).save(path, format="PNG")
    return path


def run(*sources, into: Path, **options):
    return collect(*sources, into=into, progress=False, workers=options.pop("workers", 1), **options)


def content(path: Path, *, remote: bool = False) -> list:
    """What an archive says, without what depends on its key; ``remote``: of which only the books are here."""
    with Archive.open(path, remote=remote_of(path) if remote else None) as archive:
        archive.verify()
        patients = {name: i for i, name in enumerate(dict.fromkeys(s.patient for s in archive.studies() if s.patient))}
        studies = [(s.images, patients.get(s.patient), s.labels, s.strata, s.splits) for s in archive.studies()]
        return sorted(studies, key=repr) + [r.hash for r in archive.images()]
