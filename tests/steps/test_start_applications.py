"""Weights of Keras' applications as a start, from `plan` to an answer: named in plan and card, and not needed afterwards."""

from __future__ import annotations

import json

import numpy as np
import pytest

keras = pytest.importorskip("keras")

from overread.errors import IntegrityError, RunError
from overread.learn import applications, plan_file
from overread.steps import plan as planned
from overread.steps.train import train
from tests.steps.small_run import fill, spots


@pytest.fixture(scope="module")
def brought(tmp_path_factory):
    """An archive of pictures with a spot or without, and a file as Keras saves it."""
    folder = tmp_path_factory.mktemp("brought")
    pictures, truth = spots(120, seed=3)
    fill(folder / "archive", pictures, [{"spot": bool(x)} for x in truth]).close()
    keras.utils.set_random_seed(0)
    model = keras.applications.MobileNetV2(weights=None, include_top=False, input_shape=(64, 64, 3))
    model.save_weights(folder / "mine.weights.h5")
    return folder


def test_the_plan_names_the_file_by_hash_and_says_what_nobody_knows(brought, tmp_path):
    planned.plan(brought / "archive", label="spot", start=brought / "mine.weights.h5", out=tmp_path / "p.toml", progress=False)  # fmt: skip
    parts = plan_file.read(tmp_path / "p.toml")[1]
    start = parts["start"]
    assert start["application"] == "MobileNetV2" and start["path"] == str(brought / "mine.weights.h5")
    assert start["sha256"] == applications.read(brought / "mine.weights.h5").sha256
    assert "licence: unknown" in start["reason"] and "calibrate and test" in start["reason"]
    assert parts["network"]["name"] == "features" and parts["input"]["channels"] == 3


@pytest.mark.parametrize("how, words", [
    ({"network": "residual"}, "for the network residual"),
    ({"network": "auto"}, "for the network auto"),
    ({"seeds": 2}, "2 seeds"),
])  # fmt: skip
def test_what_it_cannot_be_beside_is_refused_before_any_work(brought, how, words):
    with pytest.raises(RunError, match=words):
        planned.plan(brought / "archive", label="spot", start=brought / "mine.weights.h5", progress=False, **how)


@pytest.mark.slow
def test_a_run_answers_without_the_file_and_a_plan_does_not_train_without_it(brought, tmp_path):
    from overread.steps.predict import predict

    file = tmp_path / "moved.weights.h5"
    file.write_bytes((brought / "mine.weights.h5").read_bytes())
    run = train(brought / "archive", label="spot", start=file, out=tmp_path / "run", baseline=False, progress=False)
    card = json.loads((run.path / "card.json").read_text())
    assert applications.read(file).sha256[:16] in card["network"]["start"]
    assert "licence: unknown" in card["network"]["start"]
    planned.plan(brought / "archive", label="spot", start=file, out=tmp_path / "p.toml", progress=False)
    file.unlink()
    from PIL import Image

    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 255, (64, 64), np.uint8)).save(tmp_path / "one.png")
    assert len(predict(run.path, tmp_path / "one.png", out=tmp_path / "answer", progress=False).reads) == 1
    with pytest.raises((IntegrityError, RunError), match=r"moved\.weights\.h5"):
        train(brought / "archive", label="spot", plan=tmp_path / "p.toml", out=tmp_path / "other", baseline=False, progress=False)  # fmt: skip
