import os
import subprocess

import numpy as np
import pytest

pytest.importorskip("keras")

from overread.domain import Image, Recipe, Step
from overread.learn.batches import Batches, preprocess_once

RECIPE = Recipe((Step("resize", {"size": (16, 16)}),))


def images(n):
    return (Image(np.full((1, 16, 16), i, np.float32)) for i in range(n))


def test_every_image_is_kept_in_its_place_and_mapped_not_loaded(tmp_path):
    seen = []
    kept = preprocess_once(images(9), recipe=RECIPE, count=9, into=tmp_path / "x.npy", tick=seen.append)
    assert isinstance(kept, np.memmap)
    assert kept[:, 3, 3, 0].tolist() == list(range(9))
    assert sum(seen) == 9
    assert [p.name for p in tmp_path.iterdir()] == ["x.npy"]


def test_an_error_half_way_leaves_no_file_that_looks_whole(tmp_path):
    def some():
        yield from images(3)
        raise OSError("the disc went away")

    with pytest.raises(OSError, match="went away"):
        preprocess_once(some(), recipe=RECIPE, count=9, into=tmp_path / "x.npy")
    assert not (tmp_path / "x.npy").exists()


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="mounting a small disk needs root")
def test_a_full_disk_is_an_error_and_not_a_bus_error(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)], check=False).returncode:
        pytest.skip("this machine does not let root mount a small disk")
    try:
        with pytest.raises(OSError, match="No space left"):
            preprocess_once(images(99), recipe=RECIPE, count=99, into=disk / "x.npy")
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_an_epoch_shows_each_image_once_and_in_an_order_of_its_own():
    x = np.arange(64.0).reshape(64, 1)
    feed = Batches(x, x, batch=8, seed=3)
    feed.start(5)
    first = [feed[i][0].ravel().tolist() for i in range(len(feed))]
    assert sorted(v for batch in first for v in batch) == list(range(64))
    feed.start(6)
    assert [feed[i][0].ravel().tolist() for i in range(len(feed))] != first
    feed.start(5)
    assert [feed[i][0].ravel().tolist() for i in range(len(feed))] == first
