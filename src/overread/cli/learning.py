"""From an archive to a run: the verbs that say what will be done, compare networks beforehand, and train."""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Callable
from typing import TYPE_CHECKING

from overread.errors import OverreadError

if TYPE_CHECKING:
    from overread.domain.task import ReadyTask

_KINDS = ("auto", "binary", "multiclass", "multilabel", "ordinal")


def plan(p: ArgumentParser) -> Callable[[Namespace], object]:
    p.add_argument("archive", metavar="ARCHIVE")
    p.add_argument("--out", metavar="TOML", help="write it there, to be edited and handed to `overread train --plan`")
    _plan_options(p)

    def run(o: Namespace) -> object:
        from overread.steps.plan import plan

        label, side = _asked(o)
        return plan(
            o.archive,
            label=label,
            out=o.out,
            network=o.network,
            split_column=o.split_column,
            seed=o.seed or 0,
            seeds=o.seeds,
            kind=o.kind,
            side_matters=side,
            budget=o.budget,
            start=o.start,
            spacing=o.spacing,
            unit=o.unit,
            precision=o.precision,
            progress=not o.quiet,
        )

    return run


def pretrain(p: ArgumentParser) -> Callable[[Namespace], object]:
    p.add_argument("archive", metavar="ARCHIVE")
    p.add_argument("--out", required=True, metavar="START", help="folder for what was learned")
    p.add_argument(
        "--label",
        metavar="NAME",
        help="what will be asked: who calibrates and tests it is left out (default: of every label)",
    )
    p.add_argument("--split-column", metavar="NAME", help="the published split that `train` will use")
    _kind_option(p)
    p.add_argument("--seed", type=int, default=0, metavar="N", help="that of the training to come (default: 0)")
    p.add_argument("--budget", metavar="TIME", help="90s, 10m, 1h, overnight")
    p.add_argument("--epochs", type=int, metavar="N", help="passes over the images")
    p.add_argument("--resume", action="store_true", help="go on with what was begun")

    def run(o: Namespace) -> object:
        from overread.steps.pretrain import pretrain

        return pretrain(
            o.archive, out=o.out, label=o.label, split_column=o.split_column, kind=o.kind, seed=o.seed, budget=o.budget,
            epochs=o.epochs, resume=o.resume, progress=not o.quiet,
        )  # fmt: skip

    return run


def rivals(p: ArgumentParser) -> Callable[[Namespace], object]:
    p.add_argument("archive", metavar="ARCHIVE")
    p.add_argument("--label", required=True, metavar="NAME")
    p.add_argument("--split-column", metavar="NAME", help="use a published split")
    _kind_option(p)
    p.add_argument("--seed", type=int, default=0, metavar="N")
    p.add_argument("--repeats", type=int, default=1, metavar="N", help="how often the parts are drawn (default: 1)")
    p.add_argument(
        "--start", metavar="START", help="also try the network that begins with this (see `overread pretrain`)"
    )

    def run(o: Namespace) -> object:
        from overread.steps.rivals import rivals

        return rivals(
            o.archive, label=o.label, split_column=o.split_column, kind=o.kind, seed=o.seed, repeats=o.repeats,
            start=o.start, progress=not o.quiet,
        )  # fmt: skip

    return run


def train(p: ArgumentParser) -> Callable[[Namespace], object]:
    p.add_argument("archive", metavar="ARCHIVE")
    p.add_argument("--out", required=True, metavar="RUN")
    p.add_argument("--plan", metavar="TOML", help="do what this plan says, and nothing else; see `overread plan`")
    _plan_options(p)
    p.add_argument(
        "--search", "--trials", type=int, metavar="N", help="try N settings on training patients first (docs/plan.md)"
    )
    p.add_argument(
        "--folds", type=int, metavar="K", help="few images: cross-validate in K parts, and keep all networks"
    )
    p.add_argument("--repeats", type=int, metavar="R", help="draw the parts R times (default: 3, of slow networks 1)")
    p.add_argument("--resume", action="store_true", help="go on with an unfinished training")
    p.add_argument("--sensitivity", type=float, default=0.95, help="what the operating point must reach (0.95)")
    p.add_argument("--intended-use", default="", metavar="TEXT", help="for the model card, in your words")
    p.add_argument("--no-baseline", action="store_true", help="leave out the article's network")
    p.add_argument("--cluster", metavar="auto|local|HOST:PORT", help="train on a Ray cluster (docs/scale.md)")
    p.add_argument(
        "--processes", type=int, metavar="N", help="so many share each batch (default: one a GPU, or a host)"
    )

    def run(o: Namespace) -> object:
        from overread.steps.train import train

        label, side = _asked(o)
        return train(
            o.archive,
            label=label,
            out=o.out,
            network=o.network,
            plan=o.plan,
            seeds=o.seeds,
            split_column=o.split_column,
            budget=o.budget,
            seed=o.seed,
            search=o.search,
            spacing=o.spacing,
            unit=o.unit,
            resume=o.resume,
            kind=o.kind,
            sensitivity=o.sensitivity,
            side_matters=side,
            intended_use=o.intended_use,
            baseline=not o.no_baseline,
            cluster=o.cluster,
            processes=o.processes,
            folds=o.folds,
            repeats=o.repeats,
            start=o.start,
            precision=o.precision,
            progress=not o.quiet,
        )

    return run


