"""What a plan says of the computer."""

import os
import sys

import pytest

from overread.steps.machine import machine


@pytest.fixture
def tool(tmp_path, monkeypatch):
    """A driver's tool that prints what it is told to, or fails; the real one is not asked."""

    def made(script: str) -> None:
        path = tmp_path / "nvidia-smi"
        path.write_text(f"#!{sys.executable}\n{script}\n")
        path.chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path))

    return made


def test_a_container_has_its_share_of_the_memory_and_no_more(tmp_path):
    limit, none = tmp_path / "memory.max", tmp_path / "unlimited"
    limit.write_text("1500000000\n")
    none.write_text("max\n")
    whole = machine((none, tmp_path / "absent"))["memory_gb"]
    assert machine((none, limit))["memory_gb"] == min(1.5, whole)
    assert whole == pytest.approx(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, abs=0.06)


def test_graphics_processors_are_named(tool):
    tool("print('NVIDIA A2, 15356 MiB, 8.6\\nNVIDIA A2, 15356 MiB, 8.6')")
    assert machine()["gpus"] == ["NVIDIA A2, 15356 MiB, compute capability 8.6"] * 2


@pytest.mark.parametrize("script", ["import sys; sys.exit(9)", "print('no devices were found')", ""])
def test_a_driver_that_does_not_answer_is_none(tool, script):
    tool(script)
    assert "gpus" not in machine()
