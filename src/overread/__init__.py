"""overread: a second reader for medical images. AI assists; the doctor decides.

>>> import overread as ov
>>> ov.__version__
'0.1.0'

The verbs of the command line are functions here, loaded when they are first used:
``find``, ``collect``, ``inspect``, ``plan``, ``train``, ``distil``, ``evaluate``, ``compare``, ``explain``, ``predict``, ``export``, ``deidentify``, ``phantom``,
``verify``; ``read`` is the door through which an image comes in.
"""

from __future__ import annotations

import importlib

__version__ = "0.1.0"

_VERBS = (
    "find",
    "collect",
    "copy",
    "inspect",
    "plan",
    "train",
    "distil",
    "evaluate",
    "compare",
    "explain",
    "predict",
    "export",
    "deidentify",
    "phantom",
    "verify",
)
_DOOR = {"read": "overread.formats.door"}

__all__ = ["__version__", "read", *_VERBS]


def __getattr__(name: str):
    """Load a verb when it is first asked for, so that ``import overread`` costs next to nothing."""
    if name in _VERBS:
        return getattr(importlib.import_module(f"overread.steps.{name}"), name)
    if name in _DOOR:
        return getattr(importlib.import_module(_DOOR[name]), name)
    raise AttributeError(f"module 'overread' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
