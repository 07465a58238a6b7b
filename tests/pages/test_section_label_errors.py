"""The report's part on doubted labels."""

from __future__ import annotations

from html.parser import HTMLParser

from overread.pages.section_label_errors import section

FOUND = {
    "told": "90 of 90 images looked at",
    "features": "a start <x>",
    "pictures": {"aa": "data:image/jpeg;base64,AAAA"},
    "labels": [
        {
            "label": "mass <b>", "cases": 90, "auroc": {"value": 0.91, "low": 0.85, "high": 0.95}, "why": "",
            "suspects": [
                {"image": i, "study": "S1", "cohort": "training", "given": "no", "expected": "yes", "reason": "a & b"}
                for i in ("aa", "bb")
            ],
        },
        {"label": "x", "cases": 40, "auroc": {"value": 0.5, "low": 0.4, "high": 0.6}, "why": "No label is doubted: 0.5", "suspects": []},
    ],
}  # fmt: skip


def test_it_says_what_is_doubted_and_what_is_not():
    html = section(FOUND)
    HTMLParser().feed(html)
    assert "mass &lt;b&gt;" in html and "a start &lt;x&gt;" in html and "a &amp; b" in html
    assert "2 of 90 labels" in html and "The 1 most suspicious" in html and "0.910 (0.850–0.950)" in html
    assert "No label is doubted: 0.5" in html and html.count("<img") == 1 and "testing cases were left alone" in html


def test_nothing_asked_nothing_said():
    assert section({}) == ""
