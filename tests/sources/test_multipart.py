"""A multipart answer is taken apart rightly however it is cut into pieces, and refused when it is not whole."""

from __future__ import annotations

import email.policy
import io
from email.parser import BytesParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overread.sources.multipart import BadMultipart, boundary_of, parts

PART = st.binary(max_size=300).filter(lambda b: b"--XyZ" not in b)


def message(contents: list[bytes], *, preamble: bytes = b"") -> bytes:
    head = b"\r\n--XyZ\r\nContent-Type: application/dicom\r\n\r\n"
    return preamble + b"".join(head + content for content in contents) + b"\r\n--XyZ--\r\n"


def in_pieces(body: bytes, sizes: list[int]):
    """Return a ``read`` that gives so many bytes each time, as a network does."""
    stream, left = io.BytesIO(body), list(sizes)
    return lambda most: stream.read(min(most, left.pop() if left else 7))


def taken(read, *, most: int = 20) -> list[bytes]:
    return [b"".join(part) for part in parts(read, b"XyZ", most=most)]


@given(st.lists(PART, min_size=1, max_size=5), st.lists(st.integers(1, 64), max_size=200), st.booleans())
def test_every_part_comes_out_as_it_went_in(contents, sizes, preamble):
    body = message(contents, preamble=b"hello" if preamble else b"")
    assert taken(in_pieces(body, sizes)) == contents


@given(st.lists(PART, min_size=1, max_size=3), st.data())
def test_what_ends_before_its_closing_boundary_is_refused(contents, data):
    body = message(contents).removesuffix(b"--\r\n")
    cut = data.draw(st.integers(0, len(body)))
    with pytest.raises(BadMultipart):
        taken(io.BytesIO(body[:cut]).read)


def test_the_standard_library_reads_the_same():
    """A second author, on text, which is all that it can read."""
    body = message([b"first\r\nsecond line", b"another"])
    whole = b'Content-Type: multipart/related; boundary="XyZ"\r\n' + body
    theirs = [p.get_payload(decode=True) for p in BytesParser(policy=email.policy.HTTP).parsebytes(whole).iter_parts()]
    assert taken(io.BytesIO(body).read) == theirs


@pytest.mark.parametrize(
    "body, words",
    [
        (message([b"a"] * 4), "more than 3 parts"),
        (bytes(40_000), "no boundary"),
        (b"--XyZ\r\nContent-Type: text/html\r\n\r\nx\r\n--XyZ--", "type text/html"),
        (b"--XyZ\r\nX: " + b"y" * 40_000, "header does not end"),
        (b"", "ends before"),
    ],
)
def test_what_is_refused(body, words):
    with pytest.raises(BadMultipart, match=words):
        taken(io.BytesIO(body).read, most=3)


@pytest.mark.parametrize(
    "kind", ["text/html", "multipart/related", "multipart/related; boundary=", 'multipart/mixed; boundary="a"']
)
def test_an_answer_without_a_boundary_is_refused(kind):
    with pytest.raises(BadMultipart):
        boundary_of(kind)
