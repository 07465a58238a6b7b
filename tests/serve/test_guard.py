"""Who may talk to the server, what the browser is told, and that every word on the pages is in the table."""

from __future__ import annotations

import re
import string
from pathlib import Path

import pytest
from small_hospital import deliver

from overread.serve import guard
from overread.serve.room import HERE, WORDS


@pytest.mark.parametrize("path", ["/", "/reader", "/nowhere", "/static/viewer.js", "/study/S0123456789ab"])
def test_every_answer_carries_the_protecting_headers(house, path):
    answer = house().visitor().get(path)
    for name, value in guard.HEADERS.items():
        assert answer.headers[name.lower()] == value
    policy = answer.headers["content-security-policy"]
    assert "default-src 'self'" in policy and "frame-ancestors 'none'" in policy and "unsafe" not in policy
    assert "server" not in answer.headers or "uvicorn" in answer.headers["server"]


def test_a_fault_of_ours_tells_nothing_and_carries_them_too(house, inbox, monkeypatch, capsys):
    from overread.serve import views

    hospital = house()
    monkeypatch.setattr(views, "rows", lambda *a: 1 / 0)
    answer = hospital.visitor().introduce().get("/")
    assert answer.status == 500 and "ZeroDivision" not in answer.text and "nothing was signed" in answer.text
    assert answer.headers["content-security-policy"] == guard.HEADERS["Content-Security-Policy"]
    capsys.readouterr()


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "", "[", "localhost.evil.example:80"])
def test_a_rebound_name_is_refused_before_any_page(house, host):
    assert house().visitor().get("/", Host=host or " ").status == 400


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost:8080", "LOCALHOST", "[::1]:8080"])
def test_our_own_names_are_answered(house, host):
    assert house().visitor().get("/reader", Host=host).status == 200


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
def test_only_get_and_post_are_known(house, method):
    assert house().visitor().ask(method, "/").status == 405


def test_a_form_that_is_too_large_or_does_not_say_how_large_is_refused(house):
    visitor = house().visitor()
    assert visitor.post("/reader", {"token": "x", "family": "x" * 70_000}).status == 413
    assert visitor.post("/reader", {"token": "x"}, Transfer_Encoding="chunked", Content_Length="x").status in (400, 413)


def test_a_field_given_twice_is_refused(house):
    visitor = house().visitor()
    token = visitor.token()
    import http.client

    connection = http.client.HTTPConnection("127.0.0.1", visitor.port)
    headers = {"Cookie": visitor.cookie, "Origin": visitor.origin, "Content-Type": "application/x-www-form-urlencoded"}
    connection.request("POST", "/reader", f"token={token}&family=A&family=B&given=C", headers)
    assert connection.getresponse().status == 400
    connection.close()


def test_a_session_cannot_be_forged_or_carried_to_another_server():
    sealed = guard.seal(b"a" * 32, {"id": "1", "reader": "Curie^Marie"})
    assert guard.unseal(b"a" * 32, sealed) == {"id": "1", "reader": "Curie^Marie"}
    assert guard.unseal(b"b" * 32, sealed) is None
    for i in range(len(sealed)):
        changed = sealed[:i] + ("A" if sealed[i] != "A" else "B") + sealed[i + 1 :]
        assert guard.unseal(b"a" * 32, changed) is None


def test_the_cookie_is_out_of_reach_of_scripts_and_other_sites(house):
    cookie = house().visitor().get("/reader").headers["set-cookie"].lower()
    assert "httponly" in cookie and "samesite=strict" in cookie


def test_names_from_outside_are_text_not_markup(house, inbox):
    (inbox / "<img src=x onerror=alert(1)>.png").write_text("no image")
    deliver(inbox, 1, 0.7)
    hospital = house()
    hospital.work()
    page = hospital.visitor().introduce("<b>Curie", "Marie").get("/").text
    assert "<img src=x" not in page and "&lt;img src=x" in page and "&lt;b&gt;Curie" in page


def test_nothing_is_fetched_from_elsewhere():
    for path in [*HERE.glob("static/*"), *HERE.glob("templates/*")]:
        addresses = re.findall(r"(?:https?:)?//[a-z][\w.-]+\.[a-z]{2,}", path.read_text())
        assert [a for a in addresses if "www.w3.org" not in a] == [], path.name


# --- words -----------------------------------------------------------------------------------------------------


def keys() -> set[str]:
    return {f"{section}.{word}" for section, words in WORDS.items() for word in words}


def used() -> tuple[set[str], set[str]]:
    """Words named outright, and the beginnings of those put together at run time ("worklist." ~ state)."""
    sources = [*HERE.glob("*.py"), *HERE.glob("templates/*")]
    text = "\n".join(p.read_text() for p in sources)
    named = set(re.findall(r"""say\(\s*f?["']([a-z_]+\.[a-z_]+)["']""", text))
    parts = set(re.findall(r"""say\(\s*["']([a-z_]+\.[a-z_]*)["'] ~""", text))
    return named, parts


def test_every_word_is_in_the_table_and_every_word_of_the_table_is_used():
    named, parts = used()
    named = {n for n in named if n not in parts}
    assert named <= keys()
    whole = {"viewer", "states"}  # handed to the page as they are
    pieces = {
        "finding.crosses",
        "finding.clear",
        "finding.without",
        "finding.with",
        "finding.false_alarm",
        "finding.missed",
    }
    pieces |= {f"message.{k}{t}" for k in ("forbidden", "missing") for t in ("", "_title")}
    left = {
        k
        for k in keys() - named - pieces
        if k.split(".")[0] not in whole and not any(k.startswith(p) for p in parts - {"finding.", "worklist."})
    }
    left -= {f"finding.{d}" for d in ("present", "absent", "refer")}
    left -= {f"worklist.{s}" for s in ("waiting", "opened", "machine", "void")}
    assert left == set()


def test_the_pages_hold_no_words_of_their_own():
    """Between the tags of a template there is nothing to translate."""
    for path in HERE.glob("templates/*.html"):
        text = re.sub(r"\{% block kind %\}.*?\{% endblock %\}", "", path.read_text())  # a class name
        text = re.sub(r"\{[{%#].*?[}%#]\}", "", text, flags=re.S)
        text = re.sub(r"<[^>]*>", "", text)
        assert re.sub(r"[\s·.,:0-9&;]", "", text) == "", path.name


def test_the_table_is_whole_sentences_with_known_facts():
    for section, words in WORDS.items():
        for word, text in words.items():
            assert text.strip() == text and text, f"{section}.{word}"
            for _, fact, _, _ in string.Formatter().parse(text):
                assert fact is None or fact.isidentifier(), f"{section}.{word}"


def test_scripts_speak_only_words_of_the_table():
    script = (HERE / "static" / "viewer.js").read_text()
    assert set(re.findall(r"\bwords\.([a-z_]+)", script)) <= set(WORDS["viewer"])


def test_the_files_of_the_room_are_in_the_package():
    assert {p.suffix for p in Path(HERE).rglob("*") if p.is_file()} >= {".py", ".html", ".css", ".js", ".svg", ".toml"}
