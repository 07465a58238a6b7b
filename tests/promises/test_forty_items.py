"""We promise a reader: the report answers forty things, or says which it did not measure, or names who must write what."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest

from overread.domain.human import HUMAN
from overread.steps.answers import read_answers, template
from overread.steps.report import report

NEEDED = {key: item.words for key, item in HUMAN.items() if item.needed}


class Forty(HTMLParser):
    """Reads the table of the forty items as a reader would: number, state, link, words."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.rows: list[dict[str, str]] = []
        self.cell = -1
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        have = dict(attrs)
        if "id" in have:
            self.ids.add(have["id"])
        if tag == "tr":
            self.cell = -1
            if "data-item" in have:
                self.rows.append({"item": have["data-item"], "state": have["data-state"], "link": "", "told": ""})
                self.cell = 0
        elif tag in ("td", "th") and self.cell >= 0:
            self.cell += 1
        elif tag == "a" and self.cell > 0:
            self.rows[-1]["link"] = have["href"].removeprefix("#")

    def handle_data(self, data):
        if self.cell == 4:  # number, state, what must be said, what is said
            self.rows[-1]["told"] += data


def complaints(page: str) -> list[str]:
    """Return how a report breaks the promise; empty for one that keeps it."""
    read, wrong = Forty(page), []
    if [row["item"] for row in read.rows] != [str(n) for n in range(1, 41)]:
        wrong.append("not the forty items")
    for row in read.rows:
        if not row["told"].strip():
            wrong.append(f"item {row['item']} says nothing")
        if row["link"] not in read.ids:
            wrong.append(f"item {row['item']} leads nowhere")
        if row["state"] not in ("answered", "not measured", "blank"):
            wrong.append(f"item {row['item']} has no state")
        if row["state"] == "blank" and not any(words in row["told"] for words in NEEDED.values()):
            wrong.append(f"item {row['item']} is blank, but names nobody's answer")
    blank = any(row["state"] == "blank" for row in read.rows)
    if blank != ("INCOMPLETE" in page):
        wrong.append("the stamp does not say whether something is blank")
    return wrong


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A small run, evaluated."""
    from small_run import NOW, fill, small_run, spots

    from overread.steps.evaluate import evaluate

    home = tmp_path_factory.mktemp("forty")
    pictures, there = spots(240, seed=5)
    with fill(home / "archive", pictures, [{"spot": bool(t)} for t in there]) as archive:
        made = small_run(home, archive, "spot")
    evaluate(made, now=NOW, prevalence=0.02, published={"auroc": 0.9})
    return made


def test_every_item_is_answered_measured_or_named(run):
    page = (run / "report.html").read_text()
    assert complaints(page) == []
    states = {row["item"]: row["state"] for row in Forty(page).rows}
    for number in (1, 7, 9, 12, 13, 14, 19, 20, 21, 22, 23, 24, 26, 27, 28, 29, 30, 31, 33, 35, 36):
        assert states[str(number)] == "answered", number
    for number in (2, 3, 4, 5, 6, 8, 38, 39, 40):
        assert states[str(number)] == "blank", number
    assert all(words in page for words in NEEDED.values())


def test_what_a_human_writes_is_said_and_the_stamp_goes(run):
    (run / "answers.toml").write_text(template(dict.fromkeys(NEEDED, "as we wrote it")))
    report(run)
    page = (run / "report.html").read_text()
    assert complaints(page) == [] and "INCOMPLETE" not in page
    assert (
        not any(row["state"] == "blank" for row in Forty(page).rows) and read_answers(run)["users"] == "as we wrote it"
    )
    (run / "answers.toml").unlink()
    report(run)
    assert complaints((run / "report.html").read_text()) == []


def test_a_report_that_breaks_the_promise_is_found(run):
    """The twin: an item lost, silenced, leading nowhere, unnamed, or a stamp taken away."""
    page = (run / "report.html").read_text()
    row = next(m.group(0) for m in re.finditer(r'<tr data-item="4".*?</tr>', page, re.DOTALL))
    told = re.findall(r"<td.*?</td>", row, re.DOTALL)[2]
    assert complaints(page.replace(row, "")) == ["not the forty items"]
    assert "item 4 says nothing" in complaints(page.replace(row, row.replace(told, "<td> </td>")))
    assert complaints(page.replace(row, row.replace('href="#asked"', 'href="#nowhere"'))) == ["item 4 leads nowhere"]
    assert complaints(page.replace(row, row.replace('data-state="blank"', 'data-state=""'))) == ["item 4 has no state"]
    assert complaints(page.replace(row, row.replace(told, "<td>soon</td>"))) == [
        "item 4 is blank, but names nobody's answer"
    ]
    assert complaints(page.replace("INCOMPLETE", "")) == ["the stamp does not say whether something is blank"]
