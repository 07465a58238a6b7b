"""A card that the tests of its pages share."""

from __future__ import annotations

from overread.domain import ModelCard
from overread.domain.human import HUMAN


def card(**task) -> ModelCard:
    return ModelCard(
        "mass (residual)", "1", task={"labels": ["mass"], "kind": "binary", **task}, network={"name": "residual"},
        recipe={"steps": [{"name": "resize", "args": {"size": [64, 64]}}]}, hashes={"code": "ab" * 32},
        cohorts={"testing": {"patients": None, "images": 1234, "labels": {"mass": {"true": 5, "false": 9, "unknown": 0}}}},
        training={"seconds": 3.14159}, calibration={}, limits=("one | site",),
        operating_points={"mass": {"threshold": 0.25, "rule": "sensitivity of at least 0.95", "cohort": "calibration"}},
        performance={"labels": {"mass": {"auroc": {"value": 0.9, "low": 0.8, "high": 0.95}}}, "floors": {"simple-cnn": {"absent": "not trained"}}},
    )  # fmt: skip


NEEDED = [key for key, item in HUMAN.items() if item.needed]
