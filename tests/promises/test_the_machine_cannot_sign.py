"""The promise: no report becomes final without a person who looked first and answered every finding.

Each attempt to sign without one is made against the running server, and must leave no signature anywhere: no record
in the journal, no document on the shelf. Its twin makes the same request with the one thing put right, and is
signed: so each check refuses for its own reason, and would be missed if it were gone.
"""

from __future__ import annotations

import ast
import re
import shutil
from pathlib import Path

import pytest
from small_hospital import LABEL, House, Visitor, deliver, house, inbox, model, run

__all__ = ["house", "inbox", "model", "run"]  # fixtures of the hospital in small

SOURCE = Path(__file__).resolve().parents[2] / "src" / "overread"


@pytest.fixture(scope="module")
def looked_at(model, tmp_path_factory) -> tuple[Path, str, str]:
    """An inbox with a study whose finding lies open before a doctor; the study, and the doctor's cookie."""
    folder = tmp_path_factory.mktemp("looked-at") / "inbox"
    folder.mkdir()
    deliver(folder, 1, 0.7)
    hospital = House(model, folder)
    (study,) = hospital.work()
    visitor = hospital.visitor().introduce()
    visitor.look(study)
    hospital.close()
    return folder, study, visitor.cookie


@pytest.fixture
def reading(looked_at, house, inbox) -> tuple[House, str, Visitor]:
    """A copy of it of one's own, one request away from a signature."""
    folder, study, cookie = looked_at
    shutil.copytree(folder, inbox, dirs_exist_ok=True)
    hospital = house()
    visitor = hospital.visitor()
    visitor.cookie = cookie
    return hospital, study, visitor


def signatures(hospital: House) -> int:
    """Signatures, wherever one could have been left."""
    records = sum(r["kind"] == "signed" for r in hospital.journal.records())
    files = len(list(hospital.room.inbox.shelf.glob("studies/*/signed-*.json*")))
    documents = len(list(hospital.room.inbox.shelf.glob("studies/*/signed-*.dcm*")))
    if not records == files == documents:
        raise AssertionError(f"{records} records, {files} signed records, {documents} documents")
    return records


def attempt(reading, *, status: int, headers: dict | None = None, **changes: str | None) -> None:
    """Try to sign with something wrong, and see that nothing is signed; then put it right, and see that it is."""
    hospital, study, visitor = reading
    right = visitor.form(study)
    wrong = {k: v for k, v in {**right, **changes}.items() if v is not None}
    answer = visitor.post(f"/study/{study}/sign", wrong, **(headers or {}))
    assert (answer.status, signatures(hospital)) == (status, 0)
    assert visitor.post(f"/study/{study}/sign", right).status == 303  # the twin
    assert signatures(hospital) == 1


@pytest.mark.parametrize(
    "name", [{"family": ""}, {"given": ""}, {"family": None, "given": None}, {"family": " ", "given": "\t"}]
)
def test_not_without_a_reader(reading, name):
    attempt(reading, status=400, **name)


@pytest.mark.parametrize(
    "name", [("overread", "overread"), ("brightness", "1"), ("Brightness", "A"), ("AI", "Dr"), ("Algorithm", "The")]
)
def test_not_in_the_machines_name(reading, name):
    attempt(reading, status=400, family=name[0], given=name[1])


def test_not_even_to_begin_in_the_machines_name(house):
    visitor = house().visitor()
    form = {"token": visitor.token(), "family": "brightness", "given": "1"}
    assert visitor.post("/reader", form).status == 400
    assert visitor.post("/reader", {**form, "family": "Curie", "given": "Marie"}).status == 303  # the twin


def test_not_in_another_doctors_name(reading):
    attempt(reading, status=400, family="Meitner", given="Lise")


@pytest.mark.parametrize(
    "answer",
    [
        None,
        "",
        "agree",
        "agree:",
        ":present",
        "agree:absent",
        "disagree:present",
        "yes:present",
        "agree:maybe",
        "agree:present:x",
    ],
)
def test_not_without_an_answer_to_each_finding(reading, answer):
    attempt(reading, status=400, **{f"answer:{LABEL}": answer})


def test_not_with_answers_to_something_else(reading):
    attempt(reading, status=400, **{f"answer:{LABEL}": None, "answer:pneumonia": "agree:present"})


def test_not_with_an_answer_too_many(reading):
    attempt(reading, status=400, **{"answer:pneumonia": "agree:present"})


@pytest.mark.parametrize("answer", ["disagree:absent", "amend:unsure", "amend:present"])
def test_not_with_a_disagreement_without_a_reason(reading, answer):
    attempt(reading, status=400, **{f"answer:{LABEL}": answer, f"reason:{LABEL}": "  "})


def test_not_without_the_own_impression(house, inbox):
    deliver(inbox, 1, 0.7)
    hospital = house()
    (study,) = hospital.work()
    first = hospital.visitor().introduce()
    first.look(study)
    form = first.form(study)
    second = hospital.visitor().introduce("Meitner", "Lise")
    stolen = {**form, "token": second.token(f"/study/{study}"), "family": "Meitner", "given": "Lise"}
    assert second.post(f"/study/{study}/sign", stolen).status == 400
    assert signatures(hospital) == 0
    second.look(study)
    assert second.post(f"/study/{study}/sign", stolen).status == 303  # the twin: the same request, after looking
    assert signatures(hospital) == 1


