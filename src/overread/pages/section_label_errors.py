"""The report's part on labels that a reader should look at again, each with its picture and the reason."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

LEAD = (
    "Each of these cases is labelled one way and read another way by two witnesses that have not heard its label: lines on "
    "features learned from photographs, fitted on other patients only, and the cases of other patients that look most "
    "alike. Some labels are wrong; some cases are only hard. Nothing was changed, and testing cases were left alone: a "
    "label that is changed because a model doubts it would make the model look better than it is."
)


def section(found: Mapping[str, Any]) -> str:
    """Return the section as HTML; "" where nobody has asked for doubts.

    Parameters
    ----------
    found : mapping
        ``label_errors.json``, as `steps.label_errors.doubts` keeps it.
    """
    if not found.get("labels"):
        return ""
    parts = "".join(_label(each, found.get("pictures", {})) for each in found["labels"])
    told = f"{found['told']}. The whole list is label_errors.csv."
    return (
        f'<section id="label-errors"><h2>Labels to look at again</h2><p>{escape(LEAD)}</p>{parts}'
        f'<p class="quiet">{escape(told)} Features: {escape(found["features"])}.</p></section>'
    )


def _label(each: Mapping[str, Any], pictures: Mapping[str, str]) -> str:
    count = f"{len(each['suspects']):,} of {each['cases']:,}"
    head = f'<h3>{escape(each["label"])} <span class="count">{count} labels</span></h3>'
    if each["why"]:
        return f"{head}<p>{escape(each['why'])}</p>"
    a = each["auroc"]
    quiet = f"Without its own label a case is read with an AUROC of {a['value']:.3f} ({a['low']:.3f}–{a['high']:.3f})."
    if not each["suspects"]:
        return f'{head}<p class="quiet">{escape(quiet)}</p>'
    shown = [s for s in each["suspects"] if s["image"] in pictures]
    rows = "".join(_row(s, pictures[s["image"]]) for s in shown)
    return (
        f'{head}<div class="scroll"><table><caption>{escape(quiet)}'
        + (f" The {len(shown)} most suspicious." if len(shown) < len(each["suspects"]) else "")
        + '</caption><thead><tr><th scope="col">image</th><th scope="col">labelled</th><th scope="col">expected</th>'
        f'<th scope="col">why</th><th scope="col">study</th></tr></thead><tbody>{rows}</tbody></table></div>'
    )


def _row(s: Mapping[str, Any], picture: str) -> str:
    alt = f"A {s['cohort']} case labelled {s['given']}, expected {s['expected']}"
    return (
        f'<tr><td><img src="{escape(picture)}" alt="{escape(alt)}" width="96"></td><td>{escape(s["given"])}</td>'
        f"<td>{escape(s['expected'])}</td><td>{escape(s['reason'])}</td>"
        f"<td><code style='white-space:nowrap'>{escape(s['study'])}</code><br>{escape(s['cohort'])}</td></tr>"
    )
