"""Heat-maps: where in the image the answer came from. Evidence about the model, not an outline of disease.

All run on the exported graph; none needs the training framework. Two and three dimensions from the same code.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import numpy as np

from overread.domain import Image
from overread.errors import RunError
from overread.imaging import preprocess
from overread.learn.predict import Model


def grad_cam(model: Model, image: Image, label: str, *, progress: Callable[[int], object] | None = None) -> np.ndarray:
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
        Told 1 for the one pass that it takes.

    Returns
    -------
    ndarray of float32, (slices, rows, columns) of the image as it came; logit units.

    References
    ----------
    Selvaraju et al. 2017, arXiv 1610.02391; Zhou et al. 2016, arXiv 1512.04150; Draelos & Carin, arXiv 2011.08891.
    """
    x = preprocess.apply(model.recipe, image)
    _, features = next(model.run_inputs([x]))
    if progress:
        progress(1)
    return _to_original(cam(features, model.tail, output(model, label)), model, image)


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
    flat = features.reshape(-1)
    alive = (flat @ tail["kernel0"] + tail["bias0"]) > 0  # where the hidden ReLU passes a gradient
    gradient = (tail["kernel0"] @ (alive * tail["kernel1"][:, k])).reshape(features.shape)
    weight = gradient.reshape(-1, features.shape[-1]).mean(axis=0)
    return features @ weight


def occlusion(
    model: Model, image: Image, label: str, *, parts: int = 8, progress: Callable[[int], object] | None = None
) -> np.ndarray:
    """Return how far the logit falls when each place is covered.

    A cover of 1/``parts`` of the side, at the image's mean, moves by half its width; each pixel's value is the mean
    fall over the covers that lay on it.

    Parameters
    ----------
    model : Model
    image : Image
    label : str
    parts : int
    progress : callable, optional
        Told 1 for each position.

    Returns
    -------
    ndarray of float32, (slices, rows, columns) of the image as it came; logit units.

    References
    ----------
    Zeiler & Fergus 2014, arXiv 1311.2901.
    """
    k = output(model, label)
    x = preprocess.apply(model.recipe, image)
    whole = next(model.run_inputs([x]))[0][k]
    grid = x.shape[:-1]
    covers = [tuple(slice(a, a + w) for a, w in corner) for corner in product(*(_positions(n, parts) for n in grid))]

    cover_value = float(x.mean())

    def covered():
        for cover in covers:
            y = x.copy()
            y[cover] = cover_value
            yield y

    total, count = np.zeros(grid, np.float64), np.zeros(grid, np.int64)
    for cover, (logits, _) in zip(covers, model.run_inputs(covered()), strict=True):
        total[cover] += whole - logits[k]
        count[cover] += 1
        if progress:
            progress(1)
    return _to_original((total / np.maximum(count, 1)).astype(np.float32), model, image)


METHODS = {"grad-cam": grad_cam, "occlusion": occlusion}
"""What ``overread explain --method`` may name."""


def output(model: Model, label: str) -> int:
    """Return the number of the output that answers a label."""
    if label not in model.task.labels:
        raise RunError(
            f"the label {label!r}",
            expected="one of " + ", ".join(model.task.labels),
            do="name one this run was trained for",
        )
    return model.task.labels.index(label)


def _positions(n: int, parts: int) -> list[tuple[int, int]]:
    width = max(1, round(n / parts))
    starts = list(range(0, max(1, n - width + 1), max(1, width // 2)))
    if starts[-1] != n - width:
        starts.append(n - width)
    return [(s, width) for s in starts]


def _to_original(values: np.ndarray, model: Model, image: Image) -> np.ndarray:
    where = preprocess.placement(model.recipe, image)
    volume = values[None] if values.ndim == 2 else values
    out = preprocess.back(volume, where)
    slices = image.voxels.shape[0]
    return np.repeat(out, slices, axis=0) if out.shape[0] == 1 and slices > 1 else out
