"""`overread serve` as a person starts and stops it."""

from __future__ import annotations

import signal
import socket
import stat
import subprocess
import sys
import time
import urllib.request

import pytest
from small_hospital import deliver, write_run

from overread.steps.verify import verify


def start(run, *more: str) -> tuple[subprocess.Popen, int]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "overread.cli", "serve", str(run), "--port", str(port), *more]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True), port


def page(port: int, seconds: float = 60) -> str:
    end = time.monotonic() + seconds
    while True:
        try:
            return urllib.request.urlopen(f"http://127.0.0.1:{port}/reader", timeout=10).read().decode()
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.1)


def test_it_opens_drafts_what_arrives_and_closes(run, inbox):
    deliver(inbox, 1, 0.7)
    server, port = start(run, "--inbox", str(inbox), "--demo")
    try:
        assert "Who is reading?" in page(port) and "phantoms" in page(port)
        end = time.monotonic() + 60
        while not list(inbox.glob(".overread/studies/*/report.json")) and time.monotonic() < end:
            time.sleep(0.1)
        second, _ = start(run, "--inbox", str(inbox))  # the inbox is taken
        told = second.communicate(timeout=60)[1]
        assert second.returncode == 1 and "open in another server" in told
    finally:
        server.send_signal(signal.SIGINT)
        told = server.communicate(timeout=60)[1]
    assert f"http://127.0.0.1:{port}/" in told and "Traceback" not in told
    assert verify(inbox).kinds == {"report": 1}


def test_a_port_that_is_taken_is_refused_in_one_line(run, inbox):
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        port = busy.getsockname()[1]
        command = [sys.executable, "-m", "overread.cli", "serve", str(run), "--inbox", str(inbox), "--port", str(port)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1 and f"port {port} cannot be opened" in done.stderr and done.stderr.count("\n") == 1


@pytest.mark.parametrize("port", ["99999", "-1", "0"])
def test_a_port_that_there_is_not_is_refused_in_one_line(run, inbox, port):
    command = [sys.executable, "-m", "overread.cli", "serve", str(run), "--inbox", str(inbox), "--port", port]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1 and f"port {port}; expected 1 to 65535" in done.stderr and done.stderr.count("\n") == 1
    assert list(inbox.iterdir()) == []  # refused before anything was begun


def test_the_inbox_that_nobody_named_lies_beside_the_run_and_is_told(tmp_path):
    """A run may be handed on: names must not travel with it."""
    run = write_run(tmp_path / "run")
    before = sorted(run.rglob("*"))
    server, port = start(run)
    try:
        page(port)
    finally:
        server.send_signal(signal.SIGINT)
        told = server.communicate(timeout=60)[1]
    beside = tmp_path / "run.inbox"
    assert (beside / ".overread").is_dir() and stat.S_IMODE(beside.stat().st_mode) == 0o700
    assert f"on the inbox {beside};" in told and sorted(run.rglob("*")) == before
