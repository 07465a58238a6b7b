"""The report's part on heat-maps: which kinds passed their tests on this model, and what each test found."""

from __future__ import annotations

import re
from collections.abc import Mapping
from html import escape
from typing import Any

from overread.stats.maps import CAUTION, FEWEST_POINTED, pointing_words

HERE = "heat-maps"
"""The id of the section."""

TESTS = {
    "learned": "Has the network learned anything?",
    "randomisation": "Does the map depend on what was learned?",
    "deletion": "Does covering the hottest places lower the score?",
    "insertion": "Does showing the hottest places raise the score?",
    "stability": "Does the map stay when the image changes a little?",
    "border": "Does it lie in the image, not on its border?",
    "pointing": "Does it point at lesions whose place is known?",
}


def section(evaluation: Mapping[str, Any]) -> str:
    """Return the section as HTML; "" for a report that knows of no heat-map.

    Parameters
    ----------
    evaluation : mapping
        ``heatmaps``: method → verdict, as `stats.maps.verdict` returns it.
    """
    verdicts = evaluation.get("heatmaps") or {}
    if not verdicts:
        return ""
    lead = (
        f"{CAUTION} A kind of map is shown in colour only after it has passed every test below on this model; one that "
        "has not is hatched in grey. The tests ask whether a map tells of this network; none of them asks whether the "
        "network is right."
    )
    parts = [_method(name, verdict) for name, verdict in verdicts.items()]
    told = f"<h2>Whether its heat-maps may be believed</h2><p>{escape(lead)}</p>{''.join(parts)}"
    return f'<section id="{HERE}">{told}</section>'


def _method(name: str, verdict: Mapping[str, Any]) -> str:
    """Return the account of one kind of map."""
    word = "passed" if verdict["passed"] else "did not pass" if verdict.get("tested") else "not tested"
    head = f'<h3>{escape(name)}: {word} <span class="count">{verdict["cases"]:,} testing cases</span></h3>'
    if not verdict["checks"]:
        return f'{head}<p class="quiet">{escape(verdict["why"])}</p>'
    rows = "".join(
        f'<tr><th scope="row">{escape(TESTS[c["name"]])}</th><td>{"yes" if c["passed"] else "<strong>no</strong>"}</td>'
        f"<td>{escape(c['told'])}</td></tr>"
        for c in verdict["checks"]
    )
    caption = f"Figures with 95 % intervals over {_whom(verdict)}; scores are logits.{_deeper(verdict)}"
    return (
        f'{head}<div class="scroll"><table class="map-tests"><caption>{caption}</caption><thead><tr>'
        '<th scope="col">test</th><th scope="col">passed</th><th scope="col">what was found</th></tr></thead>'
        f"<tbody>{rows}</tbody></table></div>{_few_lesions(verdict)}"
    )


def _whom(verdict: Mapping[str, Any]) -> str:
    """Say what the intervals are over: patients only where all of them are known."""
    figure = verdict.get("stability") or {}
    if not figure or figure.get("n_patients") is not None:
        return "patients"
    units = re.search(r"\b(images|patients or studies)\b", figure.get("method") or "")
    return f"{units[0] if units else 'images'} (not all patients are known)"


def _few_lesions(verdict: Mapping[str, Any]) -> str:
    """Tell a pointing game on too few images to be a test."""
    if "pointing" not in verdict or any(c["name"] == "pointing" for c in verdict["checks"]):
        return ""
    n = verdict["pointing"]["hits"]["n"]
    told = f"{TESTS['pointing']} {pointing_words(verdict['pointing'])} On {n:,} images: from {FEWEST_POINTED} on it is a test."
    return f'<p class="quiet">{escape(told)}</p>'


def _deeper(verdict: Mapping[str, Any]) -> str:
    """Say what became of the map as more of the network was redrawn."""
    alike = verdict.get("cascade", {})
    words = [
        f"{alike[k]['value']:.2f} with {told}"
        for k, told in _DEPTHS.items()
        if k in alike and alike[k]["value"] is not None
    ]
    return f" Rank correlation with the map of a redrawn network: {', '.join(words)}." if words else ""


_DEPTHS = {"head": "its head redrawn", "half": "half of its layers", "all": "all"}
