"""Trying networks against each other: on whom, and what is said of it."""

from __future__ import annotations

import json

import numpy as np
import pytest

from overread.errors import CohortError
from overread.learn import starts
from overread.steps import rivals


@pytest.mark.parametrize(
    ("residual", "features", "chosen", "word"),
    [
        ((0.80, 0.82, 0.81, 0.80, 0.81), (0.92, 0.91, 0.92, 0.91, 0.92), "features", "learned elsewhere helps"),
        ((0.92, 0.91, 0.92, 0.91, 0.92), (0.80, 0.82, 0.81, 0.80, 0.81), "residual", "teach a network more"),
        ((0.80, 0.90, 0.81, 0.92, 0.85), (0.85, 0.82, 0.90, 0.84, 0.89), "features", "neither is surely better"),
        ((np.nan, 0.90), (0.85, np.nan), "features", "0 parts"),
    ],
)
def test_what_is_said_follows_from_the_figures(residual, features, chosen, word):
    found = rivals.decide({"residual": residual, "features": features}, n=100, test_over_train=0.25)
    assert found.chosen == chosen and word in found.reason and chosen in str(found)
    json.dumps(found.to_json())


def test_too_few_images_are_refused(archive, monkeypatch):
    monkeypatch.setattr(rivals, "FEWEST", 10_000)
    with pytest.raises(CohortError, match="at least 10000"):
        rivals.rivals(archive, label="blob", progress=False)


@pytest.mark.slow
@pytest.mark.skipif(not starts.available(), reason="the extra [starts] is not installed")
def test_networks_are_tried_on_training_and_tuning_patients_only(archive, monkeypatch):
    pytest.importorskip("keras")
    from overread.steps import plan as planned
    from overread.store.archive import Archive

    seen = []
    real = rivals._inputs

    def noted(store, entries, plan, into):
        seen.append({image for image, _, _ in entries})
        return real(store, entries, plan, into)

    monkeypatch.setattr(rivals, "_inputs", noted)
    found = rivals.rivals(archive, label="blob", most=2, progress=False)
    assert set(found.figures) == set(rivals.NETWORKS) and all(len(f) == 2 for f in found.figures.values())
    assert np.mean(found.figures["features"]) > 0.6
    with Archive.open(archive) as store:
        split = planned.divide(store, label="blob", kind="auto", split_column=None, seed=0, progress=False).split
    allowed = {i for c in ("training", "tuning") for i, _, _ in split.cohorts[c]}
    assert len(seen) == len(rivals.NETWORKS) and all(one == allowed for one in seen)
