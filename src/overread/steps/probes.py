"""After training: what is left of the answer when the anatomy is taken away, and does the network know the source?

The probes run on the tuning and calibration cohorts together: no figure of the report comes from them, so that whoever
changes a recipe because of a probe has not chosen on the testing cohort.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from overread.domain import Estimate, Study, Task
from overread.domain.canonical import plain
from overread.imaging.frame import only_frame, shuffled, without_centre
from overread.learn.graph import open_graph, run_graph
from overread.stats.probing import FEWEST, reveals
from overread.stats.ranking import auroc
from overread.stats.resample import Who, cases
from overread.stats.splits import Split
from overread.steps.held_out import Material
from overread.steps.progress import bar
from overread.steps.scores import whose
from overread.store.archive import Archive

NAME = "probes.json"
COHORTS = ("tuning", "calibration")
MOST = 500
"""Images probed at most, evenly chosen: each is run four times."""

EDGE = 0.1
"""Breadth of the frame that is left, as a share of each side."""

PATCHES = 4
"""Patches along each side, when they are shuffled."""

FAR = 0.6
"""A probe warns when its whole interval is above this (or below 1 − this: an answer turned round is still an answer)."""

SOURCES = ("format", "mode", "jpeg_quality", "TransferSyntax", "ManufacturerModelName")
PERSON = ("sex", "age", "side")
"""Strata that say who somebody is, or what was shown, and not where the picture comes from."""


def chosen(split: Split, most: int) -> list[tuple[str, int]]:
    """Return at most so many images of the cohorts that no figure comes from, evenly: (cohort, place in it)."""
    rows = [(cohort, i) for cohort in COHORTS for i in range(len(split.cohorts[cohort]))]
    return [rows[k] for k in np.unique(np.linspace(0, len(rows) - 1, min(len(rows), most)).round().astype(int))]


def probe(
    out: Path,
    split: Split,
    material: Material,
    studies: Mapping[str, Study],
    store: Archive,
    task: Task,
    *,
    copies: Mapping[str, str] = MappingProxyType({}),
    seed: int,
    progress: bool = False,
) -> dict[str, Any]:
    """Return the AUROC from the frame alone, without the centre and from shuffled patches, and what the features reveal.

    Returns
    -------
    dict
        ``{"cohorts", "n", "inputs": {"plain" | "frame" | "no centre" | "patches": {label: Estimate}},
        "sources": {name: {"value", "auroc": Estimate, "warns"}}, "words": […]}``
    """
    rows = chosen(split, MOST)
    entries = [split.cohorts[cohort][i] for cohort, i in rows]
    known = np.array([material.truth[cohort][i] for cohort, i in rows])
    patients = whose(entries, copies)
    rng = np.random.default_rng(seed)
    session, changes = open_graph(out / "model.onnx"), _changes(material.inputs["training"], rng)
    inputs: dict[str, dict[str, Estimate]] = {}
    features = np.empty((0, 0))
    with bar(total=len(rows) * len(changes), what="probe for shortcuts", unit="image", show=progress) as line:
        for name, change in changes.items():
            logits = []
            seen = []
            for z, maps in run_graph(session, (change(np.asarray(material.inputs[c][i])) for c, i in rows)):
                logits.append(z)
                seen.append(maps.reshape(-1, maps.shape[-1]).mean(axis=0))
                line.update()
            inputs[name] = _told(np.array(logits), known, patients, task)
            features = np.array(seen) if name == "plain" else features
    sources = _sources(store, entries, studies, features, known, patients, rng)
    return {
        "cohorts": " and ".join(COHORTS),
        "n": len(rows),
        "inputs": inputs,
        "sources": sources,
        "words": words(inputs, sources),
    }


Change = Callable[[np.ndarray], np.ndarray]


def _changes(training: np.ndarray, rng: np.random.Generator) -> dict[str, Change]:
    """Return what is done to the inputs; blanked parts get the mean of the training images, by channel."""
    some = np.asarray(training[:: max(1, len(training) // 100)], np.float64)
    fill = some.reshape(-1, some.shape[-1]).mean(axis=0).astype(np.float32)
    return {
        "plain": lambda x: x,
        "frame": lambda x: only_frame(x, edge=EDGE, fill=fill),
        "no centre": lambda x: without_centre(x, fill=fill),
        "patches": lambda x: shuffled(x, patches=PATCHES, rng=rng),
    }


def answers(logits: np.ndarray, task: Task) -> np.ndarray:
    """Return what each label is ranked by: its score; of several levels, how much more probable than all others together.

    Parameters
    ----------
    logits : ndarray, (n, outputs)
    task : Task
    """
    if task.kind not in ("multiclass", "ordinal"):
        return logits
    others = [np.logaddexp.reduce(np.delete(z, j)) for z in logits for j in range(z.size)]
    return logits - np.array(others).reshape(logits.shape)


def _told(logits: np.ndarray, known: np.ndarray, patients: Sequence[Who], task: Task) -> dict[str, Estimate]:
    """Return the AUROC of each label; of several levels, of each against the rest."""
    ranked = answers(logits, task)
    return {label: auroc(cases(known[:, j], ranked[:, j], patients)) for j, label in enumerate(task.labels)}


def _sources(store, entries, studies, features, known, patients, rng) -> dict[str, dict[str, Any]]:
    """Return, for each fact of the source that differs, which value the features tell best."""
    facts: dict[str, list[str | None]] = {}
    attributes = [store.describe(image).attributes for image, _, _ in entries]
    strata = [studies[study].strata for _, study, _ in entries]
    for key in SOURCES:
        facts[key.replace("_", " ")] = [a.get(key) for a in attributes]
    for key in sorted({k for s in strata for k in s} - set(PERSON)):
        facts[key] = [s.get(key) for s in strata]
    answer = ["/".join("?" if np.isnan(v) else f"{v:.0f}" for v in row) for row in known]
    found = {}
    for name, said in facts.items():
        tried = []
        for value in sorted({v for v in said if v is not None}):
            there = np.array([v == value for v in said])
            if min(there.sum(), (~there).sum()) >= FEWEST:
                tried.append((value, reveals(features, there, answer, patients, rng=rng)))
        tried = [(value, e) for value, e in tried if np.isfinite(e.value)]
        if tried:
            value, best = max(tried, key=lambda t: t[1].low)
            found[name] = {"value": value, "auroc": best, "warns": bool(best.low > FAR)}
    return found


def words(inputs: Mapping[str, Mapping[str, Estimate]], sources: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Say what the probes mean, a sentence each.

    Examples
    --------
    >>> def e(v, d=0.05): return Estimate(v, v - d, v + d, 200)
    >>> words({"plain": {"mass": e(0.9)}, "frame": {"mass": e(0.5)}}, {})
    ['mass: shown nothing but the frame, the network is no better than chance, as it should be.']
    """
    said = []
    for label in inputs["plain"]:
        for name, shown, bad in PROBES:
            e = inputs.get(name, {}).get(label)
            if e is not None:
                said.append(f"{label}: {shown}, {_verdict(e, inputs['plain'][label], bad)}")
    for name, source in sources.items():
        e = source["auroc"]
        verdict = "give it away" if source["warns"] else "hardly tell it" if e.low <= 0.5 else "tell it a little"
        said.append(
            f"{name}: the network's last features {verdict} (AUROC {e} for {source['value']!r} among cases with the same "
            "answer)."
        )
    return said


