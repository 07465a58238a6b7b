"""A narrower network learns what another answers: not the labels, and not twice what the labels weighed."""

import numpy as np
import pytest

pytest.importorskip("keras")

from overread.domain import Task
from overread.learn import distilled, fit
from overread.learn import plan as planning
from overread.stats.metrics import mean_auroc


def drawn(kind="binary", labels=("x",), n=200, **change):
    seen = planning.Fingerprint(n, (1, 12, 12), 1, "", "stored", 0, eight_bit=True)
    plan = planning.draw_up(Task(labels, kind, "x"), seen, network="residual", seed=3)
    plan = planning.changed(plan, "network", "small", widths=[8, 16])
    plan = planning.changed(plan, "training", "short", epochs=10, batch=16)
    return planning.changed(plan, "augmentation", "gentle", **dict.fromkeys(planning.planned(plan.task, plan.parts).augmentation.keys() - {"flips", "turns"}, 0.0))  # fmt: skip


def pictures(n=200, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 12, 12, 1)).astype(np.float32)
    y = (np.arange(n) % 2).astype(float)[:, None]
    x[y[:, 0] == 1, 4:8, 4:8] += 1.2
    return x, y


def taught(soft, x, tmp_path, plan=None, name="s"):
    (student,) = distilled.students(plan or drawn(), (0.5,)).values() if plan is None else (plan,)
    nothing = (x[:0], soft[:0])
    return distilled.teach(
        student, x, soft, tuning=nothing, score=lambda z, t: 0.0, checkpoint=tmp_path / f"{name}.npz"
    )


def test_a_student_answers_as_its_teacher_does_though_the_labels_say_the_opposite(tmp_path):
    x, y = pictures()
    soft = distilled.answers("binary", np.where(y == 1, -2.0, 2.0))  # this teacher is wrong about everything
    student = taught(soft, x, tmp_path)
    new, known = pictures(seed=1)
    assert mean_auroc(known, fit.logits(student.built, new)) < 0.1


@pytest.mark.slow
def test_how_sure_the_teacher_is_is_learned_too(tmp_path):
    """A teacher that says .7 and .3 gets a student whose scores stay near; one trained on the labels does not."""
    x, y = pictures()
    told = np.where(y == 1, 0.7, 0.3)
    student = fit.logits(taught(told, x, tmp_path).built, x)
    by_labels = fit.logits(taught(y, x, tmp_path, name="labels").built, x)
    assert np.abs(student).mean() < 1.3 < np.abs(by_labels).mean()


def test_levels_in_their_order_are_taught_as_the_teacher_shares_them(tmp_path):
    """Not spread over neighbours once more: the loss sees the shares themselves."""
    plan = drawn("ordinal", ("a", "b", "c"))
    x, _ = pictures(60)
    soft = distilled.answers("ordinal", np.log(np.tile([0.5, 0.1, 0.4], (60, 1))))
    short = planning.changed(plan, "training", "short", epochs=1)
    seen = {}
    before = fit.batches.Batches

    class Watching(before):
        def __init__(self, images, targets, *more, **how):
            seen["targets"] = targets
            super().__init__(images, targets, *more, **how)

    fit.batches.Batches = Watching
    try:
        taught(soft, x, tmp_path, plan=short)
    finally:
        fit.batches.Batches = before
    np.testing.assert_allclose(seen["targets"], soft, atol=1e-6)


def test_students_are_narrower_and_alone():
    plan = planning.changed(drawn(n=900), "ensemble", "several", networks=3)
    found = distilled.students(plan, (0.5, 0.25))
    assert list(found) == ["8-16", "4-8"] or list(found) == ["8-16", "4-8", "4-4"]
    assert all(p.ensemble == 1 and p.views == () for p in found.values())
    assert "8-16" not in distilled.students(planning.changed(plan, "ensemble", "one", networks=1), (0.5,))
