"""From sources (a file, what it says, what is said of it) to examinations: one Study each, with labels that agree."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from overread.domain import LabelValue, Study, canonical_json
from overread.errors import LabelError
from overread.formats.deid import pseudonym
from overread.steps.parts import in_parts
from overread.steps.people import Shared, told_apart
from overread.store.entries import Source

MOST_CLASSES = 50


@dataclass(frozen=True)
class Examinations:
    """``studies``, and what is to be told of them: ``duplicates`` counts sources whose image another one had already.

    ``contradicted`` holds, by image and label, the answers in words that came to one picture and contradict each other;
    ``shared`` the patients whose number stands for several people.
    """

    studies: tuple[Study, ...]
    duplicates: int
    notes: tuple[str, ...]
    contradicted: Mapping[str, Mapping[str, tuple[str, ...]]] = field(default_factory=dict)
    shared: Shared = field(default_factory=dict)


def examinations(sources: Iterable[Source], *, key: bytes) -> Examinations:
    """Return the examinations that the sources of an archive belong to.

    A picture is an examination of its own; DICOM images, and files that the table's ``study`` column joins, belong
    together where their labels agree, and are divided where they do not. Two pictures with the same pixels are two
    examinations of one stored image. A label that copies of one image contradict is unknown for all of them.

    Parameters
    ----------
    sources : iterable of Source
        In a stable order: the first of several copies is the one without a suffix.
    key : bytes
        Of the pseudonyms.

    Raises
    ------
    LabelError
        When folders are to be the classes and there are more than 50 of them (folders of patients, probably).
    """
    sources, shared, of_people = told_apart(sources, key=key)
    labels = _labels(sources)
    against = _contradictions(sources, labels)
    groups: dict[tuple[str, str], list[int]] = defaultdict(list)
    copies: dict[str, int] = defaultdict(int)
    for i, source in enumerate(sources):
        study = _of(source, "study")
        if study is None:
            copies[source.image] += 1
            alone = f"{pseudonym('S', source.image, key=key)}{_suffix(copies[source.image])}"
            groups[alone, ""].append(i)
        else:
            told = [_of(source, "patient"), labels[i], _all(source, "splits")]
            groups[study, canonical_json(told)].append(i)
    studies, parts = [], defaultdict(int)
    for (name, _), members in sorted(groups.items(), key=lambda g: (g[0][0], min(sources[i].image for i in g[1]))):
        parts[name] += 1
        studies.append(_study(f"{name}{_suffix(parts[name])}", [sources[i] for i in members], labels[members[0]]))
    seen = len({source.image for source in sources})
    return Examinations(
        tuple(studies),
        len(sources) - seen,
        (*_told(against), *divided_told(parts), *of_people, *in_parts(sources)),
        against,
        shared,
    )


def divided_told(parts: Mapping[str, int]) -> tuple[str, ...]:
    """Say how many studies were divided, each into how many examinations.

    Examples
    --------
    >>> divided_told({"S1": 1, "S2": 3})
    ('1 study was divided into 3 examinations, for its images came with patients, labels or divisions that differ',)
    """
    several = [n for n in parts.values() if n > 1]
    if not several:
        return ()
    words = "1 study was" if len(several) == 1 else f"{len(several):,} studies were"
    theirs = "its" if len(several) == 1 else "their"
    which = f"divided into {sum(several):,} examinations, for {theirs} images came with patients, labels or divisions"
    return (f"{words} {which} that differ",)


def _suffix(count: int) -> str:
    return "" if count == 1 else f"-{count}"


def _study(name: str, sources: list[Source], labels: Mapping[str, LabelValue]) -> Study:
    strata: dict[str, str] = {}
    for source in reversed(sources):  # what the first one says holds
        strata.update(_all(source, "strata"))
    return Study(
        name,
        tuple(dict.fromkeys(source.image for source in sources)),
        patient=_of(sources[0], "patient"),
        labels=labels,
        strata=strata,
        splits=_all(sources[0], "splits"),
    )


def _of(source: Source, what: str) -> str | None:
    """Return what is said of a source, else what it says of itself."""
    return source.said.get(what) or source.own.get(what)


def _all(source: Source, what: str) -> dict:
    return source.own.get(what, {}) | {
        name: word for name, word in source.said.get(what, {}).items() if word is not None
    }


def _labels(sources: list[Source]) -> list[dict[str, LabelValue]]:
    """Return the labels of each source, every name in every source (unknown where nothing is said)."""
    classes = sorted({s.said["folder"] for s in sources if s.said.get("folder")})
    if len(classes) > MOST_CLASSES:
        raise LabelError(
            f"{len(classes)} folders as classes",
            expected=f"at most {MOST_CLASSES}: one folder a class, such as normal and tumour",
            do="give a label table with --labels, for these look like folders of patients",
        )
    facts: dict[str, set] = defaultdict(set)
    for source in sources:
        for name, value in source.own.get("labels", {}).items():
            facts[name].add(value)
    two_levels = {name for name, values in facts.items() if values <= {"0", "1"}}
    out = []
    for source in sources:
        labels = {n: (v == "1" if n in two_levels else v) for n, v in source.own.get("labels", {}).items()}
        folder = source.said.get("folder")
        if folder:
            labels |= {name: name == folder for name in classes} | {"class": folder}
        out.append(labels | source.said.get("labels", {}))
    names = sorted({name for labels in out for name in labels})
    return [{name: labels.get(name) for name in names} for labels in out]


def _contradictions(
    sources: list[Source], labels: list[dict[str, LabelValue]]
) -> dict[str, dict[str, tuple[str, ...]]]:
    """Make every label unknown that copies of one image contradict; return the answers, by image and label."""
    values: dict[tuple[str, str], set] = defaultdict(set)
    copies = [i for i, n in enumerate(_times([s.image for s in sources])) if n > 1]
    for i in copies:
        for name, value in labels[i].items():
            if value is not None:
                values[sources[i].image, name].add(value)
    against = {pair for pair, answers in values.items() if len(answers) > 1}
    for i in copies:
        labels[i] |= {name: None for name in labels[i] if (sources[i].image, name) in against}
    found: dict[str, dict[str, tuple[str, ...]]] = {}
    for image, name in sorted(against):
        answers = values[image, name]
        found.setdefault(image, {})[name] = tuple(sorted({True: "yes", False: "no"}.get(a, a) for a in answers))
    return found


def _told(against: Mapping[str, Mapping[str, object]]) -> tuple[str, ...]:
    """Say how many images came with labels that contradict each other."""
    if not against:
        return ()
    names = ", ".join(sorted({name for labels in against.values() for name in labels})[:5])
    return (
        f"{len(against)} image{'s' if len(against) > 1 else ''} came several times with labels that contradict each other "
        f"({names}): these labels count as unknown",
    )


def _times(values: list[str]) -> list[int]:
    """Return for each value how often it occurs."""
    count: dict[str, int] = defaultdict(int)
    for value in values:
        count[value] += 1
    return [count[value] for value in values]
