"""A training step that multiplies in bfloat16: weights, sums and statistics keep 32 bits, products and maps have 16.

The network itself stays as it is: `Rounded` walks its layers with their own variables, so that checkpoints, the moving
average, the tuning figures and the exported graph are those of 32 bits. What normalises is computed in one pass over the
maps forward and two backward (a small compiled function each), together with the addition and the ReLU that follow it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from overread.learn.framework import keras

layers = keras.layers

COLUMNS = 192
"""Maps are summed as rows of at least so many numbers: a vector register is never half empty."""


@keras.saving.register_keras_serializable(package="overread")
class Rounded(keras.Model):
    """The same network, trained with products in bfloat16.

    Parameters
    ----------
    network : keras.Model
        Of convolutions, normalisations, ReLU, additions and poolings; what else it has (mean, dropout, the linear head)
        is computed in 32 bits by its own layers.

    References
    ----------
    Kalamkar et al. 2019, arXiv 1905.12322 (bfloat16 in training); Ioffe & Szegedy 2015, arXiv 1502.03167.
    """

    def __init__(self, network: keras.Model) -> None:
        super().__init__(name="rounded")
        self.network = network
        self.joined = _joined(network)
        self.order = _order(network, self.joined)
        self.built = True

    def call(self, images, training: bool = False):
        if not training:
            return self.network(images, training=False)
        values: dict[int, Any] = {}
        for layer in self.order:
            if isinstance(layer, layers.InputLayer):
                values[id(layer.output)] = tf.cast(images, tf.bfloat16)
                continue
            given = [values[id(t)] for t in keras.tree.flatten(layer.input)]
            if isinstance(layer, layers.BatchNormalization):
                end, short = self.joined[layer.name]
                other = None if short is None else values[id(short)]
                values[id(end.output)] = _normalised(layer, given[0], other, relu=end is not layer)
            else:
                values[id(layer.output)] = _computed(layer, given)
        return values[id(self.network.output)]


def _joined(network: keras.Model) -> dict[str, tuple[Any, Any]]:
    """Return for each normalisation where what is computed together with it ends, and what is added on the way."""
    users: dict[int, list[Any]] = {}
    for layer in network.layers:
        for value in [] if isinstance(layer, layers.InputLayer) else keras.tree.flatten(layer.input):
            users.setdefault(id(value), []).append(layer)

    def after(layer: Any, kind: type) -> Any:
        """The only layer that uses another's output, if it is of this kind."""
        come = users.get(id(layer.output), [])
        return come[0] if len(come) == 1 and isinstance(come[0], kind) else None

    out = {}
    taken = set()
    for layer in network.layers:
        if not isinstance(layer, layers.BatchNormalization):
            continue
        relu, add = after(layer, layers.ReLU), after(layer, layers.Add)
        last = after(add, layers.ReLU) if add is not None and add.name not in taken else None
        if relu is not None:
            out[layer.name] = (relu, None)
        elif last is not None and add.input[1] is layer.output:
            taken.add(add.name)
            out[layer.name] = (last, add.input[0])
        else:
            out[layer.name] = (layer, None)
    return out


def _order(network: keras.Model, joined: dict[str, tuple[Any, Any]]) -> list[Any]:
    """Return the layers that are computed, each after what it needs; those joined to a normalisation are left out."""
    makes = {id(layer.output): layer for layer in network.layers}
    makes |= {id(joined[layer.name][0].output): layer for layer in network.layers if layer.name in joined}
    ordered: list[Any] = []

    def need(value: Any) -> None:
        layer = makes[id(value)]
        if layer in ordered:
            return
        if not isinstance(layer, layers.InputLayer):
            short = joined.get(layer.name, (None, None))[1]
            for before in (*keras.tree.flatten(layer.input), *([] if short is None else [short])):
                need(before)
        ordered.append(layer)

    need(network.output)
    return ordered


def _computed(layer: Any, given: list[Any]) -> Any:
    if isinstance(layer, (layers.Conv2D, layers.Conv3D)):
        kernel = tf.cast(layer.kernel.value, tf.bfloat16)
        return tf.nn.convolution(given[0], kernel, layer.strides, layer.padding.upper())
    if isinstance(layer, (layers.AveragePooling2D, layers.AveragePooling3D)):
        return tf.nn.avg_pool(given[0], layer.pool_size, layer.strides, layer.padding.upper())
    whole = [tf.cast(value, tf.float32) for value in given]
    return layer(*whole, training=True) if isinstance(layer, layers.Dropout) else layer(*whole)


