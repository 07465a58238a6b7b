"""What training minimises, for each kind of label; an unknown label costs nothing."""

from __future__ import annotations

import numpy as np

from overread.learn.framework import keras

ops = keras.ops

UNKNOWN = -1.0
"""Target value of a label that nobody knows; it is masked, never taken for absent."""


def targets(kind: str, truth: np.ndarray) -> np.ndarray:
    """Return what the network should say, (n, outputs) float32.

    Parameters
    ----------
    kind : str
        binary, multilabel: ``truth`` is (n, outputs) of 0, 1 or NaN (unknown). multiclass, ordinal: (n, outputs) one-hot.

    Notes
    -----
    An ordinal target is spread over its neighbours, exp(−2·distance) (Diaz & Marathe, CVPR 2019), so that a mistake by
    one grade costs less than a mistake by four.

    Examples
    --------
    >>> targets("binary", np.array([[1.0], [np.nan]])).tolist()
    [[1.0], [-1.0]]
    >>> [f"{share:.2f}" for share in targets("ordinal", np.eye(3))[0]]
    ['0.87', '0.12', '0.02']
    """
    truth = np.asarray(truth, np.float32)
    if kind == "ordinal":
        grade = truth.argmax(axis=1)
        spread = np.exp(-2.0 * np.abs(np.arange(truth.shape[1])[None, :] - grade[:, None]))
        return (spread / spread.sum(axis=1, keepdims=True)).astype(np.float32)
    return np.where(np.isnan(truth), np.float32(UNKNOWN), truth)


@keras.saving.register_keras_serializable(package="overread")
class FromLogits(keras.losses.Loss):
    """Cross-entropy on logits, with smoothed labels, class weights, and unknown labels left out.

    Parameters
    ----------
    kind : str
    smoothing : float
        0.05 asks for 0.975 and 0.025 instead of 1 and 0.
    positive_weight : sequence of float or None
        For each output of a binary or multi-label network: how much a positive counts against a negative.
    """

    def __init__(self, kind: str, smoothing: float = 0.05, positive_weight=None, name: str = "from_logits") -> None:
        super().__init__(name=name)
        self.kind, self.smoothing = kind, smoothing
        self.positive_weight = None if positive_weight is None else [float(w) for w in positive_weight]

    def get_config(self):
        return {"kind": self.kind, "smoothing": self.smoothing, "positive_weight": self.positive_weight}

    def call(self, y_true, y_pred):
        y_true = ops.cast(y_true, y_pred.dtype)
        if self.kind in ("multiclass", "ordinal"):
            k = y_true.shape[-1]
            smooth = y_true * (1 - self.smoothing) + self.smoothing / k
            return -ops.sum(smooth * ops.log_softmax(y_pred, axis=-1), axis=-1)
        known = ops.cast(y_true >= 0, y_pred.dtype)
        truth = ops.clip(y_true, 0.0, 1.0)
        smooth = truth * (1 - self.smoothing) + self.smoothing / 2
        loss = ops.maximum(y_pred, 0) - y_pred * smooth + ops.softplus(-ops.abs(y_pred))
        if self.positive_weight is not None:
            w = ops.convert_to_tensor(self.positive_weight, dtype=y_pred.dtype)
            loss = loss * (truth * w + (1 - truth))
        return ops.sum(loss * known, axis=-1) / ops.maximum(ops.sum(known, axis=-1), 1.0)


@keras.saving.register_keras_serializable(package="overread")
class MaskedCrossentropy(keras.losses.Loss):
    """The article's binary cross-entropy on probabilities, with unknown labels left out."""

    def __init__(self, name: str = "masked_crossentropy") -> None:
        super().__init__(name=name)

    def get_config(self):
        return {}

    def call(self, y_true, y_pred):
        y_true = ops.cast(y_true, y_pred.dtype)
        known = ops.cast(y_true >= 0, y_pred.dtype)
        p = ops.clip(y_pred, 1e-7, 1 - 1e-7)
        loss = -(y_true * ops.log(p) + (1 - y_true) * ops.log(1 - p))
        return ops.sum(ops.where(known > 0, loss, 0.0), axis=-1) / ops.maximum(ops.sum(known, axis=-1), 1.0)
