"""Whatever decides a figure is sealed or chained: an edited file is refused, or told loudly, by every command that reads it."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import socket
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from small_run import NOW, fill, small_run, spots

from overread import cli
from overread.domain import ModelCard
from overread.errors import IntegrityError, RunError
from overread.serve.app import serve
from overread.steps.compare import compare
from overread.steps.evaluate import evaluate
from overread.steps.explain import explain
from overread.steps.export import export
from overread.steps.figures import sealed_figures
from overread.steps.predict import predict
from overread.steps.printed import PAGES
from overread.steps.reads import NAME as READS
from overread.steps.report import report
from overread.steps.run import read_json, write_json
from overread.steps.verify import verify
from overread.store.journal import Journal

OWN = {"manifest.json", "answers.toml", "unfinished", READS, f"{READS}.head", f"{READS}.lock"}
"""Not sealed, as they are the seal, or what a human wrote, or a chain of their own."""


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A small run evaluated once on its own testing cohort and once on another archive; its archive beside it."""
    home = tmp_path_factory.mktemp("sealed")
    pictures, there = spots(240, seed=1)
    with fill(home / "archive", pictures, [{"spot": bool(t)} for t in there]) as archive:
        run = small_run(home, archive, "spot")
    strange, known = spots(80, seed=77)
    with fill(home / "other", strange, [{"spot": bool(t)} for t in known]):
        pass
    evaluate(run, now=NOW)
    evaluate(run, on=home / "other", now=NOW)
    return run


@pytest.fixture
def copy(done, tmp_path):
    shutil.copytree(done, tmp_path / "run")
    return tmp_path / "run"


@pytest.fixture
def away(done):
    """Take the archive away, and put it back at the end."""
    there, hidden = done.parent / "archive", done.parent / "hidden"
    yield lambda: there.rename(hidden)
    if hidden.exists():
        hidden.rename(there)


def resealed(run: Path, *names: str) -> None:
    """Write the hashes of changed files into the manifest, as anybody can."""
    manifest = read_json(run / "manifest.json")
    manifest["files"] |= {name: hashlib.sha256((run / name).read_bytes()).hexdigest() for name in names}
    write_json(run / "manifest.json", manifest)


def edit(path: Path) -> None:
    text = path.read_text()
    changed = text.replace("0.", "0.9", 1) if path.name != "heatmaps.json" else text.replace("false", "true", 1)
    path.write_text(changed if changed != text else text.replace("true", "false", 1))
    assert path.read_text() != text


def flatten_floor(run: Path) -> None:
    """Make the simple models as bad as chance."""
    with np.load(run / "floor.npz") as held:
        arrays = {name: held[name] for name in held.files}
    np.savez(run / "floor.npz", **{k: v * 0 + 0.5 if k.endswith("testing") else v for k, v in arrays.items()})


# --- report -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["report.json", "metrics.json", "card.json", "heatmaps.json", "scores.csv"])
def test_edited_figures_are_not_printed(copy, tmp_path, capsys, name):
    assert report(copy).report.is_file()  # the twin
    before = {p: (copy / p).read_bytes() for p in ("report.html", "card.md", "card.xml")}
    if name == "report.json":
        kept = json.loads((copy / name).read_text())
        kept["page"]["answer"] = str(kept["page"]["answer"]).replace("0.", "0.9")
        (copy / name).write_text(json.dumps(kept))
    else:
        edit(copy / name)
    with pytest.raises(IntegrityError, match=name.replace(".", r"\.")):
        report(copy)
    with pytest.raises(IntegrityError):
        report(copy, pdf=tmp_path / "r.pdf")
    assert not (tmp_path / "r.pdf").exists()
    assert before == {p: (copy / p).read_bytes() for p in before}
    assert cli.main(["report", str(copy)]) == 1
    assert len(capsys.readouterr().err.strip().splitlines()) == 1


@pytest.mark.parametrize("name", ["report.html", "card.md", "card.xml", "on"])
def test_an_edited_page_is_refused_by_verify_until_it_is_written_again(copy, name):
    assert "not compared" not in str(verify(copy))  # the twin
    place = next(copy.glob("on-*")) if name == "on" else copy
    page = place / ("report.html" if name == "on" else name)
    page.write_text(page.read_text().replace("0.", "0.9", 1))
    with pytest.raises(IntegrityError, match=rf"{re.escape(page.name)} is not the page that was written"):
        verify(copy)
    report(place)
    assert verify(copy).figures
    older(copy, "page")
    assert "report.html, card.md, card.xml, " in str(verify(copy)) and "not compared" in str(verify(copy))


