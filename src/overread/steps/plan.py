"""Plan: look at a cohort, and write down what training would do with it and why, for a person to read and edit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from overread.domain import Study, Task, fingerprint
from overread.errors import CohortError, RunError
from overread.learn import applications_rules, plan_budget, plan_default, plan_file, pretrained_rules, starts
from overread.learn import plan as planning
from overread.learn import precision as rounding
from overread.learn.applications import Brought
from overread.learn.plan_checks import check_together
from overread.learn.plan_spacing import Asked as Spacing
from overread.learn.plan_spacing import parse_spacing
from overread.learn.plan_study import answered_by
from overread.learn.pretrained_start import Given
from overread.stats import splits
from overread.stats.certificate import Copies
from overread.steps import leakage
from overread.steps import start as starting
from overread.steps.begin import Asked, check_options, split_to_use, splits_not_used
from overread.steps.contradicted import read_contradicted
from overread.steps.machine import machine
from overread.steps.opened import open_archive
from overread.steps.plan_look import look
from overread.steps.plan_printed import Planned
from overread.steps.progress import say
from overread.steps.question import as_said, ask, columns, truth, without_rare
from overread.steps.run import write
from overread.store.archive import Archive

AUTO = "auto"
"""In place of a network's name: the one that reads patients held out best."""

NAME = "plan.toml"
"""The plan in a run's folder."""


@dataclass(frozen=True)
class Divided:
    """The question, and who is in which cohort: what a plan is drawn up for."""

    task: Task
    split: splits.Split
    by_name: Mapping[str, Study]
    copies: Copies
    certificate: Mapping[str, Any]
    column: str | None
    seed: int

    @property
    def fingerprint(self) -> str:
        """SHA-256 over the training images and their answers: a plan holds for these."""
        entries = self.split.cohorts["training"]
        known = truth([self.by_name[study] for _, study, _ in entries], self.task)
        answers = [[None if v != v else v for v in row] for row in known.tolist()]
        return fingerprint(sorted([image, answer] for (image, _, _), answer in zip(entries, answers, strict=True)))


def plan(
    archive: object,
    *,
    label: str,
    out: str | Path | None = None,
    network: str | None = None,
    split_column: str | None = None,
    seed: int = 0,
    seeds: int | None = None,
    kind: str = "auto",
    side_matters: bool | None = None,
    budget: str | None = None,
    start: str | Path | None = None,
    spacing: str | float | Sequence[float] | None = None,
    unit: str | None = None,
    precision: str | None = None,
    progress: bool = True,
) -> Planned:
    """Look at the training cohort of a question and say what `train` would do with it, and why.

    The cohorts are divided exactly as `train` divides them; nothing but the training cohort is looked at.

    Parameters
    ----------
    archive : path, Archive, or what ``collect`` returned
    label : str
        A label's name, or several yes-or-no labels with commas.
    out : path, optional
        TOML file to write.
    network : str, optional
        A name of `overread networks`, or "auto": each is tried on training and tuning patients, and the best is planned.
        None: a rule chooses by the cohort (`learn.plan_default`).
    split_column : str, optional
        Use a published split.
    seed : int
    seeds : int, optional
        Networks that answer together.
    kind : str
    side_matters : bool, optional
        True: no image is mirrored. False: they may be. None: the training images decide.
    budget : str, optional
        Time for training, as `train` takes it: steps are timed on this machine, and the plan says what fits.
    start : path, optional
        What `overread pretrain` wrote, or a finished run: the network begins with these weights. Or a file of weights of
        one of Keras' applications: a line is fitted on what they see.
    spacing : "auto", float or three floats, optional
        State the spacing of volumes, in mm: what the cohort suggests, one number, or (slices, rows, columns).
    unit : "image", "study" or "patient", optional
        What is answered with one answer (docs/plan.md); each image when not given.
    precision : "float32" or "bfloat16", optional
        Products of the residual network in 16 bits (docs/plan.md); 32 when not given.
    progress : bool

    Returns
    -------
    Planned

    Raises
    ------
    LabelError, CohortError, RunError
    """
    mm = parse_spacing(spacing)
    given = starting.open_start(start)
    seconds = check_options(
        Asked(
            network, seeds, seed, kind, side_matters, budget, spacing=mm, unit=unit, start=given, precision=precision
        ),
        0.95,
    )
    with open_archive(archive) as store:
        divided = divide(store, label=label, kind=kind, split_column=split_column, seed=seed, progress=progress)
        told = {
            "side_matters": side_matters,
            "seeds": seeds,
            "alone": nothing_beside(seconds),
            "spacing": mm,
            "start": given,
        }
        drawn = answered_by(draw_up(store, divided, network=network, **told, progress=progress), unit)
        drawn = rounding.at(drawn, precision)
    if seconds is not None and drawn.network != "features":
        drawn = within(drawn, seconds, n=len(divided.split.cohorts["training"]), seeds=seeds)
    if given is not None:
        drawn = starting.moved(drawn, given.path if isinstance(given, Brought) else str(start))
    if out is not None:
        write(Path(out), plan_file.written(drawn.head, drawn.parts, paths=True))
    return Planned(drawn.head, drawn.parts, str(out or ""))


