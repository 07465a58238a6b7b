"""A record is read by the titles of its fields: in three layouts, with entities, and with whatever text stands in them."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from local_library import FREE, PROTECTED, RECORD, careless_page, record, span_page, table_page

from overread.sources.markup import read_page
from overread.sources.phil_page import public_domain, read_record

LAYOUTS = (table_page, span_page, careless_page)
AT = "https://library.example/phil/Details.aspx?pid=2423"


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_field_is_read_in_every_layout(layout):
    read = read_record(read_page(layout(RECORD), AT))
    assert read.number == "2423"
    assert read.description == RECORD["description"]
    assert read.content_provider == "CDC/ Dr. A. N. Other" and read.credit == "Marion Müller"
    assert read.created == "1975"  # the year alone
    assert read.links == "CDC – Some Page <https://www.cdc.gov/some?a=1&b=2>"
    assert read.categories == "CDC Organization; MeSH; Thorax"
    assert read.copyright == FREE and public_domain(read.copyright)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_protected_picture_is_not_free_in_any_layout(layout):
    read = read_record(read_page(layout(record("1", copyright=PROTECTED)), AT))
    assert read.copyright == PROTECTED and not public_domain(read.copyright)


WORDS = st.text(
    st.characters(blacklist_categories=("Cs", "Cc", "Zl", "Zp", "Zs", "Cn"), blacklist_characters=":<>|;"),
    min_size=1,
    max_size=30,
).filter(lambda text: text.lower() not in ("links", "categories", "id", "id#", "description", "caption"))


@settings(max_examples=60, deadline=None)
@given(
    layout=st.sampled_from(LAYOUTS),
    number=st.integers(1, 9_999_999).map(str),
    texts=st.lists(st.lists(WORDS, min_size=1, max_size=6).map(" ".join), min_size=4, max_size=4),
    year=st.integers(1850, 2029).map(str),
)
def test_any_text_comes_back_as_it_was_written(layout, number, texts, year):
    description, provider, credit, category = texts
    written = record(
        number, description=description, content_provider=provider, credit=credit, created=year, categories=(category,)
    )
    read = read_record(read_page(layout(written), AT))
    got = (read.number, read.description, read.content_provider, read.credit, read.created, read.categories)
    assert got == (number, description, provider, credit, year, category)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300), st.sampled_from(LAYOUTS), st.integers(0, 3000))
def test_no_page_is_too_broken_to_be_read(noise, layout, cut):
    """Noise, and a page broken anywhere, gives a record or none; never another copyright than the page's own."""
    page = layout(RECORD)
    for content in (noise, page[:cut] + noise, page[:cut] + noise + page[cut:]):
        read_record(read_page(content, AT))
    half = read_record(read_page(layout(record("1", copyright=PROTECTED))[:cut], AT))
    assert half is None or not public_domain(half.copyright)


@pytest.mark.parametrize(
    "stray", ["<![ation]]>", "<![if !IE]>", "<![CDATA[x]]>", "<!x", "<?y", "&#99999999;", "</>", "<a href='http://[x'>"]
)
def test_stray_marks_do_not_stop_the_reading(stray):
    page = span_page(RECORD).replace(b"<nav>", f"<nav>{stray}>".encode())
    assert read_record(read_page(page, AT)).number == "2423"


@pytest.mark.parametrize(
    "line",
    [
        "",
        "None",
        "Unknown",
        PROTECTED,
        f"{FREE} {PROTECTED}",
        "This image is not in the public domain.",
        "This image is no longer in the public domain",
        "This image is in the public domain unless stated otherwise",
        "© 1999. This image is in the public domain.",
        "Used by permission. This image is in the public domain.",
        "None of these images is in the public domain",
        "No part of this image is in the public domain",
        "This image is in the public domain only in the United States; elsewhere it is protected by copyright",
        "This image is in the public domain only in the United States",
        "It was thought that this image is in the public domain; it is copyright of X",
        "We doubt that this image is in the public domain",
    ],
)
def test_what_does_not_plainly_say_public_domain_is_not(line):
    assert not public_domain(line)


@pytest.mark.parametrize("what", ["image", "photograph", "illustration"])
def test_what_plainly_says_so_is(what):
    assert public_domain(f"None - This {what} is in the public domain and thus free of any copyright restrictions.")


def test_two_copyright_lines_that_differ_are_not_free():
    twice = span_page(RECORD).replace(
        b"</form>", f"<div><b>Copyright Restrictions:</b> {PROTECTED}</div></form>".encode()
    )
    assert not public_domain(read_record(read_page(twice, AT)).copyright)


@pytest.mark.parametrize(
    "page", [b"", b"<html>Sorry</html>", b"<b>Description:</b> x <b>Links:</b>", b"<b>ID#:</b> none"]
)
def test_a_page_without_a_record_is_no_record(page):
    assert read_record(read_page(page, AT)) is None


def test_pictures_are_this_records_and_not_its_neighbours():
    page = read_page(
        span_page(RECORD, folder="20040908/2d4664936550421d85a71364ed879b68", post_back=True).replace(
            b"<nav>",
            b"<nav><img src='/phil/PHIL_Images/24230/24230_lores.jpg'><img src='/phil/PHIL_Images/1/1_lores.jpg'>",
        ),
        "https://library.example/phil/Details.aspx?pid=2423",
    )
    read = read_record(page)
    assert [a.rpartition("/")[2] for a in read.pictures] == ["2423_lores.jpg"]
    assert read.post_back == ("ctl00$contentArea2$ucDetails$hlHighResDownload", "")
    assert page.form.hidden == {"__VIEWSTATE": "/wEP+2423=="}
