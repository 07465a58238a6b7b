"""The plan of a cohort: looked at as training will divide it, written, edited, and executed as it stands."""

import json
import tomllib
from dataclasses import replace

import numpy as np
import pytest

from overread.cli import main
from overread.domain import Image, Study
from overread.errors import RunError
from overread.learn import plan as planning
from overread.learn import plan_file, precision
from overread.steps import plan as planned
from overread.steps.begin import Asked, check_options
from overread.steps.plan import plan
from overread.steps.plan_look import look, side_words
from overread.store.archive import Archive


@pytest.fixture(scope="module")
def drawn(archive, tmp_path_factory):
    """The plan for the small archive of every test, and where it was written."""
    out = tmp_path_factory.mktemp("plan") / "plan.toml"
    return plan(archive, label="blob", out=out, progress=False), out


def test_a_plan_tells_the_cohort_and_every_choice_with_its_rule(drawn):
    told, out = drawn
    text = " ".join(str(told).split())
    assert "blob (binary)" in text and "training images" in text and "cores" in text
    for name, part in told.parts.items():
        assert name in text and part["rule"] in text and part["reason"] in text
    assert tomllib.loads(out.read_text())["question"] == {"label": "blob", "kind": "binary", "labels": ["blob"]}


def test_kinds_of_images_in_one_cohort_are_advised_against_and_one_kind_is_not(drawn):
    told, _ = drawn
    mixed = replace(told, head={**told.head, "cohort": {**told.head["cohort"], "modality": "CT+MR"}})
    assert "CT and MR images in one cohort" in str(mixed) and "images in one cohort" not in str(told)


def test_the_file_is_the_plan(drawn):
    told, out = drawn
    head, parts = plan_file.read(out)
    assert parts == told.parts
    assert head["cohort"]["fingerprint"] == told.head["cohort"]["fingerprint"]


def test_only_the_training_cohort_is_looked_at(archive, monkeypatch):
    """What a plan says of images does not move when the pixels of the other cohorts cannot be read."""
    with Archive.open(archive) as store:
        divided = planned.divide(store, label="blob", kind="auto", split_column=None, seed=0, progress=False)
        allowed = {image for image, _, _ in divided.split.cohorts["training"]}
        read, before = set(), store.image
        monkeypatch.setattr(store, "image", lambda name: read.add(name) or before(name))
        drawn = planned.draw_up(store, divided, network=None, side_matters=None, progress=False)
    assert read and read <= allowed
    assert drawn.head["cohort"]["images"] == len(divided.split.cohorts["training"])


