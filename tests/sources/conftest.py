"""What the tests of this room share: a site on this computer that behaves badly, a clock nobody waits for."""

from __future__ import annotations

import pytest
from local_site import Clock, Site


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch):
    """A proxy of the machine the tests run on has no business between two ports of it."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.fixture
def site():
    with Site() as local:
        yield local


@pytest.fixture
def other_site():
    with Site() as local:
        yield local


@pytest.fixture
def clock() -> Clock:
    return Clock()
