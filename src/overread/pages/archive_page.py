"""One page of an archive: who, what, from which scanners, how the values lie, what is twice, odd, or written over."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from overread.pages.histogram import histogram
from overread.pages.template import filled

_MOST_ROWS = 12  # of a table of counts
_MOST_REASONS = 200
_MOST_NAMED = 40  # files of one reason
_MARKS = {"accepted": "✓", "accepted with a note": "✎", "refused": "✕"}


def render_archive(archive: Mapping[str, Any]) -> str:
    """Return the page as one HTML file that fetches nothing.

    Parameters
    ----------
    archive : mapping
        What ``steps.inspect_page`` gathers: ``name``, ``names`` (may file names be shown), ``overread``, ``inspection``
        (as ``inspect --json`` prints it), ``refused`` (files, without what was passed over), ``histograms``
        (kind, unit, quantiles, marked) and the pictures: ``groups``, ``exact``, ``near``, ``conflicts``,
        ``lettering``, ``outliers``, each with the ``totals`` they were chosen from; ``credits`` and ``records``.

    Returns
    -------
    str
    """
    told, totals = archive["inspection"], archive["totals"]
    page = {
        "overread": archive["overread"],
        "title": archive["name"],
        "names": archive["names"],
        "answer": _answer(told),
        "tiles": _tiles(told),
        "warnings": told["warnings"],
        "codes": _codes(told),
        "refused": _refused(archive),
        "refused_told": _some(n := len(archive["refused"]), n, "files"),
        "root": _root([entry["file"] for entry in archive["refused"]]) if archive["names"] else "",
        "groups": archive["groups"],
        "images_told": _some(sum(len(g["pictures"]) for g in archive["groups"]), told["images"], "images").capitalize()
        + ", spread over the archive.",
        "who_told": _who_told(told),
        "who": [(name, _rows(rows)) for name, rows in _who(told) if rows],
        "labels": [(name, _rows(rows)) for name, rows in _labels(told)],
        "what": [(name, _rows(rows)) for name, rows in _what(told) if set(rows) - {"not said"}],
        "scanners": _rows(told["scanners"]),
        "plots": [
            (kind, histogram(quantiles, marked=marked, unit=unit, name=kind))
            for kind, unit, quantiles, marked in archive["histograms"]
        ],
        "any_marked": any(len(marked) for *_, marked in archive["histograms"]),
        "exact": archive["exact"],
        "exact_told": _some(len(archive["exact"]), totals["exact"], "pictures"),
        "near": archive["near"],
        "near_told": "too many images to compare"
        if totals["near"] is None
        else _some(len(archive["near"]), totals["near"], "pairs"),
        "conflicts": archive["conflicts"] if told["labels"] else None,
        "conflicts_told": _some(len(archive["conflicts"]), totals["conflicts"], "pictures"),
        "lettering": archive["lettering"],
        "lettering_told": _lettering_told(len(archive["lettering"]), totals["lettering"]),
        "outliers": archive["outliers"],
        "outliers_told": _outliers_told(len(archive["outliers"]), totals["outliers"]),
        "credits": archive["credits"],
        "records": archive["records"],
    }
    page["contents"] = _contents(page)
    return filled("archive.html", page, styles=("report.css", "archive.css"))


def _some(shown: int, of: int, what: str) -> str:
    """Say how many there are, and how many of them are shown.

    Examples
    --------
    >>> _some(0, 0, "pairs"), _some(1, 1, "pairs"), _some(3, 3, "pairs"), _some(24, 1300, "pairs")
    ('none', '1 pair', '3 pairs', '24 of 1,300 pairs')
    """
    if not of:
        return "none"
    what = what.removesuffix("s") if of == 1 else what
    return f"{of:,} {what}" if shown == of else f"{shown:,} of {of:,} {what}"


def _answer(told: Mapping[str, Any]) -> str:
    verdicts = told["verdicts"]
    said = [word for word in told["modalities"] if word != "not said"]
    what = f"{told['images']:,} {', '.join(said) + ' ' if said and len(said) == len(told['modalities']) else ''}images"
    whom = f" of {told['patients']:,} patients" if told["patients"] and not told["studies_without_patient"] else ""
    return (
        f"{what}{whom}: {verdicts['accepted']:,} accepted as they are, {verdicts['accepted with a note']:,} with a note. "
        f"Files refused: {verdicts['refused']:,}."
    )


def _tiles(told: Mapping[str, Any]) -> list[tuple[str, str]]:
    seen = told["seen"]
    near = seen["near_copies"]
    return [
        (f"{told['images']:,}", "images" + (f", {told['volumes']:,} volumes" if told["volumes"] else "")),
        (
            f"{told['patients']:,}" if told["patients"] else "?",
            "patients" if told["patients"] else "patients: not said",
        ),
        (f"{told['files']['read']:,}", "files read"),
        (f"{told['verdicts']['refused']:,}", "files refused"),
        (f"{told['duplicates']:,}", "exact copies"),
        ("?" if near is None else f"{near:,}", "pairs nearly the same"),
        (f"{seen['lettering']:,}", "with writing, perhaps"),
        (f"{seen['outliers']:,}", "stand out"),
    ]


def _codes(told: Mapping[str, Any]) -> list[dict[str, str]]:
    rows = [
        {
            "kind": entry["verdict"].split()[0],
            "mark": _MARKS[entry["verdict"]],
            "verdict": entry["verdict"],
            "code": entry["code"],
            "count": f"{entry['count']:,} {'file' if entry['verdict'] == 'refused' else 'image'}{'s' * (entry['count'] != 1)}",
            "sentence": entry["sentence"],
            "others": f"and {entry['sentences'] - 1:,} more like it" if entry["sentences"] > 1 else "",
        }
        for entry in told["codes"]
    ]
    plain = told["verdicts"]["accepted"]
    rows.append(
        {
            "kind": "accepted",
            "mark": _MARKS["accepted"],
            "verdict": "accepted",
            "code": "",
            "count": f"{plain:,} image{'s' * (plain != 1)}",
            "sentence": "nothing to tell",
            "others": "",
        }
    )
    return rows


def _refused(archive: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return each reason, how many files had it, and where names may be shown their names."""
    files: dict[tuple[str, str], list[str]] = {}
    for entry in archive["refused"]:
        files.setdefault((entry["code"], entry["reason"]), []).append(entry["file"])
    root = len(_root([entry["file"] for entry in archive["refused"]]))
    ordered = sorted(files.items(), key=lambda item: (-len(item[1]), item[0]))
    return [
        {
            "count": f"{len(names):,}",
            "code": code,
            "reason": reason,
            "files": [name[root:] for name in names[:_MOST_NAMED]] if archive["names"] else [],
            "others": len(names) - _MOST_NAMED,
        }
        for (code, reason), names in ordered[:_MOST_REASONS]
    ]


