"""Weights by hash → raw scores → calibrated findings. The exported graph, not the training framework."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import tee
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import onnxruntime

from overread.domain import Finding, Image, ModelCard, Recipe, Step, Task
from overread.errors import IntegrityError, RunError
from overread.imaging import preprocess
from overread.learn.gate import Gate, Rows
from overread.learn.graph import open_graph, run_graph
from overread.learn.unfinished import unfinished
from overread.stats import joined, referral
from overread.stats.calibration import Calibration
from overread.stats.conformal import Sets
from overread.stats.joined import Joining

NEEDED = ("plan.json", "calibration.json", "model.onnx", "head.npz")
"""What a prediction depends on, beside the card; each is checked against ``manifest.json`` before it is used."""


class Described(Protocol):
    """What is known of an image without its voxels: an `Image`, or an archive's record of one."""

    @property
    def modality(self) -> str: ...
    @property
    def attributes(self) -> Mapping[str, str]: ...
    @property
    def unit(self) -> str: ...
    @property
    def full_range(self) -> tuple[float, float] | None: ...


@dataclass
class Model:
    """A trained model as the clinic uses it.

    Parameters
    ----------
    run : Path
    card : ModelCard
    task : Task
    recipe : Recipe
    calibration : Calibration
    thresholds : dict of str to float
        Operating point of each label, chosen on the calibration cohort.
    tail : dict of str to ndarray
        How logits come from feature maps (see ``learn.export.head``).
    sets : dict of str to Sets
        By label (or the name of a label with several levels): which answers remain possible.
    gate : Gate or None
        Whether an image looks like the training images; None where too few were seen to tell.
    files : dict of str to str
        The run's sealed files and their SHA-256.
    heat_maps : dict of str to dict
        By method: whether its heat-maps passed their tests (``stats.maps.verdict``); empty where none was tested.
    joining : Joining or None
        What is answered with one answer (a study, a patient), and how its images are joined; None for each image by itself.
    """

    run: Path
    card: ModelCard
    task: Task
    recipe: Recipe
    calibration: Calibration
    thresholds: dict[str, float]
    tail: dict[str, np.ndarray]
    session: onnxruntime.InferenceSession = field(repr=False)
    workers: int = 2
    sets: dict[str, Sets] = field(default_factory=dict)
    gate: Gate | None = None
    files: dict[str, str] = field(default_factory=dict)
    heat_maps: dict[str, dict[str, Any]] = field(default_factory=dict)
    joining: Joining | None = None

    @classmethod
    def load(cls, run: str | Path, *, workers: int = 2) -> Model:
        """Load a run after checking every file against the manifest.

        Raises
        ------
        RunError
            When the folder is not a finished run.
        IntegrityError
            When a file is not the one that was trained.
        """
        run = Path(run)
        files = check_manifest(run)
        plan, calibration = _json(run / "plan.json"), _json(run / "calibration.json")
        with np.load(run / "head.npz", allow_pickle=False) as head:
            tail = {k: head[k] for k in head.files}
        session = open_graph(run / "model.onnx")
        return cls(
            run=run,
            card=_card(run),
            task=Task(**{**plan["task"], "labels": tuple(plan["task"]["labels"])}),
            recipe=recipe_from_json(plan["recipe"]),
            calibration=Calibration.from_json(calibration["calibration"]),
            thresholds={k: float(v["threshold"]) for k, v in calibration["operating_points"].items()},
            tail=tail,
            session=session,
            workers=workers,
            sets={k: Sets.from_json(v) for k, v in calibration.get("sets", {}).items()},
            gate=_gate(run / "gate.npz") if "gate.npz" in files else None,
            files=files,
            heat_maps=_json(run / "heatmaps.json") if "heatmaps.json" in files else {},
            joining=joined.read(calibration.get("joining")),
        )

    def __reduce__(self):
        """Travel to another process as the run's path: what arrives has been checked against the manifest there."""
        return _again, (os.path.abspath(self.run), self.workers)

    @property
    def slope_graph(self) -> bytes:
        """The graph of the scores' slopes: the run's own, or derived from its graph where the run has none.

        Raises
        ------
        ExportError
            When the run has none and none can be derived.
        """
        if "gradient.onnx" in self.files:
            return (self.run / "gradient.onnx").read_bytes()
        from overread.learn.saliency_gradient import derive

        return derive((self.run / "model.onnx").read_bytes())

    @cached_property
    def slopes(self) -> onnxruntime.InferenceSession:
        """The graph of the scores' slopes, opened when it is first asked for."""
        return open_graph(self.slope_graph)

    def logits(self, images: Iterable[Image]) -> np.ndarray:
        """Return raw scores, (images, outputs) float64; each image is run alone, so company cannot change its score."""
        return np.array([z for z, _ in self.run_all(images)]).reshape(-1, len(self.task.labels))

    def run_all(self, images: Iterable[Image]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield (logits, last feature maps) for each image, in order, a few at a time."""
        return self.run_inputs(preprocess.apply(self.recipe, i) for i in images)

    def run_inputs(self, inputs: Iterable[np.ndarray]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield (logits, last feature maps) for each network input."""
        return run_graph(self.session, inputs, workers=self.workers)

    def probabilities(self, logits: np.ndarray) -> np.ndarray:
        """Return calibrated probabilities, (n, outputs)."""
        return self.calibration.probabilities(logits)

    def intervals(self, logits: np.ndarray) -> np.ndarray:
        """Return the 95 % interval of each probability, (n, outputs, 2)."""
        return self.calibration.interval(logits)

    def findings(self, image: Image, *, hash: str = "") -> tuple[Finding, ...]:
        """Return the answer to each label for one image: present, absent, or refer with a reason."""
        return self.answer(image, hash=hash)[0]

    def answer(self, image: Image, *, hash: str = "") -> tuple[tuple[Finding, ...], Rows]:
        """Return the same, and the image as the gate sees it (`learn.gate.rows`; empty without a gate).

        Parameters
        ----------
        image : Image
        hash : str
            Its content hash, as evidence.
        """
        logits, unlike, seen = next(self.looked([image]))
        return self.decide(logits, unlike, hashes=(hash,) * len(self.task.labels)), seen

    def decide(self, logits: np.ndarray, unlike: str, *, hashes: Sequence[str]) -> tuple[Finding, ...]:
        """Return the answer to each label from raw scores (outputs,), of an image or of a study's images joined.

        Parameters
        ----------
        logits : ndarray, (outputs,)
        unlike : str
            Why it is referred unanswered; "" when it is not.
        hashes : sequence of str
            By label, the content hash of the image that carries the evidence.
        """
        p, between = self.probabilities(logits[None])[0], self.intervals(logits[None])[0]
        decide = self._level if self.task.kind in ("multiclass", "ordinal") else self._label
        out = []
        for i, label in enumerate(self.task.labels):
            decision, reason = decide(p, between, i, unlike)
            out.append(
                Finding(
                    label,
                    _six(p[i]),
                    _six(between[i, 0]),
                    _six(between[i, 1]),
                    self.thresholds.get(label, 0.5),
                    decision,
                    reason,
                    hashes[i],
                )
            )
        return tuple(out)

    def join(self, logits: np.ndarray, unlike: Sequence[str], hashes: Sequence[str]) -> tuple[Finding, ...]:
        """Return one answer from several images of a study: their raw scores (images, outputs), doubts and hashes.

        A doubt about any of them refers the study, and says of how many; the evidence is the image that scores highest.
        """
        rule = self.joining.rule if self.joining else "mean"
        z, _ = joined.join(logits, [0] * len(logits), rule)
        doubts = [why for why in unlike if why]
        why = doubts[0] if doubts else ""
        if doubts and len(unlike) > 1:
            why = f"{len(doubts)} of {len(unlike)} images: {doubts[0]}"
        return self.decide(z[0], why, hashes=[hashes[int(i)] for i in logits.argmax(axis=0)])

    def look(self, x: np.ndarray, features: np.ndarray) -> tuple[str, Rows]:
        """Return why a network input looks unlike the training images, in words or "", and how the gate sees it."""
        return self.gate.look(x, features) if self.gate is not None else ("", {})

    def read(self, images: Iterable[Image]) -> Iterator[tuple[np.ndarray, str]]:
        """Yield the raw scores (outputs,) of each image, and why it would be referred unanswered ("" when it would not)."""
        for logits, why, _ in self.looked(images):
            yield logits, why

    def looked(self, images: Iterable[Image]) -> Iterator[tuple[np.ndarray, str, Rows]]:
        """Yield the same, and each image as the gate sees it."""
        images, again = tee(images)
        inputs, kept = tee(preprocess.apply(self.recipe, i) for i in images)
        for image, x, (logits, features) in zip(again, kept, self.run_inputs(inputs), strict=True):
            strange, seen = self.look(x, features)
            yield logits, self.doubt(image) or strange, seen

    def doubt(self, image: Image) -> str:
        """Return why this image is none of the model's business, in words; empty when it is.

        Rules on the header and the kind of numbers, before anything is looked at.
        """
        if why := self.other_kind(image):
            return why
        if image.voxels.size and image.voxels.min() == image.voxels.max():
            return "the image has no contrast: every pixel has the same value"
        return preprocess.unread(self.recipe, image)

    def other_kind(self, image: Described) -> str:
        """Return why an image is of another kind than those learned from, by what is known of it without its voxels."""
        known = set(filter(None, self.task.modality.split("+")))
        if known and image.modality and image.modality not in known:
            return f"the image is {image.modality}; this model has learned from {' and '.join(sorted(known))} only"
        for keyword, learned in (("BodyPartExamined", self.task.body_part), ("ViewPosition", self.task.view)):
            says, known = image.attributes.get(keyword, "").strip().upper(), learned.split("+")
            if learned and says and says not in known:
                what = f"view {says}" if keyword == "ViewPosition" else says
                return f"the image says {what}; this model has learned from {' and '.join(known)} only"
        if self.task.unit and image.unit != self.task.unit:
            have, learned = (_UNITS.get(unit, unit) for unit in (image.unit, self.task.unit))
            return f"the image's values are {have}; this model has learned from {learned}"
        if self.task.eight_bit and image.full_range is not None and tuple(image.full_range) != (0, 255):
            return "the image has not been windowed to 256 levels, as all that this model has learned from had been"
        return ""

    def _label(self, p: np.ndarray, between: np.ndarray, i: int, unlike: str) -> tuple[str, str]:
        """Return the decision on one yes-or-no label, and why it is referred."""
        label = self.task.labels[i]
        limit = self.thresholds.get(label, 0.5)
        why = referral.why_label(
            p[i : i + 1],
            between[i : i + 1],
            threshold=limit,
            sets=self.sets.get(label),
            unlike=np.array([bool(unlike)]),
        )[0]
        if why == "too-close":
            low, high = between[i]
            return (
                "refer",
                f"too close to call: the interval {low:.2f}–{high:.2f} holds the operating point {limit:.2f}",
            )
        if why:
            return "refer", unlike or self._possible_told(why, self.sets[label])
        return ("present" if p[i] >= limit else "absent"), ""

    def _level(self, p: np.ndarray, between: np.ndarray, i: int, unlike: str) -> tuple[str, str]:
        """Return the decision on one of several levels, and why the case is referred."""
        sets = self.sets.get(self.task.name)
        why = referral.why_levels(p[None], between[None], sets=sets, unlike=np.array([bool(unlike)]))[0]
        first, second = np.argsort(-p, kind="stable")[:2]
        if why == "too-close":
            return "refer", f"two answers are too close to call: {p[first]:.2f} and {p[second]:.2f}"
        if why:
            return "refer", unlike or self._possible_told(why, sets)
        return ("present" if i == first else "absent"), ""

    @staticmethod
    def _possible_told(why: str, sets: Sets) -> str:
        return (
            f"{referral.REASONS[why]} (sets that hold the right answer in {100 * sets.coverage:g} of 100 cases of each)"
        )


def _again(run: str, workers: int) -> Model:
    return Model.load(run, workers=workers)


_UNITS = {
    "HU": "Hounsfield units",
    "SUVbw": "standardised uptake values",
    "Bq/ml": "becquerels a millilitre",
    "stored": "numbers without a unit",
}


def _gate(path: Path) -> Gate:
    with np.load(path, allow_pickle=False) as held:
        return Gate.of(held)


def recipe_from_json(record: dict[str, Any]) -> Recipe:
    """Return the recipe that ``plan.json`` holds."""
    return Recipe(tuple(Step(s["name"], s["args"]) for s in record["steps"]))


def check_manifest(run: Path) -> dict[str, str]:
    """Compare a run's files with their recorded SHA-256 and return the record.

    Raises
    ------
    RunError, IntegrityError
    """
    if (run / "unfinished").exists():
        raise unfinished(run)
    if not (run / "manifest.json").is_file():
        raise RunError(
            f"{run} is not a finished run", expected="a folder with manifest.json", do="train one with `overread train`"
        )
    manifest = _json(run / "manifest.json").get("files", {})
    for name in (*NEEDED, *manifest):
        if name not in manifest or not (run / name).is_file():
            raise RunError(
                f"the run has no {name}", expected="a complete run", do="train again, or copy the whole folder"
            )
        if sha256(run / name) != manifest[name]:
            raise IntegrityError(
                f"{name} is not the file that was trained",
                expected="the recorded SHA-256",
                do="restore the run from a copy you trust",
            )
    return manifest


def sha256(path: Path) -> str:
    """Return a file's SHA-256 in hexadecimal."""
    with open(path, "rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()


def _card(run: Path) -> ModelCard:
    record = _json(run / "card.json")
    known = {k: v for k, v in record.items() if k in ModelCard.__dataclass_fields__}
    try:
        card = ModelCard(**{**known, "limits": tuple(known.get("limits", ()))})
    except TypeError:
        raise RunError("card.json is not a model card", expected="the card of this run", do="restore it") from None
    if card.fingerprint != _json(run / "manifest.json").get("card"):
        raise IntegrityError(
            "card.json is not the card of this model",
            expected="the recorded fingerprint",
            do="restore the run from a copy you trust",
        )
    return card


def _json(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        raise RunError(f"the run has no {path.name}", expected="a complete run", do="copy the whole folder") from None
    except ValueError:
        raise RunError(
            f"{path.name} is damaged", expected="JSON as `overread train` wrote it", do="restore it"
        ) from None


def _six(value: float) -> float:
    """Six decimals are more than the data hold, and hide the last bits in which processors differ."""
    return float(round(float(value), 6))
