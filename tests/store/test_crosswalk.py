"""The names shelf's book remembers what was read, and forgets it when the file has changed."""

from __future__ import annotations

import stat

import pytest

from overread.store.crosswalk import Crosswalk
from overread.store.entries import Offered, Source


@pytest.fixture
def book(tmp_path):
    with Crosswalk(tmp_path) as opened:
        yield opened


def offered(key: str, **more) -> Offered:
    return Offered(key, key, 1, 1, **more)


def store(
    book: Crosswalk,
    file: str,
    image: str,
    *,
    digest: str = "",
    present: tuple[str, ...] = (),
    keys: tuple[str, ...] = (),
    series: str = "",
) -> int:
    keys = keys or (file,)
    own = {"series": series} if series else {}
    source = Source(file, digest or f"d-{image}", image, own, {"labels": {"x": True}}, keys)
    book.begin((*present, *keys))
    return book.store([offered(k) for k in keys], [source])


def files(book: Crosswalk) -> list[tuple[str, str]]:
    return [(s.file, s.image) for s in book.sources()]


def test_it_is_for_its_owner_only(tmp_path, book):
    assert stat.S_IMODE((tmp_path / "crosswalk.sqlite").stat().st_mode) == 0o600


def test_what_was_offered_is_remembered_across_openings(tmp_path, book):
    store(book, "/a.png", "i1")
    book.store([offered("/t.txt", code="not-an-image", reason="text", reader="1")], ())
    with Crosswalk(tmp_path) as again:
        assert {k: o.code for k, o in again.offered().items()} == {"/a.png": None, "/t.txt": "not-an-image"}
        assert files(again) == [("/a.png", "i1")]


def test_a_changed_file_replaces_what_it_was(book):
    store(book, "/a.png", "i1")
    store(book, "/a.png", "i2")
    assert files(book) == [("/a.png", "i2")]


def test_a_series_that_grows_replaces_the_shorter_one(book):
    store(book, "/s/1.dcm", "short", keys=("/s/1.dcm", "/s/2.dcm"))
    store(book, "/s/1.dcm", "long", keys=("/s/1.dcm", "/s/2.dcm", "/s/3.dcm"))
    assert files(book) == [("/s/1.dcm", "long")]


def test_a_volume_outlives_its_first_file_and_not_all_of_them(book):
    store(book, "/s/1.dcm", "whole", keys=("/s/1.dcm", "/s/2.dcm"))
    book.store([offered("/s/1.dcm", code="truncated", reason="cut")], ())
    assert files(book) == [("/s/1.dcm", "whole")]  # the second is known and will not be read again
    book.store([offered("/s/2.dcm", code="truncated", reason="cut")], ())
    assert files(book) == []


@pytest.mark.parametrize("over", ["/s/1.dcm", "/s/2.dcm"])
@pytest.mark.parametrize("series", ["E2", ""])  # of another series, or a picture
def test_a_volume_outlives_a_file_that_now_holds_another_image(book, over, series):
    store(book, "/s/1.dcm", "whole", keys=("/s/1.dcm", "/s/2.dcm", "/s/3.dcm"), series="E1")
    store(book, over, "other", series=series, present=("/s/1.dcm", "/s/2.dcm", "/s/3.dcm"))
    assert {image for _, image in files(book)} == {"whole", "other"}
    assert book.outlived() == 1
    assert book.files_of([over]) == {over: [over]}
    book.say({over: {"labels": {"x": False}}})  # what is said of the file is not said of the volume
    assert {s.image: s.said["labels"]["x"] for s in book.sources()} == {"whole": True, "other": False}


def test_twin_a_series_that_is_read_again_replaces_what_it_was(book):
    keys = ("/s/1.dcm", "/s/2.dcm", "/s/3.dcm")
    for image, some in (("whole", keys), ("changed", keys), ("shorter", keys[:2])):
        store(book, "/s/1.dcm", image, keys=some, series="E1")
        assert [image for _, image in files(book)] == [image]
    assert book.outlived() == 0


def test_a_moved_file_is_the_same_and_a_copy_is_not(book):
    store(book, "/old/a.png", "i1")
    assert store(book, "/new/a.png", "i1") == 1  # the old place was not offered in this run
    assert files(book) == [("/new/a.png", "i1")]
    assert store(book, "/third/a.png", "i1", present=("/new/a.png",)) == 0  # now both were offered
    assert files(book) == [("/new/a.png", "i1"), ("/third/a.png", "i1")]
    assert store(book, "/new/b.png", "i1") == 0  # another name is another file


def test_of_two_copies_of_a_moved_file_that_come_together_one_is_the_moved_one(book):
    store(book, "/old/a.png", "i1")
    new = [Source(f"/{place}/a.png", "d-i1", "i1", {}, {}, (f"/{place}/a.png",)) for place in "xy"]
    book.begin(["/x/a.png", "/y/a.png"])
    assert book.store([offered("/x/a.png"), offered("/y/a.png")], new) == 1
    assert files(book) == [("/x/a.png", "i1"), ("/y/a.png", "i1")]


@pytest.mark.parametrize("member", ["", "!a.png"])
def test_a_copy_is_no_move_while_the_first_still_lies_there(book, tmp_path, member):
    (tmp_path / "a.png").touch()
    first, second = f"{tmp_path}/a.png{member}", "/other-patient/a.png"
    store(book, first, "i1")
    assert store(book, second, "i1") == 0
    assert sorted(files(book)) == sorted([(first, "i1"), (second, "i1")])


def test_twin_a_member_that_its_archive_no_longer_holds_was_moved(book, tmp_path):
    (tmp_path / "a.zip").touch()
    store(book, f"{tmp_path}/a.zip!a.png", "i1")
    assert store(book, f"{tmp_path}/a.zip!b/a.png", "i1", present=(f"{tmp_path}/a.zip",)) == 1
    assert files(book) == [(f"{tmp_path}/a.zip!b/a.png", "i1")]


def test_what_comes_back_to_the_place_it_was_moved_from_is_read_again(book):
    store(book, "/old/a.png", "i1")
    store(book, "/new/a.png", "i1")
    assert book.known(["/old/a.png"]) == {}


def test_what_is_said_later_is_added(book):
    store(book, "/a.png", "i1")
    book.say({"/a.png": {"labels": {"y": False}, "patient": "P1"}})
    book.say({"/a.png": {"labels": {"x": None}}, "/nowhere.png": {"patient": "P2"}})
    assert [s.said for s in book.sources()] == [{"labels": {"x": None, "y": False}, "patient": "P1"}]


def test_rows_without_a_file_are_remembered_until_the_table_is_used_again(book):
    book.store([offered("/t/l.csv", code="not-an-image", reason="text")], ())
    book.note_table(
        "/t/l.csv",
        ("label-table", "it is the table"),
        missing=[("a.png", "missing-file", "line 2"), ("b.png", "missing-file", "line 3")],
    )
    book.note_table("/t/l.csv", ("label-table", "it is the table"), missing=[("b.png", "missing-file", "line 3")])
    assert [(o.name, o.code, o.within) for o in book.offered().values()] == [
        ("/t/l.csv", "label-table", "/t/l.csv"),
        ("b.png", "missing-file", "/t/l.csv"),
    ]
