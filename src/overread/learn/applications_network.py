"""One of Keras' applications up to the maps that are kept, with brought weights, and a linear head of ours on the averages."""

from __future__ import annotations

import contextlib
import io
import os
import socket
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from overread.errors import RunError
from overread.learn.applications import APPLICATIONS, IMAGENET, arrays
from overread.learn.framework import keras
from overread.learn.networks import Built
from overread.learn.plan import CENTRED, Plan

layers = keras.layers

SPREADS = (0.229, 0.224, 0.225)
"""What Keras' published EfficientNet keeps as the variance of red, green and blue: their spreads, not the squares. Keras
divides by the root once more where it fetched the weights itself; here the variance is squared, which is the same."""


def features(
    *, application: str, weights: Mapping[str, list[np.ndarray]], input_shape: tuple[int, int, int], outputs: int, centred: bool = True
) -> Built:  # fmt: skip
    """Return the application up to the maps that are kept, and a linear head that answers ``outputs`` questions.

    Parameters
    ----------
    application : str
        A name in `learn.applications.APPLICATIONS`.
    weights : mapping
        As `learn.applications.arrays` has them.
    input_shape : (rows, columns, 3)
        On the plans' scale; sides are multiples of 32.
    outputs : int
    centred : bool
        The last halving's margin stands on the other side, so that heat-maps point where they should; False: as it
        came, to compare with the original.
    """
    told = APPLICATIONS[application]
    inputs = layers.Input(input_shape, name="image")
    factor, added = told.scale
    scaled = layers.Rescaling(CENTRED["std"] * factor, CENTRED["mean"] * factor + added, name="scale")(inputs)
    whole = getattr(keras.applications, application)(weights=None, include_top=False, input_tensor=scaled)
    if centred:
        margin = whole.get_layer(told.turned)
        margin.padding = tuple((after, before) for before, after in margin.padding)
    for layer in whole.layers:
        if isinstance(layer, layers.Normalization):
            _normalise(layer, *weights["normalization"])
        elif layer.name in weights:
            layer.set_weights(weights[layer.name])
    maps = whole.get_layer(told.last).output
    mean = layers.GlobalAveragePooling2D(name="mean")(maps)
    head = layers.Dense(outputs, name="head", dtype="float32")
    trained = keras.Model(inputs, head(mean), name="features")
    return Built(trained, keras.Model(inputs, [head(mean), maps]), "mean")


def built_for(plan: Plan) -> Built:
    """Return the plan's network with the weights of the file that it names, and a head that says nothing yet."""
    start = plan.start
    if "path" not in start:
        raise RunError("the plan begins with a file of weights and does not say where it lies", expected='path = "…" in [start]', do="write it there, or name the file with --start")  # fmt: skip
    name = start["application"]
    weights = arrays(start["path"], name, expected=start["sha256"])
    return features(application=name, weights=weights, input_shape=plan.input_shape, outputs=len(plan.task.labels))


def fetched(asked: str) -> Path:
    """Let Keras fetch the weights that it publishes, keep them as a file beside Keras' own, and return where.

    Parameters
    ----------
    asked : str
        "imagenet:" and the application's name.

    Raises
    ------
    RunError
        When there is no such application here, or no network.
    """
    name = asked.removeprefix(IMAGENET)
    if name not in APPLICATIONS:
        raise RunError(f"the application {name!r}", expected="one of " + ", ".join(APPLICATIONS), do="name one of these")  # fmt: skip
    out = Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras") / "models" / f"overread-{name}.weights.h5"
    if out.is_file():
        return out
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(20.0)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            model = getattr(keras.applications, name)(weights="imagenet", include_top=False, input_shape=(224, 224, 3))
    except Exception as why:  # whatever a network does; Keras wraps some of it in a plain Exception
        raise RunError(f"the weights of {name} could not be fetched", expected="a network, or the file", do=f"where there is one: keras.applications.{name}(include_top=False).save_weights('{name}.weights.h5'); bring that file and name it with --start") from why  # fmt: skip
    finally:
        socket.setdefaulttimeout(before)
    out.parent.mkdir(parents=True, exist_ok=True)
    part = out.with_name(f"part-{os.getpid()}-{out.name}")
    model.save_weights(part)
    part.replace(out)
    return out


def _normalise(layer, mean: np.ndarray, variance: np.ndarray) -> None:
    """Put the photographs' mean and variance into the layer that takes them off."""
    if np.allclose(variance, SPREADS, atol=1e-4):
        variance = variance**2
    layer.adapt_mean.assign(mean)
    layer.adapt_variance.assign(variance)
    layer.finalize_state()
    # as numbers, not tensors: those would become inputs of the exported graph
    layer.mean, layer.variance = np.asarray(layer.mean), np.asarray(layer.variance)
