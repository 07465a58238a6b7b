"""Train by cross-validation: every patient is tested by networks that never saw it, again and again with other parts.

For a cohort too small to spare a testing cohort. The parts are whole patients; a network learns from all but one part,
its probabilities and its line from patients outside that part, and the part is tested. What is exported is all these
networks as one, with probabilities, line and sets learned on the answers that each patient got from networks that had
not seen it. A published testing cohort stays aside, and is read once by the exported network.
"""

from __future__ import annotations

import io
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from overread.domain import COHORTS, fingerprint
from overread.domain.canonical import plain
from overread.learn import gate as gating
from overread.learn import plan as planning
from overread.learn import plan_file, starts
from overread.learn import precision as rounding
from overread.learn.plan_study import answered_by
from overread.stats import crossing
from overread.stats.exchangeability import one_each
from overread.stats.splits import Split
from overread.stats.units import units
from overread.steps import cost, elsewhere, leakage, nearest, shortcuts
from overread.steps import plan as planned
from overread.steps import start as starting
from overread.steps.begin import Asked, alone_in, check_options, prepare
from overread.steps.contradicted import read_contradicted
from overread.steps.crossed_answers import Rows, answered, exported, joined_told, kept
from overread.steps.crossed_asked import refuse_plan, refuse_start
from overread.steps.crossed_networks import DRAWN, Learned, Wanted, learn
from overread.steps.crossed_scores import NAME, TOLD
from overread.steps.crossed_told import NOT_ONE_NETWORK, guarantee, how_calibrated, in_words, parts_told
from overread.steps.describe import card_of
from overread.steps.finish import Begun, close
from overread.steps.fitting import keep, make_material
from overread.steps.held_out import Material, calibrate, scored
from overread.steps.opened import at_hand, open_archive
from overread.steps.plan import Divided
from overread.steps.progress import say
from overread.steps.question import columns
from overread.steps.question import truth as truth_of
from overread.steps.run import Run, code_fingerprint, seal, write, write_json, write_scores
from overread.steps.scores import CROSSED, whose
from overread.steps.sessions import counted

QUICK_REPEATS, SLOW_REPEATS = 3, 1
"""Repeats where nobody says how many: of a line on frozen features, and of networks that take minutes each."""


def train(
    archive: object,
    *,
    label: str,
    out: Path,
    folds: int,
    repeats: int | None,
    asked: Asked,
    split_column: str | None,
    sensitivity: float,
    intended_use: str,
    resume: bool,
    progress: bool,
    now: Any,
) -> Run:
    """Train and measure by repeated cross-validation; as `overread.steps.train.train` otherwise.

    Raises
    ------
    LabelError, CohortError, RunError
    """
    out, path = Path(out), at_hand(archive)
    started, code, meter = time.monotonic(), code_fingerprint(), cost.read_meter()
    check_options(asked, sensitivity)
    kind, seed = asked.kind, asked.seed or 0
    if asked.plan is not None:
        kind, seed, column = planned.drawn_with(asked.plan, label)
        split_column = split_column or column
    begun = Begun(path, sensitivity, seed, False, meter, started, code, now, progress)
    with ExitStack() as stack:
        store = stack.enter_context(open_archive(path))
        divided = planned.divide(store, label=label, kind=kind, split_column=split_column, seed=seed, progress=progress)
        divided = _pooled(store, replace(divided, task=replace(divided.task, intended_use=intended_use)))
        settings = {
            "plan": fingerprint([plain(divided.task), asked.told(), divided.fingerprint, folds, repeats]),
            "split": divided.split.hash,
            "sensitivity": sensitivity,
        }
        drawn = _take_up_or_draw(out, store, divided, asked, settings, folds, repeats, resume=resume, progress=progress)
        stack.enter_context(alone_in(out))
        begun = stack.enter_context(counted(out, begun))
        wanted = Wanted(drawn.parts["ensemble"]["folds"], drawn.parts["ensemble"]["repeats"])
        entries = divided.split.cohorts["training"]
        parts = dealt(divided, wanted)
        told = parts_told(divided, parts, wanted)
        write_json(out / "split.json", divided.split.to_json())
        write_json(out / "leakage.json", divided.certificate)
        elsewhere.keep_seen(out, store, divided.split, progress=progress)
        like = {"copies": divided.copies, "seed": seed, "progress": progress}
        found = shortcuts.look_for(store, divided.split, divided.by_name, divided.task, **like)
        write_json(out / shortcuts.NAME, found)
        loud = (*divided.split.warnings, *leakage.warnings(divided.certificate), *shortcuts.warnings(found))
        people = len({p or s for _, s, p in entries})
        say(progress, "".join([f"{path}: {people} patients in {wanted.folds} parts, drawn {wanted.repeats} times: {wanted.networks} networks", *(f"\n  ! {w}" for w in loud)]))  # fmt: skip
        material = make_material(store, divided.split, divided.by_name, drawn, out / "cache", progress=progress)
        write_json(out / "plan.json", planning.record(drawn))
        learned = learn(store, divided, drawn, material, parts, wanted, out, progress=progress)
        shown = Material({**material.inputs, "tuning": material.inputs["training"][:16]}, material.truth)
        keep(learned.fitted, drawn, out, shown, archive=path, progress=progress)
        _finish(out, store, divided, drawn, material, learned, parts, told, begun)
    return close(out, begun)


