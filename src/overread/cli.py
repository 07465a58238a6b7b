"""The words a person types: one command for each step, nothing else.

Results go to stdout (``--json`` for machines), the story and the progress bars to stderr.
Exit 0 done · 1 refused, in one line · 2 misused · 3 our fault.
"""

from __future__ import annotations

import argparse
import errno
import json
import sys
import traceback
from collections.abc import Callable, Sequence

from overread import __version__
from overread.errors import OverreadError

ABOUT = "A second reader for medical images: from a folder of scans to a finding. AI assists; the doctor decides."

Make = Callable[[argparse.ArgumentParser], object]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a terminal that is not UTF-8 gets "?" for "–", not a crash
            stream.reconfigure(errors="replace")
    options = parser().parse_args(arguments)
    try:
        result = options.run(options)
        if result is not None:
            json_wanted = getattr(options, "json", False)
            print(json.dumps(result.to_json(), indent=1, ensure_ascii=False) if json_wanted else result, flush=True)
    except OverreadError as refusal:
        return _refuse(str(refusal))
    except KeyboardInterrupt:
        return _refuse(
            "stopped by Ctrl-C; what was finished is kept; run the same command again (train: with --resume)"
        )
    except BrokenPipeError:
        return 1
    except OSError as error:
        return _refuse(_system_told(error))
    except Exception:
        traceback.print_exc()
        print("overread: this is our fault, not yours; please report the lines above", file=sys.stderr)
        return 3
    return 0


def parser() -> argparse.ArgumentParser:
    """Return the whole command line."""
    top = argparse.ArgumentParser(prog="overread", description=ABOUT)
    top.add_argument("--version", action="version", version=f"overread {__version__}")
    verbs = top.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name, (about, make) in COMMANDS.items():
        sub = verbs.add_parser(name, help=about, description=about[:1].upper() + about[1:] + ".")
        sub.set_defaults(run=make(sub))
        if name not in ("networks", "tasks", "serve"):
            sub.add_argument("--quiet", action="store_true", help="no progress, no story")
    return top


def _refuse(line: str) -> int:
    print("overread: " + " ".join(line.split()), file=sys.stderr)
    return 1


def _system_told(error: OSError) -> str:
    what = {
        errno.ENOSPC: "the disk is full; expected room to write; free some, then run the same command again (train: with --resume)",
        errno.EDQUOT: "the disk quota is used up; expected room to write; free some, then run the same command again (train: with --resume)",
        errno.EACCES: f"no permission for {error.filename}; expected a folder you may write; name another",
        errno.ENOENT: f"{error.filename} does not exist; expected an existing file or folder; check the path",
    }
    return what.get(error.errno or 0, f"{error.strerror or error} {error.filename or ''}".strip())


def _json(p: argparse.ArgumentParser) -> None:
    p.add_argument("--json", action="store_true", help="the result for machines, on stdout")


def _demo(p):
    p.add_argument("--out", required=True, metavar="DIR")
    p.add_argument("--data", default="phantom", help="phantom (default, made here), or medmnist:NAME")
    p.add_argument("--file", metavar="NPZ", help="the MedMNIST file, where there is no network")
    p.add_argument("--seed", type=int, default=0)

    def run(o):
        from overread.steps.demo import demo

        return demo(out=o.out, data=o.data, file=o.file, seed=o.seed, progress=not o.quiet)

    return run


def _collect(p):
    p.add_argument(
        "sources",
        nargs="+",
        metavar="SOURCE",
        help="folders, files, zip files, .npz; or elsewhere: see docs/sources.md",
    )
    p.add_argument("--into", required=True, metavar="ARCHIVE")
    p.add_argument("--labels", metavar="CSV", help="a table with the column `file` and one column for each label")
    p.add_argument("--labels-from-folders", action="store_true", help="a picture's folder is its class")
    p.add_argument("--patient", metavar="COLUMN|REGEX", help="who it is: a column of the table, or a part of the path")
    p.add_argument("--workers", type=int, metavar="N", help="processes (default: all cores)")
    _json(p)

    def run(o):
        from overread.steps.collect import collect

        return collect(
            *o.sources,
            into=o.into,
            labels=o.labels,
            labels_from_folders=o.labels_from_folders,
            patient=o.patient,
            workers=o.workers,
            progress=not o.quiet,
        )

    return run


