"""Child: steps fed from a mapped file and from a resident batch, in turn; `python pipeline.py NAME GIGABYTES`."""

import json
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.speed.graphs import drawn_up
from overread.learn import batches, fit, networks
from overread.learn.framework import keras

STEPS = 40


def own_mb() -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return sum(float(line.split()[1]) for line in lines if line.startswith("RssAnon")) / 1024


def main() -> None:
    plan, gigabytes = drawn_up(sys.argv[1]), float(sys.argv[2])
    keras.utils.set_random_seed(0)
    built = networks.NETWORKS[plan.network](input_shape=plan.input_shape, outputs=1, kind="binary", **plan.build)
    n = int(gigabytes * 1e9 / (4 * np.prod(plan.input_shape)))
    y = (np.random.default_rng(0).random((n, 1)) < 0.5).astype(np.float32)
    model = fit._with_augmentation(built.trained, plan)
    fit._compile(model, plan, y)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "images.npy"
        np.lib.format.open_memmap(file, "w+", np.float32, (n, *plan.input_shape)).flush()
        feed = batches.Batches(np.load(file, mmap_mode="r"), y, batch=plan.batch, seed=0)
        resident = feed[0]
        for _ in range(3):
            model.train_on_batch(*resident)
        step, fed, read = [], [], []
        for k in range(STEPS):
            began = time.process_time()
            model.train_on_batch(*resident)
            step.append(time.process_time() - began)
            began = time.process_time()
            batch = feed[k % len(feed)]
            read.append(time.process_time() - began)
            model.train_on_batch(*batch)
            fed.append(time.process_time() - began)
        held = own_mb()
        for k in range(len(feed)):
            feed[k]
        grown = own_mb() - held
    least = {name: float(np.quantile(v, 0.25)) for name, v in (("step", step), ("fed", fed), ("read", read))}
    told = {"ratio": least["fed"] / least["step"], "step_ms": 1e3 * least["step"], "read_ms": 1e3 * least["read"]}
    print(json.dumps(told | {"grown_mb": grown}))


if __name__ == "__main__":
    main()
