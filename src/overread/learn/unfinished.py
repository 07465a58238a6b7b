"""What is said of a folder in which something was begun and not ended. Loads without Keras."""

from __future__ import annotations

import json
from pathlib import Path

from overread.errors import RunError


def unfinished(run: Path) -> RunError:
    """Return what is to be said of a folder in which something was begun and not ended: what it was, and how it goes on."""
    try:
        told = json.loads((run / "unfinished").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        told = {}
    verb = told.get("verb", "pretrain" if "salt" in told else "train")
    what = {"distil": "distillation", "pretrain": "start"}.get(verb, "training")
    return RunError(
        f"{run} holds an unfinished {what}",
        expected="a finished run",
        do=f"finish it with `overread {verb} … --resume`",
    )
