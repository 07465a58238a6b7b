"""An archive that a run was not trained on is measured without what the run has learned from, and what was not asked is said."""

from __future__ import annotations

import re
import shutil

import numpy as np
import pytest
from small_run import NOW, fill, sealed_again, small_run, spots

from overread.errors import RunError
from overread.steps import elsewhere
from overread.steps import leakage as certificates
from overread.steps.evaluate import evaluate
from overread.steps.run import read_json
from overread.store.archive import Archive

PICTURES, THERE = spots(360, seed=1, contrast=60)
LABELS = [{"spot": bool(t)} for t in THERE]
UNSEEN = "none of them in its training"


@pytest.fixture
def gone(tmp_path):
    """A run on a published split with 30 testing pictures of training, carried away from its archive; and its key."""
    pictures = np.concatenate([PICTURES, PICTURES[:30]])
    parts = ["train"] * 240 + ["test"] * 150
    with fill(tmp_path / "archive", pictures, [*LABELS, *LABELS[:30]], splits_as=parts) as archive:
        run, key = (
            small_run(tmp_path, archive, "spot", published="split", copies=certificates.find_copies(archive)),
            archive.key,
        )
    (tmp_path / "archive").rename(tmp_path / "far away")
    return run, key


def other(path, pictures, labels, *, key=None, **how):
    with fill(path, pictures, labels, **how) as archive:
        if key is not None:
            (archive.names / "key").chmod(0o600)
            (archive.names / "key").write_bytes(key)
    return path


def words(evaluation) -> str:
    html = re.sub(r"(?s)<(style|svg|script).*?</\1>", " ", evaluation.report.read_text(encoding="utf-8"))
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html))


def brighter(pictures):
    return np.clip(pictures.astype(int) + 12, 0, 255).astype(np.uint8)


def test_copies_stored_again_are_found_without_the_training_archive(gone, tmp_path):
    run, key = gone
    new, there = spots(40, seed=9, contrast=60)
    pictures = np.concatenate([new, brighter(PICTURES[:50])])
    labels = [{"spot": bool(t)} for t in (*there, *THERE[:50])]
    told = evaluate(run, on=other(tmp_path / "b", pictures, labels, key=key, others=True), now=NOW)
    found = told.metrics["leakage"]
    assert told.metrics["labels"]["spot"]["auroc"]["n"] == 40 and found["near_duplicates"] == "looked for"
    assert sum(counts["near"] for counts in found["overlaps"].values()) == 50
    assert found["not_compared"] == [] and UNSEEN in words(told)
    assert "all 90 images of the other archive that have an answer, less 50 that the run had learned from" in words(
        told
    )
    assert "50 of the 90 images of this archive were seen" in words(told) and "! 50 of the 90" in str(told)


def test_a_patient_whom_a_copy_tells_to_be_learned_from_is_left_out_with_all_images(gone, tmp_path):
    run, key = gone
    new, there = spots(120, seed=9, contrast=60)
    new[:20:4] = brighter(PICTURES[:20:4])  # one of the four pictures of the first five patients, under another name
    path = other(tmp_path / "b", new, [{"spot": bool(t)} for t in there], key=key, others=True)
    told = evaluate(run, on=path, now=NOW)
    why = told.metrics["leakage"]["excluded"]["testing"]
    assert sum(n for w, n in why.items() if w.startswith("a near copy of the picture stands in")) == 5
    assert sum(n for w, n in why.items() if w.startswith("another picture of the same patient stands in")) == 15
    assert told.metrics["unit"]["images"] == 100 and told.metrics["unit"]["patients"] == 25
    assert "another picture of the same patient stands in" in words(told)


def test_nothing_but_copies_is_measured_and_called_too_good(gone, tmp_path):
    run, key = gone
    told = evaluate(
        run, on=other(tmp_path / "b", brighter(PICTURES[:120]), LABELS[:120], key=key, others=True), now=NOW
    )
    assert told.metrics["labels"]["spot"]["auroc"]["n"] == 120
    assert "almost all of the 120 images of this archive were seen" in words(told) and UNSEEN not in words(told)
    assert "It is counted in the figures all the same" in words(told)


