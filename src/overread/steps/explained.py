"""The maps that were written, one an image, label and method, and what is said of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from overread.domain.canonical import plain
from overread.learn import saliency
from overread.stats.maps import CAUTION
from overread.stats.resample import Who


@dataclass(frozen=True)
class Explained:
    """The maps that were written, one an image, label and method, and every file refused with its reason.

    Parameters
    ----------
    out : Path
    maps : tuple of dict
    refused : tuple of (file, code, reason)
    verdicts : dict of str to dict
        By method: whether its maps passed their tests, and why not (`stats.maps.verdict`).
    games : dict of str to dict
        By method: the pointing game, where the lesions were known (``told`` in words, ``cases``, ``hits_of_cases``,
        whether the method was ``tested``, and the figures).
    patients : dict of str to str, Nameless or None
        By file: whose image it is, for intervals over patients. It holds identifiers, and is never written or shown.
    """

    out: Path
    maps: tuple[dict[str, Any], ...]
    refused: tuple[tuple[str, str, str], ...]
    verdicts: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    games: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    patients: Mapping[str, Who] = field(default_factory=dict, repr=False)

    def to_json(self) -> dict[str, Any]:
        """Return the list of maps for ``--json``."""
        return {
            "maps": list(self.maps),
            "refused": [{"file": f, "code": c, "reason": r} for f, c, r in self.refused],
            "tests": plain(self.verdicts),
            "pointing": plain(self.games),
            "caution": CAUTION,
        }

    @property
    def came_to_nothing(self) -> bool:
        """True when no map could be drawn."""
        return not self.maps

    def __str__(self) -> str:
        lines = [f"{len(self.maps)} heat-maps in {self.out}; {len(self.refused)} files refused"]
        lines += [f"  refused {f}: {why}" for f, _, why in self.refused[:10]]
        for method in dict.fromkeys(told["method"] for told in self.maps):
            words = saliency.failing(self.verdicts, method)
            why = self.verdicts.get(method, {}).get("why", "Test it with --test.")
            lines.append(f"  {method}: {f'{words}, shown in grey' if words else 'passed its tests'}. {why}")
            if method in self.games:
                lines.append(f"    {self.games[method]['told']}")
        return "\n".join([*lines, CAUTION])
