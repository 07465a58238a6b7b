"""Other people's computers are asked slowly, once, under our own name, and never for more than we can use."""

from __future__ import annotations

import re
import urllib.parse
import urllib.request
from contextlib import suppress

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from local_site import Reply
from local_site import Site as LocalSite

from overread.errors import OverreadError, SourceError, UnreadableFile
from overread.sources import polite
from overread.sources.answers import next_address, web_address
from overread.sources.manners import Manners
from overread.sources.polite import Session

WHOLE = Reply(b"<html>whole</html>")
START = 1_800_000_000.0


@pytest.fixture
def visit(clock, tmp_path):
    """A function that makes a session on the clock that nobody waits for."""

    def made(*, cache=tmp_path / "pages", now=START, **manners) -> Session:
        then = clock.time
        return Session(
            cache=cache,
            manners=Manners(**manners),
            clock=clock,
            sleep=clock.sleep,
            now=lambda: now + clock.time - then,
        )

    return made


def refused(code: str):
    """Expect a refusal with this code."""
    return pytest.raises(UnreadableFile, check=lambda error: error.code == code)


# -- slowly


def test_a_second_passes_between_two_requests_and_hosts_do_not_wait_for_each_other(visit, site, other_site, clock):
    site.pages = {f"/{n}": WHOLE for n in range(4)}
    other_site.pages = {"/a": WHOLE}
    session = visit(robots=False)
    for n in range(4):
        session.page(f"{site.address}{n}")
    assert clock.slept == [1.0, 1.0, 1.0]
    session.page(f"{other_site.address}a")
    assert len(clock.slept) == 3


def test_without_a_pause_nobody_waits_so_the_test_above_can_fail(visit, site, clock):
    site.pages = {"/0": WHOLE, "/1": WHOLE}
    session = visit(robots=False, pause_s=0.0)
    session.page(f"{site.address}0")
    session.page(f"{site.address}1")
    assert clock.slept == []


def test_come_back_in_thirty_seconds_is_obeyed(visit, site, clock):
    site.pages["/a"] = [Reply(status=429, head={"Retry-After": "30"}), WHOLE]
    assert visit(robots=False).page(f"{site.address}a").content == WHOLE.body
    assert sum(clock.slept) >= 30 and len(site.asked) == 2


def test_come_back_at_a_time_is_obeyed(visit, site, clock):
    site.pages["/a"] = [Reply(status=503, head={"Retry-After": "Fri, 15 Jan 2027 08:00:45 GMT"}), WHOLE]
    visit(robots=False, now=START).page(f"{site.address}a")  # START is 08:00:00 of that day
    assert 44 <= sum(clock.slept) <= 46


def test_come_back_tomorrow_ends_the_run(visit, site, clock):
    site.pages["/a"] = Reply(status=429, head={"Retry-After": "86400"})
    with pytest.raises(SourceError, match="left alone for 86,400 s"):
        visit(robots=False).page(f"{site.address}a")
    assert len(site.asked) == 1 and clock.slept == []


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_a_site_that_is_down_is_tried_four_times_ever_more_slowly(status, visit, site, clock):
    site.pages["/a"] = Reply(status=status)
    with pytest.raises(SourceError, match=f"an answer of {status}, 4 times"):
        visit(robots=False).page(f"{site.address}a")
    assert len(site.asked) == 4 and clock.slept == [2.0, 4.0, 8.0]


def test_a_site_that_hangs_up_or_is_not_there_is_one_clear_line(visit, site):
    site.pages["/a"] = Reply(hang_up=True)
    for address in (f"{site.address}a", "http://127.0.0.1:9/a"):
        with pytest.raises(SourceError, match="4 times; expected a site that answers; run the same command") as error:
            visit(robots=False).page(address)
        assert "\n" not in str(error.value)
    assert len(site.asked) == 4


@pytest.mark.parametrize("status", [401, 403])
def test_a_closed_door_is_not_knocked_at_again(status, visit, site):
    site.pages["/a"] = Reply(status=status)
    with pytest.raises(SourceError, match="lets no program in"):
        visit(robots=False).page(f"{site.address}a")
    assert len(site.asked) == 1


# -- under our own name


def test_the_user_agent_says_who_asks_and_how_to_reach_them(visit, site):
    site.pages["/a"] = WHOLE
    visit(robots=False, contact="radiology@hospital.example").page(f"{site.address}a")
    agent = site.asked[0].head["User-Agent"]
    assert agent.startswith("overread/") and agent.endswith("(radiology@hospital.example)")


@pytest.mark.parametrize("contact", ["a\r\nX-Evil: 1", "a(b", "münchen@x"])
def test_a_contact_that_would_break_the_request_is_refused(contact, visit):
    with pytest.raises(OverreadError, match="contact"):
        visit(contact=contact)


def test_a_cookie_comes_back(visit, site):
    site.pages = {"/a": Reply(WHOLE.body, head={"Set-Cookie": "visitor=7; Path=/"}), "/b": WHOLE}
    session = visit(robots=False)
    session.page(f"{site.address}a")
    session.page(f"{site.address}b")
    assert site.asked[1].head["Cookie"] == "visitor=7"


