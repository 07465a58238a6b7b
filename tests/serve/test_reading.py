"""The doctor looks first, the finding opens second, and only then is there something to sign."""

from __future__ import annotations

import json
import math
import struct

import numpy as np
import pytest
from small_hospital import LABEL, START, deliver, deliver_ct, film

from overread.config import Settings
from overread.domain import Finding, ModelCard, Report
from overread.formats import door
from overread.pages.overlay import display_range
from overread.serve import reading
from overread.serve.inbox import Draft, Entry
from overread.serve.reading import against, at_prevalence, of_hundred, opened_finding, urgency, worklist

CARD = ModelCard("brightness", "1", {}, {}, {}, {}, {}, {}, {}, {})


def finding(decision: str, p: float = 0.5) -> Finding:
    return Finding(LABEL, p, max(0, p - 0.05), min(1, p + 0.05), 0.5, decision, "why" if decision == "refer" else "")


def case(name: str, minute: int, decision: str | None, p: float = 0.5, state: str = "waiting"):
    entry = Entry(name, START.replace(minute=minute).isoformat(), name, (), "", True)
    report = Report(name, "card", (), (finding(decision, p),)) if decision else None
    return entry, Draft(report, "", "", "", "") if report else None, state, None


def names(rows) -> list[str]:
    return [row.entry.study for row in rows]


def test_urgency_puts_present_first_then_refer_then_absent_then_waiting_time():
    cases = [
        case("old-absent", 0, "absent", 0.1),
        case("unread", 1, None, state="machine"),
        case("refer-late", 9, "refer"),
        case("refer-early", 2, "refer"),
        case("present", 5, "present", 0.7),
        case("present-sure", 6, "present", 0.9),
    ]
    rows, _ = worklist(cases, now=START.replace(hour=10))
    assert names(rows) == ["present-sure", "present", "refer-early", "refer-late", "old-absent", "unread"]
    assert [r.moved_up for r in rows] == [4, 3, 2, 2, 0, 0]  # of those that came earlier and stand below
    alone, _ = worklist(cases[2:3], now=START.replace(hour=10))
    assert alone[0].moved_up == 0  # the twin: nobody is passed by, so nothing was moved


def test_what_came_together_is_not_said_to_stand_by_arrival_where_the_machine_ordered_it():
    cases = [case("a", 0, "absent"), case("b", 0, "present", 0.9), case("c", 0, "present", 0.7), case("d", 0, "refer")]
    rows, _ = worklist(cases, now=START.replace(hour=10))
    assert [(r.entry.study, r.moved_up) for r in rows] == [("b", 3), ("c", 2), ("d", 1), ("a", 0)]
    rows, _ = worklist(cases, now=START.replace(hour=10), by_urgency=False)  # the twin
    assert not any(r.moved_up for r in rows)


def test_no_study_sinks_in_silence():
    cases = [case("first", 0, "absent"), case("second", 1, "present", 0.9), case("third", 2, "refer")]
    rows, _ = worklist(cases, now=START.replace(hour=10))
    passed = {r.entry.study: r.passed_by for r in rows}
    assert passed == {"second": 0, "third": 0, "first": 2}
    assert {r.waited for r in rows} == {"1 h 0 min", "59 min", "58 min"}


def test_a_site_can_keep_the_order_of_arrival():
    cases = [case("first", 0, "absent"), case("second", 1, "present", 0.9)]
    rows, _ = worklist(cases, now=START, by_urgency=False)
    assert names(rows) == ["first", "second"] and not any(r.moved_up for r in rows)


def test_a_study_the_machine_failed_on_outranks_an_absent_one():
    nan = float("nan")
    failed = Report("S", "", (), (Finding(LABEL, nan, nan, nan, nan, "refer", "it broke"),))
    assert urgency(failed) < urgency(Report("S", "", (), (finding("absent", 0.4),)))


@pytest.mark.parametrize(
    ("p", "said"),
    [
        (0, "fewer than 1"),
        (0.004, "fewer than 1"),
        (0.01, "about 1"),
        (0.834, "about 83"),
        (0.99, "about 99"),
        (1, "more than 99"),
    ],
)
def test_a_natural_frequency_is_never_certain(p, said):
    assert of_hundred(p) == said


@pytest.mark.parametrize("p", [0.02, 0.4, 0.9])
def test_prevalence_shift_is_bayes(p):
    """Against the closed form: the likelihood ratio stays, the odds before it change."""
    ratio = (p / (1 - p)) / (0.3 / 0.7)
    odds = ratio * 0.05 / 0.95
    assert math.isclose(at_prevalence(p, learned=0.3, here=0.05), odds / (1 + odds))
    assert math.isclose(at_prevalence(p, learned=0.3, here=0.3), p)


def test_counter_evidence_stands_beside_every_answer():
    for decision, p in (("present", 0.9), ("absent", 0.1), ("refer", 0.5)):
        told = opened_finding(finding(decision, p), CARD, prevalence=None, impression="unsure")
        assert told["against"], decision
    assert against(finding("refer", 0.5), CARD)[0][0] == "crosses"


