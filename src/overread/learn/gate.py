"""The gate before an answer: does this image look like those the network has learned from?

Three distances from the training images, each with a limit learned on the calibration cohort: of the look (a thumbnail
of what the network is shown), of the features (what the network makes of it), of the quality (brightness, contrast,
sharpness, noise, clipping). A brain shown to a model of chests fails the first; a blurred chest the last.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from overread.stats import exchangeability, novelty
from overread.stats.novelty import Novelty
from overread.stats.resample import Who

THUMBNAIL = {2: 16, 3: 8}
"""Side of the thumbnail, for pictures and volumes."""

Rows = Mapping[str, np.ndarray]
"""One image as a row of numbers for each kind of distance."""

MOST = 1000
"""Training images that the spread is learned from, evenly chosen: more change it no more."""

_QUALITY = ("brightness", "contrast", "sharpness", "noise", "share of darkest values", "share of brightest values")
_WORDS = {
    "look": "it looks unlike the training images",
    "features": "the network sees in it what it did not see in the training images",
    "quality": "its quality is unlike that of the training images",
}


@dataclass(frozen=True)
class Gate:
    """What is known of the training images, by kind of distance."""

    known: Mapping[str, Novelty]

    def why(self, x: np.ndarray, features: np.ndarray) -> str:
        """Return why an image is not answered, in words with the numbers; empty when it may be."""
        return self.look(x, features)[0]

    def look(self, x: np.ndarray, features: np.ndarray) -> tuple[str, Rows]:
        """Return the same, and the image as `rows`.

        Parameters
        ----------
        x : ndarray, (rows, columns, channels) or (slices, rows, columns, channels)
            The network's input.
        features : ndarray, (rows, columns, maps) or (slices, rows, columns, maps)
            The network's last feature maps of it.
        """
        found = rows(x, features)
        kind = self.kind_of(found)
        if not kind:
            return "", found
        like = self.known[kind]
        far = float(like.distance(found[kind])[0]) / like.limit
        which = f" ({_QUALITY[_furthest(like, found[kind])]})" if kind == "quality" else ""
        return f"{_WORDS[kind]}{which}: {far:.1f} times as far from them as allowed", found

    def kind_of(self, row: Mapping[str, np.ndarray]) -> str:
        """Return which distance is too large for one image's `rows`; empty when none is."""
        return next((kind for kind, like in self.known.items() if like.distance(row[kind])[0] > like.limit), "")

    def compared(self, found: Sequence[Rows], *, of: str = "patients") -> dict[str, Any] | None:
        """Return whether a batch of images, one of each ``of``, comes as the calibration cohort's did.

        See `overread.stats.exchangeability.compared`; None where there are too few to say.
        """
        held = {kind: like.reference for kind, like in self.known.items() if like.reference is not None}
        if not found:
            return None
        moved = {kind: self.known[kind].moved(np.stack([row[kind] for row in found])) for kind in held}
        return exchangeability.compared(held, moved, of=of)

    def arrays(self) -> dict[str, np.ndarray]:
        """Return what has to be kept in ``gate.npz``."""
        kept: dict[str, np.ndarray] = {"kinds": np.array(sorted(self.known))}
        for kind, like in self.known.items():
            kept |= like.arrays(kind)
        return kept

    @classmethod
    def of(cls, held: Mapping[str, np.ndarray]) -> Gate:
        """Read ``gate.npz``."""
        return cls({str(kind): Novelty.of(held, str(kind)) for kind in held["kinds"]})

    def told(self) -> dict[str, Any]:
        """Return what the gate promises, as the report tells it.

        Returns
        -------
        dict
            patients (of calibration), asked and promised (the share of new patients like them who may have an image
            refused, by all kinds together; promised is None where an earlier version promised nothing), and limits by
            kind, None where nothing is refused. Empty where there is no gate.
        """
        if not self.known:
            return {}
        parts = list(self.known.values())
        shares = [like.promised for like in parts if like.promised is not None]
        return {
            "patients": parts[0].n,
            "asked": novelty.FALSE_ALARMS,
            "promised": round(sum(shares), 12) if len(shares) == len(parts) else None,
            "limits": {
                kind: round(like.limit, 4) if np.isfinite(like.limit) else None for kind, like in self.known.items()
            },
        }


