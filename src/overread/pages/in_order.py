"""Put the values of a group in the order in which a person reads them: ages by age, not by their first sign."""

from __future__ import annotations

import re


def natural(value: str) -> tuple[float, str]:
    """Return what a value is sorted by: its first number, "under" before it and "over" after it; words after numbers.

    Examples
    --------
    >>> sorted(["18-39", "80+", "<18", "65-79", "40-64"], key=natural)
    ['<18', '18-39', '40-64', '65-79', '80+']
    >>> sorted(["north", "east", ">7", "7", "10"], key=natural)
    ['7', '>7', '10', 'east', 'north']
    """
    found = re.fullmatch(r"\s*([<>≤≥]?)\s*(\d+(?:\.\d+)?)(.*)", value)
    if not found:
        return float("inf"), value
    sign, number, rest = found.groups()
    return float(number) + {"<": -1e-6, "≤": -1e-6, ">": 1e-6}.get(sign, 0.0), rest
