"""What the program says of each of the forty items, in one line each, from the figures of the report and nothing else.

Every function takes what the report was made from and returns words, or "" where the thing was not measured.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from overread.pages import checklist_training as about
from overread.pages.benefit import span_told
from overread.pages.by_label import each
from overread.pages.plots import percent, told
from overread.pages.report_groups import none_because
from overread.pages.report_words import crossed, people, times
from overread.pages.section_corruptions import in_words

E = Mapping[str, Any]

UNMEASURED = "not measured: "
"""What the words of an item begin with where it was not measured, and the reason is known."""


def _first(e: E) -> Mapping[str, Any]:
    """Return the figures of the label asked for."""
    return e["labels"][e["name"]]


def _levels(e: E) -> bool:
    return e["task"]["kind"] in ("multiclass", "ordinal")


def identity(e: E) -> str:
    """Say which hashes the card holds; half of what is asked is not an answer.

    An installed package has no lock file: the hash over the versions of the libraries that decide a figure stands for it.
    """
    names = {"model.onnx": "weights", "code": "code", "lock": "lock file", "environment": "installed versions"}
    have = {name: told for name, told in names.items() if name in e["card"]["hashes"]}
    who = f"{e['card']['name']}, version {e['card']['version']}"
    lacking = [told for name, told in names.items() if name not in have and name in ("model.onnx", "code")]
    lacking += [] if {"lock", "environment"} & set(have) else ["lock file or installed versions"]
    if lacking:
        return f"{UNMEASURED}no SHA-256 of {' and of '.join(lacking)} in the card of {who}"
    if "lock" in have:
        have.pop("environment", None)
    absent = "" if "lock" in have else "; no lock file: overread was installed as a package"
    return f"{who}; SHA-256 of {', '.join(have.values())}{absent}"


def sources(e: E) -> str:
    names = sorted({row["stratum"] for row in e["strata"]})
    modality = e["task"]["modality"].replace("+", ", ") or "pictures that do not say their modality"
    return f"{modality}; the source tells {', '.join(names)}" if names else f"{modality}; the source tells nothing more"


def flow(e: E) -> str:
    counts = e.get("flow")
    if not counts:
        return ""
    return (
        f"{counts['studies']:,} studies in the archive, {counts['labelled']:,} with a known answer, "
        f"{counts['divided']:,} in the four cohorts"
    )


def standard(e: E) -> str:
    unknown = sum(c["labels"][label]["unknown"] for c in e["cohorts"].values() for label in e["task"]["labels"])
    torn = len((e.get("leakage") or {}).get("label_conflicts", ()))
    against = f"; {torn:,} label conflict{'s' * (torn != 1)}: one picture, two answers" if torn else ""
    return f"the labels as they were given, {unknown:,} of them unknown{against}"


def strata(e: E) -> str:
    names = sorted({row["stratum"] for row in e["strata"]})
    whom = ", ".join(names) if names else "none of sex, age, site or scanner is told by the source"
    return f"prevalence and unknown labels by cohort; {whom}"


def identities(e: E) -> str:
    return (
        "pixels and pseudonyms only: names, dates and free text never enter an archive; writing burned into pixels is "
        "looked for by overread inspect"
    )


def recipe(e: E) -> str:
    return ", ".join(step["name"] for step in e["card"]["recipe"].get("steps", [])) or "no step"


def split(e: E) -> str:
    s = e["split"]
    return f"by {s['unit']}, {s['source']}; hash {s['hash'][:12]}; frozen with version {e['card']['version']}"


def overlaps(e: E) -> str:
    found = e.get("leakage")
    if not found:
        both = e["split"]["overlap"]
        return f"in more than one cohort: {both['studies']:,} studies, {both['images']:,} images; copies were not looked for"
    total = {k: sum(c[k] or 0 for c in found["overlaps"].values()) for k in ("patients", "studies", "exact", "near")}
    patients = f"{total['patients']:,} patients" if found["patients_known"] else "patients unknown"
    near = (
        f"{total['near']:,} near copies" if found["near_duplicates"] == "looked for" else "near copies not looked for"
    )
    gone = sum(found["excluded"].get("testing", {}).values())
    left_out = f"; {gone:,} testing images are left out of the headline for it" if gone else ""
    return (
        f"between cohorts: {patients}, {total['studies']:,} studies, {total['exact']:,} same pictures, {near}{left_out}"
    )


def sizes(e: E) -> str:
    figure = _first(e)["auroc"]
    of = f" of {e['name']}" if len(e["labels"]) > 1 else ""
    wide = "" if figure["low"] is None else f"; the AUROC's interval{of} is {figure['high'] - figure['low']:.3f} wide"
    patients = "patients unknown" if figure["n_patients"] is None else f"{figure['n_patients']:,} patients"
    where = "cross-validated" if crossed(e) else "in testing"
    return f"{figure['n']:,} images, {patients} {where}{wide}"


def elsewhere(e: E) -> str:
    if not e["external"]:
        return "no: cross-validated on one source" if crossed(e) else "no: testing patients come from the same source"
    found = e.get("leakage") or {}
    if own := sum(n or 0 for n in found.get("own_testing", {}).values()):
        return f"no: {own:,} of the {_first(e)['auroc']['n']:,} images of this archive are the run's own testing images"
    if any(n for counts in found.get("overlaps_left", {}).values() for n in counts.values()):
        return "no: the run has learned from images of this archive that are counted here"
    return "yes: another archive"


def network(e: E) -> str:
    n = e["card"]["network"]
    size = " × ".join(str(v) for v in n.get("input_shape", ()))
    numbers = f", {n['parameters']:,} parameters" if "parameters" in n else ""
    several = f"; {about.together(e)}" if about.together(e) else ""
    return f"{n.get('name', e['network'])} on {size}{numbers}, start: {n.get('start', 'not recorded')}{several}"


def selection(e: E) -> str:
    tried = (
        f"{e['search']['configurations']} configurations were tried on training patients alone; "
        if e.get("search")
        else ""
    )
    if crossed(e):
        return f"no choice was made on the part that is tested: {about.weights(e)}; it is {e['measured_before']}"
    return f"{tried}no choice was made on testing: {about.weights(e)}; it is {e['measured_before']}"


def reads(e: E) -> str:
    return f"{times(e['reads'])} by this run"


def ranking(e: E) -> str:
    def precision(label: str) -> str:
        figures = e["labels"][label]
        if "ap" not in figures or figures["prevalence"]["value"] is None:
            return ""
        return f"AP {told(figures['ap'])} at a prevalence of {percent(figures['prevalence']['value'], 1)}"

    def both(label: str) -> str:
        return "; ".join(filter(None, (f"AUROC {told(e['labels'][label]['auroc'])}", precision(label))))

    if not _levels(e):
        return each(e, both)
    by_level = each(e, precision)
    return f"mean AUROC {told(_first(e)['auroc'])}" + (f"; {by_level}" if by_level else "")


def point(e: E) -> str:
    if _levels(e):
        return "the most probable level is called; sensitivity and specificity by level"
    points = e["operating_points"]
    cohort = points[e["task"]["labels"][0]]["cohort"]
    limits = each(e, lambda label: f"threshold {points[label]['threshold']:.3f}")
    return f"{limits}; fixed on the {cohort} cohort; figures with intervals"


def calls(e: E) -> str:
    def counted(label: str) -> str:
        account = e["labels"][label].get("three_way")
        return f"{account['answered']:,} answered, {account['referred']:,} referred of {account['all']:,}" if account else ""  # fmt: skip

    return (counted(e["name"]) if _levels(e) else each(e, counted)) or "all images; nothing is referred"


def predictive(e: E) -> str:
    if not e.get("at_prevalence"):
        return ""
    stated = next(iter(e["at_prevalence"].values()))["prevalence"]
    return f"here, and at a prevalence of {percent(stated, 1)}"


def agreement(e: E) -> str:
    names = {"mcc": "Matthews", "kappa_quadratic": "quadratic kappa", "balanced_accuracy": "balanced accuracy"}

    def found(label: str) -> str:
        figures = e["labels"][label]
        return ", ".join(f"{words} {told(figures[key])}" for key, words in names.items() if key in figures)

    return found(e["name"]) if _levels(e) else each(e, found)


def seeds(e: E) -> str:
    spread = e.get("seed_spread") or {}

    def over(label: str) -> str:
        s = spread.get(label)
        return f"AUROC {s['mean']:.3f} ± {s['sd']:.3f} over {s['n']} seeds" if s and s["n"] >= 3 else ""

    if found := over(e["name"]) if e["name"] not in e["task"]["labels"] else each(e, over):
        return found
    if short := about.shortened(e):
        return f"{UNMEASURED}{short}: give more time (overread train --budget), or name other runs (overread evaluate RUN --seeds-from RUN2 RUN3)"
    return ""


def floors(e: E) -> str:
    there = [k for k, figures in e["floors"].items() if "absent" not in figures]
    claims = (
        f"; {len(e['claims'])} published figures held against" if e.get("claims") else "; no published figure given"
    )
    return f"{len(there)} of {len(e['floors'])} floors measured{claims}"


def reliability(e: E) -> str:
    names = {"slope": "slope", "intercept": "intercept", "brier": "Brier score", "brier_skill": "Brier skill"}

    def found(label: str) -> str:
        figures = e["labels"][label]
        return ", ".join(f"{words} {told(figures[key], 2)}" for key, words in names.items() if key in figures)

    return each(e, found)


def benefit(e: E) -> str:
    def worth(label: str) -> str:
        curve = e["labels"][label].get("decision_curve")
        return f"{span_told(curve)} clearly better than treating all or none" if curve else ""

    return each(e, worth)


def distribution(e: E) -> str:
    return "drawn for each label, with its table"


def sets(e: E) -> str:
    found = e.get("sets")
    if not found:
        return ""

    def covered(label: str) -> str:
        own = found.get(label)
        if not own:
            return ""
        parts = ", ".join(f"{answer} {told(estimate, 2)}" for answer, estimate in own["covered"].items())
        return f"{parts}, one answer left in {percent(own['one_left'], 1)}"

    asked = percent(next(iter(found.values()))["coverage"])
    return f"asked {asked}; found: {covered(e['name']) if _levels(e) else each(e, covered)}"


def gate(e: E) -> str:
    name = e["name"] if _levels(e) else e["task"]["labels"][0]
    account = e["labels"][name].get("three_way")
    if not account:
        return ""
    unlike = account["reasons"].get("unlike", 0)
    share = percent(unlike / account["all"], 1) if account["all"] else "none"
    known = e.get("gate") or {}
    promised, promise = known.get("promised"), ""  # None: an earlier version promised nothing
    if promised is not None:
        of = people(e)
        whom = f"the {known['patients']:,} {of} of calibration"
        promise = (
            f", limits by {'patient' if of == 'patients' else 'case'}: of new {of.split()[0]} like {whom} at most {percent(promised, 1)} have an image refused"
            if any(limit is not None for limit in known["limits"].values())
            else f", without a limit: {whom} are too few to learn one from"
        )
    kinds = f"distance of look, features and quality from the training images{promise}"
    return f"{kinds}; {unlike:,} images ({share}) refused here"


def corruptions(e: E) -> str:
    return in_words(e["corruptions"]) if e.get("corruptions") else ""


def subgroups(e: E) -> str:
    rows = e["subgroups"]
    return (
        f"{len(rows)} rows, {sum(r['few'] for r in rows)} of them too few to say"
        if rows
        else f"{UNMEASURED}{none_because(e)}"
    )


def shortcuts(e: E) -> str:
    found = e.get("shortcuts")
    if not found:
        return ""
    loud = sum(bool(s["warns"]) for s in found.values())
    probed = (e.get("probes") or {}).get("inputs", {}).get("frame", {})
    frame = "".join(f"; from the frame alone {told(figure, 2)}" for figure in list(probed.values())[:1])
    return f"{len(found)} facts looked at before training, of which {loud or 'none'} clearly {'tells' if loud == 1 else 'tell'} the answer{frame}"


def failures(e: E) -> str:
    shown = sum(len(group["cases"]) for group in e["gallery"])
    return f"{shown:,} cases, the wrong ones being the surest mistakes" if shown else ""


def maps(e: E) -> str:
    words = {True: "passed its tests", False: "did not pass and is grey"}
    found = (e.get("heatmaps") or {}).items()
    tested = {method: words[v["passed"]] if v.get("tested") else "was not tested and is grey" for method, v in found}
    return "; ".join(f"{method} {verdict}" for method, verdict in tested.items())


def privacy(e: E) -> str:
    held = e["card"]["training"].get("carries")
    if not held:
        return ""
    cases = [case for group in e["gallery"] for case in group["cases"]]
    near = sum(len(case["near"]) for case in cases)
    again = held.get("signatures_of_images_learned_from", 0)  # older runs have none
    signatures = f"24 × 24 signatures of {again:,} images learned from, " if again else ""
    return (
        f"no guarantee in training, and no attack was tried; the run holds {signatures}feature averages of "
        f"{held['feature_averages_of_training_images']:,} training images and the pseudonyms of "
        f"{held['images_listed_by_pseudonym']:,}, this report pictures of {len(cases):,} tested and {near:,} training "
        "cases; overread export --format run leaves all of it out"
    )


def limits(e: E) -> str:
    return f"{len(e['card']['limits']):,} found by the program, and those of every report"
