"""Child: write the default networks, exported as a run is; `python graphs.py FOLDER`."""

import sys
from pathlib import Path

import numpy as np
import tensorflow as tf

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.speed import SHAPES
from overread.domain import Task
from overread.learn import export, networks, plan


def drawn_up(name):
    """The default plan for a cohort of such images."""
    shape, channels = SHAPES[name]
    seen = plan.Fingerprint(2000, shape, channels, "", "stored", 2000 if shape[0] > 1 else 0)
    return plan.draw_up(Task(("x",), "binary", "x"), seen, network="residual", seed=0)


def main() -> None:
    into, rng = Path(sys.argv[1]), np.random.default_rng(0)
    for name in SHAPES:
        p = drawn_up(name)
        built = networks.NETWORKS[p.network](input_shape=p.input_shape, outputs=1, kind="binary", **p.build)
        x = rng.normal(size=(4, *p.input_shape)).astype(np.float32)
        file = into / name.replace(" ", "-")
        export.export(built, file.with_suffix(".onnx"), examples=x)
        try:
            file.with_suffix(".tflite").write_bytes(tf.lite.TFLiteConverter.from_keras_model(built.exported).convert())
        except Exception:
            file.with_suffix(".tflite").unlink(missing_ok=True)  # mean pooling of volumes is none of its operations


if __name__ == "__main__":
    main()
