"""The smallest network that reads as well: which one is kept, what is told of it, and that it is a run like any other."""

import json

import numpy as np
import pytest

from overread.errors import RunError
from overread.pages import section_distil
from overread.steps.distil import conclude


def row(name, megabytes, value, low, high, *, student=True):
    apart = {"value": value, "low": low, "high": high, "n": 500, "n_patients": None, "method": "paired"}
    same = {"value": 0.98, "low": 0.96, "high": 0.99, "n": 500, "n_patients": None, "method": "Wilson"}
    teacher = name == "teacher"
    return {
        "name": name, "student": student and not teacher, "parameters": 1000, "megabytes": megabytes, "milliseconds": 4 * megabytes,
        "auroc": 0.95 + (value or 0), "difference": None if teacher else apart, "agreement": None if teacher else same, "seconds": 9.0,
    }  # fmt: skip


ROWS = [
    row("teacher", 1.9, 0.0, None, None),
    row("teacher in int8", 0.5, 0.001, -0.002, 0.004, student=False),
    row("16-32-64", 0.85, -0.001, -0.006, 0.004),
    row("12-24-48", 0.48, -0.003, -0.0099, 0.004),
    row("8-16-32", 0.22, -0.003, -0.0101, 0.005),
    row("6-12-24", 0.12, 0.002, None, None),
]
TEACHER = {"card": "a" * 64, "model.onnx": "b" * 64, "name": "x (residual)"}


def test_the_smallest_student_that_surely_loses_less_than_the_margin_is_kept():
    """Not the quantised teacher, which is no run; not one whose interval reaches below; not one without an interval."""
    told = conclude(ROWS, margin=0.01, teacher=TEACHER)
    assert told["kept"] == "12-24-48" and told["configurations"] == 4
    assert "0.48 instead of 1.90 MB" in told["in_words"]
    assert conclude(ROWS, margin=0.02, teacher=TEACHER)["kept"] == "8-16-32"


def test_where_none_is_surely_as_good_none_is_kept_and_it_is_said():
    told = conclude(ROWS, margin=0.005, teacher=TEACHER)
    assert told["kept"] is None and "none is kept" in told["in_words"] and "tuning patients" in told["in_words"]


def test_a_network_that_is_worse_by_the_margin_is_rarely_kept():
    """The rule by simulation: a student that truly loses just .01 passes in about 2.5 %; the twin, which looks at the
    figure alone, lets half of them through."""
    from overread.stats.paired import difference_mean_auroc

    rng, kept, naive = np.random.default_rng(0), 0, 0
    n, runs = 240, 300
    for _ in range(runs):
        y = (np.arange(n) % 2).astype(float)[:, None]
        shared = rng.normal(size=(n, 1))
        teacher = 2.0 * y + shared + 0.3 * rng.normal(size=(n, 1))
        student = 1.905 * y + shared + 0.3 * rng.normal(size=(n, 1))  # AUROC lower by .010
        e = difference_mean_auroc(y, student, teacher)
        kept += e.low > -0.01
        naive += e.value > -0.01
    assert kept / runs < 0.06 and 0.35 < naive / runs < 0.65


def test_the_picture_and_the_table_show_every_network():
    html = section_distil.section({"distil": conclude(ROWS, margin=0.01, teacher=TEACHER)})
    assert html.count("<circle") == 6 and html.count('<th scope="row">') == 6
    assert "<b>12\u201124\u201148</b>" in html and "the margin, −0.01" in html and "aaaaaaaaaaaaaaaa…" in html
    assert section_distil.section({}) == ""


def test_what_cannot_be_distilled_is_refused_before_anything_is_written(tmp_path):
    pytest.importorskip("onnx")
    from small_run import fill, sealed_again, small_run, spots

    from overread.steps.distil import distil

    pictures, there = spots(160, seed=1)
    with fill(tmp_path / "archive", pictures, [{"spot": bool(t)} for t in there]) as archive:
        run = small_run(tmp_path, archive, "spot")
    sealed_again(run)
    for wrong, said in (
        ({"widths": ()}, "widths none"),
        ({"widths": (0.5, 2)}, "widths 0.5, 2"),
        ({"margin": 0.0}, "a margin of 0"),
    ):
        with pytest.raises(RunError, match=said):
            distil(run, out=tmp_path / "small", progress=False, **wrong)
    assert not (tmp_path / "small").exists()


