"""A table of networks and the functions that build them; two and three dimensions from the same code."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from overread.learn.framework import keras
from overread.learn.slices import Apart, attended

layers = keras.layers

_CONV = {2: layers.Conv2D, 3: layers.Conv3D}
_POOL = {2: layers.AveragePooling2D, 3: layers.AveragePooling3D}
_MEAN = {2: layers.GlobalAveragePooling2D, 3: layers.GlobalAveragePooling3D}


@dataclass(frozen=True)
class Built:
    """One network, two faces on the same weights.

    Parameters
    ----------
    trained : keras.Model
        Images → what the loss sees (probabilities for ``simple-cnn``, logits for the residual network).
    exported : keras.Model
        Images → (logits, last feature maps): what prediction and explanation need, without a training framework.
    tail : str
        How logits come from feature maps: "mean" (global average, one linear layer) or "flatten" (dense layers).
    """

    trained: keras.Model
    exported: keras.Model
    tail: str


def residual(
    *,
    input_shape: tuple[int, ...],
    outputs: int,
    kind: str,
    widths: tuple[int, ...] = (24, 48, 96),
    blocks: int = 1,
    stem_stride: int = 2,
    stem_kernel: int = 4,
    flat: int = 0,
    dropout: float = 0.2,
    pooled: int = 1,
) -> Built:
    """Return a small residual network: stem, stages that halve the grid, global average, one linear head.

    With a global average and one linear layer the logit is exactly the mean of a class activation map plus a bias
    (Zhou et al. 2016), so the heat-map is a decomposition of the answer and not an impression of it.

    Parameters
    ----------
    input_shape : (rows, columns, channels) or (slices, rows, columns, channels)
    outputs : int
        Logits.
    kind : str
        binary, multiclass, multilabel or ordinal; the head gives logits for each of them.
    widths : tuple of int
        Channels of each stage; every stage but the first halves the grid, while it is even.
    blocks : int
        Residual blocks a stage.
    stem_stride, stem_kernel : int
        Even kernels at stride 2 keep the grid's centre where it was (a 3 × 3 kernel shifts it by half a pixel a
        stage), so that feature maps lie over the pixels they came from.
    flat : int
        In volumes: so many of the first steps (the stem, then the stages) look within slices only and keep their number.
    dropout : float
    pooled : int
        Pictures are first made so many times smaller, each pixel the mean of those it stands for.

    References
    ----------
    He et al. 2016, arXiv 1512.03385; Zhou et al. 2016, arXiv 1512.04150.
    """
    nd = len(input_shape) - 1
    inputs = layers.Input(input_shape, name="image")
    x = _POOL[nd](pooled)(inputs) if pooled > 1 else inputs
    x = _conv_bn(x, widths[0], stem_kernel, nd, stride=stem_stride, flat=flat > 0)
    x = layers.ReLU()(x)
    x = stages(x, widths, blocks=blocks, nd=nd, flat=flat, name="features")
    return _answering(inputs, x, outputs=outputs, dropout=dropout, name="residual")


def slices(
    *,
    input_shape: tuple[int, int, int, int],
    outputs: int,
    kind: str,
    widths: tuple[int, ...] = (16, 32, 64),
    blocks: int = 1,
    stem_stride: int = 2,
    stem_kernel: int = 4,
    neighbours: int = 1,
    attention: int = 32,
    dropout: float = 0.2,
) -> Built:
    """Return a network that reads slices: a small residual network on each, attention over them, one linear head.

    Parameters
    ----------
    input_shape : (slices, rows, columns, channels)
    outputs : int
    kind : str
        Of the task; the head gives logits for each kind.
    widths, blocks, stem_stride, stem_kernel, dropout
        As for `learn.networks.residual`, within slices.
    neighbours : int
        So many slices on either side are seen together with each slice, as further channels of the first step.
    attention : int
        Hidden units of the attention.

    References
    ----------
    Ilse, Tomczak & Welling 2018, arXiv 1802.04712; He et al. 2016, arXiv 1512.03385.
    """
    inputs = layers.Input(input_shape, name="image")
    x = layers.Conv3D(
        widths[0], (2 * neighbours + 1, stem_kernel, stem_kernel), strides=(1, stem_stride, stem_stride),
        padding="same", use_bias=False, name="stem",
    )(inputs)  # fmt: skip
    x = layers.ReLU()(layers.BatchNormalization(momentum=0.97, epsilon=1e-5)(x))
    x = Apart(name="slices")(x)
    x = stages(x, widths, blocks=blocks, nd=2)
    features = attended(x, slices=input_shape[0], attention=attention)
    return _answering(inputs, features, outputs=outputs, dropout=dropout, name="slices")


def _answering(inputs, features, *, outputs: int, dropout: float, name: str) -> Built:
    """Global average, one linear head."""
    x = _MEAN[len(features.shape) - 2](name="mean")(features)
    dropped = layers.Dropout(dropout, name="dropout")(x)
    head = layers.Dense(outputs, name="head", dtype="float32")
    trained = keras.Model(inputs, head(dropped), name=name)
    return Built(trained, keras.Model(inputs, [head(x), features]), "mean")


def stages(x, widths: tuple[int, ...], *, blocks: int, nd: int, flat: int = 0, name: str | None = None):
    """Pass maps through the residual stages; all but the first halve the grid, while it is even. The last is named."""
    for stage, width in enumerate(widths):
        for block in range(blocks):
            last = stage == len(widths) - 1 and block == blocks - 1
            within = nd == 3 and stage + 1 < flat
            halved = x.shape[2:-1] if within else x.shape[1:-1]
            even = all(n % 2 == 0 for n in halved)  # half of an odd grid would not lie over the image any more
            stride = 2 if stage and not block and even else 1
            x = _residual_block(x, width, nd, stride=stride, flat=within, name=name if last else None)
    return x


def _conv_bn(x, width: int, kernel: int, nd: int, *, stride: int = 1, flat: bool = False):
    size, step = (_within(n, nd, flat=flat) for n in (kernel, stride))
    x = _CONV[nd](width, size, strides=step, padding="same", use_bias=False)(x)
    return layers.BatchNormalization(momentum=0.97, epsilon=1e-5)(x)


def _within(n: int, nd: int, *, flat: bool) -> tuple[int, ...]:
    """``n`` along every axis, or 1 along the slices."""
    return (1, n, n) if nd == 3 and flat else (n,) * nd


def _residual_block(x, width: int, nd: int, *, stride: int, flat: bool, name: str | None):
    y = layers.ReLU()(_conv_bn(x, width, 4 if stride == 2 else 3, nd, stride=stride, flat=flat))
    y = _conv_bn(y, width, 3, nd, flat=flat)
    if stride == 2 or x.shape[-1] != width:
        if stride == 2:
            x = _POOL[nd](_within(2, nd, flat=flat))(x)
        x = _conv_bn(x, width, 1, nd)
    return layers.ReLU(name=name)(layers.Add()([x, y]))


def simple_cnn(*, input_shape: tuple[int, ...], outputs: int, kind: str) -> Built:
    """Return the article's network: one convolution, one pooling, two dense layers.

    For one yes-or-no label on 64 × 64 × 3 it is the article's network exactly, with 3,937,409 parameters. More
    outputs change only the last layer (sigmoid for several labels, softmax for one of several classes).
    """
    model = keras.Sequential(name="simple-cnn")
    model.add(layers.Input(input_shape, name="image"))
    model.add(layers.Conv2D(32, (3, 3), activation="relu"))
    model.add(layers.MaxPooling2D(pool_size=(2, 2), name="features"))
    model.add(layers.Flatten())
    model.add(layers.Dense(128, activation="relu", name="hidden"))
    model.add(
        layers.Dense(outputs, activation="softmax" if kind in ("multiclass", "ordinal") else "sigmoid", name="head")
    )
    return Built(model, _before_the_sigmoid(model, outputs), "flatten")


def _before_the_sigmoid(model: keras.Model, outputs: int) -> keras.Model:
    """The same weights, with the last layer's activation left off: logits instead of probabilities."""
    head = model.get_layer("head")
    x = model.get_layer("hidden").output
    logits = _Linear(head, name="logits")(x)
    return keras.Model(model.inputs[0], [logits, model.get_layer("features").output])


class _Linear(layers.Layer):
    """A dense layer's product and bias without its activation; it owns no weights."""

    def __init__(self, dense: layers.Dense, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._dense = [dense]  # in a list, so that Keras does not count its weights twice

    def call(self, x):
        dense = self._dense[0]
        return keras.ops.matmul(x, dense.kernel) + dense.bias

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self._dense[0].units)


NETWORKS = {"residual": residual, "slices": slices, "simple-cnn": simple_cnn}
"""Name → builder. What each is for stands in ``learn.plan.ABOUT``, which loads without Keras."""
