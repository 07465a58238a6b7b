"""The CDC's library, played by a local one: what may be taken is taken once, with its credit; the rest is named."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from local_library import FREE, PROTECTED, Library, careless_page, picture, record, span_page, table_page
from local_site import Reply

from overread.errors import OverreadError, SourceError
from overread.sources.manners import Manners
from overread.sources.phil import MOST_EVER, fetch, understand
from overread.sources.polite import Session


@pytest.fixture
def library(site, other_site) -> Library:
    return Library(site, other_site)


@pytest.fixture
def ask(library, clock, tmp_path):
    """A function that fetches a word from the local library, on the clock that nobody waits for."""

    def asked(word: str, *, into: Path = tmp_path / "phil", options: str = "", **manners):
        session = Session(cache=into / "pages", manners=Manners(**manners), clock=clock, sleep=clock.sleep)
        return fetch(f"phil:{word}?site={library.address}{options}", into=into, session=session)

    return asked


def told(picture: Path) -> dict:
    return json.loads(picture.with_name(picture.name + ".json").read_text(encoding="utf-8"))


# -- what is taken


def test_a_picture_comes_with_everything_its_record_says(library, ask):
    library.add("2423")
    came = ask("2423")
    assert came.missed == () and came.named == ("phil:2423",) and [p.name for p in came.paths] == ["2423.tif"]
    assert came.paths[0].read_bytes() == picture("TIFF", seed=2423)
    beside = told(came.paths[0])
    assert (beside["overread"], beside["version"], beside["bytes"]) == ("picture", 1, came.paths[0].stat().st_size)
    assert beside["attributes"] == {
        "source": "PHIL",
        "source_number": "2423",
        "credit": "Marion Müller",
        "content_provider": "CDC/ Dr. A. N. Other",
        "description": "A made-up chest film, drawn & not taken. It shows “nothing” at 37 °C – über alles.",
        "categories": "CDC Organization; MeSH; Thorax",
        "created": "1975",
        "links": "CDC – Some Page <https://www.cdc.gov/some?a=1&b=2>",
        "copyright": FREE,
        "copyright_checked": "public domain",
        "address": f"{library.address}Details.aspx?pid=2423",
    }


@pytest.mark.parametrize("layout", [table_page, span_page, careless_page])
def test_every_layout_of_the_page_will_do(layout, library, ask):
    library.add("7", page=layout(record("7")))
    assert [p.name for p in ask("7").paths] == ["7.tif"]


def test_a_tif_that_is_a_png_is_taken_as_it_is(library, ask):
    library.add("7", tif=picture("PNG"))
    assert ask("7").paths[0].read_bytes().startswith(b"\x89PNG")


def test_the_small_picture_is_taken_where_there_is_no_large_one_and_it_is_told(library, ask):
    library.add("7", tif=None)
    (path,) = ask("7").paths
    assert path.name == "7_lores.jpg" and told(path)["attributes"]["picture"] == "the small one; there was no .tif"


def test_a_page_of_regret_in_place_of_the_large_picture_is_no_picture(library, ask):
    library.add("7", tif=b"<html>We are sorry</html>")
    assert [p.name for p in ask("7").paths] == ["7_lores.jpg"]


def test_a_picture_in_a_dated_folder_is_found_by_the_page(library, ask):
    folder = "20040908/2d4664936550421d85a71364ed879b68"
    library.add("6121", page=span_page(record("6121"), folder=folder), tif=None, lores=None)
    library.back.pages[f"/phil/PHIL_Images/{folder}/6121.tif"] = Reply(picture("TIFF"))
    assert [p.name for p in ask("6121").paths] == ["6121.tif"]


def test_the_large_picture_is_asked_for_by_the_form_where_only_that_gives_it(library, ask):
    library.add("7", page=span_page(record("7"), post_back=True), tif=None)
    page = library.pages["7"].replace(b"//HOST/", library.back.address.encode())

    def details(asked):
        pressed = asked.form.get("__EVENTTARGET") == "ctl00$contentArea2$ucDetails$hlHighResDownload"
        good = pressed and asked.form["__VIEWSTATE"] == "/wEP+7=="
        return Reply(picture("PNG")) if good else Reply(page)

    library.back.pages["/phil/Details.aspx?pid=7"] = details
    (path,) = ask("7").paths
    assert path.name == "7.tif" and path.read_bytes() == picture("PNG")


# -- what is not taken


@pytest.mark.parametrize(
    ("copyright", "code"),
    [(PROTECTED, "not-public-domain"), ("", "no-copyright-line"), ("Unknown", "not-public-domain")],
)
def test_what_is_not_said_to_be_free_is_refused_by_name_and_its_picture_not_even_asked_for(
    copyright, code, library, ask
):
    library.add("1")
    library.add("2", page=span_page(record("2", copyright=copyright)))
    came = ask("1-2")
    assert [p.name for p in came.paths] == ["1.tif"]
    assert [(m.name, m.code) for m in came.missed] == [("phil:2", code)]
    assert library.back.count("PHIL_Images/2/") == 0 and library.back.count("PHIL_Images/1/") == 1


def test_any_copyright_is_taken_when_a_person_says_so_and_that_is_recorded(library, ask):
    library.add("2", page=span_page(record("2", copyright=PROTECTED)))
    came = ask("2", options="&any-copyright")
    attributes = told(came.paths[0])["attributes"]
    assert attributes["copyright"] == PROTECTED
    assert attributes["copyright_checked"] == "not checked: any copyright was asked for"
    assert "whatever their copyright line says" in came.notes[0]
    assert [m.code for m in ask("2").missed] == ["not-public-domain"]  # and it is not slipped in on another day


def test_what_is_not_there_is_named(library, ask):
    library.add("2", tif=None, lores=None)
    library.pages["3"] = span_page(record("33"))
    library.back.pages["/phil/Details.aspx?pid=4"] = Reply(b"gone", status=404)
    came = ask("1-4")
    assert [(m.name, m.code) for m in came.missed] == [
        ("phil:1", "no-such-record"),
        ("phil:2", "picture-missing"),
        ("phil:3", "other-record"),
        ("phil:4", "no-such-record"),
    ]
    assert "none at 2 addresses" in came.missed[1].reason


def test_half_a_page_and_half_a_picture_are_named_and_stop_nothing(library, ask):
    for number in "123":
        library.add(number)
    library.pages["1"] = library.pages["1"][:400]
    content = picture("TIFF")
    library.back.pages["/phil/PHIL_Images/2/2.tif"] = Reply(content[:999], length=len(content))
    came = ask("1-3", tries=2)
    assert [p.name for p in came.paths] == ["3.tif"]
    assert [(m.name, m.code) for m in came.missed] == [("phil:1", "cut-short"), ("phil:2", "cut-short")]


def test_an_endless_picture_is_named(library, ask, monkeypatch):
    monkeypatch.setattr("overread.sources.phil.LARGEST", 1 << 20)
    library.add("1")
    library.back.pages["/phil/PHIL_Images/1/1.tif"] = Reply(b"II*\0", endless=True)
    assert [m.code for m in ask("1").missed] == ["too-large"]


def test_what_programs_shall_not_fetch_is_named(library, ask):
    library.add("1")
    library.back.pages["/robots.txt"] = Reply(b"User-agent: *\nDisallow: /phil/PHIL_Images\n")
    assert [m.code for m in ask("1").missed] == ["robots"]


# -- manners


def test_the_library_is_asked_no_more_than_once_a_second(library, ask, clock):
    for number in range(1, 6):
        library.add(str(number))
    began = clock.time
    ask("1-5")
    to_one_host = max(len(library.front.asked), len(library.back.asked))
    assert clock.time - began >= to_one_host - 1


def test_a_busy_library_is_waited_for(library, ask, clock):
    library.add("1")
    page = Reply(library.pages["1"].replace(b"//HOST/", library.back.address.encode()))
    busy = Reply(status=429, head={"Retry-After": "60"})
    library.back.pages["/phil/Details.aspx?pid=1"] = [busy, Reply(status=503), page]
    assert len(ask("1").paths) == 1 and sum(clock.slept) >= 62


def test_a_library_that_goes_down_ends_the_run_and_keeps_what_came(library, ask):
    for number in "123":
        library.add(number)
    working = library.back.pages["/phil/PHIL_Images/2/2.tif"]
    library.back.pages["/phil/PHIL_Images/2/2.tif"] = Reply(status=503)
    with pytest.raises(SourceError, match="503, 4 times"):
        ask("1-3")
    library.back.pages["/phil/PHIL_Images/2/2.tif"] = working
    library.back.asked.clear()
    assert len(ask("1-3").paths) == 3
    assert library.back.count("1.tif") == library.back.count("pid=1") == library.back.count("pid=2") == 0


def test_a_second_run_asks_nothing(library, ask):
    library.add("1")
    library.add("2", page=span_page(record("2", copyright=PROTECTED)))
    first = ask("1-3")
    library.back.asked.clear()
    library.front.asked.clear()
    second = ask("1-3")
    assert (second.paths, second.missed, second.asked) == (first.paths, first.missed, 0)
    assert library.back.asked == library.front.asked == []


def test_a_picture_that_was_damaged_here_is_fetched_again(library, ask):
    library.add("1")
    (path,) = ask("1").paths
    path.write_bytes(path.read_bytes()[:100])
    assert ask("1").paths[0].read_bytes() == picture("TIFF", seed=1)


def test_killed_in_the_middle_it_goes_on_and_asks_nothing_twice(library, tmp_path):
    """kill -9 while the third picture is on its way; the second run asks for what is missing only."""
    for number in range(1, 6):
        library.add(str(number))
    hold = []

    def slow(asked):
        hold.append(asked)
        time.sleep(0.2 if len(hold) > 1 else 5)
        return Reply(picture("TIFF", seed=3))

    library.back.pages["/phil/PHIL_Images/3/3.tif"] = slow
    program = (
        "from pathlib import Path; from overread.sources.phil import fetch; from overread.sources.polite import Session;"
        "from overread.sources.manners import Manners; into = Path({into!r});"
        "fetch({word!r}, into=into, session=Session(cache=into / 'pages', manners=Manners(pause_s=0)))"
    ).format(into=str(tmp_path / "phil"), word=f"phil:1-5?site={library.address}")
    run = subprocess.Popen([sys.executable, "-c", program], env=os.environ | {"no_proxy": "127.0.0.1"})
    deadline = time.monotonic() + 30
    while not hold and time.monotonic() < deadline:
        time.sleep(0.02)
    os.kill(run.pid, signal.SIGKILL)
    run.wait()
    assert sorted(p.name for p in (tmp_path / "phil" / "pictures").glob("*.tif")) == ["1.tif", "2.tif"]
    before = [asked.path for asked in library.back.asked if not asked.path.endswith("/3.tif")]
    session = Session(cache=tmp_path / "phil" / "pages", manners=Manners(pause_s=0))
    came = fetch(f"phil:1-5?site={library.address}", into=tmp_path / "phil", session=session)
    assert [p.name for p in came.paths] == [f"{n}.tif" for n in range(1, 6)]
    again = [asked.path for asked in library.back.asked[len(before) + 1 :]]
    assert any(path.endswith("/3.tif") for path in again)  # what never arrived …
    assert not set(before) & set(again)  # … and nothing else


# -- search


def test_a_search_turns_the_pages_and_takes_what_it_lists(library, ask):
    for number, words in (("10", "chest x-ray"), ("11", "a Chest X-Ray"), ("12", "a virus"), ("13", "chest x-ray")):
        library.add(number, page=span_page(record(number, description=words)))
    came = ask("chest x-ray")
    assert [p.name for p in came.paths] == ["10.tif", "11.tif", "13.tif"] and came.notes == ()
    sent = next(a.form for a in library.back.asked if any("txtQuickKeywords" in name for name in a.form))
    assert "Photo" in sent.values() and "Illustrations" not in sent.values()


def test_a_search_asks_for_no_more_than_was_wanted_and_says_so(library, ask):
    for number in range(20, 30):
        library.add(str(number))
    came = ask("made-up", options="&most=3")
    assert len(came.paths) == 3 and came.notes == (
        "the first 3 of 10 records that the search lists; ask for more with ?most=",
    )
    assert library.back.count("QuickSearch") == 3  # the form, the list, one page more


def test_a_list_that_cannot_be_turned_is_told(library, ask):
    """How the real search turns its pages is not known: if not as here, a person hears of it."""
    for number in range(20, 25):
        library.add(str(number))
    back = library.back.reply
    library.back.reply = lambda asked: replace(r := back(asked), body=r.body.replace(b">Next<", b">Weiter<"))
    assert ask("made-up").notes == (
        "the library says its search finds 5 records, and its list could be read to 2: give the others by number",
    )


def test_a_search_is_remembered(library, ask):
    library.add("20")
    ask("made-up")
    library.back.asked.clear()
    assert len(ask("made-up").paths) == 1 and library.back.asked == []


def test_a_search_that_finds_nothing_is_one_clear_line(library, ask):
    library.add("20")
    with pytest.raises(OverreadError, match="a search that finds no record"):
        ask("unicorn")


@pytest.mark.parametrize(
    "page",
    [
        b"<html><body>We moved</body></html>",
        b"<html><form><input type=text name=a><input type=text name=b></form></html>",
    ],
)
def test_a_search_page_that_is_not_understood_is_refused(page, library, ask):
    library.back.pages["/phil/QuickSearch.aspx"] = Reply(page)
    with pytest.raises(SourceError, match=r"a search page with no field .* give the numbers"):
        ask("chest")


def test_an_answer_to_a_search_that_is_not_understood_is_no_empty_list(library, ask):
    form = b"<html><form action='QuickSearch.aspx'><input type=text name=keywords></form></html>"
    library.back.pages["/phil/QuickSearch.aspx"] = [Reply(form), Reply(b"<html>Session expired</html>")]
    with pytest.raises(SourceError, match="neither records nor the word that there are none"):
        ask("chest")


# -- words


@pytest.mark.parametrize(
    ("word", "numbers"),
    [
        ("phil:2423", ("2423",)),
        ("phil: 2423 , 2425–2427,2423", ("2423", "2425", "2426", "2427")),
        ("phil:007", ("7",)),
    ],
)
def test_numbers_and_ranges(word, numbers):
    assert understand(word).numbers == numbers


def test_a_term_may_hold_numbers():
    assert understand("phil:covid 19").term == "covid 19" and understand("phil:H1N1").numbers == ()


@pytest.mark.parametrize(
    "word",
    [
        "phil:",
        "phil:  ?most=3",
        "phil:5-2",
        "phil:0",
        "phil:1-",
        "phil:12345678",
        f"phil:1-{MOST_EVER + 1}",
        "phil:chest?most=0",
        "phil:chest?most=many",
        "phil:chest?site=ftp://x",
        "phil:chest?limit=5",
    ],
)
def test_a_word_that_is_not_understood_is_refused(word):
    with pytest.raises(OverreadError, match=r"docs/phil\.md"):
        understand(word)
