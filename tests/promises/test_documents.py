"""What the documents show is what happens: their code runs, and the files they point to exist."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from overread.cli import COMMANDS

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def blocks(text: str, *, slow: bool = True) -> list[str]:
    """Return the code of each block marked ``python run`` (and ``python run slow``), moved to its own line numbers."""
    found = re.finditer(r"^```python run( slow)?\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return ["\n" * text[: m.start(2)].count("\n") + m.group(2) for m in found if slow or not m.group(1)]


def run_page(text: str, name: str, *, where: Path, slow: bool = True) -> subprocess.CompletedProcess:
    """Run a page's blocks, in order, as one program in an empty folder."""
    program = "\n".join(f"exec(compile({code!r}, {name!r}, 'exec'), globals())" for code in blocks(text, slow=slow))
    command = [sys.executable, "-c", program]
    return subprocess.run(command, cwd=where, capture_output=True, text=True, timeout=300, check=False)


def links(text: str) -> list[str]:
    """Return the targets of links and pictures to files of the repository."""
    prose = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    targets = re.findall(r"\]\(([^)\s]+)\)|src=\"([^\"]+)\"", prose)
    return [a or b for a, b in targets if not re.match(r"[a-z]+:", a or b)]


def headings(text: str) -> set[str]:
    """Return the anchors that a page's headings make."""
    titles = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", t.lower()).replace(" ", "-") for t in titles}


def missing(page: Path, text: str) -> list[str]:
    """Return the links of a page that lead nowhere."""
    lost = []
    for target in links(text):
        file, _, anchor = target.partition("#")
        there = (page.parent / file).resolve() if file else page
        if file and not there.exists():
            lost.append(target)
        elif anchor and anchor not in headings(there.read_text(encoding="utf-8") if file else text):
            lost.append(target)
    return lost


def torn_rows(text: str) -> list[int]:
    """Return the numbers of the lines where a table begins without a ruled line beneath its head: shown as plain text."""
    lines = [*re.sub(r"^```.*?^```$", lambda m: "\n" * m[0].count("\n"), text, flags=re.M | re.S).splitlines(), ""]
    begins = (n for n, line in enumerate(lines) if line.startswith("|") and not (n and lines[n - 1].startswith("|")))
    return [n + 1 for n in begins if not re.fullmatch(r"\|[ :|-]+\|", lines[n + 1])]


WITH_CODE = [p for p in PAGES if blocks(p.read_text(encoding="utf-8"))]


@pytest.mark.parametrize("page", WITH_CODE, ids=lambda p: p.name)
def test_the_quick_code_in_the_documents_runs(page, tmp_path):
    """Every block that needs no training framework."""
    done = run_page(page.read_text(encoding="utf-8"), page.name, where=tmp_path, slow=False)
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.slow
@pytest.mark.parametrize("page", WITH_CODE, ids=lambda p: p.name)
def test_all_code_in_the_documents_runs(page, tmp_path):
    done = run_page(page.read_text(encoding="utf-8"), page.name, where=tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]


def test_wrong_code_in_a_document_is_found(tmp_path):
    """Twin: a page whose claim is false fails, and says in which line."""
    page = "# Title\n\n```python run\nassert 1 + 1 == 2\n```\n\nthen\n\n```python run\nassert 1 + 1 == 3\n```\n"
    done = run_page(page, "page.md", where=tmp_path)
    assert done.returncode != 0 and '"page.md", line 10' in done.stderr


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_links_lead_to_files_that_exist(page):
    assert missing(page, page.read_text(encoding="utf-8")) == []


def test_a_broken_link_is_found():
    """Twin: a file and a heading that do not exist are both reported; an address elsewhere is not our affair."""
    text = "# Here\n[a](no-such.md) [b](architecture.md) [c](#here) [d](#there) [e](https://example.org/x)"
    assert missing(ROOT / "docs" / "page.md", text) == ["no-such.md", "#there"]


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_every_row_of_a_table_belongs_to_one(page):
    assert torn_rows(page.read_text(encoding="utf-8")) == []


def test_a_torn_table_is_found():
    """Twin: a row behind an empty line is no row; a whole table and code that looks like one are."""
    assert torn_rows("| a |\n|---|\n| 1 |\n\n```\n| x |\n```\n| 2 |\n") == [8]


def test_every_command_is_named_in_the_readme():
    named = set(re.findall(r"overread (\w+)|`(\w+)`", (ROOT / "README.md").read_text(encoding="utf-8")))
    assert set(COMMANDS) <= {a or b for a, b in named}


def test_the_worked_example_is_on_the_page():
    """All eight numbers of the convolution example stand in the page, each set under its own name."""
    text = (ROOT / "docs" / "article.md").read_text(encoding="utf-8")
    code = "\n".join(blocks(text))
    assert "correlate2d" in code and "[[-37, -47], [-67, -77]]" in code
    assert "convolve2d" in code and "[[-23, -33], [-53, -63]]" in code


def test_the_articles_network_is_shown_word_for_word():
    code = "\n".join(blocks((ROOT / "docs" / "article.md").read_text(encoding="utf-8")))
    for line in (
        "model.add(Conv2D(32, (3, 3), activation='relu', input_shape=(64, 64, 3)))",
        "model.add(MaxPooling2D(pool_size=(2, 2)))",
        "model.add(Flatten())",
        "model.add(Dense(128, activation='relu'))",
        "model.add(Dense(1, activation='sigmoid'))",
        "model.compile(optimizer='adam', loss='binary_crossentropy', metrics=['accuracy'])",
        "model.fit(X_train, y_train, epochs=10, batch_size=32)",
        "y_pred = model.predict(X_test)",
    ):
        assert line in code