def rows(x: np.ndarray, features: np.ndarray) -> dict[str, np.ndarray]:
    """Return one image as a row of numbers for each kind of distance.

    Examples
    --------
    >>> {kind: row.shape for kind, row in rows(np.zeros((64, 48, 1)), np.zeros((8, 8, 96))).items()}
    {'look': (256,), 'features': (96,), 'quality': (6,)}
    """
    grey = np.asarray(x, np.float32).mean(axis=-1)
    look = _thumbnail(grey, THUMBNAIL[grey.ndim]).ravel()
    if x.shape[-1] > 1:  # colour is one number a channel: what it is, not where
        look = np.r_[look, np.asarray(x, np.float32).reshape(-1, x.shape[-1]).mean(axis=0)]
    return {"look": look, "features": features.reshape(-1, features.shape[-1]).mean(axis=0), "quality": _quality(grey)}


def learn(
    training: Mapping[str, np.ndarray],
    calibration: Mapping[str, np.ndarray],
    *,
    one_each: Sequence[int] | None = None,
    patients: Sequence[Who] | None = None,
) -> Gate:
    """Learn the gate from the rows of both cohorts: {kind: (n, d)}.

    The stated share of false alarms is divided among the kinds, so that all together keep it. ``one_each`` holds one
    row of each calibration patient, with which batches of new images are compared (`Gate.compared`); ``patients`` whose
    each calibration row is: of a patient with several images the furthest counts.
    """
    how = {"false_alarms": novelty.FALSE_ALARMS / len(training), "one_each": one_each, "patients": patients}
    made = {kind: novelty.fit(training[kind], calibration[kind], **how) for kind in training}
    return Gate({kind: like for kind, like in made.items() if like is not None})


def _thumbnail(grey: np.ndarray, side: int) -> np.ndarray:
    """Return the means of ``side`` blocks along each axis; of shorter axes each value is a block."""
    for axis in range(grey.ndim):
        edges = np.linspace(0, grey.shape[axis], min(side, grey.shape[axis]) + 1).astype(int)
        sums = np.add.reduceat(grey, edges[:-1], axis=axis)
        shape = [1] * grey.ndim
        shape[axis] = -1
        grey = sums / np.diff(edges).reshape(shape)
    return grey


def _quality(grey: np.ndarray) -> np.ndarray:
    """Return brightness, contrast, sharpness, noise, and how much lies at both ends of the values."""
    steps = [np.abs(np.diff(grey, axis=axis)) for axis in range(grey.ndim) if grey.shape[axis] > 1]
    bends = [np.abs(np.diff(grey, 2, axis=axis)) for axis in range(grey.ndim) if grey.shape[axis] > 2]
    low, high, spread = float(grey.min()), float(grey.max()), float(grey.std())
    near = 0.01 * max(high - low, 1e-6)
    sharp = np.mean([s.mean() for s in steps]) if steps else 0.0
    noise = np.median(np.concatenate([b.ravel() for b in bends])) if bends else 0.0
    small = 1e-4
    return np.array(
        [
            grey.mean(),
            np.log(spread + small),
            np.log(sharp / (spread + small) + small),
            np.log(noise / (spread + small) + small),
            (grey <= low + near).mean(),
            (grey >= high - near).mean(),
        ]
    )


def _furthest(like: Novelty, row: np.ndarray) -> int:
    """Return the number of the quality that lies furthest from its mean, in its own spread."""
    spread = np.linalg.norm(np.linalg.pinv(like.whitening), axis=0)
    return int(np.argmax(np.abs(row - like.mean) / np.maximum(spread, 1e-12)))
