"""Enlarge pictures inside a network, by matrix products alone: every framework and every graph computes these alike."""

from __future__ import annotations

from typing import Any

import numpy as np

from overread.learn.framework import keras


@keras.saving.register_keras_serializable(package="overread")
class Enlarge(keras.layers.Layer):
    """Enlarge rows and columns so many times, with straight lines between the pixels' centres.

    Parameters
    ----------
    times : int
    """

    def __init__(self, times: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.times = int(times)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "times": self.times}

    def compute_output_shape(self, input_shape):
        n, rows, columns, channels = input_shape
        return n, rows * self.times, columns * self.times, channels

    def call(self, images):
        rows, columns, channels = images.shape[1:]
        ops, wide, high = keras.ops, columns * self.times, rows * self.times
        x = ops.reshape(ops.transpose(images, (0, 3, 1, 2)), (-1, columns))  # lines, one by one: a plain product
        x = ops.reshape(ops.matmul(x, between(columns, self.times)), (-1, channels, rows, wide))
        x = ops.reshape(ops.transpose(x, (0, 1, 3, 2)), (-1, rows))
        x = ops.reshape(ops.matmul(x, between(rows, self.times)), (-1, channels, wide, high))
        return ops.transpose(x, (0, 3, 2, 1))


def between(n: int, times: int) -> np.ndarray:
    """Return what a line of pixels is multiplied by to be enlarged, (n, n · times); beyond the last centre it is flat.

    Examples
    --------
    >>> (np.array([0.0, 4.0]) @ between(2, 2)).tolist()
    [0.0, 1.0, 3.0, 4.0]
    """
    at = np.clip((np.arange(n * times) + 0.5) / times - 0.5, 0, n - 1)
    return np.maximum(0.0, 1.0 - np.abs(np.arange(n)[:, None] - at[None, :])).astype(np.float32)
