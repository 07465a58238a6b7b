"""What a run is measured on: its own testing cohort, or another archive, read now."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from typing import Any

import numpy as np

from overread import engine
from overread.domain import Study, Task
from overread.errors import CohortError, IntegrityError, RunError
from overread.learn.gate import Rows
from overread.learn.predict import Model
from overread.stats.exchangeability import named, one_each
from overread.stats.joined import Joining
from overread.steps import crossed_scores, elsewhere, leakage
from overread.steps.agreed import disagreeing
from overread.steps.opened import bring
from overread.steps.progress import progress as bar
from overread.steps.question import columns, never_learned
from overread.steps.question import truth as truth_of
from overread.steps.reads import Reads, count, model_of
from overread.steps.run import read_json
from overread.steps.scores import LEVELS, Scores
from overread.steps.trained import Trained
from overread.store.archive import Archive
from overread.store.objects import ImageRecord, Objects, read_object

GONE = "The training archive is not here: no cases are shown, and no subgroup could be looked at."

NOT_ONE = (
    "The other archive is too large to look for copies inside it, and not all its patients are known: copies count as "
    "several cases, and the intervals may be too narrow."
)

AGAIN = 64
"""Testing images that are read again before they are measured: a forger of one in twenty is found in 96 of 100 runs."""

APART = 0.01
"""Score, and share of it, by which two machines may differ."""

_CHUNK = 64  # images that travel together to a host of a cluster, at most


@dataclass(frozen=True)
class Measured:
    """The cases that a run is measured on.

    Parameters
    ----------
    archive : Archive or None
        Where their images are; None where the training archive is not here.
    studies : mapping of str to Study
        Of that archive, by pseudonym.
    testing : Scores
    certificate : mapping
        What they share with the training.
    warnings : tuple of str
    rows : mapping of str to Rows
        Each image as the gate sees it, by its hash; of another archive only.
    """

    archive: Archive | None
    studies: Mapping[str, Study]
    testing: Scores
    certificate: Mapping[str, Any]
    warnings: tuple[str, ...]
    rows: Mapping[str, Rows] = field(default_factory=dict)

    @property
    def images(self) -> list[str]:
        """The hash of each image, in order."""
        return self.testing.images


def unit_of(testing: Scores, joining: Joining | None = None) -> dict[str, Any]:
    """Return what every figure counts: images, or the studies or patients that are answered as one; how many of each."""
    patients = {patient for _, _, _, patient in testing.entries}
    return {
        "counted": joining.unit if joining else "image",
        "images": len(testing.images),
        **({"joined": joining.in_words()} if joining else {}),
        "studies": len(
            {study for some in testing.members for _, study in some} or {entry[2] for entry in testing.entries}
        ),
        "patients": None if None in patients else len(patients),
    }


def own_cohort(trained: Trained, home: Archive | None, studies: Mapping[str, Study]) -> Measured:
    """Return the run's own testing cohort, whose scores `train` kept, with the answers of then.

    Raises
    ------
    IntegrityError
        When the network, asked again, says otherwise.
    """
    testing = crossed_scores.measured(trained.run, trained.scores)
    if home and testing.crossed is None:
        _ask_again(trained, home)
    changed = disagreeing(trained.each, studies, trained.task) if home else []
    warnings = (*changed, *trained.split.warnings, *leakage.warnings(trained.certificate), *trained.warnings)
    told = warnings if home else (*warnings, GONE)
    if testing.crossed is not None:
        told = (f"{read_json(trained.run / crossed_scores.TOLD)['in_words']}.", *told)
    return Measured(home, studies, testing, trained.certificate, told)


def _ask_again(trained: Trained, home: Archive) -> None:
    """Refuse scores that are not the network's: some testing images are read again, and must give what was kept.

    Whoever writes other scores can also write their hashes; not what the network says. The exported graph gives the same
    to the last of the six digits kept; another machine or library may differ a little.
    """
    testing = trained.each.of("testing")
    drawn = np.random.default_rng(trained.question.seed).permutation(len(testing.entries))[:AGAIN]
    found = np.array([z for z, _ in trained.model.read(home.image(testing.entries[i][1]) for i in drawn)])
    kept = testing.logits[drawn]
    other = (np.abs(found - kept) > APART * (1 + np.abs(kept))).any(axis=1)
    if other.any():
        raise IntegrityError(
            f"scores.csv is not what the network says: {int(other.sum()):,} of {len(drawn):,} testing images, read again, "
            f"score differently (by up to {np.abs(found - kept).max():.2g})",
            expected="the scores that the training kept",
            do="restore the run from a copy you trust; if overread was updated since, train again",
        )


def other_archive(
    trained: Trained, archive: Archive, *, home: Archive | None, cluster: str | None, progress: bool
) -> Measured:
    """Read another archive: all its labelled studies, apart from what the run was trained on."""
    there = {s.pseudonym: s for s in archive.studies()}
    (testing, rows), said = _read(archive, there, trained.model, trained.task, cluster, progress=progress), []
    if any(patient is None for _, _, _, patient in testing.entries):
        alone = leakage.find_copies(archive, progress=progress).near
        testing = replace(testing, copies=alone or {})
        said = [NOT_ONE] if alone is None else []
    testing, certificate = elsewhere.measured_apart(
        testing,
        trained.split,
        run=trained.run,
        archive=archive,
        home=home,
        labels=columns(trained.task),
        progress=progress,
    )
    first = [*elsewhere.warnings(leakage.told(certificate)), never_learned(list(there.values()), trained.task)]
    warnings = (*first, *said, *(f"where it was trained: {w}" for w in trained.warnings))
    return Measured(archive, there, testing, certificate, tuple(w for w in warnings if w), rows)


def counted(trained: Trained, cases: Measured, *, own: bool, now: datetime) -> Reads:
    """Record that the cases are read, and say how often they have been.

    Where images of the run's own testing cohort stand in another archive, that cohort is read again, whatever it is called
    there: that is recorded with it, and its count is the one that is told.
    """
    place, model = cases.archive.path if cases.archive else None, model_of(trained.run)
    asked = cases.certificate.get("own_testing") or {}
    if own or not (asked.get("same") or asked.get("near")):
        return count(trained.run, place, cases.images, model=model, own=own, now=now)
    ours = [entry[1] for entry in trained.scores.of("testing").entries]
    if sorted(ours) == sorted(cases.images):
        return count(trained.run, trained.archive, ours, model=model, own=True, now=now)
    there = count(trained.run, place, cases.images, model=model, own=False, now=now)
    again = count(trained.run, trained.archive, ours, model=model, own=True, now=now, by="evaluate --on")
    return replace(again, notes=tuple(dict.fromkeys((*again.notes, *there.notes))))


def _read(
    archive: Archive, studies: Mapping[str, Study], model: Model, task: Task, cluster: str | None, *, progress: bool
) -> tuple[Scores, dict[str, Rows]]:
    """Score every labelled study of another archive; return each image as the gate sees it, too, by its hash."""
    known = truth_of(list(studies.values()), task)
    rows = [
        (("testing", image, study.pseudonym, study.patient), t)
        for study, t in zip(studies.values(), known, strict=True)
        if not np.isnan(t).all()
        for image in _asked_of(archive, study, model)
    ]
    if not rows:
        strange = never_learned(list(studies.values()), task)
        raise CohortError(
            f"no study of this archive has {'a level that the model knows of' if strange else 'the label'} {task.name!r}",
            expected="the label the run was trained for" + (f": {', '.join(task.labels)}" if strange else ""),
        )
    hashes = [entry[1] for entry, _ in rows]
    how = {"total": len(rows), "what": "reading", "unit": "images", "show": progress}
    if cluster is None:
        bring(archive, map(archive.describe, hashes), show=progress)
        found = list(model.looked(archive.image(name) for name in bar(hashes, **how)))
    else:
        found = list(bar(_looked_elsewhere(archive, hashes, model, cluster), **how))
    logits, unlike = np.array([z for z, _, _ in found]), tuple(why for _, why, _ in found)
    seen = {entry[1]: row for (entry, _), (_, _, row) in zip(rows, found, strict=True) if row}
    scores = Scores(tuple(entry for entry, _ in rows), np.array([t for _, t in rows]), logits, unlike)
    return scores.joined(model.joining, levels=task.kind in LEVELS), seen


def _asked_of(archive: Archive, study: Study, model: Model) -> Sequence[str]:
    """Return the images of a study that count: where studies are answered, those of another kind are left out, if others stay."""
    if model.joining is None:
        return study.images
    fit = [image for image in study.images if not model.other_kind(archive.describe(image))]
    return fit or study.images


def _looked_elsewhere(
    archive: Archive, hashes: Sequence[str], model: Model, cluster: str
) -> Iterator[tuple[np.ndarray, str, Rows]]:
    """Yield what ``Model.looked`` does, from the hosts of a cluster."""
    records = (archive.describe(name) for name in hashes)
    how = {
        "cluster": cluster,
        "shared": [folder for folder in (archive.objects.folder, model.run) if folder],
        "chunk": _CHUNK,
    }
    for seen in engine.map(partial(look, model, archive.objects), records, **how):
        if isinstance(seen, engine.Failure):
            raise RunError(f"an image that cannot be read: {seen.reason}", do="look for it with `overread verify`")
        yield seen


def look(model: Model, objects: Objects, record: ImageRecord) -> tuple[np.ndarray, str, Rows]:
    """Score one stored image; in a worker process."""
    return next(model.looked([read_object(objects, record)]))


def alike(model: Model, testing: Scores, rows: Mapping[str, Rows]) -> dict[str, Any]:
    """Return whether the images of another archive come as the calibration cohort's did; empty where too few to say."""
    each = one_each(testing.patients, [entry[1] for entry in testing.entries])
    found = [rows[testing.entries[i][1]] for i in each if testing.entries[i][1] in rows]
    return (model.gate.compared(found, of=named(testing.patients)) if model.gate is not None else None) or {}
