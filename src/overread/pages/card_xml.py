"""The model card as XML: the CHAI Applied Model Card, so that it can be filed and compared beside those of others."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any
from xml.etree import ElementTree

from overread.domain import ModelCard
from overread.pages.plots import told
from overread.pages.report_words import ALWAYS_LIMITS

NAMESPACE = "https://mc.chai.org/v0.2/schema.xsd"
UNKNOWN = "not stated"
"""Stands where the schema asks for words and nobody has written any."""

MAIN = {
    "auroc": "AUROC",
    "sensitivity": "Sensitivity",
    "specificity": "Specificity",
    "lr_plus": "Positive likelihood ratio",
    "lr_minus": "Negative likelihood ratio",
    "accuracy": "Accuracy",
    "mcc": "Matthews' correlation",
}
SAFE = {"brier_skill": "Brier skill", "slope": "Calibration slope", "intercept": "Calibration intercept", "brier": "Brier score"}  # fmt: skip

Tree = str | Sequence["Node"]
Node = tuple[str, Tree]


def render_card_xml(card: ModelCard, metrics: Mapping[str, Any], answers: Mapping[str, str]) -> str:
    """Return the card as XML in the order that the schema asks.

    Parameters
    ----------
    card : ModelCard
    metrics : mapping
        ``metrics.json``.
    answers : mapping of str to str
        What a human wrote; what is missing is named "not stated".

    References
    ----------
    Coalition for Health AI, Applied Model Card schema 0.2, https://mc.chai.org.
    """

    def said(*keys: str) -> str:
        return "\n".join(answers[key] for key in keys if answers.get(key)) or UNKNOWN

    task = card.task
    modality = str(task.get("modality", "")).replace("+", ", ")
    labels = ", ".join(task["labels"])
    limits = "\n".join([*card.limits, *ALWAYS_LIMITS])
    tested = _tested(metrics)
    parts: list[Node] = [
        ("BasicInfo", [("ModelName", card.name), ("ModelDeveloper", said("developer")), ("DeveloperContact", said("contact"))]),
        ("ReleaseInfo", [
            ("ReleaseStage", said("release_stage")), ("ReleaseDate", card.version.replace(".", "-")),
            ("ReleaseVersion", f"{card.version}, fingerprint {card.fingerprint}"), ("GlobalAvailability", UNKNOWN),
            ("RegulatoryApproval", said("regulatory_status")),
        ]),
        ("ModelSummary", [
            ("Summary", f"Answers {labels} on {modality or 'pictures that do not say their modality'} with the network {card.network.get('name', UNKNOWN)}. AI assists, the doctor decides; not for autonomous diagnosis."),
            ("Keywords", [("Keyword", word) for word in (*task["labels"], *([modality] if modality else []), "medical imaging")]),
        ]),
        ("UsesAndDirections", [
            ("IntendedUseAndWorkflow", said("intended_use", "role")), ("PrimaryIntendedUsers", said("users")),
            ("HowToUse", said("oversight")), ("TargetedPatientPopulation", said("population")),
            ("CautionedOutOfScopeSettings", said("out_of_scope")),
        ]),
        ("Warnings", [
            ("KnownRisksAndLimitations", limits), ("KnownBiasesOrEthicalConsiderations", said("ethics")),
            ("ClinicalRiskLevel", said("clinical_risk")),
        ]),
        ("TrustIngredients", [
            ("AISystemFacts", [
                ("OutcomesAndOutputs", f"For each of {labels}: a calibrated probability with its interval; present, absent, or referred to the doctor with the reason."),
                ("ModelType", f"{card.network.get('name', UNKNOWN)}, {card.network.get('parameters', 0):,} parameters, start: {card.network.get('start', UNKNOWN)}"),
                ("InputDataSource", said("data_sources")),
                ("OutputAndInputDataTypes", f"Input: {modality or 'pictures'}, prepared by {', '.join(s['name'] for s in card.recipe.get('steps', []))}. Output: probabilities."),
                ("DevelopmentDataCharacterization", _cohorts(card)),
                ("BiasMitigationApproaches", f"{held_out(metrics).capitalize()} are divided, not images; subgroups are measured with gaps and intervals; shortcuts are looked for. Nothing corrects a bias that is found."),
                ("OngoingMaintenance", said("monitoring", "change_control")),
                ("Security", "Weights and settings are checked against their SHA-256 before use; archive and run hold pseudonyms, no names."),
                ("Transparency", "Every figure with its interval, the floors beside it, failures shown: report.html beside this card. Reference standard: " + said("reference_standard")),
            ]),
            ("TransparencyInformation", [("FundingSource", said("funding")), ("ThirdPartyInformation", said("licence")), ("StakeholdersConsulted", said("stakeholders"))]),
        ]),
        ("KeyMetrics", [
            ("UsefulnessUsabilityEfficacy", _metric("How well the model answers images that were not in its training.", _results(metrics, MAIN), _against(metrics), tested, metrics)),
            ("FairnessEquity", _metric("Whether it reads some groups of patients worse than the others.", _gaps(metrics), _groups_told(metrics), tested, metrics)),
            ("SafetyReliability", _metric("Whether its probabilities mean what they say, and how often it hands a case to the doctor.", [*_results(metrics, SAFE), *_referred(metrics)], "A slope of 1 and an intercept of 0 are honest probabilities; referred cases are counted, never dropped.", tested, metrics)),
        ]),
        ("Resources", [("EvaluationReferences", "report.html, metrics.json"), ("PeerReviewedPublications", said("publications")), ("PatientConsentOrDisclosure", said("ethics"))]),
        ("Bibliography", UNKNOWN),
    ]  # fmt: skip
    ElementTree.register_namespace("", NAMESPACE)
    root = ElementTree.Element(f"{{{NAMESPACE}}}AppliedModelCard")
    _grow(root, parts)
    ElementTree.indent(root, "\t")
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def _grow(parent: ElementTree.Element, nodes: Sequence[Node]) -> None:
    for name, inside in nodes:
        child = ElementTree.SubElement(parent, f"{{{NAMESPACE}}}{name}")
        if isinstance(inside, str):
            child.text = _allowed(inside) or UNKNOWN
        else:
            _grow(child, inside)


def _allowed(text: str) -> str:
    """Return text without the control characters that no XML file may hold."""
    return re.sub(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", "", text).strip()


def _metric(
    goal: str, results: list[tuple[str, dict]], reading: str, tested: str, metrics: Mapping[str, Any]
) -> list[Node]:
    rows = results or [("Result", {"kind": "text", "value": "not measured"})]
    shown: list[Node] = [
        ("MetricResult", [("Label", label), ("ValueJson", json.dumps(value, ensure_ascii=False))])
        for label, value in rows
    ]
    where = "another archive" if metrics.get("on") == "another archive" else f"internal, {held_out(metrics)} held out"
    return [
        ("MetricGoal", goal),
        ("Results", shown),
        ("Interpretation", reading),
        ("TestType", f"Retrospective, {where}; no reader took part."),
        ("TestingDataDescription", tested),
        ("ValidationProcessAndJustification", f"Divided by {metrics['split']['unit']} ({metrics['split']['source']}); thresholds and probabilities come from a calibration cohort; 95 % intervals {_over(metrics)}."),
    ]  # fmt: skip


def held_out(metrics: Mapping[str, Any]) -> str:
    """Return what no two cohorts share: patients only where all of them are known.

    Examples
    --------
    >>> held_out({"split": {"unit": "patient"}}), held_out({"split": {"unit": "study"}})
    ('patients', 'studies (patients unknown)')
    """
    return "patients" if metrics["split"]["unit"] == "patient" else "studies (patients unknown)"


def _over(metrics: Mapping[str, Any]) -> str:
    """Say what the intervals are over."""
    return (
        "by patient" if metrics["unit"]["patients"] is not None else "by study or image, as not all patients are known"
    )


def _value(e: Mapping[str, Any]) -> dict[str, Any]:
    """Return a figure in the form of the schema's example: an estimate with its interval."""
    if e.get("value") is None:
        return {"kind": "text", "value": e.get("method") or "not defined"}
    if e.get("low") is None or e.get("high") is None:
        return {"kind": "single", "value": e["value"]}
    return {
        "kind": "estimate_ci",
        "estimate": e["value"],
        "lower": e["low"],
        "upper": e["high"],
        "level": 95,
        "unit": "",
    }


