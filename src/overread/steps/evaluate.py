"""Evaluate: read the testing cohort, give every figure its interval beside the floors, and write the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from overread import __version__
from overread.domain import ModelCard, Study, Task, fingerprint
from overread.domain.canonical import plain
from overread.errors import RunError
from overread.learn.saliency import DEFAULT
from overread.pages.checklist_training import shortened
from overread.pages.counted import word
from overread.pages.plots import told
from overread.stats.ranking import against_chance
from overread.stats.splits import Split
from overread.steps import elsewhere, leakage
from overread.steps.asked import at_prevalence, check_questions, claims_against
from overread.steps.beside import floors_of, shorten
from overread.steps.covered import covered
from overread.steps.crossed_scores import probabilities, widened
from overread.steps.crossed_scores import told as crossed_told
from overread.steps.figures import own_to, seal_figures
from overread.steps.gallery import gallery
from overread.steps.heatmaps import judge, keep, panel_of
from overread.steps.measured_on import Measured, counted, other_archive, own_cohort, unit_of
from overread.steps.measured_on import alike as alike_of
from overread.steps.nearest import training_cases
from overread.steps.opened import open_archive
from overread.steps.origin import origin
from overread.steps.printed import seal_pages
from overread.steps.progress import bar as moved_bar
from overread.steps.question import truth as truth_of
from overread.steps.reads import count as count_reads
from overread.steps.reads import mend, model_of
from overread.steps.report import publish
from overread.steps.run import read_json, write_json
from overread.steps.scores import CROSSED
from overread.steps.seeds import seed_spread
from overread.steps.subgroups import groups_of, told_of
from overread.steps.trained import Trained, read_trained
from overread.steps.ways import ways
from overread.store.archive import Archive


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
        what = word(self.metrics.get("unit"), n)
        whom = f"{n:,} {what} of {patients:,} patients" if patients is not None else f"{n:,} {what} (patients unknown)"
        other = self.metrics["on"] == "another archive"
        crossed = self.metrics["on"] == CROSSED
        from_where = "of another archive" if other else "cross-validated" if crossed else "held out for testing"
        beside = self.metrics["floors"]["logistic_thumbnails"].get(first, {}).get("auroc")
        lines = [
            f"{first}: AUROC {told(figures['auroc'])} on {whom} {from_where}",
            *against_chance(figures["auroc"]),
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
        short = shortened(self.page)
        lines += [f"! {short}"] if short else []
        alike = self.metrics.get("exchangeability") or {}
        lines += [f"! {alike['in_words']}"] if alike.get("alarm") else []
        lines += [f"{self.metrics['cross_validated']['in_words']}"] if crossed else []
        lines += [self.metrics[how]["in_words"] for how in ("search", "distil") if how in self.metrics]
        lines += [f"! {said}" for said in self.page.get("edited", ())]
        lines += [f"! {warning}" for warning in elsewhere.warnings(self.metrics["leakage"])] if other else []
        lines.append(f"report: {self.report}")
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
    if seeds_from and on is not None:
        raise RunError(
            "runs of other seeds, and another archive",
            expected="one of the two: the spread over seeds is told of the run's own testing cohort",
            do="leave out --on or --seeds-from",
        )
    mend(run, now=now)
    trained = read_trained(run, needed=() if on is None else ("card.json",))
    model, how = trained.model, trained.question
    with ExitStack() as stack:
        home = stack.enter_context(open_archive(trained.archive)) if trained.archive else None
        studies = {s.pseudonym: s for s in home.studies()} if home else {}
        if home:
            _refuse_changed(trained.split, studies)
        if on is None:
            cases = own_cohort(trained, home, studies)
        else:
            archive = stack.enter_context(open_archive(on))
            cases = other_archive(trained, archive, home=home, cluster=cluster, progress=progress)
        place = cases.archive.path if cases.archive else None
        reads = counted(trained, cases, own=on is None, now=now)
        name = "." if on is None else f"on-{fingerprint(sorted(cases.images))[:12]}"
        edits = own_to(run, trained.edits, at=name, now=now)
        for other in seeds_from:
            count_reads(Path(other), place, cases.images, model=model_of(Path(other)), own=True, now=now)
        spread = seed_spread(run, cases.testing, how, [Path(other) for other in seeds_from]) if on is None else {}
        alike = trained.alike if on is None else alike_of(model, cases.testing, cases.rows)
        figures = _figures(trained, cases, home, studies, progress=progress)
        if home and on is None and cases.testing.crossed is None:
            panel = panel_of(model, home, seed=how.seed)
            model.heat_maps = keep(run, {DEFAULT: judge(model, panel, seed=how.seed, progress=progress)})
        pictures = _pictures(trained, cases, home, studies, figures.probability, progress=progress)
    common = at_prevalence(figures.labels, prevalence) if prevalence is not None else {}
    claims = claims_against(figures.labels, published or {}, n=published_n)
    own = on is None
    measured = plain(
        _measured(trained, cases, figures, spread=spread, alike=alike, common=common, claims=claims, own=own)
    )
    out = run / name
    out.mkdir(exist_ok=True)
    card = _card(run, measured) if own else model.card
    alarm = (f"{alike['in_words'][0].upper()}{alike['in_words'][1:]}.",) if alike.get("alarm") else ()
    page = {
        **measured,
        **_told(trained, cases, figures, studies if home else None, card),
        "gallery": pictures,
        "edited": edits,
        "warnings": [*edits, *cases.warnings, *alarm, *reads.warnings(), *trained.fitted.notes],
        "reads": reads.times,
        "measured_before": str(reads),
        "now": now.isoformat(timespec="seconds"),
        "external": not own,
    }
    write_json(out / "metrics.json", measured)
    publish(out, run, page, card)
    seal_figures(run, out, now=now)
    seal_pages(run, out, now=now)
    return Evaluation(run, measured, page, out / "report.html")


@dataclass(frozen=True)
class _Figures:
    """Every figure of the cases: of the model by label, of what stands beside it, of subgroups."""

    probability: np.ndarray
    labels: dict[str, Any]
    floors: dict[str, Any]
    beside: Mapping[str, Any]
    subgroups: list[dict[str, Any]]


def _figures(
    trained: Trained, cases: Measured, home: Archive | None, studies: Mapping[str, Study], *, progress: bool
) -> _Figures:
    """Return the figures with their intervals, beside the floors."""
    how, testing, fitted = trained.question, cases.testing, trained.fitted
    probability, between = probabilities(testing, fitted)
    groups = groups_of(testing, cases.studies, how.task) if cases.archive else []
    count = (5 + len(groups)) * len(how.task.labels)
    with moved_bar(total=count, what="figures and intervals", show=progress) as meter:
        labels = widened(how, testing, how.figures(testing, probability, tick=meter.update))
        why = how.why(testing, probability, between)
        for label, account in how.referrals(testing, probability, between).items():
            labels[label]["three_way"] = account
        for label, parts in ways(how, testing, probability, why).items():
            labels[label]["three_ways"] = parts
        floors, beside = floors_of(
            home,
            cases.archive,
            studies,
            trained.scores,
            testing,
            how,
            trained.run,
            why=why,
            ours=probability,
            tick=meter.update,
            progress=progress,
        )
        subgroups = told_of(testing, probability, groups, how, why=why, tick=meter.update)
    return _Figures(probability, labels, floors, beside, subgroups)


def _pictures(
    trained: Trained,
    cases: Measured,
    home: Archive | None,
    studies: Mapping[str, Study],
    probability: np.ndarray,
    *,
    progress: bool,
) -> list[dict[str, Any]]:
    """Return the cases that are shown, each beside the training cases most like it; none where the archive is gone."""
    if not cases.archive:
        return []
    model, testing = trained.model, cases.testing
    shown = (cases.archive, model, testing.entries, testing.truth, probability, trained.task, trained.points)
    apart = home and testing.crossed is None  # a case is not among those it is shown beside
    like = training_cases(model, home, trained.split, studies, progress=progress) if apart else None
    return gallery(*shown, copies=testing.copies, like=like, progress=progress)


def _measured(
    trained: Trained,
    cases: Measured,
    figures: _Figures,
    *,
    spread: Mapping[str, Any],
    alike: Mapping[str, Any],
    common: Mapping[str, Any],
    claims: Sequence[Mapping[str, Any]],
    own: bool,
) -> dict[str, Any]:
    """Return what ``metrics.json`` holds."""
    how, model = trained.question, trained.model
    return {
        "unit": unit_of(cases.testing, model.joining),
        "labels": figures.labels,
        "split": {k: v for k, v in trained.split.to_json().items() if k not in ("cohorts", "aside")},
        "floors": figures.floors,
        "operating_points": {} if how.levels else trained.points,
        "calibration": {k: v for k, v in trained.fitted.to_json().items() if k != "refits"},
        "subgroups": figures.subgroups,
        "sets": covered(how, cases.testing, figures.probability),
        "seed_spread": spread,
        "exchangeability": alike,
        "at_prevalence": common,
        "heatmaps": model.heat_maps,
        "claims": claims,
        "leakage": leakage.told(cases.certificate),
        "with_overlaps": shorten(leakage.with_overlaps(trained.scores, how, trained.fitted)) if own else {},
        "shortcuts": trained.looked,
        "probes": trained.probed,
        "corruptions": trained.worse,
        "gate": model.gate.told() if model.gate else {},
        **origin(trained.run),
        **({"cross_validated": crossing} if (crossing := crossed_told(trained.run, cases.testing)) else {}),
        "on": ("testing cohort" if cases.testing.crossed is None else CROSSED) if own else "another archive",
        "overread": __version__,
    }


def _told(
    trained: Trained, cases: Measured, figures: _Figures, studies: Mapping[str, Study] | None, card: ModelCard
) -> dict[str, Any]:
    """Return what the page shows besides the figures: the question, the network, who was in which cohort, the curves."""
    task, split = trained.task, trained.split
    return {
        "name": task.name if task.name in figures.labels else task.labels[0],
        "task": plain(task),
        "network": trained.plan["network"],
        "cohorts": card.cohorts,
        "card": plain(card),
        "card_fingerprint": card.fingerprint,
        "strata": _strata(split, studies, task) if studies is not None else [],
        "flow": _flow(studies, split, task) if studies is not None else {},
        "strata_known": studies is not None,
        "curves": {
            label: {
                "truth": cases.testing.truth[:, j],
                "probability": figures.probability[:, j],
                "beside": figures.beside.get(label, {}),
            }
            for j, label in enumerate(task.labels)
        },
        "apart": leakage.clean(cases.certificate) and not cases.certificate.get("not_compared"),
    }


def _refuse_changed(split: Split, studies: Mapping[str, Study]) -> None:
    """Raise when studies of the split are no longer in the archive."""
    gone = {study for entries in split.cohorts.values() for _, study, _ in entries} - set(studies)
    if gone:
        raise RunError(
            f"the archive no longer holds {len(gone):,} studies of this run's split",
            expected="the archive the run was trained on",
            do="restore it, or train again",
        )


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


def _card(run: Path, measured: Mapping[str, Any]) -> ModelCard:
    """Return the run's card with its performance filled in."""
    record = read_json(run / "card.json")
    known = {k: v for k, v in record.items() if k in ModelCard.__dataclass_fields__}
    floors = {name: shorten(figures) for name, figures in measured["floors"].items()}
    performance = {"labels": shorten(measured["labels"]), "floors": floors}
    return ModelCard(**{**known, "limits": tuple(known["limits"]), "performance": performance})
