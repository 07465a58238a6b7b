"""What every test room shares: the real images, and one thread each so that tests do not fight over the cores."""

from __future__ import annotations

import os

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")  # before NumPy is first imported

import signal
from pathlib import Path

import pytest

if (
    signal.getsignal(signal.SIGINT) is signal.SIG_IGN
):  # started in the background of a script: its children would be deaf
    signal.signal(signal.SIGINT, signal.default_int_handler)

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of the real images beside the repository; the test is skipped, with the reason, where it is absent."""
    if not SHARED.is_dir():
        pytest.skip("the real images (../shared/data beside the repository) are not on this machine")
    return SHARED


@pytest.fixture(scope="session")
def pictures(tmp_path_factory) -> Path:
    """A folder of 96 small pictures of 48 made-up patients with labels.csv; a bright blob says which are positive."""
    import csv

    import numpy as np
    from PIL import Image

    folder = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:24, :20]
    rows = []
    for i in range(96):
        positive = i % 4 < 2
        pixels = rng.normal(90, 20, (24, 20)) + 20 * np.sin(x / 3 + i)
        if positive:
            r, c = rng.integers(5, 15, 2)
            pixels += 90 * np.exp(-((y - r) ** 2 + (x - c) ** 2) / 8)
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / f"film{i:03d}.png")
        rows.append((f"film{i:03d}.png", f"person{i // 2:02d}", int(positive), "abc"[i % 3], "FM"[i % 2]))
    with open(folder / "labels.csv", "w", newline="") as out:
        csv.writer(out).writerows([("file", "patient", "blob", "shape", "sex"), *rows])
    return folder


@pytest.fixture(scope="session")
def archive(pictures, tmp_path_factory) -> Path:
    """The archive that `collect` makes of the pictures."""
    from overread.steps.collect import collect

    into = tmp_path_factory.mktemp("archive") / "archive"
    collect(pictures, into=into, labels=pictures / "labels.csv", patient="patient", workers=1, progress=False)
    return into


@pytest.fixture(scope="session")
def run(archive, tmp_path_factory) -> Path:
    """A finished run on the pictures: really trained, exported, calibrated and evaluated, in a few seconds.

    So many epochs and not so many seconds: what it has learned must not depend on how busy the machine is.
    """
    pytest.importorskip("keras")
    import re

    from overread.steps.plan import plan
    from overread.steps.train import train

    home = tmp_path_factory.mktemp("run")
    out, drawn = home / "run", home / "plan.toml"
    plan(archive, label="blob", network="residual", out=drawn, progress=False)
    drawn.write_text(re.sub(r"epochs = \d+", "epochs = 40", drawn.read_text()))
    train(archive, label="blob", plan=drawn, out=out, progress=False)
    return out
