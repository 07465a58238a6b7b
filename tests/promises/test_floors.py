"""A room imports only from lower floors; CI reads the rule from pyproject.toml."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def lint(root: Path) -> subprocess.CompletedProcess:
    words = [Path(sys.executable).with_name("lint-imports"), "--no-cache"]
    path = {**os.environ, "PYTHONPATH": str(root / "src")}
    return subprocess.run(words, cwd=root, env=path, capture_output=True, text=True, timeout=120)


def test_every_room_keeps_to_its_floor():
    told = lint(ROOT)
    assert told.returncode == 0, told.stdout


def test_the_rule_can_fail(tmp_path):
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    shutil.copytree(ROOT / "src", tmp_path / "src", ignore=shutil.ignore_patterns("__pycache__"))
    with open(tmp_path / "src/overread/domain/task.py", "a") as f:
        f.write("\nimport overread.store.archive\n")
    told = lint(tmp_path)
    assert told.returncode != 0
    assert "overread.domain is not allowed to import overread.store" in told.stdout
