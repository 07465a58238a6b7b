"""The secret of a cluster of this machine's own lives as long as the cluster, and stands in nobody else's way."""

from __future__ import annotations

import os

import pytest

from overread.engine.cluster import _token_for


def test_a_local_cluster_has_a_secret_of_its_own_and_takes_it_along(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ray")
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    seen = []
    for _ in range(2):
        with _token_for("local"):
            seen.append(os.environ["RAY_AUTH_TOKEN"])
        assert "RAY_AUTH_TOKEN" not in os.environ
    assert len(set(seen)) == 2 and all(len(token) == 64 for token in seen)


def test_a_secret_that_somebody_chose_is_left_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ray")
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("RAY_AUTH_TOKEN", "chosen")
    with _token_for("local"):
        assert os.environ["RAY_AUTH_TOKEN"] == "chosen"
    assert os.environ["RAY_AUTH_TOKEN"] == "chosen"