def _root(files: Sequence[str]) -> str:
    """Return the folder that all files lie in, with the stroke after it.

    Examples
    --------
    >>> _root(["/a/films/1.png", "/a/films/more/2.png"]), _root(["1.png", "2.png"])
    ('/a/films/', '')
    """
    folders = [name.replace("!", "/").split("/")[:-1] for name in files]
    shared = 0
    while folders and all(len(f) > shared and f[shared] == folders[0][shared] for f in folders):
        shared += 1
    return files[0][: len("/".join(folders[0][:shared])) + 1] if shared else ""


def _rows(counts: Mapping[str, int]) -> list[tuple[str, str, str]]:
    """Return counts with the length of their bars, the smaller ones summed up."""
    rows = [(word, n) for word, n in counts.items() if n or len(counts) <= 3]
    first, rest = (rows, []) if len(rows) <= _MOST_ROWS else (rows[: _MOST_ROWS - 1], rows[_MOST_ROWS - 1 :])
    largest = max((n for _, n in first), default=1) or 1
    shown = [(word, f"{n:,}", f"{6 * n / largest:.2f}") for word, n in first]
    return [*shown, (f"{len(rest):,} others", f"{sum(n for _, n in rest):,}", "0")] if rest else shown


def _who_told(told: Mapping[str, Any]) -> str:
    if not told["patients"]:
        return "The sources do not say whose the images are."
    several, without = told["patients_with_several_images"], told["studies_without_patient"]
    words = f"{told['patients']:,} patients in {told['studies']:,} examinations; {several:,} with several images."
    return words + (f" {without:,} examinations do not say whose they are." if without else "")


def _who(told: Mapping[str, Any]) -> list[tuple[str, Mapping[str, int]]]:
    tables = [("images a patient", told["images_a_patient"])]
    return [*tables, *((name, values) for name, values in told["strata"].items() if name in ("sex", "age", "race"))]


def _labels(told: Mapping[str, Any]) -> list[tuple[str, Mapping[str, int]]]:
    tables = []
    for name, count in told["labels"].items():
        levels = count.get("values") or {"yes": count["true"], "no": count["false"]}
        tables.append((name, {**levels, "unknown": count["unknown"]}))
    return [*tables, *((f"published split: {name}", values) for name, values in told["splits"].items())]


def _what(told: Mapping[str, Any]) -> list[tuple[str, Mapping[str, int]]]:
    strata = [(n, v) for n, v in told["strata"].items() if n not in ("sex", "age", "race", "scanner", "view")]
    return [
        ("modality", told["modalities"]),
        ("body part", told["body_parts"]),
        ("view", told["views"]),
        ("size", told["sizes"]),
        ("spacing, mm", told["spacings"]),
        ("bits", told["bits"]),
        ("unit", told["units"]),
        ("format", told["formats"]),
        *strata,
    ]


def _lettering_told(shown: int, of: int) -> str:
    if not of:
        return "No rows of letters were seen. That is no promise: small or faint writing is often missed."
    return (
        f"{_some(shown, of, 'images').capitalize()} with rows of four or more letter-like shapes, boxed. Look whether they "
        "name somebody. That others show none is no promise: small or faint writing is often missed."
    )


def _outliers_told(shown: int, of: int) -> str:
    rule = (
        "An image stands out when its size, its values or its fine structure lie more than 6 robust standard deviations "
        "from those of its kind (modality, unit, volume or not, in colour or not; at least 20 images)."
    )
    return f"{rule} {_some(shown, of, 'images').capitalize()}" + (", the farthest first." if of else ".")


def _contents(page: Mapping[str, Any]) -> list[tuple[str, str]]:
    rows: Sequence[tuple[str, str, Any]] = (
        ("verdicts", "Verdicts", True),
        ("images", "Images", page["groups"]),
        ("who", "Who", True),
        ("labels", "Labels", page["labels"]),
        ("what", "What", True),
        ("values", "Values", page["plots"]),
        ("copies", "Copies", True),
        ("writing", "Writing", True),
        ("outliers", "Outliers", True),
        ("credits", "Credits", page["credits"]),
    )
    return [(anchor, words) for anchor, words, there in rows if there]
