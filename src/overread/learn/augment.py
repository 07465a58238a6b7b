"""Small, plausible changes to training images, as Keras layers: another patient position, another exposure.

Applied in training only, on a whole batch at once, with random numbers that follow from (seed, epoch) alone, so that a
run that was killed and resumed sees the same changes.
"""

from __future__ import annotations

import math
from typing import Any

from overread.learn.framework import keras

layers, ops = keras.layers, keras.ops


@keras.saving.register_keras_serializable(package="overread")
class Augment(layers.Layer):
    """Move, turn, scale, flip, and change the contrast of each image in a batch by its own random amount.

    Parameters
    ----------
    rotation : float
        Up to this many degrees either way, in the plane of the slice.
    scale : float
        Up to this fraction larger or smaller (0.12: 0.88 to 1.12).
    shift : float
        Up to this fraction of the side, along rows and columns (and slices of a volume).
    flips : tuple of str
        Any of "left-right", "up-down", "slices". None by default: a mirrored chest is another patient.
    gamma : float
        Intensities x in [0, 1] become x^exp(u), u uniform in ±gamma.
    contrast, brightness : float
        Multiply about the mean by 1 ± contrast, add ± brightness (in units of the image's own spread).
    noise : float
        Standard deviation of the noise, up to this many of the image's own standard deviations.
    seed : int

    Notes
    -----
    Input is standardised (mean 0, standard deviation 1 an image); gamma works on each image's own range. Input and
    output: (batch, rows, columns, channels) or (batch, slices, rows, columns, channels).
    """

    def __init__(
        self,
        *,
        rotation: float = 12.0,
        scale: float = 0.12,
        shift: float = 0.09,
        flips: tuple[str, ...] = (),
        gamma: float = 0.35,
        contrast: float = 0.15,
        brightness: float = 0.12,
        noise: float = 0.05,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.settings = dict(
            rotation=rotation, scale=scale, shift=shift, flips=tuple(flips), gamma=gamma, contrast=contrast,
            brightness=brightness, noise=noise, seed=seed,
        )  # fmt: skip
        self.random = keras.random.SeedGenerator(seed)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), **self.settings}

    def compute_output_shape(self, input_shape):
        return input_shape

    def call(self, images, training: bool = False):
        if not training:
            return images
        s = self.settings
        volume = len(images.shape) == 5
        for flip in s["flips"]:
            images = self._flip(images, axis={"left-right": -2, "up-down": -3, "slices": 1}[flip])
        if s["rotation"] or s["scale"] or s["shift"]:
            images = self._move_volume(images) if volume else self._move(images)
        return self._expose(images)

    def _uniform(self, count, bound: float, *, rank: int):
        return ops.reshape(
            keras.random.uniform((count,), -bound, bound, seed=self.random), (count,) + (1,) * (rank - 1)
        )

    def _flip(self, images, *, axis: int):
        n, rank = ops.shape(images)[0], len(images.shape)
        coin = ops.reshape(keras.random.uniform((n,), seed=self.random), (n,) + (1,) * (rank - 1))
        return ops.where(coin < 0.5, ops.flip(images, axis=axis), images)

    def _transforms(self, n, rows: int, columns: int):
        """Rows of eight numbers that take an output pixel (x, y) to the input pixel it shows."""
        s = self.settings
        angle = self._uniform(n, math.radians(s["rotation"]), rank=1)
        zoom = 1.0 + self._uniform(n, s["scale"], rank=1)
        dx = self._uniform(n, s["shift"] * columns, rank=1)
        dy = self._uniform(n, s["shift"] * rows, rank=1)
        cos, sin = ops.cos(angle) / zoom, ops.sin(angle) / zoom
        cx, cy = (columns - 1) / 2, (rows - 1) / 2
        a2 = cx - cos * cx + sin * cy + dx
        b2 = cy - sin * cx - cos * cy + dy
        zero = ops.zeros_like(cos)
        return ops.stack([cos, -sin, a2, sin, cos, b2, zero, zero], axis=1)

    def _move(self, images):
        n = ops.shape(images)[0]
        transforms = self._transforms(n, images.shape[1], images.shape[2])
        return ops.image.affine_transform(
            images, transforms, interpolation="bilinear", fill_mode="nearest", data_format="channels_last"
        )

    def _move_volume(self, volumes):
        """Turn and scale every slice alike (slices ride along as channels), and shift along the slices."""
        n, (d, h, w, c) = ops.shape(volumes)[0], volumes.shape[1:]
        flat = ops.reshape(ops.transpose(volumes, (0, 2, 3, 1, 4)), (n, h, w, d * c))
        flat = self._move(flat)
        volumes = ops.transpose(ops.reshape(flat, (n, h, w, d, c)), (0, 3, 1, 2, 4))
        step = ops.round(self._uniform(n, self.settings["shift"] * d, rank=1))
        index = ops.clip(ops.arange(d)[None, :] + ops.cast(step, "int32")[:, None], 0, d - 1)
        return ops.take_along_axis(volumes, index[:, :, None, None, None], axis=1)

    def _expose(self, images):
        s = self.settings
        n, rank = ops.shape(images)[0], len(images.shape)
        axes = tuple(range(1, rank))
        if s["gamma"]:
            low = ops.min(images, axis=axes, keepdims=True)
            span = ops.max(images, axis=axes, keepdims=True) - low + 1e-6
            unit = ops.clip((images - low) / span, 1e-6, 1.0)
            images = ops.power(unit, ops.exp(self._uniform(n, s["gamma"], rank=rank))) * span + low
        if s["contrast"] or s["brightness"]:
            mean = ops.mean(images, axis=axes, keepdims=True)
            gain = 1.0 + self._uniform(n, s["contrast"], rank=rank)
            images = (images - mean) * gain + mean + self._uniform(n, s["brightness"], rank=rank)
        if s["noise"]:
            amount = ops.abs(self._uniform(n, s["noise"], rank=rank))
            images = images + amount * keras.random.normal(ops.shape(images), seed=self.random)
        return images


def reseed(model: keras.Model, seed: int, epoch: int) -> None:
    """Set every random generator in ``model`` from (seed, epoch), so that epoch 7 is the same epoch 7 after a restart."""
    for number, layer in enumerate(model._flatten_layers()):
        for value in vars(layer).values():
            if isinstance(value, keras.random.SeedGenerator):
                value.state.assign([(seed * 1_000_003 + number) % 2**31, epoch])
