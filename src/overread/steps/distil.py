"""Distil: find the smallest network that reads as well as a run, by letting narrower ones learn from its answers."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from overread.domain import Estimate, Task, fingerprint
from overread.domain.canonical import plain
from overread.errors import RunError
from overread.learn import distilled, plan_file
from overread.learn import plan as planning
from overread.learn.predict import Model
from overread.stats.certificate import NONE
from overread.stats.metrics import mean_auroc
from overread.steps import cost
from overread.steps import plan as planned
from overread.steps.begin import alone_in, prepare
from overread.steps.distil_measured import logits_of, rows_of
from overread.steps.finish import SPENT, Begun, close, finish
from overread.steps.fitting import make_material
from overread.steps.held_out import Material
from overread.steps.opened import open_archive
from overread.steps.plan import Divided
from overread.steps.progress import bar, say
from overread.steps.run import Run, code_fingerprint, write, write_json
from overread.steps.sessions import counted
from overread.steps.trained import Trained, read_trained

NAME = "distil.json"

MARGIN = 0.01
"""The AUROC may lie so far below the teacher's: the whole interval of the paired difference on tuning must lie above."""

TAKEN_OVER = ("split.json", "leakage.json", "shortcuts.json", "seen.npz", "scores.simple-cnn.csv", "baseline.json")
"""What a student has in common with its teacher: who is in which cohort, and what was found of them before training."""


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
    prepare(out, {**asked, "baseline": False, "budget": None, "search": None, "verb": "distil"}, resume=resume)
    seed = int(teacher.plan["seed"])
    begun = Begun(teacher.archive, asked["sensitivity"], seed, False, meter, started, code, now, progress)
    with alone_in(out), counted(out, begun) as begun, open_archive(teacher.archive) as store:
        for name in TAKEN_OVER:
            if (teacher.run / name).is_file():
                write(out / name, (teacher.run / name).read_bytes())
        by_name = {s.pseudonym: s for s in store.studies()}
        divided = Divided(drawn.task, teacher.split, by_name, NONE, teacher.certificate, None, seed)
        material = make_material(store, teacher.split, by_name, drawn, out / "cache", progress=progress)
        said = _said(teacher.model, material, progress=progress)
        fitted = _taught(tried, material, distilled.answers(drawn.task.kind, said["training"]), out, progress=progress)
        rows = rows_of(teacher, material, said, tried, fitted, out, progress=progress)
        told = conclude(rows, margin=margin, teacher={"card": card, "model.onnx": teacher.model.files["model.onnx"], "name": teacher.model.card.name})  # fmt: skip
        write_json(out / NAME, told)
        kept = told["kept"]
        if kept is not None:
            say(progress, told["in_words"])
            write(out / planned.NAME, plan_file.written(tried[kept].head, tried[kept].parts))
            finish(out, store, divided, fitted[kept], material, tried[kept], begun)
    if kept is None:
        _leave_the_table(out)
        return Distilled(out, told, None)
    return Distilled(out, told, close(out, begun))


def _leave_the_table(out: Path) -> None:
    """Take away all but ``distil.json``: no run was made, and nothing is unfinished either."""
    for folder in ("cache", "checkpoint"):
        shutil.rmtree(out / folder, ignore_errors=True)
    for name in (*TAKEN_OVER, "framework.log", SPENT):
        (out / name).unlink(missing_ok=True)
    (out / "unfinished").unlink()


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
        return {c: logits_of(model.session, material.inputs[c], tick=line.update) for c in shown}


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


# --- concluding -----------------------------------------------------------------------------------------------------------


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
