"""Distil: find the smallest network that reads as well as a run, by letting narrower ones learn from its answers."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import softmax

from overread.domain import Estimate, Task, fingerprint
from overread.domain.canonical import plain
from overread.errors import ExportError, RunError
from overread.learn import distilled, plan_file, reduce
from overread.learn import plan as planning
from overread.learn.graph import open_graph, run_graph
from overread.learn.predict import Model
from overread.stats.certificate import NONE
from overread.stats.metrics import mean_auroc
from overread.stats.paired import difference_mean_auroc
from overread.stats.resample import cases
from overread.stats.shares import proportion
from overread.steps import cost
from overread.steps import plan as planned
from overread.steps.begin import alone_in, prepare
from overread.steps.export import MOST_RANGED, milliseconds
from overread.steps.finish import Begun, close, finish
from overread.steps.fitting import make_material
from overread.steps.held_out import Material
from overread.steps.opened import open_archive
from overread.steps.plan import Divided
from overread.steps.progress import bar, say
from overread.steps.run import Run, code_fingerprint, write, write_json
from overread.steps.scores import whose
from overread.steps.trained import Trained, read_trained

NAME = "distil.json"

MARGIN = 0.01
"""The AUROC may lie so far below the teacher's: the whole interval of the paired difference on tuning must lie above."""

TAKEN_OVER = ("split.json", "leakage.json", "shortcuts.json", "seen.npz", "scores.simple-cnn.csv", "baseline.json")
"""What a student has in common with its teacher: who is in which cohort, and what was found of them before training."""

TIMED = 16
"""Images on which the time of one is measured, one thread, the median."""


@dataclass(frozen=True)
class Distilled:
    """What distilling found.

    Parameters
    ----------
    out : Path
    told : mapping
        What stands in ``distil.json``.
    run : Run or None
        The smallest network that reads as well, as a finished run; None where none does.
    """

    out: Path
    told: Mapping[str, Any]
    run: Run | None

    @property
    def came_to_nothing(self) -> bool:
        """Whether no network is left behind."""
        return self.run is None

    def to_json(self) -> dict[str, Any]:
        """Return it for ``--json``."""
        return {**plain(self.told), "run": str(self.out) if self.run else None, **({"metrics": plain(self.run.metrics)} if self.run else {})}  # fmt: skip

    def __str__(self) -> str:
        head = (
            f"{'':<22} {'parameters':>10} {'MB':>7} {'ms':>7}  {'AUROC':<7} {'less the teacher (tuning)':<28} same call"
        )
        lines = [_line(row, self.told["kept"]) for row in self.told["networks"]]
        return "\n".join([head, *lines, self.told["in_words"], *([str(self.run)] if self.run else [])])


def _line(row: Mapping[str, Any], kept: str | None) -> str:
    parameters = f"{row['parameters']:>10,}" if row["parameters"] else f"{'':>10}"
    apart, same = row["difference"], row["agreement"]
    less = (
        f"{_plus(apart['value'])} ({_plus(apart['low'])} to {_plus(apart['high'])})"
        if apart and apart["low"] is not None
        else "–"
    )
    share = f"{100 * same['value']:.1f} %" if same and same["value"] is not None else "–"
    mark = " ← kept" if row["name"] == kept else ""
    auroc = "–" if row["auroc"] is None else f"{row['auroc']:.3f}"
    return f"{row['name']:<22} {parameters} {row['megabytes']:>7.3f} {row['milliseconds']:>7.2f}  {auroc:<7} {less:<28} {share}{mark}"