@pytest.mark.parametrize("kind", ["multiclass", "ordinal"])
def test_no_line_is_told_where_the_most_probable_answer_decides(kind):
    card = ModelCard("many", "1", {"kind": kind}, {}, {}, {}, {}, {}, {}, {})
    told = opened_finding(finding("present", 0.9), card, prevalence=None, impression="unsure")
    assert told["threshold"] is None and [word for word, _ in told["against"]] == ["without"]
    told = opened_finding(finding("present", 0.9), CARD, prevalence=None, impression="unsure")  # the twin
    assert told["threshold"] == "50" and [word for word, _ in told["against"]] == ["without"]


def test_a_disagreement_with_the_first_impression_is_told():
    assert opened_finding(finding("present", 0.9), CARD, prevalence=None, impression="absent")["differs"]
    assert not opened_finding(finding("present", 0.9), CARD, prevalence=None, impression="present")["differs"]
    assert not opened_finding(finding("present", 0.9), CARD, prevalence=None, impression="unsure")["differs"]


# --- the server ------------------------------------------------------------------------------------------------


def secrets_of(house, study: str) -> list[str]:
    """Everything in a study's report that would give the finding away."""
    draft = house.room.inbox.draft(study)
    f = draft.report.findings[0]
    percent = [f"{of_hundred(f.probability)} show", f"interval: {math.floor(100 * f.low)} to"]
    return [str(f.probability), draft.report.fingerprint, "Probably present", "Probably absent", "You decide", *percent]


def every_get(visitor, study: str) -> list:
    """All that can be asked for of a study, as far as this visitor knows the addresses."""
    paths = [
        "",
        "/images",
        "/image/0/slice/0",
        "/heatmap/0",
        "/impression",
        "/sign",
        "/heatmap",
        "?amend=1",
        "/report",
        "/report.json",
    ]
    return [visitor.get(f"/study/{study}{path}") for path in paths] + [visitor.get("/")]


@pytest.mark.parametrize("brightness", [0.3, 0.502, 0.7])
def test_nothing_gives_the_finding_away_before_the_own_impression(house, inbox, brightness):
    deliver(inbox, 1, brightness)
    hospital = house()
    (study,) = hospital.work()
    visitor = hospital.visitor().introduce()
    secrets = secrets_of(hospital, study)
    for answer in every_get(visitor, study):
        assert not [s for s in secrets if s.encode() in answer.body]
        assert answer.headers.get("content-type") != "image/png"
    assert visitor.look(study).status == 303
    page = visitor.get(f"/study/{study}").text  # the twin: with the impression stored, the same search finds it
    assert secrets[1] in page and any(s in page for s in secrets[2:5]) and secrets[5] in page


def test_another_reader_gives_an_impression_of_their_own(house, inbox):
    deliver(inbox, 1, 0.7)
    hospital = house()
    (study,) = hospital.work()
    hospital.visitor().introduce().look(study)
    second = hospital.visitor().introduce("Meitner", "Lise")
    page = second.get(f"/study/{study}").text
    assert "Your own impression" in page and "Probably present" not in page


def test_the_own_impression_cannot_be_changed(house, inbox):
    deliver(inbox, 1, 0.7)
    hospital = house()
    (study,) = hospital.work()
    visitor = hospital.visitor().introduce()
    visitor.look(study, "absent")
    form = {"token": visitor.token(f"/study/{study}"), f"impression:{LABEL}": "present"}
    answer = visitor.post(f"/study/{study}/impression", form)
    assert answer.status == 400 and "an impression was given already" in answer.text
    assert hospital.room.desk.reading(study, "Curie^Marie").impressions == {LABEL: "absent"}


def test_the_heat_map_is_closed_until_asked_for_and_opening_it_is_on_record(house, inbox):
    deliver(inbox, 1, 0.7)
    hospital = house()
    (study,) = hospital.work()
    visitor = hospital.visitor().introduce()
    visitor.look(study)
    assert visitor.get(f"/study/{study}/heatmap/0").status == 403
    assert "<img" not in visitor.get(f"/study/{study}").text
    form = {"token": visitor.token(f"/study/{study}"), "label": LABEL}
    opened = visitor.post(f"/study/{study}/heatmap", form, Accept="application/json")
    picture = visitor.get(json.loads(opened.text)["src"])
    assert picture.status == 200 and picture.body.startswith(b"\x89PNG")
    assert [r["record"]["label"] for r in hospital.journal.records() if r["kind"] == "heat-map"] == [LABEL]


def test_a_heat_map_before_the_impression_is_refused(house, inbox):
    deliver(inbox, 1, 0.7)
    hospital = house()
    (study,) = hospital.work()
    visitor = hospital.visitor().introduce()
    form = {"token": visitor.token(f"/study/{study}"), "label": LABEL}
    assert visitor.post(f"/study/{study}/heatmap", form).status == 400
    assert visitor.get(f"/study/{study}/heatmap/0").status == 403
    assert not [r for r in hospital.journal.records() if r["kind"] == "heat-map"]