def divide(store: Archive, *, label: str, kind: str, split_column: str | None, seed: int, progress: bool) -> Divided:
    """Turn a label into a question and divide its studies, as `train` does."""
    studies = list(store.studies())
    if not studies:
        raise CohortError("an empty archive", expected="studies with labels", do="collect some first")
    task = ask(studies, label, kind=kind)
    column = split_to_use(studies, columns(task), split_column)
    copies = leakage.find_copies(store, progress=progress)
    studies, task, told = without_rare(studies, task, alike=copies.near)
    split = splits.divide(studies, labels=columns(task), seed=seed, published=column, alike=copies.near)
    split = replace(split, warnings=(*told, *split.warnings, *splits_not_used(studies, columns(task), split_column)))
    against = read_contradicted(store)
    certificate = leakage.certify(split, copies, studies=studies, labels=columns(task), contradicted=against)
    leakage.refuse_too_little(certificate, split)
    return Divided(task, split, {s.pseudonym: s for s in studies}, copies, certificate, column, seed)


def nothing_beside(seconds: float | None, *, cluster: bool = False) -> str:
    """Return why a network from nothing is planned alone where nobody named one; "" where there is no such reason."""
    if cluster:
        return "several processes share its batches; a start is trained by one machine"
    if seconds is not None and seconds < plan_budget.SHORT:
        return f"{seconds:.0f} s are for one network"
    return ""


def draw_up(
    store: Archive,
    divided: Divided,
    *,
    network: str | None,
    side_matters: bool | None,
    seeds: int | None = None,
    alone: str = "",
    spacing: Spacing = None,
    start: Given | Brought | None = None,
    progress: bool,
) -> planning.Plan:
    """Look at the training cohort and draw up the plan; for ``AUTO`` after trying which network reads patients held out best.

    Where no network is named a rule chooses by the cohort; ``alone`` says why it may not take a start along.
    """
    if start is not None:
        starting.refuse_seen(start, divided.split)
        network = network or ("features" if isinstance(start, Brought) else "residual")
    if network == AUTO:
        return _best_of(store, divided, side_matters=side_matters, seeds=seeds, start=start, progress=progress)
    sides = network in (None, "residual", "fine-tuned", "pair", "slices") and side_matters is None
    seen = look(store, divided.split, divided.by_name, divided.task, divided.copies, sides=sides, seed=divided.seed, progress=progress)  # fmt: skip
    seen = replace(seen, side_told=side_matters)
    task = with_header(divided.task, seen)
    chosen, reason = (network, "") if network is not None else plan_default.by_rule(seen, alone=alone)
    nothing = "residual" if isinstance(start, Brought) else chosen  # what the parts are changed from
    drawn = planning.draw_up(task, seen, network=nothing, seed=divided.seed, spacing=spacing)
    if isinstance(start, Brought):
        drawn = planning.planned(drawn.task, applications_rules.begun(drawn.parts, start, volumes=bool(seen.volumes)))
    elif start is not None:
        drawn = planning.planned(drawn.task, pretrained_rules.begun(drawn.parts, seen, start))
    _refuse_without_spacing(store, divided, drawn.parts)
    if reason:
        drawn = planning.changed(drawn, "network", f"{drawn.parts['network']['reason']}; {reason}")
    if seeds is not None:
        reason = f"{seeds} networks were asked for; they differ by their seed only, and answer together"
        drawn = planning.changed(drawn, "ensemble", reason, networks=seeds, rule="several networks: told")
        _several(drawn, seeds)
    return replace(drawn, head=head_of(divided, seen))


