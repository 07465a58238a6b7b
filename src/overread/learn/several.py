"""Train one network in several processes at once, each with its share of every batch, to the weights of one process.

Every process holds the whole network. Each takes its images of a batch, the gradients are added over all processes, and
all take the same step, so that their weights stay equal to the last bit. TensorFlow's ``MultiWorkerMirroredStrategy``
does the adding, over NCCL between GPUs and a ring between processors. It does nothing else here: Keras 3 does not train
under it (keras issue 20585), so the variables stay those of one process.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from overread.errors import RunError

APART = 104_729
"""What the seeds of two processes differ by, so that no two images are changed alike by augmentation."""


class Sharing:
    """This process as one of several that train together; made before anything is computed.

    Parameters
    ----------
    rank : int
        0 for the one that looks at the tuning cohort and writes the checkpoint.
    addresses : sequence of str
        "host:port" of each process, by rank; all give the same list.
    """

    def __init__(self, rank: int, addresses: Sequence[str]) -> None:
        self.rank, self.count = rank, len(addresses)
        told = {"cluster": {"worker": list(addresses)}, "task": {"type": "worker", "index": rank}}
        os.environ["TF_CONFIG"] = json.dumps(told)
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
        if "OMP_NUM_THREADS" in os.environ:  # as many as this process was given of its host
            os.environ.setdefault("TF_NUM_INTRAOP_THREADS", os.environ["OMP_NUM_THREADS"])
        import tensorflow as tf  # here, as the addresses must be known first

        self.tf = tf
        self.strategy = tf.distribute.MultiWorkerMirroredStrategy()

    def part(self) -> tuple[int, int]:
        """Return which images of a batch are this process': from the rank on, every count-th."""
        return self.rank, self.count

    def steps(self, model: Any, *, seed: int, whole: int) -> Steps:
        """Return what takes this model's training steps; ``whole``: images of a batch, all processes together."""
        return Steps(self, model, seed=seed, whole=whole)

    def added(self, values: Any) -> Any:
        """Return the sum over all processes, the same in each."""
        context = self.tf.distribute.get_replica_context()
        return context.all_reduce(self.tf.distribute.ReduceOp.SUM, values)