def _take_up_or_draw(out, store, divided, asked: Asked, settings, folds, repeats, *, resume, progress) -> planning.Plan:
    """Return the plan: the run's own when resuming, the person's when there is one, else one drawn up now."""
    own = out / planned.NAME
    if resume and own.exists():
        prepare(out, settings, resume=True)
        drawn = starting.at_home(planned.taken_up(own, store, divided, progress=progress), divided.split, out)
        refuse_plan(drawn, divided.split)
        return drawn
    if asked.plan is not None:
        drawn = planned.taken_up(asked.plan, store, divided, progress=progress)
        refuse_plan(drawn, divided.split)
    else:
        refuse_start(asked.start, divided.split)
        whole = asked.spacing or asked.start  # neither is of frozen features, which read single slices
        network = asked.network or ("features" if starts.available() and not whole else "residual")
        how = {"side_matters": asked.side_matters, "spacing": asked.spacing, "start": asked.start}
        drawn = planned.draw_up(store, divided, network=network, **how, progress=progress)
        drawn = rounding.at(answered_by(drawn, asked.unit), asked.precision)
        if "study" in drawn.parts:
            drawn = planning.changed(drawn, "study", JOINED.format(unit=asked.unit))
    quick = drawn.network == "features"
    repeats = repeats or (QUICK_REPEATS if quick else SLOW_REPEATS)
    reason = (
        f"{folds} parts of whole patients, drawn {repeats} times: each is tested by networks that never saw it, and the "
        f"{folds * repeats} networks answer together"
    )
    drawn = planning.changed(
        drawn,
        "ensemble",
        reason,
        networks=1,
        folds=folds,
        repeats=repeats,
        rule=DRAWN if asked.plan is None else OF_A_PLAN,
    )
    prepare(out, settings, resume=resume)
    drawn = starting.at_home(drawn, divided.split, out)
    write(own, plan_file.written(drawn.head, drawn.parts))
    return drawn


JOINED = (
    "the answer belongs to the {unit}: the network learns from every image of it with the {unit}'s label, and the raw scores "
    "of its images are joined. auto: for each part that one of mean and max which ranks the {unit}s outside it better, by "
    "networks that had not seen them; the mean where they are equal. No answer of a part is among those that choose its rule, "
    "and every figure is counted by {unit}. The exported networks' rule is chosen on all answers, which then calibrate it"
)
"""Why images of a study, or a patient, are joined as they are."""

OF_A_PLAN = "repeated cross-validation: of a plan"
"""The rule of a plan that a person handed over: no part draws up settings of its own."""


def _pooled(store, divided: Divided) -> Divided:
    """Return the division with all patients in one cohort; a published testing cohort stays aside."""
    split = divided.split
    aside = split.cohorts["testing"] if divided.column and "testing carved" not in _carved(split) else ()
    rows = [e for c in COHORTS for e in split.cohorts[c] if c != "testing" or not aside]
    cohorts = {"training": tuple(sorted(rows)), "tuning": (), "calibration": (), "testing": aside}
    source = f"{split.source}; all {'but the published testing cohort ' if aside else ''}cross-validated"
    pooled = replace(split, cohorts=cohorts, source=source, overlap=None)
    certificate = leakage.certify(
        pooled, divided.copies, studies=list(divided.by_name.values()), labels=columns(divided.task),
        contradicted=read_contradicted(store),
    )  # fmt: skip
    return replace(divided, split=pooled, certificate=certificate)


def _carved(split: Split) -> str:
    """Return which cohorts a published split lacked, in words."""
    *_, told = split.source.split(", ", 1)
    return told.replace(" and testing carved", ", testing carved") if "carved" in told else ""


def dealt(divided: Divided, wanted: Wanted) -> np.ndarray:
    """Return the part of each row of the cohort in every repeat, (repeats, n); copies of a picture stay together."""
    entries = divided.split.cohorts["training"]
    truth = _truth(divided, entries)
    named = sorted({study for _, study, _ in entries})
    whole = units([divided.by_name[s] for s in named], alike=divided.copies.near or {})
    unit = {study.pseudonym: k for k, group in enumerate(whole) for study in group}
    who = [unit[study] for _, study, _ in entries]
    return np.stack(
        [
            crossing.parts(truth, who, folds=wanted.folds, rng=np.random.default_rng([divided.seed, repeat]))
            for repeat in range(wanted.repeats)
        ]
    )


