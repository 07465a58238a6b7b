"""Export: hand the trained graph to another program, or the run to another place without any of its cases."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from overread.domain.canonical import plain
from overread.errors import RunError
from overread.learn.predict import NEEDED, Model, check_manifest, open_graph, sha256
from overread.steps.run import LEFT_OUT, read_json, write, write_json

FORMATS = ("onnx", "run")

ANSWERING = (*NEEDED, "gate.npz", "gradient.onnx", "heatmaps.json")
"""Sealed files of a run that answering for a new image takes: none of them holds anything of a single case."""

TOLD = ("card.json", "card.md", "card.xml", "answers.toml")
"""What goes along to be read: the card and what a human wrote."""


@dataclass(frozen=True)
class Exported:
    """Where the graph went, its SHA-256, and its ends."""

    file: Path
    sha256: str
    inputs: dict[str, list]
    outputs: dict[str, list]

    def to_json(self) -> dict[str, Any]:
        """Return what was exported for ``--json``."""
        return {"file": str(self.file), "sha256": self.sha256, "inputs": self.inputs, "outputs": self.outputs}

    def __str__(self) -> str:
        ends = ", ".join(f"{n} {s}" for n, s in (self.inputs | self.outputs).items())
        return f"{self.file} ({ends})\nhow to prepare its input and read its output: {self.file}.json"


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


def export(run: object, *, out: str | Path, format: str = "onnx") -> Exported | HandedOver:
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

    Raises
    ------
    RunError, IntegrityError
    """
    if format not in FORMATS:
        raise RunError(f"the format {format!r}", expected="one of " + ", ".join(FORMATS), do="use --format onnx")
    run, out = Path(getattr(run, "path", run)), Path(out)
    if format == "run":
        return _hand_over(run, out)
    check_manifest(run)
    out.parent.mkdir(parents=True, exist_ok=True)
    write(out, (run / "model.onnx").read_bytes())
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
        },
    )
    session = open_graph(out)
    return Exported(
        out,
        sha256(out),
        {i.name: list(i.shape) for i in session.get_inputs()},
        {o.name: list(o.shape) for o in session.get_outputs()},
    )


def _hand_over(run: Path, out: Path) -> HandedOver:
    """Copy what answers, under a manifest of its own that names what was left out."""
    files = Model.load(run).files
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
