"""Pretrain: let a network learn to see from the images of an archive, answered or not, before any question is asked."""

from __future__ import annotations

import platform
import secrets
import shutil
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from overread import __version__
from overread.domain import COHORTS, Study, Task, fingerprint
from overread.domain.canonical import plain
from overread.errors import CohortError, LabelError, RunError
from overread.learn import plan as planning
from overread.learn import pretrained_start
from overread.learn.pretrained_start import CARD, LICENCE, PRIVACY, Given
from overread.stats.certificate import Copies
from overread.steps import cost, leakage
from overread.steps import plan as planned
from overread.steps.begin import alone_in, parse_budget
from overread.steps.opened import bring, mark_of, open_archive
from overread.steps.plan_look import intensities
from overread.steps.progress import bar, say
from overread.steps.run import environment, read_json, write_json
from overread.store.archive import Archive
from overread.store.journal import Journal
from overread.store.objects import ImageRecord

METHOD = "self-supervised (VICReg, arXiv 2105.04906)"

FEWEST = 64
"""Images below which there is nothing to learn without answers."""

STEPS, LEAST_EPOCHS, MOST_EPOCHS = 1200, 4, 200
"""How long it is learned when no time is named."""

MOST_STEPS = 20_000
"""More were never tried, whatever the budget."""

MOST_LABELS = 12
"""Labels whose divisions are all left out when none is named."""

BATCH = {"pictures": 64, "volumes": 32}

HELD = tuple(cohort for cohort in COHORTS if cohort != "training")
"""Cohorts whose patients are left out: the last two must be, tuning so that it can judge whether the start helps."""

JOURNAL = "journal.jsonl"


@dataclass(frozen=True)
class Pretrained:
    """What came of it.

    Parameters
    ----------
    given : Given
        The start, as `train` takes it up.
    """

    given: Given

    @property
    def path(self) -> Path:
        """Where it lies."""
        return self.given.path

    @property
    def told(self) -> Mapping[str, Any]:
        """``start.json``."""
        return self.given.told

    @property
    def sha256(self) -> str:
        """Of ``start.json``."""
        return self.given.sha256

    def to_json(self) -> dict[str, Any]:
        """Return it for ``--json``."""
        return {"start": str(self.path), "sha256": self.sha256, **plain(self.told)}

    def __str__(self) -> str:
        told = self.told
        who = f" of {told['patients']:,} patients" if told["patients"] is not None else ""
        return (
            f"learned to see from {told['images']:,} images{who} in {told['epochs']} epochs, {told['seconds']:.0f} s (spread {told['spread']:.2f}; 1 is asked for)\n"
            f"left out: {told['left_out']['in_words']}\n"
            f"written to {self.path}; now: overread train ARCHIVE --label NAME --start {self.path} --out RUN"
        )


@dataclass(frozen=True)
class Chosen:
    """Whose images are learned from."""

    studies: tuple[Study, ...]
    left_out: Mapping[str, Any]

    @property
    def images(self) -> list[str]:
        """Their hashes, each once, in one order."""
        return sorted({image for study in self.studies for image in study.images})

    @property
    def people(self) -> list[str]:
        """Patients, or studies where they are not known."""
        return sorted({person(study) for study in self.studies})


