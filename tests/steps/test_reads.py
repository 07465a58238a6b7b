"""However many models are measured on one testing cohort, each is counted where they all meet, and no count can shrink."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest
from small_run import NOW as EARLY
from small_run import fill, small_run, spots

from overread import cli
from overread.errors import IntegrityError, NothingToDo, RunError
from overread.steps.compare import compare
from overread.steps.evaluate import evaluate
from overread.steps.reads import NAME, count
from overread.steps.run import read_json, write_json
from overread.steps.verify import verify
from overread.store.journal import Journal

NOW = datetime(2026, 1, 2, tzinfo=UTC)


@pytest.fixture
def places(tmp_path):
    runs = [tmp_path / f"run{i}" for i in range(3)]
    for folder in [*runs, tmp_path / "archive"]:
        folder.mkdir()
    return runs, tmp_path / "archive"


def test_the_third_model_says_so_and_reading_again_counts_no_model(places):
    runs, archive = places
    for i, run in enumerate(runs):
        found = count(run, archive, ["a", "b"], model=f"m{i}", own=True, now=NOW)
        assert (found.times, found.place, found.models) == (1, i + 1, i + 1)
    assert str(found) == "the 3rd model measured on this testing cohort"
    assert "the 3rd model measured" in found.warnings()[0]
    again = count(runs[0], archive, ["b", "a"], model="m0", own=True, now=NOW)
    assert (again.times, again.place, again.models) == (2, 1, 3)
    assert str(again).endswith("the 1st model measured on this testing cohort, of 3 by now")
    other = count(runs[0], archive, ["a", "c"], model="m0", own=True, now=NOW)
    assert (other.times, other.models, other.warnings()) == (1, 1, [])


def test_a_torn_line_is_put_aside_and_harms_no_other(places):
    runs, archive = places
    count(runs[0], archive, ["a"], model="m0", own=True, now=NOW)
    with open(archive / NAME, "a") as out:
        out.write('{"cohort": "torn')
    found = count(runs[1], archive, ["a"], model="m1", own=True, now=NOW)
    assert found.models == 2 and len(list(archive.glob(f"{NAME}.torn-*"))) == 1
    assert Journal(archive / NAME).verify() == 3


def test_where_the_archive_is_absent_or_cannot_be_written_it_is_said(places):
    runs, archive = places
    alone = count(runs[0], None, ["a"], model="m", own=True, now=NOW)
    assert "archive is not here" in alone.warnings()[0] and (alone.place, alone.models) == (None, None)
    assert str(alone).startswith("not known how many models were measured") and "1st" not in str(alone)
    (archive / f"{NAME}.lock").mkdir()  # refuses to be written, even for an administrator
    found = count(runs[1], archive, ["a"], model="m", own=True, now=NOW)
    assert found.models == 1 and "counted in the run only" in found.warnings()[0]


def test_a_touched_journal_of_the_archive_stops_the_next_count(places):
    runs, archive = places
    for run in runs[:2]:
        count(run, archive, ["a"], model=run.name, own=True, now=NOW)
    (archive / NAME).write_text((archive / NAME).read_text().replace("run0", "run1"))
    with pytest.raises(IntegrityError, match="record 1"):
        count(runs[2], archive, ["a"], model="run2", own=True, now=NOW)
    assert not (runs[2] / NAME).exists()


def test_a_copy_of_the_run_that_was_measured_too_and_a_new_archive_are_told(places):
    runs, archive = places
    for run in runs[:2]:
        found = count(run, archive, ["a"], model="m", own=True, now=NOW)
    assert found.times == 1 and found.models == 1 and "copies of the run" in found.warnings()[0]
    for path in archive.iterdir():
        path.unlink()
    count(runs[0], archive, ["a"], model="m", own=True, now=NOW)
    found = count(runs[0], archive, ["a"], model="m", own=True, now=NOW)
    assert found.times == 3 and "made anew" in found.warnings()[0]


def test_what_an_older_version_counted_is_taken_over_once(places):
    runs, archive = places
    count(runs[1], archive, ["a"], model="m", own=True, now=NOW)
    cohort = next(Journal(runs[1] / NAME).records())["record"]["cohort"]
    write_json(runs[0] / "reads.json", [{"cohort": cohort, "time": "2025-01-01", "own": True}] * 2)
    write_json(runs[0] / "metrics.json", {})
    assert count(runs[0], archive, ["a"], model="m", own=True, now=NOW).times == 3
    assert not (runs[0] / "reads.json").exists()
    assert count(runs[0], archive, ["a"], model="m", own=True, now=NOW).times == 4


# --- a whole run ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """A run evaluated once, compared with itself under another name, and evaluated again: four reads in two journals."""
    home = tmp_path_factory.mktemp("measured")
    pictures, there = spots(400, seed=1)
    with fill(home / "archive", pictures, [{"spot": bool(t)} for t in there]) as archive:
        run = small_run(home, archive, "spot")
    fresh = home / "fresh"
    shutil.copytree(run, fresh)
    evaluate(run, now=EARLY)
    shutil.copytree(run, home / "backup")
    compare(run, fresh, now=EARLY)
    evaluate(run, now=EARLY)
    return run, fresh, home / "backup"


def test_a_whole_run_is_verified_and_its_reads_are_told(measured, capsys):
    run, fresh, _ = measured
    told = verify(run)
    assert told.reads == {"evaluate": 2, "compare": 1} and told.figures == 3 and told.files > 5
    assert "reads of testing cohorts, whole and in order: 1 by compare, 2 by evaluate" in str(told)
    assert verify(run / NAME).head == told.head
    assert verify(fresh).reads == {"compare": 1} and verify(fresh).figures == 0
    assert cli.main(["verify", str(run), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["head"] == told.head


def test_the_archive_tells_its_own_count(measured):
    run, _, _ = measured
    assert verify(read_json(run / "plan.json")["archive"], progress=False).reads == 4


def _without(n):
    def change(run: Path, _) -> None:
        lines = (run / NAME).read_text().splitlines(keepends=True)
        del lines[n]
        (run / NAME).write_text("".join(lines))

    return change


def _altered(run: Path, _) -> None:
    (run / NAME).write_text((run / NAME).read_text().replace('"by":"compare"', '"by":"explain"'))


def _twice(run: Path, _) -> None:
    lines = (run / NAME).read_text().splitlines(keepends=True)
    (run / NAME).write_text("".join([lines[0], *lines]))


def _cut_with_its_head(run: Path, backup: Path) -> None:
    """Put back the journal of the first evaluation, head and all, beside the figures of the second."""
    for name in (NAME, f"{NAME}.head"):
        shutil.copy(backup / name, run / name)


def _gone(*names):
    def change(run: Path, _) -> None:
        for name in names:
            (run / name).unlink()

    return change


def _all_but_the_maps(run: Path, _) -> None:
    """Everything that tells of the evaluation is taken out, but for the verdict on the heat-maps that it left."""
    for name in (NAME, f"{NAME}.head", "metrics.json", "report.json"):
        (run / name).unlink()
    write_json(run / "card.json", {**read_json(run / "card.json"), "performance": {}})


def _figure_changed(name, figure='"value": 0.'):
    def change(run: Path, _) -> None:
        (run / name).write_text((run / name).read_text().replace(figure, figure + "9", 1))

    return change


def _of_another_model(run: Path, _) -> None:
    for name in (NAME, f"{NAME}.head"):
        (run / name).unlink()
    Journal(run / NAME).append("read", {"cohort": "c", "by": "evaluate", "model": "another", "own": True}, now=NOW)


TAMPERED = {
    "the first read removed": (_without(0), "record 1"),
    "a read in the middle removed": (_without(2), "record 3"),
    "the last record removed": (_without(-1), r"record \d+ is missing"),
    "a read altered": (_altered, r"record \d+ does not match its hash"),
    "a read put in": (_twice, "record 2"),
    "the journal deleted": (_gone(NAME), "ends after 0"),
    "its head deleted": (_gone(f"{NAME}.head"), "head is missing"),
    "journal and head deleted": (_gone(NAME, f"{NAME}.head"), "no record of the read behind them"),
    "all deleted but the verdict on the maps": (_all_but_the_maps, "no record of the read behind them"),
    "an older journal put back with its head": (_cut_with_its_head, "report.json does not hold the figures"),
    "another model's journal": (_of_another_model, "journal of another model"),
    "a figure changed": (_figure_changed("metrics.json"), "metrics.json does not hold"),
    "a figure of the page changed": (_figure_changed("report.json", " 0."), "report.json does not hold"),
    "a figure of the card changed": (_figure_changed("card.json"), "card.json does not hold"),
    "the figures deleted": (_gone("metrics.json"), "metrics.json does not hold"),
}


@pytest.mark.parametrize("how", TAMPERED)
def test_every_way_of_hiding_a_read_is_noticed(measured, tmp_path, how):
    run, _, backup = measured
    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    plan = read_json(copy / "plan.json")
    assert verify(copy).reads  # the twin: what is untouched is whole
    change, said = TAMPERED[how]
    change(copy, backup)
    with pytest.raises(IntegrityError, match=said):
        verify(copy)
    assert plan == read_json(copy / "plan.json") and cli.main(["verify", str(copy)]) == 1


@pytest.mark.parametrize("how", [name for name, (_, said) in TAMPERED.items() if "record" in said or "head" in said])
def test_nothing_is_measured_on_a_journal_that_was_touched(measured, tmp_path, how):
    run, fresh, backup = measured
    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    TAMPERED[how][0](copy, backup)
    before = {
        p.name: p.read_bytes() for p in copy.iterdir() if p.is_file() and p.suffix in (".json", ".jsonl", ".html")
    }
    for verb in (lambda: evaluate(copy, now=NOW), lambda: compare(copy, fresh, now=NOW)):
        with pytest.raises(IntegrityError):
            verb()
    assert all((copy / name).read_bytes() == content for name, content in before.items())


def test_a_read_that_cannot_be_recorded_is_not_made(measured, tmp_path):
    run, _, _ = measured
    copy = tmp_path / "run"
    shutil.copytree(run, copy, ignore=lambda _, names: [n for n in names if n.endswith(".lock")])
    (copy / f"{NAME}.lock").mkdir()
    before = (copy / "metrics.json").stat().st_mtime_ns
    with pytest.raises(OSError):
        evaluate(copy, now=NOW)
    assert (copy / "metrics.json").stat().st_mtime_ns == before


def test_a_folder_that_is_no_run_and_a_run_that_is_not_finished_are_refused(tmp_path):
    with pytest.raises(NothingToDo, match="no run"):
        verify(tmp_path)
    (tmp_path / "unfinished").write_text("{}")
    with pytest.raises(RunError, match="unfinished training"):
        verify(tmp_path)


@pytest.mark.parametrize("garbage", [b"precious\n", b'{"a":1}\n', bytes(range(256)) * 4 + b"\n", b"[]\n"])
def test_what_is_no_journal_is_refused_in_one_line_by_every_verb(measured, tmp_path, capsys, garbage):
    run, fresh, _ = measured
    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    (copy / NAME).write_bytes(garbage)
    for verb in (["evaluate", copy], ["report", copy], ["compare", copy, fresh], ["compare", fresh, copy]):
        assert cli.main([str(word) for word in verb]) == 1, verb
        assert "Traceback" not in capsys.readouterr().err
    assert (copy / NAME).read_bytes() == garbage


def test_a_torn_line_in_the_run_is_put_aside_before_it_is_asked_what_was_sealed(measured, tmp_path):
    run, _, _ = measured
    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    with open(copy / NAME, "a") as out:
        out.write('{"kind": "torn')
    with pytest.raises(IntegrityError, match="overread evaluate"):
        verify(copy)
    evaluate(copy, now=NOW)
    assert verify(copy).reads and list(copy.glob(f"{NAME}.torn-*"))


def test_figures_of_another_archive_that_were_removed_do_not_lock_the_run_for_ever(measured, tmp_path, capsys):
    run, fresh, _ = measured
    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    pictures, there = spots(60, seed=9)
    with fill(tmp_path / "other", pictures, [{"spot": bool(t)} for t in there], others=True):
        pass
    there = evaluate(copy, on=tmp_path / "other", now=NOW).report.parent
    assert verify(copy).figures == 5
    kept = shutil.copytree(there, tmp_path / "kept")
    shutil.rmtree(there)
    for verb in (["verify", copy], ["report", copy], ["compare", copy, fresh]):
        assert cli.main([str(word) for word in verb]) == 1
        said = capsys.readouterr().err
        assert "--on ARCHIVE" in said and there.name in said
    told = evaluate(copy, now=NOW)  # the archive is gone for good: the journal says that they were removed
    assert any("removed" in line for line in told.page["warnings"])
    assert any(there.name in note for note in verify(copy).notes) and verify(copy).figures == 3
    assert compare(copy, fresh, now=NOW).images and not any(
        "removed" in line for line in evaluate(copy, now=NOW).page["warnings"]
    )
    shutil.copytree(kept, there)  # put back as it was
    assert verify(copy).figures == 5
    write_json(there / "metrics.json", read_json(there / "metrics.json") | {"overread": "0"})  # and not otherwise
    with pytest.raises(IntegrityError, match="does not hold the figures"):
        verify(copy)


def test_what_was_removed_and_measured_again_is_missed_again(measured, tmp_path):
    run, _, _ = measured
    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    pictures, there = spots(60, seed=9)
    with fill(tmp_path / "other", pictures, [{"spot": bool(t)} for t in there], others=True):
        pass
    place = evaluate(copy, on=tmp_path / "other", now=NOW).report.parent
    shutil.rmtree(place)
    evaluate(copy, on=tmp_path / "other", now=NOW)
    assert verify(copy).figures == 5
    shutil.rmtree(place)
    with pytest.raises(IntegrityError, match="was removed"):
        verify(copy)
