"""The certificate, the shortcuts and the probes say what was found, in every state, and let no text of a file through."""

from __future__ import annotations

import re

from overread.pages.section_certificate import certificate_section, probes_section, shortcuts_section

PAIRS = ("training|tuning", "training|calibration", "training|testing", "tuning|calibration", "tuning|testing",
         "calibration|testing")  # fmt: skip


def estimate(value, low, high, n=200):
    return {"value": value, "low": low, "high": high, "n": n, "n_patients": n, "method": "DeLong"}


def certificate(*, leak=0, known=True, near="looked for", conflicts=()):
    nothing = {"patients": 0, "studies": 0, "exact": 0, "near": 0 if near == "looked for" else None}
    overlaps = {pair: dict(nothing) for pair in PAIRS}
    overlaps["training|testing"]["exact"] = leak
    return {
        "split": "ab" * 32,
        "source": "published column 'part'" if leak else "drawn",
        "unit": "patient",
        "patients_known": known,
        "near_duplicates": near,
        "overlaps": overlaps,
        "overlaps_left": {pair: dict(nothing) for pair in PAIRS},
        "within": {c: {"exact": 1, "near": nothing["near"]} for c in ("training", "tuning", "calibration", "testing")},
        "near_duplicates_kept_together": 3,
        "images": {"training": 100, "testing": 50},
        "excluded": {"testing": {"the same picture stands in training": leak}} if leak else {},
        "label_conflicts": list(conflicts),
    }


def evaluation(found, **more):
    labels = {"mass": {"auroc": estimate(0.9, 0.85, 0.95, 120), "brier": estimate(0.1, 0.05, 0.2, 120)}}
    page = {"leakage": found, "name": "mass", "labels": labels, "reads": 1, "measured_before": "the 1st model"}
    return {**page, "external": False, **more}


def words(html: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html))


def test_a_clean_certificate_says_what_was_looked_for():
    html = certificate_section(evaluation(certificate()))
    assert "Looked for and not found: no patient, no study and no picture, and no near copy of one," in html
    assert html.count("<tr>") == 1 + 6 + 1 + 4 and "read once" in html
    assert "with overlaps" not in html and "Left out" not in html


def test_a_leak_is_named_counted_and_both_figures_are_shown():
    other = {"mass": {"auroc": estimate(0.96, 0.93, 0.98, 150), "brier": estimate(0.05, 0.02, 0.1, 150)}}
    html = certificate_section(evaluation(certificate(leak=30), with_overlaps=other))
    told = words(html)
    assert "Some of what came stands in two cohorts of the published column 'part'" in told.replace("&#x27;", "'")
    assert "training and testing 0 0 30 0" in told and "the same picture stands in training 30" in told
    assert "headline (120 images)" in told and "with overlaps (150 images)" in told
    assert "0.900 (0.850–0.950)" in told and "0.960 (0.930–0.980)" in told


def test_what_is_not_known_is_called_unknown_and_never_nought():
    told = words(certificate_section(evaluation(certificate(known=False, near="not looked for"))))
    assert "Patient identity is unknown" in told and "training and testing unknown 0 0 unknown" in told
    assert "Near copies were not looked for" in told and "no near copy" not in told


def test_conflicts_are_listed_and_many_are_folded():
    one = {"label": "mass", "answers": ["no", "yes"], "images": 2, "studies": ["S1", "S2"], "n_studies": 2}
    html = certificate_section(evaluation(certificate(conflicts=[one])))
    assert "no and yes" in html and "All" not in words(html).split("Label conflicts")[1]
    assert "All 9 conflicts" in certificate_section(evaluation(certificate(conflicts=[one] * 9)))


def test_old_runs_have_no_such_section():
    for section in (certificate_section, shortcuts_section, probes_section):
        assert section({"leakage": {}, "shortcuts": {}, "probes": {}}) == "" and section({}) == ""