def _find(p):
    p.add_argument("source", metavar="SOURCE", help="dicomweb:https://HOST/PATH?modality=CT or dimse://AET@HOST:PORT?…")
    _json(p)

    def run(o):
        from overread.steps.find import find

        return find(o.source, progress=not o.quiet)

    return run


def _inspect(p):
    p.add_argument("archive", metavar="ARCHIVE")
    p.add_argument("--page", metavar="HTML", help="write the page there, with the names of refused files")
    _json(p)

    def run(o):
        from overread.steps.inspect import inspect

        return inspect(o.archive, page=o.page, progress=not o.quiet)

    return run


def _train(p):
    p.add_argument("archive", metavar="ARCHIVE")
    p.add_argument("--out", required=True, metavar="RUN")
    p.add_argument("--plan", metavar="TOML", help="do what this plan says, and nothing else; see `overread plan`")
    _plan_options(p)
    p.add_argument("--resume", action="store_true", help="go on with an unfinished training")
    p.add_argument("--sensitivity", type=float, default=0.95, help="what the operating point must reach (0.95)")
    p.add_argument("--intended-use", default="", metavar="TEXT", help="for the model card, in your words")
    p.add_argument("--no-baseline", action="store_true", help="leave out the article's network")
    _json(p)

    def run(o):
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
            resume=o.resume,
            kind=o.kind,
            sensitivity=o.sensitivity,
            side_matters=side,
            intended_use=o.intended_use,
            baseline=not o.no_baseline,
            progress=not o.quiet,
        )

    return run


def _plan(p):
    p.add_argument("archive", metavar="ARCHIVE")
    p.add_argument("--out", metavar="TOML", help="write it there, to be edited and handed to `overread train --plan`")
    _plan_options(p)
    _json(p)

    def run(o):
        from overread.steps.plan import plan

        label, side = _asked(o)
        return plan(
            o.archive,
            label=label,
            out=o.out,
            network=o.network or "residual",
            split_column=o.split_column,
            seed=o.seed or 0,
            seeds=o.seeds,
            kind=o.kind,
            side_matters=side,
            budget=o.budget,
            progress=not o.quiet,
        )

    return run


def _plan_options(p: argparse.ArgumentParser) -> None:
    """What may be said to `plan` and to `train` alike."""
    p.add_argument(
        "--label", metavar="NAME", help="a label; several yes-or-no labels with commas (default: the task's)"
    )
    p.add_argument("--network", metavar="NAME", help="see `overread networks`")
    p.add_argument("--task", metavar="NAME", help="a ready-made question; see `overread tasks`")
    p.add_argument("--split-column", metavar="NAME", help="use this published split; none: draw one")
    p.add_argument("--budget", metavar="TIME", help="90s, 10m, 1h, overnight: a good network first, then more of them")
    p.add_argument("--seed", type=int, help="0 when not given")
    p.add_argument("--seeds", type=int, metavar="N", help="so many networks that answer together")
    p.add_argument("--kind", default="auto", choices=("auto", "binary", "multiclass", "multilabel", "ordinal"))
    sides = p.add_mutually_exclusive_group()
    sides.add_argument(
        "--side-matters",
        nargs="?",
        const="yes",
        choices=("yes", "no"),
        help="no image is mirrored (default: the training images decide)",
    )
    sides.add_argument("--side-does-not-matter", action="store_true", help="images may be mirrored")


def _asked(o) -> tuple[str, bool | None]:
    """Return the label, and what is said of sides: by the person, by the ready-made task, or by nobody (None)."""
    ready = _ready(o.task)
    label = o.label if o.label is not None else ready.label if ready else None
    if label is None:
        raise OverreadError("no label", expected="the question to answer", do="add --label NAME")
    if o.side_does_not_matter or o.side_matters:
        return label, o.side_matters == "yes"
    return label, ready.side_matters if ready and not getattr(o, "plan", None) else None


