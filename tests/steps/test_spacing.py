"""From files to a plan in millimetres: asked for, written into the file, or impossible and refused before any work."""

import json

import nibabel
import numpy as np
import pytest

from overread.errors import CohortError, RunError
from overread.formats import door
from overread.learn import plan_file
from overread.steps import plan as planned
from overread.steps.collect import collect
from overread.steps.explain import explain
from overread.steps.predict import predict
from overread.steps.train import train
from overread.store.archive import Archive


def volumes(folder, *, n=40, size=(12, 14), spacings=((2.0, 3.0), (3.0, 2.0))):
    """Small NIfTI volumes of several spacings, half with a bright ball of 12 mm; of all the middle is 10 mm to the left."""
    rng = np.random.default_rng(0)
    for i in range(n):
        (plane, slices), ball = spacings[i % len(spacings)], i // 2 % 2
        shape = (*(round(size[1] * 3 / plane),) * 2, round(size[0] * 3 / slices))
        axes = [(np.arange(k) - (k - 1) / 2) * mm for k, mm in zip(shape, (plane, plane, slices), strict=True)]
        x, y, z = np.meshgrid(*axes, indexing="ij", sparse=True)
        values = rng.normal(100, 10, shape) + 150 * ball * ((x + 10) ** 2 + y**2 + z**2 < 36)
        home = folder / ("ball" if ball else "empty")
        home.mkdir(exist_ok=True, parents=True)
        nibabel.save(nibabel.Nifti1Image(values.astype(np.float32), np.diag([plane, plane, slices, 1])), home / f"v{i:02d}.nii")  # fmt: skip
    return folder


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    folder = tmp_path_factory.mktemp("spaced")
    collect(volumes(folder / "in"), into=folder / "a", labels_from_folders=True, workers=1, progress=False)
    return folder


ASK = {"label": "ball", "side_matters": True, "progress": False}


def test_plan_states_the_spacing_and_takes_up_its_own_file(cohort, tmp_path):
    told = planned.plan(cohort / "a", **ASK, out=tmp_path / "plan.toml", spacing=3)
    assert told.parts["input"]["spacing_mm"] == [3.0, 3.0, 3.0]
    assert "spacing_mm [3.0, 3.0, 3.0]" in str(told) or "spacing_mm 3.0, 3.0, 3.0" in str(told)
    with Archive.open(cohort / "a") as store:
        divided = planned.divide(store, label="ball", kind="auto", split_column=None, seed=0, progress=False)
        drawn = planned.taken_up(tmp_path / "plan.toml", store, divided, progress=False)
    step = next(s for s in drawn.recipe.steps if s.name == "resize")
    assert step.args == {"size": (12, 16, 16), "spacing_mm": (3.0, 3.0, 3.0), "fill": 0.0}


def test_a_plain_plan_states_none(cohort):
    """Twin: nothing changes for who does not ask."""
    assert "spacing_mm" not in planned.plan(cohort / "a", **ASK).parts["input"]


def test_a_plan_in_mm_of_volumes_without_is_refused(tmp_path):
    rng = np.random.default_rng(0)
    voxels = rng.integers(0, 255, (40, 8, 8, 8), np.uint8)
    np.savez(tmp_path / "set.npz", train_images=voxels, train_labels=np.arange(40)[:, None] % 2)
    collect(tmp_path / "set.npz", into=tmp_path / "a", workers=1, progress=False)
    with Archive.open(tmp_path / "a") as store:
        (label,) = {n for s in store.studies() for n in s.labels}
    ask = {**ASK, "label": label}
    with pytest.raises(CohortError, match=r"\d+ of \d+ training volumes do not say how far their voxels lie apart"):
        planned.plan(tmp_path / "a", **ask, spacing="2")
    told = planned.plan(tmp_path / "a", **ask, out=tmp_path / "plan.toml", spacing="auto")
    assert "do not say how far" in told.parts["input"]["reason"]
    written = (tmp_path / "plan.toml").read_text().replace("[input]\n", "[input]\nspacing_mm = [2, 2, 2]\nfill = 0\n")
    (tmp_path / "plan.toml").write_text(written)
    plan_file.read(tmp_path / "plan.toml")  # the file is sound; the volumes are not
    with pytest.raises(CohortError, match="the plan states voxels of 2 × 2 × 2 mm"):
        train(tmp_path / "a", label=label, out=tmp_path / "r", plan=tmp_path / "plan.toml", progress=False)
    assert not (tmp_path / "r").exists()


def test_spacing_goes_with_no_choice_of_others(cohort, tmp_path):
    with pytest.raises(RunError, match="--spacing beside --network auto"):
        planned.plan(cohort / "a", **ASK, network="auto", spacing="auto")
    planned.plan(cohort / "a", **ASK, out=tmp_path / "plan.toml")
    with pytest.raises(RunError, match="--spacing beside --plan"):
        train(cohort / "a", label="ball", out=tmp_path / "r", plan=tmp_path / "plan.toml", spacing="2", progress=False)


@pytest.mark.slow
def test_train_predict_and_explain_in_mm(cohort, tmp_path):
    """One recipe from training to the clinic, told in the card; a volume that does not know its spacing is refused there."""
    pytest.importorskip("keras")
    train(cohort / "a", label="ball", out=tmp_path / "r", spacing="3", budget="5s", baseline=False, side_matters=True, progress=False)  # fmt: skip
    card = json.loads((tmp_path / "r/card.json").read_text())
    assert next(s for s in card["recipe"]["steps"] if s["name"] == "resize")["args"]["spacing_mm"] == [3.0, 3.0, 3.0]
    assert "3" in (tmp_path / "r/card.md").read_text()
    predicted = predict(tmp_path / "r", cohort / "in", out=tmp_path / "p", progress=False)
    assert len(predicted.reads) == 40
    told = explain(tmp_path / "r", cohort / "in/ball", out=tmp_path / "e", methods=("occlusion",), progress=False)
    shapes = {tuple(f.image.voxels.shape) for f in door.scan(cohort / "in/ball") if isinstance(f, door.Found)}
    maps = [np.load(tmp_path / "e" / entry["map"]) for entry in told.maps]
    assert {
        m.shape for m in maps
    } == shapes  # on the voxels as they came, two spacings; where: tests/imaging/test_spacing.py
    assert all(np.isfinite(m).all() and m.any() for m in maps)
    np.savez(tmp_path / "one.npz", test_images=np.zeros((1, 8, 8, 8), np.uint8), test_labels=np.zeros((1, 1), np.uint8))
    ((_, code, why),) = predict(tmp_path / "r", tmp_path / "one.npz", out=tmp_path / "q", progress=False).refused
    assert code == "no-spacing"
    assert "3 × 3 × 3 mm" in why