def distil(
    run: str | Path,
    *,
    out: str | Path,
    widths: Sequence[float] = distilled.WIDTHS,
    margin: float = MARGIN,
    resume: bool = False,
    progress: bool = True,
    now: datetime | None = None,
) -> Distilled:
    """Let narrower networks learn from a run's answers, and keep the smallest that reads as well, as a run of its own.

    The students learn from the run's own training cohort, from its answers instead of the labels. Each is held against
    the run on its tuning cohort (AUROC, paired) and on its calibration cohort (the same call at the operating point); the
    smallest whose loss on tuning is surely below the margin is kept, calibrated, sealed, and reads the testing cohort
    once, like any other run. Beside them stand the run's own graph in half precision and in whole numbers of eight bits.

    Parameters
    ----------
    run : path or Run
        The teacher; its training archive must be there.
    out : path
        Folder for the small run.
    widths : sequence of float
        Shares of the teacher's widths.
    margin : float
        How much of the AUROC may be lost: the whole interval of the paired difference on tuning must lie above −margin.
    resume : bool
        Go on with an unfinished distillation in ``out``.
    progress : bool
    now : datetime, optional
        The time that the records carry.

    Returns
    -------
    Distilled

    Raises
    ------
    RunError
        When the teacher is no residual network, or its archive is gone.
    IntegrityError
    """
    out, now, started = Path(out), now or datetime.now().astimezone(), time.monotonic()
    meter, code = cost.read_meter(), code_fingerprint()
    teacher = read_trained(Path(getattr(run, "path", run)), needed=())
    _check(widths, margin, teacher)
    drawn = _plan_of(teacher)
    tried = distilled.students(drawn, tuple(widths))
    card = teacher.model.card.fingerprint
    asked = {
        "plan": fingerprint([card, sorted(widths), margin]),
        "split": teacher.split.hash,
        "sensitivity": _sensitivity(teacher),
    }
    prepare(out, {**asked, "baseline": False, "budget": None, "search": None}, resume=resume)
    with alone_in(out), open_archive(teacher.archive) as store:
        for name in TAKEN_OVER:
            if (teacher.run / name).is_file():
                write(out / name, (teacher.run / name).read_bytes())
        by_name = {s.pseudonym: s for s in store.studies()}
        divided = Divided(
            drawn.task, teacher.split, by_name, NONE, teacher.certificate, None, int(teacher.plan["seed"])
        )
        begun = Begun(teacher.archive, asked["sensitivity"], divided.seed, False, meter, started, code, now, progress)
        material = make_material(store, teacher.split, by_name, drawn, out / "cache", progress=progress)
        said = _said(teacher.model, material, progress=progress)
        fitted = _taught(tried, material, distilled.answers(drawn.task.kind, said["training"]), out, progress=progress)
        rows = _rows(teacher, material, said, tried, fitted, out, progress=progress)
        told = conclude(rows, margin=margin, teacher={"card": card, "model.onnx": teacher.model.files["model.onnx"], "name": teacher.model.card.name})  # fmt: skip
        write_json(out / NAME, told)
        if told["kept"] is None:
            return Distilled(out, told, None)
        say(progress, told["in_words"])
        kept = told["kept"]
        write(out / planned.NAME, plan_file.written(tried[kept].head, tried[kept].parts))
        finish(out, store, divided, fitted[kept], material, tried[kept], begun)
    return Distilled(out, told, close(out, begun))


def _check(widths: Sequence[float], margin: float, teacher: Trained) -> None:
    if not widths or not all(0 < w <= 1 for w in widths):
        raise RunError(f"widths {', '.join(f'{w:g}' for w in widths) or 'none'}", expected="shares of the teacher's between 0 and 1", do="write --widths 0.5,0.33")  # fmt: skip
    if not 0 < margin < 0.5:
        raise RunError(f"a margin of {margin:g}", expected="how much of the AUROC may be lost, between 0 and 0.5", do="write --margin 0.01")  # fmt: skip
    if teacher.plan["network"] not in ("residual", "pair", "slices"):
        raise RunError(f"a teacher of the kind {teacher.plan['network']}", expected="a residual network, a pair with one, or slices, of which there are narrower ones", do="train one; a smaller graph of this one: overread export --quantize")  # fmt: skip
    if teacher.archive is None:
        raise RunError("the training archive is not there", expected=f"{teacher.plan.get('archive', 'an archive')}, from which students learn", do="bring it back to its place beside the run")  # fmt: skip


def _plan_of(teacher: Trained) -> planning.Plan:
    """Return the plan that the teacher was trained by: its file for people, where that is still what was done."""
    head, parts = plan_file.read(teacher.run / planned.NAME)
    task = Task(**{**teacher.plan["task"], "labels": tuple(teacher.plan["task"]["labels"])})
    found = replace(planning.planned(task, parts), head=head)
    done = {k: v for k, v in teacher.plan.items() if k not in ("archive", "reasons")}
    if plain({k: v for k, v in planning.record(found).items() if k != "reasons"}) != done:
        raise RunError(
            "plan.toml is no longer the plan that was trained (plan.json)", expected="as `overread train` left it", do="restore it"
        )  # fmt: skip
    return found


