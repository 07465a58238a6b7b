"""The walk: every file once, in order, in little memory, wherever it lies."""

from __future__ import annotations

import os
import tracemalloc
from pathlib import Path

import pytest

from overread.formats import walk
from overread.formats.door import candidates, ignored, scan
from overread.formats.jobs import Job, Jobs, Part, Spool


def names(*sources: Path, **words) -> list[str]:
    return [part.name for job in candidates(sources, **words) for part in job.parts]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "tree"
    for name in ("b/z.txt", "b/a.txt", "a/m.txt", "c.txt", "a/n/x.txt", ".git/config", "a-b/q.txt"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
    return root


def test_files_come_sorted_those_of_a_folder_before_its_subfolders(tree: Path) -> None:
    expected = [os.path.join(f, n) for f, folders, files in os.walk(tree) if not folders.sort() for n in sorted(files)]
    hidden = [n for n in expected if ".git" in n]
    assert names(tree) == [n for n in expected if n not in hidden] + hidden
    assert ignored(candidates(tree)) == 1


def test_a_folder_of_many_files_is_sorted_on_disk_alike(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for i in range(57):
        (tree / "b" / f"é{i}😀.txt").write_text("x")
    before = names(tree)
    monkeypatch.setattr(walk, "_FEW", 5)
    assert names(tree) == before


def test_names_that_are_no_unicode_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = os.path.join(os.fsencode(tmp_path), b"caf\xe9\xff.txt")
    with open(file, "wb") as out:
        out.write(b"text")
    monkeypatch.setattr(walk, "_FEW", 1)
    assert names(tmp_path) == [os.fsdecode(file)]
    assert [r.code for r in scan(tmp_path)] == ["not-an-image"]


def test_sources_that_overlap_offer_each_file_once(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    once = names(tree)
    assert names(tree, tree / "b", tree / "c.txt", tree) == once
    assert sorted(names(tree / "b", tree)) == sorted(once)
    monkeypatch.chdir(tree)
    assert len(names(Path("b/z.txt"), tree)) == len(once)


def test_what_lies_behind_a_link_is_offered_when_it_is_named_itself(tree: Path, tmp_path: Path) -> None:
    (tmp_path / "else").mkdir()
    (tmp_path / "else" / "far.txt").write_text("far")
    (tree / "link").symlink_to(tmp_path / "else")
    assert not any("far" in n for n in names(tree))
    assert names(tree, tree / "link")[-2].endswith("far.txt")  # the hidden file is told last


def test_a_folder_may_be_left_out(tree: Path) -> None:
    assert not any("/a/" in n for n in names(tree, skip=lambda folder: os.path.basename(folder) == "a"))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may list every folder")
def test_a_folder_that_cannot_be_listed_is_named(tree: Path) -> None:
    (tree / "b").chmod(0)
    try:
        assert {r.file: r.code for r in scan(tree)}[str(tree / "b") + os.sep] == "unreadable"
    finally:
        (tree / "b").chmod(0o700)


def test_a_list_of_jobs_can_be_walked_again_and_while_it_grows() -> None:
    jobs = Jobs()
    jobs.ignore(Part(".x", ".x"))
    for i in range(2500):
        jobs.add_to_series(("P", "S", str(i % 3)), Part(f"{i}", f"{i}"))
        jobs.add("files", Part(f"a.zip!{i}", "a.zip", f"{i}"))
    first = list(jobs)
    assert list(jobs) == first
    assert len(jobs) == len(first) - 1 == 3 + 20  # 2,500 members, 128 at a time; hidden files are one job more
    assert [len(job.parts) for job in first if job.kind == "dicom"] == [834, 833, 833]
    assert first[-1] == Job("ignored", (Part(".x", ".x"),))
    assert {part.name for job in first for part in job.parts if job.kind == "files"} == {
        f"a.zip!{i}" for i in range(2500)
    }


def test_memory_does_not_grow_with_the_number_of_files() -> None:
    def peak(count: int) -> int:
        tracemalloc.start()
        jobs, spool = Jobs(), Spool()
        for start in range(0, count, 1000):
            spool.add([f"a rather long name of a file {i}.dcm" for i in range(start, start + 1000)])
        for name in spool:
            jobs.add_to_series(("P", "S", name[-8:-5]), Part(name, f"/a/folder/{name}"))
        assert sum(len(job.parts) for job in jobs) == count
        top = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return top

    few, many = peak(4_000), peak(40_000)
    assert many < 2 * few + (1 << 20)


def test_that_check_can_fail() -> None:
    tracemalloc.start()
    kept = [Part(f"a rather long name of a file {i}.dcm", f"{i}") for i in range(40_000)]
    assert tracemalloc.get_traced_memory()[1] > 4 << 20 and len(kept) == 40_000
    tracemalloc.stop()
