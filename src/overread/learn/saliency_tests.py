"""Try a kind of heat-map on one case: what the tests in `stats.maps` measure, on the network's own input."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy import stats

from overread.imaging import preprocess
from overread.learn import saliency_redraw as redraw
from overread.learn.graph import open_graph, run_graph
from overread.learn.predict import Model
from overread.learn.saliency import METHODS, Network, Tick, out_of_focus
from overread.stats import maps

DEPTHS = {"head": (0.0, 0.0, 0.0), "half": (0.5,), "all": (1.0,)}
"""How far down a network is redrawn: the head three times (one draw may be alike by chance), half of it, and all."""

TWINS = 30
"""Networks with all weights redrawn, below the heads."""

HEADS = 1000
"""Heads redrawn on each of them, each with both signs: a head costs no pass through the network."""

NOISE = 0.03
"""The little noise of the stability test, as a share of the image's own spread."""


def redrawn(model: Model, *, slopes: bool, rng: np.random.Generator) -> dict[str, list[Network]]:
    """Return networks like the model whose last layers, by `DEPTHS`, are redrawn by chance.

    Parameters
    ----------
    model : Model
    slopes : bool
        Also with the graph of their slopes.
    rng : numpy.random.Generator

    Raises
    ------
    RunError
        When the graph's last layer is not the head beside it.
    """
    graph = (model.run / "model.onnx").read_bytes()
    gradient = model.slope_graph if slopes else b""
    made: dict[str, list[Network]] = {}
    for depth, shares in DEPTHS.items():
        made[depth] = []
        for share in shares:
            new = redraw.drawn(graph, share=share, rng=rng)
            other = open_graph(redraw.replaced(gradient, new)) if slopes else None
            tail = redraw.tail_replaced(model.tail, graph, new)
            made[depth].append(Network(open_graph(redraw.replaced(graph, new)), tail, other, model.workers))
    return made


def learned(
    model: Model,
    inputs: Sequence[np.ndarray],
    truth: np.ndarray,
    *,
    rng: np.random.Generator,
    tick: Tick = lambda n: None,
) -> dict[str, Any]:
    """Return how well the network tells images apart, and how many networks with redrawn weights do as well.

    How well a network drawn by chance does hangs on two draws: of the layers that look at the image, and of the head.
    The first are few (`TWINS`), as each costs a pass of all images. On each the head is drawn `HEADS` times, and turned
    round: it is normal around zero, so that its opposite is as likely. Together they show how well chance does far out.

    Parameters
    ----------
    model : Model
    inputs : sequence of ndarray
        Network inputs.
    truth : ndarray, (n, outputs)
        1, 0 or NaN.
    rng : numpy.random.Generator
    tick : callable
        Told 1 for each pass of all images.

    Returns
    -------
    dict
        ``auroc`` (the mean over the outputs), ``twins`` (how many redrawn networks), ``as_good`` (the share of them that
        are at least as good; the network itself is counted among them), ``rarely`` (the AUROC that one in 2,000 of them
        reaches), ``answers`` (how many images have the rarer answer, over the outputs), ``n``.
    """
    graph = (model.run / "model.onnx").read_bytes()
    logits = np.array([z for z, _ in run_graph(model.session, inputs, workers=model.workers)])
    tick(1)
    auroc = float(mean_aurocs(truth, logits[:, :, None])[0])
    by_chance = []
    for _ in range(TWINS):
        new = redraw.drawn(graph, share=1.0, rng=rng)
        tail = model.tail if str(model.tail["tail"]) == "mean" else redraw.tail_replaced(model.tail, graph, new)
        passes = run_graph(open_graph(redraw.replaced(graph, new)), inputs, workers=model.workers)
        seen = np.array([below_head(features, tail) for _, features in passes])
        heads = rng.normal(size=(seen.shape[1], truth.shape[1] * HEADS))
        found = mean_aurocs(truth, (seen @ heads).reshape(len(seen), truth.shape[1], HEADS))
        by_chance += [found, 1 - found]
        tick(1)
    others = np.concatenate(by_chance)
    present, absent = (truth == 1).sum(axis=0), (truth == 0).sum(axis=0)
    return {
        "auroc": auroc,
        "twins": len(others),
        "as_good": float((np.count_nonzero(others >= auroc - 1e-9) + 1) / (len(others) + 1)),
        "rarely": float(np.quantile(others, 1 - maps.MOST_LUCKY)),
        "answers": int(np.minimum(present, absent).sum()),
        "n": len(truth),
    }