def test_the_command_prints_it_and_writes_it(archive, tmp_path, capsys):
    out = tmp_path / "p.toml"
    assert main(["plan", str(archive), "--label", "blob", "--out", str(out), "--json", "--quiet"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["training"]["batch"] == tomllib.loads(out.read_text())["training"]["batch"]
    assert main(["plan", str(archive), "--label", "bolb", "--quiet"]) == 1
    assert "expected one of 'blob', 'shape'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("said", "flips", "rule"),
    [
        (("--side-matters",), [], "side matters: told"),
        (("--side-matters", "no"), ["left-right"], "side does not matter: told"),
        (("--side-does-not-matter",), ["left-right"], "side does not matter: told"),
        (("--task", "chest-xray-pneumonia"), [], "side matters: told"),
        (("--task", "brain-mr-tumour"), ["left-right"], "side does not matter: told"),
    ],
)
def test_what_is_said_of_sides_is_done(archive, capsys, said, flips, rule):
    assert main(["plan", str(archive), "--label", "blob", "--json", "--quiet", *said]) == 0
    sides = json.loads(capsys.readouterr().out)["sides"]
    assert (sides["flips"], sides["rule"]) == (flips, rule)


def test_a_plan_of_another_cohort_or_question_is_refused(archive, drawn, tmp_path):
    _, out = drawn
    other = tmp_path / "other.toml"
    other.write_text(out.read_text().replace('fingerprint = "', 'fingerprint = "0'))
    with Archive.open(archive) as store:
        divided = planned.divide(store, label="blob", kind="auto", split_column=None, seed=0, progress=False)
        taken = planned.taken_up(out, store, divided, progress=False)
        assert planning.executed(taken) == planning.executed(
            planned.draw_up(store, divided, network=None, side_matters=None, progress=False)
        )
        with pytest.raises(RunError, match="another training cohort"):
            planned.taken_up(other, store, divided, progress=False)
        divided = planned.divide(store, label="shape", kind="auto", split_column=None, seed=0, progress=False)
        with pytest.raises(RunError, match="the plan is for 'blob'"):
            planned.taken_up(out, store, divided, progress=False)
        deep = tmp_path / "deep.toml"
        plan(archive, label="blob", network="residual", out=deep, progress=False)
        deep.write_text(deep.read_text().replace("size = [24, 24]\nchannels", "size = [8, 24, 24]\nchannels"))
        divided = planned.divide(store, label="blob", kind="auto", split_column=None, seed=0, progress=False)
        with pytest.raises(RunError, match="3 dimensions, the cohort holds pictures"):
            planned.taken_up(deep, store, divided, progress=False)


def test_a_plan_brings_its_question_and_its_published_split_with_it(tmp_path):
    from overread.steps.plan import drawn_with

    with Archive.create(tmp_path / "arch") as archive:
        rng = np.random.default_rng(0)
        for i in range(120):
            name = archive.put(Image(film(rng, heart=False)[None], full_range=(0, 255)))
            part = {"part": "train" if i < 80 else "test"}
            named = {"ill": bool(i % 2), "grade": ("low", "mid", "high")[i % 3]}
            archive.add(Study(f"S{i:012x}", (name,), patient=f"P{i:012x}", labels=named, splits=part))
    out, graded = tmp_path / "plan.toml", tmp_path / "graded.toml"
    plan(tmp_path / "arch", label="ill", split_column="part", out=out, progress=False)
    assert drawn_with(out, "ill") == ("binary", 0, "part") == drawn_with(out, " ill,ill")
    plan(tmp_path / "arch", label="grade", kind="ordinal: low < mid < high", seed=3, out=graded, progress=False)
    assert drawn_with(graded, "grade") == ("ordinal: low < mid < high", 3, None)
    with pytest.raises(RunError, match="the plan is for 'grade', asked is 'ill'"):
        drawn_with(graded, "ill")
    for wrong in ('labels = "ill"', "labels = [1]"):
        changed = tmp_path / "changed.toml"
        changed.write_text(out.read_text().replace('labels = ["ill"]', wrong))
        with pytest.raises(RunError, match="the plan's question or cohort was changed"):
            drawn_with(changed, "ill")


def test_words_that_name_a_side_are_found_and_others_are_not():
    def study(**named):
        return Study("S1", (), **named)

    assert "laterality" in side_words([study(labels={"laterality": None})], [])
    assert "(left)" in side_words([study(strata={"eye": "left"})], [])
    assert "(R)" in side_words([study(labels={"breast": "R"})], [])
    assert side_words([study(labels={"rightSided": True})], [])
    assert not side_words(
        [study(labels={"bright": True, "lesion": "leftover"}, strata={"sex": "F", "view": "lateral"})], []
    )


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("Seite", "rechte"), ("zijde", "linker"), ("lado", "izquierdo"), ("lato", "sinistro"), ("côté", "droit"), ("strona", "lewa"),
        ("sida", "ho\u0308ger"), ("сторона", "Левая"), ("位置", "左侧"), ("쪽", "오른쪽"), ("eye", "OD"), ("eye", "os"), ("projection", "RMLO"),
        ("Lateralität_links", "x"), ("ירך", "שמאל"),
    ],
)  # fmt: skip
def test_a_side_is_found_in_the_forms_of_other_languages(column, value):
    assert side_words([Study("S1", (), strata={column: value})], [])
    assert side_words([Study("S1", (), labels={column: value})], [])


@pytest.mark.parametrize("value", ["severe", "CT", "PA", "Seite 3", "rightly", "sinistral", "M", "OSA"])
def test_other_words_name_no_side(value):
    """Twin of the test above."""
    assert not side_words([Study("S1", (), strata={"column": value})], [])


def test_only_training_studies_are_asked_for_words_that_name_a_side(tmp_path):
    with Archive.open(films(tmp_path / "arch", heart=False, n=120)) as archive:
        told = {"label": "ill", "kind": "auto", "split_column": None, "seed": 0, "progress": False}
        divided = planned.divide(archive, **told)
        testing = {study for _, study, _ in divided.split.cohorts["testing"]}

        def seen(named):
            by_name = {n: replace(s, strata={"note": "left"}) if n in named else s for n, s in divided.by_name.items()}
            return look(
                archive, divided.split, by_name, divided.task, divided.copies, sides=True, seed=0, progress=False
            )

        assert seen(testing) == seen(())
        assert seen(divided.by_name).side_words


def film(rng, *, heart: bool):
    """A small film: a bright blob, left of the middle when it is to be a heart."""
    y, x = np.mgrid[:24, :24]
    column = rng.normal(7 if heart else 11.5, 2)
    blob = 120 * np.exp(-((x - column) ** 2 + (y - rng.normal(12, 2)) ** 2) / 20)
    return np.clip(60 + blob + rng.normal(0, 8, (24, 24)), 0, 255).astype(np.uint8)