def pretrain(
    archive: object,
    *,
    out: str | Path,
    label: str | None = None,
    split_column: str | None = None,
    kind: str = "auto",
    seed: int = 0,
    budget: str | None = None,
    epochs: int | None = None,
    resume: bool = False,
    progress: bool = True,
    now: datetime | None = None,
) -> Pretrained:
    """Let a network learn to see from the images of an archive without their answers, and keep it as a start for `train`.

    Patients who will tune, calibrate or test are left out: those of the label that is named, or of every label of the
    archive, divided as `train` divides them with the same seed.

    Parameters
    ----------
    archive : path, address, Archive, or what ``collect`` returned
    out : path
        Folder for the start.
    label : str, optional
        The question that will be asked, as `train` takes it; None: whatever may be asked.
    split_column, kind, seed
        As for `train`.
    budget : str, optional
        "90s", "10m", "1h", "overnight".
    epochs : int, optional
        Passes over the images; None: by their number, or as many as the budget allows.
    resume : bool
        Go on with what was begun in ``out``.
    progress : bool
    now : datetime, optional

    Returns
    -------
    Pretrained

    Raises
    ------
    CohortError, LabelError, RunError
    """
    out, now, started, meter = Path(out), now or datetime.now().astimezone(), time.monotonic(), cost.read_meter()
    seconds = None if budget is None else parse_budget(budget)
    if epochs is not None and not 1 <= epochs <= 100_000:
        raise RunError(f"{epochs} epochs", expected="1 to 100,000", do="choose another number")
    _refuse_folder(out, resume=resume)
    with ExitStack() as stack:
        store = stack.enter_context(open_archive(archive))
        chosen = choose(store, label=label, split_column=split_column, kind=kind, seed=seed, progress=progress)
        plan, seen = _plan(store, chosen, seed)
        asked = {"images": fingerprint(chosen.images), "seed": seed, "budget": budget, "epochs": epochs, "network": plain(plan.build)}  # fmt: skip
        begun = _begin(out, asked, resume=resume, progress=progress)
        stack.enter_context(alone_in(out))
        journal, told = Journal(out / JOURNAL), {"images": len(chosen.images), "people": len(chosen.people)}
        journal.append("resumed" if resume and journal.begun else "begun", told, now=now)
        say(
            progress,
            f"{store.where}: {len(chosen.images):,} images to learn from; left out: {chosen.left_out['in_words']}",
        )
        images = _inputs(store, chosen, plan, out / "cache", progress=progress)
        learned = _learn(out, images, plan, begun, seconds, epochs, started=started, progress=progress)
        card = _card(store, chosen, plan, seen, learned, begun, cost.of_training(meter), now)
        given = _write(out, card, learned, chosen)
    journal.append("finished", {"start": given.sha256, "weights": given.told["hashes"]["weights"]}, now=now)
    (out / "unfinished").unlink()
    (out / "checkpoint.npz").unlink(missing_ok=True)
    shutil.rmtree(out / "cache", ignore_errors=True)
    (out / "framework.log").unlink(missing_ok=True)
    return Pretrained(given)


def person(study: Study) -> str:
    """Return the patient of a study, or the study where the patient is not known."""
    return study.patient or study.pseudonym


def choose(
    store: Archive, *, label: str | None, split_column: str | None, kind: str, seed: int, progress: bool
) -> Chosen:
    """Return whose images may be learned from: all but those of patients who will tune, calibrate or test.

    Raises
    ------
    LabelError
        When there is no such label.
    CohortError
        When too few images are left, or so many labels were given that each would have to be held out.
    """
    studies = list(store.studies())
    labels = [label] if label is not None else sorted({name for study in studies for name in study.labels})
    if len(labels) > MOST_LABELS:
        raise CohortError(f"{len(labels)} labels, of each of which patients would be left out", expected=f"at most {MOST_LABELS}", do="name the one that will be asked: --label NAME")  # fmt: skip
    held: set[str] = set()
    pictures: set[str] = set()
    asked, not_asked, copies = [], [], None
    for name in labels:
        try:
            divided = planned.divide(store, label=name, kind=kind if label else "auto", split_column=split_column, seed=seed, progress=progress and not asked)  # fmt: skip
        except (LabelError, CohortError):
            if label is not None:
                raise
            not_asked.append(name)  # nobody can train on it either
            continue
        asked.append(name)
        copies = divided.copies
        for rows in (*(divided.split.cohorts.get(c, ()) for c in HELD), *divided.split.aside.values()):
            pictures |= {image for image, _, _ in rows}
            held |= {patient or study for _, study, patient in rows}
    return _without(studies, held, pictures, copies or leakage.find_copies(store, progress=progress), asked, not_asked)


