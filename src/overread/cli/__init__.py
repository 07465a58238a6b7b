"""The words a person types: one command for each step, nothing else.

Each verb is a function that tells a parser what may be said, and returns what is then done; it imports the step only when it runs, so
that ``--help`` answers at once. `gathering` fills an archive, `learning` trains on it, `measuring` asks what came of it, `serving` uses it.

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
from overread.cli import gathering, learning, measuring, serving
from overread.errors import OverreadError

ABOUT = "A second reader for medical images: from a folder of scans to a finding. AI assists; the doctor decides."

Make = Callable[[argparse.ArgumentParser], Callable[[argparse.Namespace], object]]

COMMANDS: dict[str, tuple[str, Make]] = {
    "demo": ("the whole walk on simulated films, from phantom to reading page", gathering.demo),
    "find": ("say what a query to a PACS would bring, before it is collected", gathering.find),
    "collect": ("read scans into an archive without identities, with their labels", gathering.collect),
    "copy": ("copy an archive to a bucket, or from there into a folder, without names", gathering.copy),
    "inspect": ("say what an archive holds", gathering.inspect),
    "plan": ("say what training would do with a cohort, and why; write it down to be edited", learning.plan),
    "pretrain": (
        "learn to see from the images of an archive without their answers: a start for training",
        learning.pretrain,
    ),
    "rivals": (
        "try networks against each other on training and tuning patients, and say which to take",
        learning.rivals,
    ),
    "train": ("train a network to answer one question, and report how well it does", learning.train),
    "distil": ("find the smallest network that reads as well as a run, and keep it as a run", learning.distil),
    "evaluate": ("measure a run on its testing cohort, or on another archive", measuring.evaluate),
    "report": (
        "write a run's report and card again with what a human has written since; print it as PDF",
        measuring.report,
    ),
    "compare": ("put runs side by side on the same testing images, with paired intervals", measuring.compare),
    "doubts": ("list the labels of a run's cases that a reader should look at again, and why", measuring.doubts),
    "explain": ("show where in the image an answer came from", measuring.explain),
    "predict": ("answer for new images, with draft DICOM reports", serving.predict),
    "export": (
        "hand the trained graph to another program, or a run without its cases to another place",
        serving.export,
    ),
    "deidentify": ("write DICOM files without identities", gathering.deidentify),
    "serve": ("open the reading page: the doctor reads, compares, decides and signs", serving.serve),
    "verify": ("check that an archive, a run, or a journal is whole", serving.verify),
    "phantom": ("simulate films or CT of known truth, as DICOM", gathering.phantom),
    "networks": ("list the networks", learning.networks),
    "tasks": ("list the ready-made questions", learning.tasks),
}


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
            if getattr(result, "came_to_nothing", False):  # told in full above; a script must notice
                return 1
    except OverreadError as refusal:
        return _refuse(str(refusal))
    except KeyboardInterrupt:
        return _refuse(
            "stopped by Ctrl-C; what was finished is kept; run the same command again (train, pretrain, distil: with --resume)"
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
        if name not in ("demo", "serve"):
            sub.add_argument("--json", action="store_true", help="the result for machines, on stdout")
        if name not in ("networks", "tasks", "serve"):
            sub.add_argument("--quiet", action="store_true", help="no progress, no story")
    return top


def _refuse(line: str) -> int:
    print("overread: " + " ".join(line.split()), file=sys.stderr)
    return 1


def _system_told(error: OSError) -> str:
    room = "expected room to write; free some, then run the same command again (train, pretrain, distil: with --resume)"
    name = error.filename
    what = {
        errno.ENOSPC: f"the disk is full; {room}",
        errno.EDQUOT: f"the disk quota is used up; {room}",
        errno.EACCES: f"no permission for {name}; expected a folder you may write; name another",
        errno.EROFS: f"{name} lies on a disk that cannot be written; expected a folder you may write; name another",
        errno.ENOENT: f"{name} does not exist and cannot be made; expected a path in a folder that you may write; check it",
        errno.ENOTDIR: f"{name} is a file, or lies below one; expected a folder; name another",
        errno.EEXIST: f"{name} is a file; expected a folder, or nothing yet; name another",
        errno.EISDIR: f"{name} is a folder; expected a file; name another",
    }
    told = f"{error.strerror or error} {name or ''}".strip()
    return what.get(error.errno or 0, f"{told}; expected files that can be read and written; check the disk")
