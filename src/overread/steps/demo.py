"""``overread demo``: the whole walk on one page, from scans to a draft report that a doctor can open.

By default the scans are a phantom's, so that it runs offline and the heat-maps can be checked against lesions whose place
is known; or a real, published set (``medmnist:pneumoniamnist``).
"""

from __future__ import annotations

import csv
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from overread.errors import OverreadError
from overread.sources.medmnist import fetch, given
from overread.steps.collect import collect
from overread.steps.explain import explain
from overread.steps.inspect import inspect
from overread.steps.medmnist import few_images
from overread.steps.phantom import phantom
from overread.steps.pointing import pointing_game
from overread.steps.predict import predict
from overread.steps.run import read_json, write_json
from overread.steps.train import train

PATIENTS, NEW_PATIENTS, IN_THE_INBOX = 420, 40, 6
"""Simulated patients to learn from; further ones whom the machine has never seen; of those, how many wait in the inbox."""

BUDGET = "60s"
"""For training: the whole demo stays below three minutes on two cores."""

SENSITIVITY = 0.9
"""What the operating point must reach on the calibration cohort: with some 25 positive films there, 0.95 hangs on one."""

STARTED = "demo.started.json"
FINISHED = "demo.json"


@dataclass(frozen=True)
class Demo:
    """Where the walk ended.

    Parameters
    ----------
    out : Path
    report : Path
        The page to open.
    quotes : tuple of str
        Lines a person can quote: discrimination, the operating point, the heat-maps.
    notes : tuple of str
        What was not as it should be.
    read : str
        The command that opens the reading page; empty where nothing waits in an inbox.
    seconds : float
    """

    out: Path
    report: Path
    quotes: tuple[str, ...]
    notes: tuple[str, ...]
    read: str
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """Return the result for machines."""
        return {k: str(v) if isinstance(v, Path) else v for k, v in self.__dict__.items()}

    def __str__(self) -> str:
        lines = ["", *self.quotes, *(f"note: {n}" for n in self.notes), f"report: {self.report}"]
        if self.read:
            lines.append(f"open the reading page: {self.read}")
        return "\n".join(lines)


def demo(
    *,
    out: str | Path,
    data: str = "phantom",
    file: str | Path | None = None,
    seed: int = 0,
    patients: int = PATIENTS,
    budget: str = BUDGET,
    progress: bool = True,
    now: datetime | None = None,
) -> Demo:
    """Walk from scans to a draft report: collect, inspect, train, evaluate, explain, predict.

    Parameters
    ----------
    out : path
        A new or empty folder, or one in which a demo was broken off. A finished one is told again, not made again.
    data : str
        "phantom", or "medmnist:pneumoniamnist".
    file : path, optional
        The MedMNIST file, where there is no network.
    seed : int
    patients : int
        Simulated patients to learn from.
    budget : str
        For training ("80s").
    progress : bool
        Tell the story and show bars on stderr.
    now : datetime, optional

    Raises
    ------
    OverreadError
        If the folder holds something else, or the data are not to be had.
    """
    out, now, began = Path(out), now or datetime.now().astimezone(), time.monotonic()
    settings = {"data": data, "seed": seed, "patients": patients, "budget": budget}
    if (out / FINISHED).exists():
        return _again(out, settings)
    walk = {"phantom": _on_phantom, "medmnist": _on_medmnist}.get(data.partition(":")[0])
    if walk is None:
        raise OverreadError(
            f"the data {data!r}", expected="phantom or medmnist:pneumoniamnist", do="name one of the two"
        )
    _make_room(out, settings)
    story = _Story(show=progress)
    quotes, notes, read = walk(
        out, data=data, file=file, seed=seed, patients=patients, budget=budget, progress=progress, now=now, story=story
    )
    result = Demo(out, out / "run" / "report.html", quotes, notes, read, round(time.monotonic() - began, 1))
    story.tell(f"Done in {result.seconds:.0f} seconds.")
    write_json(out / FINISHED, {"settings": settings, **result.to_json()})
    (out / STARTED).unlink()
    return result


class _Story:
    """The numbered lines that say what happens next."""

    def __init__(self, *, show: bool) -> None:
        self.show, self.count = show, 0

    def step(self, words: str) -> None:
        self.count += 1
        self.tell(f"\n{self.count}. {words}")

    def tell(self, words: object) -> None:
        if self.show:
            print(words, file=sys.stderr, flush=True)


def _again(out: Path, settings: dict[str, Any]) -> Demo:
    """Return the result of a finished demo with the same settings."""
    kept = read_json(out / FINISHED)
    if kept["settings"] != settings:
        raise OverreadError("a folder with the demo of other settings", expected="a new folder", do="name another")
    kept = {k: tuple(v) if isinstance(v, list) else v for k, v in kept.items() if k != "settings"}
    kept |= {"out": Path(kept["out"]), "report": Path(kept["report"])}
    kept["notes"] = (*kept["notes"], f"this demo was finished before; delete {out} to walk it again")
    return Demo(**kept)


def _make_room(out: Path, settings: dict[str, Any]) -> None:
    """Start in an empty folder; clear away what a demo that was broken off had made."""
    if out.exists() and any(out.iterdir()):
        if not (out / STARTED).exists():
            raise OverreadError(
                "a folder that holds something else", expected="a new or empty folder", do="name another"
            )
        for name in ("phantom", "archive", "archive.names", "run", "new", "maps", "answers", "inbox"):
            shutil.rmtree(out / name, ignore_errors=True)
    out.mkdir(parents=True, exist_ok=True)
    write_json(out / STARTED, settings)


