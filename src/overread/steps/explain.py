"""Explain: where in the image the answer came from, as pictures and as raw maps on the original pixel grid."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from overread.errors import NothingToDo, OverreadError, RunError
from overread.formats import door
from overread.learn import saliency
from overread.learn.predict import Model
from overread.pages import overlay
from overread.steps.progress import bar
from overread.steps.run import write, write_json
from overread.store.objects import content_hash

CAUTION = "A heat-map is evidence about the model, not an outline of disease."


@dataclass(frozen=True)
class Explained:
    """The maps that were written, one an image, label and method, and every file refused with its reason."""

    out: Path
    maps: tuple[dict[str, Any], ...]
    refused: tuple[tuple[str, str, str], ...]

    def to_json(self) -> dict[str, Any]:
        """Return the list of maps for ``--json``."""
        return {
            "maps": list(self.maps),
            "refused": [{"file": f, "code": c, "reason": r} for f, c, r in self.refused],
            "caution": CAUTION,
        }

    def __str__(self) -> str:
        lines = [f"{len(self.maps)} heat-maps in {self.out}; {len(self.refused)} files refused"]
        lines += [f"  refused {f}: {why}" for f, _, why in self.refused[:10]]
        return "\n".join([*lines, CAUTION])


def explain(
    run: object,
    *sources: str | Path,
    out: str | Path,
    methods: Sequence[str] = ("grad-cam", "occlusion"),
    label: str | None = None,
    progress: bool = True,
) -> Explained:
    """Write heat-maps for every image in the sources: a PNG overlay and the raw map as ``.npy``.

    The raw map is float32 (slices, rows, columns) on the pixel grid of the image as it came, in logit units:
    positive speaks for the label, negative against it.

    Parameters
    ----------
    run : path, Run or Model
    sources : paths
    out : path
    methods : sequence of str
        "grad-cam", "occlusion".
    label : str, optional
        One output; by default a yes-or-no question's label, or the leading class of each image.
    progress : bool
    """
    model = run if isinstance(run, Model) else Model.load(getattr(run, "path", run))
    unknown = [m for m in methods if m not in saliency.METHODS]
    if unknown:
        raise RunError(f"the method {unknown[0]!r}", expected="one of " + ", ".join(saliency.METHODS), do="name one")
    if label is not None:
        saliency.output(model, label)  # refuse an unknown label before any work
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    maps, refused = [], []
    with bar(total=None, what="explain", unit="pass", show=progress) as line:
        for item in door.scan(*sources):
            if isinstance(item, door.Refused):
                refused.append((item.file, item.code, item.reason))
                continue
            try:
                maps += _one(model, item, out, methods, label, tick=line.update)
            except OverreadError as error:
                refused.append((item.origin.files[0], getattr(error, "code", "refused"), str(error)))
    if not maps and not refused:
        raise NothingToDo("no files", expected="images in the sources", do="name a folder or files that hold some")
    result = Explained(out, tuple(maps), tuple(refused))
    write_json(out / "maps.json", result.to_json())
    return result


def _one(model: Model, found: door.Found, out: Path, methods: Sequence[str], label: str | None, *, tick):
    """Yield what was written for one image; ``tick`` is told each pass through the network."""
    image = found.image
    findings = model.findings(image)
    asked = [f for f in findings if f.label == label] if label else _leading(model, findings)
    stem = _stem(found.origin.files[0]) + "-" + content_hash(image)[:8]
    for finding in asked:
        for method in methods:
            heat = saliency.METHODS[method](model, image, finding.label, progress=tick)
            name = f"{stem}-{_stem(finding.label)}-{method}"
            raw = io.BytesIO()
            np.save(raw, heat)
            write(out / f"{name}.npy", raw.getvalue())
            title = f"{finding.label}: {finding.probability:.2f} ({finding.low:.2f}–{finding.high:.2f}), {method}"
            write(out / f"{name}.png", overlay.overlay_png(image, heat, title=title))
            yield {
                "file": found.origin.files[0],
                "label": finding.label,
                "method": method,
                "png": f"{name}.png",
                "map": f"{name}.npy",
                "shape": list(heat.shape),
                "unit": "logit",
                "low": float(heat.min()),
                "high": float(heat.max()),
            }


def _leading(model: Model, findings):
    if model.task.kind in ("multiclass", "ordinal"):
        return [max(findings, key=lambda f: f.probability)]
    return list(findings)


def _stem(text: str) -> str:
    """A file name that works everywhere, from a path or a label."""
    return re.sub(r"[^A-Za-z0-9._=-]+", "_", Path(text.replace("!", "/")).name).strip("._") or "image"