def test_the_page_of_another_archive_is_refused_when_edited_and_when_it_was_laid_there(copy):
    other = next(copy.glob("on-*"))
    assert report(other).report.is_file()
    shutil.copytree(other, copy / "mine")
    with pytest.raises(IntegrityError, match="in no record"):
        report(copy / "mine")
    kept = json.loads((other / "report.json").read_text())
    kept["page"]["made"] = "some other day"
    (other / "report.json").write_text(json.dumps(kept))
    with pytest.raises(IntegrityError, match=r"on-.*report\.json"):
        report(other)


def test_figures_laid_into_a_copy_that_only_answers_are_refused(copy):
    write_json(copy / "manifest.json", {**read_json(copy / "manifest.json"), "left_out": []})
    for verb in (verify, report):
        with pytest.raises(IntegrityError, match="no record of the read behind them"):
            verb(copy)


# --- what answers -----------------------------------------------------------------------------------------------------


@pytest.fixture
def picture(tmp_path):
    Image.fromarray(spots(1, seed=5)[0][0]).save(tmp_path / "x.png")
    return tmp_path / "x.png"


@pytest.fixture
def answering(copy, picture, tmp_path, monkeypatch):
    """Every verb that answers for new images, or hands on what does."""
    opened = []
    monkeypatch.setattr("uvicorn.run", lambda *a, **k: opened.append(True))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    return {
        "predict": lambda: predict(copy, picture, out=tmp_path / "out", progress=False),
        "serve": lambda: serve(copy, inbox=inbox, port=port) or opened,
        "explain": lambda: explain(copy, picture, out=tmp_path / "maps", methods=("occlusion",), progress=False),
        "export": lambda: export(copy, out=tmp_path / "handed", format="run"),
        "export the graph": lambda: export(copy, out=tmp_path / "graph.onnx"),
    }


def bolder(run: Path) -> None:
    """Make the calibration say more than it knows."""
    kept = read_json(run / "calibration.json")
    kept["operating_points"]["spot"]["threshold"] /= 2
    write_json(run / "calibration.json", kept)


def with_a_new_manifest(run: Path) -> None:
    bolder(run)
    resealed(run, "calibration.json")


def with_a_new_manifest_and_card(run: Path) -> None:
    with_a_new_manifest(run)
    card = read_json(run / "card.json")
    card["hashes"]["calibration.json"] = read_json(run / "manifest.json")["files"]["calibration.json"]
    write_json(run / "card.json", card)
    known = {k: v for k, v in card.items() if k in ModelCard.__dataclass_fields__}
    made = ModelCard(**{**known, "limits": tuple(card["limits"])})
    write_json(run / "manifest.json", {**read_json(run / "manifest.json"), "card": made.fingerprint})


def with_all_anew_and_no_journal(run: Path) -> None:
    with_a_new_manifest_and_card(run)
    for path in run.glob(f"{READS}*"):
        path.unlink()


def with_a_record_less(run: Path) -> None:
    lines = (run / READS).read_text().splitlines(keepends=True)
    (run / READS).write_text("".join(lines[1:]))


@pytest.mark.parametrize(
    "tampered",
    [bolder, with_a_new_manifest, with_a_new_manifest_and_card, with_all_anew_and_no_journal, with_a_record_less],
)
def test_a_model_that_is_not_as_it_was_recorded_answers_nothing(copy, answering, tampered):
    tampered(copy)
    for verb, act in answering.items():
        with pytest.raises(IntegrityError):
            act()
            pytest.fail(f"{verb} answered")


def test_twin_a_run_as_it_was_recorded_answers_and_one_with_edited_figures_says_so(copy, answering, capsys):
    assert all(act() for act in answering.values())
    assert "edited" not in str(answering["predict"]())
    edit(copy / "metrics.json")
    said = answering["predict"]()
    assert "! metrics.json was edited since it was measured; the model is the one that was trained" in str(said)
    assert [n[1] for n in said.notes] == ["edited-figures"]
    capsys.readouterr()
    assert answering["serve"]() and "! metrics.json was edited" in capsys.readouterr().err
    card = read_json(copy / "card.json")
    card["performance"]["cohort"] = "a better one"  # it stands on the reading page, and in the copy that is handed on
    write_json(copy / "card.json", card)
    for verb in ("serve", "export"):
        with pytest.raises(IntegrityError, match=r"card\.json"):
            answering[verb]()


def test_a_run_on_a_medium_that_nobody_can_write_answers(copy, answering, monkeypatch):
    (copy / f"{READS}.lock").unlink()
    monkeypatch.setattr("overread.store.journal.os.access", lambda *_: False)
    assert answering["predict"]().reads and not (copy / f"{READS}.lock").exists()


# --- what is laid beside, and what decides "better than the simple models" ---------------------------------------------


