"""Several networks, and several views of an image, that answer together as one network.

The mean of the logits of k networks that end in a global average and one linear layer is again such a network: their
feature maps lie side by side, and each linear layer counts one k-th. The mean over mirrored views is one too: what the
network makes of a mirrored image is mirrored back, and the maps are averaged before the linear layer. So the graph that
is exported has one set of feature maps, and its heat-map is still a decomposition of the answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np

from overread.learn.augment import FLIPS
from overread.learn.framework import keras
from overread.learn.networks import Built

layers = keras.layers


@keras.saving.register_keras_serializable(package="overread")
class Mirror(layers.Layer):
    """Reverse images, or feature maps, along some axes."""

    def __init__(self, axes: Sequence[int], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.axes = [int(a) for a in axes]

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "axes": self.axes}

    def compute_output_shape(self, input_shape):
        return input_shape

    def call(self, x):
        rank = len(x.shape)
        return x[
            tuple(
                slice(None, None, -1) if a in (axis % rank for axis in self.axes) else slice(None) for a in range(rank)
            )
        ]


def together(members: Sequence[Built], *, views: Sequence[str] = ()) -> Built:
    """Return one network that answers with the mean logit of several, over an image and its mirrored views.

    Parameters
    ----------
    members : sequence of Built
        Trained networks of one shape, whose logits are a linear layer on the mean of their feature maps.
    views : sequence of str
        Axes along which the image is also read mirrored: "left-right", "up-down", "slices"; with two of them four views
        are read, with three eight.

    Raises
    ------
    ValueError
        When a member ends in dense layers: its mean with another is no such network.

    References
    ----------
    Zhou et al. 2016, arXiv 1512.04150 (the map whose mean is the logit).
    """
    if any(m.tail != "mean" for m in members):
        raise ValueError("only networks that end in a global average and one linear layer can be put together")
    if len(members) == 1 and not views:
        return members[0]
    shape = members[0].exported.inputs[0].shape[1:]
    image = layers.Input(shape, name="image")
    maps = []
    for number, member in enumerate(members):
        inner = member.exported
        network = keras.Model(inner.inputs[0], inner.outputs[1], name=f"member{number}")
        maps.append(_seen(network, image, views, number))
    features = maps[0] if len(maps) == 1 else layers.Concatenate(name="members")(maps)
    features = layers.Identity(name="features")(features)
    mean = (layers.GlobalAveragePooling2D if len(shape) == 3 else layers.GlobalAveragePooling3D)(name="mean")(features)
    kernels, biases = zip(*(m.trained.get_layer("head").get_weights() for m in members), strict=True)
    head = layers.Dense(kernels[0].shape[1], name="head", dtype="float32")
    logits = head(mean)
    head.set_weights([np.concatenate(kernels) / len(members), np.mean(biases, axis=0)])
    trained = keras.Model(image, logits, name="together")
    return Built(trained, keras.Model(image, [logits, features]), "mean")


def _seen(network: keras.Model, image, views: Sequence[str], number: int):
    """Return the feature maps of one network, averaged over the image and its mirrored views, each laid back."""
    several = [some for k in range(len(views) + 1) for some in combinations(views, k)]
    maps = []
    for some in several:
        axes, name = [FLIPS[v] for v in some], "_".join(some).replace("-", "")
        if not axes:
            maps.append(network(image))
            continue
        turned = network(Mirror(axes, name=f"mirror{number}_{name}")(image))
        maps.append(Mirror(axes, name=f"back{number}_{name}")(turned))
    return maps[0] if len(maps) == 1 else layers.Average(name=f"views{number}")(maps)
