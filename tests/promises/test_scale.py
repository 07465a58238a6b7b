"""The arithmetic of docs/scale.md: it says what the code says, and a simulation that knows nothing of it agrees."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))  # benchmarks/ stands beside tests/, and is not installed

from benchmarks import engine_overhead, scale
from benchmarks.scale import LINK, Load, Site, load, seconds, simulate, without

WORK = load(100_000)


def test_every_figure_of_the_page_is_what_the_arithmetic_says():
    page = (ROOT / "docs" / "scale.md").read_text(encoding="utf-8")
    assert [line for line in scale.lines() if line not in page] == []


def test_a_load_of_one_kind_is_what_one_works_out_by_hand(monkeypatch):
    monkeypatch.setattr(scale, "KINDS", {"CT": scale.Kind(1.0, 100, 1, 0.25, 2, 1.0, 20)})
    work = load(1000)
    assert work == Load(
        files=1e5, images=1e3, core_s=pytest.approx(500), driver_s=pytest.approx(24), sent=25e9, stored=50e9
    )
    assert seconds(work, Site(10)) == (pytest.approx(60), "network")  # 75 GB over 1.25 GB a second
    assert seconds(work, Site(5, link=4 * LINK)) == (pytest.approx(100), "cores")
    assert seconds(work, Site(50, link=8 * LINK)) == (pytest.approx(24), "collectors")


@pytest.mark.parametrize(
    ("site", "slowest"),
    [
        (Site(16, collectors=4, link=100 * LINK), "cores"),
        (Site(128, link=100 * LINK), "collectors"),
        (Site(128, collectors=16, link=LINK), "network"),
        (Site(16, collectors=4, link=100 * LINK, losses=60.0), "cores"),
    ],
)
def test_the_simulation_takes_as_long_as_the_arithmetic_says(site, slowest):
    took, waits = seconds(WORK, site)
    assert waits == slowest
    assert simulate(WORK, site, np.random.default_rng(1)) == pytest.approx(took, rel=0.03)


def test_the_simulation_can_disagree():
    """The twins: arithmetic that forgets the losses, the collector or the network is found out."""
    rng = np.random.default_rng(2)
    lossy = Site(16, collectors=4, link=100 * LINK, losses=600.0)
    forgotten = seconds(WORK, Site(16, collectors=4, link=100 * LINK))[0]
    assert simulate(WORK, lossy, rng) > 1.06 * forgotten
    for site, part in ((Site(128, link=100 * LINK), "driver_s"), (Site(128, collectors=16), "sent")):
        forgotten = seconds(without(WORK, **{part: 0.0, "stored": 0.0}), site)[0]
        assert simulate(WORK, site, rng) > 1.2 * forgotten


def test_the_benchmark_of_the_engine_compares_like_with_like():
    items = [1] * 20
    assert engine_overhead.loop(items) == engine_overhead.one(items)
    found = engine_overhead.ratios(engine_overhead.loop, engine_overhead.one, items, rounds=2)
    assert {len(values) for values in found.values()} == {2}
    with pytest.raises(SystemExit, match="same answers"):
        engine_overhead.ratios(engine_overhead.loop, lambda _: [], items)