def below_head(features: np.ndarray, tail: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return what the head is shown of one image: the mean of each feature map, or the hidden layer before it."""
    if str(tail["tail"]) == "mean":
        return features.reshape(-1, features.shape[-1]).mean(axis=0)
    return np.maximum(features.reshape(-1) @ tail["kernel0"] + tail["bias0"], 0)


def mean_aurocs(truth: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Return the AUROC of many networks on the same images: the mean over the outputs that have both answers.

    Parameters
    ----------
    truth : ndarray, (n, outputs)
        1, 0 or NaN.
    scores : ndarray, (n, outputs, networks)

    Returns
    -------
    ndarray, (networks,); NaN where no output has both answers.

    Examples
    --------
    >>> mean_aurocs(np.array([[0.0], [0], [1]]), np.array([[[1.0, 3]], [[2, 2]], [[2, 1]]])).tolist()
    [0.75, 0.0]
    """
    found = []
    for y, s in zip(truth.T, scores.transpose(1, 0, 2), strict=True):
        there, gone = np.count_nonzero(y == 1), np.count_nonzero(y == 0)
        if there and gone:
            ranks = stats.rankdata(s[~np.isnan(y)], axis=0)
            sums = ranks[y[~np.isnan(y)] == 1].sum(axis=0)
            found.append((sums - there * (there + 1) / 2) / (there * gone))
    return np.mean(found, axis=0) if found else np.full(scores.shape[2], np.nan)


def trial(
    model: Model | Network,
    x: np.ndarray,
    k: int,
    *,
    method: str,
    others: Mapping[str, Sequence[Network]],
    several: bool,
    rng: np.random.Generator,
    tick: Tick = lambda n: None,
) -> dict[str, Any]:
    """Return what the tests measure of one case.

    Parameters
    ----------
    model : Model or Network
    x : ndarray
        The network's input.
    k : int
        The output that is explained.
    method : str
        One of ``saliency.METHODS``.
    others : mapping of str to sequence of Network
        From `redrawn`.
    several : bool
        True when one of several levels is asked for: the score is then the level's log-odds.
    rng : numpy.random.Generator
    tick : callable
        Told 1 for each pass.

    Returns
    -------
    dict
        ``randomisation``, ``deletion``, ``insertion``, ``stability``, ``border``, as `stats.maps.verdict` wants them.
    """
    field = METHODS[method].field
    heat = field(model, x, k, tick=tick)
    alike = {
        depth: float(np.mean([abs(maps.rank_correlation(heat, field(n, x, k, tick=tick))) for n in networks]))
        for depth, networks in others.items()
    }
    noisy = (x + rng.normal(0, NOISE * float(x.std()), x.shape)).astype(np.float32)
    on_grid = to_grid(heat, x.shape[:-1])
    rivals = {"map": on_grid, "random": maps.elsewhere(on_grid, rng), "centre": maps.centre_blob(x.shape[:-1])}
    return {
        "randomisation": alike,
        **curves(model, x, k, rivals, several=several, rng=rng, tick=tick),
        "stability": maps.rank_correlation(heat, field(model, noisy, k, tick=tick)),
        "border": maps.border_share(on_grid),
    }


def curves(
    model: Model | Network,
    x: np.ndarray,
    k: int,
    heats: Mapping[str, np.ndarray],
    *,
    several: bool,
    rng: np.random.Generator,
    tick: Tick,
) -> dict[str, dict[str, float]]:
    """Return the areas under the deletion and insertion curves of several maps of one image.

    What is taken away is replaced by the image out of focus, so that a cover has no edges of its own.

    Parameters
    ----------
    heats : mapping of str to ndarray
        On the input's grid.
    """
    blurred = out_of_focus(x)
    inner = maps.SHARES[1:-1]
    plan = [(name, share, kind) for name in heats for share in inner for kind in ("deletion", "insertion")]

    def inputs():
        yield x
        yield blurred
        for name in heats:
            for share in inner:
                hot = maps.hottest(heats[name], share, rng)[..., None]
                yield np.where(hot, blurred, x)
                yield np.where(hot, x, blurred)

    scores = []
    for logits, _ in model.run_inputs(inputs()):
        scores.append(_score(logits, k, several=several))
        tick(1)
    whole, nothing, *along = scores
    found = dict(zip(plan, along, strict=True))
    ends = {"deletion": (whole, nothing), "insertion": (nothing, whole)}
    return {
        kind: {
            name: maps.area(maps.SHARES, [first, *(found[name, share, kind] for share in inner), last])
            for name in heats
        }
        for kind, (first, last) in ends.items()
    }


def to_grid(heat: np.ndarray, grid: Sequence[int]) -> np.ndarray:
    """Return a map on a coarser grid as a map on the input's grid."""
    if heat.shape == tuple(grid):
        return heat
    lead = (1,) * (3 - len(grid))
    values = np.asarray(heat, np.float32).reshape((*lead, *heat.shape, 1))
    return preprocess.resample(values, (*lead, *grid)).reshape(grid)


def _score(logits: np.ndarray, k: int, *, several: bool) -> float:
    """Return the score of an output: its logit, or a level's log-odds against all others."""
    if not several:
        return float(logits[k])
    rest = np.delete(logits, k)
    top = rest.max()
    return float(logits[k] - top - np.log(np.exp(rest - top).sum()))
