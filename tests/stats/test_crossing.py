"""Parts of whole patients, answers that are put together, and intervals that know of the drawing."""

from __future__ import annotations

import numpy as np
import pytest

from overread.domain import Estimate
from overread.errors import CohortError
from overread.stats import crossing


def test_parts_keep_patients_whole_and_answers_shared() -> None:
    rng = np.random.default_rng(0)
    who = np.repeat(np.arange(60), 3)
    y = (who % 4 == 0).astype(float)[:, None]
    part = crossing.parts(y, who, folds=5, rng=rng)
    assert all(len(set(part[who == p])) == 1 for p in range(60))
    patients = [{int(p) for p in who[part == k]} for k in range(5)]
    assert {len(p) for p in patients} == {12}
    assert [sum(p % 4 == 0 for p in some) for some in patients] == [3] * 5


def test_parts_drawn_by_image_would_tear_patients_apart() -> None:
    """The twin: told that each image is a patient, the same function does tear them."""
    who = np.repeat(np.arange(60), 3)
    y = (who % 4 == 0).astype(float)[:, None]
    part = crossing.parts(y, range(180), folds=5, rng=np.random.default_rng(0))
    assert any(len(set(part[who == p])) > 1 for p in range(60))


def test_parts_share_out_every_level_of_a_label() -> None:
    y = np.eye(3)[np.arange(45) % 3]
    part = crossing.parts(y, range(45), folds=5, rng=np.random.default_rng(3))
    assert [np.bincount(np.arange(45)[part == k] % 3).tolist() for k in range(5)] == [[3, 3, 3]] * 5


def test_an_answer_that_fewer_patients_have_than_parts_is_refused() -> None:
    y = np.r_[np.ones(4), np.zeros(40)][:, None]
    with pytest.raises(CohortError, match="5 parts, and 4 patients with one answer"):
        crossing.parts(y, range(44), folds=5, rng=np.random.default_rng(0))


def test_unknown_answers_are_dealt_too() -> None:
    y = np.where(np.arange(50) % 5 == 0, np.nan, np.arange(50) % 2)[:, None]
    part = crossing.parts(y, range(50), folds=5, rng=np.random.default_rng(0))
    assert np.bincount(part).tolist() == [10] * 5


def _cohort(n: int, seed: int) -> tuple[np.ndarray, np.ndarray, list[str]]:
    rng = np.random.default_rng(seed)
    y = (np.arange(n) % 2).astype(float)[:, None]
    return rng.normal(size=(n, 1)) + 2 * y, y, [f"P{i}" for i in range(n)]


def test_what_a_part_is_answered_knows_nothing_of_the_parts_own_answers() -> None:
    z, y, who = _cohort(80, 0)
    held = (z[20:], y[20:], who[20:])
    how = {"kind": "binary", "sensitivity": 0.9}
    one, other = (crossing.answer(z[:20], held, rng=np.random.default_rng(1), **how) for _ in range(2))
    assert np.array_equal(one.probability, other.probability)
    moved = crossing.answer(z[:20], (z[20:], 1 - y[20:], who[20:]), rng=np.random.default_rng(1), **how)
    assert not np.array_equal(one.threshold, moved.threshold)  # of those held out it knows all


def test_a_part_scored_alone_or_with_others_is_answered_alike() -> None:
    z, y, who = _cohort(90, 1)
    held = (z[30:], y[30:], who[30:])
    how = {"kind": "binary", "sensitivity": 0.9}
    whole = crossing.answer(z[:30], held, rng=np.random.default_rng(1), **how)
    half = crossing.answer(z[:15], held, rng=np.random.default_rng(1), **how)
    assert np.allclose(whole.probability[:, :15], half.probability)
    assert np.array_equal(whole.at(range(15)).called, half.called)


def test_answers_of_parts_go_back_to_their_rows() -> None:
    z, y, who = _cohort(60, 2)
    drawn = np.stack([np.arange(60) % 3, np.arange(60) // 20])
    answered = [
        [
            crossing.answer(
                z[row == k], (z[row != k], y[row != k], [who[i] for i in np.flatnonzero(row != k)]),
                kind="binary", sensitivity=0.9, rng=np.random.default_rng(k),
            )
            for k in range(3)
        ]
        for row in drawn
    ]  # fmt: skip
    every = crossing.together(drawn, answered)
    assert every.repeats == 2 and not np.isnan(every.probability).any()
    assert np.array_equal(every.probability[1, drawn[1] == 2], answered[1][2].probability[0])
    logits = np.log(every.probability / (1 - every.probability)).mean(axis=0)
    assert np.allclose(every.mean, 1 / (1 + np.exp(-logits)))
    assert np.array_equal(every.called, every.mean >= every.line)
    assert (every.ends[..., 0] <= every.mean).all() and (every.ends[..., 1] >= every.mean).all()


def test_levels_are_put_together_as_shares_that_sum_to_one() -> None:
    rng = np.random.default_rng(0)
    level = np.arange(90) % 3
    z, y = rng.normal(size=(90, 3)) + 2 * np.eye(3)[level], np.eye(3)[level]
    part = np.arange(90) % 5
    who = [f"P{i}" for i in range(90)]
    row = [
        crossing.answer(
            z[part == k], (z[part != k], y[part != k], [who[i] for i in np.flatnonzero(part != k)]),
            kind="ordinal", sensitivity=0.9, rng=rng,
        )
        for k in range(5)
    ]  # fmt: skip
    every = crossing.together(part[None], [row])
    assert np.allclose(every.mean.sum(axis=1), 1)
    assert every.possible().shape == (90, 3)
    assert every.possible()[np.arange(90), level].mean() > 0.8


def test_repeats_that_agree_widen_nothing_and_others_do() -> None:
    figure = Estimate(0.8, 0.7, 0.88, 50)
    assert crossing.widened(figure, [0.8, 0.8, 0.8]).low == pytest.approx(0.7)
    wide = crossing.widened(figure, [0.7, 0.8, 0.9])
    assert wide.low < 0.5 and wide.high == 1.0 and "3 repeats" in wide.method
    assert crossing.widened(figure, [0.8]) == figure


def test_every_figure_of_a_label_is_widened_and_nothing_else() -> None:
    figures = {"mass": {"auroc": Estimate(0.8, 0.7, 0.9, 9), "confusion": {"tp": 3}}}
    each = [{"mass": {"auroc": Estimate(v, 0, 1, 9), "confusion": {"tp": 9}}} for v in (0.7, 0.9)]
    found = crossing.all_widened(figures, each)
    assert found["mass"]["auroc"].low < 0.7 and found["mass"]["confusion"] == {"tp": 3}


def test_a_figure_that_is_no_share_is_not_cut_off_as_one() -> None:
    """A likelihood ratio may exceed 1 and a slope fall below 0; a share may do neither (the twin)."""
    for name in ("lr_minus", "slope", "npv"):
        each = [{name: Estimate(v, 0.0, 2.0, 40)} for v in (0.2, 0.5, 0.8)]
        found = crossing.all_widened({name: Estimate(0.5, 0.1, 0.9, 40)}, each)[name]
        assert (found.low < 0) == (name == "slope") and (found.high > 1) == (name != "npv")
