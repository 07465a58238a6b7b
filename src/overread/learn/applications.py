"""Weights of Keras' own applications that somebody brings in a file: recognised, checked, and read. Loads without Keras.

A file is known by its layers' names and shapes, not by its own name. Of what it was learned from, and under which
licence it may be used, nothing is known here but what its bringer says; so the plan and the model card say that.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from overread.errors import IntegrityError, RunError
from overread.learn.applications_file import layers_of

NAME = "keras-application"
"""What a plan's [start] calls it."""

IMAGENET = "imagenet:"
"""In place of a file: let Keras fetch the weights that it publishes."""


@dataclass(frozen=True)
class Application:
    """How one of Keras' applications is used here.

    Parameters
    ----------
    name : str
        What Keras calls it.
    last : str
        The layer whose maps are kept: a sixteenth of the input's size, as wide as the next block makes them.
    maps : int
        How many maps that are.
    turned : str
        The margin of the last halving. With it on the other side the shifts of the four halvings cancel but for half a
        pixel (1 + 2 + 4 − 8 = −1, halved); as it came a heat-map would point 7.5 pixels aside.
    scale : (float, float)
        What a picture from 0 (black) to 1 (white) is multiplied by, and what is added then, before its first layer.
    scale_in_words : str
    """

    name: str
    last: str
    maps: int
    turned: str
    scale: tuple[float, float]
    scale_in_words: str


APPLICATIONS = {
    "MobileNetV2": Application("MobileNetV2", "block_13_expand_relu", 576, "block_6_pad", (2.0, -1.0), "black is −1 and white 1"),
    "EfficientNetB0": Application("EfficientNetB0", "block6a_expand_activation", 672, "block4a_dwconv_pad", (255.0, 0.0), "black is 0 and white 255; the mean and spread of the photographs stand in the file"),
}  # fmt: skip
"""Name → application. ResNet50 is not among them (docs/decisions/0025)."""


@dataclass(frozen=True)
class Brought:
    """A file of weights that was recognised and has all layers that are needed.

    Parameters
    ----------
    path : Path
    application : str
    sha256 : str
        Of the file.
    """

    path: Path
    application: str
    sha256: str

    @property
    def in_words(self) -> str:
        """One line for the plan and the model card."""
        return in_words(self.application, self.sha256)


def in_words(application: str, sha256: str) -> str:
    """Return what is known of a file that was brought, for the plan and the model card."""
    return (
        f"{application} of Keras' applications from a file that was brought, SHA-256 {sha256[:16]}; licence: unknown, as its "
        "bringer says; what it was learned from, and whether patients who calibrate and test were among it, is not known here"
    )


def read(path: str | Path) -> Brought:
    """Recognise a file of weights (``.weights.h5``, ``.h5`` or ``.keras``) and check that all of it is there.

    Raises
    ------
    RunError
        When it is no such file, or of another network.
    IntegrityError
        When it is cut short, or a number in it is none.
    """
    file = Path(path)
    found = _recognised(_in_keras_words(layers_of(file)))
    arrays(file, found)
    return Brought(file.resolve(), found, hashlib.sha256(file.read_bytes()).hexdigest())


def arrays(path: str | Path, application: str, *, expected: str = "") -> dict[str, list[np.ndarray]]:
    """Return the weights that are used, layer by layer, in Keras' order.

    Parameters
    ----------
    path : path
    application : str
    expected : str
        SHA-256 of the file that a plan names.

    Raises
    ------
    RunError, IntegrityError
    """
    file = Path(path)
    if expected and (not file.is_file() or hashlib.sha256(file.read_bytes()).hexdigest() != expected):
        raise IntegrityError(f"{file.name} is missing or is another file than the plan names", expected=f"the SHA-256 {expected[:12]}…", do="bring that file, or draw up the plan again")  # fmt: skip
    there, out = _in_keras_words(layers_of(file)), {}
    for layer, shapes in shapes_of(application).items():
        values = there.get(layer)
        if values is None:
            raise RunError(f"{file.name} has no layer {layer}", expected=f"all layers of {application} as Keras names them", do="save the weights of keras.applications unchanged")  # fmt: skip
        if layer == "normalization":
            values = [v.reshape(-1) for v in values[:2]]
        if [v.shape for v in values] != shapes:
            raise RunError(f"{file.name}: {layer} is {_shapes(v.shape for v in values)}", expected=f"{_shapes(shapes)}, as {application} has it", do="bring the weights of that width, in colour")  # fmt: skip
        if not all(np.isfinite(v).all() for v in values):
            raise IntegrityError(f"{file.name}: a number of {layer} is not finite", expected="numbers", do="bring the file again from where it came from")  # fmt: skip
        out[layer] = [v.astype(np.float32) for v in values]
    return out