def films(path, *, heart, n=600, attributes=None):
    rng = np.random.default_rng(5)
    with Archive.create(path) as archive:
        for i in range(n):
            image = Image(film(rng, heart=heart)[None], full_range=(0, 255), attributes=attributes or {"format": "PNG"})
            archive.add(Study(f"S{i:012x}", (archive.put(image),), patient=f"P{i:012x}", labels={"ill": bool(i % 2)}))
    return path


@pytest.mark.slow
def test_films_with_a_heart_on_one_side_are_not_mirrored_and_films_without_are(tmp_path):
    sided = plan(films(tmp_path / "a", heart=True), label="ill", progress=False)
    assert sided.parts["sides"]["flips"] == []
    assert sided.head["cohort"]["sides"]["left-right"]["low"] > 0.9
    even = plan(films(tmp_path / "b", heart=False), label="ill", progress=False)
    assert "left-right" in even.parts["sides"]["flips"]
    assert even.head["cohort"]["sides"]["left-right"]["high"] < 0.6
    marked = films(tmp_path / "c", heart=False, n=60, attributes={"ImageLaterality": "L"})
    assert plan(marked, label="ill", progress=False).parts["sides"]["rule"] == "a word names a side"


@pytest.mark.parametrize("kind", ["chest", "breast"])
def test_real_chest_films_are_sided_and_real_mammograms_of_both_breasts_are_not(shared_data, tmp_path, kind):
    """Chest films have the heart on one side; a cohort of left and right breasts is its own mirror image."""
    import csv

    from overread.steps.collect import collect

    home = shared_data / ("chest_xray" if kind == "chest" else "mammography")
    with open(home / "labels.csv", newline="") as table:
        rows = list(csv.DictReader(table))
    rows = rows[:: len(rows) // 250] if kind == "chest" else rows
    folder = tmp_path / "films"
    for i, row in enumerate(rows):
        source = home / row["file"] if kind == "chest" else home / "images" / row["file"]
        (folder / f"{i:04d}{source.suffix}").parent.mkdir(exist_ok=True)
        (folder / f"{i:04d}{source.suffix}").symlink_to(source)
    sick = [r["pneumonia"] if kind == "chest" else int(r["label"] != "normal") for r in rows]
    table = "".join(
        f"{i:04d}{(home / r['file']).suffix},{r['patient']},{s}\n" for i, (r, s) in enumerate(zip(rows, sick))
    )
    (tmp_path / "labels.csv").write_text("file,patient,ill\n" + table)
    collect(folder, into=tmp_path / "a", labels=tmp_path / "labels.csv", patient="patient", workers=1, progress=False)
    drawn = plan(tmp_path / "a", label="ill", progress=False)
    told = drawn.head["cohort"]["sides"]["left-right"]
    assert (told["low"] > 0.9) if kind == "chest" else (told["low"] < 0.6), told
    if kind == "chest":
        assert drawn.parts["sides"]["flips"] == []


def test_seeds_for_a_network_that_is_trained_once_are_refused_without_naming_a_plan_that_nobody_wrote(archive):
    with Archive.open(archive) as store:
        divided = planned.divide(store, label="blob", kind="auto", split_column=None, seed=0, progress=False)
        with pytest.raises(RunError, match="3 seeds for the network 'simple-cnn', of which one is trained") as refused:
            planned.draw_up(store, divided, network="simple-cnn", side_matters=None, seeds=3, progress=False)
    assert "plan says" not in str(refused.value) and "leave out --seeds" in str(refused.value)


def test_precision_stands_in_the_plan_with_its_reason_and_beside_no_plan(archive, tmp_path, monkeypatch, capsys):
    """The twin: a plan that nobody asked this of has no such word."""
    monkeypatch.setattr(precision, "refuse", lambda: None)
    out, ask = tmp_path / "plan.toml", ["--label", "blob", "--network", "residual", "--side-matters", "--quiet"]
    assert main(["plan", str(archive), *ask, "--precision", "bfloat16", "--out", str(out)]) == 0
    assert "bfloat16" in capsys.readouterr().out
    written = tomllib.loads(out.read_text())["optimiser"]
    assert written["precision"] == "bfloat16" and "as was asked" in written["reason"]
    assert plan_file.read(out)[1]["optimiser"] == written
    assert "precision" not in plan(archive, label="blob", network="residual", side_matters=True, progress=False).parts["optimiser"]  # fmt: skip
    with pytest.raises(RunError, match="--precision beside --plan"):
        check_options(Asked(plan=out, precision="bfloat16"), 0.95)
    assert Asked(precision="bfloat16").told() != Asked().told()
