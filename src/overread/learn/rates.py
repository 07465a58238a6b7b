"""Learn the last layers fast and the first slowly: what a start knows of edges is true of every picture."""

from __future__ import annotations

from collections.abc import Mapping

from overread.learn.framework import keras
from overread.learn.starts_network import DEPTH, block_of


def hold(model: keras.Model, blocks: int) -> None:
    """Leave the stem and so many blocks as they came; 0 holds nothing, so that the stem learns as well."""
    for layer in model.layers:
        height = block_of(layer.name)
        if blocks and height is not None:
            layer.trainable = height > blocks


def shares(model: keras.Model, lower: float) -> dict[str, float]:
    """Return the share of the learning rate that each weight of a start learns with; the head learns with all of it.

    Parameters
    ----------
    model : keras.Model
        As `learn.starts_network.features` builds it, or `learn.networks.residual`.
    lower : float
        The stem's share; those between fall evenly (each block's is the same part of the next one's).

    Returns
    -------
    dict
        Weight's path → share.

    References
    ----------
    Howard & Ruder 2018, doi:10.18653/v1/P18-1031 (rates that fall from the last layer to the first).
    """
    own = [layer for layer in model.layers if layer.trainable_weights]
    if any(block_of(layer.name) is not None for layer in own):
        heights = [block_of(layer.name) for layer in own]
        raised = [1.0 if h is None else min(h, DEPTH + 1) / (DEPTH + 2) for h in heights]
    else:  # a network of ours: evenly from its first layer to the head
        raised = [number / max(1, len(own) - 1) for number in range(len(own))]
    shares = [lower ** (1 - height) for height in raised]
    return {weight.path: share for layer, share in zip(own, shares, strict=True) for weight in layer.trainable_weights}


@keras.saving.register_keras_serializable(package="overread")
class Falling(keras.optimizers.AdamW):
    """AdamW with a share of the learning rate for each weight.

    Parameters
    ----------
    share : mapping of str to float
        Weight's path → share; 1 for those not named.
    """

    def __init__(self, *args, share: Mapping[str, float] | None = None, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.share = dict(share or {})

    def get_config(self):
        return {**super().get_config(), "share": self.share}

    def build(self, variables):
        super().build(variables)
        self._shares = [self.share.get(v.path, 1.0) for v in variables]

    def update_step(self, gradient, variable, learning_rate):
        super().update_step(gradient, variable, learning_rate * self._shares[self._get_variable_index(variable)])
