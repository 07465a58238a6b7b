"""The one place where Keras comes in, quietly: what its libraries say about this processor is of no use to a reader."""

from __future__ import annotations

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")

try:
    import keras
except ImportError as missing:  # the core install has no training framework
    from overread.errors import RunError

    raise RunError(
        "training needs Keras and TensorFlow, which are not installed",
        expected="the extra [train] of this package",
        do='run: pip install "overread[train]"',
    ) from missing

__all__ = ["keras"]
