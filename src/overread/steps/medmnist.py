"""A few images of a MedMNIST file, for the pages of a demonstration."""

from __future__ import annotations

from pathlib import Path

import numpy as np


def few_images(path: Path, into: Path, *, count: int) -> Path:
    """Write the first few testing images of a MedMNIST file as a small file of their own, and return it."""
    into.mkdir(exist_ok=True)
    with np.load(path, allow_pickle=False) as arrays:
        part = {key: arrays[key][:count] for key in ("test_images", "test_labels")}
    np.savez(into / path.name, **part)
    return into / path.name
