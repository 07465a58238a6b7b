"""Ranking: a score that is the same for all ranks nothing."""

from __future__ import annotations

import numpy as np

from overread.stats.ranking import macro_auroc
from overread.stats.resample import cases


def test_one_answer_for_all_ranks_nothing_whether_it_has_two_levels_or_three():
    truth, who = np.arange(60) % 3, [f"p{i // 2}" for i in range(60)]
    same = macro_auroc(cases(truth, np.tile([0.5, 0.3, 0.2], (60, 1)), who), 3)
    assert (same.value, same.low, same.high) == (0.5, 0.5, 0.5) and same.method == "every case scores the same"
    other = macro_auroc(cases(truth, np.random.default_rng(0).random((60, 3)), who), 3)
    assert other.high - other.low > 0.05  # the twin
