"""The report written again, without reading the testing cohort again; and printed by a real browser."""

from __future__ import annotations

import json
import re
import shutil
import stat
import subprocess
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image as Picture
from small_run import NOW, fill, small_run, spots

from overread.domain.human import HUMAN
from overread.errors import OverreadError, RunError
from overread.steps.answers import template
from overread.steps.evaluate import evaluate
from overread.steps.reads import NAME as READS
from overread.steps.report import BROWSERS, find_browser, print_page, report
from overread.store.journal import Journal

ANSWERS = {key: f"said of {item.words} <b>by us</b>" for key, item in HUMAN.items() if item.needed}


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A small run, evaluated once."""
    home = tmp_path_factory.mktemp("report")
    pictures, there = spots(240, seed=1)
    with fill(home / "archive", pictures, [{"spot": bool(t)} for t in there]) as archive:
        run = small_run(home, archive, "spot")
    evaluate(run, now=NOW)
    return run


def test_what_a_human_writes_takes_the_stamp_away_and_is_escaped(done):
    before = (
        [r for r in Journal(done / READS).records() if r["kind"] != "page"],
        (done / "metrics.json").read_bytes(),
        (done / "manifest.json").read_bytes(),
    )
    first = (done / "report.html").read_text()
    assert "INCOMPLETE" in first and "INCOMPLETE" in (done / "card.md").read_text()
    assert len(report(done).missing) == len(ANSWERS) and (done / "report.html").read_text() == first
    (done / "answers.toml").write_text(template(ANSWERS))
    told = report(done)
    page = (done / "report.html").read_text()
    assert told.missing == () and "INCOMPLETE" not in page and "INCOMPLETE" not in (done / "card.md").read_text()
    assert "said of users &lt;b&gt;by us&lt;/b&gt;" in page and "<b>by us" not in page
    assert "said of users" in (done / "card.xml").read_text() and "said of users" in (done / "card.md").read_text()
    after = (
        [r for r in Journal(done / READS).records() if r["kind"] != "page"],
        (done / "metrics.json").read_bytes(),
        (done / "manifest.json").read_bytes(),
    )
    assert before == after  # nothing was read or measured, and nothing sealed was touched
    (done / "answers.toml").write_text(template({**ANSWERS, "users": " "}))
    assert report(done).missing == ("users",) and "INCOMPLETE" in (done / "report.html").read_text()


def test_a_run_that_was_not_evaluated_by_this_version_is_refused(done, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(done, copy)
    kept = json.loads((copy / "report.json").read_text())
    (copy / "report.json").write_text(json.dumps({**kept, "overread": "0.0.1"}))
    with pytest.raises(RunError, match=r"overread 0\.0\.1"):
        report(copy)
    (copy / "report.json").unlink()
    with pytest.raises(RunError, match="overread evaluate"):
        report(copy)


def test_without_a_browser_one_line_says_what_to_do(done, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("overread.steps.report.PLACES", ())
    with pytest.raises(OverreadError, match="install Chromium"):
        report(done, pdf=tmp_path / "r.pdf")
    with pytest.raises(OverreadError, match="no browser 'netscape'"):
        find_browser("netscape")
    assert not (tmp_path / "r.pdf").exists()


def test_a_browser_that_makes_nothing_is_told(tmp_path):
    bad = tmp_path / "chromium"
    bad.write_text("#!/bin/sh\nexit 7\n")
    bad.chmod(bad.stat().st_mode | stat.S_IXUSR)
    with pytest.raises(OverreadError, match="made no PDF: it ended with 7"):
        print_page("<p>x", tmp_path / "r.pdf", browser=str(bad))


def test_a_real_browser_prints_every_section_and_numbers_the_pages(done, tmp_path):
    if not any(shutil.which(name) for name in BROWSERS):
        pytest.skip("no Chromium on this machine")
    if not shutil.which("pdftotext"):
        pytest.skip("no pdftotext on this machine")
    told = report(done, pdf=tmp_path / "r.pdf")
    assert told.pdf == tmp_path / "r.pdf"
    text = subprocess.run(["pdftotext", "-layout", told.pdf, "-"], capture_output=True, text=True, check=True).stdout
    pages, numbers = text.count("\f"), text.replace(" ", "")
    assert pages >= 3 and f"1/{pages}\n" in numbers and f"{pages}/{pages}\n" in numbers
    for words in ("What was asked", "Forty things a report must say", "false alarms allowed", "act from"):
        assert words in text  # the folded tables are open on paper
    if shutil.which("pdftoppm"):
        subprocess.run(["pdftoppm", "-r", "40", "-gray", told.pdf, tmp_path / "page"], check=True)
        ends = [empty_end(Picture.open(file)) for file in sorted(tmp_path.glob("page-*.pgm"))]
        assert len(ends) == pages and max(ends[:-1]) < 1 / 3  # no section begins on a new page of its own


def empty_end(page: Picture.Image) -> float:
    """Return how much of a page, between its margins, is white below its last line."""
    grey = np.asarray(page)
    body = grey[int(0.05 * len(grey)) : int(0.937 * len(grey))]  # without the line at the foot
    return 1 - (np.flatnonzero((body < 225).any(axis=1)).max(initial=-1) + 1) / len(body)


def test_twin_a_page_half_empty_is_measured_so():
    page = np.full((1000, 700), 255, np.uint8)
    assert empty_end(Picture.fromarray(page)) == 1
    page[:500] = 0
    assert 0.45 < empty_end(Picture.fromarray(page)) < 0.55


class Read(HTMLParser):
    """Reads a page as a screen reader does: language, headings in order, words for pictures, names of tables' columns."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.wrong: list[str] = []
        self.level, self.ids, self.in_plot, self.open = 0, [], False, []
        self.feed(page)
        self.wrong += [f"two things are called {name}" for name in {n for n in self.ids if self.ids.count(n) > 1}]

    def handle_starttag(self, tag, attrs):
        have = dict(attrs)
        if "id" in have:
            self.ids.append(have["id"])
        if tag == "html" and not have.get("lang"):
            self.wrong.append("no language")
        if re.fullmatch("h[1-6]", tag):
            if int(tag[1]) > self.level + 1:
                self.wrong.append(f"{tag} after h{self.level}")
            self.level = int(tag[1])
        if tag == "img" and not have.get("alt"):
            self.wrong.append("a picture without words")
        if tag == "svg" and not (have.get("role") == "img" and have.get("aria-label")):
            self.wrong.append("a drawing without words")
        if tag == "th" and have.get("scope") not in ("col", "row", "colgroup"):
            self.wrong.append("a heading of a table that does not say of what")
        if tag == "figure":
            self.in_plot, self.table = "plot" in have.get("class", ""), False
        self.table = getattr(self, "table", False) or tag == "table"

    def handle_endtag(self, tag):
        if tag == "figure" and self.in_plot and not self.table:
            self.wrong.append("a plot without its table")


