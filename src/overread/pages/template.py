"""A page's template, filled: one HTML file that fetches nothing, with its style in it."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined


def filled(name: str, page: Mapping[str, Any], *, styles: tuple[str, ...] = ("report.css",)) -> str:
    """Return the page; text is escaped, and what a template asks for and nobody gave is an error, never a blank.

    Parameters
    ----------
    name : str
        Of the template, in ``templates/``.
    page : mapping
        What the template asks for, but for ``style``.
    styles : tuple of str
        Style sheets, in their order.
    """
    folder = resources.files("overread.pages").joinpath("templates")
    shelf = Environment(
        loader=PackageLoader("overread.pages"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    style = "".join(folder.joinpath(sheet).read_text("utf-8") for sheet in styles)
    return shelf.get_template(name).render(page, style=style)
