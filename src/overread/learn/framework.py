"""The one place where Keras comes in, quietly: what its libraries say about this processor is of no use to a reader."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from overread.errors import RunError

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")


@contextmanager
def natives_to(log: Path | None) -> Iterator[None]:
    """Send what compiled libraries write to stderr into a file, while Python's own stderr goes on to the person.

    Parameters
    ----------
    log : Path or None
        Appended to, so that a crash in compiled code leaves its last words; None keeps them only to show an error.
    """
    with open(log, "ab") if log else tempfile.TemporaryFile() as said:
        sys.stderr.flush()
        kept = os.dup(2)
        ours = sys.stderr
        direct = ours is sys.__stderr__
        os.dup2(said.fileno(), 2)
        if direct:  # under a test runner stderr is the runner's own object already
            sys.stderr = os.fdopen(os.dup(kept), "w", buffering=1, encoding=ours.encoding, errors="replace")
        try:
            yield
        finally:
            if direct:
                sys.stderr.close()
                sys.stderr = ours
            os.dup2(kept, 2)
            os.close(kept)


try:
    with natives_to(None):
        import keras

        keras.ops.ones((1,))  # the first computation is when they speak
except ImportError as missing:  # the core install has no training framework
    raise RunError(
        "training needs Keras and TensorFlow, which are not installed",
        expected="the extra [train] of this package",
        do='run: pip install "overread[train]"',
    ) from missing

__all__ = ["forget", "keras", "natives_to"]


def forget() -> None:
    """Let go of what a training that is over left in memory; for those who train many networks one after another."""
    keras.backend.clear_session(free_memory=True)
