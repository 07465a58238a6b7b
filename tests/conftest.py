"""What every test room shares: the real images, and one thread each so that tests do not fight over the cores."""

from __future__ import annotations

import os

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")  # before NumPy is first imported

from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of the real images beside the repository; the test is skipped, with the reason, where it is absent."""
    if not SHARED.is_dir():
        pytest.skip("the real images (../shared/data beside the repository) are not on this machine")
    return SHARED