def _normalised(layer: Any, maps: Any, short: Any, *, relu: bool) -> Any:
    """Normalise by the batch's own statistics, let them into the layer's averages, add and cut off what is below zero."""
    shape = tf.shape(maps)
    wide = _wide(maps.shape)
    short = tf.zeros((), maps.dtype) if short is None else tf.reshape(short, wide)

    @tf.custom_gradient
    def pass_on(rows, gamma, beta, short):
        out, mean, variance = _forward(rows, gamma, beta, short, epsilon=layer.epsilon, relu=relu)

        def back(slope, *_):
            return _backward(rows, out, slope, gamma, mean, variance, short, epsilon=layer.epsilon, relu=relu)

        return (out, mean, variance), back

    out, mean, variance = pass_on(tf.reshape(maps, wide), layer.gamma.value, layer.beta.value, short)
    for kept, new in ((layer.moving_mean, mean), (layer.moving_variance, variance)):
        kept.assign(kept * layer.momentum + new * (1.0 - layer.momentum))
    return tf.reshape(out, shape)


def _wide(shape: Any) -> tuple[int, int]:
    """Return maps as rows of several pixels each: rows as wide as several registers are summed several times faster.

    The rows are made outside the compiled functions, which would otherwise go pixel by pixel.
    """
    pixels, channels, times = int(np.prod(shape[1:-1])), shape[-1], 1
    while times * channels < COLUMNS and pixels % (2 * times) == 0:
        times *= 2
    return -1, times * channels


@tf.function(jit_compile=True, reduce_retracing=False)
def _forward(rows, gamma, beta, short, *, epsilon: float, relu: bool):
    """Return what follows the normalisation, as rows, and the mean and variance of each channel."""
    wide, times, count = _counted(rows, gamma)
    mean = _a_channel(tf.reduce_sum(wide, 0), times) / count
    variance = tf.maximum(_a_channel(tf.reduce_sum(wide * wide, 0), times) / count - mean * mean, 0.0)
    gain = gamma * tf.math.rsqrt(variance + epsilon)
    out = wide * tf.tile(gain, [times]) + tf.tile(beta - mean * gain, [times])
    if short.shape.rank:
        out = out + tf.cast(short, tf.float32)
    return tf.cast(tf.nn.relu(out) if relu else out, rows.dtype), mean, variance


@tf.function(jit_compile=True, reduce_retracing=False)
def _backward(rows, out, slope, gamma, mean, variance, short, *, epsilon: float, relu: bool):
    """Return the slopes of rows, gain, offset and of what was added, by the closed form of Ioffe & Szegedy."""
    wide, times, count = _counted(rows, gamma)
    slope = tf.cast(slope, tf.float32)
    if relu:
        slope = tf.where(tf.cast(out, tf.float32) > 0.0, slope, 0.0)
    scale = tf.math.rsqrt(variance + epsilon)
    beta = _a_channel(tf.reduce_sum(slope, 0), times)
    along = (_a_channel(tf.reduce_sum(slope * wide, 0), times) - mean * beta) * scale
    gain = gamma * scale
    tilt = -gain * scale * along / count
    level = -gain * beta / count - tilt * mean
    down = slope * tf.tile(gain, [times]) + wide * tf.tile(tilt, [times]) + tf.tile(level, [times])
    beside = tf.cast(slope, rows.dtype) if short.shape.rank else tf.zeros((), rows.dtype)
    return tf.cast(down, rows.dtype), along, beta, beside


def _counted(rows: Any, gamma: Any) -> tuple[Any, int, Any]:
    """Return the rows in 32 bits, how many pixels a row has, and how many pixels there are."""
    times = rows.shape[-1] // gamma.shape[0]
    return tf.cast(rows, tf.float32), times, tf.cast(tf.shape(rows)[0] * times, tf.float32)


def _a_channel(sums: Any, times: int) -> Any:
    """Add the sums of the columns that belong to one channel."""
    return tf.reduce_sum(tf.reshape(sums, (times, -1)), 0)
