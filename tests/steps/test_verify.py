"""`overread verify` says that a record is whole, or where it is not."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime

import numpy as np
import pytest

from overread import cli
from overread.domain import Image, Study
from overread.errors import IntegrityError, NothingToDo
from overread.steps.verify import verify
from overread.store.archive import Archive
from overread.store.journal import Journal

NOW = datetime(2026, 1, 5, 9, 30, tzinfo=UTC)


@pytest.fixture
def journal(tmp_path) -> Journal:
    (tmp_path / "signed-1.json").write_bytes(b"what was signed")
    journal = Journal(tmp_path / "journal.jsonl")
    journal.append("impression", {"study": "S0"}, now=NOW)
    digest = hashlib.sha256(b"what was signed").hexdigest()
    journal.append("signed", {"study": "S0", "files": {"signed-1.json": digest}}, now=NOW)
    return journal


def test_a_whole_record_is_counted_and_its_head_is_told(journal, tmp_path):
    for path in (journal.path, tmp_path):
        told = verify(path)
        assert (told.records, told.signatures, told.head) == (2, 1, journal.head[1])
        assert str(told).startswith(
            "2 records whole and in order (1 impression, 1 signed)\n1 signature and 0 reports of the machine, every file"
        )


def test_the_account_is_there_for_machines_too(journal, capsys):
    assert cli.main(["verify", str(journal.path), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    kinds = {"impression": 1, "signed": 1}
    assert told == {"records": 2, "signatures": 1, "reports": 0, "head": journal.head[1], "kinds": kinds}


def test_the_journal_of_an_inbox_is_found(tmp_path):
    (tmp_path / ".overread").mkdir()
    Journal(tmp_path / ".overread" / "journal.jsonl").append("opened", {}, now=NOW)
    assert verify(tmp_path).records == 1


def test_every_byte_of_an_archive_is_checked(tmp_path, capsys):
    with Archive.create(tmp_path / "a") as archive:
        names = [archive.put(Image(np.full((1, 8, 8), n, np.uint8))) for n in range(3)]
        archive.add(Study("S000000000001", (names[0],)))
    told = verify(tmp_path / "a", progress=False)
    assert str(told).splitlines() == [
        "3 images unchanged, voxels and geometry by their hash; 1 study with all its images",
        f"patients, answers, groups and divisions as they were written; seal {told.seal[:16]}",
        "2 images belong to no study: a collection was cut short; run the same overread collect again",
    ]
    assert cli.main(["verify", str(tmp_path / "a"), "--json", "--quiet"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "images": 3,
        "studies": 1,
        "reads": 0,
        "unclaimed": 2,
        "seal": told.seal,
    }
    file = tmp_path / "a" / "objects" / names[1][:2] / f"{names[1]}.npy"
    file.write_bytes(file.read_bytes()[:-1] + b"\xff")
    with pytest.raises(IntegrityError, match=names[1][:12]):
        verify(tmp_path / "a", progress=False)
    assert cli.main(["verify", str(tmp_path / "a"), "--quiet"]) == 1


def test_a_changed_document_is_named_by_its_record(journal, tmp_path):
    (tmp_path / "signed-1.json").write_bytes(b"something else")
    with pytest.raises(IntegrityError, match="document of record 2 was changed"):
        verify(tmp_path)


def test_a_broken_chain_is_refused(journal):
    journal.path.write_bytes(journal.path.read_bytes().replace(b"S0", b"S1", 1))
    with pytest.raises(IntegrityError, match="record 1"):
        verify(journal.path)


def test_no_journal_is_not_a_whole_one(tmp_path):
    with pytest.raises(NothingToDo):
        verify(tmp_path)
