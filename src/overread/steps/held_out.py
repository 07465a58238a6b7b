"""What is learned after training, on cohorts the network has not seen: raw scores, the gate, probabilities, the line."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from overread.domain import Task
from overread.learn import gate as gating
from overread.learn import predict
from overread.stats import calibration as calibrating
from overread.stats import conformal
from overread.stats.curves import positive_weights
from overread.stats.exchangeability import named, one_each
from overread.stats.guarantee import operating_point
from overread.stats.joined import Joining, chosen
from overread.stats.resample import Who
from overread.stats.splits import Split
from overread.steps import nearest
from overread.steps.leakage import read_certificate
from overread.steps.progress import bar
from overread.steps.run import write, write_json, write_scores
from overread.steps.scores import LEVELS, Scores, whose

HELD_OUT = ("tuning", "calibration", "testing")

ALIKE = "exchangeability.json"
"""Whether the testing images come as the calibration cohort's did."""


@dataclass
class Material:
    """Network inputs and truth by cohort."""

    inputs: dict[str, np.ndarray]
    truth: dict[str, np.ndarray]


@dataclass(frozen=True)
class Held:
    """Raw scores of the calibration cohort beside what is known, and how much a positive case counted in training."""

    logits: np.ndarray
    truth: np.ndarray
    patients: Sequence[Who]
    weights: Sequence[float] | None = None
    joining: Mapping[str, Any] | None = None


def score(
    out: Path,
    split: Split,
    material: Material,
    task: Task,
    *,
    copies: Mapping[str, str] = MappingProxyType({}),
    weighed: bool = False,
    study: Mapping[str, Any] = MappingProxyType({}),
    progress: bool,
) -> Held:
    """Run the exported graph over the cohorts held out, learn the gate, and write what was found.

    Writes ``scores.csv``, ``gate.npz``, ``neighbours.npz`` and ``exchangeability.json``.

    ``copies`` holds the group of each image that has a copy (the leakage certificate's): see `steps.scores.whose`.
    ``weighed`` says that the training counted the rarer class more; ``study`` is the plan's [study]: then the rule that
    joins several images is chosen on the tuning cohort, and what is calibrated are studies, or patients.
    """
    session = predict.open_graph(out / "model.onnx")
    seen = material.inputs["training"]
    some = np.unique(np.linspace(0, len(seen) - 1, min(len(seen), gating.MOST)).round().astype(int))
    total = len(some) + sum(len(material.inputs[cohort]) for cohort in HELD_OUT)
    logits: dict[str, list[np.ndarray]] = {}
    rows: dict[str, list[dict[str, np.ndarray]]] = {}
    with bar(total=total, what="score the other cohorts", unit="image", show=progress) as line:
        passes = {"training": (seen[i] for i in some), **{cohort: iter(material.inputs[cohort]) for cohort in HELD_OUT}}
        for cohort, inputs in passes.items():
            logits[cohort], rows[cohort] = [], []
            for x, z, features in _run(session, inputs):
                logits[cohort].append(z)
                rows[cohort].append({kind: row.astype(np.float32) for kind, row in gating.rows(x, features).items()})
                line.update(1)
    weights = positive_weights(material.truth["training"]).tolist() if weighed else None
    patients = whose(split.cohorts["calibration"], copies)
    each = one_each(patients, [image for image, _, _ in split.cohorts["calibration"]])
    gate = gating.learn(_stacked(rows["training"]), _stacked(rows["calibration"]), one_each=each, patients=patients)
    entries = split.cohorts["training"]
    write(out / "neighbours.npz", _npz(nearest.kept(rows["training"], [entries[i] for i in some])))
    unlike = [gate.kind_of(row) for cohort in HELD_OUT for row in rows[cohort]]
    write(out / "gate.npz", _npz(gate.arrays()))
    _write(out / "scores.csv", split, material, logits, task, unlike=unlike)
    write_json(out / ALIKE, _alike(gate, rows["testing"], split, read_certificate(out, split)))
    found = np.array(logits["calibration"]).reshape(-1, len(task.labels))
    held = Held(found, material.truth["calibration"], patients, weights)
    return _joined(held, logits["tuning"], split, material, task, study, copies) if study else held


def _joined(held: Held, tuning, split: Split, material: Material, task: Task, study, copies) -> Held:
    """Return the calibration cohort by study, or patient, joined by the rule that ranks the tuning cohort's best."""
    levels, asked = task.kind in LEVELS, study["join"]

    def rows(cohort: str, logits: np.ndarray) -> Scores:
        entries = tuple((cohort, *entry) for entry in split.cohorts[cohort])
        return Scores(entries, material.truth[cohort], logits, copies=copies)

    found = np.array(tuning).reshape(-1, len(task.labels))
    units = [e[2] if study["unit"] == "patient" and e[2] else e[1] for e in split.cohorts["tuning"]]
    told = chosen(found, material.truth["tuning"], units, asked=asked, levels=levels)
    how = Joining(study["unit"], told["rule"])
    own = rows("calibration", held.logits).joined(how, levels=levels)
    return Held(own.logits, own.truth, own.patients, held.weights, {"unit": how.unit, **told})


