"""A probability as a person counts it: so many of a hundred, and never a certainty nobody has.

References
----------
Gigerenzer & Hoffrage 1995, doi:10.1037/0033-295X.102.4.684 (people reason better with 83 of 100 than with 0.83).
"""

from __future__ import annotations

import math


def of_hundred(share: float) -> str:
    """Return a probability in words; never "0" or "100", which nobody can know.

    Examples
    --------
    >>> of_hundred(.834), of_hundred(.002), of_hundred(.998)
    ('about 83', 'fewer than 1', 'more than 99')
    """
    if share < 0.01:
        return "fewer than 1"
    if share > 0.99:
        return "more than 99"
    return f"about {min(99, max(1, round(100 * share)))}"


def outward(low: float, high: float, *, of: int = 100) -> tuple[int, int]:
    """Return an interval in whole numbers of a hundred (or thousand), rounded outward: it promises no more than it knows.

    Examples
    --------
    >>> outward(.742, .901), outward(.9967, .9999)
    ((74, 91), (99, 100))
    >>> outward(.9967, .9981, of=1000)
    (996, 999)
    """
    return math.floor(round(of * low, 6)), math.ceil(round(of * high, 6))
