"""How old somebody is, as widely as a result may be broken down by it: never an exact age."""

from __future__ import annotations

import re

_BANDS = ((18, "<18"), (40, "18-39"), (65, "40-64"), (80, "65-79"))  # ages below which each ends


def age_band(age: str) -> str | None:
    """Return the band an age lies in: <18, 18-39, 40-64, 65-79 or 80+; None where the text is no age.

    Accepts years ("63", "63.5", "63,5", "063Y"), DICOM months, weeks and days ("007M"), and a band that a table gives already;
    one above 89 is widened to 80+, for people that old could be recognised by their age.

    Examples
    --------
    >>> age_band("63"), age_band("007M"), age_band("94Y"), age_band("50-59"), age_band("old")
    ('40-64', '<18', '80+', '50-59', None)

    References
    ----------
    Age String: DICOM PS3.5 6.2. Ages over 89: 45 CFR 164.514(b)(2)(i)(C).
    """
    given = re.fullmatch(r"<?(\d{1,3})(?:\s*[-\u2013]\s*(\d{1,3})|\+)?", age.strip())
    if given and (given[2] or age.strip()[0] == "<" or age.strip()[-1] == "+"):
        return "80+" if max(int(given[1]), int(given[2] or 0)) > 89 else age.strip()
    found = re.fullmatch(r"(\d{1,3}(?:[.,]\d+)?)\s*([YyMmWwDd]?)", age.strip())
    if not found:
        return None
    years = float(found[1].replace(",", ".")) / {"": 1, "y": 1, "m": 12, "w": 52.18, "d": 365.25}[found[2].lower()]
    return next((band for below, band in _BANDS if years < below), "80+")