def _ready(name: str | None):
    from overread.domain.task import ready_tasks

    if name is None:
        return None
    if name not in ready_tasks():
        raise OverreadError(
            f"the task {name!r}", expected="one of " + ", ".join(ready_tasks()), do="see `overread tasks`"
        )
    return ready_tasks()[name]


def _evaluate(p):
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
    _json(p)

    def run(o):
        from overread.steps.evaluate import evaluate

        return evaluate(
            o.run_folder,
            on=o.on,
            prevalence=o.prevalence,
            published=dict(o.published),
            published_n=o.published_n,
            seeds_from=o.seeds_from,
            progress=not o.quiet,
        )

    return run


def _figure(word: str) -> tuple[str, float]:
    name, _, value = word.partition("=")
    try:
        return name, float(value)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{word!r} is not FIGURE=VALUE, as in auroc=0.97") from None


def _rivals(p):
    p.add_argument("archive", metavar="ARCHIVE")
    p.add_argument("--label", required=True, metavar="NAME")
    p.add_argument("--split-column", metavar="NAME", help="use a published split")
    p.add_argument("--kind", choices=("auto", "ordinal"), default="auto", help="ordinal: its levels have an order")
    p.add_argument("--seed", type=int, default=0, metavar="N")
    p.add_argument("--repeats", type=int, default=1, metavar="N", help="how often the parts are drawn (default: 1)")
    _json(p)

    def run(o):
        from overread.steps.rivals import rivals

        return rivals(
            o.archive, label=o.label, split_column=o.split_column, kind=o.kind, seed=o.seed, repeats=o.repeats,
            progress=not o.quiet,
        )  # fmt: skip

    return run


def _doubts(p):
    p.add_argument("run_folder", metavar="RUN")
    p.add_argument("--seed", type=int, default=0, metavar="N")
    _json(p)

    def run(o):
        from overread.steps.label_errors import doubts

        return doubts(o.run_folder, seed=o.seed, progress=not o.quiet)

    return run


def _compare(p):
    p.add_argument("runs", nargs="+", metavar="RUN")
    p.add_argument("--label", metavar="NAME", help="which label, where the runs have several")
    p.add_argument("--out", metavar="HTML", help="write a page with the table and a forest plot of the differences")
    _json(p)

    def run(o):
        from overread.steps.compare import compare

        return compare(*o.runs, label=o.label, out=o.out, progress=not o.quiet)

    return run


def _report(p):
    p.add_argument("run_folder", metavar="RUN")
    p.add_argument("--pdf", metavar="FILE", help="print it as PDF (needs Chromium, Chrome or Edge on this machine)")
    p.add_argument("--browser", metavar="NAME|PATH", help="which browser prints")
    _json(p)

    def run(o):
        from overread.steps.report import report

        return report(o.run_folder, pdf=o.pdf, browser=o.browser)

    return run


def _explain(p):
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
    p.add_argument("--lesions", metavar="CSV", help="known lesions (file, row, column, radius): play the pointing game")
    p.add_argument("--label", metavar="NAME")
    _json(p)

    def run(o):
        from overread.steps.explain import explain

        return explain(
            o.run_folder,
            *o.sources,
            out=o.out,
            methods=o.method or ("grad-cam", "occlusion"),
            label=o.label,
            test=o.test,
            lesions=o.lesions,
            progress=not o.quiet,
        )

    return run


def _predict(p):
    p.add_argument("run_folder", metavar="RUN")
    p.add_argument("sources", nargs="+", metavar="SOURCE")
    p.add_argument("--out", required=True, metavar="DIR")
    p.add_argument("--no-dicom", action="store_true", help="no draft SR and Secondary Capture for DICOM input")
    _json(p)

    def run(o):
        from overread.steps.predict import predict

        return predict(o.run_folder, *o.sources, out=o.out, dicom=not o.no_dicom, progress=not o.quiet)

    return run


