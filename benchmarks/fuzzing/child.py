"""The process that reads hostile inputs: one line before each and one after, so that whoever waits knows what killed it."""

from __future__ import annotations

import faulthandler
import gc
import json
import os
import re
import shutil
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from random import Random

from benchmarks.fuzzing import bombs, plants
from benchmarks.fuzzing.guard import Guard, bound_memory, forget_peak, peak_mib, tree
from benchmarks.fuzzing.mutate import GENERIC, Input, hostile
from benchmarks.fuzzing.seeds import MARKS, Seed, seeds
from overread.errors import IdentityRefused, OverreadError, UnreadableFile
from overread.formats import door
from overread.formats.clean_copy import clean_copy
from overread.formats.found import Found, Refused
from overread.formats.labels import read_table
from overread.steps.collect import collect
from overread.store.archive import Archive

REASONS = Path(__file__).resolve().parents[2] / "docs" / "reasons.md"
ARCHIVE_SHARE, COLLECT_SHARE, CLEAN_SHARE = 0.02, 0.06, 0.25
_ARCHIVE_LIVES = 40  # inputs that are collected into one archive before a new one begins
_KEY = b"0123456789abcdef0123456789abcdef"


class Defect(Exception):
    """What may never happen, in words."""


class Reader:
    """Everything that one process needs to offer hostile inputs to the product, and to judge what it does.

    Parameters
    ----------
    scratch : Path
        An empty folder of its own: ``in`` is offered, ``bait`` may never be read, ``archive`` is collected into.
    seed : int
    honest : list of Seed
    """

    def __init__(self, scratch: Path, *, seed: int, honest: list[Seed]) -> None:
        self.scratch, self.seed, self.honest = scratch, seed, honest
        self.source, self.archive = scratch / "in", scratch / "archive"
        self.known = set(re.findall(r"^### `([a-z-]+)`", REASONS.read_text(encoding="utf-8"), re.MULTILINE))
        self.collected, self.peak = 0, 0.0
        self._settled()
        (scratch / "bait").mkdir()
        for name, kind in (("secret.dcm", "ct-explicit.dcm"), ("secret.png", "png-0.png")):
            (scratch / "bait" / name).write_bytes(next(s.raw for s in honest if s.name == kind))
        self.guard = Guard(self.source)
        self.pristine = self._small_archive()

    def _small_archive(self) -> dict[str, bytes]:
        """A sound archive of two pictures, as bytes: damage is done to copies of it."""
        folder = self.scratch / "sound"
        folder.mkdir()
        for n in (0, 1):
            (folder / f"{n}.png").write_bytes(next(s.raw for s in self.honest if s.name == f"png-{n}.png"))
        collect(folder, into=self.scratch / "first", progress=False, workers=1)
        return {
            str(p.relative_to(self.scratch / "first")): p.read_bytes()
            for p in (self.scratch / "first").rglob("*")
            if p.is_file()
        }

    # -- one input ------------------------------------------------------------------------------------------------

    def read(self, number: int) -> dict:
        """Offer the input with this number; return what came of it."""
        rng = Random(f"{self.seed}/{number}/route")
        if rng.random() < ARCHIVE_SHARE:
            item, route = Input("archive", "damage", "", b""), self._damaged_archive
        else:
            item = hostile(number, seed=self.seed, seeds=self.honest)
            route = self._route(rng, item)
        self._offer(item)
        if self.peak > 500:
            gc.collect()  # frames of a traceback may hold gigabytes in a circle
        self._settled(*self._into())
        forget_peak()
        began, used = time.perf_counter(), time.process_time()
        defects: list[str] = []
        try:
            outcome = route(item, rng)
        except Defect as defect:
            outcome, defects = "defect", [str(defect)]
        except BaseException:
            outcome, defects = "defect", [traceback.format_exc(limit=-4)]
        seconds, spent = time.perf_counter() - began, time.process_time() - used
        defects += self.guard.take()
        after = tree(self.scratch) - self.before
        defects += [f"a file was written outside the archive: {p}" for p in after if not p.startswith(self.allowed)]
        self.peak = round(peak_mib(), 1)
        return {
            "number": number, "kind": item.kind, "change": item.change, "route": route.__name__.strip("_"), "outcome": outcome,
            "seconds": round(seconds, 4), "cpu": round(spent, 4), "mib": self.peak, "bytes": len(item.raw), "defects": defects,
        }  # fmt: skip

    def _route(self, rng: Random, item: Input) -> Callable[[Input, Random], str]:
        draw = rng.random()
        if draw < COLLECT_SHARE:
            return self._collect
        if item.kind == "csv" or item.name.endswith(".csv"):
            return self._table
        if "dicom" in item.kind and draw < COLLECT_SHARE + CLEAN_SHARE:
            return self._clean
        return self._door if draw < 0.95 else self._public

    def _into(self) -> tuple[Path, Path]:
        return self.archive, self.archive.with_name("archive.names")

    def _settled(self, *allowed: Path) -> None:
        """Everything that lies here now is ours; from now on, files may appear below ``allowed`` alone."""
        self.before, self.allowed = tree(self.scratch), tuple(str(p) for p in allowed)

    def _offer(self, item: Input) -> None:
        """Write the input to a fresh folder."""
        shutil.rmtree(self.source, ignore_errors=True)
        self.source.mkdir()
        for name, raw in {item.name: item.raw, **item.beside}.items():
            if name:
                (self.source / name).parent.mkdir(parents=True, exist_ok=True)
                (self.source / name).write_bytes(raw)

    # -- the ways in ----------------------------------------------------------------------------------------------

    def _door(self, item: Input, rng: Random) -> str:
        with self.guard.watching():
            jobs = door.candidates([self.source])
            results = [(job, door.read_job(job)) for job in jobs]
        for job, out in results:
            offered = {part.name for part in job.parts}
            told = {n for r in out for n in (r.origin.files if isinstance(r, Found) else (r.file,))}
            if job.kind in ("files", "dicom") and told != offered:
                raise Defect(f"{len(offered)} files were offered, {len(told)} were accounted for, or others")
        return self._judged([r for _, out in results for r in out])

    def _public(self, item: Input, rng: Random) -> str:
        try:
            with self.guard.watching():
                images = door.read(self.source)
        except OverreadError as error:
            return self._refused(getattr(error, "code", ""), str(error))
        return "read" if images else "nothing"

    def _clean(self, item: Input, rng: Random) -> str:
        try:
            with self.guard.watching():
                where, raw = clean_copy(self.source / item.name, key=_KEY)
        except UnreadableFile as error:
            return self._refused(error.code, str(error))
        except IdentityRefused as error:
            return self._refused("identity", str(error))
        if where.is_absolute() or ".." in where.parts or len(where.parts) != 4:
            raise Defect("a clean copy would lie outside its folder")
        if leaked := plants.leaked(raw, item.raw):
            raise Defect(f"a clean copy holds {leaked}")
        return "cleaned"

    def _table(self, item: Input, rng: Random) -> str:
        try:
            with self.guard.watching():
                read_table(self.source / item.name)
        except OverreadError as error:
            return self._refused("", str(error), marked=False)  # the refused cell is the person's own table's
        return "read"

    def _collect(self, item: Input, rng: Random) -> str:
        if self.collected % _ARCHIVE_LIVES == 0:
            for folder in self._into():
                shutil.rmtree(folder, ignore_errors=True)
        self.collected += 1
        (self.source / "honest.png").write_bytes(self.honest[0].raw if rng.random() < 0.1 else rng.randbytes(60))
        self._settled(*self._into())
        how = {"labels": self.source / item.name} if item.kind == "csv" else {}
        try:
            with self.guard.watching(*self._into()):
                done = collect(self.source, into=self.archive, progress=False, workers=1, **how)
                refused = [Refused(r["file"], r["code"], r["reason"]) for r in done.refused]
        except OverreadError as error:
            return self._refused("", str(error), marked=not how)
        with Archive.open(self.archive) as archive:
            archive.verify()
        self._judged(refused)
        return "collected"

    def _damaged_archive(self, item: Input, rng: Random) -> str:
        """A sound archive with one file changed: told, or harmless; never a crash, never other voxels."""
        folder = self.source / "archive"
        broken = rng.choice(sorted(self.pristine))
        for name, raw in self.pristine.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            changed = GENERIC[rng.choice(("flip", "truncate", "number", "block"))](rng, raw) if name == broken else raw
            (folder / name).write_bytes(changed)
        (self.source / "archive.names").mkdir()
        (self.source / "archive.names" / "key").write_bytes(_KEY)
        self._settled(folder)
        try:
            with self.guard.watching(folder), Archive.open(folder) as archive:
                archive.verify()
                list(archive.studies())
        except OverreadError as error:
            return self._refused("", str(error))
        return "verified"

    # -- judging --------------------------------------------------------------------------------------------------

    def _judged(self, results: list[Found | Refused]) -> str:
        for result in results:
            if isinstance(result, Refused):
                self._refused(result.code, result.reason)
            elif isinstance(result, Found):
                self._image(result)
            else:
                raise Defect(f"the door gave a {type(result).__name__}")
        if any(isinstance(r, Found) for r in results):
            return "read"
        return "refused: " + results[0].code if results else "nothing"

    def _refused(self, code: str, reason: str, *, marked: bool = True) -> str:
        if code == "our-fault":
            raise Defect(reason)
        if code and code not in self.known and code not in ("identity", "not-dicom", "damaged"):
            raise Defect(f"a reason that is not documented: {code}")
        if "\n" in reason or len(reason) > 600:
            raise Defect(f"a reason of {len(reason)} characters, or several lines")
        if marked and any(mark in reason for mark in MARKS):
            raise Defect("a reason holds an identifier")
        return f"refused: {code}" if code else "refused"

    def _image(self, found: Found) -> None:
        voxels = found.image.voxels
        if voxels.ndim not in (3, 4) or voxels.size == 0 or voxels.dtype.kind not in "uif":
            raise Defect(f"an image of shape {voxels.shape} and type {voxels.dtype}")
        if voxels.dtype.kind == "f" and not (abs(voxels).max() < float("inf")):
            raise Defect("an image with NaN or infinite values")
        words = " ".join(
            [*found.image.notes, *found.image.attributes.values(), *map(str, found.origin.strata.values())]
        )
        if any(mark in words for mark in MARKS):
            raise Defect("an image's notes, attributes or strata hold an identifier")
        if found.image.spacing_mm is not None and not all(0 <= s < float("inf") for s in found.image.spacing_mm):
            raise Defect(f"a spacing of {found.image.spacing_mm} mm")


def main() -> None:
    """``python -m benchmarks.fuzzing.child SCRATCH SEED START STOP [small] [PLANT]``: one line of JSON an input."""
    scratch, seed, start, stop, *more = sys.argv[1:]
    if "small" in more:
        bombs.SIZES = bombs.SMALL_SIZES
    sys.dont_write_bytecode = True
    faulthandler.enable()
    out = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what a library prints must not look like an answer
    reader = Reader(Path(scratch), seed=int(seed), honest=seeds())
    gc.collect()  # the makers of the seeds clear their own folders away now, not while we watch
    for number in range(3):  # everything that is imported late is imported now
        reader.read(number)
    bound_memory()
    for kind in set(more) - {"small"}:
        plants.plant(kind, reader)
    out.write(json.dumps({"ready": len(reader.honest)}) + "\n")
    for number in range(int(start), int(stop)):
        out.write(json.dumps({"began": number}) + "\n")
        out.write(json.dumps(reader.read(number)) + "\n")


if __name__ == "__main__":
    main()
