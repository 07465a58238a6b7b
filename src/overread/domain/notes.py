"""What a reader changed, left out or doubts: a code that stands in the list of reasons, and a sentence.

A note is a plain string, ``code: sentence``, so that it survives every file, database and process as it is.
"""

from __future__ import annotations

import re

FREE = "remark"
"""The code of a sentence that was written without one."""

_CODED = re.compile(r"([a-z][a-z0-9]*(?:-[a-z0-9]+)*): (.+)", re.DOTALL)


def noted(code: str, sentence: str) -> str:
    """Return a note: one word that machines count and ``docs/reasons.md`` explains, and a sentence for a person.

    Parameters
    ----------
    code : str
        Small letters, digits and hyphens.
    sentence : str
        What was done, with the numbers; never a name, an identifier or a date.

    Raises
    ------
    ValueError
        When the code is not written so, or nothing is said.

    Examples
    --------
    >>> noted("inverted", "MONOCHROME1 inverted to MONOCHROME2")
    'inverted: MONOCHROME1 inverted to MONOCHROME2'
    """
    written = f"{code}: {sentence}"
    if _CODED.fullmatch(written) is None or code_of(written) != code:
        raise ValueError(f"the code {code!r} of a note, expected small letters, digits and hyphens, then a sentence")
    return written


def code_of(note: str) -> str:
    """Return a note's code; ``remark`` for a free sentence.

    Examples
    --------
    >>> code_of("inverted: MONOCHROME1 inverted to MONOCHROME2"), code_of("every pixel has the same value")
    ('inverted', 'remark')
    """
    coded = _CODED.fullmatch(note)
    return coded.group(1) if coded else FREE


def sentence_of(note: str) -> str:
    """Return what a note says to a person, without its code.

    Examples
    --------
    >>> sentence_of("inverted: MONOCHROME1 inverted to MONOCHROME2")
    'MONOCHROME1 inverted to MONOCHROME2'
    """
    coded = _CODED.fullmatch(note)
    return coded.group(2) if coded else note