def _refuse_without_spacing(store: Archive, divided: Divided, parts: Mapping[str, Any]) -> None:
    """Refuse a plan in millimetres where any volume of any cohort does not know its own; headers only are read.

    Raises
    ------
    CohortError
    """
    mm = parts["input"].get("spacing_mm")
    if mm is None:
        return
    every = [image for entries in divided.split.cohorts.values() for image, _, _ in entries]
    silent = sum(store.describe(image).spacing_mm is None for image in every)
    if silent:
        raise CohortError(
            f"{silent:,} of {len(every):,} volumes do not say how far their voxels lie apart",
            expected=f"the spacing of each, since the plan states voxels of {' × '.join(f'{v:g}' for v in mm)} mm",
            do="collect the original series (DICOM or NIfTI), or plan without spacing_mm",
        )


def _several(drawn: planning.Plan, seeds: int) -> None:
    """Refuse more networks than one of a kind that is trained once; nobody has written a plan here.

    Raises
    ------
    RunError
    """
    try:
        check_together(drawn.parts)
    except RunError:
        raise RunError(
            f"{seeds} seeds for the network {drawn.network!r}, of which one is trained",
            expected="--seeds with a network that is drawn by its seed (see `overread networks`)",
            do="leave out --seeds, or choose another --network",
        ) from None


def _best_of(
    store: Archive,
    divided: Divided,
    *,
    side_matters,
    seeds: int | None,
    start: Given | Brought | None = None,
    progress: bool,
) -> planning.Plan:
    """Draw up the plan of the network that read training and tuning patients best which it had not learned from."""
    from overread.steps import rivals  # which draws up plans itself

    told = {"side_matters": side_matters, "seeds": seeds, "progress": progress}
    held = sum(len(divided.split.cohorts[cohort]) for cohort in ("training", "tuning"))
    if not starts.available() and start is None:
        chosen, reason = "residual", "no start is installed, so nothing was tried against the network from nothing"
    elif held < rivals.FEWEST and start is not None:
        chosen, reason = rivals.BEFORE, f"{held} training and tuning images are too few to try networks on"
    elif held < rivals.FEWEST:
        chosen, reason = "features", f"{held} training and tuning images are too few to try networks on: a line on frozen features has least to learn"  # fmt: skip
    else:
        found = rivals.compare(store, divided, side_matters=side_matters, start=start, progress=progress)
        chosen, reason = found.chosen, f"{found.reason}; {found.told}"
        say(progress, f"{reason}")
    taken = chosen == rivals.BEFORE
    drawn = draw_up(store, divided, network=None if taken else chosen, start=start if taken else None, **told)
    reason = f"{reason}. It is {drawn.parts['network']['reason']}"
    return planning.changed(drawn, "network", reason, rule="the best on patients held out")


def within(drawn: planning.Plan, seconds: float, *, n: int, seeds: int | None) -> planning.Plan:
    """Return the plan that a time allows; a few steps are timed on this machine."""
    from overread.learn.framework import natives_to  # Keras comes in here, and only when a time is named

    with natives_to(None):
        from overread.learn import fit

        step = fit.step_seconds(drawn)
    return plan_budget.within(drawn, seconds, step=step, n=n, networks=seeds)


def with_header(task: Task, seen: planning.Fingerprint) -> Task:
    """Return the task with what the headers of the training images say."""
    header = {"modality": seen.modality, "body_part": seen.body_part, "view": seen.view}
    return replace(task, **header, unit=seen.unit, eight_bit=seen.eight_bit)


