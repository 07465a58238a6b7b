"""After training: how much worse does the network rank when the images get worse, and does the gate notice?

On the tuning and calibration cohorts together, as the probes: whoever changes a recipe because of it has not chosen on
the testing cohort. The images are made worse as the network is shown them, after preprocessing: a recipe that evens out
brightness or contrast would take some of it away again, so that what is told here is the worse case.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from overread.domain import Task
from overread.imaging.worsen import KINDS, SEVERITIES, worsened
from overread.learn import gate as gating
from overread.learn.graph import open_graph, run_graph
from overread.stats.claims import difference_auroc
from overread.stats.ranking import auroc
from overread.stats.resample import cases
from overread.stats.splits import Split
from overread.steps.held_out import Material
from overread.steps.probes import COHORTS, answers, chosen
from overread.steps.progress import bar
from overread.steps.scores import whose

NAME = "corruptions.json"

MOST, LEAST = 200, 40
"""Images made worse: of small inputs more, of large ones fewer, evenly chosen, so that it never takes long."""

WORK = 60e6
"""Input values shown to the network in all, about: some 20 s of one core with the small residual network."""


def corrupt(
    out: Path,
    split: Split,
    material: Material,
    task: Task,
    *,
    copies: Mapping[str, str] = MappingProxyType({}),
    seed: int,
    progress: bool = False,
) -> dict[str, Any]:
    """Return the AUROC at each severity of each kind, its change against the images as they are, and what the gate refuses.

    Returns
    -------
    dict
        ``{"cohorts", "n", "plain": {label: Estimate}, "refused": share, "kinds": {kind: {"strengths": […], "labels":
        {label: [{"auroc": Estimate, "change": Estimate}, …]}, "refused": [share, …]}}}``
    """
    size = int(np.prod(material.inputs[COHORTS[0]].shape[1:]))
    most = int(np.clip(WORK / (size * len(KINDS) * SEVERITIES), LEAST, MOST))
    rows = chosen(split, most)
    known = np.array([material.truth[cohort][i] for cohort, i in rows])
    patients = whose([split.cohorts[cohort][i] for cohort, i in rows], copies)
    session, gate = open_graph(out / "model.onnx"), _gate(out)
    low, high = _range(material.inputs["training"])
    total = len(rows) * (1 + len(KINDS) * SEVERITIES)
    with bar(total=total, what="make images worse", unit="image", show=progress) as line:

        def shown(inputs) -> tuple[np.ndarray, float]:
            """Return the answers to some inputs, and the share of them that the gate refuses."""
            logits, refused = [], []
            kept = list(inputs)
            for x, (z, maps) in zip(kept, run_graph(session, kept), strict=True):
                logits.append(z)
                refused.append(bool(gate and gate.kind_of(gating.rows(x, maps))))
                line.update()
            return answers(np.array(logits), task), float(np.mean(refused))

        plain, refused = shown(np.asarray(material.inputs[c][i]) for c, i in rows)
        kinds = {}
        for k, kind in enumerate(KINDS):
            found = []
            for severity in range(1, SEVERITIES + 1):
                rng = np.random.default_rng([seed, k, severity])
                how = {"low": low, "high": high, "rng": rng}
                found.append(shown(worsened(material.inputs[c][i], kind, severity, **how) for c, i in rows))
            kinds[kind] = {
                "strengths": list(KINDS[kind][1]),
                "labels": {
                    label: [_compared(known[:, j], worse[:, j], plain[:, j], patients) for worse, _ in found]
                    for j, label in enumerate(task.labels)
                },
                "refused": [share for _, share in found],
            }
    as_they_are = {label: auroc(cases(known[:, j], plain[:, j], patients)) for j, label in enumerate(task.labels)}
    told = {"cohorts": " and ".join(COHORTS), "n": len(rows), "plain": as_they_are, "refused": refused}
    return {**told, "kinds": kinds}


def _compared(truth: np.ndarray, worse: np.ndarray, plain: np.ndarray, patients: Sequence) -> dict[str, Any]:
    c = cases(truth, worse, patients)
    return {"auroc": auroc(c), "change": difference_auroc(c, cases(truth, plain, patients).score)}


def _gate(out: Path) -> gating.Gate | None:
    """Return the gate that was learned for this run; None where none could be."""
    if not (out / "gate.npz").is_file():
        return None
    with np.load(out / "gate.npz", allow_pickle=False) as held:
        return gating.Gate.of(held)


def _range(training: np.ndarray) -> tuple[float, float]:
    """Return the range of the training inputs but for the outermost thousandth on either side."""
    some = np.asarray(training[:: max(1, len(training) // 100)], np.float32)
    low, high = np.percentile(some, (0.1, 99.9))
    return float(low), float(max(high, low + 1e-6))