def test_a_run_that_keeps_no_signatures_says_on_top_that_copies_were_not_looked_for(gone, tmp_path):
    run, key = gone
    (run / elsewhere.NAME).unlink()
    there = other(tmp_path / "b", brighter(PICTURES[:120]), LABELS[:120], key=key, others=True)
    with pytest.raises(RunError, match=r"no seen\.npz"):
        evaluate(run, on=there, now=NOW)  # it is sealed: it cannot be taken out unnoticed
    sealed_again(run)
    told = evaluate(run, on=there, now=NOW)
    assert told.metrics["leakage"]["near_duplicates"] == "not looked for"
    assert told.page["warnings"][0].startswith("near copies of what the network learned from could not be looked for")
    assert UNSEEN not in words(told) and "! near copies" in str(told)
    (tmp_path / "far away").rename(tmp_path / "archive")  # an older run whose archive is here is asked there
    shutil.move(tmp_path / "far away.names", tmp_path / "archive.names") if (
        tmp_path / "far away.names"
    ).exists() else None
    assert evaluate(run, on=there, now=NOW).metrics["leakage"]["near_duplicates"] == "looked for"


def test_other_pictures_of_patients_it_learned_from_do_not_count(gone, tmp_path):
    run, key = gone
    films, there = spots(360, seed=99, contrast=60)  # new films; the first 60 patients are those of training
    told = evaluate(run, on=other(tmp_path / "b", films, [{"spot": bool(t)} for t in there], key=key), now=NOW)
    found = told.metrics["leakage"]
    learned = {
        e["patient"] for c, rows in read_json(run / "split.json")["cohorts"].items() if c != "testing" for e in rows
    }
    assert len(learned) == 60 and told.metrics["unit"]["patients"] == 90 - 60
    assert sum(counts["patients"] for counts in found["overlaps"].values()) == 60
    assert all("the same patient stands in" in why for why in found["excluded"]["testing"])
    assert "240 of the 360 images of this archive were seen" in words(told)


@pytest.mark.parametrize("how", ["another key", "no key", "no patients", "one key"])
def test_where_patients_cannot_be_compared_that_stands_on_top(gone, tmp_path, how):
    run, key = gone
    films, there = spots(60, seed=99, contrast=60)
    labels = [{"spot": bool(t)} for t in there]
    keyed = None if how == "another key" else key
    path = other(tmp_path / "b", films, labels, key=keyed, others=True, patients=how != "no patients")
    if how == "no key":
        shutil.rmtree(tmp_path / "b.names")
    told = evaluate(run, on=path, now=NOW)
    why = {
        "another key": "made their pseudonyms with different keys", "no key": "nobody can say whether",
        "no patients": "60 images of this archive do not say whose they are",
    }.get(how)  # fmt: skip
    top = told.page["warnings"]
    assert told.metrics["unit"]["images"] == 60
    if why is None:
        assert not any("compared" in w for w in top) and UNSEEN in words(told)
    else:
        assert top[0].startswith("patients could not be compared") and why in top[0] and UNSEEN not in words(told)


def test_the_certificate_in_a_report_on_another_archive_is_of_that_archive(gone, tmp_path):
    run, key = gone
    films, there = spots(60, seed=99, contrast=60)
    told = evaluate(
        run, on=other(tmp_path / "b", films, [{"spot": bool(t)} for t in there], key=key, others=True), now=NOW
    )
    assert sum(row["exact"] for row in read_json(run / "leakage.json")["overlaps"].values()) == 30  # at home it leaks
    assert set(told.metrics["leakage"]["overlaps"]) == {f"{c}|testing" for c in ("training", "tuning", "calibration")}
    assert not any(n for row in told.metrics["leakage"]["overlaps"].values() for n in row.values())
    page = words(told)
    assert "no near copy of one, of this archive stands in what the run learned from" in page
    assert "testing images also stand in" not in page and "training and testing" not in page
    assert "Measured are all 60 images of the other archive that have an answer: nothing of it was divided." in page
    assert (
        "the 1st model measured on these images of the other archive" in page and "measured on this testing" not in page
    )
    last = read_json(told.report.parent / "report.json")["page"]["cohorts"][-1]
    assert (last["name"], last["images"], last["patients"]) == ("other archive", "60", "15")
    assert last["labels"] == [f"{there.sum():,}"] and "The last row is what the figures below are of." in page
    assert "In more than one cohort:" not in page and "The four cohorts that the run was trained with." in page


