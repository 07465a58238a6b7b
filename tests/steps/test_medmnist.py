"""A few images for a page are a set of their own, and come through the same door."""

from __future__ import annotations

import numpy as np

from overread.formats.door import scan
from overread.formats.found import Found
from overread.steps.medmnist import few_images


def test_a_few_images_come_through_the_door(tmp_path):
    rng = np.random.default_rng(0)
    arrays = {"test_images": rng.integers(0, 256, (20, 28, 28), dtype=np.uint8), "test_labels": np.zeros((20, 1), int)}
    np.savez(tmp_path / "mine.npz", **arrays)
    found = list(scan(few_images(tmp_path / "mine.npz", tmp_path / "few", count=5)))
    assert len(found) == 5 and all(isinstance(f, Found) for f in found)
    assert np.array_equal(found[0].image.voxels[0], arrays["test_images"][0])
