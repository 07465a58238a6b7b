"""MedMNIST files: every image with its label and split, chunk by chunk, and never a pickle."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest

from overread.domain import code_of
from overread.formats.door import Found, Refused, candidates, read_job, scan


def npz(path: Path, *, compress: bool = True, **content: np.ndarray) -> Path:
    (np.savez_compressed if compress else np.savez)(path, **content)
    return path


@pytest.mark.parametrize("compress", [True, False])
def test_every_image_comes_with_its_label_and_split(tmp_path: Path, compress: bool) -> None:
    rng = np.random.default_rng(1)
    train, test = rng.integers(0, 255, (600, 9, 11), np.uint8), rng.integers(0, 255, (30, 9, 11), np.uint8)
    labels, more = rng.integers(0, 3, (600, 1)), rng.integers(0, 3, (30, 1))
    path = npz(
        tmp_path / "a.npz",
        compress=compress,
        train_images=train,
        train_labels=labels,
        test_images=test,
        test_labels=more,
    )
    found = list(scan(path))
    assert len(candidates(path)) == 4  # 256 + 256 + 88 of training, 30 of testing
    assert [f.origin.files[0] for f in found[:2]] == [f"{path}!train/0", f"{path}!train/1"]
    assert np.array_equal(np.stack([f.image.voxels[0] for f in found]), np.concatenate([train, test]))
    assert [f.origin.facts["label"] for f in found] == [str(v) for v in np.concatenate([labels, more]).ravel()]
    assert [f.origin.facts["split"] for f in found] == ["train"] * 600 + ["test"] * 30
    assert all(f.image.full_range == (0, 255) and f.origin.patient_id is None for f in found)


def test_the_order_of_chunks_does_not_matter(tmp_path: Path) -> None:
    path = npz(tmp_path / "a.npz", train_images=np.arange(300 * 64, dtype=np.uint16).reshape(300, 8, 8))
    jobs = list(candidates(path))
    forward = {r.origin.files: r.origin.digest for job in jobs for r in read_job(job)}
    assert {r.origin.files: r.origin.digest for job in reversed(jobs) for r in read_job(job)} == forward
    assert len(set(forward.values())) == 300


@pytest.mark.parametrize(
    ("shape", "voxels"),
    [
        ((2, 8, 9), (1, 8, 9)),
        ((2, 8, 9, 3), (1, 8, 9, 3)),
        ((2, 10, 8, 9), (10, 8, 9)),
        ((2, 10, 8, 9, 3), (10, 8, 9, 3)),
    ],
)
def test_shapes(tmp_path: Path, shape: tuple[int, ...], voxels: tuple[int, ...]) -> None:
    found = list(scan(npz(tmp_path / "a.npz", val_images=np.zeros(shape, np.uint8))))
    assert [f.image.voxels.shape for f in found] == [voxels] * 2


@pytest.mark.parametrize(
    ("dtype", "kept", "full_range"),
    [("u1", "u1", (0, 255)), (">u2", "u2", (0, 65535)), ("f8", "f4", None), ("i8", "u1", None), ("?", "u1", (0, 1))],
)
def test_dtypes(tmp_path: Path, dtype: str, kept: str, full_range: tuple | None) -> None:
    values = np.arange(64).reshape(1, 8, 8).astype(dtype)
    (found,) = scan(npz(tmp_path / "a.npz", train_images=values))
    assert found.image.voxels.dtype == np.dtype(kept)
    assert np.array_equal(found.image.voxels, values)
    assert found.image.full_range == full_range


def test_several_label_columns_are_levels_of_their_own(tmp_path: Path) -> None:
    (found,) = scan(
        npz(tmp_path / "a.npz", train_images=np.zeros((1, 8, 8), np.uint8), train_labels=np.array([[1, 0]]))
    )
    assert found.origin.facts == {"split": "train", "label0": "1", "label1": "0"}


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        ([[1.0], [np.nan]], [{"label": "1"}, {}]),
        ([[0], [-1]], [{"label": "0"}, {}]),
        ([[True], [False]], [{"label": "1"}, {"label": "0"}]),
        ([[np.nan, 1], [-1, 0]], [{"label1": "1"}, {"label1": "0"}]),
        ([[b"benign"], [b"malignant"]], [{"label": "benign"}, {"label": "malignant"}]),
        ([["benign"], ["malignant"]], [{"label": "benign"}, {"label": "malignant"}]),
    ],
)
def test_what_is_not_known_is_not_present(tmp_path: Path, labels: list, said: list[dict]) -> None:
    images = np.arange(128).reshape(2, 8, 8).astype(np.uint8)
    found = scan(npz(tmp_path / "a.npz", train_images=images, train_labels=np.array(labels)))
    assert [{k: v for k, v in f.origin.facts.items() if k != "split"} for f in found] == said


@pytest.mark.parametrize("dtype", ["c16", "M8[s]", "V4"])
def test_labels_that_are_no_answers_are_refused(tmp_path: Path, dtype: str) -> None:
    made = {"train_images": np.zeros((3, 8, 8), np.uint8), "train_labels": np.zeros((3, 1), dtype)}
    (refused,) = scan(npz(tmp_path / "a.npz", **made))
    assert refused.code == "unknown-arrays" and "labels of" in refused.reason


@pytest.mark.parametrize("rows", [1, 4])
def test_labels_of_another_number_than_the_images_are_refused(tmp_path: Path, rows: int) -> None:
    arrays = {"train_images": np.zeros((3, 8, 8), np.uint8), "train_labels": np.zeros((rows, 1), int)}
    (refused,) = scan(npz(tmp_path / "a.npz", **arrays))
    assert refused.code == "malformed" and f"{rows} labels for 3 images" in refused.reason


def test_one_bad_image_does_not_stop_the_others(tmp_path: Path) -> None:
    values = np.ones((3, 8, 8), np.float32)
    values[1, 0, 0] = np.nan
    results = list(scan(npz(tmp_path / "a.npz", train_images=values)))
    assert [type(r) for r in results] == [Found, Refused, Found]
    assert results[1].code == "not-finite"
    assert results[1].file.endswith("a.npz!train/1")


class _Loud:
    def __reduce__(self) -> tuple:
        return (print, ("a pickle ran",))


def test_a_pickle_is_refused_and_never_run(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    buffer = io.BytesIO()
    np.save(buffer, np.array([_Loud()], dtype=object), allow_pickle=True)
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("train_images.npy", buffer.getvalue())
    (refused,) = scan(tmp_path / "a.npz")
    assert refused.code == "unknown-arrays"
    assert "pickle ran" not in capsys.readouterr().out


def test_other_arrays_truncated_and_damaged_files(tmp_path: Path) -> None:
    (refused,) = scan(npz(tmp_path / "other.npz", x=np.zeros((3, 8, 8))))
    assert refused.code == "unknown-arrays"
    path = npz(tmp_path / "bomb.npz", train_images=np.zeros((3, 8, 8), np.uint8))
    with zipfile.ZipFile(path) as archive:
        raw = archive.read("train_images.npy")
    with zipfile.ZipFile(tmp_path / "short.npz", "w") as archive:
        archive.writestr("train_images.npy", raw.replace(b"(3, 8, 8)", b"(9, 8, 8)"))
    (refused,) = scan(tmp_path / "short.npz")
    assert refused.code == "truncated"
    damaged = bytearray(path.read_bytes())
    damaged[60:90] = bytes(30)
    path.write_bytes(bytes(damaged))
    assert {r.code for r in scan(path)} <= {"malformed", "unknown-arrays"}


def test_the_published_files_have_their_published_counts(shared_data: Path) -> None:
    counts = {"pneumoniamnist": (4708, 524, 624), "retinamnist": (1080, 120, 400), "adrenalmnist3d": (1188, 98, 298)}
    for name, expected in counts.items():
        found = list(scan(shared_data / "medmnist" / f"{name}.npz"))
        splits = [f.origin.facts["split"] for f in found]
        assert tuple(splits.count(s) for s in ("train", "val", "test")) == expected
        with np.load(shared_data / "medmnist" / f"{name}.npz", allow_pickle=False) as file:
            last = np.squeeze(found[-1].image.voxels)
            assert np.array_equal(last, file["test_images"][-1])
            assert found[-1].origin.facts["label"] == str(file["test_labels"][-1].item())


def test_an_opaque_fourth_channel_is_dropped_and_any_other_is_refused_by_name(tmp_path: Path) -> None:
    colours = np.random.default_rng(3).integers(0, 255, (3, 20, 24, 3)).astype(np.uint8)
    alpha = np.full((3, 20, 24, 1), 255, np.uint8)
    alpha[1, 5, 6:9] = 0
    first, second, third = scan(npz(tmp_path / "a.npz", train_images=np.concatenate([colours, alpha], axis=-1)))
    assert np.array_equal(first.image.voxels[0], colours[0])
    assert [code_of(n) for n in first.image.notes] == ["alpha-dropped"]
    assert np.array_equal(third.image.voxels[0], colours[2])
    assert second.code == "unsupported-format"
    assert "20 × 24 image of 4 channels" in second.reason and "in 3 pixels" in second.reason


def test_one_channel_is_grey(tmp_path: Path) -> None:
    grey = np.random.default_rng(3).integers(0, 255, (1, 20, 24, 1)).astype(np.uint8)
    (found,) = scan(npz(tmp_path / "a.npz", train_images=grey))
    assert np.array_equal(found.image.voxels, grey[..., 0])


def test_numbers_that_32_bits_do_not_hold_are_told_or_refused(tmp_path: Path) -> None:
    ramp = np.arange(80).reshape(1, 8, 10)
    for values, said in ((ramp * (2**30 + 1), "37 bits"), (ramp / 3, "64-bit values")):
        (found,) = scan(npz(tmp_path / "a.npz", train_images=values))
        assert ["rounded"] == [code_of(n) for n in found.image.notes]
        assert said in found.image.notes[0]
    for values in (ramp * 2**30, ramp / 4):
        (found,) = scan(npz(tmp_path / "a.npz", train_images=values))
        assert found.image.notes == ()
    (refused,) = scan(npz(tmp_path / "a.npz", train_images=ramp + 2**40))
    assert refused.code == "unsupported-format"
