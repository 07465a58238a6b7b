"""Choose right and wrong cases of a testing cohort, and show where the score came from."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np

from overread.domain import Image, Task
from overread.learn.predict import Model
from overread.learn.saliency import failing, grad_cam
from overread.pages.astray import astray
from overread.pages.overlay import overlay_rgb, small_png, strongest_slice, window
from overread.pages.plots import chance
from overread.steps.nearest import Near, Training
from overread.steps.progress import bar
from overread.store.archive import Archive

RIGHT, WRONG, MOST_LABELS = 3, 6, 4

Entry = tuple[str, str, str, str | None]


def gallery(
    archive: Archive,
    model: Model,
    entries: Sequence[Entry],
    truth: np.ndarray,
    probability: np.ndarray,
    task: Task,
    points: Mapping[str, Mapping[str, Any]],
    *,
    copies: Mapping[str, str] = MappingProxyType({}),
    like: Training | None = None,
    progress: bool = False,
) -> list[dict[str, Any]]:
    """Return groups of cases, each with its picture and the same picture under its heat-map.

    The wrong ones are the most confident mistakes: nobody chose the pretty ones. Beside each stand the three training
    cases that the network takes to be most like it. The right ones are spread from sure to barely.

    Parameters
    ----------
    archive : Archive
    model : Model
    entries : sequence of (cohort, image, study, patient)
    truth, probability : ndarray, (n, outputs)
    task : Task
    points : mapping of label to operating point
    copies : mapping of str to str
        Group of each image that has a copy: a group of cases shows no picture twice.
    like : Training, optional
        The training cases; without them no neighbours are shown.
    progress : bool

    Returns
    -------
    list of dict
        ``{"label", "title", "total", "cases": [{"study", "said", "was", "slice", "picture", "heat", "failed", "astray",
        "near": [{"study", "was", "picture"}]}]}``; pictures are data URIs; ``failed`` says in a few words why the map is
        grey, ``astray`` that a map in colour lies where nothing is imaged.
    """
    pictures = [copies.get(image, image) for _, image, _, _ in entries]
    if task.kind in ("multiclass", "ordinal"):
        chosen = _levels(truth, probability, task, pictures)
    else:
        chosen = [
            group
            for j, label in list(enumerate(task.labels))[:MOST_LABELS]
            for group in _yes_or_no(truth[:, j], probability[:, j], points[label]["threshold"], label, j, pictures)
        ]
    groups = []
    with bar(total=sum(len(group[3]) for group in chosen), what="cases with heat-maps", show=progress) as drawn:
        for label, title, total, rows in chosen:
            shown = []
            for i, j in rows:
                wrong = title.startswith(("Missed", "False alarm", "Called wrongly"))
                beside = like if wrong else None
                shown.append(_case(archive, model, entries[i], truth[i], probability[i], task, j, like=beside))
                drawn.update()
            groups.append({"label": label, "title": title, "total": total, "cases": shown})
    return groups


def _spread(rows: np.ndarray, count: int) -> np.ndarray:
    """Return ``count`` of the rows, evenly spread from first to last."""
    return (
        rows[np.unique(np.linspace(0, len(rows) - 1, min(count, len(rows))).round().astype(int))] if len(rows) else rows
    )


def _once(rows: Sequence[int], pictures: Sequence[str]) -> np.ndarray:
    """Return the rows, in order, without those whose picture came before."""
    first: dict[str, int] = {}
    for i in rows:
        first.setdefault(pictures[i], int(i))
    return np.array(list(first.values()), int)


def _yes_or_no(y: np.ndarray, p: np.ndarray, threshold: float, label: str, j: int, pictures) -> list[tuple]:
    """Return (label, title, total, [(row, output)]) for hits, misses, false alarms and clear cases."""
    call = p >= threshold
    surest, weakest = np.argsort(-p, kind="stable"), np.argsort(p, kind="stable")
    parts = (
        ("Found: it was there and was called", [i for i in surest if y[i] == 1 and call[i]], RIGHT, True),
        ("Missed: it was there and was not called", [i for i in weakest if y[i] == 1 and not call[i]], WRONG, False),
        ("False alarm: called, but it was not there", [i for i in surest if y[i] == 0 and call[i]], WRONG, False),
        (
            "Cleared: it was not there and was not called",
            [i for i in weakest if y[i] == 0 and not call[i]],
            RIGHT,
            True,
        ),
    )
    out = []
    for title, rows, count, spread in parts:
        once = _once(rows, pictures)
        some = _spread(once, count) if spread else once[:count]
        out.append((label, title, len(rows), [(int(i), j) for i in some]))
    return out


def _levels(truth: np.ndarray, probability: np.ndarray, task: Task, pictures: Sequence[str]) -> list[tuple]:
    """Return right and wrong cases of a label with several levels, the map being that of the level called."""
    known = np.flatnonzero(~np.isnan(truth).any(1))
    call, was = probability.argmax(1), np.nan_to_num(truth).argmax(1)
    sure = known[np.argsort(-probability[known].max(1), kind="stable")]
    right, wrong = sure[call[sure] == was[sure]], sure[call[sure] != was[sure]]
    one_each = [
        int(right[call[right] == level][0]) for level in range(len(task.labels)) if (call[right] == level).any()
    ]
    mistakes = [int(i) for i in _once(wrong, pictures)[:8]]
    return [
        (task.name, "Called rightly: the surest of each level", len(right), [(i, int(call[i])) for i in one_each[:8]]),
        (task.name, "Called wrongly: the surest mistakes", len(wrong), [(i, int(call[i])) for i in mistakes]),
    ]


def _case(
    archive: Archive,
    model: Model,
    entry: Entry,
    truth: np.ndarray,
    probability: np.ndarray,
    task: Task,
    j: int,
    *,
    like: Training | None,
) -> dict[str, Any]:
    """Return one case with its two pictures; a volume is shown at the slice that speaks loudest."""
    image, failed = archive.image(entry[1]), failing(model.heat_maps)
    heat = grad_cam(model, image, task.labels[j])
    k = strongest_slice(heat)
    near: list[Near] = []
    if like is not None:
        _, features = next(model.run_all([image]))
        near = like.near(features)
    several = task.kind in ("multiclass", "ordinal")
    under = overlay_rgb(image, heat, slice=k, failed=bool(failed))
    return {
        "study": entry[2],
        "said": f"{task.labels[j]} {chance(probability[j])}" if several else chance(probability[j]),
        "was": _was(truth, task, j),
        "slice": f"slice {k + 1} of {len(heat)}" if image.is_volume else "",
        "picture": _uri(small_png(window(image)[k], spacing_mm=image.spacing_mm)),
        "heat": _uri(small_png(under, spacing_mm=image.spacing_mm)),
        "failed": failed,
        "astray": "" if failed else astray(image, heat, slice=k),
        "near": [{"study": n.study, "was": _was(n.truth, task, j), "picture": _middle(n.image)} for n in near],
    }


def _was(truth: np.ndarray, task: Task, j: int) -> str:
    """Return what is known of a case, in words."""
    if np.isnan(truth[j]):
        return "not known"
    if task.kind in ("multiclass", "ordinal"):
        return task.labels[int(truth.argmax())].removeprefix(f"{task.name}=")
    return "there" if truth[j] == 1 else "not there"


def _middle(image: Image) -> str:
    """Return a small picture of an image, of a volume at its middle slice."""
    shown = window(image)
    return _uri(small_png(shown[len(shown) // 2], spacing_mm=image.spacing_mm, side=144))


def _uri(png: bytes) -> str:
    return "data:image/png;base64," + b64encode(png).decode()