def shapes_of(application: str) -> dict[str, list[tuple[int, ...]]]:
    """Return the layers that are used, and the shapes of their weights, in Keras' order.

    References
    ----------
    Sandler et al. 2018, arXiv 1801.04381, table 2; Tan & Le 2019, arXiv 1905.11946, table 1.
    """
    return _mobile() if application == "MobileNetV2" else _efficient()


def _mobile() -> dict[str, list[tuple[int, ...]]]:
    out = {"Conv1": [(3, 3, 3, 32)], "bn_Conv1": [(32,)] * 4}
    width, number = 32, 0
    for widening, channels, count in ((1, 16, 1), (6, 24, 2), (6, 32, 3), (6, 64, 4), (6, 96, 3), (6, 160, 1)):
        for _ in range(count):
            block, wide = f"block_{number}_" if number else "expanded_conv_", width * widening
            if number:
                out |= {f"{block}expand": [(1, 1, width, wide)], f"{block}expand_BN": [(wide,)] * 4}
            if number == 13:
                break
            out |= {f"{block}depthwise": [(3, 3, wide, 1)], f"{block}depthwise_BN": [(wide,)] * 4}
            out |= {f"{block}project": [(1, 1, wide, channels)], f"{block}project_BN": [(channels,)] * 4}
            width, number = channels, number + 1
    return out


def _efficient() -> dict[str, list[tuple[int, ...]]]:
    out: dict[str, list[tuple[int, ...]]] = {
        "normalization": [(3,)] * 2,
        "stem_conv": [(3, 3, 3, 32)],
        "stem_bn": [(32,)] * 4,
    }
    width = 32
    stages = ((1, 3, 16, 1), (6, 3, 24, 2), (6, 5, 40, 2), (6, 3, 80, 3), (6, 5, 112, 3), (6, 5, 192, 1))
    for stage, (widening, kernel, channels, count) in enumerate(stages, start=1):
        for letter in "abc"[:count]:
            block, wide, few = f"block{stage}{letter}_", width * widening, max(1, width // 4)
            if widening > 1:
                out |= {f"{block}expand_conv": [(1, 1, width, wide)], f"{block}expand_bn": [(wide,)] * 4}
            if stage == 6:
                break
            out |= {f"{block}dwconv": [(kernel, kernel, wide, 1)], f"{block}bn": [(wide,)] * 4}
            out |= {f"{block}se_reduce": [(1, 1, wide, few), (few,)], f"{block}se_expand": [(1, 1, few, wide), (wide,)]}
            out |= {f"{block}project_conv": [(1, 1, wide, channels)], f"{block}project_bn": [(channels,)] * 4}
            width = channels
    return out


def _in_keras_words(there: Mapping[str, list[np.ndarray]]) -> Mapping[str, list[np.ndarray]]:
    """Return a file's layers under the names that Keras gives them today.

    Files that were published before Keras renamed its layers (MobileNetV2's of 2018) are loaded by Keras in the order of
    their layers. So are they here: where hardly a name is known, and every shape stands in its place.
    """
    for name in APPLICATIONS:
        wanted = shapes_of(name)
        known = sum(layer in there for layer in wanted)
        if known < len(wanted) / 2 and [[v.shape for v in values] for values in there.values()][: len(wanted)] == [
            *wanted.values()
        ]:
            return dict(zip(wanted, there.values(), strict=False))
    return there


def _recognised(there: Mapping[str, list[np.ndarray]]) -> str:
    """Return which application has most of a file's layers; refuse one that has few of them."""
    share = {name: float(np.mean([layer in there for layer in shapes_of(name)])) for name in APPLICATIONS}
    best = max(share, key=lambda name: share[name])
    if share[best] < 0.5:
        some = ", ".join(list(there)[:3]) or "none"
        raise RunError(f"weights of a network that is not known here ({len(there)} layers: {some} …)", expected="those of " + " or ".join(APPLICATIONS) + " of keras.applications, the layers named as Keras names them", do="bring one of these")  # fmt: skip
    return best


def _shapes(shapes) -> str:
    return ", ".join(" × ".join(map(str, shape)) or "one number" for shape in shapes) or "empty"
