"""Weights that were learned before, put into the residual network; those of pictures also into one for volumes.

Loads without Keras: a model is only asked for its layers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from overread.errors import RunError

KINDS = ("kernel", "gamma", "beta", "moving_mean", "moving_variance")
"""What a layer of the residual network may hold."""

Weights = Mapping[str, np.ndarray]
"""``"<number of the layer>.<kind>"`` → values, in the order in which the network was built."""


def weighted(model: Any) -> list[Any]:
    """Return a residual network's layers that hold weights, in order, without its head."""
    return [layer for layer in model.layers if layer.weights and layer.name != "head"]


def taken(model: Any) -> dict[str, np.ndarray]:
    """Return the weights of a residual network, without its head."""
    found = {}
    for number, layer in enumerate(weighted(model)):
        for kind in KINDS:
            if (weight := getattr(layer, kind, None)) is not None:
                found[f"{number:03}.{kind}"] = np.asarray(weight)
    return found


def fill(model: Any, weights: Weights) -> bool:
    """Put weights into a residual network; return True where they were inflated from pictures to volumes.

    Parameters
    ----------
    model : keras.Model
        As `learn.networks.residual` builds it. Its head stays as it is.
    weights : mapping
        As `taken` returns them, of the same network, or of one for pictures where this one is for volumes. Grey and colour
        fit one another, too: grey counts as red, green and blue alike.

    Raises
    ------
    RunError
        When they are those of another network.
    """
    own = taken(model)
    if set(own) != set(weights):
        raise RunError(
            f"a start with {len(weights)} arrays for a network with {len(own)}",
            expected="a start of this network",
            do="choose the widths and blocks that it was made with, or leave out --start",
        )
    fitted = {name: fit(weights[name], own[name].shape, first=name.startswith("000.")) for name in own}
    wrong = next((name for name, value in fitted.items() if value is None), None)
    if wrong is not None:
        came, here = (" × ".join(map(str, shape)) for shape in (weights[wrong].shape, own[wrong].shape))
        raise RunError(
            f"a start whose layer {int(wrong[:3]) + 1} is {came}, in a network where it is {here}",
            expected="a start of this network; one for pictures fits volumes, not the other way round",
            do="choose the network that it was made with, or leave out --start",
        )
    for number, layer in enumerate(weighted(model)):
        for kind in KINDS:
            if (weight := getattr(layer, kind, None)) is not None:
                weight.assign(fitted[f"{number:03}.{kind}"])
    return any(weights[name].ndim == 4 and own[name].ndim == 5 for name in own)


def fit(weight: np.ndarray, shape: tuple[int, ...], *, first: bool = False) -> np.ndarray | None:
    """Return a weight in the shape that a network has room for, or None where it has none.

    Parameters
    ----------
    weight : ndarray
    shape : tuple of int
    first : bool
        It reads the image itself: another number of channels may be made to fit.

    Examples
    --------
    >>> flat = np.ones((3, 3, 1, 8), np.float32)
    >>> deep = fit(flat, (3, 3, 3, 1, 8))
    >>> deep.shape, round(float(deep.sum(axis=0)[0, 0, 0, 0]), 6)
    ((3, 3, 3, 1, 8), 1.0)
    >>> fit(flat, (5, 5, 1, 8)) is None
    True
    """
    if first and weight.ndim >= 4 and weight.shape[-2] != shape[-2]:
        weight = channels(weight, shape[-2])
    if weight.ndim == 4 and len(shape) == 5:
        weight = inflated(weight, shape[0])
    return weight if weight.shape == tuple(shape) else None


def inflated(kernel: np.ndarray, depth: int) -> np.ndarray:
    """Return a kernel for volumes that does to a volume of equal slices what a kernel for pictures does to the slice.

    Parameters
    ----------
    kernel : ndarray, (rows, columns, in, out)
    depth : int
        Slices that the new one looks at; each counts one ``depth``-th.

    References
    ----------
    Carreira & Zisserman 2017, arXiv 1705.07750.
    """
    return np.repeat(kernel[None], depth, axis=0) / np.asarray(depth, kernel.dtype)


def channels(kernel: np.ndarray, count: int) -> np.ndarray:
    """Return a first kernel for another number of channels that answers a grey image as the old one does.

    Examples
    --------
    >>> colour = np.arange(3.0).reshape(1, 1, 3, 1)
    >>> channels(colour, 1).ravel(), channels(channels(colour, 1), 3).ravel()
    (array([3.]), array([1., 1., 1.]))
    """
    grey = kernel.sum(axis=-2, keepdims=True)
    return np.repeat(grey, count, axis=-2) / np.asarray(count, kernel.dtype)
