"""Hosts of a Ray cluster on this machine: each with its own processes, object store and, where wanted, its own mounts."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

START = [sys.executable, "-c", "from ray.scripts.scripts import main; main()", "start", "--block"]
SMALL = ["--num-gpus=0", "--object-store-memory=80000000", "--disable-usage-stats"]


class Hosts:
    """A head and those that join it; ended by their own numbers, never by name."""

    def __init__(self, home: Path, *, path: str = "", cpus: int = 1) -> None:
        self.home, self.running, self.cpus = home, [], cpus
        token = os.environ.get("RAY_AUTH_TOKEN_PATH") or str(home / "token")  # Ray reads its own once in a process
        if not Path(token).exists():
            Path(token).write_text(secrets.token_hex(32))
        self.secret = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": token}
        path = os.pathsep.join(filter(None, (path, os.environ.get("PYTHONPATH"))))
        self.env = {**os.environ, **self.secret, "PYTHONPATH": path, "RAY_USAGE_STATS_ENABLED": "0"}
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.address = f"127.0.0.1:{self.port}"
        # a socket's path may have 107 characters, and pytest's folders are long
        self.folder = Path(tempfile.gettempdir(), f"r{secrets.token_hex(3)}")
        head = ["--head", f"--port={self.port}", f"--temp-dir={self.folder}", "--include-dashboard=false"]
        self._start(head)
        self._until(self._answers, "the head does not answer")

    def join(self, *before: str) -> int:
        """Start one more host; ``before``: a command that runs it (``unshare``). Returns its number."""
        self._start([f"--address={self.address}"], *before)
        return len(self.running) - 1

    def lose(self, number: int) -> None:
        """Kill a host with all its processes, as a pulled plug does."""
        process = self.running[number]
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def workers(self) -> list[int]:
        """Return the processes of Ray workers, all hosts together."""
        found = []
        for process in self.running:
            if process.poll() is None:
                found += [
                    pid for pid in _of_group(process.pid) if "ray::" in _words(pid) and "Agent" not in _words(pid)
                ]
        return found

    def end(self) -> None:
        for process in self.running:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        subprocess.run(["rm", "-rf", str(self.folder)], check=True)

    def _start(self, words: list[str], *before: str) -> None:
        log = open(self.home / f"host{len(self.running)}.log", "w")
        with log:
            self.running.append(
                subprocess.Popen(
                    [*before, *START, *words, *SMALL, f"--num-cpus={self.cpus}"],
                    env=self.env,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            )

    def _answers(self) -> bool:
        with socket.socket() as asked:
            return asked.connect_ex(("127.0.0.1", self.port)) == 0

    def _until(self, done, why: str, seconds: float = 60) -> None:
        end = time.monotonic() + seconds
        while not done():
            if time.monotonic() > end or self.running[-1].poll() is not None:
                said = (self.home / f"host{len(self.running) - 1}.log").read_text()
                self.end()
                raise RuntimeError(f"{why}: {said[-2000:]}")
            time.sleep(0.1)


def _of_group(group: int) -> list[int]:
    """Return the processes of a session."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and os.getsid(int(entry.name)) == group:
                found.append(int(entry.name))
        except ProcessLookupError:
            continue
    return found


def _words(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return ""