def _without(
    studies: Sequence[Study], held: set[str], pictures: set[str], copies: Copies, asked: list[str], not_asked: list[str]
) -> Chosen:
    """Leave out patients, and others of whom a picture is a near copy of one of theirs."""
    groups = {copies.near_of(image) for image in pictures}
    alike = {person(s) for s in studies if any(copies.near_of(image) in groups for image in s.images)}
    gone = held | alike
    kept = tuple(s for s in studies if s.images and person(s) not in gone)
    copied = len(alike - held)
    words = f"{len(held):,} patients who tune, calibrate or test {', '.join(map(repr, asked))}" if asked else "nobody, since no label can be trained on"  # fmt: skip
    words += f", and {copied:,} with near copies of their pictures" if copied else ""
    told = {"labels": asked, "labels_too_few": not_asked, "patients": len(held), "by_near_copies": copied, "in_words": words}  # fmt: skip
    chosen = Chosen(kept, told)
    if len(chosen.images) < FEWEST:
        raise CohortError(
            f"{len(chosen.images):,} images are left to learn from", expected=f"at least {FEWEST}", do="collect more; answers are not needed, or name the one label that will be asked: --label NAME"
        )  # fmt: skip
    return chosen


def _plan(store: Archive, chosen: Chosen, seed: int) -> tuple[planning.Plan, planning.Fingerprint]:
    """Return how the images are read, and the network that reads them: as `train` would choose for such a cohort."""
    records = [store.describe(image) for image in chosen.images]
    seen = planning.fingerprint(_facts(records))
    if seen.unit in ("HU", "SUVbw"):
        seen = replace(seen, intensities=intensities(store, chosen.images))
    plan = planning.draw_up(Task(("any",), "binary", "any"), seen, network="residual", seed=seed)
    return plan, seen


def _facts(records: Iterable[ImageRecord]) -> Iterable[dict[str, Any]]:
    words = ("shape", "modality", "unit", "full_range", "attributes", "spacing_mm")
    return ({word: getattr(record, word) for word in words} for record in records)


def _refuse_folder(out: Path, *, resume: bool) -> None:
    """Refuse a folder in which no start can be begun, nor gone on with."""
    if (out / "unfinished").exists():
        if not resume:
            raise RunError(
                f"{out} holds an unfinished start", expected="--resume, or a new folder", do="add --resume to go on"
            )
    elif (out / CARD).exists():
        raise RunError(f"{out} holds a finished start", expected="a new folder", do="name another with --out")
    elif out.exists() and any(out.iterdir()):
        raise RunError(f"{out} is not empty", expected="a new or empty folder", do="name another with --out")


def _begin(out: Path, asked: dict[str, Any], *, resume: bool, progress: bool) -> dict[str, Any]:
    """Make the folder, or take up what was begun in it; return what was decided then."""
    _refuse_folder(out, resume=resume)
    if (out / "unfinished").exists():
        before = read_json(out / "unfinished")
        if before["asked"] != plain(asked):
            raise RunError("the unfinished start had other images or settings", expected="the same archive and settings when resuming", do="repeat them, or name another folder")  # fmt: skip
        return before
    say(resume and progress, f"there is nothing to resume in {out}: a new start begins")
    out.mkdir(parents=True, exist_ok=True)
    begun = {"asked": plain(asked), "salt": secrets.token_hex(16)}
    write_json(out / "unfinished", begun)
    return begun


