"""Export: hand the trained graph to another program, or the run to another place without any of its cases."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from overread.domain.canonical import plain
from overread.errors import ExportError, RunError
from overread.imaging import preprocess
from overread.learn import reduce
from overread.learn.graph import open_graph, run_graph
from overread.learn.predict import NEEDED, Model, sha256
from overread.stats.splits import Split
from overread.steps.opened import open_archive
from overread.steps.progress import bar
from overread.steps.reads import opened
from overread.steps.run import LEFT_OUT, archive_of, read_json, write, write_json

FORMATS = ("onnx", "run")

MOST_RANGED = 64
"""Tuning images from which the ranges of whole numbers are learned; those of calibration judge."""

ANSWERING = (*NEEDED, "gate.npz", "gradient.onnx", "heatmaps.json")
"""Sealed files of a run that answering for a new image takes: none of them holds anything of a single case."""

TOLD = ("card.json", "card.md", "card.xml", "answers.toml")
"""What goes along to be read: the card and what a human wrote."""


@dataclass(frozen=True)
class Exported:
    """Where the graph went, its SHA-256, its ends, and what a smaller one changed (`overread.learn.reduce.agreement`)."""

    file: Path
    sha256: str
    inputs: dict[str, list]
    outputs: dict[str, list]
    reduced: Mapping[str, Any] | None = None

    def to_json(self) -> dict[str, Any]:
        """Return what was exported for ``--json``."""
        told = {"file": str(self.file), "sha256": self.sha256, "inputs": self.inputs, "outputs": self.outputs}
        return told | ({"reduced": plain(self.reduced)} if self.reduced else {})

    def __str__(self) -> str:
        ends = ", ".join(f"{n} {s}" for n, s in (self.inputs | self.outputs).items())
        lines = [f"{self.file} ({ends})", f"how to prepare its input and read its output: {self.file}.json"]
        return "\n".join([*lines, *([_told(self.reduced)] if self.reduced else [])])


@dataclass(frozen=True)
class HandedOver:
    """A copy of a run that answers for new images, and what stayed behind."""

    out: Path
    files: tuple[str, ...]
    left_out: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return what was copied for ``--json``."""
        return {"out": str(self.out), "files": list(self.files), "left_out": list(self.left_out)}

    def __str__(self) -> str:
        return (
            f"{self.out}: {len(self.files)} files, enough for predict, explain and serve\n"
            f"left out, as they hold something of single cases: {', '.join(self.left_out)}"
        )


def export(
    run: object, *, out: str | Path, format: str = "onnx", quantize: str | None = None, progress: bool = True
) -> Exported | HandedOver:
    """Copy the run's graph to a file, with its recipe, labels and calibration as JSON beside it; or the run, without cases.

    The graph was compared with the network on real images when it was trained; here its bytes are checked against
    the manifest, and it is opened once as any other program would open it.

    Parameters
    ----------
    run : path or Run
    out : path
        File to write; for "run" a folder that does not exist yet, or is empty.
    format : str
        "onnx"; or "run": what answering for a new image takes and nothing of any case: no pseudonyms, scores, pictures
        or feature averages. Such a copy cannot be evaluated: figures stay with the run.
    quantize : str, optional
        "float16" or "int8" (`overread.learn.reduce.WAYS`): write a smaller graph, and only when every image of the
        calibration cohort is answered as before; needs the training archive.
    progress : bool

    Raises
    ------
    RunError, IntegrityError
    ExportError
        When the smaller graph answers any image otherwise.
    """
    if format not in FORMATS:
        raise RunError(f"the format {format!r}", expected="one of " + ", ".join(FORMATS), do="use --format onnx")
    run, out = Path(getattr(run, "path", run)), Path(out)
    if quantize is not None and format != "onnx":
        raise RunError("a smaller graph in a copy of a run", expected="--format onnx", do="leave --quantize out")
    if format == "run":
        return _hand_over(run, out)
    opened(run)
    graph = (run / "model.onnx").read_bytes()
    graph, told = _smaller(run, graph, quantize, progress=progress) if quantize is not None else (graph, None)
    out.parent.mkdir(parents=True, exist_ok=True)
    write(out, graph)
    plan, calibration = read_json(run / "plan.json"), read_json(run / "calibration.json")
    calibration["calibration"].pop("refits")
    write_json(
        out.with_name(out.name + ".json"),
        {
            "task": plan["task"],
            "recipe": plan["recipe"],
            "input_shape": plan["input_shape"],
            "input": "image: (batch, "
            + ", ".join(str(n) for n in plan["input_shape"])
            + "), float32, prepared by the recipe",
            "outputs": {"logits": plan["task"]["labels"], "features": "last feature maps, channels last"},
            "calibration": plain(calibration),
            **({"reduced": plain(told)} if told else {}),
        },
    )
    session = open_graph(out)
    return Exported(
        out,
        sha256(out),
        {i.name: list(i.shape) for i in session.get_inputs()},
        {o.name: list(o.shape) for o in session.get_outputs()},
        told,
    )


