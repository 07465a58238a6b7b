import numpy as np
import pytest
from scipy.special import expit
from sklearn.metrics import roc_auc_score

from overread.domain import Estimate
from overread.stats.claims import difference_auroc, false_claim, gap, paired_auroc, published_variance, spread
from overread.stats.metrics import brief_gaps
from overread.stats.ranking import auroc, delong
from overread.stats.resample import Nameless, cases
from overread.stats.shares import wilson


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
        e = difference_auroc(cases(y, a, who), b)
        wrong += not e.low <= 0 <= e.high
    assert 0.025 <= wrong / 400 <= 0.08


def test_pairing_finds_what_two_separate_intervals_would_hide():
    r = np.random.default_rng(5)
    y, a, b, _ = two(r, 1500, gap=0.25)
    e = difference_auroc(cases(y, a), b)
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


def test_it_is_a_p_value_and_is_called_one():
    """Of models exactly as good as the published one it is spread evenly; of no other is it a probability of being so."""
    r = np.random.default_rng(7)
    found = [r.binomial(5000, 0.8) for _ in range(3000)]
    told = [false_claim(Estimate(k / 5000, *wilson(k, 5000), n=5000, method="Wilson"), 0.8) for k in found]
    p = np.array([claim["p_value"] for claim in told])
    for level in (0.1, 0.3, 0.5, 0.7):
        assert (p <= level).mean() == pytest.approx(level, abs=0.035)
    assert "one-sided p = " in told[0]["in_words"] and "probability" not in told[0]["in_words"]


def test_a_published_figure_on_few_cases_makes_the_claim_harder():
    ours = Estimate(0.95, *wilson(593, 624), n=624, method="Wilson")
    exact, doubted = false_claim(ours, 0.93), false_claim(ours, 0.93, published_n=200)
    assert exact["p_value"] < doubted["p_value"]
    assert "taken as exact" in exact["in_words"] and "taken as exact" not in doubted["in_words"]


def equal_models_claimed(figure, studies=1500):
    """How often a model as good as one published on 100 cases, 10 of them with the finding, is called better."""
    r, claimed = np.random.default_rng(1), 0
    y, few = np.repeat([1, 0], 200), np.repeat([1, 0], [20, 180])
    for _ in range(studies):
        theirs = r.normal(1.5 * few, 1)
        score = r.normal(1.5 * y, 1)
        value = delong(few, theirs)[0]
        if value < 1:
            ours = auroc(cases(y, score))
            claimed += false_claim(ours, value, published_n=200, figure=figure, share=0.1)["may_claim"]
    return claimed / studies


def test_a_published_auroc_on_few_positives_is_as_unsure_as_they_are_few():
    assert equal_models_claimed("auroc") <= 0.06
    assert equal_models_claimed("accuracy") > 0.08  # the twin: as a share of all cases it would look too sure


def test_a_published_sensitivity_rests_on_the_cases_with_the_finding():
    r, claimed, wrong = np.random.default_rng(2), 0, 0
    for _ in range(1500):
        k, theirs = r.binomial(300, 0.8), r.binomial(30, 0.8) / 30
        ours = Estimate(k / 300, *wilson(k, 300), n=300, method="Wilson")
        claimed += false_claim(ours, theirs, published_n=300, figure="sensitivity", share=0.1)["may_claim"]
        wrong += false_claim(ours, theirs, published_n=300)["may_claim"]
    assert claimed / 1500 <= 0.06 < 0.15 < wrong / 1500


def test_the_variance_of_an_auroc_is_that_of_its_simulation_and_the_words_tell_what_was_taken():
    r = np.random.default_rng(3)
    y = np.repeat([1, 0], [10, 90])
    drawn = [delong(y, r.exponential(1 + 5 * y))[0] for _ in range(3000)]
    assert np.sqrt(published_variance(6 / 7, "auroc", 10, 90)) == pytest.approx(np.std(drawn), rel=0.05)
    bells = [delong(y, r.normal(1.5 * y, 1))[0] for _ in range(3000)]
    assert np.sqrt(published_variance(np.mean(bells), "auroc", 10, 90)) > np.std(bells)
    ours = Estimate(0.95, *wilson(593, 624), n=624, method="Wilson")
    assert (
        "30 are taken to have the finding, as often as ours"
        in (false_claim(ours, 0.9, published_n=200, figure="specificity", share=0.15)["in_words"])
    )
    assert "half of them" in false_claim(ours, 0.9, published_n=200, figure="auroc")["in_words"]
    assert "taken" not in false_claim(ours, 0.9, published_n=200, figure="accuracy", share=0.15)["in_words"]


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


def test_the_gap_in_auroc_of_two_groups_is_the_jackknifes_and_narrower_than_joined_ends():
    """Oracle: the variance of DeLong, 1988, in each group; they share no patient, so the two are added."""
    rng = np.random.default_rng(3)
    truth = np.arange(160) % 2
    p = expit(rng.normal(size=160) + 1.8 * truth - 0.9)
    groups = (range(80), range(80, 160))
    told = brief_gaps(truth, p, threshold=0.5, patients=None, groups=groups)["auroc"]
    variance, each = 0.0, []
    for rows in groups:
        part = cases(truth[list(rows)], p[list(rows)], None)
        ill, well = part.score[part.truth == 1], part.score[part.truth == 0]
        wins = (ill[:, None] > well) + 0.5 * (ill[:, None] == well)
        variance += wins.mean(1).var(ddof=1) / len(ill) + wins.mean(0).var(ddof=1) / len(well)
        each.append(auroc(part))
    half = 1.98 * np.sqrt(variance)
    assert told.high - told.value == pytest.approx(half, rel=0.03) == told.value - told.low
    joined = gap(*each)
    assert joined.high - joined.low > 1.03 * (told.high - told.low) and "MOVER" in joined.method
    assert told.method == "difference; jackknife over images" and told.n_patients is None
    for who, named in ((str, "patients"), (lambda i: Nameless(str(i // 2)), "patients or studies")):
        known = brief_gaps(truth, p, threshold=0.5, patients=list(map(who, range(160))), groups=groups)["auroc"]
        assert known.method == f"difference; jackknife over {named}"
    few = brief_gaps(truth[:60], p[:60], threshold=0.5, patients=None, groups=(range(30), range(30, 60)))["auroc"]
    assert few.method.endswith("an answer in few images of a group: less sure than 95 %")
    same = brief_gaps(truth, p, threshold=0.5, patients=list(map(str, range(160))), groups=(range(80), range(80)))[
        "auroc"
    ]
    assert same.value == 0 and same.low < 0 < same.high and "MOVER" in same.method  # no patient moves it: not ±0