def test_shortcuts_are_told_the_loud_ones_first_in_words_and_bold():
    def fact(value, low, *, warns, strange=()):
        return {"auroc": estimate(value, low, value + 0.05), "label": "mass", "warns": warns, "one_sided": list(strange),
                "values": [["PNG", 1.0, 40], ["JPEG", 0.2, 60]]}  # fmt: skip

    loud = fact(0.9, 0.8, warns=True)
    many = {"file format": loud, **{f"fact {i}": fact(0.5, 0.4, warns=False) for i in range(9)}}
    html = shortcuts_section({"shortcuts": many})
    assert "File format clearly tells the label" in html and "<b>0.90 (0.80–0.95)</b>" in html
    assert "2 more facts" in html and html.count("<b>") == 1
    quiet = shortcuts_section({"shortcuts": {"mode": fact(0.55, 0.4, warns=False, strange=[["RGBA", 0.0, 9]])}})
    assert "None clearly tells the label" in quiet and "mode RGBA, 0\u00a0% of 9 images with mass" in quiet


def test_text_from_a_file_is_shown_and_never_run():
    bad = "<script>alert(1)</script>"
    shortcuts = {bad: {"auroc": estimate(0.9, 0.8, 0.95), "label": bad, "warns": True, "values": [[bad, 1.0, 3]]}}
    source = {bad: {"value": bad, "auroc": estimate(0.9, 0.8, 0.95), "warns": True}}
    probes = {
        "cohorts": "tuning",
        "n": 9,
        "inputs": {"plain": {bad: estimate(0.9, 0.8, 1)}},
        "sources": source,
        "words": [bad],
    }
    conflict = {"label": bad, "answers": [bad], "images": 2, "studies": [bad], "n_studies": 1}
    for html in (
        shortcuts_section({"shortcuts": shortcuts}),
        probes_section({"probes": probes}),
        certificate_section(evaluation(certificate(conflicts=[conflict]))),
    ):
        assert bad not in html and "&lt;script&gt;" in html
    assert "<script" not in shortcuts_section({"shortcuts": {f"<b>{bad}": shortcuts[bad]}})


def test_probes_are_told_on_which_cohort_they_ran():
    inputs = {
        k: {"mass": estimate(0.9 - 0.1 * i, 0.5, 0.95)}
        for i, k in enumerate(("plain", "frame", "no centre", "patches"))
    }
    found = {
        "cohorts": "tuning and calibration",
        "n": 70,
        "inputs": inputs,
        "sources": {},
        "words": ["mass: it reads."],
    }
    told = words(probes_section({"probes": found}))
    assert "70 images of the tuning and calibration cohorts (never testing" in told
    assert "the frame alone" in told and "could not be asked: the source does not vary" in told


def test_of_another_archive_the_certificate_speaks_of_that_archive_and_of_what_was_not_asked():
    found = certificate(leak=30, known=False, near="not looked for") | {
        "within": {},
        "not_compared": ["patients could not be compared: x."],
    }
    found["overlaps"] = {pair: row for pair, row in found["overlaps"].items() if pair.endswith("testing")}
    found["overlaps"]["training|testing"]["patients"] = 7
    told = words(certificate_section(evaluation(found, external=True)))
    assert "Some of this archive stands in what the run learned from. It does not count in the figures." in told
    assert "Patients could not be compared: x." in told and "two cohorts" not in told
    assert "training and this archive 7 0 30 unknown" in told and "tuning and this archive unknown 0 0 unknown" in told
    assert "this archive the same picture stands in training 30" in told and "inside" not in told
    own = words(certificate_section(evaluation(certificate(leak=30))))
    assert "this archive" not in own and "Some of what came stands in two cohorts" in own


def test_every_value_of_a_fact_is_told_or_counted():
    values = [[f"v{i}", 0.5, 10 + i] for i in range(5)]
    fact = {"auroc": {"value": 0.5, "low": 0.4, "high": 0.6, "n": 60, "n_patients": 60, "method": "Wilson"},
            "label": "mass", "warns": False}  # fmt: skip
    five = shortcuts_section({"shortcuts": {"age": {**fact, "values": values}}})
    assert "v4: 50\xa0% of 14" in five and "more value" not in five
    nine = [*values, *([f"w{i}", 0.5, 7] for i in range(4))]
    assert "3 more values with 21 images" in shortcuts_section({"shortcuts": {"age": {**fact, "values": nine}}})