class Steps:
    """Training steps that all processes take together.

    Notes
    -----
    The statistics of batch normalisation are those of the whole batch, added over all processes, as one process would
    find them: with each process' own, the network would depend on how many there are. The whole gradient is clipped,
    not each share of it. An empty share is impossible: there are never more processes than images in a batch.
    """

    def __init__(self, sharing: Sharing, model: Any, *, seed: int, whole: int) -> None:
        from overread.learn.framework import keras

        self.sharing, self.model, self.seed, self.whole = sharing, model, seed, whole
        for layer in model._flatten_layers():
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.synchronized = True  # Keras' own way, for a version that has no such method any more
                layer._moments = partial(self._moments, layer.axis)
        self.sizes = [int(np.prod(v.shape)) for v in model.trainable_variables]
        self._together = sharing.tf.function(lambda *batch: sharing.strategy.run(self._share, batch))
        self._update = sharing.tf.function(self._take)
        self._sum = sharing.tf.function(lambda x: sharing.strategy.run(lambda mine: sharing.added(mine + 0.0), (x,)))

    def start(self, epoch: int) -> None:
        """Begin an epoch: random changes of this process' own, and the same weights everywhere.

        Raises
        ------
        RunError
            When another process has other weights, another epoch or another version of a library.
        """
        from overread.learn import augment
        from overread.learn.framework import keras

        augment.reseed(self.model, self.seed + APART * self.sharing.rank, epoch)
        digest = hashlib.sha256(f"{epoch} {keras.__version__} {self.sharing.tf.__version__}".encode())
        for weight in self.model.trainable_variables:
            digest.update(np.ascontiguousarray(weight).tobytes())
        mine = int.from_bytes(digest.digest()[:5], "big")  # 40 bits: the sum of any number of these is exact
        tf = self.sharing.tf
        total = _connected(tf, lambda: self._sum(tf.constant(mine, tf.float64)))
        if int(total) != mine * self.sharing.count:
            raise RunError(
                f"{self.sharing.count} processes that do not have the same weights at epoch {epoch + 1}",
                expected="equal weights, and the same versions of Keras and TensorFlow",
                do="install the same versions on all hosts, and train again",
            )

    def take(self, images: np.ndarray, targets: np.ndarray) -> float:
        """Take one step with this process' images of the batch; return the loss of the whole batch."""
        tf = self.sharing.tf
        part = tf.constant(len(images) * self.sharing.count / self.whole, tf.float32)
        found = _connected(tf, lambda: self._together(tf.constant(images), tf.constant(targets), part))
        self._update(found)
        return float(found[-1])

    def _moments(self, axis: int, images: Any, mask: Any) -> tuple[Any, Any]:
        """Return mean and variance of each channel over the whole batch, in two passes.

        Keras' own way, E[x²] − E[x]² in one pass, makes errors that Adam enlarges: after an epoch weights differed by
        5e-3 from those of one process, and by 5e-7 in two passes.
        """
        if mask is not None:
            raise NotImplementedError("batch normalisation with a mask, in several processes")
        tf, added = self.sharing.tf, self.sharing.added
        others = [i for i in range(len(images.shape)) if i != axis % len(images.shape)]
        grid = math.prod(images.shape[i] for i in others if i)  # of one image
        images = tf.cast(images, tf.float32)
        mean = added(tf.reduce_sum(images, others)) / (self.whole * grid)
        shape = [1 if i in others else -1 for i in range(len(images.shape))]
        off = images - tf.reshape(mean, shape)
        return mean, added(tf.reduce_sum(off * off, others)) / (self.whole * grid)

    def _share(self, images: Any, targets: Any, part: Any) -> Any:
        """Return the gradient of the whole batch, and its loss, as one long row: one message instead of one a variable."""
        tf, model = self.sharing.tf, self.model
        with tf.GradientTape() as tape:
            said = model(images, training=True)
            # Keras divides the mean by the number of processes already; shares may differ by one image
            loss = model.compute_loss(x=images, y=targets, y_pred=said) * part
        gradients = tape.gradient(loss, [v.value for v in model.trainable_variables])
        return self.sharing.added(tf.concat([*(tf.reshape(g, [-1]) for g in gradients), tf.reshape(loss, [1])], 0))

    def _take(self, row: Any) -> None:
        variables = self.model.trainable_variables
        pieces = self.sharing.tf.split(row[:-1], self.sizes)
        self.model.optimizer.apply(
            [self.sharing.tf.reshape(p, v.shape) for p, v in zip(pieces, variables, strict=True)], variables
        )


def _connected(tf: Any, do: Callable[[], Any]) -> Any:
    """Do what needs the other processes.

    Raises
    ------
    ConnectionError
        When one of them is gone.
    """
    errors = tf.errors
    try:
        return do()
    except (errors.UnavailableError, errors.AbortedError, errors.CancelledError, errors.DeadlineExceededError) as gone:
        raise ConnectionError("another process of this training is gone") from gone


def train_as(
    rank: int,
    addresses: Sequence[str],
    tell: Callable[[dict[str, Any]], object],
    *,
    plan: Any,
    training: tuple[Path, np.ndarray],
    tuning: tuple[Path, np.ndarray],
    score: Callable[[np.ndarray, np.ndarray], float],
    checkpoint: Path,
) -> None:
    """Train the plan's network as one of several processes; what is learned is left in ``checkpoint``.

    Parameters
    ----------
    rank : int
    addresses : sequence of str
        Of all processes; with one alone this is an ordinary training.
    tell : callable
        As in :func:`overread.learn.fit.fit`.
    plan : Plan
    training, tuning : (file, truth)
        The images lie in a file that every host sees.
    score : callable
    checkpoint : Path
        Every process goes on from it; the first one writes it.
    """
    sharing = Sharing(rank, addresses) if len(addresses) > 1 else None
    from overread.learn.fit import fit  # its import computes something, which must come after the strategy

    images = [(np.load(file, mmap_mode="r"), truth) for file, truth in (training, tuning)]
    fit(
        plan,
        training=images[0],
        tuning=images[1],
        score=score,
        checkpoint=checkpoint,
        tell=tell,
        sharing=sharing,
    )
