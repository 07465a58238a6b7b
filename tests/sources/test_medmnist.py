"""A published file is the published file, or it is told."""

from __future__ import annotations

import hashlib
import re

import numpy as np
import pytest
from local_site import Reply

from overread.errors import OverreadError, SourceError
from overread.sources import medmnist
from overread.sources.manners import Manners
from overread.sources.polite import Session


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
    digest = hashlib.md5(path.read_bytes()).hexdigest()
    entry = medmnist.Published("pneumoniamnist.npz", 60, "CC BY 4.0", digest)
    monkeypatch.setitem(medmnist.published(), "pneumoniamnist", entry)
    return path


@pytest.fixture
def session(clock):
    return Session(manners=Manners(robots=False), clock=clock, sleep=clock.sleep)


def test_the_published_file_is_taken_without_a_word(small):
    assert medmnist.given("pneumoniamnist", small) == (small, ())


def test_another_file_is_taken_and_told(small, tmp_path):
    changed = tmp_path / "rebuilt.npz"
    changed.write_bytes(small.read_bytes() + b"\0")
    path, notes = medmnist.given("pneumoniamnist", changed)
    assert path == changed and "not the published pneumoniamnist" in notes[0]


def test_a_download_is_checked_kept_and_not_asked_for_again(small, tmp_path, site, session):
    site.pages["/pneumoniamnist.npz"] = Reply(small.read_bytes())
    for asked in (1, 0):
        came = medmnist.fetch("pneumoniamnist", into=tmp_path / "sets", record=site.address, session=session)
        assert came.paths[0].read_bytes() == small.read_bytes() and came.asked == asked
        assert came.notes == ("pneumoniamnist: 60 images, CC BY 4.0; cite doi:10.1038/s41597-022-01721-8",)
    assert [a.path for a in site.asked] == ["/pneumoniamnist.npz?download=1"]
    assert [p.name for p in (tmp_path / "sets").iterdir()] == ["pneumoniamnist.npz"]


def test_a_damaged_download_is_refused_and_not_kept(small, tmp_path, site, session):
    site.pages["/pneumoniamnist.npz"] = Reply(small.read_bytes()[:-7])
    with pytest.raises(SourceError, match="another MD5"):
        medmnist.fetch("pneumoniamnist", into=tmp_path / "sets", record=site.address, session=session)
    assert list((tmp_path / "sets").iterdir()) == []


def test_a_broken_download_goes_on_where_it_stopped(small, tmp_path, site, session):
    content, proof = small.read_bytes(), {"ETag": '"a1"'}
    half = len(content) // 2

    def rest(asked):
        assert asked.head["Range"] == f"bytes={half}-" and asked.head["If-Range"] == '"a1"'
        span = {"Content-Range": f"bytes {half}-{len(content) - 1}/{len(content)}"}
        return Reply(content[half:], status=206, head=proof | span)

    first = Reply(content[:half], head=proof, length=len(content))
    site.pages["/pneumoniamnist.npz"] = [first, rest]
    came = medmnist.fetch("pneumoniamnist", into=tmp_path / "sets", record=site.address, session=session)
    assert came.paths[0].read_bytes() == content and len(site.asked) == 2


def test_no_network_is_one_clear_line(tmp_path, session):
    with pytest.raises(SourceError, match=r"no way to the MedMNIST record.*--file") as refusal:
        medmnist.fetch("pneumoniamnist", into=tmp_path, record="http://127.0.0.1:9/", session=session)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("name", ["kneemnist", "pathmnist_32", "organmnist3d_224", ""])
def test_a_set_without_a_published_checksum_is_refused_before_anything_is_asked(name, tmp_path, session):
    with pytest.raises(OverreadError, match="no checksum is published"):
        medmnist.fetch(name, into=tmp_path, session=session)
    assert session.asked == 0


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(OverreadError, match="check the path"):
        medmnist.given("pneumoniamnist", tmp_path / "no.npz")


def test_the_table_is_whole_and_agrees_with_published_files(shared_data):
    """12 flat sets in four sizes, 6 volumetric in two; of two of them the published file itself lies here."""
    table = medmnist.published()
    assert len(table) == 12 * 4 + 6 * 2 and len({entry.md5 for entry in table.values()}) == len(table)
    assert all(re.fullmatch("[0-9a-f]{32}", entry.md5) for entry in table.values())
    for name in ("retinamnist", "adrenalmnist3d"):
        path = shared_data / "medmnist" / f"{name}.npz"
        assert medmnist.md5(path) == table[name].md5
        with np.load(path, allow_pickle=False) as arrays:
            assert sum(len(arrays[f"{part}_labels"]) for part in ("train", "val", "test")) == table[name].images
