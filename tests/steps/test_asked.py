"""A published figure is held against ours with the precision that its cases allow."""

import numpy as np

from overread.stats.metrics import binary_figures
from overread.steps.asked import claims_against


def test_the_published_cases_are_taken_to_have_the_finding_as_often_as_ours():
    r = np.random.default_rng(0)
    truth = np.repeat([1, 0], [60, 540])
    p = 1 / (1 + np.exp(-r.normal(2.0 * truth - 1, 1)))
    labels = {"mass": binary_figures(truth, p, threshold=0.5)}
    wanted = {"auroc": 0.85, "accuracy_at_half": 0.75}
    by_answer, of_all = claims_against(labels, wanted, n=200)
    assert "of the published 200 cases, 20 are taken to have the finding" in by_answer["in_words"]
    assert "are taken" not in of_all["in_words"]
    exact, _ = claims_against(labels, wanted, n=None)
    assert exact["p_value"] < by_answer["p_value"]