def test_the_viewer_gets_the_stored_values(house, inbox):
    """Not a picture of the film but its numbers: 12 bits arrive as 12 bits, so that windowing is real."""
    deliver(inbox, 1, 0.5)
    hospital = house()
    (study,) = hospital.work()
    visitor = hospital.visitor().introduce()
    facts = json.loads(visitor.get(f"/study/{study}/images").body)[0]
    body = visitor.get(f"/study/{study}/image/0/slice/0").body
    (length,) = struct.unpack("<I", body[:4])
    head = json.loads(body[4 : 4 + length])
    assert (4 + length) % 8 == 0
    values = np.frombuffer(body[4 + length :], head["dtype"]).reshape(head["rows"], head["columns"])
    np.testing.assert_array_equal(values, film(0.5, seed=1))
    assert facts["spacing_mm"][1:] == [0.4, 0.4] and facts["view"] == "CHEST PA"
    assert visitor.get(f"/study/{study}/image/0/slice/1").status == 404
    assert visitor.get(f"/study/{study}/image/7/slice/0").status == 404


def test_a_ct_arrives_in_hu_with_its_sides_named(house, inbox):
    deliver_ct(inbox, 4)
    hospital = house()
    (study,) = hospital.work()
    visitor = hospital.visitor().introduce()
    (facts,) = json.loads(visitor.get(f"/study/{study}/images").body)
    assert (facts["unit"], facts["slices"], facts["spacing_mm"]) == ("HU", 12, [5.0, 1.0, 0.8])
    assert (facts["low"], facts["high"]) == (-1350.0, 250.0)  # the window the file names: -550 ± 800
    assert (facts["low"], facts["high"]) == display_range(next(iter(door.scan(inbox / "delivery-004"))).image)
    assert facts["letters"] == {"left": "R", "right": "L", "top": "A", "bottom": "P"}
    body = visitor.get(f"/study/{study}/image/0/slice/3").body
    (length,) = struct.unpack("<I", body[:4])
    values = np.frombuffer(body[4 + length :], json.loads(body[4 : 4 + length])["dtype"])
    assert set(np.unique(values)) == {-1000, 70}


def test_the_frequency_is_told_at_the_sites_own_prevalence(house, inbox):
    deliver(inbox, 1, 0.62)
    hospital = house(settings=Settings(site="Nord", prevalence={LABEL: 0.08}))
    (study,) = hospital.work()
    visitor = hospital.visitor().introduce()
    visitor.look(study)
    page = visitor.get(f"/study/{study}").text
    p = hospital.room.inbox.draft(study).report.findings[0].probability
    here = at_prevalence(p, learned=0.5, here=0.08)
    assert f"Of 100 such images about {round(100 * p)} show it" in page
    assert f"where 8 % have it (the model learned from 50 %): about {round(100 * here)} of 100" in page
    assert "In testing, about 10 of 100 images without it were called present" in page
    assert "It looks at nothing but brightness." in page and "Nord" in page


def test_a_number_is_said_to_be_of_one_image_the_strongest(house, inbox):
    deliver(inbox, 1, 0.62)
    deliver(inbox, 2, 0.62)
    deliver(inbox, 2, 0.3, film_number=2)
    hospital = house()
    hospital.work()
    visitor = hospital.visitor().introduce()
    for patient, said in (("PH-001", False), ("PH-002", True)):
        study = hospital.of(patient)
        visitor.look(study)
        page = visitor.get(f"/study/{study}").text
        assert "Of 100 such images" in page and ("Strongest of 2 images." in page) == said


def test_the_demonstration_says_so_on_every_page(house, inbox):
    deliver(inbox, 1, 0.62)
    hospital = house(demo=True)
    (study,) = hospital.work()
    visitor = hospital.visitor().introduce()
    for path in ("/", "/reader", f"/study/{study}", "/nowhere"):
        assert "Demonstration: these are phantoms" in visitor.get(path).text


def test_nobody_reads_without_having_said_who_they_are(house, inbox):
    deliver(inbox, 1, 0.62)
    hospital = house()
    (study,) = hospital.work()
    stranger = hospital.visitor()
    assert stranger.get("/").status == 303 and stranger.get(f"/study/{study}").status == 303
    assert stranger.get(f"/study/{study}/images").status == 403
    assert stranger.get(f"/study/{study}/image/0/slice/0").status == 403


@pytest.mark.parametrize("name", ["..", "S0123456789ab", "%2e%2e%2fkey", "S0123456789ab%00", "key"])
def test_what_is_not_a_study_is_not_here(house, name):
    visitor = house().visitor().introduce()
    assert visitor.get(f"/study/{name}").status == 404
    assert visitor.get(f"/study/{name}/image/0/slice/0").status == 404


def test_states_are_those_the_pages_have_words_for():
    from overread.serve.room import WORDS

    states = {reading.WAITING, reading.OPENED, reading.READING, reading.VOID, reading.SIGNED}
    assert states <= set(WORDS["worklist"])