def _sensitivity(teacher: Trained) -> float:
    """Return what the teacher's operating point had to reach."""
    return float(next(iter(teacher.points.values()), {}).get("asked", 0.95))


# --- teaching ----------------------------------------------------------------------------------------------------------


def _said(model: Model, material: Material, *, progress: bool) -> dict[str, np.ndarray]:
    """Return the teacher's raw scores of the cohorts that a student learns from or is held against; testing stays closed."""
    shown = ("training", "tuning", "calibration")
    total = sum(len(material.inputs[c]) for c in shown)
    with bar(total=total, what="ask the teacher", unit="image", show=progress) as line:
        return {c: _logits(model.session, material.inputs[c], tick=line.update) for c in shown}


def _logits(session, inputs, *, tick=lambda n: None) -> np.ndarray:
    found = []
    for z, _ in run_graph(session, inputs):
        found.append(z)
        tick(1)
    return np.array(found)


def _taught(tried: Mapping[str, planning.Plan], material: Material, soft: np.ndarray, out: Path, *, progress: bool):
    """Train the students one after another; each has its own checkpoint, and goes on where it was."""
    from overread.learn.framework import natives_to

    (out / "checkpoint").mkdir(exist_ok=True)
    steps = {name: p.epochs * max(1, len(soft) // p.batch) for name, p in tried.items()}
    fitted, done = {}, 0
    with (
        natives_to(out / "framework.log"),
        bar(total=sum(steps.values()), what="teach smaller networks", unit="step", show=progress) as line,
    ):
        for number, (name, p) in enumerate(tried.items()):
            fitted[name] = distilled.teach(
                p,
                material.inputs["training"],
                soft,
                tuning=(material.inputs["tuning"], material.truth["tuning"]),
                score=lambda logits, known: mean_auroc(known, logits),
                checkpoint=out / "checkpoint" / f"student-{name}.npz",
                tell=partial(_tell, line, done, f"{number + 1}/{len(tried)}"),
            )
            done += steps[name]
    return fitted


def _tell(line, before: int, which: str, news: Mapping[str, Any]) -> None:
    """Move the bar after a step, and show which network it was and how it does."""
    line.update(before + news["epoch"] * news["steps"] + news["step"] - line.n)
    line.set_postfix({"network": which, "epoch": f"{news['epoch'] + 1}/{news['epochs']}", "loss": f"{news['loss']:.3f}"}, refresh=False)  # fmt: skip


# --- measuring ---------------------------------------------------------------------------------------------------------


def _rows(
    teacher: Trained, material: Material, said, tried, fitted, out: Path, *, progress: bool
) -> list[dict[str, Any]]:
    """Return what each network costs and how it reads: the teacher, its smaller precisions, the students, widest first."""
    from overread.learn import export

    graph = (teacher.run / "model.onnx").read_bytes()
    row = partial(_row, teacher, material, said)
    found = [row("teacher", graph, None, parameters=teacher.model.card.network.get("parameters"))]
    ranged = [np.asarray(x) for x in material.inputs["tuning"][:MOST_RANGED]]
    total = len(reduce.WAYS) + len(tried)
    with bar(total=total, what="measure smaller networks", unit="network", show=progress) as line:
        for how in reduce.WAYS:
            try:
                found.append(row(f"teacher in {how}", reduce.reduced(graph, how, ranged), None, parameters=None))
            except ExportError as refused:
                say(progress, f"  ! no {how}: {refused}")
            line.update(1)
        for name in tried:
            file = out / "student.onnx"
            export.export(fitted[name].built, file, examples=np.asarray(material.inputs["tuning"][:16]))
            found.append(
                row(name, file.read_bytes(), fitted[name], parameters=int(fitted[name].built.trained.count_params()))
            )
            file.unlink()
            line.update(1)
    return found


def _row(teacher: Trained, material: Material, said, name: str, graph: bytes, student, *, parameters) -> dict[str, Any]:
    """Return one line of the table."""
    session, task, copies = open_graph(graph), teacher.task, teacher.certificate["copies"]
    known = material.truth["tuning"]
    tuning = _logits(session, material.inputs["tuning"])
    held = _logits(session, material.inputs["calibration"])
    who = {c: whose(teacher.split.cohorts[c], copies) for c in ("tuning", "calibration")}
    own = name == "teacher"
    shares = [_ranked(task, z) for z in (tuning, said["tuning"])]
    auroc = mean_auroc(known, shares[0]) if len(known) else float("nan")
    same = (_calls(teacher, held) == _calls(teacher, said["calibration"])).all(axis=1)
    c = cases(np.ones(len(same)), np.ones(len(same)), who["calibration"])
    return {
        "name": name,
        "student": student is not None,
        "parameters": parameters,
        "megabytes": round(len(graph) / 1e6, 4),
        "milliseconds": round(milliseconds(graph, list(material.inputs["tuning"][:TIMED])), 3),
        "auroc": None if np.isnan(auroc) else round(auroc, 6),
        "difference": None if own else plain(difference_mean_auroc(known, *shares, who["tuning"])),
        "agreement": None
        if own
        else plain(proportion(c, same, np.ones(len(same), bool), nobody="no calibration images")),
        "seconds": round(student.seconds, 1) if student else None,
    }


def _ranked(task: Task, logits: np.ndarray) -> np.ndarray:
    return softmax(logits, axis=1) if task.kind in ("multiclass", "ordinal") else logits


def _calls(teacher: Trained, logits: np.ndarray) -> np.ndarray:
    """Return what would be called: the side of each operating point, or the most probable level; the teacher's calibration."""
    p = teacher.fitted.probabilities(logits)
    if teacher.task.kind in ("multiclass", "ordinal"):
        return p.argmax(axis=1)[:, None]
    return p >= np.array([float(teacher.points[label]["threshold"]) for label in teacher.task.labels])


def conclude(rows: Sequence[Mapping[str, Any]], *, margin: float, teacher: Mapping[str, str]) -> dict[str, Any]:
    """Return which student is kept, the table, and that in words.

    Examples
    --------
    >>> def row(name, megabytes, low, student=True):
    ...     told = {"value": -0.002, "low": low, "high": 0.004, "n": 90}
    ...     return {"name": name, "student": student, "megabytes": megabytes, "milliseconds": 1.0, "auroc": 0.9, "difference": told if student else None}
    >>> rows = [row("teacher", 1.0, None, student=False), row("12-24", 0.5, -0.006), row("6-12", 0.1, -0.02)]
    >>> conclude(rows, margin=0.01, teacher={})["kept"]
    '12-24'
    """
    taught = [r for r in rows if r["student"]]
    good = [r for r in taught if _loss(r) is not None and _loss(r) > -margin]
    kept = min(good, key=lambda r: r["megabytes"]) if good else None
    own = next(r for r in rows if r["name"] == "teacher")
    words = f"{len(taught)} narrower network{'s' if len(taught) != 1 else ''} learned from the answers of the teacher"
    if kept is None:
        words += (
            f"; of none is it sure, on the tuning cohort, that it loses less than {margin:g} of the AUROC: none is kept. More tuning "
            "patients would make the intervals narrower; --margin allows more"
        )
    else:
        apart = kept["difference"]
        words += (
            f"; kept is {kept['name']}, the smallest of which it is sure, on {apart['n']:,} tuning images, that it loses less than "
            f"{margin:g} of the AUROC ({_plus(apart['value'])}, {_plus(apart['low'])} to {_plus(apart['high'])}): "
            f"{kept['megabytes']:.2f} instead of {own['megabytes']:.2f} MB, {kept['milliseconds']:.2f} instead of "
            f"{own['milliseconds']:.2f} ms an image on one core. Its tuning figure was looked at for this, its testing figure was not"
        )
    head = {
        "configurations": len(taught),
        "margin": margin,
        "teacher": dict(teacher),
        "kept": kept["name"] if kept else None,
    }
    return {**head, "in_words": words, "networks": [dict(r) for r in rows]}


def _plus(value: float) -> str:
    return f"{value:+.3f}".replace("-", "−")


def _loss(row: Mapping[str, Any]) -> float | None:
    """Return the lower end of a student's difference to its teacher; None where there is no interval."""
    apart = row["difference"].to_json() if isinstance(row["difference"], Estimate) else row["difference"]
    low = apart["low"] if apart else None
    return None if low is None or np.isnan(low) else float(low)