def distil(p: ArgumentParser) -> Callable[[Namespace], object]:
    p.add_argument("teacher", metavar="RUN")
    p.add_argument("--out", required=True, metavar="SMALL", help="folder for the small run")
    p.add_argument("--widths", metavar="SHARES", help="shares of the run's widths to try (default: 0.67,0.5,0.33,0.25)")
    p.add_argument("--margin", type=float, default=0.01, metavar="AUROC", help="so much may be lost (default: 0.01)")
    p.add_argument("--resume", action="store_true", help="go on with an unfinished one")

    def run(o: Namespace) -> object:
        from overread.learn.distilled import WIDTHS
        from overread.steps.distil import distil

        try:
            widths = WIDTHS if o.widths is None else [float(w) for w in o.widths.split(",")]
        except ValueError:
            raise OverreadError(f"--widths {o.widths!r}", expected="numbers with commas", do="write 0.5,0.33") from None
        return distil(o.teacher, out=o.out, widths=widths, margin=o.margin, resume=o.resume, progress=not o.quiet)

    return run


def _plan_options(p: ArgumentParser) -> None:
    """What may be said to `plan` and to `train` alike."""
    p.add_argument(
        "--label", metavar="NAME", help="a label; several yes-or-no labels with commas (default: the task's)"
    )
    p.add_argument("--network", metavar="NAME", help="see `overread networks`; auto: the best on patients held out")
    p.add_argument("--task", metavar="NAME", help="a ready-made question; see `overread tasks`")
    p.add_argument(
        "--start",
        metavar="START",
        help="begin with what `overread pretrain` wrote, a run, or weights of Keras' applications: FILE.weights.h5, .keras, imagenet:NAME",
    )
    p.add_argument("--split-column", metavar="NAME", help="use this published split; none: draw one")
    p.add_argument("--budget", metavar="TIME", help="90s, 10m, 1h, overnight: a good network first, then more of them")
    p.add_argument("--seed", type=int, help="0 when not given")
    p.add_argument("--seeds", type=int, metavar="N", help="so many networks that answer together")
    _kind_option(p)
    p.add_argument("--spacing", metavar="MM|Z,Y,X|auto", help="read volumes at this spacing in mm (docs/plan.md)")
    p.add_argument("--unit", choices=("image", "study", "patient"), help="what one answer is for (default: each image)")
    p.add_argument(
        "--precision", choices=("float32", "bfloat16"), help="products of the residual network (docs/plan.md)"
    )
    sides = p.add_mutually_exclusive_group()
    sides.add_argument(
        "--side-matters",
        nargs="?",
        const="yes",
        choices=("yes", "no"),
        help="no image is mirrored (default: the training images decide)",
    )
    sides.add_argument("--side-does-not-matter", action="store_true", help="images may be mirrored")


def _kind_option(p: ArgumentParser) -> None:
    """How a question is answered, where the labels alone do not say it."""

    def known(text: str) -> str:
        if text not in _KINDS and not text.startswith("ordinal:"):
            raise ArgumentTypeError(f"{text!r}; expected {', '.join(_KINDS)}, or ordinal:LEAST,…,MOST")
        return text

    told = f'{", ".join(_KINDS)}; of words in an order, say it: "ordinal: none < mild < severe"'
    p.add_argument("--kind", default="auto", type=known, metavar="KIND", help=told)


def _asked(o: Namespace) -> tuple[str, bool | None]:
    """Return the label, and what is said of sides: by the person, by the ready-made task, or by nobody (None)."""
    ready = _ready(o.task)
    label = o.label if o.label is not None else ready.label if ready else None
    if label is None:
        raise OverreadError("no label", expected="the question to answer", do="add --label NAME")
    if o.side_does_not_matter or o.side_matters:
        return label, o.side_matters == "yes"
    return label, ready.side_matters if ready and not getattr(o, "plan", None) else None


def _ready(name: str | None) -> ReadyTask | None:
    from overread.domain.task import ready_tasks

    if name is None:
        return None
    if name not in ready_tasks():
        raise OverreadError(
            f"the task {name!r}", expected="one of " + ", ".join(ready_tasks()), do="see `overread tasks`"
        )
    return ready_tasks()[name]


def networks(p: ArgumentParser) -> Callable[[Namespace], object]:
    def run(o: Namespace) -> object:
        from overread.learn.plan import ABOUT

        return _Listing(dict(ABOUT))

    return run


def tasks(p: ArgumentParser) -> Callable[[Namespace], object]:
    def run(o: Namespace) -> object:
        from overread.domain.task import ready_tasks

        return _Listing(
            {
                t.name: f"{t.title} ({'/'.join(t.modalities)}; label {t.label!r}; "
                f"{'side matters' if t.side_matters else 'left-right flips allowed'}: {t.why_side_matters})"
                for t in ready_tasks().values()
            }
        )

    return run


class _Listing:
    """Names with a line each."""

    def __init__(self, lines: dict[str, str]) -> None:
        self.lines = lines

    def to_json(self) -> dict[str, str]:
        return self.lines

    def __str__(self) -> str:
        width = max(map(len, self.lines))
        return "\n".join(f"{name:<{width}}  {line}" for name, line in self.lines.items())
