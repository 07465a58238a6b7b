"""The same verbs in three dimensions: volumes from a NIfTI folder, to a report, heat-maps and predictions."""

import csv

import nibabel
import numpy as np
import pytest

pytest.importorskip("keras")

from overread.steps.collect import collect
from overread.steps.explain import explain
from overread.steps.predict import predict
from overread.steps.train import train


@pytest.fixture(scope="module")
def volumes(tmp_path_factory):
    """60 small volumes in two class folders; one class has a bright ball."""
    folder = tmp_path_factory.mktemp("volumes")
    rng = np.random.default_rng(0)
    x, y, z = np.mgrid[:20, :18, :12]
    for i in range(60):
        ball = i % 2
        values = rng.normal(100, 20, (20, 18, 12))
        if ball:
            a, b, c = [*rng.integers(4, 14, 2).tolist(), int(rng.integers(3, 9))]
            values += 150 * np.exp(-((x - a) ** 2 + (y - b) ** 2 + (z - c) ** 2) / 10)
        home = folder / ("ball" if ball else "empty")
        home.mkdir(exist_ok=True)
        nibabel.save(nibabel.Nifti1Image(values.astype(np.float32), np.diag([2, 2, 3, 1])), home / f"v{i:02d}.nii.gz")
    return folder


def test_volumes_walk_the_same_line(volumes, tmp_path):
    collect(volumes, into=tmp_path / "a", labels_from_folders=True, workers=1, progress=False)
    result = train(tmp_path / "a", label="ball", out=tmp_path / "r", budget="20s", progress=False)
    assert result.metrics["labels"]["ball"]["auroc"]["value"] > 0.7
    assert result.metrics["floors"]["simple-cnn"]
    assert "patient identity unknown" in result.report.read_text()
    one = next((volumes / "ball").iterdir())
    explained = explain(tmp_path / "r", one, out=tmp_path / "e", progress=False)
    for told in explained.maps:
        assert np.load(tmp_path / "e" / told["map"]).shape == (12, 18, 20)  # slices, rows, columns
    predict(tmp_path / "r", volumes, out=tmp_path / "p", progress=False)
    with open(tmp_path / "p/predictions.csv", newline="") as f:
        rows = list(csv.DictReader(f))
    assert len(rows) == 60
    assert {r["decision"] for r in rows} <= {"present", "absent", "refer"}


def test_a_picture_is_refused_by_a_model_of_volumes(volumes, tmp_path, pictures):
    collect(volumes, into=tmp_path / "a", labels_from_folders=True, workers=1, progress=False)
    train(tmp_path / "a", label="ball", out=tmp_path / "r", budget="2s", baseline=False, progress=False)
    result = predict(tmp_path / "r", pictures / "film000.png", out=tmp_path / "p", progress=False)
    ((_, code, reason),) = result.refused
    assert code == "not-a-volume"
    assert "a volume of several slices" in reason
