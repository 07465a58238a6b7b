"""We promise: every file and every key that a run holds stands in docs/run.md. Undocumented is red."""

from __future__ import annotations

import csv
import itertools
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]

ESTIMATE = {"value", "low", "high", "n", "n_patients", "method"}
Pattern = tuple[str, ...]


def documented(page: str) -> tuple[list[str], dict[str, list[Pattern]]]:
    """Return the files named in the table, and the keys under the heading of each file."""
    first, *parts = re.split(r"^### `([^`]+)`$", page, flags=re.MULTILINE)
    table = [line.split("|")[1] for line in first.splitlines() if line.startswith("| `")]
    files = [name for cell in table for name in re.findall(r"`([^`]+)`", cell)]
    keys = {
        name: [pattern for token in re.findall(r"`([^`]+)`", text) for pattern in expanded(token)]
        for name, text in zip(parts[::2], parts[1::2], strict=True)
    }
    return files, keys


def expanded(token: str) -> list[Pattern]:
    """Return the keys that a token of the page stands for.

    >>> expanded("a.{b,c}.<d>")
    [('a', 'b', '<d>'), ('a', 'c', '<d>')]
    """
    parts = [
        part[1:-1].split(",") if part.startswith("{") else [part] for part in re.findall(r"\{[^}]*\}|[^.{}]+", token)
    ]
    return list(itertools.product(*parts))


def keys_of(path: Path) -> Iterator[Pattern]:
    """Yield every key of a file: of JSON as a path, of a table its columns, of arrays their names."""
    if path.suffix == ".json" or path.name.endswith(".head"):
        yield from _paths(json.loads(path.read_text()), ())
    elif path.suffix == ".jsonl":
        for line in path.read_text().splitlines():
            yield from _paths(json.loads(line), ())
    elif path.suffix == ".csv":
        with open(path, newline="") as sheet:
            yield from ((column,) for column in next(csv.reader(sheet)))
    elif path.suffix == ".npz":
        with np.load(path, allow_pickle=False) as held:
            yield from ((name,) for name in held.files)


def _paths(value: Any, at: Pattern) -> Iterator[Pattern]:
    if isinstance(value, Mapping) and set(value) != ESTIMATE:
        for key, inner in value.items():
            yield (*at, key)
            yield from _paths(inner, (*at, key))
    elif isinstance(value, list):
        for inner in value:
            yield from _paths(inner, at)


def fits(path: Pattern, pattern: Pattern) -> bool:
    """Say whether a key is the one that a pattern names, or stands above or below it as the pattern says."""
    for i, segment in enumerate(path):
        if i == len(pattern):
            return False
        if pattern[i] == "…":
            return True
        words = ".+".join(re.escape(part) for part in re.split(r"<[^>]*>", pattern[i]))
        if not re.fullmatch(words, segment):
            return False
    return True


def undocumented(run: Path, page: str) -> list[str]:
    """Return the files and keys of a run that the page does not tell of."""
    files, keys = documented(page)
    lost = []
    for path in sorted(run.iterdir()):
        name = path.name + ("/" if path.is_dir() else "")
        if not any(fits((name,), (file,)) for file in files):
            lost.append(name)
        if path.is_file():
            patterns = [p for name, own in keys.items() if fits((path.name,), (name,)) for p in own]
            seen = dict.fromkeys(key for key in keys_of(path) if not any(fits(key, pattern) for pattern in patterns))
            lost += [f"{path.name}: {'.'.join(key)}" for key in seen]
        elif path.name.startswith("on-"):
            lost += undocumented(path, page)
    return lost


@pytest.fixture(scope="module")
def page() -> str:
    return (ROOT / "docs" / "run.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> list[Path]:
    """A yes-or-no run with a leaky split and all that can be asked of it, and one with levels; neither needs Keras."""
    from small_run import NOW, fill, sealed_again, shown_to, small_run, spots

    from overread.steps import corruptions, leakage, probes, shortcuts
    from overread.steps.evaluate import evaluate
    from overread.steps.run import write_json

    home = tmp_path_factory.mktemp("documented")
    pictures, there = spots(400, seed=1)
    pictures[390:396] = pictures[0:6]  # copies, some of them under another answer
    labels = [{"spot": bool(t), "class": "abc"[i % 3]} for i, t in enumerate(there)]
    parts = ["train"] * 220 + ["val"] * 60 + ["test"] * 120
    with fill(home / "archive", pictures, labels, splits_as=parts) as archive:
        copies = leakage.find_copies(archive)
        run = small_run(home, archive, "spot", published="split", copies=copies)
        levels = small_run(home, archive, "class", kind="ordinal: a < b < c")
        split, task, material = shown_to(run, archive)
        studies = {s.pseudonym: s for s in archive.studies()}
        write_json(run / leakage.NAME, leakage.certify(split, copies, studies=list(studies.values()), labels=["spot"]))
        write_json(run / corruptions.NAME, corruptions.corrupt(run, split, material, task, seed=0))
        write_json(run / probes.NAME, probes.probe(run, split, material, studies, archive, task, seed=0))
        write_json(run / shortcuts.NAME, shortcuts.look_for(archive, split, studies, task, seed=0))
    sealed_again(run)
    evaluate(run, prevalence=0.1, published={"auroc": 0.9}, now=NOW)
    evaluate(levels, now=NOW)
    with fill(home / "other", *(part[:80] for part in (pictures, labels)), others=True):
        pass
    evaluate(levels, on=home / "other", now=NOW)
    return [run, levels]


def test_every_file_and_every_key_of_a_run_is_documented(runs, page):
    for run in runs:
        assert undocumented(run, page) == [], "tell of it in docs/run.md"


def test_this_can_fail(runs, page, tmp_path):
    """The twin: without its line a key is missed, and so is a new file, a new column and a key that is deeper."""
    run = runs[0]
    assert "leakage.json: copies" in undocumented(run, page.replace("`copies.<image>`", "the group"))
    assert any(
        lost.startswith("metrics.json: subgroups")
        for lost in undocumented(run, page.replace("`subgroups.", "`groups."))
    )
    assert "scores.csv: unlike" in undocumented(run, page.replace("`unlike`", "unlike"))
    (tmp_path / "new.json").write_text('{"a": 1}')
    (tmp_path / "history.json").write_text('{"epochs": [{"epoch": 1, "learning_rate": 2}]}')
    assert undocumented(tmp_path, page) == ["history.json: epochs.learning_rate", "new.json", "new.json: a"]


@pytest.mark.slow
def test_a_run_that_was_really_trained_is_documented_too(run, page):
    assert undocumented(run, page) == []
