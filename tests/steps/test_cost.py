"""What a training and an answer cost, counted and priced."""

import time

import numpy as np
import pytest

pytest.importorskip("onnx", reason="the test's network is written with the onnx package")
from small_run import graph

from overread.domain import Image, Recipe, Step
from overread.steps import cost

RECIPE = Recipe((Step("normalise", {"by": "full_range"}), Step("resize", {"size": (28, 28)})))


def counters(home, joules: float, *, most: float = 1000.0, sockets: int = 2):
    for k in range(sockets):
        folder = home / f"intel-rapl:{k}"
        folder.mkdir(exist_ok=True)
        (folder / "energy_uj").write_text(f"{int(joules * 1e6)}\n")
        (folder / "max_energy_range_uj").write_text(f"{int(most * 1e6)}\n")
        part = home / f"intel-rapl:{k}:0"  # a part of the socket, counted in it
        part.mkdir(exist_ok=True)
        (part / "energy_uj").write_text("5\n")
    return home


def test_processor_seconds_are_those_that_were_used():
    since = cost.read_meter()
    end = time.process_time() + 0.3
    while time.process_time() < end:
        pass
    assert 0.2 <= cost.spent(since)["processor_seconds"] < 2


def test_joules_of_all_sockets_once_and_over_the_end_of_the_counter(tmp_path):
    since = cost.read_meter(counters(tmp_path, 990))
    assert (
        cost.spent(since, counters(tmp_path, 995))["joules"] == 10
    )  # two sockets, 5 J each; their parts are not added
    assert cost.spent(since, counters(tmp_path, 4))["joules"] == 28  # begun again after 1,000 J


def test_without_counters_no_joules_are_made_up(tmp_path):
    told = cost.spent(cost.read_meter(tmp_path), tmp_path)
    assert told["joules"] is None and "no energy counter" in told["joules_from"]
    since = cost.read_meter(counters(tmp_path, 1))
    (tmp_path / "intel-rapl:1" / "energy_uj").unlink()  # a counter that can no longer be read: half is not the whole
    assert cost.spent(since, tmp_path)["joules"] is None


def test_images_for_a_euro_follow_from_the_seconds_and_the_price(tmp_path):
    (tmp_path / "model.onnx").write_bytes(graph(np.ones((8, 1)), np.zeros(1)))
    images = [Image(np.full((1, 40, 40), k, np.uint8), full_range=(0, 255)) for k in range(9)]
    told = cost.of_prediction(tmp_path / "model.onnx", RECIPE, iter(images), euro_a_core_hour=3.6)
    assert told["images_timed"] <= 8 and told["price_from"] == "as given"
    assert told["images_a_euro"] == pytest.approx(1000 / told["processor_ms_an_image"] * 1000, rel=0.02)
    assert cost.of_prediction(tmp_path / "model.onnx", RECIPE, [])["images_a_euro"] is None
    assert "m7g.large" in cost.of_prediction(tmp_path / "model.onnx", RECIPE, images[:1])["price_from"]