def _smaller(run: Path, graph: bytes, how: str, *, progress: bool) -> tuple[bytes, dict[str, Any]]:
    """Return a smaller graph, and what it changed on the calibration cohort; refuse one that answers otherwise."""
    model, plan = Model.load(run), read_json(run / "plan.json")
    place = archive_of(run, plan)
    if place is None or not (run / "split.json").is_file():
        raise RunError(
            "the training archive is not there",
            expected=f"{plan.get('archive', 'an archive')}, whose calibration cohort a smaller graph must answer as before",
            do="bring it back to its place beside the run",
        )
    cohorts = Split.from_json(read_json(run / "split.json")).cohorts
    with open_archive(place) as store:
        seen = [image for image, _, _ in cohorts["tuning"]][:MOST_RANGED]
        ranged = [preprocess.apply(model.recipe, store.image(image)) for image in seen]
        small = reduce.reduced(graph, how, ranged)
        known = [image for image, _, _ in cohorts["calibration"]]
        shown = bar(known, total=len(known), what="compare", unit="image", show=progress)
        told = reduce.agreement(model, small, (store.image(image) for image in shown))
    told = {"precision": how, "megabytes": [round(len(g) / 1e6, 3) for g in (graph, small)], **told}
    told["milliseconds"] = [round(milliseconds(g, ranged[:16]), 3) for g in (graph, small)]
    if told["decisions_changed"] or not told["images"]:
        raise ExportError(
            f"the graph in {how} answers {told['decisions_changed']} of {told['images']} calibration images otherwise "
            f"(probabilities differ by up to {told['largest_difference']:g})",
            expected="every decision unchanged",
            do="use float16, or the graph as it is",
        )
    return small, told


def milliseconds(graph: bytes, inputs: Sequence[np.ndarray]) -> float:
    """Return the processor time of one image, median, on one thread."""
    session, each = open_graph(graph), []
    for x in inputs:
        began = time.process_time()
        next(run_graph(session, [x]))
        each.append(1000 * (time.process_time() - began))
    return float(np.median(each)) if each else float("nan")


def _told(reduced: Mapping[str, Any]) -> str:
    (before, after), (slow, fast) = reduced["megabytes"], reduced["milliseconds"]
    return (
        f"{reduced['precision']}: {before:g} → {after:g} MB, {slow:g} → {fast:g} ms an image on one core; all "
        f"{reduced['images']} calibration images are answered as before (so fewer than one new image in {reduced['one_in']} "
        f"is not, with 95 % confidence); probabilities differ by at most {reduced['largest_difference']:g}"
    )


def _hand_over(run: Path, out: Path) -> HandedOver:
    """Copy what answers, under a manifest of its own that names what was left out."""
    files = opened(run, needed=("card.json",))[0].files  # the card goes with the copy, figures and all
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise RunError(f"{out} is not empty", expected="a new folder", do="name another one with --out")
    out.mkdir(parents=True, exist_ok=True)
    kept = {name: digest for name, digest in files.items() if name in ANSWERING}
    told = [name for name in TOLD if (run / name).is_file()]
    for name in (*kept, *told):
        write(out / name, (run / name).read_bytes())
    left = sorted(p.name for p in run.iterdir() if p.name not in {*kept, *told, "manifest.json"})
    write_json(out / "manifest.json", {"files": kept, "card": read_json(run / "manifest.json")["card"], LEFT_OUT: left})
    return HandedOver(out, (*kept, *told, "manifest.json"), tuple(left))
