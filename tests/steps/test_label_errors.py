"""Doubts on a run: real films with wrong labels put in, and a cohort that cannot be read."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest

keras = pytest.importorskip("keras")

from overread.learn import starts
from overread.steps import label_errors, reads
from overread.steps.collect import collect
from overread.store.archive import Archive

pytestmark = pytest.mark.skipif(not starts.available(), reason="the extra [starts] is not installed")


@pytest.fixture(scope="module")
def relabelled(shared_data, tmp_path_factory):
    """A run on 260 real films, 13 of them with the other label, and which these are."""
    from PIL import Image
    from small_run import small_run

    home = tmp_path_factory.mktemp("doubts")
    with open(shared_data / "chest_xray" / "labels.csv") as table:
        rows = [r for r in csv.DictReader(table) if r["published_split"] == "train"]
    rng = np.random.default_rng(0)
    chosen = [rows[i] for i in rng.choice(len(rows), 260, replace=False)]
    wrong = set(rng.choice(260, 13, replace=False).tolist())
    films = home / "films"
    films.mkdir()
    with open(films / "labels.csv", "w", newline="") as out:
        sheet = csv.writer(out)
        sheet.writerow(["file", "patient", "pneumonia", "planted"])
        for i, row in enumerate(chosen):
            Image.open(shared_data / "chest_xray" / row["file"]).convert("L").save(films / f"{i:03d}.png")
            says = int(row["pneumonia"]) ^ (i in wrong)
            sheet.writerow([f"{i:03d}.png", row["patient"], says, int(i in wrong)])
    collect(films, into=home / "archive", labels=films / "labels.csv", patient="patient", workers=1, progress=False)
    with Archive.open(home / "archive") as store:
        run = small_run(home, store, "pneumonia")
        planted = {s.pseudonym: bool(s.labels["planted"]) for s in store.studies()}
    return run, planted


def test_planted_errors_are_among_the_few_that_are_listed(relabelled):
    run, planted = relabelled
    found = label_errors.doubts(run, progress=False)
    (label,) = found.labels
    held = [e for c in label_errors.COHORTS for e in json.loads((run / "split.json").read_text())["cohorts"][c]]
    hidden = {e["study"] for e in held if planted[e["study"]]}
    listed = {s["study"] for s in label["suspects"]}
    assert label["why"] == "" and label["cases"] == len(held)
    assert len(listed & hidden) >= 0.5 * len(hidden) and len(listed & hidden) >= 0.5 * len(listed)
    testing = {e["study"] for e in json.loads((run / "split.json").read_text())["cohorts"]["testing"]}
    assert not listed & testing
    with open(run / label_errors.TABLE) as table:
        lines = list(csv.DictReader(table))
    assert [r["study"] for r in lines] == [s["study"] for s in label["suspects"]]
    assert all(r["given"] in ("yes", "no") and "cases most alike" in r["reason"] for r in lines)
    assert set(label_errors.kept(run)["pictures"]) == {s["image"] for s in label["suspects"]}
    assert not (run / reads.NAME).exists()  # nobody has read the testing cohort


def test_where_nothing_can_be_read_no_label_is_doubted(relabelled, monkeypatch):
    """The twin: features that have not seen the films."""
    run, _ = relabelled
    rng = np.random.default_rng(0)
    monkeypatch.setattr(
        label_errors, "_features", lambda store, entries, recipe, progress: rng.normal(size=(len(entries), 20))
    )
    found = label_errors.doubts(run, progress=False)
    assert found.labels[0]["suspects"] == [] and "No label is doubted" in str(found)
