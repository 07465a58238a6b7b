"""Evaluate a run that is real but small: a fixed filter bank as ONNX, and a head fitted by scikit-learn."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from small_run import NOW, fill, sealed_again, small_run, spots

from overread.errors import CohortError, IntegrityError, LabelError, RunError
from overread.learn.predict import Model
from overread.steps.evaluate import evaluate
from overread.steps.reads import NAME as READS
from overread.steps.run import seal, write_json
from overread.steps.scores import read_scores
from overread.store.archive import Archive


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory):
    """A binary run, evaluated once."""
    home = tmp_path_factory.mktemp("binary")
    pictures, there = spots(400, seed=1)
    with fill(home / "archive", pictures, [{"spot": bool(t)} for t in there]) as archive:
        run = small_run(home, archive, "spot")
    return run, evaluate(run, now=NOW)


class Reader(HTMLParser):
    """Collects what a browser would fetch, and whether each picture has words for those who cannot see it."""

    def __init__(self) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.wordless: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag, attrs):
        have = dict(attrs)
        for key in ("src", "href"):
            if key in have and not have[key].startswith(("data:", "#")):
                self.fetched.append(have[key])
        if tag in ("script", "link", "iframe", "object"):
            self.fetched.append(tag)
        if (tag == "img" and not have.get("alt")) or (tag == "svg" and not have.get("aria-label")):
            self.wordless.append(tag)


def test_the_figures_stand_where_the_contract_says(evaluated):
    run, evaluation = evaluated
    metrics = json.loads((run / "metrics.json").read_text())
    auroc = metrics["labels"]["spot"]["auroc"]
    assert set(auroc) == {"value", "low", "high", "n", "n_patients", "method"}
    assert 0.6 < auroc["low"] < auroc["value"] < auroc["high"] <= 1
    assert auroc["n"] == 80 and auroc["n_patients"] == 20
    assert set(metrics["floors"]) == {"majority", "logistic_thumbnails", "nearest_thumbnail", "simple-cnn"}
    assert metrics["floors"]["majority"]["spot"]["auroc"]["value"] == 0.5
    assert "not trained" in metrics["floors"]["simple-cnn"]["absent"]
    assert metrics["split"]["overlap"] == {"patients": 0, "studies": 0, "images": 0}
    assert evaluation.to_json()["labels"] == metrics["labels"]
    assert "AUROC" in str(evaluation).splitlines()[0]


def test_the_figures_agree_with_scikit_learn_on_the_scores_in_the_run(evaluated):
    from sklearn.metrics import average_precision_score, roc_auc_score

    run, evaluation = evaluated
    rows = read_scores(run / "scores.csv", ["spot"]).of("testing")
    figures = evaluation.metrics["labels"]["spot"]
    assert figures["auroc"]["value"] == pytest.approx(roc_auc_score(rows.truth[:, 0], rows.logits[:, 0]))
    assert figures["ap"]["value"] == pytest.approx(average_precision_score(rows.truth[:, 0], rows.logits[:, 0]))
    assert sum(figures["confusion"][k] for k in ("tp", "fp", "fn", "tn")) == 80


def test_the_report_fetches_nothing_and_has_words_for_every_picture(evaluated):
    run, _ = evaluated
    page = (run / "report.html").read_text()
    reader = Reader()
    reader.feed(page)
    assert reader.fetched == [] and reader.wordless == []
    assert not re.search(r"url\(|@import|https?://(?!www\.w3\.org)", page)
    reader.feed('<img src="https://example.org/x.png">')  # the twin: this check can fail
    assert reader.fetched and reader.wordless


def test_the_report_says_who_decides_and_how_often_testing_was_read(evaluated):
    run, evaluation = evaluated
    page = (run / "report.html").read_text()
    assert "AI assists, the doctor decides" in page and "ot for autonomous diagnosis" in page
    assert "was read once; it is the 1st model measured on this testing cohort." in page
    evaluate(run, now=NOW)
    assert "was read twice; it is the 1st model measured" in (run / "report.html").read_text()
    assert evaluation.page["gallery"][0]["cases"][0]["heat"].startswith("data:image/png;base64,")


def test_evaluating_twice_gives_the_same_figures(evaluated):
    run, evaluation = evaluated
    again = evaluate(run, now=NOW)
    assert again.metrics == evaluation.metrics


def test_the_card_gains_performance_and_keeps_its_fingerprint(evaluated):
    run, evaluation = evaluated
    card = json.loads((run / "card.json").read_text())
    assert card["performance"]["labels"]["spot"]["auroc"] == evaluation.metrics["labels"]["spot"]["auroc"]
    assert card["fingerprint"] == evaluation.page["card_fingerprint"]
    assert "INCOMPLETE" in (run / "card.md").read_text()


def test_missing_patient_identity_stands_before_the_figures(tmp_path):
    pictures, there = spots(160, seed=2)
    with fill(tmp_path / "archive", pictures, [{"spot": bool(t)} for t in there], patients=False) as archive:
        run = small_run(tmp_path, archive, "spot")
    evaluation = evaluate(run, now=NOW)
    page = (run / "report.html").read_text()
    assert page.index("patient identity unknown") < page.index("What was asked")
    assert evaluation.metrics["labels"]["spot"]["auroc"]["n_patients"] is None


def test_several_levels_and_several_labels(tmp_path):
    pictures, there = spots(240, seed=3)
    bright = np.arange(240) % 3
    pictures = np.clip(pictures.astype(int) + 25 * bright[:, None, None], 0, 255).astype(np.uint8)
    labels = [{"class": "abc"[b], "spot": bool(t), "bright": bool(b == 2) if i % 5 else None}
              for i, (b, t) in enumerate(zip(bright, there, strict=True))]  # fmt: skip
    with fill(tmp_path / "archive", pictures, labels) as archive:
        levels = small_run(tmp_path, archive, "class", kind="ordinal: a < b < c")
        several = small_run(tmp_path, archive, "spot,bright")
    metrics = evaluate(levels, now=NOW).metrics["labels"]
    assert set(metrics) == {"class", "class=a", "class=b", "class=c"}
    assert (
        "kappa_quadratic" in metrics["class"]
        and np.sum(metrics["class"]["confusion"]["counts"]) == metrics["class"]["auroc"]["n"]
    )
    parts = metrics["class"]["three_ways"]
    right = {
        way: round(part["accuracy"]["value"] * part["accuracy"]["n"])
        for way, part in parts.items()
        if part["accuracy"]["n"]
    }
    assert right["all"] == right.get("answered", 0) + right.get("referred", 0)
    assert all(parts["all"][key] == metrics["class"][key] for key in ("accuracy", "auroc"))
    both = evaluate(several, now=NOW).metrics["labels"]
    assert set(both) == {"spot", "bright"} and both["bright"]["auroc"]["n"] < both["spot"]["auroc"]["n"]


def test_another_archive_is_read_by_the_model_and_leaves_the_run_as_it_was(evaluated, tmp_path):
    run, _ = evaluated
    before = {p.name: p.read_bytes() for p in run.iterdir() if p.is_file() and not p.name.startswith(READS)}
    pictures, there = spots(60, seed=9)
    with fill(tmp_path / "other", pictures, [{"spot": bool(t)} for t in there], others=True):
        pass
    other = evaluate(run, on=tmp_path / "other", now=NOW)
    assert other.metrics["labels"]["spot"]["auroc"]["n"] == 60
    assert other.report.parent.parent == run and other.report.is_file()
    assert {p.name: p.read_bytes() for p in run.iterdir() if p.is_file() and not p.name.startswith(READS)} == before
    own = evaluate(run, on=json.loads((run / "plan.json").read_text())["archive"], now=NOW)
    assert any("were seen in training" in w for w in own.page["warnings"])


def test_an_archive_without_the_label_and_a_run_without_scores_are_refused(evaluated, tmp_path):
    run, _ = evaluated
    pictures, _ = spots(4, seed=4)
    with fill(tmp_path / "other", pictures, [{"mass": True}] * 4, others=True):
        pass
    with pytest.raises(CohortError, match="has the label 'spot'"):
        evaluate(run, on=tmp_path / "other", now=NOW)
    with pytest.raises(RunError, match=r"scores\.csv"):
        read_scores(tmp_path / "scores.csv", ["spot"])


@pytest.mark.parametrize("warns", [True, False])
def test_a_fact_that_tells_the_label_is_warned_of_before_the_figures(evaluated, warns):
    run, _ = evaluated
    auroc = {"value": 0.9, "low": 0.8, "high": 1.0, "n": 240, "n_patients": 60, "method": "DeLong"}
    fact = {"auroc": auroc, "label": "spot", "values": [], "one_sided": [], "warns": warns}
    write_json(run / "shortcuts.json", {"file format": fact})
    sealed_again(run)
    try:
        page = evaluate(run, now=NOW).report.read_text()
    finally:
        (run / "shortcuts.json").unlink()
        sealed_again(run)
        evaluate(run, now=NOW)  # the tests after this one read its card
    before = page[: page.index("What was asked")]
    assert ("shortcut: file format alone tells" in before) == warns


def test_every_figure_says_that_it_counts_images(evaluated):
    run, evaluation = evaluated
    assert evaluation.metrics["unit"] == {"counted": "image", "images": 80, "studies": 80, "patients": 20}
    page = (run / "report.html").read_text()
    assert "80 images (of 20 patients), counted by image" in page
    assert "Every figure counts images, not examinations or patients" in page
    assert "counted by image" in (run / "card.md").read_text()


def test_what_is_referred_is_what_prediction_refers(evaluated):
    run, evaluation = evaluated
    account = evaluation.metrics["labels"]["spot"]["three_way"]
    model = Model.load(run)
    rows = read_scores(run / "scores.csv", ["spot"]).of("testing")
    with Archive.open(run.parent / "archive") as archive:
        found = [model.findings(archive.image(entry[1]))[0] for entry in rows.entries]
    decided = [finding.decision for finding in found]
    assert all(bool(finding.reason) == (finding.decision == "refer") for finding in found)
    assert account["referred"] == decided.count("refer") > 0 and account["all"] == 80
    present = rows.truth[:, 0] == 1
    called = np.array([d == "present" for d in decided])
    answered = np.array([d != "refer" for d in decided])
    assert account["sensitivity"]["value"] == pytest.approx(called[present & answered].mean())
    assert f"<td>{account['referred']} (" in (run / "report.html").read_text()


def test_how_far_the_model_leads_a_floor_is_told_image_by_image(evaluated):
    _, evaluation = evaluated
    ours, floors = evaluation.metrics["labels"]["spot"]["auroc"]["value"], evaluation.metrics["floors"]
    for name in ("logistic_thumbnails", "nearest_thumbnail"):
        its = floors[name]["spot"]
        assert its["lead"]["value"] == pytest.approx(ours - its["auroc"]["value"], abs=1e-9)
        assert its["lead"]["low"] < its["lead"]["value"] < its["lead"]["high"]
        assert its["lead"]["n_patients"] == its["auroc"]["n_patients"]
    assert "lead" not in floors["majority"]["spot"]


def test_every_table_tells_all_answered_and_referred(evaluated):
    """Referred cases are never dropped: model, floors and subgroups are told on the same three sets of images."""
    run, evaluation = evaluated
    figures = evaluation.metrics["labels"]["spot"]
    account, parts = figures["three_way"], figures["three_ways"]
    counts = {way: part["prevalence"]["n"] for way, part in parts.items()}
    assert counts == {way: account[way] for way in ("all", "answered", "referred")}
    assert counts["answered"] + counts["referred"] == counts["all"] == 80
    assert parts["all"]["auroc"] == figures["auroc"]
    assert parts["answered"]["sensitivity"] == account["sensitivity"]
    for name, floor in evaluation.metrics["floors"].items():
        if "absent" not in floor:
            its = floor["spot"]["three_ways"]
            assert {way: part["prevalence"]["n"] for way, part in its.items()} == counts, name
            assert its["all"]["sensitivity"] == floor["spot"]["sensitivity"]
    for group in evaluation.metrics["subgroups"]:
        both = [group["three_ways"][way]["prevalence"]["n"] for way in ("answered", "referred")]
        assert sum(both) == group["prevalence"]["n"]
    assert len(evaluation.metrics["subgroups"]) == 2
    page = (run / "report.html").read_text()
    assert "The same three ways" in page and page.count("<td>referred</td>") == 3
    card = json.loads((run / "card.json").read_text())
    assert "three_ways" not in card["performance"]["floors"]["majority"]["spot"]


def test_the_report_promises_nothing_that_was_not_done(evaluated, tmp_path):
    run, _ = evaluated
    page = (run / "report.html").read_text()
    assert "nothing is chosen on it" in page and "choose when to stop" not in page
    assert "never seen" not in page and "none of them in its training" in page
    assert "come from the same source" in page
    pictures, there = spots(40, seed=11)
    with fill(tmp_path / "other", pictures, [{"spot": bool(t)} for t in there], others=True):
        pass
    page = evaluate(run, on=tmp_path / "other", now=NOW).report.read_text()
    assert "come from the same source" not in page and "come from another archive" in page
    assert "By this run the other archive was read once" in page


def test_another_archive_is_read_where_the_training_archive_is_not(tmp_path):
    pictures, there = spots(160, seed=12)
    with fill(tmp_path / "archive", pictures, [{"spot": bool(t)} for t in there]) as archive:
        run = small_run(tmp_path, archive, "spot")
    with fill(tmp_path / "other", pictures[:60], [{"spot": bool(t)} for t in there[:60]], others=True):
        pass
    here = evaluate(run, now=NOW)
    beside = evaluate(run, on=tmp_path / "other", now=NOW).metrics["floors"]
    (tmp_path / "archive").rename(tmp_path / "away")
    alone = evaluate(run, on=tmp_path / "other", now=NOW).metrics["floors"]
    assert (
        alone["majority"] == beside["majority"]
        and "training archive is not here" in alone["logistic_thumbnails"]["absent"]
    )
    again = evaluate(run, now=NOW)
    assert again.metrics == {**here.metrics, "subgroups": []} and again.page["gallery"] == []
    assert any("training archive is not here" in w for w in again.page["warnings"])
    (run / "floor.npz").unlink()
    with pytest.raises(RunError, match=r"has no floor\.npz"):
        evaluate(run, now=NOW)
    seal(run, card=again.page["card_fingerprint"])
    assert "absent" in evaluate(run, now=NOW).metrics["floors"]["majority"]
    plan = json.loads((run / "plan.json").read_text())
    write_json(run / "plan.json", {k: v for k, v in plan.items() if k != "archive"})
    sealed_again(run)
    assert evaluate(run, on=tmp_path / "other", now=NOW).metrics["labels"]["spot"]["auroc"]["n"] == 60


def test_levels_never_learned_are_left_out_and_told(tmp_path):
    pictures, there = spots(160, seed=13)
    with fill(tmp_path / "archive", pictures, [{"class": "ab"[int(t)]} for t in there]) as archive:
        run = small_run(tmp_path, archive, "class")
    evaluated = evaluate(run, now=NOW).metrics
    assert evaluated["operating_points"] == {} and evaluated["labels"]["class=a"]["confusion"]["threshold"] is None
    assert "none: the most probable level is called" in (run / "card.md").read_text()
    with fill(tmp_path / "other", pictures[:60], [{"class": "abc"[i % 3]} for i in range(60)], others=True):
        pass
    other = evaluate(run, on=tmp_path / "other", now=NOW)
    assert other.metrics["labels"]["class"]["auroc"]["n"] == 40
    assert any(w.startswith("20 studies have levels the model never learned: 'c' (20)") for w in other.page["warnings"])
    with fill(tmp_path / "strange", pictures[:4], [{"class": "c"}] * 4):
        pass
    with pytest.raises(CohortError, match="level that the model knows of"):
        evaluate(run, on=tmp_path / "strange", now=NOW)
    with fill(tmp_path / "words", pictures[:4], [{"class": True}] * 4):
        pass
    with pytest.raises(LabelError, match="with yes or no; expected a level in words"):
        evaluate(run, on=tmp_path / "words", now=NOW)


@pytest.mark.slow
def test_real_pictures_with_a_published_split(shared_data, tmp_path):
    data = np.load(shared_data / "medmnist" / "pneumoniamnist.npz")
    pictures = np.concatenate([data[f"{c}_images"] for c in ("train", "val", "test")])
    labels = [{"pneumonia": bool(v)} for c in ("train", "val", "test") for v in data[f"{c}_labels"].ravel()]
    where = [c for c in ("train", "val", "test") for _ in data[f"{c}_images"]]
    chosen = np.r_[np.arange(0, len(where) - 624, 4), np.arange(len(where) - 624, len(where))]
    with fill(tmp_path / "archive", pictures[chosen], [labels[i] for i in chosen], patients=False,
              splits_as=[where[i] for i in chosen]) as archive:  # fmt: skip
        run = small_run(tmp_path, archive, "pneumonia", published="split")
    metrics = evaluate(run, now=NOW).metrics
    assert metrics["labels"]["pneumonia"]["auroc"]["n"] == 624
    assert metrics["floors"]["logistic_thumbnails"]["pneumonia"]["auroc"]["value"] > 0.85


def test_what_takes_long_shows_how_far_it_is(evaluated, monkeypatch, capsys):
    """Every bar of `evaluate` ends where it said it would; a person never looks at a still screen."""
    import shutil

    from overread.steps import progress

    began: dict[str, list[float]] = {}

    class Counted(progress._Bar):
        def close(self):
            began.setdefault(self.desc, []).append(self.n / self.total)
            super().close()

    monkeypatch.setattr(progress, "_Bar", Counted)
    monkeypatch.setattr(progress, "SILENT_S", 0.0)
    copy = evaluated[0].parent / "copy"
    shutil.copytree(evaluated[0], copy)
    evaluate(copy, now=NOW, progress=True)
    assert {"figures and intervals", "regression on thumbnails", "cases with heat-maps", "thumbnails"} <= set(began)
    assert {share for shares in began.values() for share in shares} == {1.0}
    assert "figures and intervals" in capsys.readouterr().err


@pytest.mark.parametrize("how", ["all", "a tenth", "hardly"])
def test_forged_scores_sealed_in_every_place_are_found_by_asking_the_network_again(tmp_path, how):
    """Whoever deletes the journal and the figures and seals anew has the hashes on his side, but not the network."""
    pictures, there = spots(400, seed=1)
    with fill(tmp_path / "archive", pictures, [{"spot": bool(t)} for t in there]) as archive:
        run = small_run(tmp_path, archive, "spot")
    evaluate(run, now=NOW)
    rows = [line.split(",") for line in (run / "scores.csv").read_text().splitlines()]
    truth, logit = rows[0].index("truth:spot"), rows[0].index("logit:spot")
    testing = [row for row in rows if row[0] == "testing"]
    for row in testing[:: 10 if how == "a tenth" else 1]:
        if how == "hardly":
            row[logit] = f"{float(row[logit]) + 0.002:.6f}"  # another machine
        else:
            row[logit] = "6" if row[truth] == "1" else "-6"
    (run / "scores.csv").write_text("\n".join(",".join(row) for row in rows) + "\n")
    sealed_again(run)
    if how == "hardly":
        assert evaluate(run, now=NOW).metrics["labels"]["spot"]["auroc"]["n"] == 80
        return
    with pytest.raises(IntegrityError, match=r"scores\.csv is not what the network says: \d+ of 64 testing images"):
        evaluate(run, now=NOW)
    assert not (run / "metrics.json").exists()


def test_the_closing_lines_of_a_model_that_learned_nothing_say_so(tmp_path):
    pictures, there = spots(400, seed=1)
    by_chance = np.random.default_rng(5).permutation(there)
    with fill(tmp_path / "archive", pictures, [{"spot": bool(t)} for t in by_chance], patients=False) as archive:
        run = small_run(tmp_path, archive, "spot")
    lines = str(evaluate(run, now=NOW)).splitlines()
    assert "AUROC" in lines[0] and lines[1].startswith(("! no better than chance", "! worse than chance"))


def test_the_closing_lines_of_a_model_that_learned_do_not_speak_of_chance(evaluated):
    assert "chance" not in str(evaluated[1])
