"""Cross-validation of studies: images joined by a rule that none of the tested answers had a hand in."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace

import numpy as np
import pytest

from overread.domain import Image, Study
from overread.errors import IntegrityError
from overread.learn import starts
from overread.learn.predict import Model
from overread.steps import crossed_answers, crossed_scores
from overread.steps.compare import compare
from overread.steps.crossed_answers import Rows, answered, exported, first_of, joined_told
from overread.steps.evaluate import evaluate
from overread.steps.run import read_json
from overread.steps.scores import CROSSED, read_scores
from overread.steps.train import train
from overread.steps.verify import verify
from overread.store.archive import Archive
from tests.steps.small_run import spots

NOW = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)
BEGUN = SimpleNamespace(sensitivity=0.9, seed=0)


def made(seen_in="one", *, n=60, films=3, seed=0):
    """Raw scores of studies of three films, as networks that never saw them would give: the sign in one film, or in all."""
    rng = np.random.default_rng(seed)
    ill = np.arange(n) % 2 == 0
    sign = np.zeros((n, films))
    sign[ill] = 1.0 if seen_in == "all" else 0
    if seen_in == "one":
        sign[np.flatnonzero(ill), rng.integers(films, size=ill.sum())] = 4.0
    logits = (sign + rng.normal(size=(n, films))).reshape(1, -1, 1)
    entries = [(f"i{s}.{f}", f"S{s}", f"P{s}") for s in range(n) for f in range(films)]
    truth = np.repeat(ill.astype(float), films)[:, None]
    parts = np.repeat(np.arange(n) // 2 % 3, films)[None]
    order = rng.permutation(n * films)  # images of a study do not stand together: rows are sorted by their hash
    entries = [entries[i] for i in order]
    return logits[:, order], entries, truth[order], parts[:, order]


def asked(logits, entries, truth, parts, *, join="auto", unit="study", kind="binary"):
    study = {"unit": unit, "join": join} if unit else {}
    rows = Rows(entries, truth, [e[2] for e in entries], study, kind, False)
    inside = [[logits[r, parts[r] != p] for p in range(3)] for r in range(len(parts))]
    return SimpleNamespace(logits=logits, inside=inside), rows


def test_each_study_is_answered_once_by_the_rule_that_fits():
    for seen_in, fits in (("one", "max"), ("all", "mean")):
        logits, entries, truth, parts = made(seen_in, n=240)
        learned, rows = asked(logits, entries, truth, parts)
        crossed, rules = answered(learned, rows, parts, BEGUN)
        assert crossed.probability.shape == (1, 240, 1) and np.isfinite(crossed.probability).all()
        assert rules == [fits] * 3
        told = joined_told(exported(logits.mean(0), rows).joining, rules)["joined"]
        assert told["rule"] == fits and told["in_parts"] == {fits: 3}
        first = first_of(rows.units)
        ill = truth[first, 0] == 1
        assert crossed.mean[ill].mean() > crossed.mean[~ill].mean() + 0.2


def test_the_answers_of_a_part_have_no_hand_in_its_rule_nor_its_line():
    """The twin: the answers of the other parts have."""
    logits, entries, truth, parts = made()
    turned = {}
    for which in (0, 1):
        other = truth.copy()
        other[parts[0] == which] = 1 - other[parts[0] == which]
        turned[which] = answered(*asked(logits, entries, other, parts), parts, BEGUN)
    crossed, rules = answered(*asked(logits, entries, truth, parts), parts, BEGUN)
    own = parts[0][first_of(asked(logits, entries, truth, parts)[1].units)] == 0
    assert turned[0][1][0] == rules[0]
    assert np.array_equal(turned[0][0].probability[:, own], crossed.probability[:, own])
    assert np.array_equal(turned[0][0].threshold[:, own], crossed.threshold[:, own])
    assert not np.array_equal(turned[1][0].probability[:, own], crossed.probability[:, own])


def test_a_rule_that_a_person_names_is_taken_in_every_part():
    _, rules = answered(*asked(*made(), join="mean"), made()[3], BEGUN)
    assert rules == ["mean"] * 3


def test_images_by_themselves_are_answered_as_ever():
    logits, entries, truth, parts = made()
    learned, rows = asked(logits, entries, truth, parts, unit=None)
    crossed, rules = answered(learned, rows, parts, BEGUN)
    assert crossed.probability.shape == (1, 180, 1) and rules == []
    held = exported(logits.mean(0), rows)
    assert held.joining is None and np.array_equal(held.logits, logits[0]) and joined_told(None, rules) == {}
    assert crossed_answers.kept(rows, None) == {}


def test_a_patient_whom_nobody_knows_is_a_study():
    entries = [("a", "S1", None), ("b", "S1", None), ("c", "S2", "P"), ("d", "S3", "P")]
    rows = Rows(entries, np.zeros((4, 1)), list("aabb"), {"unit": "patient", "join": "mean"}, "binary", False)
    assert rows.units == ["S1", "S1", "P", "P"]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """24 studies of two pictures, the sign in one of them; 3 parts, drawn twice."""
    home = tmp_path_factory.mktemp("crossed_studies")
    pictures, there = spots(96, seed=5, contrast=200)
    sign, none = pictures[there], pictures[~there]
    with Archive.create(home / "archive") as archive:
        for s in range(24):
            films = [sign[s] if f == s // 2 % 2 and s % 2 else none[2 * s + f] for f in range(2)]
            names = tuple(archive.put(Image(p[None], full_range=(0, 255), attributes={"format": "PNG"})) for p in films)
            archive.add(Study(f"S{s:012x}", names, patient=f"P{s:012x}", labels={"spot": bool(s % 2)}))
    train(home / "archive", label="spot", out=home / "run", folds=3, repeats=2, unit="study", progress=False, now=NOW)
    return home / "run"


@pytest.mark.slow
@pytest.mark.skipif(not starts.available(), reason="the extra [starts] is not installed")
def test_a_run_of_studies_counts_studies_and_is_taken_as_any_other(whole, tmp_path):
    metrics = read_json(whole / "metrics.json")
    assert metrics["on"] == CROSSED and metrics["labels"]["spot"]["auroc"]["n"] == 24
    assert metrics["unit"]["counted"] == "study" and metrics["unit"]["images"] == 48
    told = read_json(whole / "folds.json")["joined"]
    assert sum(told["in_parts"].values()) == 6 and told["rule"] == Model.load(whole).joining.rule
    assert "settled without the answers of the part" in (whole / "report.html").read_text()
    assert verify(whole, progress=False).figures >= 1
    assert evaluate(whole, now=NOW).metrics["labels"].keys() == metrics["labels"].keys()
    assert read_json(whole / "metrics.json")["labels"] == metrics["labels"]
    again = whole.parent / "again"
    train(whole.parent / "archive", label="spot", out=again, folds=3, repeats=1, seed=7, unit="study", progress=False, now=NOW)  # fmt: skip
    assert compare(whole, again, now=NOW).images == 24
    scores = read_scores(whole / "scores.csv", ("spot",))
    moved = scores.at(list(range(len(scores.entries)))[::-1])
    with pytest.raises(IntegrityError, match="do not belong together"):
        crossed_scores.crossed_rows(whole, moved)
