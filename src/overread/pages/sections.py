"""The parts of a report that other rooms write: what leaked, what is easy, what a heat-map is worth."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from overread.pages import section_corruptions, section_distil, section_maps, section_search
from overread.pages.section_certificate import certificate_section, probes_section, shortcuts_section

Section = Callable[[Mapping[str, Any]], str]

SECTIONS: tuple[tuple[str, str, Section], ...] = (
    ("search", "What was tried", section_search.section),
    ("distil", "How small it may be", section_distil.section),
    ("certificate", "Leakage certificate", certificate_section),
    ("shortcuts", "Shortcuts", shortcuts_section),
    ("probes", "What it reads", probes_section),
    ("worse", "When images get worse", section_corruptions.section),
    ("heat-maps", "Heat-maps", section_maps.section),
)
"""Id of the section, its words in the table of contents, and what writes it ("" where there is nothing to say)."""


def sections_of(evaluation: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return the sections that have something to say, in their order, as HTML."""
    made = [{"id": name, "words": words, "html": write(evaluation)} for name, words, write in SECTIONS]
    return [section for section in made if section["html"]]