def _on_phantom(out, *, data, file, seed, patients, budget, progress, now, story) -> tuple[tuple, tuple, str]:
    """The walk on simulated films."""
    story.step(f"Simulate {patients} patients: chest films as DICOM, every second patient with nodules.")
    made = phantom(out / "phantom", patients=patients, seed=seed, now=now, progress=progress)
    story.tell(made.summary)

    run = _learn(
        out,
        made.folder / "images",
        labels=made.labels,
        label="nodule",
        budget=budget,
        seed=seed,
        progress=progress,
        now=now,
        story=story,
    )

    story.step(f"{NEW_PATIENTS} new patients arrive, whom the machine has never seen. Where does it look?")
    new = phantom(out / "new", patients=NEW_PATIENTS, first=patients + 1, seed=seed, now=now, progress=progress)
    with_nodules = [new.folder / name for name in _files(new.labels, lambda row: row["nodule"] == "1")]
    maps = explain(
        run,
        *with_nodules,
        out=out / "maps",
        methods=("grad-cam",),
        label="nodule",
        lesions=new.lesions,
        progress=progress,
    )
    game = pointing_game(maps, truth=new.lesions, folder=new.folder)
    story.tell(f"{game}\npictures: {out / 'maps'}")

    story.step("Read the new patients as a clinic would: answers, draft Structured Reports, Secondary Captures.")
    waiting = {f"PHANTOM-{patients + 1 + i:04d}" for i in range(IN_THE_INBOX)}
    names = _files(new.labels, lambda row: row["patient"] in waiting)
    answers = predict(run, *(new.folder / n for n in names), out=out / "answers", progress=progress, now=now)
    story.tell(answers)

    story.step(f"The studies of {IN_THE_INBOX} of them wait in the inbox for a doctor.")
    (out / "inbox").mkdir()
    for name in names:
        shutil.copyfile(new.folder / name, out / "inbox" / Path(name).name)
    read = f"overread serve {run.path} --inbox {out / 'inbox'} --demo"
    return (*_quotes(run, "nodule"), str(game)), (), read


def _on_medmnist(out, *, data, file, seed, patients, budget, progress, now, story) -> tuple[tuple, tuple, str]:
    """The walk on a published set of real images."""
    name = data.partition(":")[2]
    if name != "pneumoniamnist":
        raise OverreadError(
            f"the MedMNIST set {name!r}",
            expected="pneumoniamnist, whose answer is yes or no",
            do=f"walk yourself: overread collect medmnist:{name} --into archive",
        )
    story.step(f"Get {name} from its published record." if file is None else f"Take {name} from a file.")
    path, notes = given(name, file) if file is not None else _published(name, into=out)
    for note in notes:
        story.tell(f"note: {note}")
    run = _learn(
        out,
        path,
        labels=None,
        label="label",
        split_column="split",
        budget=budget,
        seed=seed,
        progress=progress,
        now=now,
        story=story,
    )
    story.step("Where does it look, and what does it answer? Twelve images of the testing part.")
    few = few_images(path, out / "twelve", count=12)
    maps = explain(run, few, out=out / "maps", methods=("grad-cam",), progress=progress)
    answers = predict(run, few, out=out / "answers", progress=progress, now=now)
    story.tell(
        f"{len(maps.maps)} heat-maps in {out / 'maps'} (nobody knows where these findings lie, so none is verified)"
    )
    story.tell(answers)
    return _quotes(run, None), notes, ""


def _published(name: str, *, into: Path) -> tuple[Path, tuple[str, ...]]:
    came = fetch(name, into=into)
    return came.paths[0], came.notes


def _learn(out: Path, source: Path, *, labels, label: str, story: _Story, progress: bool, now: datetime, **how):
    """Collect, inspect, train and evaluate."""
    story.step("Collect: read every file, take the names off, keep the pixels in physical units under their own hash.")
    collected = collect(source, into=out / "archive", labels=labels, progress=progress)
    story.tell(collected)
    story.step("Inspect: what is in the archive?")
    story.tell(inspect(out / "archive"))
    story.step("Train, calibrate, and read the testing cohort once: nobody is in two cohorts.")
    run = train(
        out / "archive", label=label, out=out / "run", sensitivity=SENSITIVITY, progress=progress, now=now, **how
    )
    story.tell(run)
    return run


def _files(table: Path, wanted: Callable[[dict[str, str]], bool]) -> list[str]:
    """Return the files of a label table whose rows are wanted."""
    with table.open(newline="", encoding="utf-8") as rows:
        return [row["file"] for row in csv.DictReader(rows) if wanted(row)]


def _quotes(run: Any, label: str | None) -> tuple[str, ...]:
    """Return the figures of a run in two sentences."""
    labels = run.metrics["labels"]
    name = label if label in labels else next(iter(labels))
    figures = labels[name]

    def told(key: str) -> str:
        f = figures[key]
        return f"{f['value']:.3f} (95 % interval {f['low']:.3f}–{f['high']:.3f})"

    auroc = figures["auroc"]
    whom = f"{auroc['n']} images"
    whom += f" of {auroc['n_patients']} patients" if auroc.get("n_patients") else " (patients unknown)"
    lines = [f"{name}: AUROC {told('auroc')} on {whom} held out for testing."]
    if "sensitivity" in figures:
        lines.append(
            f"At the operating point fixed before the test: sensitivity {told('sensitivity')}, "
            f"specificity {told('specificity')}."
        )
    return tuple(lines)
