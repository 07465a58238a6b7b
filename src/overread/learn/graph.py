"""An exported graph, opened and run: each image alone, so that the same input gives the same bytes in any company."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime


def open_graph(graph: Path | bytes) -> onnxruntime.InferenceSession:
    """Open an exported graph, a file or its bytes, for :func:`run_graph`."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # images run side by side instead: the sums of one image never change order
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    what = graph if isinstance(graph, bytes) else str(graph)
    return onnxruntime.InferenceSession(what, sess_options=options, providers=["CPUExecutionProvider"])


def run_graph(
    session: onnxruntime.InferenceSession, inputs: Iterable[np.ndarray], *, workers: int = 2
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield (logits, last feature maps) for each network input, in order; each is run alone.

    The same input then gives the same bytes whatever else is in the batch.
    """

    def one(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        logits, features = session.run(["logits", "features"], {"image": np.asarray(x)[None]})
        return logits[0].astype(np.float64), features[0]

    yield from _side_by_side(one, inputs, workers)


def run_slopes(
    session: onnxruntime.InferenceSession, inputs: Iterable[np.ndarray], k: int, *, workers: int = 2
) -> Iterator[np.ndarray]:
    """Yield the slope of logit ``k`` in every pixel of each network input, in order (``learn.saliency_gradient``)."""
    direction = np.zeros((1, session.get_inputs()[1].shape[1]), np.float32)
    direction[0, k] = 1

    def one(x: np.ndarray) -> np.ndarray:
        return session.run(["slope"], {"image": np.asarray(x)[None], "direction": direction})[0][0]

    yield from _side_by_side(one, inputs, workers)


def _side_by_side(one: Callable[[np.ndarray], Any], inputs: Iterable[np.ndarray], workers: int) -> Iterator[Any]:
    """Yield what becomes of each input, in order, a few at a time; one that comes alone needs no threads."""
    inputs = iter(inputs)
    some = list(islice(inputs, 16 * workers))
    if len(some) == 1:
        yield one(some[0])
        return
    with ThreadPoolExecutor(workers) as pool:
        while some:
            yield from pool.map(one, some)
            some = list(islice(inputs, 16 * workers))
