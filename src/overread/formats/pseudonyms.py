"""Names that stand for names: keyed, consistent, and of no use to anyone without the key."""

from __future__ import annotations

import datetime
import hmac
from typing import Literal

from overread.errors import IdentityRefused


def _mac(purpose: str, value: str, key: bytes) -> bytes:
    if len(key) < 16:
        raise IdentityRefused(f"a key of {len(key)} bytes", expected="at least 16 secret bytes", do="draw a new key")
    return hmac.digest(key, f"{purpose}\0{value}".encode(), "sha256")


def pseudonym(kind: Literal["P", "S", "E"], value: str, *, key: bytes) -> str:
    """Return the name a patient, study or series goes by once the real one is gone.

    Parameters
    ----------
    kind : {"P", "S", "E"}
        Patient (of a Patient ID), Study (of a Study Instance UID), sEries (of a Series Instance UID).
    value : str
        The real identifier; spaces and NULs around it do not count (DICOM pads with them).
    key : bytes
        Secret, 16 bytes or more. Without it nobody can test a guess: a plain hash of a Patient ID is found by
        trying all numbers.

    Returns
    -------
    str
        ``kind`` and 12 hexadecimal digits of an HMAC-SHA-256: equal for equal values under one key.

    Examples
    --------
    >>> a = pseudonym("P", "4711", key=bytes(32))
    >>> a, a == pseudonym("P", "4711 ", key=bytes(32)), a == pseudonym("P", "4711", key=bytes(31) + b"k")
    ('P9aa2c5d1a497', True, False)
    """
    return kind + _mac(kind, value.strip(" \0"), key)[:6].hex()


def uid(value: str, *, key: bytes) -> str:
    """Return the UID that stands for ``value`` wherever it appears: same in, same out, and no way back.

    Examples
    --------
    >>> uid("1.2.840.1", key=bytes(32)).startswith("2.25."), len(uid("1.2.840.1", key=bytes(32))) <= 64
    (True, True)

    References
    ----------
    DICOM PS3.5 B.2 (UUID derived UIDs).
    """
    number = bytearray(_mac("uid", value.strip(" \0"), key)[:16])
    number[6], number[8] = number[6] & 0x0F | 0x80, number[8] & 0x3F | 0x80  # RFC 9562: version 8, custom
    return f"2.25.{int.from_bytes(number, 'big')}"


def shift_days(patient: str, *, key: bytes) -> int:
    """Return by how many days a patient's dates go back: 1 to 3650, the same for all of them.

    Examples
    --------
    >>> 1 <= shift_days("4711", key=bytes(32)) <= 3650
    True
    """
    return 1 + int.from_bytes(_mac("days", patient.strip(" \0"), key)[:8], "big") % 3650


def shifted(day: str, days: int) -> str | None:
    """Return a DICOM date (YYYYMMDD) moved back by ``days``, or None when there is no such day.

    Examples
    --------
    >>> shifted("20240301", 1), shifted("20240230", 1)
    ('20240229', None)
    """
    try:
        back = datetime.date(int(day[:4]), int(day[4:6]), int(day[6:8])) - datetime.timedelta(days=days)
    except (ValueError, OverflowError):
        return None  # no such day
    return f"{back.year:04d}{back.month:02d}{back.day:02d}"
