"""Export: hand the trained graph to another program, with what it needs to be used rightly."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from overread.domain.canonical import plain
from overread.errors import RunError
from overread.learn.predict import check_manifest, open_graph, sha256
from overread.steps.run import read_json, write, write_json

FORMATS = ("onnx",)


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


def export(run: object, *, out: str | Path, format: str = "onnx") -> Exported:
    """Copy the run's graph to a file, with its recipe, labels and calibration as JSON beside it.

    The graph was compared with the network on real images when it was trained; here its bytes are checked against
    the manifest, and it is opened once as any other program would open it.

    Parameters
    ----------
    run : path or Run
    out : path
        File to write.
    format : str
        "onnx".
    """
    if format not in FORMATS:
        raise RunError(f"the format {format!r}", expected="one of " + ", ".join(FORMATS), do="use --format onnx")
    run, out = Path(getattr(run, "path", run)), Path(out)
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
