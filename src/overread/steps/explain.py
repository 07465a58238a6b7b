"""Explain: where in the image the answer came from, as pictures and as raw maps on the original pixel grid.

A kind of map that has not passed its tests is drawn in grey, and says so. ``test`` makes the tests.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial
from itertools import tee
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from overread import engine
from overread.errors import NothingToDo, OverreadError, RunError
from overread.formats import door
from overread.formats.found import Origin
from overread.learn import saliency
from overread.learn.predict import Model
from overread.pages import overlay
from overread.pages.astray import astray
from overread.stats.maps import pointed, pointing, pointing_told
from overread.stats.resample import Nameless, Who
from overread.steps.explained import Explained
from overread.steps.far import far_of, far_of_job, on_this_disk
from overread.steps.heatmaps import headline, judge, keep, panel_of
from overread.steps.opened import open_archive
from overread.steps.pointing import Pointing, foreseen, known_lesions, pointing_game
from overread.steps.progress import bar
from overread.steps.reads import count as count_reads
from overread.steps.reads import model_of, opened
from overread.steps.run import archive_of, read_json, write, write_json
from overread.store.objects import content_hash

METHODS = ("grad-cam", "occlusion")
"""What is drawn when nothing is named."""


def explain(
    run: object,
    *sources: str | Path,
    out: str | Path,
    methods: Sequence[str] = METHODS,
    label: str | None = None,
    test: bool = False,
    lesions: str | Path | None = None,
    cluster: str | None = None,
    progress: bool = True,
) -> Explained:
    """Write heat-maps for every image in the sources: a PNG overlay and the raw map as ``.npy``.

    The raw map is float32 (slices, rows, columns) on the pixel grid of the image as it came, in the unit that
    ``maps.json`` names: positive speaks for the label, negative against it. For DICOM ``maps.json`` also holds the
    affine from (slice, row, column) to millimetres of the patient, and the slices' files in order.

    Parameters
    ----------
    run : path, Run or Model
    sources : paths
    out : path
    methods : sequence of str
        Of ``learn.saliency.METHODS``: "grad-cam", "grad-cam++", "integrated-gradients", "occlusion", "rise".
    label : str, optional
        One output; by default a yes-or-no question's label, or the leading class of each image.
    test : bool
        Test the methods first, on the run's testing cohort; its archive must be here. The verdict is kept with the run,
        and the read is counted.
    lesions : path, optional
        A table of lesions whose place is known (file, row, column, radius, for volumes slice; files, or the folders of
        series, named from its folder): the pointing game is played on the maps, told, and joins the verdict of the
        methods that have one.
    cluster : str, optional
        "auto", "local" or "host:port": draw on that Ray cluster (docs/scale.md); the same bytes.
    progress : bool

    Raises
    ------
    NothingToDo
        When the sources hold no file.
    RunError, ExportError
        When a method is not known, or this network cannot be explained by it.
    """
    model = run if isinstance(run, Model) else opened(Path(getattr(run, "path", run)))[0]
    unknown = [m for m in methods if m not in saliency.METHODS]
    if unknown:
        raise RunError(f"the method {unknown[0]!r}", expected="one of " + ", ".join(saliency.METHODS), do="name one")
    if label is not None:
        saliency.output(model, label)  # refuse an unknown label before any work
    if any(saliency.METHODS[m].slopes for m in methods):
        _ = model.slopes  # refuse a network without slopes before any work
    if lesions is not None:
        foreseen(known_lesions(Path(lesions), Path(lesions).parent), Path(lesions), sources)
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    if test:
        model.heat_maps = keep(model.run, _tested(model, methods, progress=progress))
    maps, refused, patients = [], [], {}
    with bar(total=None, what="explain", unit="pass", show=progress) as line:
        for one in _drawn(Drawing(model, out, tuple(methods), label), sources, cluster, tick=line.update):
            if isinstance(one, door.Refused):
                refused.append((one.file, one.code, one.reason))
                continue
            patients[one.file] = one.patient
            maps += one.maps
            refused += [one.refused] if one.refused else []
    if not maps and not refused:
        raise NothingToDo("no files", expected="images in the sources", do="name a folder or files that hold some")
    result = Explained(out, tuple(maps), tuple(refused), patients=patients)
    if lesions is not None:
        games = _games(result, Path(lesions), methods)
        model.heat_maps = keep(model.run, _pointed(model, games))
        result = replace(result, games=_told(model, games))
    result = replace(result, verdicts={m: model.heat_maps[m] for m in methods if m in model.heat_maps})
    write_json(out / "maps.json", result.to_json())
    return result


class Drawing(NamedTuple):
    """What is asked of every image: which model, where to write, which kinds of map, of which output."""

    model: Model
    out: Path
    methods: tuple[str, ...]
    label: str | None


class Drawn(NamedTuple):
    """What was written for one image, whose it is, and the refusal in the middle of it, if there was one."""

    file: str
    patient: Who
    maps: tuple[dict[str, Any], ...]
    refused: tuple[str, str, str] | None


def draw_job(how: Drawing, job: door.Job, *, tick: Callable[..., object] | None = None) -> list[Drawn | door.Refused]:
    """Read one job and draw the maps of each of its images; on a cluster in a worker process."""
    done: list[Drawn | door.Refused] = []
    for found in door.read_job(job, far_of_job(job)):
        if isinstance(found, door.Refused):
            done.append(found)
            continue
        file, maps, refused = found.origin.files[0], [], None
        try:
            for told in _one(how.model, found, how.out, how.methods, how.label, tick=tick):
                maps.append(told)
        except OverreadError as error:
            refused = (file, getattr(error, "code", "refused"), str(error))
        done.append(Drawn(file, _who(found.origin), tuple(maps), refused))
    return done


def _drawn(
    how: Drawing, sources: Sequence[str | Path], cluster: str | None, *, tick: Callable[..., object]
) -> Iterator[Drawn | door.Refused]:
    """Yield what came of each image, in the order of the sources."""
    jobs = door.candidates(sources, far=far_of(sources))
    if cluster is None:
        for job in jobs:
            yield from draw_job(how, job, tick=tick)
        return
    again, jobs = tee(jobs)
    where = {"cluster": cluster, "shared": (*on_this_disk(sources), how.model.run), "into": how.out}
    for job, drawn in zip(again, engine.map(partial(draw_job, how), jobs, **where), strict=True):
        tick()
        if isinstance(drawn, engine.Failure):
            yield from (door.Refused(part.name, "reader-died", drawn.reason) for part in job.parts)
        else:
            yield from drawn


def _one(model: Model, found: door.Found, out: Path, methods: Sequence[str], label: str | None, *, tick):
    """Yield what was written for one image; ``tick`` is told each pass through the network."""
    image = found.image
    findings = model.findings(image)
    asked = [f for f in findings if f.label == label] if label else _leading(model, findings)
    stem = _stem(found.origin.files[0]) + "-" + content_hash(image)[:8]
    for finding in asked:
        for method in methods:
            heat = saliency.heat_map(model, image, finding.label, method=method, progress=tick)
            name = f"{stem}-{_stem(finding.label)}-{method}"
            raw = io.BytesIO()
            np.save(raw, heat)
            write(out / f"{name}.npy", raw.getvalue())
            title = f"{finding.label}: {finding.probability:.2f} ({finding.low:.2f}–{finding.high:.2f}), {method}"
            unit, failed = saliency.METHODS[method].unit, saliency.failing(model.heat_maps, method)
            beside = "" if failed else astray(image, heat)
            drawn = overlay.overlay_png(image, heat, title=title, unit=unit, failed=failed, warning=beside)
            write(out / f"{name}.png", drawn)
            yield {
                "file": found.origin.files[0],
                "label": finding.label,
                "method": method,
                "png": f"{name}.png",
                "map": f"{name}.npy",
                "shape": list(heat.shape),
                "unit": unit,
                "low": float(heat.min()),
                "high": float(heat.max()),
                "passed": not failed,
                "astray": beside,
                **_place(found),
            }


def _who(origin: Origin) -> Who:
    """Return whose image it is, as its file says; where it names no patient, what its study stands in for."""
    return origin.patient_id or (Nameless(origin.study_uid) if origin.study_uid else None)


def _place(found: door.Found) -> dict[str, Any]:
    """Return where a map of an image with a geometry lies in the patient; empty for a picture."""
    if found.image.geometry is None:
        return {}
    return {"affine": np.asarray(found.image.geometry.affine, float).tolist(), "files": list(found.origin.files)}


def _tested(model: Model, methods: Sequence[str], *, progress: bool) -> dict[str, Any]:
    """Return the verdict on each method, from the run's testing cohort."""
    plan = read_json(model.run / "plan.json")
    where = archive_of(model.run, plan)
    if where is None:
        raise RunError(
            "the archive that this run was trained from is not here",
            expected="its testing cohort, to test the heat-maps on",
            do="bring the archive to where it was, or explain without --test",
        )
    with open_archive(where) as store:
        seed = int(plan.get("seed", 0))
        panel = panel_of(model, store, seed=seed)
        images = [entry[1] for entry in headline(model).entries]
        own = {"model": model_of(model.run), "own": True, "by": "explain"}
        count_reads(model.run, store.path, images, **own, now=datetime.now().astimezone())
        return {m: judge(model, panel, method=m, seed=seed, progress=progress) for m in methods}