def test_an_edited_floor_is_refused_with_the_archive_and_without(copy, away):
    flatten_floor(copy)
    for verb in (verify, report, lambda run: evaluate(run, now=NOW)):
        with pytest.raises(IntegrityError, match=r"floor\.npz"):
            verb(copy)
    away()
    with pytest.raises(IntegrityError, match=r"floor\.npz"):
        evaluate(copy, now=NOW)


@pytest.mark.parametrize("name", ["shortcuts.json", "probes.json", "corruptions.json", "scores.seed-7.csv", "seen.npz"])
def test_what_was_laid_beside_the_sealed_files_is_refused_by_every_command_that_measures(copy, tmp_path, name):
    """A foreign file that would decide a warning, a spread or a figure; the twin is ``done``, which passes them all."""
    shutil.copytree(copy, tmp_path / "twin")
    if name == "seen.npz":
        manifest = read_json(copy / "manifest.json")
        left = {k: v for k, v in manifest["files"].items() if k != name}
        write_json(copy / "manifest.json", {**manifest, "files": left})
    else:
        shutil.copy(copy / ("scores.csv" if name.endswith("csv") else "split.json"), copy / name)
    reads = (copy / READS).read_bytes()
    other = copy.parent.parent / "none"
    for verb in (verify, report, evaluate, partial(evaluate, on=other), lambda run: compare(run, tmp_path / "twin")):
        with pytest.raises(IntegrityError, match=rf"{re.escape(name)} lies in the run without a seal"):
            verb(copy)
    assert (copy / READS).read_bytes() == reads  # and the testing cohort was not read


def test_a_floor_without_a_seal_decides_nothing(copy, away):
    away()
    assert "auroc" in evaluate(copy, now=NOW).metrics["floors"]["logistic_thumbnails"]["spot"]  # the twin
    manifest = read_json(copy / "manifest.json")
    write_json(
        copy / "manifest.json", {**manifest, "files": {k: v for k, v in manifest["files"].items() if k != "floor.npz"}}
    )
    flatten_floor(copy)
    assert "floor.npz is not sealed" in str(verify(copy))
    found = evaluate(copy, now=NOW)
    assert set(found.metrics["floors"]["logistic_thumbnails"]) == {"absent"}
    page = (copy / "report.html").read_text()
    assert "not known how many models were measured on this testing cohort" in page
    assert "1st model measured" not in page


def forge(run: Path) -> None:
    """Give every testing image a score that fits its truth."""
    rows = [line.split(",") for line in (run / "scores.csv").read_text().splitlines()]
    truth, logit = rows[0].index("truth:spot"), rows[0].index("logit:spot")
    for row in rows[1:]:
        row[logit] = ("6" if row[truth] == "1" else "-6") if row[0] == "testing" else row[logit]
    (run / "scores.csv").write_text("\n".join(",".join(row) for row in rows) + "\n")
    resealed(run, "scores.csv")


def older(run: Path, unknown: str = "sealed") -> None:
    """Leave what a version left that did not write one kind of record into its journal."""
    kept = [r for r in Journal(run / READS).records() if r["kind"] != unknown]
    for path in run.glob(f"{READS}*"):
        path.unlink()
    for r in kept:
        Journal(run / READS).append(r["kind"], r["record"], now=NOW)


@pytest.mark.parametrize("how", ["journal", "an older journal", "nothing measured yet", "the card forged, too"])
def test_forged_scores_with_their_new_hash_in_the_manifest_are_refused(copy, done, away, tmp_path, how):
    if how == "an older journal":
        older(copy)
        verify(copy), evaluate(copy, now=NOW)  # the twin: it is read as before, and the manifest is recorded now
        older(copy)
    if how == "nothing measured yet":
        for path in [*copy.glob(f"{READS}*"), *copy.glob("on-*/*.json"), copy / "metrics.json", copy / "report.json"]:
            path.unlink()
    forge(copy)
    if how == "the card forged, too":
        card = read_json(copy / "card.json")
        card["hashes"]["scores.csv"] = read_json(copy / "manifest.json")["files"]["scores.csv"]
        known = {k: v for k, v in card.items() if k in ModelCard.__dataclass_fields__}
        fingerprint = ModelCard(**{**known, "limits": tuple(known["limits"])}).fingerprint
        write_json(copy / "card.json", {**card, "fingerprint": fingerprint})
        write_json(copy / "manifest.json", {**read_json(copy / "manifest.json"), "card": fingerprint})
    away()
    other = done.parent / "other"
    verbs = {"evaluate": lambda: evaluate(copy, now=NOW), "on": lambda: evaluate(copy, on=other, now=NOW)}
    verbs |= {"verify": lambda: verify(copy), "report": lambda: report(copy), "compare": lambda: compare(copy, done)}
    shutil.copytree(done, tmp_path / "another")
    verbs |= {"seeds": lambda: evaluate(tmp_path / "another", seeds_from=[copy], now=NOW)}
    for verb in verbs.values():
        with pytest.raises(
            (IntegrityError, RunError), match=r"scores\.csv|card\.json|no report\.json|no record of the read"
        ) as refused:
            verb()
    if how != "nothing measured yet":
        assert "sealed anew" in str(refused.value)


