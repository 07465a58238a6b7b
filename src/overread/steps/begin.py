"""What must be true before a training begins: options that make sense, a split to use, a folder of its own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from overread.domain import Study
from overread.errors import RunError
from overread.learn import plan as planning
from overread.learn import precision as rounding
from overread.learn import search as searching
from overread.learn.applications import Brought
from overread.learn.plan_spacing import Asked as Spacing
from overread.learn.plan_study import check_unit
from overread.learn.pretrained_start import Given
from overread.steps.run import read_json, write_json
from overread.store.journal import exclusive

SOURCE_SPLIT = "split"
"""Name of the split that a file of arrays carries in itself."""

MOST_TRIALS = 1000

LONGEST_S = 30 * 24 * 3600.0
"""Seconds that a budget may have; more is a slip of the hand."""

ASKED = {
    "plan": "question, network, seed or set of training images",
    "split": "division of patients",
    "sensitivity": "sensitivity",
    "baseline": "choice of baseline",
    "budget": "budget",
    "search": "search",
    "verb": "command",
}
"""What a resumed training must share with what was begun, as a person would say it."""


@dataclass(frozen=True)
class Asked:
    """What a person asks of a training beside the question; None where nothing was said."""

    network: str | None = None
    seeds: int | None = None
    seed: int | None = None
    kind: str = "auto"
    side_matters: bool | None = None
    budget: str | None = None
    plan: str | Path | None = None
    search: int | None = None
    spacing: Spacing = None
    unit: str | None = None
    start: Given | Brought | None = None
    precision: str | None = None

    def told(self) -> list[Any]:
        """Return all of it as plain values, a plan by its content."""
        text = Path(self.plan).read_text(encoding="utf-8") if self.plan is not None else None
        told = [self.network, self.seeds, self.seed, self.kind, self.side_matters, self.budget, text]
        told += [] if self.search is None else [self.search]
        told += [] if self.start is None else [{"start": self.start.sha256}]
        told += [] if self.spacing is None else [{"spacing_mm": self.spacing}]
        told += [] if self.precision is None else [{"precision": self.precision}]
        return told if self.unit is None else [*told, {"unit": self.unit}]


def check_options(asked: Asked, sensitivity: float) -> float | None:
    """Refuse an impossible option before any work; return the budget in seconds."""
    if asked.network is not None and asked.network not in (*planning.ABOUT, "auto"):
        raise RunError(
            f"the network {asked.network!r}",
            expected="one of " + ", ".join(planning.ABOUT) + ", or auto",
            do="see `overread networks`",
        )
    if not 0 < sensitivity < 1:
        raise RunError(
            f"a sensitivity of {sensitivity:g}", expected="a share between 0 and 1", do="write 0.95 for 95 %"
        )
    if asked.seed is not None and not 0 <= asked.seed < 2**31:
        raise RunError(f"the seed {asked.seed}", expected="a whole number from 0 to 2,147,483,647", do="choose another")
    if asked.seeds is not None and not 1 <= asked.seeds <= 50:
        raise RunError(f"{asked.seeds} seeds", expected="1 to 50 networks", do="choose another number")
    if asked.start is not None:
        _can_start(asked)
    if asked.search is not None:
        _can_search(asked)
    check_unit(asked.unit)
    rounding.check(asked.precision, network=asked.network, **{"--start": asked.start})
    if asked.spacing is not None and asked.network == "auto":
        raise RunError(
            "--spacing beside --network auto", expected="a network that reads whole volumes", do="leave one of them out"
        )
    if asked.plan is not None:
        _nothing_beside_a_plan(asked)
    return None if asked.budget is None else parse_budget(asked.budget)


def _can_start(asked: Asked) -> None:
    """Refuse a start that could not be used, before any work."""
    if isinstance(asked.start, Brought) and asked.network not in (None, "features"):
        raise RunError(f"weights of one of Keras' applications for the network {asked.network}", expected="the network features: a line is fitted on what they see", do="leave out --network, or --start")  # fmt: skip
    if not isinstance(asked.start, Brought) and asked.network not in (None, "residual", "auto"):
        raise RunError(f"a start for the network {asked.network}", expected="the residual network, or auto", do="leave out --start or --network")  # fmt: skip
    if asked.search is not None:
        raise RunError("a search beside --start", expected="one of the two: the start has decided the network", do="leave out --search or --start")  # fmt: skip


def _can_search(asked: Asked) -> None:
    """Refuse a search that could not be done, before any work."""
    if not 2 <= (asked.search or 0) <= MOST_TRIALS:
        raise RunError(f"{asked.search} configurations", expected=f"2 to {MOST_TRIALS:,}", do="choose another number for --search")  # fmt: skip
    if asked.network not in (None, "residual", "pair"):
        raise RunError(f"a search with the network {asked.network}", expected="the residual network or a pair", do="leave out --search or --network")  # fmt: skip
    searching.needed()


def _nothing_beside_a_plan(asked: Asked) -> None:
    beside = {
        "--network": asked.network is not None,
        "--seeds": asked.seeds is not None,
        "--seed": asked.seed is not None,
        "--kind": asked.kind != "auto",
        "--side-matters": asked.side_matters is not None,
        "--budget": asked.budget is not None,
        "--start": asked.start is not None,
        "--spacing": asked.spacing is not None,
        "--unit": asked.unit is not None,
        "--precision": asked.precision is not None,
    }
    for option, given in beside.items():
        if given:
            raise RunError(
                f"{option} beside --plan", expected="the plan alone decides", do="leave it out, or edit the plan"
            )


def split_to_use(studies: Sequence[Study], labels: Sequence[str], asked: str | None) -> str | None:
    """Return the published split to use: the one asked for, or the one that the source's own file carries.

    A MedMNIST file holds its official parts as arrays of their own; figures on another division could not be laid
    beside the published ones. A column of a label table is used only when it is named.
    """
    if asked is not None:
        return None if asked == "none" else asked
    answered = [s for s in studies if any(s.labels.get(n) is not None for n in labels)]
    carried = bool(answered) and all(SOURCE_SPLIT in s.splits for s in answered)
    return SOURCE_SPLIT if carried else None


def splits_not_used(studies: Sequence[Study], labels: Sequence[str], asked: str | None) -> list[str]:
    """Return, in words, which published splits the archive carries and nobody has spoken of.

    Examples
    --------
    >>> cohort = [Study("S1", (), labels={"mass": True}, splits={"split": "train"}), Study("S2", (), labels={"mass": False})]
    >>> splits_not_used(cohort, ["mass"], "none")
    []
    >>> print(*splits_not_used(cohort, ["mass"], None))  # doctest: +ELLIPSIS
    The label table has a split column 'split' (1 of 2 studies), which is not used: ... --split-column none.
    """
    if asked is not None or split_to_use(studies, labels, None) is not None:
        return []
    answered = [s for s in studies if any(s.labels.get(n) is not None for n in labels)]
    counts = Counter(name for s in answered for name in s.splits)
    return [
        f"The label table has a split column {name!r} ({n:,} of {len(answered):,} studies), which is not used: the cohorts "
        "were drawn by chance, and figures published on that split cannot be laid beside these. To use it: --split-column "
        f"{name}; to leave it: --split-column none."
        for name, n in sorted(counts.items())
    ]


def prepare(out: Path, settings: dict[str, Any], *, resume: bool) -> None:
    """Make the run's folder, or take up an unfinished one when told to; never overwrite a finished one."""
    if (out / "unfinished").exists():
        if not resume:
            raise RunError(
                f"{out} holds an unfinished training", expected="--resume, or a new folder", do="add --resume to go on"
            )
        before = read_json(out / "unfinished")
        changed = sorted(ASKED[k] for k in settings if before.get(k) != settings[k])
        if changed:
            raise RunError(
                f"the unfinished training had another {', '.join(changed)}",
                expected="the same archive and settings when resuming",
                do="repeat them, or name another folder",
            )
        return
    if (out / "manifest.json").exists():
        raise RunError(
            f"{out} holds a finished run", expected="a new folder", do="name another with --out, or delete this one"
        )
    if out.exists() and any(out.iterdir()):
        raise RunError(f"{out} is not empty", expected="a new or empty folder", do="name another with --out")
    out.mkdir(parents=True, exist_ok=True)
    write_json(out / "unfinished", settings)


