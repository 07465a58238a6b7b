"""Mean AUROC of several outputs, paired: against DeLong where there is one, against simulation where there are more."""

import numpy as np
import pytest

from overread.stats.claims import difference_auroc, paired_auroc
from overread.stats.paired import difference_mean_auroc
from overread.stats.resample import cases


def drawn(rng, n, *, outputs=2, better=0.0, images=1):
    """Scores of two readers of the same cases, alike but for some noise of their own; the first better by design."""
    y = (rng.random((n, outputs)) < 0.4).astype(float)
    who = np.arange(n) // images
    y = y[who * images]  # a patient has one answer
    seen = y + rng.normal(size=y.shape)
    return y, seen + better * y + 0.4 * rng.normal(size=y.shape), seen + 0.4 * rng.normal(size=y.shape), who.astype(str)


def test_of_one_output_it_is_the_difference_of_two_aurocs():
    y, a, b, who = drawn(np.random.default_rng(0), 120, outputs=1)
    mine = difference_mean_auroc(y, a, b, list(who))
    one = difference_auroc(cases(y[:, 0], a[:, 0], list(who)), b[:, 0])
    assert (mine.value, mine.low, mine.high) == pytest.approx((one.value, one.low, one.high))
    value, variance = paired_auroc(y[:, 0], a[:, 0], b[:, 0])
    assert mine.value == pytest.approx(value)
    assert (mine.high - mine.low) / 2 / 1.96 == pytest.approx(variance**0.5, rel=0.05)


@pytest.mark.parametrize("images", [1, 3])
def test_the_interval_covers_the_truth_as_often_as_it_says(images):
    """Two readers that are equally good: 0 lies outside in 5 %, with two outputs and several images a patient."""
    rng = np.random.default_rng(1)
    out = 0
    for _ in range(300):
        y, a, b, who = drawn(rng, 90, images=images)
        e = difference_mean_auroc(y, a, b, list(who))
        out += not e.low <= 0 <= e.high
    assert 3 <= out <= 30


def test_forgetting_whose_image_it_is_is_too_sure():
    """The twin: five images of one patient taken for five patients gives intervals that miss too often."""
    rng, out = np.random.default_rng(2), 0
    for _ in range(200):
        y, a, b, _ = drawn(rng, 30, outputs=1)
        y, a, b = (np.repeat(x, 5, axis=0) for x in (y, a, b))
        e = difference_mean_auroc(y, a, b, None)
        out += not e.low <= 0 <= e.high
    assert out > 30


def test_an_unknown_answer_counts_for_the_other_outputs_only():
    y, a, b, who = drawn(np.random.default_rng(3), 100)
    hidden = y.copy()
    hidden[:40, 1] = np.nan
    there = [~np.isnan(hidden[:, k]) for k in (0, 1)]
    each = [difference_auroc(cases(y[t, k], a[t, k], list(who[t])), b[t, k]).value for k, t in enumerate(there)]
    e = difference_mean_auroc(hidden, a, b, list(who))
    assert e.value == pytest.approx(np.mean(each)) and e.n == 100
    hidden[:, 1] = 0
    assert difference_mean_auroc(hidden, a, b, list(who)).value == pytest.approx(each[0])
    assert np.isnan(difference_mean_auroc(np.zeros_like(y), a, b).value)