def test_a_mark_tells_keys_apart_and_is_not_the_key(tmp_path):
    with Archive.create(tmp_path / "a") as a, Archive.create(tmp_path / "b") as b:
        marks = elsewhere.mark_of(a), elsewhere.mark_of(b)
        assert marks[0] != marks[1] and marks[0] == elsewhere.mark_of(a)
        assert a.key.hex()[:16] not in marks
        shutil.rmtree(a.names)
        assert elsewhere.mark_of(a) == ""


@pytest.mark.parametrize("how", ["byte for byte", "stored again", "stored again, and older"])
def test_its_own_testing_cohort_is_no_test_elsewhere(gone, tmp_path, how):
    run, key = gone
    if how.endswith(
        "older"
    ):  # a run from before the signatures of testing were kept: what is stored again is not found
        with np.load(run / elsewhere.NAME) as kept:
            old = {k: kept[k] for k in ("images", "signatures", "key")}
        np.savez(run / elsewhere.NAME, **old)
        sealed_again(run)
    films = PICTURES[240:] if how == "byte for byte" else brighter(PICTURES[240:])
    told = evaluate(run, on=other(tmp_path / "b", films, LABELS[240:], key=key, others=True), now=NOW)
    found = told.metrics["leakage"]["own_testing"]
    if how.endswith("older"):
        assert found == {"same": 0, "near": None, "patients": 0} and "near copies of it were not looked for" in words(
            told
        )
        return
    assert found == {"same": 120 * (how == "byte for byte"), "near": 120 * (how != "byte for byte"), "patients": 0}
    assert "! 120 of the 120 images measured here are the run's own testing images" in str(told)
    assert "yes: another archive" not in words(told) and "no: 120 of the 120 images" in words(told)
    assert "Nor does anything of the run" not in words(told)
    again = evaluate(run, now=NOW)
    assert again.page["reads"] == 2  # what was read elsewhere was its own testing cohort


def test_the_read_of_its_own_cohort_elsewhere_is_told_as_that(gone, tmp_path):
    run, key = gone
    evaluate(run, now=NOW)
    new, there = spots(40, seed=9, contrast=60)
    labels = [*LABELS[240:], *({"spot": bool(t)} for t in there)]
    mixed = other(tmp_path / "b", np.concatenate([PICTURES[240:], new]), labels, key=key, others=True)
    told = evaluate(run, on=mixed, now=NOW)
    assert told.page["reads"] == 2 and "120 of the 160 images measured here" in str(told)


def test_another_archive_that_holds_nothing_of_the_run_is_a_test_elsewhere(gone, tmp_path):
    run, key = gone
    new, there = spots(40, seed=9, contrast=60)
    told = evaluate(
        run, on=other(tmp_path / "b", new, [{"spot": bool(t)} for t in there], key=key, others=True), now=NOW
    )
    assert told.metrics["leakage"]["own_testing"] == {"same": 0, "near": 0, "patients": 0}
    assert "yes: another archive" in words(told) and "Nor does anything of the run" in words(told)
    assert evaluate(run, now=NOW).page["reads"] == 1


def test_the_training_archive_is_no_test_elsewhere(gone, tmp_path):
    run, _ = gone
    home = tmp_path / "far away"
    told = evaluate(run, on=home, now=NOW)
    assert told.metrics["leakage"]["own_testing"]["same"] == told.metrics["unit"]["images"] > 0
    assert "yes: another archive" not in words(told)
