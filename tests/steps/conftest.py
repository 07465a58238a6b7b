"""What the tests of this room share lies beside them: ``small_run`` makes a real run without a training framework."""

from __future__ import annotations

import shutil

import pytest
from painted import paint


@pytest.fixture
def films(tmp_path):
    """Eight pictures of four patients, one of them twice, one text file, and a table in the folder above."""
    folder = tmp_path / "films"
    for i in range(8):
        paint(folder / ("sick" if i % 2 else "well") / f"p{i // 2}_view{i}.png", seed=i)
    shutil.copy(folder / "sick" / "p0_view1.png", folder / "sick" / "p0_again.png")
    (folder / "readme.txt").write_text("These are films.\n")
    rows = [f"{p.relative_to(folder)},{p.name[:2]},{int('sick' in p.parts)}" for p in sorted(folder.rglob("*.png"))]
    (folder / "labels.csv").write_text("file,patient,ill\n" + "\n".join(rows) + "\n")
    return folder
