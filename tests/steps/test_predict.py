import csv
import json
import shutil

import numpy as np
import pytest
from PIL import Image as Pillow

from overread.errors import IntegrityError, NothingToDo, RunError
from overread.learn.predict import Model
from overread.steps.explain import explain
from overread.steps.export import export
from overread.steps.predict import predict


def rows(folder):
    with open(folder / "predictions.csv", newline="") as f:
        return list(csv.DictReader(f))


def test_every_file_has_a_line_read_or_refused(run, pictures, tmp_path):
    mixed = tmp_path / "mixed"
    shutil.copytree(pictures, mixed)
    (mixed / "letter.png").write_text("Dear colleague, no picture here. " * 5)
    (mixed / "half.png").write_bytes((mixed / "film000.png").read_bytes()[:300])
    result = predict(run, mixed, out=tmp_path / "out", progress=False)
    table = rows(tmp_path / "out")
    assert list(table[0])[:6] == ["file", "study", "label", "probability", "decision", "reason"]
    read = [r for r in table if r["decision"] != "refused"]
    assert len(read) == 96
    assert {r["decision"] for r in read} <= {"present", "absent", "refer"}
    assert all(r["reason"] for r in table if r["decision"] in ("refer", "refused"))
    refused = {r["file"].rsplit("/", 1)[-1] for r in table if r["decision"] == "refused"}
    assert {"letter.png", "half.png"} <= refused
    assert len(result.to_json()["predictions"]) == 96


def test_the_same_input_gives_the_same_bytes_alone_in_company_and_again(run, pictures, tmp_path):
    predict(run, pictures, out=tmp_path / "all", progress=False)
    predict(run, pictures, out=tmp_path / "again", progress=False)
    predict(run, pictures / "film007.png", out=tmp_path / "one", progress=False)
    assert (tmp_path / "all/predictions.csv").read_bytes() == (tmp_path / "again/predictions.csv").read_bytes()
    (alone,) = rows(tmp_path / "one")
    assert alone in rows(tmp_path / "all")


def test_predictions_agree_with_what_training_measured(run, pictures, tmp_path):
    """Same pixels in training and clinic: the logit of a testing image is the one that the report was made from."""
    predict(run, pictures, out=tmp_path, progress=False)
    model = Model.load(run)
    read = [r for r in rows(tmp_path) if r["decision"] != "refused"]  # the label table lies among the pictures
    by_image = {r["image"]: float(r["probability"]) for r in read}
    with open(run / "scores.csv", newline="") as f:
        scores = list(csv.DictReader(f))
    assert len(scores) > 30
    for row in scores:
        p = model.probabilities(np.array([[float(row["logit:blob"])]]))[0, 0]
        assert by_image[row["image"][:16]] == pytest.approx(p, abs=2e-6)


def test_an_empty_folder_and_a_folder_that_is_no_run_are_refused(run, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(NothingToDo):
        predict(run, tmp_path / "empty", out=tmp_path / "out", progress=False)
    with pytest.raises(RunError, match="not a finished run"):
        predict(tmp_path / "empty", tmp_path, out=tmp_path / "out", progress=False)


@pytest.mark.parametrize("name", ["model.onnx", "plan.json", "calibration.json", "head.npz"])
def test_a_changed_run_is_refused(run, pictures, tmp_path, name):
    changed = tmp_path / "run"
    shutil.copytree(run, changed)
    data = bytearray((changed / name).read_bytes())
    data[len(data) // 2] ^= 1
    (changed / name).write_bytes(data)
    with pytest.raises(IntegrityError, match=name):
        predict(changed, pictures / "film000.png", out=tmp_path / "out", progress=False)


def test_an_image_without_contrast_is_referred_with_the_reason(run, tmp_path):
    Pillow.new("L", (24, 24), 90).save(tmp_path / "flat.png")
    predict(run, tmp_path / "flat.png", out=tmp_path / "out", progress=False)
    (row,) = rows(tmp_path / "out")
    assert row["decision"] == "refer"
    assert "no contrast" in row["reason"]


def test_maps_lie_on_the_original_grid_and_decompose_the_logit(run, pictures, tmp_path):
    result = explain(run, pictures / "film000.png", out=tmp_path, progress=False)
    assert [m["method"] for m in result.maps] == ["grad-cam", "occlusion"]
    for told in result.maps:
        heat = np.load(tmp_path / told["map"])
        assert heat.shape == (1, 24, 20)
        assert heat.dtype == np.float32
        with Pillow.open(tmp_path / told["png"]) as picture:
            assert picture.size[0] > 400
    assert json.loads((tmp_path / "maps.json").read_text())["caution"].startswith("A heat-map is evidence")


def test_the_heat_map_finds_the_blob(run, tmp_path):
    """Where the truth is known the map's peak lies on it, far more often than chance."""
    y, x = np.mgrid[:24, :20]
    hits, rng = 0, np.random.default_rng(5)
    for i in range(20):
        r, c = rng.integers(5, 15, 2)
        pixels = rng.normal(90, 20, (24, 20)) + 90 * np.exp(-((y - r) ** 2 + (x - c) ** 2) / 8)
        file = tmp_path / f"{i}.png"
        Pillow.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(file)
        (told,) = explain(run, file, out=tmp_path / "maps", methods=["occlusion"], progress=False).maps
        peak = np.unravel_index(np.load(tmp_path / "maps" / told["map"])[0].argmax(), (24, 20))
        hits += np.hypot(peak[0] - r, peak[1] - c) < 5
    assert hits >= 12  # chance is about 3 of 20


def test_the_exported_graph_runs_in_another_program(run, tmp_path):
    import onnxruntime

    result = export(run, out=tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(str(result.file), providers=["CPUExecutionProvider"])
    shape = json.loads((tmp_path / "model.onnx.json").read_text())["input_shape"]
    logits, features = session.run(["logits", "features"], {"image": np.zeros((3, *shape), np.float32)})
    assert logits.shape == (3, 1)
    assert features.ndim == 4
    with pytest.raises(RunError, match="format"):
        export(run, out=tmp_path / "m", format="pickle")