PROBES = (
    ("frame", "shown nothing but the frame", "It reads the frame, where no finding should be."),
    ("no centre", "without the centre", ""),
    (
        "patches",
        "shown patches in a shuffled order",
        "Texture and brightness carry that much of its answer, not where things lie.",
    ),
)
"""Name, in words, and what it means that much of the answer is left."""


def _verdict(e: Estimate, plain: Estimate, bad: str) -> str:
    if not np.isfinite(e.value):
        return "nothing can be said."
    if e.low <= 0.5 <= e.high:
        return "the network is no better than chance" + (", as it should be." if bad.startswith("It reads") else ".")
    kept = f"it still has an AUROC of {e}, against {plain.value:.3f} on whole pictures."
    if e.high < 1 - FAR:
        return f"it ranks the wrong way round, with an AUROC of {e}. {bad}".strip()
    return f"{kept} {bad}".strip() if e.low > FAR else kept


def warnings(found: Mapping[str, Any]) -> list[str]:
    """Return one loud line where the frame alone, or the source, is read; of figures, or of what ``probes.json`` holds.

    Examples
    --------
    >>> frame = {"mass": {"value": 0.9, "low": 0.8, "high": 0.95}, "bone": {"value": None, "low": None, "high": None}}
    >>> warnings({"inputs": {"frame": frame}, "sources": {}})
    ["shortcut: from the frame alone the network ranks 'mass' with an AUROC of 0.900 (0.800–0.950)."]
    """
    found, said = plain(found), []
    for label, e in found["inputs"]["frame"].items():
        if e["low"] is not None and (e["low"] > FAR or e["high"] < 1 - FAR):
            said.append(f"shortcut: from the frame alone the network ranks {label!r} with an AUROC of {_figure(e)}.")
    for name, source in found["sources"].items():
        if source["warns"]:
            said.append(f"shortcut: the network's features give away the {name} (AUROC {_figure(source['auroc'])}).")
    return said


def _figure(e: Mapping[str, float]) -> str:
    return f"{e['value']:.3f} ({e['low']:.3f}–{e['high']:.3f})"
