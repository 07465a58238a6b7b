"""Report: write the page, the card and its XML from what was measured and what a human wrote; print it as PDF."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from overread import __version__
from overread.domain import ModelCard
from overread.domain.canonical import plain
from overread.domain.human import blanks
from overread.errors import IntegrityError, OverreadError, RunError
from overread.pages import section_label_errors, section_maps
from overread.pages.card import render_card
from overread.pages.card_xml import render_card_xml
from overread.pages.checklist import ITEMS
from overread.pages.report import fill, page_of
from overread.steps import heatmaps, label_errors
from overread.steps.answers import NAME, read_answers
from overread.steps.figures import sealed_figures
from overread.steps.printed import seal_pages
from overread.steps.run import read_json, refuse_unfinished, write, write_json
from overread.steps.verify import check_run

PAGE = "report.json"
"""What the report shows, kept so that it can be written again without reading the testing cohort again."""

BROWSERS = (
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "chrome",
    "microsoft-edge",
    "msedge",
)
PLACES = (
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    "/Applications/Microsoft Edge.app/Contents/MacOS/Microsoft Edge",
    r"C:\Program Files\Google\Chrome\Application\chrome.exe",
    r"C:\Program Files (x86)\Microsoft\Edge\Application\msedge.exe",
)
PATIENCE_S = 120


@dataclass(frozen=True)
class Reported:
    """What was written.

    Parameters
    ----------
    report : Path
    missing : tuple of str
        Names of the answers that a human has not written.
    pdf : Path or None
    """

    report: Path
    missing: tuple[str, ...]
    pdf: Path | None = None

    def to_json(self) -> dict[str, Any]:
        """Return it for ``--json``."""
        return {
            "report": str(self.report),
            "missing": list(self.missing),
            "pdf": None if self.pdf is None else str(self.pdf),
        }

    def __str__(self) -> str:
        lines = [f"report: {self.report}", *([f"pdf: {self.pdf}"] if self.pdf else [])]
        if self.missing:
            lines.append(f"INCOMPLETE: {len(self.missing)} answers are blank in {NAME}: {', '.join(self.missing)}")
        return "\n".join(lines)


def publish(out: Path, run: Path, evaluation: Mapping[str, Any], card: ModelCard) -> None:
    """Write all that people read of an evaluation; of the run's own testing cohort the card, too.

    Parameters
    ----------
    out : Path
        Where the figures went: the run, or a folder in it for another archive.
    run : Path
    evaluation : mapping
        What `overread.pages.report.page_of` takes.
    card : ModelCard
        With its performance where ``out`` is the run.
    """
    kept = {"overread": __version__, "page": page_of(evaluation)}
    write_json(out / PAGE, kept)
    answers = read_answers(run, intended_use=str(evaluation["task"].get("intended_use", "")))
    write(out / "report.html", fill(_with_doubts(kept["page"], run), answers))
    if out == run:
        write_json(run / "card.json", {**plain(card), "fingerprint": card.fingerprint})
        _write_card(run, card, answers)


def _with_doubts(page: Mapping[str, Any], run: Path) -> dict[str, Any]:
    """Return the page with the labels that a reader should look at again, where somebody has asked for them.

    They may be asked for at any time after an evaluation, whose own record stays as it was sealed.
    """
    html = section_label_errors.section(label_errors.kept(run))
    if not html:
        return dict(page)
    here, words = "label-errors", "Labels to look at again"
    contents = [tuple(row) for row in page["contents"]]
    place = [name for name, _ in contents].index("cases")
    contents.insert(place, (here, words))
    return {**page, "sections": [*page["sections"], {"id": here, "words": words, "html": html}], "contents": contents}


def _with_maps(page: Mapping[str, Any], run: Path) -> dict[str, Any]:
    """Return the page with what the run's heat-maps have shown by now: `overread explain` may test them, or play the
    pointing game, at any time after an evaluation, whose own record stays as it was sealed.
    """
    verdicts = read_json(run / heatmaps.NAME) if heatmaps.NAME in read_json(run / "manifest.json")["files"] else {}
    html = section_maps.section({"heatmaps": verdicts})
    if not html:
        return dict(page)
    sections = [{**part, "html": html} if part["id"] == section_maps.HERE else part for part in page["sections"]]
    told = {"heatmaps": verdicts}
    known = [
        item.fill(told) if item.section == section_maps.HERE and item.fill else words
        for item, words in zip(ITEMS, page["known"], strict=True)
    ]
    return {**page, "sections": sections, "known": known}


def report(run: str | Path, *, pdf: str | Path | None = None, browser: str | None = None) -> Reported:
    """Write a run's report and card again with what a human has written since, and print it as PDF where asked.

    Nothing is measured and no image is read: it is the page of the last ``overread evaluate``. What ``overread verify``
    would refuse is not printed.

    Parameters
    ----------
    run : path
        A run, or the folder ``on-…`` in it for another archive.
    pdf : path, optional
        Where the PDF goes; a Chromium, Chrome or Edge on this machine prints it.
    browser : str, optional
        Which one: its name or path.

    Raises
    ------
    RunError
        Where there is no evaluation to report, or one of another version of overread.
    IntegrityError
        Where a file of the run, or a figure, is not as it was written.
    OverreadError
        For a PDF without a browser.
    """
    out = Path(run)
    refuse_unfinished(out)
    home = out if (out / "plan.json").exists() else out.parent
    refuse_unfinished(home)
    if not (home / "plan.json").exists():
        raise RunError(f"{out} is no run", expected="a folder that `overread train` made", do="name the run")
    kept = read_json(out / PAGE) if (out / PAGE).exists() else {}
    if kept.get("overread") != __version__:
        came = f"an evaluation by overread {kept['overread']}" if kept else f"no {PAGE} in {out}"
        raise RunError(came, expected=f"one by overread {__version__}", do=f"run `overread evaluate {home}` first")
    check_run(home)
    if (out / PAGE).relative_to(home).as_posix() not in sealed_figures(home):
        raise IntegrityError(
            f"{out / PAGE} is in no record of the run",
            expected="a page that `overread evaluate` wrote",
            do=f"run `overread evaluate {home}` first",
        )
    printer = find_browser(browser) if pdf else None
    intended = str(read_json(home / "plan.json")["task"].get("intended_use", ""))
    answers = read_answers(home, intended_use=intended)
    page = _with_doubts(_with_maps(kept["page"], home), home)
    write(out / "report.html", fill(page, answers))
    if out == home:
        record = read_json(home / "card.json")
        known = {k: v for k, v in record.items() if k in ModelCard.__dataclass_fields__}
        _write_card(home, ModelCard(**{**known, "limits": tuple(known["limits"])}), answers)
    seal_pages(home, out, now=datetime.now().astimezone())
    printed = None
    if pdf and printer:
        printed = Path(pdf)
        print_page(fill(page, answers, printed=True), printed, browser=printer)
    return Reported(out / "report.html", tuple(blanks(answers)), printed)


def _write_card(run: Path, card: ModelCard, answers: Mapping[str, str]) -> None:
    write(run / "card.md", render_card(card, answers))
    write(run / "card.xml", render_card_xml(card, read_json(run / "metrics.json"), answers))


def find_browser(named: str | None = None) -> str:
    """Return a browser on this machine that can print: the one named, else the first known one.

    Raises
    ------
    OverreadError
        Where there is none.
    """
    found = [shutil.which(name) for name in ([named] if named else BROWSERS)]
    there = [*filter(None, found), *(p for p in ([] if named else PLACES) if Path(p).is_file())]
    if not there:
        raise OverreadError(
            f"no browser {named!r} on this machine" if named else "no browser that prints was found",
            expected="Chromium, Chrome or Edge on this machine",
            do="install Chromium, or open report.html and use the browser's Print, Save as PDF",
        )
    return there[0]


def print_page(html: str, to: Path, *, browser: str) -> None:
    """Print one self-contained HTML page as PDF with a headless browser that may not reach the network.

    Raises
    ------
    OverreadError
        When the browser fails or takes longer than two minutes.
    """
    to.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as room:
        page, made = Path(room) / "report.html", Path(room) / "report.pdf"
        page.write_text(html, encoding="utf-8")
        command = [browser, "--headless", "--disable-gpu", "--no-first-run", "--disable-extensions"]
        command += ["--disable-background-networking", "--host-resolver-rules=MAP * ~NOTFOUND"]
        command += (
            ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
        )  # as root it cannot have one
        command += [
            f"--user-data-dir={room}/profile",
            "--no-pdf-header-footer",
            f"--print-to-pdf={made}",
            page.as_uri(),
        ]
        try:
            done = subprocess.run(command, capture_output=True, timeout=PATIENCE_S, check=False)
            told = f"it ended with {done.returncode}"
        except subprocess.TimeoutExpired:
            told = f"it did not end within {PATIENCE_S} s"
        if not made.is_file() or not made.read_bytes().startswith(b"%PDF"):
            raise OverreadError(
                f"the browser {Path(browser).name} made no PDF: {told}",
                expected="a browser that prints without a screen",
                do="update it, name another with --browser, or print report.html by hand",
            )
        write(to, made.read_bytes())
