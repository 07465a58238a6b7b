"""Where files lie: a file's name as text, and whether it is still there."""

from __future__ import annotations

import os
import re

_WRITTEN_OUT = re.compile(r"\\udc([89a-f][0-9a-f])")


def storable(name: str) -> str:
    """Return a file's name as text that can be stored and printed: bytes of it that are no UTF-8 are written out.

    Examples
    --------
    >>> storable("Röntgen.png"), storable(b"R\\xf6ntgen.png".decode("utf-8", "surrogateescape"))
    ('Röntgen.png', 'R\\\\udcf6ntgen.png')
    """
    return name.encode("utf-8", "backslashreplace").decode("utf-8")


def lies_there(stored: str) -> bool:
    """True where a file of this stored name lies on this disk, or may lie elsewhere (``s3://…``), where nobody can look.

    Examples
    --------
    >>> lies_there("/nowhere/a.png"), lies_there("s3://bucket/a.png")
    (False, True)
    """
    return "://" in stored or os.path.lexists(_WRITTEN_OUT.sub(lambda byte: chr(0xDC00 + int(byte[1], 16)), stored))
