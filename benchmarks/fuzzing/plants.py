"""Defects put in on purpose, to prove that the run would find one; and what may not leave in a clean copy."""

from __future__ import annotations

import io
import os
import signal
import time
import warnings

import pydicom

from benchmarks.fuzzing.seeds import MARKS
from overread.formats import door
from overread.formats.found import Refused

KINDS = ("crash", "hang", "raise", "write", "tell", "memory", "lose")
_kept: list[bytes] = []


def plant(kind: str, reader: object) -> None:
    """Make the door misbehave in one way for one job in five."""
    honest, calls = door.read_job, iter(range(10**9))

    def bad(job):
        if next(calls) % 5 != 2:
            return honest(job)
        match kind:
            case "crash":
                os.kill(os.getpid(), signal.SIGSEGV)
            case "hang":
                time.sleep(3600)
            case "raise":
                raise KeyError("planted")
            case "write":
                (reader.scratch / "pwned").write_bytes(b"x")
            case "tell":
                return [Refused(part.name, "malformed", f"the file of {MARKS[0]}") for part in job.parts]
            case "memory":
                _kept.append(bytes(8 << 30))
            case "lose":
                return []
        return honest(job)

    door.read_job = bad


def leaked(clean: bytes, raw: bytes) -> str:
    """Say which mark a clean copy's header holds that the original's own identity fields held, or ""."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        before = pydicom.dcmread(io.BytesIO(raw), stop_before_pixels=True, force=True)
        after = str(pydicom.dcmread(io.BytesIO(clean), stop_before_pixels=True))
        said = " ".join(_said(before, k) for k in ("PatientName", "PatientID", "StudyInstanceUID", "PatientBirthDate"))
    return next((mark for mark in MARKS if mark in said and mark in after), "")


def _said(ds: pydicom.Dataset, keyword: str) -> str:
    try:
        return str(ds.get(keyword, ""))
    except Exception:  # a value that pydicom cannot read in its damaged type
        return ""
