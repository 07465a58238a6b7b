"""Child: images a second of overread's training step; `python step_overread.py NAME SECONDS bare|bfloat16|whole`.

"bfloat16" is the bare step with products in bfloat16; "whole" is what a training pays: augmentation, the batch read from the mapped file, the moving average of the weights.
"""

import json
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.speed.graphs import drawn_up
from overread.learn import batches, fit, networks
from overread.learn.framework import keras


def main() -> None:
    name, seconds, whole = sys.argv[1], float(sys.argv[2]), sys.argv[3] == "whole"
    plan = drawn_up(name)
    plan = plan if whole else replace(plan, augmentation={})
    if sys.argv[3] == "bfloat16":
        plan = replace(plan, optimiser={**plan.optimiser, "precision": "bfloat16"})
    keras.utils.set_random_seed(0)
    built = networks.NETWORKS[plan.network](input_shape=plan.input_shape, outputs=1, kind="binary", **plan.build)
    rng = np.random.default_rng(0)
    n = plan.batch * 8
    y = (rng.random((n, 1)) < 0.5).astype(np.float32)
    model = fit._with_augmentation(fit._at_precision(built.trained, plan), plan)
    fit._compile(model, plan, y)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "images.npy"
        np.save(file, rng.normal(size=(n, *plan.input_shape)).astype(np.float32))
        feed = batches.Batches(np.load(file, mmap_mode="r"), y, batch=plan.batch, seed=0)
        resident = feed[0]
        course = fit._Course(plan, built, model, (), None, Path(folder) / "c.npz") if whole else None
        model.optimizer.build(model.trainable_variables)

        def step(k: int) -> None:
            model.train_on_batch(*(feed[k % len(feed)] if whole else resident))
            if course is not None:
                course.average_in()

        for k in range(3):
            step(k)
        each, work, end = [], [], time.perf_counter() + seconds
        while time.perf_counter() < end or len(each) < 8:
            began, worked = time.perf_counter(), time.process_time()
            step(len(each))
            each.append(time.perf_counter() - began)
            work.append(time.process_time() - worked)
    told = {key: plan.batch / float(np.quantile(v, 0.1)) for key, v in (("clock", each), ("work", work))}
    print(json.dumps(told | {"weights": sum(int(np.prod(w.shape)) for w in built.trained.trainable_weights)}))


if __name__ == "__main__":
    main()
