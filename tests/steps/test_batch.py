"""A batch that does not come as the calibration cohort did is named, at work and in the report; its answers stay."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image as Picture
from small_run import NOW, fill, small_run, spots

from overread.steps.evaluate import evaluate
from overread.steps.predict import predict


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    home = tmp_path_factory.mktemp("batch")
    pictures, there = spots(420, seed=1)
    with fill(home / "archive", pictures, [{"spot": bool(t)} for t in there], patients=False) as archive:
        return small_run(home, archive, "spot")


def offered(folder, pictures):
    folder.mkdir()
    for i, picture in enumerate(pictures):
        Picture.fromarray(picture).save(folder / f"{i:03d}.png")
    return folder


def duller(pictures):
    """Another scanner: less contrast, though no single picture would be refused for it."""
    return np.clip(90 + 0.85 * (pictures.astype(float) - 90), 0, 255).astype(np.uint8)


def test_pictures_of_another_scanner_are_named_and_those_of_the_same_are_not(run, tmp_path):
    pictures, _ = spots(60, seed=2)
    same = predict(run, offered(tmp_path / "same", pictures), out=tmp_path / "a", progress=False, now=NOW)
    other = predict(run, offered(tmp_path / "other", duller(pictures)), out=tmp_path / "b", progress=False, now=NOW)
    assert not same.batch["alarm"] and "do not look like" not in str(same)
    assert other.batch["alarm"] and other.batch["p_value"] < 0.01
    assert "! these images do not look like those of the calibration cohort (p < 0.001; 60 studies" in str(other)
    kept = json.loads((tmp_path / "b" / "predictions.json").read_text())["batch"]
    assert kept["alarm"] and kept["kinds"]["quality"]["place"] < 0.001
    assert len(other.reads) == 60  # said of all of them together; each is answered or referred as it would be alone


def test_an_answer_is_the_same_in_a_strange_company_and_alone(run, tmp_path):
    pictures, _ = spots(40, seed=3)
    folder = offered(tmp_path / "some", duller(pictures))
    predict(run, folder, out=tmp_path / "all", progress=False, now=NOW)
    alone = predict(run, folder / "007.png", out=tmp_path / "one", progress=False, now=NOW)
    assert alone.batch is None  # one study is no batch
    line = next(s for s in (tmp_path / "all" / "predictions.csv").read_text().splitlines() if "007.png" in s)
    assert line == (tmp_path / "one" / "predictions.csv").read_text().splitlines()[1]


def test_the_report_compares_testing_with_calibration(run, tmp_path):
    own = evaluate(run, now=NOW)
    told = own.metrics["exchangeability"]
    assert not told["alarm"]
    assert (told["n"], told["calibration"]) == (84, 42)
    page = (run / "report.html").read_text()
    assert "nothing shows that these images come otherwise" in page.lower()
    pictures, there = spots(90, seed=4)
    with fill(tmp_path / "other", duller(pictures), [{"spot": bool(t)} for t in there], patients=False, others=True):
        pass
    other = evaluate(run, on=tmp_path / "other", now=NOW)
    page = other.report.read_text()
    assert other.metrics["exchangeability"]["alarm"] and "! these images do not look like" in str(other)
    assert "! these images" not in str(own)
    assert "do not look like those of the calibration cohort" in page[: page.index("What was asked")]