@pytest.mark.parametrize("name", ["floor.npz", "heatmaps.json"])
def test_what_was_sealed_after_training_cannot_be_sealed_anew_by_hand(copy, name):
    flatten_floor(copy) if name == "floor.npz" else edit(copy / name)
    resealed(copy, name)
    for verb in (verify, report, lambda run: evaluate(run, now=NOW)):
        with pytest.raises(IntegrityError, match=f"{re.escape(name)} was sealed anew"):
            verb(copy)


@pytest.mark.parametrize("name", ["shortcuts.json", "scores.simple-cnn.csv", "scores.seed-3.csv", "probes.json"])
def test_what_is_laid_beside_the_sealed_files_is_not_printed(copy, name):
    (copy / name).write_text("{}")
    for verb in (verify, report):
        with pytest.raises(IntegrityError, match="without a seal"):
            verb(copy)


# --- evaluate and compare ----------------------------------------------------------------------------------------------


def test_figures_measured_anew_say_that_they_were_edited(copy, done):
    edit(copy / "metrics.json")
    with pytest.raises(IntegrityError, match=r"metrics\.json"):
        compare(copy, done, now=NOW)
    found = evaluate(copy, now=NOW)
    said = "The figures here were edited since they were measured (metrics.json)"
    assert said in str(found) and said in (copy / "report.html").read_text()
    assert "cut short" not in str(found)
    last = [r for r in Journal(copy / READS).records() if r["kind"] == "edited"]
    assert [set(r["record"]["files"]) for r in last] == [{"metrics.json"}]
    assert "edited figures were found" in str(verify(copy))
    assert said not in str(evaluate(copy, now=NOW))  # the twin: what is as it was written is not told of
    assert compare(copy, done, now=NOW).images


def test_an_edited_card_is_not_carried_to_another_archive(copy, done):
    edit(copy / "card.json")
    with pytest.raises((IntegrityError, RunError), match="card"):
        evaluate(copy, on=done.parent / "other", now=NOW)


def test_edited_figures_of_another_archive_stay_and_are_told(copy):
    edit(next(copy.glob("on-*")) / "metrics.json")
    assert "of another evaluation in this run were edited" in str(evaluate(copy, now=NOW))
    with pytest.raises(IntegrityError, match="on-"):
        verify(copy)


# --- the list ----------------------------------------------------------------------------------------------------------

WATCHED: dict[str, set[str]] = {}


def _watch(event: str, args: tuple) -> None:
    if event != "open" or not WATCHED or not isinstance(args[0], str | bytes):
        return
    path = Path(args[0].decode() if isinstance(args[0], bytes) else args[0])
    if "w" in str(args[1] or "") or path.suffix == ".part":
        return
    for home, names in WATCHED.items():
        if path.is_relative_to(home):
            names.add(path.relative_to(home).as_posix())


def loose(run: Path, act) -> list[str]:
    """Return which files of a run a command reads that were there before and are neither sealed nor chained."""
    there = {p.relative_to(run).as_posix() for p in run.rglob("*") if p.is_file()}
    WATCHED[str(run)] = names = set()
    try:
        act()
    finally:
        WATCHED.clear()
    assert names & {"manifest.json"}, "nothing was seen to be read"
    pages = {
        name for name in there if Path(name).name in PAGES
    }  # compared with the journal, and nothing is read of them
    return sorted(
        (names & there) - set(read_json(run / "manifest.json")["files"]) - set(sealed_figures(run)) - pages - OWN
    )


sys.addaudithook(_watch)  # quiet while nothing is watched


def test_all_that_a_command_reads_of_a_run_is_sealed_or_chained(copy, done, away, tmp_path):
    Image.fromarray(spots(1, seed=5)[0][0]).save(tmp_path / "x.png")
    acts = {
        "evaluate": lambda: evaluate(copy, now=NOW),
        "evaluate on": lambda: evaluate(copy, on=done.parent / "other", now=NOW),
        "report": lambda: report(copy),
        "compare": lambda: compare(copy, done, now=NOW),
        "predict": lambda: predict(copy, tmp_path / "x.png", out=tmp_path / "out", progress=False),
        "verify": lambda: verify(copy),
    }
    assert {verb: loose(copy, act) for verb, act in acts.items()} == {key: [] for key in acts}
    away()
    assert loose(copy, lambda: evaluate(copy, now=NOW)) == []
    (copy / "loose.txt").write_text("0.99")
    assert loose(copy, lambda: (report(copy), (copy / "loose.txt").read_text())) == ["loose.txt"]  # the twin