def light(colour: str) -> float:
    """Relative luminance of a colour such as #0072b2 (WCAG 2.2)."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(first: str, second: str) -> float:
    """How far two colours are apart: 1 (the same) to 21 (black on white); words need 4.5."""
    a, b = sorted((light(first), light(second)))
    return (b + 0.05) / (a + 0.05)


def test_the_report_can_be_read_aloud(done):
    assert Read((done / "report.html").read_text()).wrong == []


def test_a_page_that_cannot_be_read_aloud_is_found():
    page = (
        '<html><h1>a</h1><h3 id="x">b</h3><img src=""><svg></svg><th>c</th><figure class="plot"></figure><p id="x"></p>'
    )
    assert Read(page).wrong == [
        "no language", "h3 after h1", "a picture without words", "a drawing without words",
        "a heading of a table that does not say of what", "a plot without its table", "two things are called x",
    ]  # fmt: skip


def test_words_stand_out_from_what_is_behind_them(done):
    page = (done / "report.html").read_text()
    style = re.search(r"<style>(.*?)</style>", page, re.DOTALL).group(1)
    named = dict(re.findall(r"--(\w+):(#[0-9a-f]{6})", style))
    behind = ["#ffffff", "#fff5ec", "#e6f1f8", "#fdeee3"]
    for name in ("ink", "quiet", "blue", "vermilion"):
        assert min(contrast(named[name], b) for b in behind[:2]) >= 4.5, name
    assert min(contrast(named["ink"], b) for b in behind) >= 4.5
    written = {c.lower() for c in re.findall(r'<text [^>]*fill="(#\w{6})"', page)}
    assert written and all(contrast(c, "#ffffff") >= 4.5 for c in written), written
    few = re.search(r"\.few td[^{]*\{color:(#\w{6})", style).group(1)
    assert contrast(few, "#ffffff") >= 4.5
    assert contrast("#D55E00", "#ffffff") < 4.5 and contrast("#000000", "#ffffff") == pytest.approx(21)  # the twin


def test_a_folder_that_is_no_run_is_not_sent_to_be_evaluated(tmp_path):
    with pytest.raises(RunError, match="is no run; expected a folder that `overread train` made"):
        report(tmp_path)
