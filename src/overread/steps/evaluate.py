"""Evaluate: read the testing cohort, give every figure its interval beside the floors, and write the report."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from overread import __version__, engine
from overread.domain import ModelCard, Study, Task, fingerprint
from overread.domain.canonical import plain
from overread.errors import CohortError, RunError
from overread.learn.gate import Rows
from overread.learn.predict import Model
from overread.learn.saliency import DEFAULT
from overread.pages.plots import told
from overread.stats import calibration as calibrating
from overread.stats.exchangeability import one_each
from overread.stats.splits import Split
from overread.steps import corruptions, elsewhere, leakage, probes, shortcuts
from overread.steps.asked import at_prevalence, check_questions, claims_against
from overread.steps.beside import floors_of, shorten
from overread.steps.covered import covered
from overread.steps.gallery import gallery
from overread.steps.heatmaps import judge, keep, panel_of
from overread.steps.held_out import ALIKE
from overread.steps.nearest import training_cases
from overread.steps.progress import bar as moved_bar
from overread.steps.progress import progress as bar
from overread.steps.question import never_learned
from overread.steps.question import truth as truth_of
from overread.steps.reads import count as count_reads
from overread.steps.reads import edited, model_of, own_to, seal_figures
from overread.steps.report import publish
from overread.steps.run import archive_of, read_json, refuse_unsealed, write_json
from overread.steps.scores import Question, Scores, read_scores
from overread.steps.seeds import seed_spread
from overread.steps.subgroups import groups_of, told_of
from overread.steps.ways import ways
from overread.store.archive import Archive
from overread.store.objects import ImageRecord, read_object

GONE = "The training archive is not here: no cases are shown, and no subgroup could be looked at."

NOT_ONE = (
    "The other archive is too large to look for copies inside it, and not all its patients are known: copies count as "
    "several cases, and the intervals may be too narrow."
)

_CHUNK = 64  # images that travel together to a host of a cluster, at most


@dataclass(frozen=True)
class Evaluation:
    """What was found: the figures, and all that the report shows.

    Parameters
    ----------
    run : Path
    metrics : mapping
        As written to ``metrics.json``.
    page : mapping
        What `overread.pages.report.render_report` was given.
    report : Path
    """

    run: Path
    metrics: Mapping[str, Any]
    page: Mapping[str, Any]
    report: Path

    def to_json(self) -> dict[str, Any]:
        """Return the figures for ``--json``."""
        return {"run": str(self.run), "report": str(self.report), **plain(self.metrics)}

    def __str__(self) -> str:
        first = self.page["name"]
        figures = self.metrics["labels"][first]
        n, patients = figures["auroc"]["n"], figures["auroc"]["n_patients"]
        whom = f"{n:,} images of {patients:,} patients" if patients is not None else f"{n:,} images (patients unknown)"
        other = self.metrics["on"] != "testing cohort"
        from_where = "of another archive" if other else "held out for testing"
        beside = self.metrics["floors"]["logistic_thumbnails"].get(first, {}).get("auroc")
        lines = [
            f"{first}: AUROC {told(figures['auroc'])} on {whom} {from_where}",
            f"logistic regression on thumbnails: AUROC {told(beside)}" if beside else "no floor could be computed",
        ]
        if "sensitivity" in figures:
            lines.append(
                f"at the operating point: sensitivity {told(figures['sensitivity'])}, "
                f"specificity {told(figures['specificity'])}"
            )
        else:
            lines.append(f"accuracy {told(figures['accuracy'])}")
        if first in self.metrics.get("seed_spread", {}):
            s = self.metrics["seed_spread"][first]
            lines.append(
                f"over {s['n']} seeds: AUROC {s['mean']:.3f} ± {s['sd']:.3f} ({s['low']:.3f} to {s['high']:.3f})"
            )
        alike = self.metrics.get("exchangeability") or {}
        lines += [f"! {alike['in_words']}"] if alike.get("alarm") else []
        lines += [f"! {said}" for said in self.page.get("edited", ())]
        lines += [f"! {warning}" for warning in elsewhere.warnings(self.metrics["leakage"])] if other else []
        return "\n".join(lines)


def evaluate(
    run: str | Path,
    *,
    on: str | Path | None = None,
    prevalence: float | None = None,
    published: Mapping[str, float] | None = None,
    published_n: int | None = None,
    seeds_from: Sequence[str | Path] = (),
    cluster: str | None = None,
    now: datetime | None = None,
    progress: bool = False,
) -> Evaluation:
    """Say how well a run reads the testing cohort, or another archive, and write figures, report and card.

    Writes ``metrics.json``, ``report.html`` (and ``report.json``, what it shows), ``card.json``, ``card.md``,
    ``card.xml`` and ``floor.npz`` (what the floors say of it) into the run, and ``answers.toml``, for a human to fill
    in, where there is none; with ``on``, figures and report go to the folder ``on-<fingerprint>`` in it instead. Before
    anything is measured the read is recorded in ``testing-reads.jsonl``, in the run and in the archive that is read.

    Parameters
    ----------
    run : path
        A trained run.
    on : path, optional
        Another archive with the same label; all its labelled studies are read. The training archive need not be here.
    prevalence : float, optional
        How common the finding is where the model will be used: PPV and NPV are told for it, too.
    published : mapping of str to float, optional
        Figures of others on the same cases, ``{"auroc": 0.97}``: the one-sided p-value of "not better" is told.
    published_n : int, optional
        Testing cases behind the published figures.
    seeds_from : sequence of path
        Runs of the same plan and testing images with other seeds: how far chance alone moves the AUROC is told.
    cluster : str, optional
        "auto", "local" or "host:port": read the other archive on that Ray cluster (docs/scale.md); the same figures. The
        testing cohort was read by ``train``.
    now : datetime, optional
        The time that the records carry.
    progress : bool
        Show progress on stderr.

    Returns
    -------
    Evaluation

    Raises
    ------
    RunError, ArchiveError, CohortError
    IntegrityError
        If the run or its journal of reads was touched. Figures of an earlier evaluation that were edited are measured
        anew instead, and it is said on the page and in the journal that they were found so.
    """
    run, now = Path(run), now or datetime.now().astimezone()
    check_questions(prevalence, published or {})
    if cluster is not None and on is None:
        raise RunError(
            "a cluster, and no other archive to read on it",
            expected="--on ARCHIVE: the scores of the testing cohort are in the run already",
            do="leave --cluster out",
        )
    plan = read_json(run / "plan.json")
    where = archive_of(run, plan)
    task = Task(**{**plan["task"], "labels": tuple(plan["task"]["labels"])})
    split = Split.from_json(read_json(run / "split.json"))
    kept = read_json(run / "calibration.json")
    fitted = calibrating.Calibration.from_json(kept["calibration"])
    points = kept["operating_points"]
    model = Model.load(run)
    refuse_unsealed(run)
    found = edited(run, needed=() if on is None else ("card.json",))
    certificate = leakage.read_certificate(run, split)
    scores = leakage.apart(certificate, read_scores(run / "scores.csv", task.labels))
    names = (shortcuts.NAME, probes.NAME, corruptions.NAME, ALIKE)
    looked, probed, worse, alike = (read_json(run / n) if (run / n).exists() else {} for n in names)
    warnings = [*shortcuts.warnings(looked), *(probes.warnings(probed) if probed else [])]
    with ExitStack() as stack:
        home = stack.enter_context(Archive.open(where)) if where else None
        studies = {s.pseudonym: s for s in home.studies()} if home else {}
        if home:
            _refuse_changed(split, studies)
        if on is None:
            archive, testing, there, rows = home, scores.of("testing"), studies, {}
            warnings = [*split.warnings, *leakage.warnings(certificate), *warnings, *([] if home else [GONE])]
        else:
            archive = stack.enter_context(Archive.open(on))
            there = {s.pseudonym: s for s in archive.studies()}
            (testing, rows), said = _read(archive, there, model, task, cluster, progress=progress), []
            if any(patient is None for _, _, _, patient in testing.entries):
                alone = leakage.find_copies(archive, progress=progress).near
                testing = replace(testing, copies=alone or {})
                said = [NOT_ONE] if alone is None else []
            testing, certificate = elsewhere.measured_apart(
                testing, split, run=run, archive=archive, home=home, labels=task.labels, progress=progress
            )
            first = [*elsewhere.warnings(leakage.told(certificate)), never_learned(list(there.values()), task)]
            warnings = [w for w in (*first, *said, *(f"where it was trained: {w}" for w in warnings)) if w]
        place, images = archive.path if archive else None, [entry[1] for entry in testing.entries]
        reads = count_reads(run, place, images, model=model_of(run), own=on is None, now=now)
        name = "." if on is None else f"on-{fingerprint(sorted(images))[:12]}"
        said_of_edits = own_to(run, found, at=name, now=now)
        how = Question(task, split, points, int(plan["seed"]), model.sets)
        for other in seeds_from:
            count_reads(Path(other), place, images, model=model_of(Path(other)), own=True, now=now)
        spread = seed_spread(run, testing, how, [Path(other) for other in seeds_from]) if on is None else {}
        probability = fitted.probabilities(testing.logits)
        alike = alike if on is None else _alike(model, testing, rows)
        warnings += [f"{alike['in_words'][0].upper()}{alike['in_words'][1:]}."] if alike.get("alarm") else []
        groups = groups_of(testing, there, how.task) if archive else []
        figures = (5 + len(groups)) * len(task.labels)
        meter = stack.enter_context(moved_bar(total=figures, what="figures and intervals", show=progress))
        labels = how.figures(testing, probability, tick=meter.update)
        between = fitted.interval(testing.logits)
        why = how.why(testing, probability, between)
        for label, account in how.referrals(testing, probability, between).items():
            labels[label]["three_way"] = account
        for label, parts in ways(how, testing, probability, why).items():
            labels[label]["three_ways"] = parts
        lower, beside = floors_of(
            home, archive, studies, scores, testing, how, run, why=why, tick=meter.update, progress=progress
        )
        subgroups = told_of(testing, probability, groups, how, why=why, tick=meter.update)
        meter.close()
        if home and on is None:
            panel = panel_of(model, home, seed=how.seed)
            model.heat_maps = keep(run, {DEFAULT: judge(model, panel, seed=how.seed, progress=progress)})
        pictures = []
        if archive:
            cases = (archive, model, testing.entries, testing.truth, probability, task, points)
            like = training_cases(model, home, split, studies, progress=progress) if home else None
            pictures = gallery(*cases, copies=testing.copies, like=like, progress=progress)
    measured = {
        "unit": _unit(testing),
        "labels": labels,
        "split": {k: v for k, v in split.to_json().items() if k not in ("cohorts", "aside")},
        "floors": lower,
        "operating_points": {} if how.levels else points,
        "calibration": {k: v for k, v in fitted.to_json().items() if k != "refits"},
        "subgroups": subgroups,
        "sets": covered(how, testing, probability),
        "seed_spread": spread,
        "exchangeability": alike,
        "at_prevalence": at_prevalence(labels, prevalence) if prevalence is not None else {},
        "heatmaps": model.heat_maps,
        "claims": claims_against(labels, published or {}, n=published_n),
        "leakage": leakage.told(certificate),
        "with_overlaps": shorten(leakage.with_overlaps(scores, how, fitted)) if on is None else {},
        "shortcuts": looked,
        "probes": probed,
        "corruptions": worse,
        "gate": model.gate.told() if model.gate else {},
        "on": "testing cohort" if on is None else "another archive",
        "overread": __version__,
    }
    measured = plain(measured)
    out = run if on is None else run / f"on-{fingerprint(sorted(e[1] for e in testing.entries))[:12]}"
    out.mkdir(exist_ok=True)
    card = _card(run, measured) if on is None else model.card
    page = {
        **measured,
        "name": task.name if task.name in labels else task.labels[0],
        "task": plain(task),
        "network": plan["network"],
        "cohorts": card.cohorts,
        "card": plain(card),
        "card_fingerprint": card.fingerprint,
        "strata": _strata(split, studies, task) if home else [],
        "flow": _flow(studies, split, task) if home else {},
        "strata_known": home is not None,
        "curves": {
            label: {"truth": testing.truth[:, j], "probability": probability[:, j], "beside": beside.get(label, {})}
            for j, label in enumerate(task.labels)
        },
        "gallery": pictures,
        "edited": said_of_edits,
        "warnings": [*said_of_edits, *warnings, *reads.warnings(), *fitted.notes],
        "reads": reads.times,
        "measured_before": str(reads),
        "apart": leakage.clean(certificate) and not certificate.get("not_compared"),
        "now": now.isoformat(timespec="seconds"),
        "external": on is not None,
    }
    write_json(out / "metrics.json", measured)
    publish(out, run, page, card)
    seal_figures(run, out, now=now)
    return Evaluation(run, measured, page, out / "report.html")


def _refuse_changed(split: Split, studies: Mapping[str, Study]) -> None:
    """Raise when studies of the split are no longer in the archive."""
    gone = {study for entries in split.cohorts.values() for _, study, _ in entries} - set(studies)
    if gone:
        raise RunError(
            f"the archive no longer holds {len(gone):,} studies of this run's split",
            expected="the archive the run was trained on",
            do="restore it, or train again",
        )


def _read(
    archive: Archive, studies: Mapping[str, Study], model: Model, task: Task, cluster: str | None, *, progress: bool
) -> tuple[Scores, dict[str, Rows]]:
    """Score every labelled study of another archive; return each image as the gate sees it, too, by its hash."""
    known = truth_of(list(studies.values()), task)
    rows = [
        (("testing", image, study.pseudonym, study.patient), t)
        for study, t in zip(studies.values(), known, strict=True)
        if not np.isnan(t).all()
        for image in study.images
    ]
    if not rows:
        strange = never_learned(list(studies.values()), task)
        raise CohortError(
            f"no study of this archive has {'a level that the model knows of' if strange else 'the label'} {task.name!r}",
            expected="the label the run was trained for" + (f": {', '.join(task.labels)}" if strange else ""),
        )
    hashes = [entry[1] for entry, _ in rows]
    how = {"total": len(rows), "what": "reading", "unit": "images", "show": progress}
    if cluster is None:
        found = list(model.looked(archive.image(name) for name in bar(hashes, **how)))
    else:
        found = list(bar(_looked_elsewhere(archive, hashes, model, cluster), **how))
    logits, unlike = np.array([z for z, _, _ in found]), tuple(why for _, why, _ in found)
    seen = {entry[1]: row for (entry, _), (_, _, row) in zip(rows, found, strict=True) if row}
    return Scores(tuple(entry for entry, _ in rows), np.array([t for _, t in rows]), logits, unlike), seen


def _looked_elsewhere(
    archive: Archive, hashes: Sequence[str], model: Model, cluster: str
) -> Iterator[tuple[np.ndarray, str, Rows]]:
    """Yield what ``Model.looked`` does, from the hosts of a cluster."""
    records = (archive.describe(name) for name in hashes)
    how = {"cluster": cluster, "shared": (archive.objects, model.run), "chunk": _CHUNK}
    for seen in engine.map(partial(look, model, archive.objects), records, **how):
        if isinstance(seen, engine.Failure):
            raise RunError(f"an image that cannot be read: {seen.reason}", do="look for it with `overread verify`")
        yield seen


def look(model: Model, objects: Path, record: ImageRecord) -> tuple[np.ndarray, str, Rows]:
    """Score one stored image; in a worker process."""
    return next(model.looked([read_object(objects, record)]))


def _alike(model: Model, testing: Scores, rows: Mapping[str, Rows]) -> dict[str, Any]:
    """Return whether the images of another archive come as the calibration cohort's did; empty where too few to say."""
    each = one_each(testing.patients, [entry[1] for entry in testing.entries])
    found = [rows[testing.entries[i][1]] for i in each if testing.entries[i][1] in rows]
    return (model.gate.compared(found) if model.gate is not None else None) or {}


