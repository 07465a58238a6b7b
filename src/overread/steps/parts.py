"""Series that came in parts: the slices of one volume, offered at several times, are several short volumes."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Sequence

from overread.store.entries import Source


def read_with(keys: Sequence[str]) -> str:
    """Return a word for the files that a volume was read with: another one where other files were offered.

    Examples
    --------
    >>> read_with(["a", "b"]) == read_with(["b", "a"]) != read_with(["a"])
    True
    """
    return hashlib.sha256("\n".join(sorted(keys)).encode()).hexdigest()[:8]


def in_parts(sources: Iterable[Source]) -> list[str]:
    """Say how many series were read in parts that hold other images than one another: a copy is no part.

    Examples
    --------
    >>> lower, upper = ({"series": "E1", "with": read_with([name])} for name in "ab")
    >>> print(*in_parts([Source("a", "", "image a", lower), Source("b", "", "image b", upper)]))
    1 series came in parts, at several times: each part is an image of its own; collect all of its folders at once, into a new archive
    >>> in_parts([Source("a", "", "image a", lower), Source("b", "", "image a", upper)])
    []
    """
    parts: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for source in sources:
        if "with" in source.own:
            parts[source.own["series"]][source.own["with"]].add(source.image)
    torn = sum(len({frozenset(images) for images in of.values()}) > 1 for of in parts.values() if len(of) > 1)
    if not torn:
        return []
    whose = "its" if torn == 1 else "their"
    what = "each part is an image of its own"
    return [
        f"{torn:,} series came in parts, at several times: {what}; collect all of {whose} folders at once, into a new archive"
    ]