def scored(
    out: Path, inputs: Mapping[str, np.ndarray], *, progress: bool
) -> dict[str, tuple[np.ndarray, list[dict[str, np.ndarray]]]]:
    """Return what the exported graph says of some cohorts: raw scores (n, outputs), and each image as the gate sees it."""
    session, found = predict.open_graph(out / "model.onnx"), {}
    with bar(total=sum(map(len, inputs.values())), what="look at every image", unit="image", show=progress) as line:
        for cohort, images in inputs.items():
            logits, rows = [], []
            for x, z, features in _run(session, iter(images)):
                logits.append(z)
                rows.append({kind: row.astype(np.float32) for kind, row in gating.rows(x, features).items()})
                line.update(1)
            found[cohort] = (np.array(logits), rows)
    return found


def score_baseline(out: Path, graph: Path, split: Split, material: Material, task: Task, *, name: str, progress: bool):
    """Write the raw scores of the article's network, which stands beside and answers nobody: no gate."""
    session = predict.open_graph(graph)
    total = sum(len(material.inputs[cohort]) for cohort in HELD_OUT)
    logits: dict[str, list[np.ndarray]] = {}
    with bar(total=total, what="score the article's network", unit="image", show=progress) as line:
        for cohort in HELD_OUT:
            logits[cohort] = []
            for z, _ in predict.run_graph(session, material.inputs[cohort]):
                logits[cohort].append(z)
                line.update(1)
    _write(out / name, split, material, logits, task)


def calibrate(out: Path, held: Held, task: Task, *, sensitivity: float, seed: int, cohort: str = "calibration") -> None:
    """Fit probabilities, choose operating points and learn the sets, on the calibration cohort and nowhere else."""
    rng = np.random.default_rng(seed)
    how = {"kind": task.kind, "rng": rng, "weights": held.weights}
    fitted = calibrating.fit(held.logits, held.truth, held.patients, **how)
    p = fitted.probabilities(held.logits)
    points = {
        label: operating_point(p[:, k], held.truth[:, k], held.patients, sensitivity=sensitivity) | {"cohort": cohort}
        for k, label in enumerate(task.labels)
    }
    for point in points.values():
        point["rule"] = point["rule"].replace("the calibration cohort", f"the {cohort} cohort")
    if task.kind in ("multiclass", "ordinal"):
        level = np.where(np.isnan(held.truth).any(1), np.nan, np.nan_to_num(held.truth).argmax(1))
        sets = {task.name: conformal.fit(p, level, held.patients, temperature=1 / fitted.slope[0])}
    else:
        sets = {
            label: conformal.fit(np.stack([1 - p[:, k], p[:, k]], axis=1), held.truth[:, k], held.patients)
            for k, label in enumerate(task.labels)
        }
    kept: dict[str, Any] = {"calibration": fitted.to_json(), "operating_points": points}
    kept |= {"joining": held.joining} if held.joining else {}
    write_json(out / "calibration.json", kept | {"sets": {name: found.to_json() for name, found in sets.items()}})


def _run(session, inputs):
    """Yield each input with its raw scores and feature maps, a few at a time."""
    waiting: list[np.ndarray] = []

    def passed_on():
        for x in inputs:
            waiting.append(x)
            yield x

    for z, features in predict.run_graph(session, passed_on()):
        yield waiting.pop(0), z, features


def _alike(gate: gating.Gate, rows: Sequence[gating.Rows], split: Split, certificate: Mapping[str, Any]) -> dict:
    """Say whether the testing images that count come as the calibration cohort's did; empty where too few to say."""
    gone = {(row["image"], row["study"]) for row in certificate["excluded"]["testing"]}
    entries = [(i, entry) for i, entry in enumerate(split.cohorts["testing"]) if tuple(entry[:2]) not in gone]
    patients = whose([entry for _, entry in entries], certificate.get("copies", {}))
    each = one_each(patients, [entry[0] for _, entry in entries])
    return gate.compared([rows[entries[k][0]] for k in each], of=named(patients)) or {}


def _stacked(rows: Sequence[Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    return {kind: np.stack([row[kind] for row in rows]) for kind in rows[0]} if rows else {}


def _npz(arrays: Mapping[str, np.ndarray]) -> bytes:
    held = io.BytesIO()
    np.savez(held, **arrays)
    return held.getvalue()


def _write(path: Path, split: Split, material: Material, logits, task: Task, *, unlike=None) -> None:
    rows = [(cohort, *entry) for cohort in HELD_OUT for entry in split.cohorts[cohort]]
    known = np.concatenate([material.truth[cohort] for cohort in HELD_OUT])
    found = np.array([z for cohort in HELD_OUT for z in logits[cohort]]).reshape(-1, len(task.labels))
    write_scores(path, rows, known, found, labels=task.labels, unlike=unlike)
