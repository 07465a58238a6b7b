"""Ask one reader for every source, in the reader's own environment: `python child.py READER JOBS.json OUT`.

NumPy is all that this file needs. Each answer is written as soon as it is there, so that a reader that brings its process
down loses one answer and not all of them. Nothing is hidden: exceptions, warnings, log and stderr go into the answer.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import logging
import os
import sys
import tempfile
import warnings
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np


def main() -> None:
    script, jobs, out = Path(sys.argv[1]), json.loads(Path(sys.argv[2]).read_text()), Path(sys.argv[3])
    sys.path[:] = [p for p in sys.path if Path(p or ".").resolve() != Path(__file__).resolve().parent]
    spec = importlib.util.spec_from_file_location(f"reader_{script.stem}", script)
    reader = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(reader)
    (out / "versions.json").write_text(json.dumps({p: _version(p) for p in reader.PACKAGES}))
    for job in jobs:
        stem = out / job["name"]
        if stem.with_suffix(".json").exists():
            continue
        stem.with_suffix(".begun").write_text("")
        told, arrays = asked(reader, job["path"], job["kind"])
        with open(stem.with_suffix(".npz"), "wb") as file:
            np.savez(file, **arrays)
        stem.with_suffix(".json").write_text(json.dumps(told))


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def asked(reader: object, path: str, kind: str) -> tuple[dict, dict[str, np.ndarray]]:
    """Return what a reader said of one source (JSON), and its arrays by name ("0", "0 affine", "1", …)."""
    if kind not in reader.READS:
        return {"seen": [], "error": "", "warnings": [], "unread": f"no {kind} by its documentation"}, {}
    error, seen = "", []
    with heard() as words:
        try:
            seen = reader.read(path, kind)
        except reader_stops() as stop:
            error = f"{type(stop).__name__}: {stop}"
    arrays = {str(n): np.asarray(s["array"]) for n, s in enumerate(seen)}
    arrays |= {f"{n} affine": np.asarray(s["affine"]) for n, s in enumerate(seen) if s.get("affine") is not None}
    words, error = [_plain(w, path) for w in words], _plain(error, path)
    rest = [{k: v for k, v in s.items() if k not in ("array", "affine")} for s in seen]
    return {"seen": rest, "error": error, "warnings": words, "unread": ""}, arrays


def _plain(words: str, path: str) -> str:
    """Take the path out of what a reader said: a trap's name in it must not be taken for an explanation."""
    return words.replace(path, "FILE").replace(str(Path(path).parent), "FOLDER")


def reader_stops() -> tuple[type[BaseException], ...]:
    """What a foreign reader may end with: anything but a person's Ctrl-C."""
    return (Exception, SystemExit)


@contextlib.contextmanager
def heard():
    """Collect warnings, log records, and what is printed to stdout and stderr, C++ libraries' too."""
    words: list[str] = []
    handler = logging.Handler(logging.INFO)
    handler.emit = lambda record: words.append(record.getMessage())
    root = logging.getLogger()
    root.addHandler(handler)
    sys.stdout.flush(), sys.stderr.flush()
    kept = os.dup(1), os.dup(2)
    with tempfile.TemporaryFile() as said, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        os.dup2(said.fileno(), 1), os.dup2(said.fileno(), 2)
        try:
            yield words
        finally:
            sys.stdout.flush(), sys.stderr.flush()
            for number, copy in zip((1, 2), kept):
                os.dup2(copy, number)
                os.close(copy)
            root.removeHandler(handler)
            said.seek(0)
            words += [str(w.message) for w in caught if not issubclass(w.category, (DeprecationWarning, FutureWarning))]
            words += [line for line in said.read().decode("utf-8", "replace").splitlines() if line.strip()]


if __name__ == "__main__":
    main()
