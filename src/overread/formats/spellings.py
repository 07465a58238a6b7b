"""One answer written in several ways: capitals, blanks and composed letters make no level of their own."""

from __future__ import annotations

import unicodedata
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence


def plain(word: str) -> str:
    """Return a word as it is compared: without capitals, with single blanks, letters composed.

    Examples
    --------
    >>> plain(" Mild  Disease") == plain("mild disease")
    True
    """
    return " ".join(unicodedata.normalize("NFC", word).casefold().split())


def usual(cells: Sequence[str]) -> dict[str, str]:
    """Return, for each word that is written otherwise elsewhere, how most cells with that answer write it.

    Examples
    --------
    >>> usual(["benign", "Benign", "benign", "malignant"])
    {'Benign': 'benign'}
    """
    written: dict[str, Counter[str]] = defaultdict(Counter)
    for cell in cells:
        written[plain(cell)][cell] += 1
    most = {word: counts.most_common(1)[0][0] for word, counts in written.items()}
    return {cell: most[word] for word, counts in written.items() for cell in counts if cell != most[word]}


def in_one(cells: Mapping[str, str], columns: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    """Return a row with each answer written as most rows write it."""
    return {**cells, **{name: words[cells[name]] for name, words in columns.items() if cells[name] in words}}


def told(columns: Mapping[str, Mapping[str, str]], *, unknown: Collection[str]) -> list[str]:
    """Say which columns wrote an answer in several ways.

    Examples
    --------
    >>> told({"finding": {"Benign": "benign"}}, unknown=())
    ["the column 'finding' of the label table writes 1 of its answers in several ways (Benign, benign): capitals and blanks make no other answer"]
    """
    said = {name: {a: b for a, b in words.items() if a.lower() not in unknown} for name, words in columns.items()}
    return [
        f"the column {name!r} of the label table writes {len(set(words.values()))} of its answers in several ways "
        f"({', '.join(w[:30] for w in sorted({*words, *words.values()})[:12])}): capitals and blanks make no other answer"
        for name, words in said.items()
        if words
    ]