def test_a_case_on_the_operating_point_is_not_called_otherwise_for_the_last_digit_of_its_answer():
    """The point is the probability of one of the cases: the twin, which holds answers against it, calls rounding a change."""
    from overread.steps.distil_measured import between

    rng = np.random.default_rng(0)
    own = rng.uniform(size=80)
    point = float(np.sort(own)[20])
    rounded = own - 1e-7
    placed = between(own, point)
    assert ((own >= placed) == (own >= point)).all() and ((rounded >= placed) == (own >= placed)).all()
    assert ((rounded >= point) != (own >= point)).sum() == 1
    other = own.copy()
    other[own == point] = point - 0.2
    assert ((other >= placed) != (own >= placed)).sum() == 1  # a true change is still one


def test_what_is_unfinished_in_a_folder_is_called_what_it_is(tmp_path):
    from overread.steps.begin import prepare
    from overread.steps.verify import verify

    asked = {"plan": "p", "split": "s", "sensitivity": 0.95}
    for verb, said in ((None, r"unfinished training.*overread train"), ("distil", r"unfinished distillation.*overread distil")):  # fmt: skip
        prepare(tmp_path / str(verb), {**asked, **({"verb": verb} if verb else {})}, resume=False)
        with pytest.raises(RunError, match=said):
            verify(tmp_path / str(verb))
    (tmp_path / "start").mkdir()
    (tmp_path / "start" / "unfinished").write_text('{"asked": {}, "salt": "00"}')
    with pytest.raises(RunError, match=r"unfinished start.*overread pretrain"):
        verify(tmp_path / "start")


@pytest.mark.slow
def test_a_distillation_that_keeps_none_leaves_its_table_and_nothing_to_resume(run, tmp_path):
    from overread.errors import NothingToDo
    from overread.steps.distil import distil
    from overread.steps.verify import verify

    out = tmp_path / "none"
    found = distil(run, out=out, widths=(0.25,), margin=1e-9, progress=False)
    assert found.came_to_nothing and [p.name for p in out.iterdir()] == ["distil.json"]
    with pytest.raises(NothingToDo, match="distillation that kept no network"):
        verify(out)


@pytest.mark.slow
def test_a_student_is_a_run_like_any_other(run, archive, pictures, tmp_path):
    from overread.learn.predict import Model
    from overread.steps.distil import distil
    from overread.steps.predict import predict
    from overread.steps.verify import verify

    out = tmp_path / "small"
    found = distil(run, out=out, widths=(0.5,), margin=0.49, progress=False)
    told = json.loads((out / "distil.json").read_text())
    assert [r["name"] for r in told["networks"]] == ["teacher", "teacher in float16", "teacher in int8", "12-24-48"]
    assert told["teacher"]["card"] == Model.load(run).card.fingerprint
    if found.came_to_nothing:  # of so few tuning patients an interval may reach anywhere
        assert told["kept"] is None and [p.name for p in out.iterdir()] == ["distil.json"]
        return
    card, manifest = (json.loads((out / name).read_text()) for name in ("card.json", "manifest.json"))
    assert card["training"]["distil"]["teacher"] == told["teacher"]
    assert "distil.json" in manifest["files"]
    assert (out / "split.json").read_bytes() == (run / "split.json").read_bytes()
    assert (out / "model.onnx").stat().st_size < 0.5 * (run / "model.onnx").stat().st_size
    assert found.run.metrics["labels"]["blob"]["auroc"]["n"] > 10
    assert "distil" in found.run.metrics and "How small it may be" in (out / "report.html").read_text()
    verify(out)
    predict(out, pictures / "film000.png", out=tmp_path / "p", progress=False)