def _inputs(store: Archive, chosen: Chosen, plan: planning.Plan, cache: Path, *, progress: bool):
    from overread.learn.batches import preprocess_once

    cache.mkdir(exist_ok=True)
    kept = cache / f"images-{fingerprint([plain(plan.recipe), chosen.images])[:16]}.npy"
    if kept.exists():
        import numpy as np

        return np.load(kept, mmap_mode="r")
    bring(store, [store.describe(image) for image in chosen.images], show=progress)
    with bar(total=len(chosen.images), what="preprocess", unit="image", show=progress) as line:
        images = (store.image(image) for image in chosen.images)
        return preprocess_once(images, recipe=plan.recipe, count=len(chosen.images), into=kept, tick=line.update)


def _learn(out: Path, images, plan: planning.Plan, begun: dict[str, Any], seconds, epochs, *, started, progress: bool):
    """Learn for as long as was decided when it began."""
    from overread.learn.framework import natives_to

    with natives_to(out / "framework.log"):
        from overread.learn import pretrain as learning

        batch = min(BATCH["volumes" if len(plan.input_shape) == 4 else "pictures"], len(images))
        settings = learning.Settings(1, batch, plan.seed)
        if "epochs" not in begun:
            steps = max(1, len(images) // batch)
            wanted = epochs or min(max(round(STEPS / steps), LEAST_EPOCHS), MOST_EPOCHS)
            if seconds is not None:
                left = 0.9 * (seconds - (time.monotonic() - started))
                step = learning.step_seconds(plan.input_shape, plan.build, settings)
                wanted = max(1, min(int(left / (step * steps)), epochs or max(1, MOST_STEPS // steps)))
            begun["epochs"], begun["batch"] = wanted, batch
            write_json(out / "unfinished", begun)
        settings = replace(settings, epochs=begun["epochs"], batch=begun["batch"])
        total = settings.epochs * max(1, len(images) // batch)
        with bar(total=total, what="learn to see", unit="step", show=progress) as line:

            def tell(news: dict[str, Any]) -> None:
                line.update(news["epoch"] * news["steps"] + news["step"] - line.n)
                line.set_postfix({"epoch": f"{news['epoch'] + 1}/{news['epochs']}", "loss": f"{news['loss']:.2f}"}, refresh=False)  # fmt: skip

            return learning.learn(images, plan.build, settings, checkpoint=out / "checkpoint.npz", tell=tell)


def _card(store, chosen: Chosen, plan, seen, learned, begun, paid, now: datetime) -> dict[str, Any]:
    """Return all that is told of the start."""
    known = all(study.patient for study in chosen.studies)
    answered = sum(any(v is not None for v in study.labels.values()) for study in chosen.studies)
    return {
        "name": f"start of {now:%Y-%m-%d}", "method": METHOD, "made": now.isoformat(timespec="seconds"),
        "network": {"name": "residual", **plain(plan.build)}, "dimensions": len(plan.input_shape) - 1,
        "input_shape": list(plan.input_shape), "intensity": plain(plan.parts["intensity"]["steps"]),
        "images_are": {"unit": seen.unit, "channels": seen.channels, "eight_bit": seen.eight_bit, "modality": seen.modality},
        "archive": {"mark": mark_of(store), "fingerprint": fingerprint(chosen.images)},
        "images": len(chosen.images), "studies": len(chosen.studies), "studies_with_answers": answered,
        "patients": len(chosen.people) if known else None, "left_out": dict(chosen.left_out), "salt": begun["salt"],
        "seed": plan.seed, "epochs": begun["epochs"], "batch": begun["batch"], "history": learned.history,
        "spread": round(learned.history[-1]["spread"], 4), "seconds": round(learned.seconds, 1), "cost": paid,
        "licence": LICENCE, "privacy": PRIVACY, "machine": f"{platform.machine()}, {platform.system()}",
        "versions": {"overread": __version__, "python": platform.python_version(), **environment()},
    }  # fmt: skip


def _write(out: Path, card: dict[str, Any], learned, chosen: Chosen) -> Given:
    from overread.learn import pretrained

    weights = pretrained.taken(learned.built.trained)
    return pretrained_start.write(out, card, weights, images=chosen.images, people=chosen.people)
