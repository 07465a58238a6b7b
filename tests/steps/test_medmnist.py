"""A published file is the published file, or it is told."""

from __future__ import annotations

import hashlib
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import numpy as np
import pytest

from overread.errors import OverreadError
from overread.formats.door import scan
from overread.formats.found import Found
from overread.steps import medmnist


@pytest.fixture
def small(tmp_path, monkeypatch):
    """A tiny file of the same form, entered as the published one."""
    rng = np.random.default_rng(0)
    arrays = {}
    for part, n in (("train", 30), ("val", 10), ("test", 20)):
        arrays[f"{part}_images"] = rng.integers(0, 256, (n, 28, 28), dtype=np.uint8)
        arrays[f"{part}_labels"] = rng.integers(0, 2, (n, 1))
    path = tmp_path / "mine.npz"
    np.savez(path, **arrays)
    content = path.read_bytes()
    monkeypatch.setitem(medmnist.MD5, "pneumoniamnist", hashlib.md5(content).hexdigest())
    return path


@pytest.fixture
def record(monkeypatch):
    """A record on this computer: a function that says what it shall hold; returns the list of paths asked for."""
    asked, held = [], [b""]

    class Record(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(held[0])

        def log_message(self, *words):
            return

    server = HTTPServer(("127.0.0.1", 0), Record)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(medmnist, "RECORD", f"http://127.0.0.1:{server.server_port}/files/{{name}}.npz?download=1")

    def hold(content: bytes) -> list[str]:
        held[0] = content
        return asked

    yield hold
    server.shutdown()
    thread.join()
    server.server_close()


def test_the_published_file_is_taken_without_a_word(small, tmp_path):
    assert medmnist.fetch("pneumoniamnist", file=small, into=tmp_path) == (small, ())


def test_another_file_is_taken_and_told(small, tmp_path):
    changed = tmp_path / "rebuilt.npz"
    changed.write_bytes(small.read_bytes() + b"\0")
    path, notes = medmnist.fetch("pneumoniamnist", file=changed, into=tmp_path)
    assert path == changed and "not the published pneumoniamnist" in notes[0]


def test_a_download_is_checked_and_kept(small, tmp_path, record):
    asked = record(small.read_bytes())
    path, notes = medmnist.fetch("pneumoniamnist", file=None, into=tmp_path)
    assert path.read_bytes() == small.read_bytes() and notes == ()
    assert asked == ["/files/pneumoniamnist.npz?download=1"]


def test_a_damaged_download_is_refused_and_not_kept(small, tmp_path, record):
    record(small.read_bytes()[:-7])
    with pytest.raises(OverreadError, match="another MD5"):
        medmnist.fetch("pneumoniamnist", file=None, into=tmp_path / "empty")
    assert not (tmp_path / "empty").exists()


def test_no_network_is_one_clear_line(tmp_path, monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(medmnist, "RECORD", "http://127.0.0.1:9/{name}.npz")  # nobody listens there
    with pytest.raises(OverreadError, match=r"no way to the MedMNIST record.*--file") as refusal:
        medmnist.fetch("pneumoniamnist", file=None, into=tmp_path)
    assert "\n" not in str(refusal.value)


def test_unknown_sets_and_missing_files_are_refused(tmp_path):
    with pytest.raises(OverreadError, match="expected pneumoniamnist"):
        medmnist.fetch("kneemnist", file=None, into=tmp_path)
    with pytest.raises(OverreadError, match="check the path"):
        medmnist.fetch("pneumoniamnist", file=tmp_path / "no.npz", into=tmp_path)


def test_a_few_images_come_through_the_door(small, tmp_path):
    few = medmnist.few_images(small, tmp_path / "few", count=5)
    found = list(scan(few))
    assert len(found) == 5 and all(isinstance(f, Found) for f in found)
    with np.load(small) as whole:
        assert np.array_equal(found[0].image.voxels[0], whole["test_images"][0])
