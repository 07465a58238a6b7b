"""DejaVu Sans, shipped so that a picture says the same everywhere: it has the dash and letters beyond Latin ones.

Version 2.37, unchanged; its licence (Bitstream Vera's, with public-domain additions) is in LICENSE_DEJAVU beside it.
"""

from __future__ import annotations

from pathlib import Path


def path(bold: bool = False) -> Path:
    """Return where DejaVu Sans lies, a TrueType file.

    Examples
    --------
    >>> path(bold=True).name
    'DejaVuSans-Bold.ttf'
    """
    return Path(__file__).with_name("DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf")
