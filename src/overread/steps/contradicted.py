"""Pictures that came twice with two answers: which labels an archive holds as unknown because its sources contradict themselves.

``ARCHIVE/contradicted.json`` holds content hashes and answers, no name; `collect` writes it, the leakage certificate tells it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from overread.domain import Study
from overread.store import findings
from overread.store.archive import Archive

NAME = "contradicted.json"

Contradicted = Mapping[str, Mapping[str, Sequence[str]]]
"""Content hash → label → the answers that came, in words."""


def keep_contradicted(archive: Archive, found: Contradicted) -> None:
    """Write which answers came to one picture and contradict each other; no file where none do."""
    findings.keep(
        archive.path / NAME, {image: {n: list(w) for n, w in labels.items()} for image, labels in found.items()}
    )


def read_contradicted(archive: Archive) -> Contradicted:
    """Return what `collect` wrote; empty for an archive without contradictions, or one collected before they were kept.

    Raises
    ------
    ArchiveError
        When the file is damaged.
    """
    return findings.read(archive.path / NAME)


def conflicts_of(studies: Iterable[Study], labels: Sequence[str], found: Contradicted) -> list[dict[str, Any]]:
    """Return the label conflicts of pictures that came twice, as the certificate tells those of near copies.

    Examples
    --------
    >>> twice = [Study("S1", ("a",), labels={"mass": None}), Study("S1-2", ("a",), labels={"mass": None})]
    >>> conflicts_of(twice, ["mass"], {"a": {"mass": ["no", "yes"]}})
    [{'label': 'mass', 'answers': ['no', 'yes'], 'images': ['a'], 'studies': ['S1', 'S1-2']}]
    """
    holding: dict[str, list[str]] = {}
    for study in studies if found else ():
        for image in study.images:
            if image in found:
                holding.setdefault(image, []).append(study.pseudonym)
    return [
        {"label": name, "answers": sorted(found[image][name]), "images": [image], "studies": sorted(holding[image])}
        for name in labels
        for image in sorted(holding)
        if name in found[image]
    ]
