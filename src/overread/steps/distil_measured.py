"""What each network of a distillation costs, and how it reads beside its teacher."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import softmax

from overread.domain import Task
from overread.domain.canonical import plain
from overread.errors import ExportError
from overread.learn import reduce
from overread.learn.graph import open_graph, run_graph
from overread.stats.metrics import mean_auroc
from overread.stats.paired import difference_mean_auroc
from overread.stats.resample import cases
from overread.stats.shares import proportion
from overread.steps.export import MOST_RANGED, milliseconds
from overread.steps.held_out import Material
from overread.steps.progress import bar, say
from overread.steps.scores import whose
from overread.steps.trained import Trained

TIMED = 16
"""Images on which the time of one is measured, one thread, the median."""


def logits_of(session, inputs, *, tick=lambda n: None) -> np.ndarray:
    found = []
    for z, _ in run_graph(session, inputs):
        found.append(z)
        tick(1)
    return np.array(found)


def rows_of(
    teacher: Trained, material: Material, said, tried, fitted, out: Path, *, progress: bool
) -> list[dict[str, Any]]:
    """Return what each network costs and how it reads: the teacher, its smaller precisions, the students, widest first."""
    from overread.learn import export

    graph = (teacher.run / "model.onnx").read_bytes()
    row = partial(_row, teacher, material, said)
    found = [row("teacher", graph, None, parameters=teacher.model.card.network.get("parameters"))]
    ranged = [np.asarray(x) for x in material.inputs["tuning"][:MOST_RANGED]]
    total = len(reduce.WAYS) + len(tried)
    with bar(total=total, what="measure smaller networks", unit="network", show=progress) as line:
        for how in reduce.WAYS:
            try:
                found.append(row(f"teacher in {how}", reduce.reduced(graph, how, ranged), None, parameters=None))
            except ExportError as refused:
                say(progress, f"  ! no {how}: {refused}")
            line.update(1)
        for name in tried:
            file = out / "student.onnx"
            export.export(fitted[name].built, file, examples=np.asarray(material.inputs["tuning"][:16]))
            found.append(
                row(name, file.read_bytes(), fitted[name], parameters=int(fitted[name].built.trained.count_params()))
            )
            file.unlink()
            line.update(1)
    return found


def _row(teacher: Trained, material: Material, said, name: str, graph: bytes, student, *, parameters) -> dict[str, Any]:
    """Return one line of the table."""
    session, task, copies = open_graph(graph), teacher.task, teacher.certificate["copies"]
    known = material.truth["tuning"]
    tuning = logits_of(session, material.inputs["tuning"])
    held = logits_of(session, material.inputs["calibration"])
    who = {c: whose(teacher.split.cohorts[c], copies) for c in ("tuning", "calibration")}
    own = name == "teacher"
    shares = [_ranked(task, z) for z in (tuning, said["tuning"])]
    auroc = mean_auroc(known, shares[0]) if len(known) else float("nan")
    answers = said["calibration"]
    same = (_calls(teacher, held, answers) == _calls(teacher, answers, answers)).all(axis=1)
    c = cases(np.ones(len(same)), np.ones(len(same)), who["calibration"])
    return {
        "name": name,
        "student": student is not None,
        "parameters": parameters,
        "megabytes": round(len(graph) / 1e6, 4),
        "milliseconds": round(milliseconds(graph, list(material.inputs["tuning"][:TIMED])), 3),
        "auroc": None if np.isnan(auroc) else round(auroc, 6),
        "difference": None if own else plain(difference_mean_auroc(known, *shares, who["tuning"])),
        "agreement": None
        if own
        else plain(proportion(c, same, np.ones(len(same), bool), nobody="no calibration images")),
        "seconds": round(student.seconds, 1) if student else None,
    }


def _ranked(task: Task, logits: np.ndarray) -> np.ndarray:
    return softmax(logits, axis=1) if task.kind in ("multiclass", "ordinal") else logits


def _calls(teacher: Trained, logits: np.ndarray, said: np.ndarray) -> np.ndarray:
    """Return what would be called: the side of each operating point, or the most probable level; the teacher's calibration."""
    p = teacher.fitted.probabilities(logits)
    if teacher.task.kind in ("multiclass", "ordinal"):
        return p.argmax(axis=1)[:, None]
    points = [float(teacher.points[label]["threshold"]) for label in teacher.task.labels]
    own = teacher.fitted.probabilities(said)
    return p >= np.array([between(own[:, j], point) for j, point in enumerate(points)])


def between(probabilities: np.ndarray, point: float) -> float:
    """Return the middle of the gap in which an operating point lies.

    The point is the probability of one of these cases: the last digit of a network's answer would decide about that case.
    Anywhere in the gap below it the teacher's own calls of them are the same.

    Examples
    --------
    >>> round(between(np.array([0.1, 0.4, 0.6, 0.9]), 0.6), 9)
    0.5
    >>> between(np.array([0.6]), 0.6), between(np.array([]), 0.5)
    (0.3, 0.5)
    """
    low = max(probabilities[probabilities < point], default=0.0)
    return float((low + min(probabilities[probabilities >= point], default=1.0)) / 2)
