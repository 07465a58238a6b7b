"""Volumes read slice by slice: one network for pictures reads every slice, and attention says how much each slice counts.

A slice may bring its neighbours along as further channels ("2.5-D"). Where slices lie far apart, or there are many, this
reads finer pictures than a network in three dimensions has time for. The weights of the slices sum to one and are
carried by the last maps, so that the answer is still the mean of a map plus a bias: the heat-map says which slice and
which pixel speak for it.
"""

from __future__ import annotations

from typing import Any

from overread.learn.framework import keras

layers, ops = keras.layers, keras.ops


@keras.saving.register_keras_serializable(package="overread")
class Apart(layers.Layer):
    """Take volumes apart: (volumes, slices, …) → (volumes · slices, …)."""

    def compute_output_shape(self, input_shape):
        return (None, *input_shape[2:])

    def call(self, x):
        return ops.reshape(x, (-1, *x.shape[2:]))


@keras.saving.register_keras_serializable(package="overread")
class Stacked(layers.Layer):
    """Lay slices together again: (volumes · slices, …) → (volumes, slices, …).

    Parameters
    ----------
    slices : int
    """

    def __init__(self, slices: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.slices = int(slices)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "slices": self.slices}

    def compute_output_shape(self, input_shape):
        return (None, self.slices, *input_shape[1:])

    def call(self, x):
        return ops.reshape(x, (-1, self.slices, *x.shape[1:]))


@keras.saving.register_keras_serializable(package="overread")
class Weighed(layers.Layer):
    """Multiply each slice's maps by its weight and by the number of slices, so that their mean is the weighted mean."""

    def compute_output_shape(self, input_shape):
        return input_shape[0]

    def call(self, given):
        maps, weights = given
        slices = maps.shape[1]
        flat = ops.reshape(maps, (-1, slices, maps.shape[2] * maps.shape[3] * maps.shape[4]))
        return ops.reshape(flat * (slices * weights), (-1, *maps.shape[1:]))


def attended(maps, *, slices: int, attention: int):
    """Return the maps of all slices, each multiplied by what gated attention says of its slice.

    A slice's weight is softmax over slices of w · (tanh(V h) ⊙ σ(U h)), h the averages of its maps (Ilse et al. 2018,
    equation 9). w begins at zero: every slice counts alike until the images teach otherwise.

    Parameters
    ----------
    maps
        (volumes · slices, rows, columns, channels)
    slices, attention : int

    Returns
    -------
    (volumes, slices, rows, columns, channels)

    References
    ----------
    Ilse, Tomczak & Welling 2018, arXiv 1802.04712.
    """
    seen = layers.GlobalAveragePooling2D(name="seen")(maps)
    weights = weighed(seen, slices=slices, attention=attention)
    return Weighed(name="features")([Stacked(slices, name="stack")(maps), weights])


def weighed(seen, *, slices: int, attention: int):
    """Return how much each slice counts, (volumes, slices, 1), from the averages of its maps."""
    what = layers.Dense(attention, activation="tanh", name="what")
    gate = layers.Dense(attention, activation="sigmoid", name="gate")
    return weighed_by(
        seen, slices, what, gate, layers.Dense(1, use_bias=False, kernel_initializer="zeros", name="attention")
    )


def weighed_by(seen, slices: int, what: layers.Layer, gate: layers.Layer, attention: layers.Layer):
    """Return the same by layers that are there already."""
    score = attention(layers.Multiply(name="gated")([what(seen), gate(seen)]))
    return layers.Softmax(axis=1, name="weights")(Stacked(slices, name="scores")(score))