def _strata(split: Split, studies: Mapping[str, Study], task: Task) -> list[dict[str, Any]]:
    """Return how many images of each stratum stand in each cohort."""
    rows: dict[tuple[str, str], dict[str, int]] = {}
    for cohort, entries in split.cohorts.items():
        for _, study, _ in entries:
            for key in studies[study].strata.items():
                counts = rows.setdefault(key, dict.fromkeys(split.cohorts, 0))
                counts[cohort] += 1
    many = {name for name in {n for n, _ in rows} if sum(1 for n, _ in rows if n == name) > 12}
    return [{"stratum": n, "value": v, "counts": rows[n, v]} for n, v in sorted(rows) if n not in many]


def _flow(studies: Mapping[str, Study], split: Split, task: Task) -> dict[str, int]:
    """Return how many studies the archive holds, how many have a known answer, and how many were divided."""
    known = ~np.isnan(truth_of(list(studies.values()), task)).all(axis=1)
    divided = {study for entries in split.cohorts.values() for _, study, _ in entries}
    return {"studies": len(studies), "labelled": int(known.sum()), "divided": len(divided)}


def _unit(testing: Scores) -> dict[str, Any]:
    """Return what every figure counts: images, not examinations or patients, and how many there are of each."""
    patients = {patient for _, _, _, patient in testing.entries}
    return {
        "counted": "image",
        "images": len(testing.entries),
        "studies": len({study for _, _, study, _ in testing.entries}),
        "patients": None if None in patients else len(patients),
    }


def _card(run: Path, measured: Mapping[str, Any]) -> ModelCard:
    """Return the run's card with its performance filled in."""
    record = read_json(run / "card.json")
    known = {k: v for k, v in record.items() if k in ModelCard.__dataclass_fields__}
    floors = {name: shorten(figures) for name, figures in measured["floors"].items()}
    performance = {"labels": shorten(measured["labels"]), "floors": floors}
    return ModelCard(**{**known, "limits": tuple(known["limits"]), "performance": performance})