def test_not_a_report_that_has_changed(reading, inbox):
    hospital, study, visitor = reading
    old = visitor.form(study)
    deliver(inbox, 1, 0.3, view="LL", film_number=2)  # a late film of the same study
    hospital.work()
    answer = visitor.post(f"/study/{study}/sign", old)
    assert (answer.status, signatures(hospital)) == (409, 0)
    assert "changed" in answer.text and f"/study/{study}" in answer.text
    visitor.look(study)
    assert visitor.post(f"/study/{study}/sign", visitor.form(study)).status == 303  # the twin: the report as it is now
    assert signatures(hospital) == 1


@pytest.mark.parametrize("report", [None, "", "0" * 64])
def test_not_a_report_that_was_not_shown(reading, report):
    attempt(reading, status=409, report=report)


def test_not_a_report_that_was_changed_on_the_disk(reading):
    """Someone edits the stored report: it no longer fits its fingerprint and cannot be signed."""
    hospital, study, visitor = reading
    form = visitor.form(study)
    path = hospital.room.inbox.home(study) / "report.json"
    content = path.read_bytes()
    path.write_bytes(content.replace(b'"decision":"present"', b'"decision":"absent"'))
    assert visitor.post(f"/study/{study}/sign", form).status == 400
    assert signatures(hospital) == 0
    path.write_bytes(content)
    assert visitor.post(f"/study/{study}/sign", form).status == 303  # the twin
    assert signatures(hospital) == 1


def test_not_twice(reading):
    hospital, study, visitor = reading
    form = visitor.form(study)
    assert visitor.post(f"/study/{study}/sign", form).status == 303
    assert visitor.post(f"/study/{study}/sign", form).status == 409  # the same request again
    assert signatures(hospital) == 1
    assert visitor.post(f"/study/{study}/sign", visitor.form(study)).status == 303  # the twin: an amendment, asked for
    assert signatures(hospital) == 2


@pytest.mark.parametrize("version", [None, "", "0", "2", "-1", "x", "1.0", "١"])
def test_not_a_version_out_of_turn(reading, version):
    attempt(reading, status=409, version=version)


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "", "https://127.0.0.1.evil.example", "http://127.0.0.1:1"]
)
def test_not_from_another_place(reading, origin):
    attempt(reading, status=403, headers={"Origin": origin})


def test_not_through_another_name_for_this_computer(reading):
    attempt(reading, status=400, headers={"Host": "rebound.example", "Origin": "http://rebound.example"})


@pytest.mark.parametrize("token", [None, "", "0" * 64])
def test_not_without_the_sessions_token(reading, token):
    attempt(reading, status=403, token=token)


def test_not_with_another_sessions_token(reading):
    hospital, study, _ = reading
    attempt(reading, status=403, token=hospital.visitor().introduce().token(f"/study/{study}"))


@pytest.mark.parametrize("cookie", ["overread_session=x.y", "overread_session="])
def test_not_with_a_made_up_session(reading, cookie):
    hospital, study, visitor = reading
    kept = visitor.cookie
    form = visitor.form(study)
    assert visitor.post(f"/study/{study}/sign", form, Cookie=cookie).status == 403
    assert signatures(hospital) == 0
    visitor.cookie = kept
    assert visitor.post(f"/study/{study}/sign", form).status == 303  # the twin
    assert signatures(hospital) == 1


def test_not_by_a_get(reading):
    hospital, study, visitor = reading
    form = "&".join(f"{k}={v}" for k, v in visitor.form(study).items())
    for path in (f"/study/{study}/sign?{form}", f"/study/{study}/impression?{form}", f"/study/{study}?{form}"):
        visitor.get(path)
        assert signatures(hospital) == 0
    assert visitor.post(f"/study/{study}/sign", visitor.form(study)).status == 303  # the twin
    assert signatures(hospital) == 1


def test_not_by_silence(reading):
    """However long nobody answers, and however often the machine looks again, nothing is signed."""
    from datetime import timedelta

    hospital, study, visitor = reading
    for _ in range(5):
        hospital.clock.time += timedelta(days=30)
        hospital.work()
        visitor.get("/")
        visitor.get(f"/study/{study}")
    assert signatures(hospital) == 0
    assert visitor.post(f"/study/{study}/sign", visitor.form(study)).status == 303  # the twin
    assert signatures(hospital) == 1


# --- no other road to a signature ------------------------------------------------------------------------------


def callers(source: str, names: set[str]) -> set[str]:
    """Which of these functions a source calls."""
    called = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            called |= {name} & names
    return called


def test_only_the_desk_makes_a_decision_and_a_verified_report():
    roads = {
        str(p.relative_to(SOURCE)): callers(p.read_text(), {"Decision", "verified_sr"}) for p in SOURCE.rglob("*.py")
    }
    assert {p for p, found in roads.items() if found} == {"serve/signing.py"}


def test_only_the_signing_request_reaches_the_desk():
    roads = {str(p.relative_to(SOURCE)) for p in SOURCE.rglob("*.py") if re.search(r"desk\.sign\b", p.read_text())}
    assert roads == {"serve/views.py"}
    assert not callers((SOURCE / "serve" / "worker.py").read_text(), {"sign", "impression", "Decision", "verified_sr"})


def test_the_search_for_other_roads_would_find_one():
    assert callers("evidence.verified_sr(draft, Decision('r', 'AI', (), ''), report)", {"Decision", "verified_sr"}) == {
        "Decision",
        "verified_sr",
    }