def _games(made: Explained, lesions: Path, methods: Sequence[str]) -> dict[str, Pointing]:
    """Return the pointing game of each method whose maps were drawn."""
    drawn = {entry["method"] for entry in made.maps}
    return {m: pointing_game(made, truth=lesions, folder=lesions.parent, method=m) for m in methods if m in drawn}


def _pointed(model: Model, games: Mapping[str, Pointing]) -> dict[str, Any]:
    """Return the verdicts of the methods that have been tested, with the pointing game on these maps."""
    rng = np.random.default_rng(0)
    tested = {m: game for m, game in games.items() if model.heat_maps.get(m, {}).get("tested")}
    return {m: pointed(model.heat_maps[m], game.cases, rng, patients=game.patients) for m, game in tested.items()}


def _told(model: Model, games: Mapping[str, Pointing]) -> dict[str, dict[str, Any]]:
    """Return what came of each game in words and figures, won or lost, of a method that was not tested too."""
    told = {}
    for method, game in games.items():
        figures, check = pointing(game.cases, game.patients, np.random.default_rng(0))
        tested = bool(model.heat_maps.get(method, {}).get("tested"))
        words = pointing_told(game.films, check, tested=tested)
        told[method] = {"told": words, "cases": game.films, "hits_of_cases": game.hits, "tested": tested, **figures}
    return told


def _leading(model: Model, findings):
    if model.task.kind in ("multiclass", "ordinal"):
        return [max(findings, key=lambda f: f.probability)]
    return list(findings)


def _stem(text: str) -> str:
    """A file name that works everywhere, from a path or a label."""
    return re.sub(r"[^A-Za-z0-9._=-]+", "_", Path(text.replace("!", "/")).name).strip("._") or "image"
