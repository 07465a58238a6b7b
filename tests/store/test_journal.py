"""The journal keeps what happened, and shows when somebody has touched it."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from overread.errors import IntegrityError
from overread.store.journal import GENESIS, Journal, exclusive

NOW = datetime(2026, 1, 5, 9, 30, tzinfo=UTC)


def written(folder: Path, n: int = 5) -> Journal:
    journal = Journal(folder / "journal.jsonl")
    for i in range(n):
        journal.append("opened", {"study": f"S{i:012x}", "seconds": i / 3, "reader": "Curie^Marie"}, now=NOW)
    return journal


def test_each_record_is_hashed_over_the_one_before(tmp_path):
    journal = written(tmp_path)
    assert journal.verify() == 5
    previous = GENESIS
    for line in journal.path.read_text().splitlines():  # an independent recomputation, without our code
        entry = json.loads(line)
        claimed = entry.pop("hash")
        text = json.dumps(entry, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        assert hashlib.sha256(text.encode()).hexdigest() == claimed
        assert entry["previous"] == previous
        previous = claimed
    assert journal.head == (5, previous)


def test_an_empty_journal_has_no_records(tmp_path):
    journal = Journal(tmp_path / "journal.jsonl")
    assert journal.verify() == 0 and list(journal.records()) == [] and not journal.recover(now=NOW)


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_any_changed_byte_is_noticed(data, tmp_path_factory):
    journal = written(tmp_path_factory.mktemp("j"), 3)
    content = bytearray(journal.path.read_bytes())
    place = data.draw(st.integers(0, len(content) - 1))
    content[place] ^= data.draw(st.integers(1, 255))
    journal.path.write_bytes(bytes(content))
    with pytest.raises(IntegrityError):
        journal.verify()


@pytest.mark.parametrize(("cut", "named"), [(slice(0, 2), "record 3"), (slice(0, 0), "record 1")])
def test_a_cut_tail_is_noticed_though_the_chain_is_perfect(tmp_path, cut, named):
    journal = written(tmp_path)
    lines = journal.path.read_bytes().splitlines(keepends=True)
    journal.path.write_bytes(b"".join(lines[cut]))
    with pytest.raises(IntegrityError, match=named):
        journal.verify()
    with pytest.raises(IntegrityError):
        journal.append("opened", {}, now=NOW)


@pytest.mark.parametrize("change", ["remove", "swap", "insert", "rewrite"])
def test_the_first_broken_record_is_named(tmp_path, change):
    journal = written(tmp_path)
    lines = journal.path.read_bytes().splitlines(keepends=True)
    if change == "remove":
        del lines[1]
    elif change == "swap":
        lines[1], lines[2] = lines[2], lines[1]
    elif change == "insert":
        lines.insert(1, lines[0])
    else:  # a careful forger who also recomputes the hash of the record: the next one gives him away
        entry = json.loads(lines[0])
        entry["record"]["reader"] = "Nobody"
        entry.pop("hash")
        text = json.dumps(entry, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        entry["hash"] = hashlib.sha256(text.encode()).hexdigest()
        lines[0] = json.dumps(entry, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"
    journal.path.write_bytes(b"".join(lines))
    with pytest.raises(IntegrityError, match="record 2"):
        journal.verify()


def test_a_missing_head_is_noticed(tmp_path):
    journal = written(tmp_path)
    (tmp_path / "journal.jsonl.head").unlink()
    with pytest.raises(IntegrityError, match="head"):
        journal.verify()
    with pytest.raises(IntegrityError, match="head"):
        journal.append("opened", {}, now=NOW)


@pytest.mark.parametrize("torn", [b'{"hash":"12', b"\xff\x00", b"{}"])
def test_a_torn_tail_is_named_kept_and_the_journal_goes_on(tmp_path, torn):
    journal = written(tmp_path, 2)
    with journal.path.open("ab") as file:
        file.write(torn)
    with pytest.raises(IntegrityError, match="record 3 is torn"):
        journal.verify()
    journal.append("opened", {"study": "S0"}, now=NOW)
    assert journal.verify() == 4
    kinds = [r["kind"] for r in journal.records()]
    assert kinds == ["opened", "opened", "torn", "opened"]
    assert (tmp_path / "journal.jsonl.torn-3").read_bytes() == torn


def test_a_crash_between_record_and_head_loses_nothing(tmp_path):
    journal = written(tmp_path, 2)
    head = (tmp_path / "journal.jsonl.head").read_bytes()
    journal.append("signed", {"study": "S9"}, now=NOW)
    (tmp_path / "journal.jsonl.head").write_bytes(head)  # as a kill -9 just before the head was written leaves it
    assert journal.recover(now=NOW)
    assert journal.verify() == 3
    assert not journal.recover(now=NOW)


def test_a_forged_line_behind_the_head_is_refused(tmp_path):
    journal = written(tmp_path, 2)
    with journal.path.open("ab") as file:
        file.write(b'{"n":3}\n')
    with pytest.raises(IntegrityError, match="record 3"):
        journal.append("opened", {}, now=NOW)


def test_a_time_without_offset_is_refused(tmp_path):
    with pytest.raises(ValueError, match="offset"):
        Journal(tmp_path / "journal.jsonl").append("opened", {}, now=datetime(2026, 1, 5))


def test_a_long_record_does_not_hide_the_last_line(tmp_path):
    journal = written(tmp_path, 1)
    journal.append("long", {"text": "x" * 200_000}, now=NOW)
    journal.append("short", {}, now=NOW)
    journal.append("short", {}, now=NOW)
    assert journal.verify() == 4


def _append_many(path: str) -> None:
    for i in range(20):
        Journal(path).append("opened", {"i": i}, now=NOW)


def test_several_processes_write_one_chain(tmp_path):
    path = str(tmp_path / "journal.jsonl")
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_append_many, args=(path,)) for _ in range(3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert Journal(path).verify() == 60


def test_a_lock_that_is_held_says_so(tmp_path):
    with exclusive(tmp_path / "lock"), pytest.raises(BlockingIOError), exclusive(tmp_path / "lock", wait=False):
        pass
