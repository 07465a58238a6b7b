"""What a run is worth: the verbs that measure it, show it, compare it, and doubt its labels."""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Callable


def evaluate(p: ArgumentParser) -> Callable[[Namespace], object]:
    p.add_argument("run_folder", metavar="RUN")
    p.add_argument("--on", metavar="ARCHIVE", help="another archive (default: the run's own testing cohort)")
    p.add_argument(
        "--prevalence", type=float, metavar="SHARE", help="also tell PPV and NPV where it is as common: 0.02"
    )
    p.add_argument(
        "--published",
        action="append",
        default=[],
        type=_figure,
        metavar="FIGURE=VALUE",
        help="to be held against: auroc=0.97",
    )
    p.add_argument("--published-n", type=int, metavar="N", help="testing cases behind the published figures")
    p.add_argument(
        "--seeds-from", nargs="+", default=[], metavar="RUN", help="runs that differ by their seed: the spread is told"
    )
    p.add_argument("--cluster", metavar="auto|local|HOST:PORT", help="with --on: read on a Ray cluster (docs/scale.md)")

    def run(o: Namespace) -> object:
        from overread.steps.evaluate import evaluate

        return evaluate(
            o.run_folder,
            on=o.on,
            prevalence=o.prevalence,
            published=dict(o.published),
            published_n=o.published_n,
            seeds_from=o.seeds_from,
            cluster=o.cluster,
            progress=not o.quiet,
        )

    return run


def _figure(word: str) -> tuple[str, float]:
    name, _, value = word.partition("=")
    try:
        return name, float(value)
    except ValueError:
        raise ArgumentTypeError(f"{word!r} is not FIGURE=VALUE, as in auroc=0.97") from None


def report(p: ArgumentParser) -> Callable[[Namespace], object]:
    p.add_argument("run_folder", metavar="RUN")
    p.add_argument("--pdf", metavar="FILE", help="print it as PDF (needs Chromium, Chrome or Edge on this machine)")
    p.add_argument("--browser", metavar="NAME|PATH", help="which browser prints")

    def run(o: Namespace) -> object:
        from overread.steps.report import report

        return report(o.run_folder, pdf=o.pdf, browser=o.browser)

    return run


def compare(p: ArgumentParser) -> Callable[[Namespace], object]:
    p.add_argument("runs", nargs="+", metavar="RUN")
    p.add_argument("--label", metavar="NAME", help="which label, where the runs have several")
    p.add_argument("--out", metavar="HTML", help="write a page with the table and a forest plot of the differences")

    def run(o: Namespace) -> object:
        from overread.steps.compare import compare

        return compare(*o.runs, label=o.label, out=o.out, progress=not o.quiet)

    return run


def doubts(p: ArgumentParser) -> Callable[[Namespace], object]:
    p.add_argument("run_folder", metavar="RUN")
    p.add_argument("--seed", type=int, default=0, metavar="N")

    def run(o: Namespace) -> object:
        from overread.steps.label_errors import doubts

        return doubts(o.run_folder, seed=o.seed, progress=not o.quiet)

    return run


def explain(p: ArgumentParser) -> Callable[[Namespace], object]:
    p.add_argument("run_folder", metavar="RUN")
    p.add_argument("sources", nargs="+", metavar="SOURCE")
    p.add_argument("--out", required=True, metavar="DIR")
    p.add_argument(
        "--method",
        action="append",
        metavar="NAME",
        help="grad-cam, grad-cam++, integrated-gradients, occlusion, rise (default: grad-cam and occlusion)",
    )
    p.add_argument("--test", action="store_true", help="test the methods first; the verdict is kept with the run")
    p.add_argument(
        "--lesions",
        metavar="CSV",
        help="known lesions (file, row, column, radius; for volumes slice): play the pointing game",
    )
    p.add_argument("--label", metavar="NAME")
    p.add_argument("--cluster", metavar="auto|local|HOST:PORT", help="draw on a Ray cluster (docs/scale.md)")

    def run(o: Namespace) -> object:
        from overread.steps.explain import explain

        return explain(
            o.run_folder,
            *o.sources,
            out=o.out,
            methods=o.method or ("grad-cam", "occlusion"),
            label=o.label,
            test=o.test,
            lesions=o.lesions,
            cluster=o.cluster,
            progress=not o.quiet,
        )

    return run