def taken_up(path: str | Path, store: Archive, divided: Divided, *, progress: bool) -> planning.Plan:
    """Return the plan of a file, for the cohort that it was drawn up for.

    Raises
    ------
    RunError
        When the file is none, or was drawn up for another question or cohort.
    """
    head, parts = plan_file.read(path)
    question, cohort = head["question"], head["cohort"]
    if [*divided.task.labels] != question.get("labels") or divided.task.kind != question.get("kind"):
        raise RunError(
            f"the plan is for {question.get('label')!r} ({question.get('kind')}), asked is {divided.task.name!r} ({divided.task.kind})",
            expected="the question that the plan was drawn up for",
            do="draw up another with `overread plan`",
        )
    if cohort.get("fingerprint") != divided.fingerprint:
        n = len(divided.split.cohorts["training"])
        raise RunError(
            f"the plan was drawn up for another training cohort ({cohort.get('images')} images, here {n})",
            expected="the same archive, labels, split and seed",
            do="draw up another with `overread plan`",
        )
    seen = look(store, divided.split, divided.by_name, divided.task, divided.copies, sides=False, seed=divided.seed, progress=progress)  # fmt: skip
    deep = len(parts["input"]["size"]) == 3
    if parts["network"]["name"] == "residual" and deep != bool(seen.volumes):
        raise RunError(
            f"the plan's input has {3 if deep else 2} dimensions, the cohort holds {'volumes' if seen.volumes else 'pictures'}",
            expected="[input] size with three numbers for volumes, two for pictures",
            do="mend that line",
        )
    _refuse_without_spacing(store, divided, parts)
    found = replace(planning.planned(with_header(divided.task, seen), parts), head=head)
    rounding.refuse_of(found)
    return found


def begun_with(path: str | Path) -> tuple[str, int]:
    """Return the kind of question, as a person would say it, and the seed of the division that a plan was drawn up with."""
    kind, seed, _ = drawn_with(path)
    return kind, seed


def drawn_with(path: str | Path, label: str | None = None) -> tuple[str, int, str | None]:
    """Return what a plan was drawn up with: the kind of question, as a person would say it, the seed of the division and the
    published split, if one was used.

    Raises
    ------
    RunError
        When it is a plan for another label, or its question or cohort was changed.
    """
    head, _ = plan_file.read(path)
    question, cohort = head["question"], head["cohort"]
    whole = isinstance(question, Mapping) and isinstance(cohort, Mapping)
    kind, seed = (question.get("kind", "auto"), cohort.get("seed", 0)) if whole else (None, None)
    labels, column = (question.get("labels", []), cohort.get("split_column")) if whole else ([], None)
    words = isinstance(labels, list) and all(isinstance(name, str) for name in labels)
    if not isinstance(seed, int) or not isinstance(kind, str) or not words or not isinstance(column, str | None):
        raise RunError("the plan's question or cohort was changed", expected="as `overread plan` wrote it", do="draw it up again")  # fmt: skip
    own = str(question.get("label"))
    named = dict.fromkeys(n.strip() for n in (label or own).split(",") if n.strip())
    if label is not None and own not in (label, ",".join(named)):
        raise RunError(f"the plan is for {own!r}, asked is {label!r}", expected="the question that the plan was drawn up for", do="name that label, or draw up another plan with `overread plan`")  # fmt: skip
    return as_said(kind, own, labels), seed, column


def head_of(divided: Divided, seen: planning.Fingerprint) -> dict[str, Any]:
    """Return what a plan says of question, cohort and machine, before what it chooses."""
    task, split = divided.task, divided.split
    cohort = {
        "fingerprint": divided.fingerprint,
        "division": split.source,
        **({"split_column": divided.column} if divided.column else {}),
        "seed": divided.seed,
        "images": seen.n,
        **({"patients": seen.patients} if seen.patients is not None else {}),
        "answers": dict(seen.answers),
        "modality": seen.modality or "not said",
        "unit": seen.unit or "several",
        "channels": seen.channels,
        "size": list(seen.shape),
        "sizes": [list(s) for s in seen.shapes],
        **({"spacing_mm": list(seen.spacing_mm), "spacings_mm": [list(s) for s in seen.spacings_mm]} if seen.spacing_mm else {}),
        **({"range": list(seen.intensities)} if seen.intensities else {}),
        "sides": {axis: dict(found) for axis, found in seen.sides.items()},
        "twins": [dict(found) for found in seen.gains],
    }  # fmt: skip
    question = {"label": task.name, "kind": task.kind, "labels": list(task.labels)}
    return {"question": question, "cohort": cohort, "machine": machine()}
