"""`overread serve` as a person starts and stops it."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
import urllib.request

from small_hospital import deliver

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