def _export(p):
    p.add_argument("run_folder", metavar="RUN")
    p.add_argument(
        "--format", default="onnx", help="onnx: the graph; run: what answers for new images, with nothing of any case"
    )
    p.add_argument("--out", required=True, metavar="FILE|DIR")
    _json(p)

    def run(o):
        from overread.steps.export import export

        return export(o.run_folder, out=o.out, format=o.format)

    return run


def _deidentify(p):
    p.add_argument("sources", nargs="+", metavar="SOURCE")
    p.add_argument("--into", required=True, metavar="DIR")
    _json(p)

    def run(o):
        from overread.steps.deidentify import deidentify

        return deidentify(o.sources, into=o.into, progress=not o.quiet)

    return run


def _phantom(p):
    p.add_argument("--out", required=True, metavar="DIR")
    p.add_argument("--kind", default="chest", choices=("chest", "ct"))
    p.add_argument("--patients", type=int, default=300)
    p.add_argument("--size", type=int, default=None, help="pixels a side")
    p.add_argument("--seed", type=int, default=0)
    _json(p)

    def run(o):
        from overread.steps.phantom import phantom

        size = {} if o.size is None else {"size": o.size}
        return phantom(o.out, kind=o.kind, patients=o.patients, seed=o.seed, progress=not o.quiet, **size)

    return run


def _serve(p):
    p.add_argument("run_folder", metavar="RUN")
    p.add_argument("--inbox", metavar="DIR", help="where studies arrive (default: RUN.inbox)")
    p.add_argument("--port", type=int, default=None, help="8080")
    p.add_argument("--settings", metavar="TOML")
    p.add_argument("--demo", action="store_true", help="mark every page as a demonstration")

    def run(o):
        from overread.serve.app import serve

        return serve(o.run_folder, inbox=o.inbox, port=o.port, demo=o.demo, settings=o.settings)

    return run


def _verify(p):
    p.add_argument("path", metavar="PATH", help="an archive, a run, a journal, or the inbox or folder that holds one")
    _json(p)

    def run(o):
        from overread.steps.verify import verify

        return verify(o.path, progress=not o.quiet)

    return run


def _networks(p):
    _json(p)

    def run(o):
        from overread.learn.plan import ABOUT as networks

        return _Listing(dict(networks))

    return run


def _tasks(p):
    _json(p)

    def run(o):
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


COMMANDS: dict[str, tuple[str, Make]] = {
    "demo": ("the whole walk on simulated films, from phantom to reading page", _demo),
    "find": ("say what a query to a PACS would bring, before it is collected", _find),
    "collect": ("read scans into an archive without identities, with their labels", _collect),
    "inspect": ("say what an archive holds", _inspect),
    "plan": ("say what training would do with a cohort, and why; write it down to be edited", _plan),
    "rivals": ("try networks against each other on training and tuning patients, and say which to take", _rivals),
    "train": ("train a network to answer one question, and report how well it does", _train),
    "evaluate": ("measure a run on its testing cohort, or on another archive", _evaluate),
    "report": ("write a run's report and card again with what a human has written since; print it as PDF", _report),
    "compare": ("put runs side by side on the same testing images, with paired intervals", _compare),
    "doubts": ("list the labels of a run's cases that a reader should look at again, and why", _doubts),
    "explain": ("show where in the image an answer came from", _explain),
    "predict": ("answer for new images, with draft DICOM reports", _predict),
    "export": ("hand the trained graph to another program, or a run without its cases to another place", _export),
    "deidentify": ("write DICOM files without identities", _deidentify),
    "serve": ("open the reading page: the doctor reads, compares, decides and signs", _serve),
    "verify": ("check that an archive, a run, or a journal is whole", _verify),
    "phantom": ("simulate films or CT of known truth, as DICOM", _phantom),
    "networks": ("list the networks", _networks),
    "tasks": ("list the ready-made questions", _tasks),
}


if __name__ == "__main__":
    sys.exit(main())