# -- robots.txt


def test_what_programs_shall_not_fetch_is_not_fetched(visit, site):
    site.pages = {"/robots.txt": Reply(b"User-agent: *\nDisallow: /private\n"), "/open": WHOLE, "/private/x": WHOLE}
    session = visit()
    assert session.page(f"{site.address}open").status == 200
    with refused("robots"):
        session.page(f"{site.address}private/x")
    assert [a.path for a in site.asked] == ["/robots.txt", "/open"]


def test_a_crawl_delay_is_kept(visit, site, clock):
    site.pages = {"/robots.txt": Reply(b"User-agent: overread\nCrawl-delay: 10\n"), "/a": WHOLE, "/b": WHOLE}
    session = visit()
    for page in "ab":
        session.page(f"{site.address}{page}")
    assert clock.slept[-1] == 10.0


def test_no_robots_txt_is_no_rule_and_a_broken_one_is_a_closed_site(visit, site):
    site.pages = {"/a": WHOLE}
    assert visit().page(f"{site.address}a").status == 200
    with LocalSite() as broken:
        broken.pages = {"/robots.txt": Reply(status=500), "/a": WHOLE}
        with pytest.raises(SourceError):
            visit().page(f"{broken.address}a")
        assert broken.count("/a") == 0


# -- once


def test_what_was_fetched_is_not_asked_for_again(visit, site):
    site.pages["/a"] = WHOLE
    first = visit().page(f"{site.address}a")
    asked = len(site.asked)
    assert visit().page(f"{site.address}a") == first and len(site.asked) == asked == 2  # robots.txt and the page


def test_what_was_missing_is_asked_for_again_after_a_day_and_a_page_after_a_month(visit, site):
    site.pages["/a"] = WHOLE
    for now, asked in ((0, 2), (0.9, 2), (1.1, 3), (29, 4), (31, 6)):
        session = visit(robots=False, now=START + now * 86400)
        session.page(f"{site.address}a")
        session.page(f"{site.address}none")
        assert len(site.asked) == asked


def test_a_damaged_cache_is_no_cache(visit, site, tmp_path):
    site.pages["/a"] = WHOLE
    visit(robots=False).page(f"{site.address}a")
    for kept in (tmp_path / "pages").iterdir():
        kept.write_bytes(kept.read_bytes()[:-3])
    assert visit(robots=False).page(f"{site.address}a").content == WHOLE.body
    assert len(site.asked) == 2


# -- never more than we can use


def test_half_a_page_is_asked_for_again_and_refused_when_it_stays_half(visit, site):
    half = Reply(b"<html>half", length=5000)
    cut = Reply(b"<html>a page that ends without its end tag", no_length=True)
    site.pages = {"/a": [half, cut, WHOLE], "/b": half, "/c": cut}
    session = visit(robots=False)
    assert session.page(f"{site.address}a").content == WHOLE.body
    for page, why in (("b", "10 of 5,000 bytes, 4 times"), ("c", "half a page of 42 bytes, 4 times")):
        with pytest.raises(UnreadableFile, match=why) as error:
            session.page(f"{site.address}{page}")
        assert error.value.code == "cut-short"


def test_an_endless_answer_is_left(visit, site, monkeypatch):
    site.pages = {"/a": Reply(b"<html>", endless=True), "/b": Reply(length=1 << 40)}
    monkeypatch.setattr(polite, "LARGEST_PAGE", 1 << 20)
    for page in "ab":
        with refused("too-large"):
            visit(robots=False).page(f"{site.address}{page}")


def test_an_answer_that_trickles_too_long_is_left(visit, site, clock):
    site.pages["/a"] = Reply(bytes(200_000) + b"</html>")
    session = visit(robots=False, longest_s=5.0, tries=1)
    session.clock = lambda: clock.sleep(3) or clock.time  # every look at the clock is three seconds later
    with pytest.raises(UnreadableFile, match="not ended after 5 s"):
        session.page(f"{site.address}a")


# -- redirects


def test_a_redirect_to_another_host_is_followed_and_its_rules_are_read(visit, site, other_site):
    site.pages["/a"] = Reply(status=302, head={"Location": f"{other_site.address}phil/a"})
    other_site.pages = {"/phil/a": WHOLE}
    answer = visit().page(f"{site.address}a")
    assert answer.address == f"{other_site.address}phil/a" and other_site.count("robots.txt") == 1


def test_redirects_are_counted(visit, site):
    site.pages["/a"] = Reply(status=302, head={"Location": "/a"})
    with refused("bad-redirect"):
        visit(robots=False).page(f"{site.address}a")
    assert len(site.asked) == 6


@pytest.mark.parametrize(
    "there", ["file:///etc/passwd", "ftp://x.example/a", "data:text/html,<html></html>", "gopher://x"]
)
def test_a_redirect_out_of_the_web_is_refused(there, visit, site):
    site.pages["/a"] = Reply(status=302, head={"Location": there})
    with refused("bad-redirect"):
        visit(robots=False).page(f"{site.address}a")


