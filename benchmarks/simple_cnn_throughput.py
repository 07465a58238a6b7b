"""Training throughput of `--network simple-cnn` against the article's own Keras code run bare, in turn, on the same data."""

import statistics
import subprocess
import sys

import numpy as np

N, EPOCHS, ROUNDS = 2560, 3, 5

BARE = """
import numpy as np, time
from keras.models import Sequential
from keras.layers import Conv2D, MaxPooling2D, Flatten, Dense
import keras
rng = np.random.default_rng(0)
X_train = rng.normal(size=({n}, 64, 64, 3)).astype("float32")
y_train = (rng.random(({n}, 1)) < .5).astype("float32")
keras.utils.set_random_seed(0)
model = Sequential()
model.add(keras.Input((64, 64, 3)))
model.add(Conv2D(32, (3, 3), activation='relu'))
model.add(MaxPooling2D(pool_size=(2, 2)))
model.add(Flatten())
model.add(Dense(128, activation='relu'))
model.add(Dense(1, activation='sigmoid'))
model.compile(optimizer='adam', loss='binary_crossentropy', metrics=['accuracy'])
model.fit(X_train, y_train, epochs=1, batch_size=32, verbose=0)
began = time.perf_counter()
model.fit(X_train, y_train, epochs={epochs}, batch_size=32, verbose=0)
print({n} * {epochs} / (time.perf_counter() - began))
"""

OURS = """
import numpy as np, time, tempfile, pathlib
from overread.domain import Task
from overread.learn import plan, fit
rng = np.random.default_rng(0)
X_train = rng.normal(size=({n}, 64, 64, 3)).astype("float32")
y_train = (rng.random(({n}, 1)) < .5).astype("float32")
seen = plan.Fingerprint({n}, (1, 64, 64), 3, "", "stored", 0)
p = plan.draw_up(Task(("x",), "binary", "x"), seen, network="simple-cnn", seed=0)
p = plan.with_epochs(p, {epochs} + 1, "a benchmark")
marks = []
with tempfile.TemporaryDirectory() as folder:
    def tell(news):
        if "tuning" in news:
            marks.append(time.perf_counter())
    fit.fit(p, training=(X_train, y_train), tuning=(X_train[:8], y_train[:8]), score=lambda z, t: 0.0,
            checkpoint=pathlib.Path(folder) / "c.npz", tell=tell)
print({n} * {epochs} / (marks[-1] - marks[0]))
"""


def one(code: str) -> float:
    words = [sys.executable, "-c", code.format(n=N, epochs=EPOCHS)]
    told = subprocess.run(words, capture_output=True, text=True)
    if told.returncode:
        raise RuntimeError(told.stderr)
    return float(told.stdout.split()[-1])


def measure() -> list[dict]:
    pairs = [(one(OURS), one(BARE)) for _ in range(ROUNDS)]
    ratios = [a / b for a, b in pairs]
    ours, bare = (np.median(v) for v in zip(*pairs, strict=True))
    spread = f"median of {ROUNDS} pairs, {min(ratios):.2f}–{max(ratios):.2f}"
    return [
        {
            "what": "images/s: overread's simple-cnn (checkpoints and tuning figure included), the article's code bare",
            "value": f"{ours:.0f}, {bare:.0f}",
        },
        {"what": f"ratio ({spread})", "value": f"{statistics.median(ratios):.2f} ×", "must": "≥ 0.95 ×"},
    ]
