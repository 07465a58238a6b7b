"""Persons whom one patient number stands for: two hospitals that count alike, and ``ANONYMOUS`` for everybody.

The issuer of a number belongs to it. Where only birth dates, sexes or names tell persons apart, they stay one patient (a typing error
must not put one person into training and testing), and it is told. ``ARCHIVE/people.json`` holds pseudonyms and counts, no name.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import replace

from overread.formats.deid import pseudonym
from overread.formats.sidecar import tree_of
from overread.store import findings
from overread.store.archive import Archive
from overread.store.entries import Source

NAME = "people.json"

Shared = Mapping[str, Mapping[str, int]]
"""Patient (pseudonym) → how many ``birth dates``, ``sexes``, ``names`` came under that number, where more than one."""


def person_words(person: Mapping[str, str], *, key: bytes) -> dict[str, object]:
    """Return what a header says of a person, so that it can be compared and not be read.

    Examples
    --------
    >>> words = person_words({"born": "19500101", "sex": "F", "name": "DOE JANE"}, key=bytes(32))
    >>> sorted(words), words["sex"], len(words["names"]), "1950" in str(words)
    (['born', 'names', 'sex'], 'F', 2, False)
    """

    def hidden(kind: str, value: str) -> str:
        return pseudonym("P", f"{kind} {value}", key=key)[1:]

    out: dict[str, object] = {w: hidden(w, person[w]) for w in ("issuer", "born") if person.get(w)}
    if person.get("sex"):
        out["sex"] = person["sex"]
    if names := [hidden("name", word) for word in person.get("name", "").split()]:
        out["names"] = sorted(names)
    return out


def told_apart(sources: Iterable[Source], *, key: bytes) -> tuple[list[Source], Shared, tuple[str, ...]]:
    """Return the sources with patients that two issuers number told apart, whom one number stands for, and what to say of it.

    A number keeps its pseudonym where all issuers that are named are one: files that name none are of the same person.
    What a table or a pattern says of the patient holds.
    """
    out, issuers = list(sources), defaultdict(set)
    for source in out:
        if issuer := _person(source).get("issuer"):
            issuers[source.own["patient"]].add(issuer)
    several = {patient for patient, said in issuers.items() if len(said) > 1}
    for i, source in enumerate(out):
        issuer = _person(source).get("issuer")
        if issuer and source.own["patient"] in several:
            patient = pseudonym("P", f"{source.own['patient']} {issuer}", key=key)
            out[i] = replace(source, own={**source.own, "patient": patient})
    shared = _shared(out)
    notes = []
    if several:
        words = "1 patient number comes" if len(several) == 1 else f"{len(several):,} patient numbers come"
        notes.append(f"{words} from several issuers: a patient for each issuer, and one for files that name none")
    return out, shared, (*notes, *told_of(shared), *told_otherwise(out), *alike_trees(out))


def told_of(shared: Shared) -> list[str]:
    """Say how many patient numbers stand for several people, and which of them only by name.

    Examples
    --------
    >>> print(*told_of({"P1": {"birth dates": 4, "sexes": 2, "names": 4}, "P2": {"names": 2}}), sep="\\n")
    1 patient number stands for several people (up to 4 birth dates under one): they count as one patient; say who is who with --patient
    1 patient number has names that share no word: one person under two names, or several people
    """
    sure = [counts for counts in shared.values() if is_sure(counts)]
    told = []
    if sure:
        most, what = max((n, w) for counts in sure for w, n in counts.items() if w != "names")
        words = "1 patient number stands" if len(sure) == 1 else f"{len(sure):,} patient numbers stand"
        told.append(
            f"{words} for several people (up to {most} {what} under one): they count as one patient; say who is who with --patient"
        )
    if names := len(shared) - len(sure):
        words = "1 patient number has" if names == 1 else f"{names:,} patient numbers have"
        told.append(f"{words} names that share no word: one person under two names, or several people")
    return told


def told_otherwise(sources: Iterable[Source]) -> list[str]:
    """Say how many patients of a table or a pattern are several in the files' own headers, and how many of those are several there.

    Examples
    --------
    >>> made = [Source("", "", "", {"patient": own}, {"patient": said}) for own, said in (("1", "X"), ("2", "X"), ("3", "Y"))]
    >>> print(*told_otherwise(made))
    1 patient of the label table or the pattern is several in the files' own headers: they count as one patient
    >>> told_otherwise(made[1:])
    []
    """
    inside, outside = defaultdict(set), defaultdict(set)
    for source in sources:
        said, own = source.said.get("patient"), source.own.get("patient")
        if said and own:
            inside[said].add(own)
            outside[own].add(said)
    told = []
    if merged := sum(len(numbers) > 1 for numbers in inside.values()):
        words = "1 patient of the label table or the pattern is"
        words = words if merged == 1 else f"{merged:,} patients of the label table or the pattern are"
        told.append(f"{words} several in the files' own headers: they count as one patient")
    if divided := sum(len(names) > 1 for names in outside.values()):
        words = "1 patient of the files' own headers is" if divided == 1 else f"{divided:,} patients of the headers are"
        told.append(
            f"{words} several in the label table or the pattern: they count as several, and a split may part them"
        )
    return told


def alike_trees(sources: Iterable[Source]) -> list[str]:
    """Say how many people of BIDS trees stand in several trees that give themselves one name.

    Examples
    --------
    >>> made = [Source(f"/{site}/sub-01/sub-01_T1w.nii", "", "", {"patient": "P1"}) for site in "ab"]
    >>> alike_trees(made)[0].partition(":")[0], alike_trees(made[:1])
    ('1 person stands in several BIDS trees of one name and counts as one', [])
    """
    trees = defaultdict(set)
    for source in sources:
        if source.file.lower().endswith((".nii", ".nii.gz")) and not source.said.get("patient"):
            if (tree := tree_of(source.file)) and (patient := source.own.get("patient")):
                trees[patient].add(tree)
    several = sum(len(some) > 1 for some in trees.values())
    words = "1 person stands in several BIDS trees of one name and counts as one"
    if several > 1:
        words = f"{several:,} people stand in several BIDS trees of one name and count as one each"
    do = "where each tree has people of its own, give each another Name in its dataset_description.json"
    return [f"{words}: {do}, and collect into a new archive"] if several else []


def is_sure(counts: Mapping[str, int]) -> bool:
    """True where more than the spelling of a name says that these are several people."""
    return bool({"birth dates", "sexes"} & counts.keys())


def _person(source: Source) -> Mapping[str, object]:
    """Return what a source says of its person; nothing where somebody else says who it is."""
    return {} if source.said.get("patient") or not source.own.get("patient") else source.own.get("person", {})


def _shared(sources: Iterable[Source]) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, set]] = defaultdict(lambda: {"birth dates": set(), "sexes": set(), "names": set()})
    for source in sources:
        person = _person(source)
        for what, word in (("birth dates", "born"), ("sexes", "sex"), ("names", "names")):
            if value := person.get(word):
                found[source.own["patient"]][what].add(tuple(value) if word == "names" else value)
    counted = {}
    for patient, said in found.items():
        counts = {w: len(said[w]) for w in ("birth dates", "sexes")} | {"names": _unlike(said["names"])}
        if several := {what: n for what, n in counts.items() if n > 1}:
            counted[patient] = several
    return counted


def _unlike(names: Iterable[tuple[str, ...]]) -> int:
    """Count groups of names that share no word.

    Examples
    --------
    >>> _unlike([("jane", "doe"), ("jane", "roe"), ("roe",), ("x", "y")])
    2
    """
    groups: list[set[str]] = []
    for name in names:
        near = [g for g in groups if g & set(name)]
        groups = [g for g in groups if not g & set(name)] + [set(name).union(*near)]
    return len(groups)


def keep_people(archive: Archive, shared: Shared) -> int:
    """Write which patients are numbers that several people share (no file where none are); return how many surely are."""
    findings.keep(archive.path / NAME, shared)
    return sum(map(is_sure, shared.values()))


def read_people(archive: Archive) -> Shared:
    """Return what `collect` wrote; empty for an archive where no number is shared, or one collected before this was asked.

    Raises
    ------
    ArchiveError
        When the file is damaged.
    """
    return findings.read(archive.path / NAME)
