"""The interval of a difference over parts that share their training cases."""

from __future__ import annotations

import numpy as np
import pytest

from overread.stats.folds import difference


@pytest.mark.parametrize("parts", [5, 15])
def test_it_holds_the_truth_where_parts_overlap_as_it_takes_them_to(parts):
    """Parts that share four fifths of what they learned from: correlation 1/5, as Nadeau and Bengio have it."""
    rng, truth, held, naive = np.random.default_rng(0), 0.02, 0, 0
    for _ in range(2000):
        each = truth + 0.03 * (np.sqrt(0.2) * rng.normal() + np.sqrt(0.8) * rng.normal(size=parts))
        found, other = (difference(each, test_over_train=r, n=100) for r in (0.25, 0.0))
        held += found.low <= truth <= found.high
        naive += other.low <= truth <= other.high
    assert 0.935 <= held / 2000 <= 0.965
    assert naive / 2000 < 0.9  # the twin: taken for independent they are too sure


def test_one_part_has_no_interval():
    found = difference(np.array([0.1]), test_over_train=0.25, n=10)
    assert found.value == 0.1 and np.isnan(found.low) and "one part" in found.method