@contextmanager
def alone_in(out: Path) -> Iterator[None]:
    """Hold an unfinished run's folder: two trainings that write into one folder leave a run that nobody trained.

    The lock ends with the process, however that ends; a file system that knows no locks has none.

    Raises
    ------
    RunError
        While another training goes on in it.
    """
    with ExitStack() as held:
        try:
            held.enter_context(exclusive(out / "unfinished", wait=False))
        except BlockingIOError:
            raise RunError(
                f"another training goes on in {out}", expected="one at a time", do="wait for it, or name another folder"
            ) from None
        except OSError:
            pass
        yield


def parse_budget(text: str) -> float:
    """Return a budget in seconds.

    Examples
    --------
    >>> parse_budget("90s"), parse_budget("10m"), parse_budget("1.5h"), parse_budget("overnight")
    (90.0, 600.0, 5400.0, 28800.0)
    """
    if text == "overnight":
        return 8 * 3600.0
    unit = {"s": 1.0, "m": 60.0, "h": 3600.0}.get(text[-1:], 0.0)
    try:
        seconds = float(text[:-1]) * unit
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= LONGEST_S:
        raise RunError(f"a budget of {text!r}", expected="a time such as 90s, 10m, 1h or overnight, 30 days at most", do="write it so")  # fmt: skip
    return seconds
