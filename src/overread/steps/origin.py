"""How a network came to be, beside its plan: chosen from how many configurations, taught by which other run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from overread.steps.run import read_json

FILES = {"search": "search.json", "distil": "distil.json"}
"""What a run holds of it, where there was a search, or a teacher."""

SAID = ("configurations", "trainings", "taken", "flattery", "tuning", "teacher", "kept", "in_words")
"""What the card says of it; the whole stands in the file and in the figures."""


def origin(run: Path) -> dict[str, Any]:
    """Return what there is to tell, by its name; empty for a run that was trained once, by its plan."""
    return {name: read_json(run / file) for name, file in FILES.items() if (run / file).is_file()}


def in_short(run: Path) -> dict[str, Any]:
    """Return the same for the model card."""
    return {name: {k: v for k, v in told.items() if k in SAID} for name, told in origin(run).items()}
