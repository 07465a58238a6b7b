"""Heat-maps: where in the image the answer came from. Evidence about the model, not an outline of disease.

All run on the exported graph; none needs the training framework. Two and three dimensions from the same code. Each
method is a *field*: a map on a grid over the network's input; `heat_map` lays it on the original pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import scipy  # its filters load when they are first asked for: most answers ask for none

from overread.domain import Image
from overread.errors import RunError
from overread.imaging import preprocess
from overread.learn.graph import run_graph, run_slopes
from overread.learn.predict import Model

Tick = Callable[[int], object]

UNEXPLAINED = 0.02
"""Largest share of the score's change that integrated gradients may leave unexplained before more steps are taken."""


@dataclass(frozen=True)
class Network:
    """What a heat-map needs of a network; a `Model` has the same three.

    Parameters
    ----------
    session, slopes : onnxruntime.InferenceSession
        The exported graph, and the graph of its slopes (None where no method that needs it is asked for).
    tail : dict of str to ndarray
        How logits come from the last feature maps (``learn.export.head``).
    """

    session: Any
    tail: dict[str, np.ndarray]
    slopes: Any = None
    workers: int = 2

    def run_inputs(self, inputs: Iterable[np.ndarray]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield (logits, last feature maps) for each network input."""
        return run_graph(self.session, inputs, workers=self.workers)


def grad_cam(model: Model, image: Image, label: str, *, progress: Tick | None = None) -> np.ndarray:
    """Return how much each place of the image speaks for (positive) or against (negative) a label.

    Behind a global average and one linear head Grad-CAM is an exact decomposition of the logit: the mean of
    :func:`cam` on the feature grid plus the bias *is* the logit. For the article's network it is Grad-CAM with the
    gradient taken in closed form through its two dense layers.

    Parameters
    ----------
    model : Model
    image : Image
    label : str
        One of ``model.task.labels``.
    progress : callable, optional
        Told 1 for each pass through the network.

    Returns
    -------
    ndarray of float32, (slices, rows, columns) of the image as it came; logit units.

    References
    ----------
    Selvaraju et al. 2017, arXiv 1610.02391; Zhou et al. 2016, arXiv 1512.04150; Draelos & Carin, arXiv 2011.08891.
    """
    return heat_map(model, image, label, method="grad-cam", progress=progress)


def occlusion(model: Model, image: Image, label: str, *, progress: Tick | None = None) -> np.ndarray:
    """Return how far the logit falls when each place is covered (see `occlusion_field`)."""
    return heat_map(model, image, label, method="occlusion", progress=progress)


def heat_map(
    model: Model, image: Image, label: str, *, method: str = "grad-cam", progress: Tick | None = None
) -> np.ndarray:
    """Return a heat-map of one method on the grid of the image as it came.

    Parameters
    ----------
    model : Model
    image : Image
    label : str
    method : str
        One of `METHODS`.
    progress : callable, optional

    Returns
    -------
    ndarray of float32, (slices, rows, columns), in the unit that ``METHODS[method].unit`` names.
    """
    how = METHODS[method]
    k = output(model, label)
    values = how.field(model, preprocess.apply(model.recipe, image), k, tick=progress or (lambda n: None))
    return _to_original(np.asarray(values, np.float32), model, image, summed=how.summed)


def cam_field(network: Model | Network, x: np.ndarray, k: int, *, tick: Tick) -> np.ndarray:
    """Return the class activation map of one network input on the feature grid."""
    _, features = next(network.run_inputs([x]))
    tick(1)
    return cam(features, network.tail, k)


def cam(features: np.ndarray, tail: dict[str, np.ndarray], k: int) -> np.ndarray:
    """Return the class activation map of output ``k`` on the feature grid, in logit units.

    Parameters
    ----------
    features : ndarray, (rows, columns, channels) or (slices, rows, columns, channels)
    tail : dict
        From ``learn.export.head``.
    k : int

    Examples
    --------
    >>> A = np.arange(8.0).reshape(2, 2, 2)
    >>> tail = {"tail": np.array("mean"), "kernel0": np.array([[1.0], [-2.0]]), "bias0": np.array([0.5])}
    >>> logit = A.mean(axis=(0, 1)) @ tail["kernel0"][:, 0] + 0.5
    >>> bool(np.isclose(cam(A, tail, 0).mean() + 0.5, logit))
    True
    """
    if str(tail["tail"]) == "mean":
        return features @ tail["kernel0"][:, k]
    return features @ slope_in_features(features, tail, k).reshape(-1, features.shape[-1]).mean(axis=0)


def slope_in_features(features: np.ndarray, tail: dict[str, np.ndarray], k: int) -> np.ndarray:
    """Return the gradient of a logit in the last feature maps, in closed form through the head.

    Examples
    --------
    >>> tail = {"tail": np.array("mean"), "kernel0": np.array([[4.0], [-8.0]]), "bias0": np.zeros(1)}
    >>> slope_in_features(np.ones((2, 2, 2)), tail, 0)[0, 0].tolist()
    [1.0, -2.0]
    """
    if str(tail["tail"]) == "mean":
        places = features[..., 0].size
        return np.broadcast_to(tail["kernel0"][:, k] / places, features.shape)
    alive = (features.reshape(-1) @ tail["kernel0"] + tail["bias0"]) > 0  # where the hidden ReLU passes a gradient
    return (tail["kernel0"] @ (alive * tail["kernel1"][:, k])).reshape(features.shape)


def cam_plus_plus_field(network: Model | Network, x: np.ndarray, k: int, *, tick: Tick) -> np.ndarray:
    """Return the Grad-CAM++ map of one network input on the feature grid."""
    _, features = next(network.run_inputs([x]))
    tick(1)
    return cam_plus_plus(features, network.tail, k)


def cam_plus_plus(features: np.ndarray, tail: dict[str, np.ndarray], k: int) -> np.ndarray:
    """Return the Grad-CAM++ map of output ``k`` on the feature grid: where the evidence *for* it lies, without a unit.

    Of the score exp(logit) the derivatives of every order have a closed form wherever the logit is linear in the feature
    maps: with slope g the weight of a channel is the sum over places of max(g, 0) / (2 + g · the channel's sum). Behind
    a global average that is max(w, 0) / (2 + w · the channel's mean).

    References
    ----------
    Chattopadhay et al. 2018, arXiv 1710.11063, equations 19 and 5.

    Examples
    --------
    >>> A = np.ones((2, 2, 2))
    >>> tail = {"tail": np.array("mean"), "kernel0": np.array([[2.0], [-2.0]]), "bias0": np.zeros(1)}
    >>> cam_plus_plus(A, tail, 0).tolist()  # 2 / (2 + 2 · 1); the negative channel is silent
    [[0.5, 0.5], [0.5, 0.5]]
    """
    slope = slope_in_features(features, tail, k)
    places = tuple(range(features.ndim - 1))
    below = 2 + slope * features.sum(axis=places)
    share = np.divide(1.0, below, out=np.zeros_like(below, dtype=float), where=np.abs(below) > 1e-6)
    weight = (share * np.maximum(slope, 0)).sum(axis=places)
    return np.maximum(features @ weight, 0)


def baseline(x: np.ndarray) -> np.ndarray:
    """Return an image without contrast: each channel at its mean. What is missing is compared with this."""
    return np.broadcast_to(x.mean(axis=tuple(range(x.ndim - 1)), keepdims=True), x.shape).astype(np.float32)


def out_of_focus(x: np.ndarray) -> np.ndarray:
    """Return the image so blurred that no finding is left to see: a Gaussian an eighth of the side wide."""
    width = [n / 8 for n in x.shape[:-1]]
    return scipy.ndimage.gaussian_filter(x, [*width, 0], mode="nearest").astype(np.float32)


def integrated_gradients_field(
    network: Model | Network, x: np.ndarray, k: int, *, tick: Tick, steps: int = 32, most: int = 256
) -> np.ndarray:
    """Return the share of each pixel in the score's rise from an image without contrast, on the input grid.

    The slopes along the straight way from `baseline` to the image, averaged, times the difference: their sum *is* the
    rise of the logit. The steps are doubled until the sum is within `UNEXPLAINED` of it, or there are ``most``.

    References
    ----------
    Sundararajan et al. 2017, arXiv 1703.01365.
    """
    start = baseline(x)
    low, high = (float(z[k]) for z, _ in network.run_inputs([start, x]))
    while True:
        way = (np.arange(steps) + 0.5) / steps
        total = np.zeros(x.shape, np.float64)
        for slope in run_slopes(network.slopes, (start + a * (x - start) for a in way.astype(np.float32)), k):
            total += slope
            tick(1)
        parts = (x - start) * total / steps
        if steps >= most or abs(parts.sum() - (high - low)) <= UNEXPLAINED * max(1.0, abs(high - low)):
            return parts.sum(axis=-1)
        steps *= 2


def occlusion_field(
    network: Model | Network, x: np.ndarray, k: int, *, tick: Tick, parts: int | None = None
) -> np.ndarray:
    """Return how far the logit falls when each place is put out of focus, on the input grid.

    A soft-edged cover of 1/``parts`` of the side (8 in a picture, 4 in a volume) moves by half its width; each pixel's
    value is the mean fall over the covers, weighted by how much of each lay on it. Under a cover lies the image out of
    focus: a grey square on the black margin of a film would itself be a finding.

    References
    ----------
    Zeiler & Fergus 2014, arXiv 1311.2901.
    """
    grid = x.shape[:-1]
    parts = parts or (8 if len(grid) == 2 else 4)
    corners = list(product(*(_positions(n, parts) for n in grid)))
    blurred = out_of_focus(x)

    def covered():
        yield x
        for corner in corners:
            yield x + (blurred - x) * _cover(grid, corner)[..., None]

    passes = network.run_inputs(covered())
    whole = next(passes)[0][k]
    total, lain = np.zeros(grid, np.float64), np.zeros(grid, np.float64)
    for corner, (logits, _) in zip(corners, passes, strict=True):
        cover = _cover(grid, corner)
        total += cover * (whole - logits[k])
        lain += cover
        tick(1)
    return total / np.maximum(lain, 1e-9)


def rise_field(
    network: Model | Network, x: np.ndarray, k: int, *, tick: Tick, count: int = 400, cells: int = 7, seed: int = 0
) -> np.ndarray:
    """Return how much higher the logit is when each place is seen than when it is not, on the input grid.

    The image is seen through ``count`` random soft masks that show half of it, the rest out of focus. The value of a
    pixel is the regression of the logit on whether the pixel was seen: the original's weighted mean, less what the
    masks' own unevenness adds.

    References
    ----------
    Petsiuk et al. 2018, arXiv 1806.07421.
    """
    grid, blurred = x.shape[:-1], out_of_focus(x)
    rng = np.random.default_rng(seed)
    seen, scores = [], []

    def masked():
        for _ in range(count):
            seen.append(_mask(grid, cells, rng))
            yield blurred + (x - blurred) * seen[-1][..., None]

    first = second = both = np.zeros(grid)
    for i, (logits, _) in enumerate(network.run_inputs(masked())):
        mask = seen[i].astype(np.float64)
        seen[i] = None  # read once: a thousand masks of a volume would fill the memory
        scores.append(float(logits[k]))
        first, second, both = first + mask, second + mask**2, both + mask * scores[-1]
        tick(1)
    n, middle = len(scores), float(np.mean(scores))
    spread = second / n - (first / n) ** 2
    return (both / n - middle * first / n) / np.maximum(spread, 1e-9)


def _mask(grid: tuple[int, ...], cells: int, rng: np.random.Generator) -> np.ndarray:
    """Return a soft mask, 0 to 1: random cells, drawn larger than the image and moved by part of a cell."""
    side = [-(-n // min(cells, n)) for n in grid]
    coarse = rng.integers(0, 2, [min(cells, n) + 1 for n in grid]).astype(np.float32)
    large = tuple(s * c for s, c in zip(side, coarse.shape, strict=True))
    volume = coarse.reshape((1,) * (3 - len(grid)) + coarse.shape + (1,))
    fine = preprocess.resample(volume, (1,) * (3 - len(grid)) + large)[..., 0].reshape(large)
    corner = [int(rng.integers(0, big - n + 1)) for big, n in zip(large, grid, strict=True)]
    return fine[tuple(slice(c, c + n) for c, n in zip(corner, grid, strict=True))]


@dataclass(frozen=True)
class Method:
    """One way to make a heat-map.

    Parameters
    ----------
    field : callable
        (network, input, output's number, tick=) → map on a grid over the input.
    unit : str
        What its values are.
    slopes : bool
        True when it needs the graph of the slopes.
    summed : bool
        True when the values are parts of a sum, so that a finer grid makes them smaller.
    """

    field: Callable[..., np.ndarray]
    unit: str
    slopes: bool = False
    summed: bool = False


METHODS = {
    "grad-cam": Method(cam_field, "contribution to the score (logit)"),
    "grad-cam++": Method(cam_plus_plus_field, "evidence for the label (no unit)"),
    "integrated-gradients": Method(
        integrated_gradients_field, "part of the score's rise (logit a pixel)", slopes=True, summed=True
    ),
    "occlusion": Method(occlusion_field, "fall of the score when covered (logit)"),
    "rise": Method(rise_field, "rise of the score when seen (logit)"),
}
"""What ``overread explain --method`` may name."""

DEFAULT = "grad-cam"
"""What the report, the reading page and the archive are shown."""


def output(model: Model, label: str) -> int:
    """Return the number of the output that answers a label."""
    if label not in model.task.labels:
        raise RunError(
            f"the label {label!r}",
            expected="one of " + ", ".join(model.task.labels),
            do="name one this run was trained for",
        )
    return model.task.labels.index(label)


def _cover(grid: tuple[int, ...], corner: Sequence[tuple[int, int]]) -> np.ndarray:
    """Return a cover with soft edges, 0 to 1: along each axis a step, blurred by a quarter of its width."""
    mask = np.ones((), np.float32)
    for n, (start, width) in zip(grid, corner, strict=True):
        step = np.zeros(n, np.float32)
        step[start : start + width] = 1
        mask = np.multiply.outer(mask, scipy.ndimage.gaussian_filter1d(step, width / 4, mode="nearest"))
    return mask


def _positions(n: int, parts: int) -> list[tuple[int, int]]:
    width = max(1, round(n / parts))
    starts = list(range(0, max(1, n - width + 1), max(1, width // 2)))
    if starts[-1] != n - width:
        starts.append(n - width)
    return [(s, width) for s in starts]


def _to_original(values: np.ndarray, model: Model, image: Image, *, summed: bool) -> np.ndarray:
    where = preprocess.placement(model.recipe, image)
    volume = values[None] if values.ndim == 2 else values
    out = preprocess.back(volume, where)
    if summed:  # the same sum on more, or fewer, pixels
        out *= np.float32(where.cells)
    slices = image.voxels.shape[0]
    return np.repeat(out, slices, axis=0) if out.shape[0] == 1 and slices > 1 else out


def failing(verdicts: Mapping[str, Mapping[str, Any]], method: str = DEFAULT) -> str:
    """Return why a map is not shown in colour, in a few words; empty when it has passed its tests.

    Examples
    --------
    >>> failing({}), failing({"rise": {"passed": True}}, "rise")
    ('has not been tested', '')
    >>> failing({"grad-cam": {"passed": False, "tested": True}})
    'did not pass its tests'
    """
    verdict = verdicts.get(method, {})
    if verdict.get("passed"):
        return ""
    return "did not pass its tests" if verdict.get("tested") else "has not been tested"
