import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from overread.domain import Estimate
from overread.stats.claims import difference_auroc, false_claim, gap, paired_auroc, spread
from overread.stats.metrics import delong
from overread.stats.resample import cases, wilson


def two(r, n, *, gap=0.0, images=1):
    """Two models that share most of their noise."""
    y = (r.random(n) < 0.5).astype(int).repeat(images)
    common = r.normal(0, 0.8, n).repeat(images)
    a, b = (1.2 + gap) * y + common + r.normal(0, 0.6, n * images), 1.2 * y + common + r.normal(0, 0.6, n * images)
    return y, a, b, [str(i) for i in np.arange(n).repeat(images)]


def test_the_difference_and_its_variance_agree_with_the_definition():
    """DeLong's covariance by placements, written out in O(m n) as the paper has it."""
    r = np.random.default_rng(0)
    y, a, b, _ = two(r, 60)

    def placements(s):
        over = (s[y == 1][:, None] > s[y == 0]) + 0.5 * (s[y == 1][:, None] == s[y == 0])
        return over.mean(1), over.mean(0)

    (av, aw), (bv, bw) = placements(a), placements(b)
    m, n = len(av), len(aw)
    s10, s01 = np.cov(av, bv), np.cov(aw, bw)
    cov = s10 / m + s01 / n
    value, variance = paired_auroc(y, a, b)
    assert value == pytest.approx(roc_auc_score(y, a) - roc_auc_score(y, b), abs=1e-12)
    assert variance == pytest.approx(cov[0, 0] + cov[1, 1] - 2 * cov[0, 1], abs=1e-12)
    assert cov[0, 0] == pytest.approx(delong(y, a)[1], abs=1e-12)


@pytest.mark.parametrize("images", [1, 3])
def test_two_equal_models_are_told_apart_in_1_of_20_studies(images):
    wrong = 0
    for seed in range(400):
        r = np.random.default_rng(seed)
        y, a, b, who = two(r, 150, images=images)
        e = difference_auroc(cases(y, a, who), b, rng=r, replicates=300)
        wrong += not e.low <= 0 <= e.high
    assert 0.025 <= wrong / 400 <= 0.08


def test_pairing_finds_what_two_separate_intervals_would_hide():
    r = np.random.default_rng(5)
    y, a, b, _ = two(r, 1500, gap=0.25)
    e = difference_auroc(cases(y, a), b, rng=r)
    apart = np.sqrt(delong(y, a)[1] + delong(y, b)[1]) * 1.96
    assert e.low > 0
    assert e.high - e.low < 2 * apart


def test_false_claims_are_as_often_false_as_stated():
    """A model exactly as good as the published one is called better in at most 1 of 20 studies."""
    r = np.random.default_rng(6)
    claimed = 0
    for _ in range(4000):
        k = r.binomial(624, 0.9)
        claimed += false_claim(Estimate(k / 624, *wilson(k, 624), n=624, method="Wilson"), 0.9)["may_claim"]
    assert 0.03 <= claimed / 4000 <= 0.065


def test_a_published_figure_on_few_cases_makes_the_claim_harder():
    ours = Estimate(0.95, *wilson(593, 624), n=624, method="Wilson")
    exact, doubted = false_claim(ours, 0.93), false_claim(ours, 0.93, published_n=200)
    assert exact["probability"] < doubted["probability"]
    assert "taken as exact" in exact["in_words"] and "taken as exact" not in doubted["in_words"]


def test_the_spread_over_seeds():
    told = spread([0.9, 0.92, 0.94])
    assert (told["seeds"], round(told["mean"], 3), round(told["sd"], 3)) == (3, 0.92, 0.02)
    assert np.isnan(spread([0.9])["sd"])


def test_the_gap_between_two_groups_holds_the_truth_19_times_of_20():
    held = 0
    for seed in range(1000):
        r = np.random.default_rng(seed)
        k, j = r.binomial(60, 0.9), r.binomial(90, 0.75)
        a = Estimate(k / 60, *wilson(k, 60), n=60, method="Wilson")
        b = Estimate(j / 90, *wilson(j, 90), n=90, method="Wilson")
        held += gap(a, b).low <= 0.15 <= gap(a, b).high
    assert 0.93 <= held / 1000 <= 0.97
