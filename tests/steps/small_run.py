"""A run that is real but small: a fixed filter bank as ONNX, and a head fitted by scikit-learn; no training framework."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from sklearn.linear_model import LogisticRegression

from overread.domain import Image, ModelCard, Recipe, Step, Study, Task, fingerprint
from overread.domain.canonical import plain
from overread.imaging import preprocess
from overread.learn.predict import Model, open_graph, run_graph
from overread.stats import splits
from overread.steps.elsewhere import keep_seen
from overread.steps.held_out import Material, calibrate, score
from overread.steps.leakage import certify
from overread.steps.question import ask, columns, truth
from overread.steps.run import code_fingerprint, environment, seal, write_json
from overread.store.archive import Archive

NOW = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)


def filter_bank(channels: int = 8, size: int = 5) -> np.ndarray:
    """Oriented waves and blobs: enough to see a bright spot."""
    y, x = np.mgrid[:size, :size] - size // 2
    waves = [np.cos(x * np.cos(a) + y * np.sin(a)) for a in np.linspace(0, np.pi, channels - 2, endpoint=False)]
    blob = np.exp(-(x**2 + y**2) / 3)
    bank = np.stack([*waves, blob, -blob])
    return (bank - bank.mean((1, 2), keepdims=True))[:, None].astype(np.float32)


def graph(kernel: np.ndarray, bias: np.ndarray) -> bytes:
    """Picture → filters → ReLU → global average → linear head, with the outputs that ``Model`` reads."""
    constants = {"bank": filter_bank(), "kernel": kernel.astype(np.float32), "bias": bias.astype(np.float32)}
    nodes = [
        helper.make_node("Transpose", ["image"], ["first"], perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["first", "bank"], ["waves"], pads=[2, 2, 2, 2]),
        helper.make_node("Relu", ["waves"], ["parts"]),
        helper.make_node("Transpose", ["parts"], ["features"], perm=[0, 2, 3, 1]),
        helper.make_node("GlobalAveragePool", ["parts"], ["mean"]),
        helper.make_node("Flatten", ["mean"], ["flat"]),
        helper.make_node("MatMul", ["flat", "kernel"], ["product"]),
        helper.make_node("Add", ["product", "bias"], ["logits"]),
    ]

    def value(name, shape):
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

    made = helper.make_graph(
        nodes,
        "small",
        [value("image", ["n", "r", "c", 1])],
        [value("logits", ["n", kernel.shape[1]]), value("features", ["n", "r", "c", kernel.shape[0]])],
        [numpy_helper.from_array(v, k) for k, v in constants.items()],
    )
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()


def small_run(
    home: Path,
    archive: Archive,
    label: str,
    *,
    published: str | None = None,
    kind: str = "auto",
    copies=None,
    study=None,
) -> Path:
    """Write a finished run as ``train`` does, with a network that needs no training framework."""
    run = home / f"run-{label.replace(',', '-')}"
    run.mkdir()
    studies = list(archive.studies())
    task = ask(studies, label, kind=kind)
    split = splits.divide(
        studies, labels=columns(task), seed=0, published=published, alike=copies.near if copies else None
    )
    certificate = certify(split, copies) if copies else {"copies": {}}
    if copies:
        write_json(run / "leakage.json", certificate)
    by_name = {s.pseudonym: s for s in studies}
    recipe = Recipe(
        (Step("channels", {"count": 1}), Step("normalise", {"by": "full_range"}), Step("resize", {"size": (28, 28)}))
    )
    inputs = {c: [preprocess.apply(recipe, archive.image(e[0])) for e in rows] for c, rows in split.cohorts.items()}
    known = {c: truth([by_name[e[1]] for e in rows], task) for c, rows in split.cohorts.items()}
    outputs = len(task.labels)

    (run / "model.onnx").write_bytes(graph(np.zeros((8, outputs)), np.zeros(outputs)))
    seen = np.array([f.mean((0, 1)) for _, f in run_graph(open_graph(run / "model.onnx"), inputs["training"])])
    middle, spread = seen.mean(0), seen.std(0)
    kernel, bias = [], []
    for j in range(outputs):
        there = ~np.isnan(known["training"][:, j])
        head = LogisticRegression(max_iter=500).fit((seen[there] - middle) / spread, known["training"][there, j])
        kernel.append(head.coef_[0] / spread)
        bias.append(head.intercept_[0] - (head.coef_[0] * middle / spread).sum())
    kernel, bias = np.stack(kernel, axis=1), np.array(bias)
    (run / "model.onnx").write_bytes(graph(kernel, bias))
    np.savez(run / "head.npz", tail=np.array("mean"), kernel0=kernel, bias0=bias)

    material = Material({c: np.stack(x) for c, x in inputs.items()}, known)
    held = score(run, split, material, task, copies=certificate["copies"], study=study or {}, progress=False)
    calibrate(run, held, task, sensitivity=0.95, seed=0)
    kept = json.loads((run / "calibration.json").read_text())
    points = kept["operating_points"]
    write_json(run / "split.json", split.to_json())
    plan = {
        "task": plain(task),
        "recipe": plain(recipe),
        "network": "residual",
        "input_shape": [28, 28, 1],
        "seed": 0,
        "archive": str(archive.path),
    }
    write_json(run / "plan.json", plan)
    keep_seen(run, archive, split)
    hashes = seal(run)
    told = {
        c: {
            "images": len(e),
            "studies": len({s for _, s, _ in e}),
            "patients": len({p for _, _, p in e}) if split.patients_known else None,
            "labels": {
                n: {"true": int((known[c][:, j] == 1).sum()), "false": int((known[c][:, j] == 0).sum()), "unknown": 0}
                for j, n in enumerate(task.labels)
            },
        }
        for c, e in split.cohorts.items()
    }
    card = ModelCard(
        name=f"{label} (small)", version="1", task=plain(task), recipe=plain(recipe), cohorts=told,
        hashes={**hashes, "code": code_fingerprint(), "environment": fingerprint(environment())},
        network={"name": "small", "input_shape": (28, 28, 1), "parameters": int(kernel.size + bias.size)},
        training={"plan": {"seed": 0}, "versions": {"onnx": onnx.__version__}}, operating_points=points,
        calibration={"method": kept["calibration"]["method"]}, limits=tuple(split.warnings),
    )  # fmt: skip
    write_json(run / "card.json", plain(card))
    seal(run, card=card.fingerprint)
    return run


def sealed_again(run: Path) -> None:
    """Seal all that lies in a small run now, as ``train`` does when it has written the rest: no testing was read yet."""
    if (run / "testing-reads.jsonl").exists():
        for name in ("testing-reads.jsonl", "testing-reads.jsonl.head", "metrics.json", "report.json", "heatmaps.json"):
            (run / name).unlink(missing_ok=True)
        for elsewhere in run.glob("on-*"):
            shutil.rmtree(elsewhere)
    card = json.loads((run / "card.json").read_text())
    known = {k: v for k, v in card.items() if k in ModelCard.__dataclass_fields__}
    hashes = {k: v for k, v in known["hashes"].items() if k in ("code", "environment")} | seal(run)
    card = ModelCard(**{**known, "hashes": hashes, "limits": tuple(known["limits"]), "performance": {}})
    write_json(run / "card.json", plain(card))
    seal(run, card=card.fingerprint)


def shown_to(run: Path, archive: Archive) -> tuple[splits.Split, Task, Material]:
    """Return the split of a small run, its question, and what its network is shown of every cohort."""
    model, split = Model.load(run), splits.Split.from_json(json.loads((run / "split.json").read_text()))
    by_name = {s.pseudonym: s for s in archive.studies()}
    rows = split.cohorts.items()
    inputs = {c: np.stack([preprocess.apply(model.recipe, archive.image(e[0])) for e in own]) for c, own in rows}
    known = {c: truth([by_name[e[1]] for e in own], model.task) for c, own in rows}
    return split, model.task, Material(inputs, known)


def spots(n: int, *, seed: int, contrast: float = 130) -> tuple[np.ndarray, np.ndarray]:
    """Noisy pictures, half of them with a bright spot; returns pictures (n, 32, 32) and where the spot is."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:32, :32]
    pictures, there = [], np.arange(n) % 2 == 0
    for spot in there:
        r, c = rng.uniform(8, 24, 2)
        blob = contrast * rng.uniform(0.2, 1) * np.exp(-((y - r) ** 2 + (x - c) ** 2) / 6) if spot else 0
        pictures.append(np.clip(90 + 18 * rng.normal(size=(32, 32)) + blob, 0, 255).astype(np.uint8))
    return np.array(pictures), there


def fill(path: Path, pictures, labels, *, patients=True, splits_as=None, others=False) -> Archive:
    """Put pictures into an archive, four of each patient; ``others``: under pseudonyms that no other archive has."""
    tag = "e" if others else "0"
    archive = Archive.create(path)
    for i, (picture, label) in enumerate(zip(pictures, labels, strict=True)):
        name = archive.put(Image(picture[None], full_range=(0, 255), attributes={"format": "PNG"}))
        archive.add(
            Study(
                f"S{tag}{i:011x}", (name,), patient=f"P{tag}{i // 4:011x}" if patients else None, labels=label,
                strata={"sex": "FM"[i // 4 % 2]}, splits={"split": splits_as[i]} if splits_as else {},
            )
        )  # fmt: skip
    return archive
