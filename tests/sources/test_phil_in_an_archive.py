"""``overread collect phil:…``: pictures in the archive with their credit, refusals among the refused, labels by number."""

from __future__ import annotations

import functools
from concurrent.futures import ThreadPoolExecutor

import pytest
from local_library import FREE, PROTECTED, Library, picture, record, span_page

from overread.errors import NothingToDo
from overread.formats.door import read
from overread.sources.manners import Manners
from overread.steps.collect import collect
from overread.steps.inspect import inspect
from overread.store.archive import Archive
from overread.store.journal import exclusive


@pytest.fixture
def library(site, other_site, monkeypatch) -> Library:
    monkeypatch.setattr("overread.sources.phil.Manners", functools.partial(Manners, pause_s=0.0))
    local = Library(site, other_site)
    local.add("2423")
    local.add("2424", tif=picture("PNG", seed=1))
    local.add("2425", page=span_page(record("2425", copyright=PROTECTED)))
    return local


def test_pictures_come_into_the_archive_with_what_their_records_say(library, tmp_path):
    word = f"phil:2423-2426?site={library.address}"
    collected = collect(word, into=tmp_path / "a", workers=1, progress=False)
    assert collected.read == 2 and collected.images == 2
    assert {(r["file"], r["code"]) for r in collected.refused} == {
        ("phil:2425", "not-public-domain"),
        ("phil:2426", "no-such-record"),
    }
    with Archive.open(tmp_path / "a") as archive:
        said = {r.attributes["source_number"]: r.attributes for r in archive.images()}
    assert said["2423"]["credit"] == "Marion Müller" and said["2423"]["copyright"] == FREE
    assert said["2424"]["format"] == "PNG" and said["2424"]["copyright_checked"] == "public domain"
    refused = inspect(tmp_path / "a").files["refused"]
    assert {r["file"] for r in refused} == {"phil:2425", "phil:2426"}


def test_what_a_person_may_use_after_all_is_no_longer_refused(library, tmp_path):
    for options in ("", "&any-copyright"):
        collect(f"phil:2425,2423?site={library.address}{options}", into=tmp_path / "a", workers=1, progress=False)
    assert inspect(tmp_path / "a").files["refused"] == []
    with Archive.open(tmp_path / "a") as archive:
        checked = {r.attributes["source_number"]: r.attributes["copyright_checked"] for r in archive.images()}
    assert checked == {"2423": "public domain", "2425": "not checked: any copyright was asked for"}


def test_a_label_table_names_the_pictures_by_number(library, tmp_path):
    (tmp_path / "labels.csv").write_text("file,pneumonia\n2423.tif,1\n2424.tif,0\n")
    word = f"phil:2423,2424?site={library.address}"
    collect(word, into=tmp_path / "a", labels=tmp_path / "labels.csv", workers=1, progress=False)
    with Archive.open(tmp_path / "a") as archive:
        assert sorted(study.labels["pneumonia"] for study in archive.studies()) == [False, True]
        assert not any("categories" in study.labels for study in archive.studies())  # a shelf mark is no diagnosis


def test_a_second_run_asks_nothing_and_reads_nothing(library, tmp_path):
    word = f"phil:made-up?site={library.address}"
    collect(word, into=tmp_path / "a", workers=1, progress=False)
    library.front.asked.clear()
    again = collect(word, into=tmp_path / "a", workers=1, progress=False)
    assert (again.read, again.already, library.front.asked) == (0, 2, [])


def test_nothing_but_refusals_is_one_clear_line(library, tmp_path):
    with pytest.raises(NothingToDo, match="1 asked for and none brought; phil:2425: a picture that is not said to be"):
        collect(f"phil:2425?site={library.address}", into=tmp_path / "a", workers=1, progress=False)


def test_the_folder_read_by_itself_tells_the_same(library, tmp_path):
    """A colleague may hand the folder on: picture and record stay together."""
    collect(f"phil:2423?site={library.address}", into=tmp_path / "a", workers=1, progress=False)
    (image,) = read(tmp_path / "a.names" / "fetched" / "phil" / "pictures")
    assert image.attributes["source"] == "PHIL" and image.attributes["created"] == "1975"


def test_two_runs_into_one_archive_ask_one_after_the_other(library, tmp_path, capsys):
    """While another run holds the library's folder nothing is asked; then everything is."""
    word, root = f"phil:2423?site={library.address}", tmp_path / "a.names" / "fetched" / "phil"
    root.mkdir(parents=True)
    with ThreadPoolExecutor(1) as pool:
        with exclusive(root / "lock"):
            waiting = pool.submit(collect, word, into=tmp_path / "a", workers=1, progress=False)
            with pytest.raises(TimeoutError):
                waiting.result(timeout=0.5)
            assert library.front.asked == []
        assert waiting.result(timeout=30).read == 1
    assert "another run is fetching" in capsys.readouterr().err
