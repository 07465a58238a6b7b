"""The model card in words: what the program knows, and what a human must still write."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from overread.domain import ModelCard
from overread.domain.canonical import plain
from overread.domain.human import HUMAN, blanks
from overread.pages.plots import told


def render_card(card: ModelCard, answers: Mapping[str, str] | None = None) -> str:
    """Return the card as Markdown; INCOMPLETE stands on top while any human item is blank.

    Parameters
    ----------
    card : ModelCard
    answers : mapping of str to str
        What a human wrote (``answers.toml``); it is no part of the card's fingerprint.

    Examples
    --------
    >>> card = ModelCard("mass (residual)", "1", task={"labels": ["mass"], "intended_use": ""}, recipe={}, network={},
    ...                  hashes={}, cohorts={}, training={}, operating_points={}, calibration={})
    >>> print(render_card(card).splitlines()[2][:30])
    > **INCOMPLETE**: 14 of 14 ite
    """
    answers = answers or {}
    missing, needed = blanks(answers), sum(item.needed for item in HUMAN.values())
    parts = [f"# Model card: {card.name}, version {card.version}"]
    if missing:
        parts.append(
            f"> **INCOMPLETE**: {len(missing)} of {needed} items that only a human can write are blank. "
            "Not to be used on patients until they are written."
        )
    parts.append("**AI assists, the doctor decides; not for autonomous diagnosis.**")
    parts.append(f"Fingerprint `{card.fingerprint}`")
    parts.append("## Written by a human\n\n" + "\n".join(_human(answers)))
    parts.append("## The question\n\n" + _list(card.task, leave=("intended_use",)))
    parts.append("## The network\n\n" + _list(card.network))
    parts.append("## What happens to an image before it is read\n\n" + _steps(card.recipe))
    parts.append("## Cohorts\n\n" + _cohorts(card.cohorts))
    parts.append("## Training\n\n" + _list(card.training, leave=("cost",)))
    if "cost" in card.training:
        parts.append("## Cost\n\n" + "\n".join(_cost(card.training["cost"])))
    parts.append("## Calibration\n\n" + _list(card.calibration))
    parts.append("## Operating points\n\n" + _points(card))
    crossed = "cross_validated" in card.training and not card.cohorts.get("testing", {}).get("images")
    on = "of the procedure, cross-validated" if crossed else "on the testing cohort"
    parts.append(
        f"## Performance {on}, with 95 % intervals, counted by {card.training.get('counted_by', 'image')}\n\n"
        + _performance(card.performance)
    )
    limits = "\n".join(f"- {line}" for line in card.limits) or "none recorded by the program"
    parts.append("## Limits\n\n" + limits)
    parts.append("## Hashes (SHA-256)\n\n" + _list(card.hashes))
    return "\n\n".join(parts) + "\n"


def _cost(cost: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return what a training and an answer cost, a line each, and at which price.

    Examples
    --------
    >>> training = {"processor_seconds": 90.0, "joules": None, "joules_from": "this system shows no energy counter", "euros": 0.001}
    >>> answer = {"processor_ms_an_image": 2.0, "images_a_processor_second": 500.0, "images_a_euro": 4.5e7,
    ...           "images_timed": 9, "euro_a_core_hour": 0.04, "price_from": "a list"}
    >>> for line in _cost({"training": training, "prediction": answer}):
    ...     print(line)
    - training: 90 seconds of processor time, 0.001 €; this system shows no energy counter
    - an answer, from an image in memory to the scores: 2 ms on one core; 500 images a processor second, 45,000,000 a euro
    - price: 0.04 € an hour of one core (a list)
    """
    training, answer = cost["training"], cost["prediction"]
    energy = training["joules_from"]
    if training["joules"] is not None:
        energy = f"{training['joules']:,.0f} joules ({energy})"
    lines = [
        f"- training: {training['processor_seconds']:,.0f} seconds of processor time, {training['euros']:g} €; {energy}"
    ]
    if answer["images_timed"]:
        lines.append(
            f"- an answer, from an image in memory to the scores: {answer['processor_ms_an_image']:g} ms on one core; "
            f"{answer['images_a_processor_second']:g} images a processor second, {answer['images_a_euro']:,.0f} a euro"
        )
    return [*lines, f"- price: {answer['euro_a_core_hour']:g} € an hour of one core ({answer['price_from']})"]


def _cell(value: Any) -> str:
    """Return a value as one cell: no line breaks, no bars."""
    if value is None or value == "":
        return "–"
    if isinstance(value, Mapping):
        return ", ".join(f"{k} {_cell(v)}" for k, v in value.items()) or "–"
    if isinstance(value, (list, tuple)):
        return ", ".join(_cell(v) for v in value) or "–"
    if isinstance(value, float):
        return f"{value:.6g}"
    return str(value).replace("\n", " ").replace("|", "\\|")


def _human(answers: Mapping[str, str]) -> list[str]:
    return [
        f"- {item.words}: {_cell(answers[key]) if answers.get(key) else '**not written yet**'}"
        for key, item in HUMAN.items()
        if item.needed or answers.get(key)
    ]


def _list(record: Mapping[str, Any], *, leave: tuple[str, ...] = ()) -> str:
    lines = [f"- {key.replace('_', ' ')}: {_cell(value)}" for key, value in plain(record).items() if key not in leave]
    return "\n".join(lines) or "not recorded"


def _steps(recipe: Mapping[str, Any]) -> str:
    steps = recipe.get("steps", [])
    return "\n".join(f"{i}. {s['name']} ({_cell(s['args'])})" for i, s in enumerate(steps, 1)) or "not recorded"


def _table(columns: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    head = "| " + " | ".join(columns) + " |\n|" + "---|" * len(columns)
    return "\n".join([head, *("| " + " | ".join(row) + " |" for row in rows)])


def _cohorts(cohorts: Mapping[str, Any]) -> str:
    if not cohorts:
        return "not recorded"
    rows = []
    for name, c in cohorts.items():
        labels = "; ".join(f"{k}: {_cell(v)}" for k, v in c.get("labels", {}).items())
        patients = "unknown" if c.get("patients") is None else f"{c['patients']:,}"
        rows.append((name, patients, f"{c.get('images', 0):,}", labels or "–", f"`{c.get('fingerprint', '')[:12]}`"))
    return _table(("cohort", "patients", "images", "labels", "fingerprint"), rows)


def _points(card: ModelCard) -> str:
    points = card.operating_points
    if card.task.get("kind") in ("multiclass", "ordinal"):
        return "none: the most probable level is called"
    if not points:
        return "not recorded"
    rows = [(name, f"{p['threshold']:.4f}", _cell(p["rule"]), _cell(p["cohort"])) for name, p in points.items()]
    return _table(("label", "threshold", "rule", "cohort"), rows)


def _performance(performance: Mapping[str, Any]) -> str:
    if not performance.get("labels"):
        return "not tested yet"
    keys = ("auroc", "ap", "sensitivity", "specificity", "accuracy", "brier_skill")
    rows = []
    for who, labels in {"this model": performance["labels"], **performance.get("floors", {})}.items():
        for label, figures in labels.items():
            if label == "absent":
                rows.append((who, "–", str(figures), *([""] * (len(keys) - 1))))
            else:
                rows.append((who, label, *(told(figures[k]) if k in figures else "–" for k in keys)))
    return _table(("model", "label", *keys), rows)