def test_a_redirect_never_leaves_encryption():
    with refused("bad-redirect"):
        next_address("https://x.example/a", "http://x.example/a")
    assert next_address("https://x.example/a", "//y.example/b c") == "https://y.example/b%20c"


@given(
    st.text(max_size=40)
    | st.text(max_size=20).map("http://{}".format)
    | st.text(max_size=20).map("https://x.ex/{}".format)
)
@example("http://[::1")
@example("https://x.example:99999/")
@example("http://x\ny/")
def test_whatever_stands_on_a_page_is_an_address_or_refused(text):
    try:
        address = web_address(text)
    except UnreadableFile as refusal:
        assert refusal.code == "bad-redirect"
    else:
        urllib.request.Request(address)
        assert address.isascii() or not urllib.parse.urlsplit(address).netloc.isascii()
        assert not re.search(r"[\x00-\x20\x7f]", address)


@pytest.mark.parametrize("there", ["a b.tif", "ä.tif", "http://[::1", "javascript:void(0)", "http://:80/", "//"])
def test_a_strange_address_is_an_answer_or_a_refusal_and_never_the_end_of_the_run(there, visit, site, tmp_path):
    with suppress(UnreadableFile):
        visit(robots=False).page(f"{site.address}{there}" if there.endswith(".tif") else there)


def test_a_form_that_is_sent_elsewhere_becomes_a_question(visit, site):
    site.pages = {"/form": Reply(status=302, head={"Location": "/result"}), "/result": WHOLE}
    assert visit(robots=False).page(f"{site.address}form", fields={"words": "chest x-ray"}).status == 200
    assert site.asked[0].form == {"words": "chest x-ray"} and site.asked[1].form == {}


# -- files


@pytest.fixture
def content() -> bytes:
    return bytes(range(256)) * 1000


def test_a_killed_download_goes_on_where_it_stopped(visit, site, tmp_path, content):
    """The first run is killed (it gives up here); the second asks for the rest and gets it."""
    site.pages["/f"] = Reply(content[:100_000], length=len(content), head={"ETag": '"v1"'})
    with refused("cut-short"):
        visit(robots=False, tries=1).file(f"{site.address}f", tmp_path / "f", largest=1 << 20)
    assert (tmp_path / "f.part").read_bytes() == content[:100_000]

    def rest(asked):
        assert asked.head["Range"] == "bytes=100000-"
        return Reply(content[100_000:], status=206, head={"Content-Range": f"bytes 100000-255999/{len(content)}"})

    site.pages["/f"] = rest
    assert visit(robots=False).file(f"{site.address}f", tmp_path / "f", largest=1 << 20).status == 200
    assert (tmp_path / "f").read_bytes() == content
    assert sorted(p.name for p in tmp_path.iterdir()) == ["f"]


def test_a_file_that_changed_in_between_is_fetched_from_the_start(visit, site, tmp_path, content):
    (tmp_path / "f.part").write_bytes(b"old" * 1000)
    (tmp_path / "f.part.json").write_text(f'{{"address": "{site.address}f", "if": "\\"v1\\""}}')
    site.pages["/f"] = Reply(content, head={"ETag": '"v2"'})  # If-Range does not hold: 200 and all of it
    visit(robots=False).file(f"{site.address}f", tmp_path / "f", largest=1 << 20)
    assert (tmp_path / "f").read_bytes() == content


@pytest.mark.parametrize("said", [{}, {"Content-Range": "bytes 7-9/10"}, {"Content-Range": "lines 1-2/3"}])
def test_another_part_than_was_asked_for_is_not_glued_on(said, visit, site, tmp_path, content):
    (tmp_path / "f.part").write_bytes(content[:1000])
    (tmp_path / "f.part.json").write_text(f'{{"address": "{site.address}f", "if": "\\"v1\\""}}')
    site.pages["/f"] = [Reply(content[5000:], status=206, head=said), Reply(status=416), Reply(content)]
    visit(robots=False).file(f"{site.address}f", tmp_path / "f", largest=1 << 20)
    assert (tmp_path / "f").read_bytes() == content


def test_without_proof_that_it_is_the_same_file_it_is_fetched_from_the_start(visit, site, tmp_path, content):
    (tmp_path / "f.part").write_bytes(b"old")
    site.pages["/f"] = Reply(content)
    visit(robots=False).file(f"{site.address}f", tmp_path / "f", largest=1 << 20)
    assert "Range" not in site.asked[0].head and (tmp_path / "f").read_bytes() == content


def test_a_page_of_regret_is_no_file(visit, site, tmp_path):
    site.pages["/f"] = Reply(b"<html>Sorry!</html>")
    with refused("other-content"):
        visit(robots=False).file(
            f"{site.address}f", tmp_path / "f", largest=99, looks_right=lambda head: head.startswith(b"\x89PNG")
        )
    assert list(tmp_path.iterdir()) == []


def test_an_endless_file_is_left_and_nothing_stays(visit, site, tmp_path):
    site.pages["/f"] = Reply(endless=True)
    with refused("too-large"):
        visit(robots=False).file(f"{site.address}f", tmp_path / "f", largest=1 << 20)
    assert list(tmp_path.iterdir()) == []
