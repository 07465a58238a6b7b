"""Small, plausible changes to training images, as Keras layers: another patient position, another exposure.

Applied in training only, on a whole batch at once, with random numbers that follow from (seed, epoch) alone, so that a
run that was killed and resumed sees the same changes.
"""

from __future__ import annotations

import math
from typing import Any

from overread.learn.framework import keras

layers, ops = keras.layers, keras.ops

FLIPS = {"left-right": -2, "up-down": -3, "slices": 1}
"""Axis that each flip reverses, in (batch, [slices,] rows, columns, channels)."""

TURNS = {"quarter turns": (-3, -2), "turns rows-slices": (1, -3), "turns columns-slices": (1, -2)}
"""Plane of each turn."""


@keras.saving.register_keras_serializable(package="overread")
class Augment(layers.Layer):
    """Move, turn, scale, flip, soften, and change the exposure of each image in a batch by its own random amount.

    Parameters
    ----------
    rotation : float
        Up to this many degrees either way, in the plane of the slice.
    scale : float
        Up to this fraction larger or smaller (0.12: 0.88 to 1.12).
    aspect : float
        Up to this fraction wider or narrower than it is high: a film's shape is the format of the cassette or of the
        export, no finding, and in a published set it tells the classes apart.
    shift : float
        Up to this fraction of the side, along rows and columns (and slices of a volume).
    margin : float
        In half of the images up to this fraction of each side is blackened, as a collimator does: what lies at the
        border (letters, tubes, the edge of the light field) is a habit of a department, no finding.
    flips : tuple of str
        Any of "left-right", "up-down", "slices". None by default: a mirrored chest is another patient.
    turns : tuple of str
        Planes in which an image is turned by 0, 90, 180 or 270 degrees: "quarter turns" (of the slice), and of a volume
        "turns rows-slices", "turns columns-slices". Both sides of the plane must be equally long.
    blur : float
        Share of images that are blended with a softened copy of themselves (half as many are sharpened); pictures only.
    gamma : float
        Intensities x in [0, 1] become x^exp(u), u uniform in ±gamma.
    contrast : float
        Multiplied about the image's mean by (1 + contrast)^u, u uniform in ±1.
    brightness : float
        Up to this much is added, either way.
    noise : float
        Standard deviation of the noise, up to this much.
    mean, std : float
        How the recipe ends: input is (x − mean) / std with x in [0, 1], the unit of the amounts above.
    seed : int

    Notes
    -----
    Input and output: (batch, rows, columns, channels) or (batch, slices, rows, columns, channels). How the
    amounts were chosen, and on which films, stands in docs/decisions/0005.
    """

    def __init__(
        self,
        *,
        rotation: float = 12.0,
        scale: float = 0.12,
        aspect: float = 0.15,
        shift: float = 0.09,
        margin: float = 0.1,
        flips: tuple[str, ...] = (),
        turns: tuple[str, ...] = (),
        blur: float = 0.5,
        gamma: float = 0.6,
        contrast: float = 0.4,
        brightness: float = 0.2,
        noise: float = 0.08,
        mean: float = 0.5,
        std: float = 0.25,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.settings = {
            "rotation": rotation,
            "scale": scale,
            "aspect": aspect,
            "shift": shift,
            "margin": margin,
            "flips": tuple(flips),
            "turns": tuple(turns),
            "blur": blur,
            "gamma": gamma,
            "contrast": contrast,
            "brightness": brightness,
            "noise": noise,
            "mean": mean,
            "std": std,
            "seed": seed,
        }
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
            images = self._flip(images, axis=FLIPS[flip])
        for turn in s["turns"]:
            images = self._turn(images, axes=TURNS[turn])
        images = images * s["std"] + s["mean"]
        if s["rotation"] or s["scale"] or s["aspect"] or s["shift"]:
            images = self._move_volume(images) if volume else self._move(images)
        if s["margin"] and not volume:
            images = self._collimate(images)
        if s["blur"] and not volume:
            images = self._soften(images)
        return (self._expose(images) - s["mean"]) / s["std"]

    def _uniform(self, count, bound: float, *, rank: int):
        return ops.reshape(
            keras.random.uniform((count,), -bound, bound, seed=self.random), (count,) + (1,) * (rank - 1)
        )

    def _flip(self, images, *, axis: int):
        n, rank = ops.shape(images)[0], len(images.shape)
        coin = ops.reshape(keras.random.uniform((n,), seed=self.random), (n,) + (1,) * (rank - 1))
        return ops.where(coin < 0.5, ops.flip(images, axis=axis), images)

    def _turn(self, images, *, axes: tuple[int, int]):
        n, rank = ops.shape(images)[0], len(images.shape)
        draw = ops.reshape(keras.random.uniform((n,), 0.0, 4.0, seed=self.random), (n,) + (1,) * (rank - 1))
        out = turned = images
        for quarter in (1, 2, 3):
            turned = ops.flip(ops.swapaxes(turned, *axes), axis=axes[1])
            out = ops.where(ops.floor(draw) == quarter, turned, out)
        return out

    def _transforms(self, n, rows: int, columns: int):
        """Rows of eight numbers that take an output pixel (x, y) to the input pixel it shows."""
        s = self.settings
        angle = self._uniform(n, math.radians(s["rotation"]), rank=1)
        zoom = ops.exp(self._uniform(n, math.log1p(s["scale"]), rank=1))
        shape = ops.exp(self._uniform(n, math.log1p(s["aspect"]) / 2, rank=1))
        dx = self._uniform(n, s["shift"] * columns, rank=1)
        dy = self._uniform(n, s["shift"] * rows, rank=1)
        across, down = 1 / (zoom * shape), shape / zoom
        cos, sin = ops.cos(angle), ops.sin(angle)
        cx, cy = (columns - 1) / 2, (rows - 1) / 2
        a0, a1, b0, b1 = cos * across, -sin * across, sin * down, cos * down
        a2 = cx - a0 * cx - a1 * cy + dx
        b2 = cy - b0 * cx - b1 * cy + dy
        zero = ops.zeros_like(cos)
        return ops.stack([a0, a1, a2, b0, b1, b2, zero, zero], axis=1)

    def _move(self, images):
        n = ops.shape(images)[0]
        transforms = self._transforms(n, images.shape[1], images.shape[2])
        return ops.image.affine_transform(
            images,
            transforms,
            interpolation="bilinear",
            fill_mode="constant",
            fill_value=0.0,
            data_format="channels_last",
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

    def _collimate(self, images):
        """Black out a margin of its own at each of the four sides, in half of the images."""
        n, rows, columns = ops.shape(images)[0], images.shape[1], images.shape[2]
        coin = ops.cast(keras.random.uniform((n, 1), seed=self.random) < 0.5, "float32")
        top, bottom, left, right = ops.split(
            coin * keras.random.uniform((n, 4), 0.0, self.settings["margin"], seed=self.random), 4, axis=1
        )
        y = (ops.arange(rows, dtype="float32")[None] + 0.5) / rows
        x = (ops.arange(columns, dtype="float32")[None] + 0.5) / columns
        open_rows = ops.cast((y >= top) & (y <= 1 - bottom), "float32")
        open_columns = ops.cast((x >= left) & (x <= 1 - right), "float32")
        return images * open_rows[:, :, None, None] * open_columns[:, None, :, None]

    def _share(self, n, share: float):
        """1 for about this share of the images, 0 for the others, times a random strength."""
        coin = keras.random.uniform((n, 1, 1, 1), seed=self.random) < share
        return ops.cast(coin, "float32") * keras.random.uniform((n, 1, 1, 1), seed=self.random)

    def _soften(self, images):
        n, share = ops.shape(images)[0], self.settings["blur"]
        once = _mean_of_nine(images)
        coin = ops.cast(keras.random.uniform((n, 1, 1, 1), seed=self.random) < 0.5, "float32")
        soft = coin * once + (1 - coin) * _mean_of_nine(once)
        images = images + self._share(n, share) * (soft - images)
        return images + self._share(n, share / 2) * (images - _mean_of_nine(images))

    def _expose(self, images):
        s = self.settings
        n, rank = ops.shape(images)[0], len(images.shape)
        if s["gamma"]:
            power = ops.exp(self._uniform(n, s["gamma"], rank=rank))
            images = ops.power(ops.clip(images, 1e-4, 1.0), power)
        if s["contrast"]:
            mean = ops.mean(images, axis=tuple(range(1, rank)), keepdims=True)
            gain = ops.exp(self._uniform(n, math.log1p(s["contrast"]), rank=rank))
            images = (images - mean) * gain + mean
        if s["brightness"]:
            images = images + self._uniform(n, s["brightness"], rank=rank)
        if s["noise"]:
            amount = ops.abs(self._uniform(n, s["noise"], rank=rank))
            images = images + amount * keras.random.normal(ops.shape(images), seed=self.random)
        return ops.clip(images, 0.0, 1.0) if s["gamma"] or s["contrast"] or s["brightness"] or s["noise"] else images


def _mean_of_nine(images):
    return ops.average_pool(images, 3, strides=1, padding="same", data_format="channels_last")


def reseed(model: keras.Model, seed: int, epoch: int) -> None:
    """Set every random generator in ``model`` from (seed, epoch), so that epoch 7 is the same epoch 7 after a restart."""
    for number, layer in enumerate(model._flatten_layers()):
        for value in vars(layer).values():
            if isinstance(value, keras.random.SeedGenerator):
                value.state.assign([(seed * 1_000_003 + number) % 2**31, epoch])
