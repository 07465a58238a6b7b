"""Train: divide by patient, plan, fit, export under check, calibrate, and read the testing cohort once."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from datetime import datetime
from functools import partial
from pathlib import Path

from overread.domain import COHORTS, fingerprint
from overread.domain.canonical import plain
from overread.learn import plan as planning
from overread.learn import plan_file
from overread.learn import precision as rounding
from overread.learn.applications import Brought
from overread.learn.plan_spacing import parse_spacing
from overread.learn.plan_study import answered_by
from overread.steps import cost, crossed, crossed_asked, elsewhere, jointly, leakage, shortcuts, so_far, timed
from overread.steps import plan as planned
from overread.steps import start as starting
from overread.steps.begin import Asked, alone_in, check_options, prepare
from overread.steps.finish import Begun, close, finish
from overread.steps.fitting import fit
from overread.steps.opened import at_hand, open_archive
from overread.steps.progress import say
from overread.steps.run import Run, code_fingerprint, write, write_json
from overread.steps.sessions import counted
from overread.steps.start import open_start
from overread.store.archive import Archive


def train(
    archive: object,
    *,
    label: str,
    out: str | Path = "run",
    network: str | None = None,
    plan: str | Path | None = None,
    seeds: int | None = None,
    split_column: str | None = None,
    budget: str | None = None,
    seed: int | None = None,
    search: int | None = None,
    spacing: str | float | Sequence[float] | None = None,
    unit: str | None = None,
    resume: bool = False,
    kind: str = "auto",
    sensitivity: float = 0.95,
    side_matters: bool | None = None,
    intended_use: str = "",
    baseline: bool = True,
    cluster: str | None = None,
    processes: int | None = None,
    start: str | Path | None = None,
    folds: int | None = None,
    repeats: int | None = None,
    precision: str | None = None,
    progress: bool = True,
    now: datetime | None = None,
) -> Run:
    """Train a network to answer one question about the studies of an archive, and report how well it does.

    Patients are divided into training, tuning, calibration and testing cohorts; the plan is drawn up from the
    training images; the network trains with a checkpoint every epoch; probabilities and the operating point come
    from the calibration cohort; the testing cohort is read once, at the end.

    Parameters
    ----------
    archive : path, Archive, or what ``collect`` returned
    label : str
        A label's name, or several yes-or-no labels with commas.
    out : path
        Folder for the run.
    network : str, optional
        None: a rule chooses by the cohort. One of ``overread networks``, or "auto": each is tried on training and tuning
        patients, and the best is trained.
    plan : path, optional
        A plan that ``overread plan`` wrote and a person may have edited: it is executed, and nothing else is chosen.
    seeds : int, optional
        So many networks, which differ by their seed only and answer together.
    split_column : str, optional
        Use a published split.
    budget : str, optional
        Time for training: "90s", "10m", "1h", "overnight".
    seed : int, optional
        0 when not given; a plan has its own.
    search : int, optional
        Try so many settings on parts of the training patients first (docs/plan.md); with a long ``budget`` as many as fit.
    spacing : "auto", float or three floats, optional
        State the spacing of volumes, in mm (docs/plan.md).
    unit : "image", "study" or "patient", optional
        What is answered with one answer; each image when not given.
    resume : bool
        Go on with an unfinished training in ``out``.
    kind : str
        "auto", or "ordinal" for a label whose levels have an order.
    sensitivity : float
        What the operating point must reach on the calibration cohort.
    side_matters : bool, optional
        True: no image is mirrored in augmentation. False: they may be. None: the training images decide.
    intended_use : str
        For the model card, in your words.
    baseline : bool
        Also train the article's network, for the report.
    cluster : str, optional
        "auto", "local" or "host:port": several processes on that Ray cluster share each batch (docs/scale.md).
    processes : int, optional
        How many of them; one on each GPU, or on each host where there is none, when not given.
    start : path, optional
        What `overread pretrain` wrote, or a finished run of the residual network: the network begins with these weights.
    folds : int, optional
        Cross-validate in so many parts instead of dividing once: for some hundred patients (docs/starts.md).
    repeats : int, optional
        How often the parts are drawn.
    precision : "float32" or "bfloat16", optional
        Products of the residual network in 16 bits (docs/plan.md); 32 when not given.
    progress : bool
    now : datetime, optional
        The time that the records carry.

    Returns
    -------
    Run

    Raises
    ------
    LabelError, CohortError, RunError
    """
    out, path = Path(out), at_hand(archive)
    now, started, code = now or datetime.now().astimezone(), time.monotonic(), code_fingerprint()
    meter = cost.read_meter()
    if folds is not None or repeats is not None:
        beside = {
            "--budget": budget,
            "--search": search,
            "--seeds": seeds,
            "--cluster": cluster,
        }
        crossed_asked.check(folds, repeats, network=network, **beside)
    asked = Asked(
        network,
        seeds,
        seed,
        kind,
        side_matters,
        budget,
        plan,
        search,
        parse_spacing(spacing),
        unit,
        open_start(start, kept=out / starting.HOME if resume else None),
        precision,
    )
    if folds is not None:
        kept = {
            "split_column": split_column,
            "sensitivity": sensitivity,
            "intended_use": intended_use,
            "resume": resume,
        }
        return crossed.train(archive, label=label, out=out, folds=folds, repeats=repeats, asked=asked, **kept, progress=progress, now=now)  # fmt: skip
    seconds, several = check_options(asked, sensitivity), jointly.asked(cluster, processes)
    rounding.check(precision, **{"--cluster": several})
    if plan is not None:
        kind, seed, column = planned.drawn_with(plan, label)
        split_column = split_column or column
    seed = seed or 0
    begun = Begun(path, sensitivity, seed, baseline, meter, started, code, now, progress)
    with ExitStack() as stack:
        store = stack.enter_context(open_archive(path))
        divided = planned.divide(store, label=label, kind=kind, split_column=split_column, seed=seed, progress=progress)
        divided = replace(divided, task=replace(divided.task, intended_use=intended_use))
        task, split, by_name = divided.task, divided.split, divided.by_name
        copies, certificate = divided.copies, divided.certificate
        settings = {
            "plan": fingerprint([plain(task), asked.told(), divided.fingerprint]),
            "split": split.hash,
            "sensitivity": sensitivity,
            "baseline": baseline,
            "budget": budget,
            "search": search,
        }
        alone = planned.nothing_beside(seconds, cluster=several is not None)
        going = (out / "unfinished").exists()
        if going:
            stack.enter_context(alone_in(out))
        drawn = _take_up_or_draw(out, store, divided, asked, settings, alone=alone, resume=resume, progress=progress)
        if not going:
            stack.enter_context(alone_in(out))
        begun = stack.enter_context(counted(out, begun))
        write_json(out / "split.json", split.to_json())
        write_json(out / "leakage.json", certificate)
        elsewhere.keep_seen(out, store, split, progress=progress)
        found = shortcuts.look_for(store, split, by_name, task, copies=copies, seed=seed, progress=progress)
        write_json(out / shortcuts.NAME, found)
        also = [*leakage.warnings(certificate), *shortcuts.warnings(found)]
        say(progress, _split_told(split, store.where, also=also))

        how = fit
        if timed.takes_time(search, seconds, drawn):
            given = {"divided": divided, "trials": search, "archive": path, "sensitivity": sensitivity, "now": now}
            how = partial(timed.fit_in_time, **given)
        fitted, material, drawn = how(
            store,
            split,
            by_name,
            drawn,
            out,
            budget=seconds,
            started=started,
            seeds=seeds,
            cluster=several,
            progress=progress,
        )
        finish(out, store, divided, fitted, material, drawn, begun)
    timed.clear(out)
    so_far.clear(out)
    return close(out, begun)


def _take_up_or_draw(
    out: Path,
    store: Archive,
    divided: planned.Divided,
    asked: Asked,
    settings,
    *,
    alone: str,
    resume: bool,
    progress: bool,
) -> planning.Plan:
    """Return the plan: the run's own when resuming, the person's when there is one, else one drawn up now.

    Nothing is written before all that was asked is known to be possible.
    """
    own = out / planned.NAME
    if resume and own.exists():
        prepare(out, settings, resume=True)
        drawn = planned.taken_up(own, store, divided, progress=progress)
        if isinstance(asked.start, Brought):  # of which a run keeps no copy
            drawn = starting.moved(drawn, asked.start.path)
        return starting.at_home(drawn, divided.split, out)
    say(resume and progress, f"there is nothing to resume in {out}: a new training begins")
    trying = asked.network == planned.AUTO and asked.plan is None
    if trying:  # takes minutes: what is wrong with the folder is said before
        prepare(out, settings, resume=resume)
    if asked.plan is not None:
        drawn = planned.taken_up(asked.plan, store, divided, progress=progress)
        starting.checked(drawn, divided.split)
    else:
        drawn = planned.draw_up(
            store,
            divided,
            network=asked.network,
            side_matters=asked.side_matters,
            seeds=asked.seeds,
            alone=alone,
            spacing=asked.spacing,
            start=asked.start,
            progress=progress,
        )
        drawn = rounding.at(answered_by(drawn, asked.unit), asked.precision)
    if not trying:
        prepare(out, settings, resume=resume)
    drawn = starting.at_home(drawn, divided.split, out)
    write(own, plan_file.written(drawn.head, drawn.parts))
    return drawn


def _split_told(split, archive: str, *, also: Sequence[str]) -> str:
    counts = split.counts()
    who = "patients" if split.patients_known else "studies"
    parts = ", ".join(f"{c} {counts[c][who]}" for c in COHORTS)
    loud = "".join(f"\n  ! {w}" for w in (*split.warnings, *also))
    return f"{archive}: {who} in {parts} ({split.source}){loud}"


def history(run: str | Path) -> Sequence[dict[str, float]]:
    """Return what happened epoch by epoch: loss, and the tuning figure."""
    return json.loads((Path(run) / "history.json").read_text())["epochs"]