def _truth(divided: Divided, entries) -> np.ndarray:
    return truth_of([divided.by_name[study] for _, study, _ in entries], divided.task)


# --- what is learned on the answers ---------------------------------------------------------------------------------------


def _finish(
    out, store, divided: Divided, drawn, material: Material, learned: Learned, parts, told, begun: Begun
) -> None:
    """Write answers, probabilities, line, gate, card and seal."""
    split, task = divided.split, drawn.task
    entries, truth = split.cohorts["training"], material.truth["training"]
    copies = divided.certificate["copies"]
    patients = whose(entries, copies)
    how = Rows(entries, truth, patients, drawn.parts.get("study", {}), task.kind, drawn.weigh_classes)
    crossed, rules = answered(learned, how, parts, begun)
    mean = learned.logits.mean(axis=0)
    held = exported(mean, how)
    calibrate(out, held, task, sensitivity=begun.sensitivity, seed=begun.seed, cohort=CROSSED)
    looked = scored(out, {c: material.inputs[c] for c in ("training", "testing")}, progress=begun.progress)
    unlike = _gate(out, looked["training"][1], parts[0], patients, entries)
    write(out / "neighbours.npz", _npz(nearest.kept(looked["training"][1], entries)))
    rows = [(CROSSED, *e) for e in entries]
    found, known, why = [mean], [truth], list(unlike)
    if split.cohorts["testing"]:
        gate = gating.Gate.of(np.load(out / "gate.npz", allow_pickle=False))
        rows += [("testing", *e) for e in split.cohorts["testing"]]
        found.append(looked["testing"][0])
        known.append(material.truth["testing"])
        why += [gate.kind_of(row) for row in looked["testing"][1]]
    write_scores(out / "scores.csv", rows, np.concatenate(known), np.concatenate(found), labels=task.labels, unlike=why)
    arrays = {
        "parts": parts,
        "logits": learned.logits,
        "probability": crossed.probability,
        "interval": crossed.interval,
    }
    arrays |= {"threshold": crossed.threshold, "slack": crossed.slack, "levels": np.array(crossed.levels)}
    arrays |= kept(how, held.joining)
    write(out / NAME, _npz({**arrays, "images": np.array([e[0] for e in entries], dtype=str)}))
    told = {**told, **joined_told(held.joining, rules)}
    write_json(out / TOLD, {**told, "calibrated": how_calibrated(drawn), "in_words": in_words(told, drawn, split)})
    hashes = seal(out)
    few = (store.image(image) for image, _, _ in entries[:32])
    paid = {
        "training": cost.of_training(begun.meter),
        "prediction": cost.of_prediction(out / "model.onnx", drawn.recipe, few),
    }
    spent = {"started": begun.started, "cost": paid}
    hashes = {**hashes, "code": begun.code}
    card = card_of(out, drawn, split, divided.by_name, learned.fitted, hashes, **spent, now=begun.now)
    training = {**card.training, "cross_validated": {k: told[k] for k in ("folds", "repeats", "networks")}}
    card = replace(card, training=training, limits=(*card.limits, NOT_ONE_NETWORK, guarantee(drawn)))
    write_json(out / "card.json", plain(card))
    seal(out, card=card.fingerprint)


def _gate(out: Path, rows: Sequence[gating.Rows], part: np.ndarray, patients, entries) -> list[str]:
    """Learn the gate, and say of each row what a gate says that was learned without its part.

    Of n parts the gate that is kept learned its spread on all but the first, and its limits on the first.
    """
    kinds = rows[0].keys()
    images = [image for image, _, _ in entries]

    def learned(spread: np.ndarray, limits: np.ndarray) -> gating.Gate:
        stacked = [{k: np.stack([rows[i][k] for i in some]) for k in kinds} for some in (spread, limits)]
        own = [patients[i] for i in limits]
        each = one_each(own, [images[i] for i in limits])
        return gating.learn(*stacked, one_each=each, patients=own)

    folds = int(part.max()) + 1
    kept = learned(np.flatnonzero(part != 0), np.flatnonzero(part == 0))
    write(out / "gate.npz", _npz(kept.arrays()))
    unlike = [""] * len(rows)
    for k in range(folds):
        limits = part == (k + 1) % folds
        own = learned(np.flatnonzero(~limits & (part != k)), np.flatnonzero(limits))
        for i in np.flatnonzero(part == k):
            unlike[i] = own.kind_of(rows[i])
    return unlike


def _npz(arrays: Mapping[str, np.ndarray]) -> bytes:
    held = io.BytesIO()
    np.savez(held, **arrays)
    return held.getvalue()
