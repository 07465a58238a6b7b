"""Ask readers for the traps: overread in this process, everybody else in an environment of their own."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import numpy as np

from benchmarks.dicom_traps.judge import Answer, Seen
from benchmarks.dicom_traps.peers import child
from benchmarks.dicom_traps.truth import Trap

PEERS = Path(__file__).with_name("peers")
SECONDS = 900
"""A reader that has not gone through all traps by then is stopped."""


def here(reader: object, trap: Trap) -> Answer:
    """Ask a reader that lives in this environment."""
    return _answer(*child.asked(reader, str(trap.case.path), trap.case.kind))


def elsewhere(python: Path, reader: str, traps: list[Trap], out: Path) -> tuple[dict[str, Answer], dict[str, str]]:
    """Ask a reader in its own environment, in processes of its own; one that dies is started again after its last trap.

    Parameters
    ----------
    python : Path
        The environment's interpreter.
    reader : str
        Name of a file in ``peers``.
    traps : list of Trap
    out : Path
        An empty folder for the answers.

    Returns
    -------
    answers : dict of str to Answer
    versions : dict of str to str
    """
    jobs = out / "jobs.list"
    jobs.write_text(json.dumps([{"name": t.name, "kind": t.case.kind, "path": str(t.case.path)} for t in traps]))
    command = [str(python), "-s", str(PEERS / "child.py"), str(PEERS / f"{reader}.py"), str(jobs), str(out)]
    quiet = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    quiet.pop("PYTHONPATH", None)
    for _ in traps:  # each round answers at least one more
        ran = subprocess.run(command, env=quiet, timeout=SECONDS, capture_output=True, text=True)
        if ran.returncode == 0:
            break
        fallen = [t for t in traps if (out / f"{t.name}.begun").exists() and not (out / f"{t.name}.json").exists()]
        if not fallen:
            raise RuntimeError(f"{reader} cannot be asked at all:\n{ran.stderr[-2000:]}")
        last = {"seen": [], "error": f"the process died ({ran.returncode})", "warnings": [], "unread": ""}
        (out / f"{fallen[0].name}.json").write_text(json.dumps(last))
    answers = {}
    for trap in traps:
        path = out / f"{trap.name}.npz"
        arrays = dict(np.load(path)) if path.exists() else {}
        answers[trap.name] = _answer(json.loads((out / f"{trap.name}.json").read_text()), arrays)
    return answers, json.loads((out / "versions.json").read_text())


def _answer(told: dict, arrays: dict[str, np.ndarray]) -> Answer:
    seen = []
    for n, one in enumerate(told["seen"]):
        one = {**one, "notes": tuple(one.get("notes", ()))}
        seen.append(Seen(array=arrays[str(n)], affine=arrays.get(f"{n} affine"), **one))
    return Answer(tuple(seen), told["error"], tuple(told["warnings"]), told["unread"])
