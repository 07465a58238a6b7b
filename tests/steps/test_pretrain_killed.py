"""`overread pretrain` killed in the middle: nothing half-written, and what goes on ends with the same start."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

import pytest

from tests.steps.small_run import fill, spots

pytest.importorskip("tensorflow")

COMMAND = "from overread.cli import main; import sys; sys.exit(main(sys.argv[1:]))"


def command(*words):
    return [sys.executable, "-c", COMMAND, *map(str, words)]


def finish(*words):
    """Run a command to its end; return its exit status and what it said."""
    done = subprocess.run(command(*words), capture_output=True, text=True, timeout=400)
    return done.returncode, done.stderr


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="kill -9 is a signal of POSIX systems")
def test_kill_9_of_a_pretraining_then_resume_gives_the_same_start(tmp_path):
    pictures, there = spots(200, seed=3)
    fill(tmp_path / "archive", pictures, [{"spot": bool(t)} if i < 120 else {} for i, t in enumerate(there)]).close()
    words = ("pretrain", tmp_path / "archive", "--label", "spot", "--epochs", 6, "--quiet")
    status, said = finish(*words, "--out", tmp_path / "whole")
    assert status == 0, said
    killed, checkpoint = tmp_path / "killed", tmp_path / "killed" / "checkpoint.npz"
    with subprocess.Popen(command(*words, "--out", killed), stderr=subprocess.DEVNULL) as process:
        end = time.monotonic() + 120
        while not checkpoint.exists() and time.monotonic() < end:
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
    assert checkpoint.exists()
    assert not (killed / "start.json").exists(), "it had finished before it was killed: the test shows nothing"
    status, said = finish(*words, "--out", killed)
    assert status == 1
    assert "--resume" in said
    status, said = finish(*words[:-3], "--epochs", 7, "--quiet", "--out", killed, "--resume")
    assert status == 1
    assert "other images or settings" in said
    status, said = finish(*words, "--out", killed, "--resume")
    assert status == 0, said
    assert (killed / "weights.npz").read_bytes() == (tmp_path / "whole" / "weights.npz").read_bytes()