def _results(metrics: Mapping[str, Any], which: Mapping[str, str]) -> list[tuple[str, dict]]:
    several = len(metrics["labels"]) > 1
    return [
        (f"{words}, {label}" if several else words, _value(figures[key]))
        for label, figures in metrics["labels"].items()
        for key, words in which.items()
        if key in figures
    ]


def _gaps(metrics: Mapping[str, Any]) -> list[tuple[str, dict]]:
    return [
        (f"{row['label']}: {figure} of {row['stratum']} {row['value']} less that of all others", _value(gap))
        for row in metrics.get("subgroups", [])
        for figure, gap in (row.get("gap") or {}).items()
    ]


def _groups_told(metrics: Mapping[str, Any]) -> str:
    rows = metrics.get("subgroups", [])
    if not rows:
        return "No subgroup could be looked at."
    few = sum(row["few"] for row in rows)
    return f"{len(rows)} groups, {few} of them with fewer than 30 patients: too few to say. A gap whose interval holds 0 may be chance."


def _referred(metrics: Mapping[str, Any]) -> list[tuple[str, dict]]:
    return [
        (f"Share referred to the doctor, {label}", _value(figures["three_way"]["share_referred"]))
        for label, figures in metrics["labels"].items()
        if "three_way" in figures
    ]


def _against(metrics: Mapping[str, Any]) -> str:
    """Say what the floors reach, and what chance would."""
    first = next(iter(metrics["labels"]))
    auroc = metrics["labels"][first]["auroc"]
    lines = [
        f"{name}: AUROC {told(figures[first]['auroc'])}"
        for name, figures in metrics["floors"].items()
        if first in figures
    ]
    chance = "no better than chance; " if auroc["low"] is not None and auroc["low"] <= 0.5 else ""
    return f"{chance}floors on the same images: {'; '.join(lines) or 'none'}. A coin has an AUROC of 0.5."


def _tested(metrics: Mapping[str, Any]) -> str:
    unit = metrics["unit"]
    patients = "patients unknown" if unit["patients"] is None else f"{unit['patients']:,} patients"
    return f"{unit['images']:,} images of {patients}, counted by {unit.get('counted', 'image')}."


def _cohorts(card: ModelCard) -> str:
    return "; ".join(
        f"{name}: {c['images']:,} images of {'unknown' if c['patients'] is None else format(c['patients'], ',')} patients"
        for name, c in card.cohorts.items()
    )
