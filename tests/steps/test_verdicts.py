"""Every image gets a verdict, and what spoils a result is found by looking at the pixels."""

from __future__ import annotations

import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Picture
from PIL import ImageDraw, ImageFont

from overread import cli
from overread.domain import Image, Study, noted
from overread.errors import IntegrityError
from overread.imaging import fonts
from overread.imaging.phantom_body import draw_body
from overread.imaging.phantom_exposure import Detector, expose
from overread.steps.collect import collect
from overread.steps.inspect import inspect
from overread.steps.looks import NAME
from overread.store.archive import Archive

N = 30


@pytest.fixture(scope="module")
def films() -> list[np.ndarray]:
    made = []
    for seed in range(N):
        rng = np.random.default_rng(seed)
        film = expose(draw_body(rng, sex="FM"[seed % 2]), view="PA", size=128, detector=Detector(), rng=rng)
        made.append((film / film.max() * 190).astype(np.uint8))
    return made


def film_image(film: np.ndarray, **more) -> Image:
    return Image(film[None], full_range=(0, 255), modality="DX", **more)


@pytest.fixture
def archive(films, tmp_path):
    """Films of 30 patients; planted: a mirrored copy, a copy with another answer, writing, a dark film, a copied file."""
    half = np.asarray(Picture.fromarray(films[2]).resize((64, 64), Picture.Resampling.BOX))
    written = Picture.fromarray(films[3])
    ImageDraw.Draw(written).text((3, 4), "SMITH ANNA", fill=255, font=ImageFont.truetype(str(fonts.path(False)), 14))
    extra = [films[1][:, ::-1], half, np.asarray(written), films[4] // 9]
    with Archive.create(tmp_path / "archive") as opened:
        names = [
            opened.put(film_image(f, notes=(noted("inverted", "turned"),) if i == 9 else ()))
            for i, f in enumerate(films)
        ]
        names += [opened.put(film_image(np.ascontiguousarray(f))) for f in extra]
        for i, name in enumerate(names):
            answer = (
                i % 2 == 0 if i < N else i == N + 3
            )  # the half-size copy of film 2 says no, the others as their film
            opened.add(Study(f"S{i:012}", (name,), f"P{i:012}", {"mass": answer}))
        opened.add(Study("S99", (names[5],), "P99", {"mass": False}))
        opened.names_of = names
        yield opened


def codes(told, archive, place: int) -> list[str]:
    return next(e["codes"] for e in told.each if e["image"] == archive.names_of[place])


def test_each_planted_fault_gets_its_code_and_nothing_else_does(archive):
    told = inspect(archive, progress=False)
    planted = {
        1: ["near-copy"],
        N: ["near-copy"],
        2: ["near-copy", "two-labels"],
        3: [],  # the writing is so large here that its copy is another picture
        5: ["same-picture"],
        9: ["inverted"],
    }
    for place in range(len(archive.names_of)):
        if place in (N + 1, N + 2, N + 3, 4):
            continue
        assert codes(told, archive, place) == planted.get(place, []), place
    assert set(codes(told, archive, N + 1)) >= {"near-copy", "outlier", "two-labels"}  # half the size is an odd size
    assert "outlier" in codes(told, archive, N + 3)
    assert "lettering" in codes(told, archive, N + 2)
    assert {p["way"] for p in told.near_copies} == {"the same", "mirrored"}


def test_verdicts_add_up(archive):
    told = inspect(archive, progress=False)
    assert sum(told.verdicts.values()) == told.images + len(told.files["refused"])
    assert told.verdicts["accepted with a note"] == sum(bool(e["codes"]) for e in told.each)
    assert {e["verdict"] for e in told.each} == {"accepted", "accepted with a note"}
    counts = {c["code"]: c["count"] for c in told.codes}
    for code, count in counts.items():
        assert count == sum(code in e["codes"] for e in told.each)


def test_the_machine_reads_what_the_person_reads(archive, capsys):
    assert cli.main(["inspect", str(archive.path), "--json", "--quiet"]) == 0
    told = json.loads(capsys.readouterr().out)
    one = next(e for e in told["each"] if e["image"] == archive.names_of[9])
    assert one == {
        "image": archive.names_of[9],
        "verdict": "accepted with a note",
        "codes": ["inverted"],
        "notes": ["turned"],
    }


def test_warnings_tell_what_the_pixels_show(archive):
    warnings = " | ".join(inspect(archive, progress=False).warnings)
    assert "of images of different patients are nearly the same picture" in warnings
    assert "stand under two answers to one label" in warnings
    assert "may have writing in their pixels" in warnings


def test_presentation_and_processing_mixed_are_told(films, tmp_path):
    with Archive.create(tmp_path / "a") as opened:
        for i, film in enumerate(films[:4]):
            intent = "FOR PRESENTATION" if i % 2 else "FOR PROCESSING"
            name = opened.put(film_image(film, attributes={"PresentationIntentType": intent}))
            opened.add(Study(f"S{i}", (name,)))
        assert "FOR PRESENTATION and FOR PROCESSING are mixed" in " ".join(inspect(opened, progress=False).warnings)


def test_looking_again_reads_no_pixels_and_says_the_same(archive, monkeypatch):
    first = inspect(archive, progress=False)
    page = Path(first.page).read_bytes()
    monkeypatch.setattr("overread.steps.looks._look", lambda *_: pytest.fail("an image was looked at again"))
    assert inspect(archive, progress=False) == first
    assert Path(first.page).read_bytes() == page


def test_a_new_image_is_looked_at_and_the_others_are_kept(archive, films, monkeypatch):
    inspect(archive, progress=False)
    seen = []
    from overread.steps import looks

    real = looks._look
    monkeypatch.setattr(
        "overread.steps.looks._look", lambda objects, record: (seen.append(record.hash), real(objects, record))[1]
    )
    name = archive.put(film_image(255 - films[7]))
    archive.add(Study("S100", (name,), "P100"))
    told = inspect(archive, progress=False)
    assert seen == [name]
    assert "near-copy" in next(e["codes"] for e in told.each if e["image"] == name)


@pytest.mark.parametrize("damage", [b"", b"no zip", None])
def test_a_damaged_cache_is_made_again(archive, damage):
    first = inspect(archive, progress=False)
    file = archive.path / NAME
    file.write_bytes(file.read_bytes()[:-900] if damage is None else damage)
    assert inspect(archive, progress=False) == first


def test_the_cache_of_another_version_is_made_again(archive, monkeypatch):
    first = inspect(archive, progress=False)
    monkeypatch.setattr("overread.steps.looks._VERSION", 999)
    assert inspect(archive, progress=False) == first


def test_missing_voxels_are_told(archive):
    shutil.rmtree(next((archive.path / "objects").iterdir()))
    with pytest.raises(IntegrityError, match="missing or cut short"):
        inspect(archive, progress=False)


def test_too_many_images_are_not_compared_and_that_is_told(archive, monkeypatch):
    monkeypatch.setattr("overread.steps.verdicts.MOST_COMPARED", 10)
    told = inspect(archive, progress=False)
    assert told.near_copies is None and told.seen["near_copies"] is None
    assert "near copies were not looked for" in " ".join(told.warnings)
    assert "too many images to compare" in Path(told.page).read_text("utf-8")


# -- the page --------------------------------------------------------------------------------------------------------


class _Reader(HTMLParser):
    """Collect what a page would fetch, its pictures' descriptions, and its anchors."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.fetched, self.alts, self.ids, self.links = [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        said = dict(attrs)
        if tag == "img":
            self.alts.append(said.get("alt", ""))
        if tag in ("img", "script", "link", "iframe", "source") and not said.get("src", "data:").startswith("data:"):
            self.fetched.append(tag)
        if tag in ("script", "link"):
            self.fetched.append(tag)
        self.ids.append(said.get("id"))
        if tag == "a":
            self.links.append(said.get("href", ""))


def test_the_page_is_one_file_that_fetches_nothing_and_describes_its_pictures(archive):
    text = Path(inspect(archive, progress=False).page).read_text("utf-8")
    page = _Reader(text)
    assert page.fetched == [] and "url(" not in text and "@import" not in text
    assert len(page.alts) > 30 and all(page.alts)
    for anchor in page.links:
        assert anchor.startswith("#") and anchor[1:] in page.ids
    for words in ("near-copy", "two-labels", "SMITH"):
        assert (words in text) is (words != "SMITH")
    for section in (
        "Verdicts",
        "Who",
        "Copies",
        "Writing in the pixels",
        "Images that stand out",
        "What this does not say",
    ):
        assert f">{section}</h2>" in text


def test_the_page_in_the_archive_holds_no_file_name_and_one_elsewhere_does(films, tmp_path):
    folder = tmp_path / "Smith Anna"
    folder.mkdir()
    for i, film in enumerate(films[:3]):
        Picture.fromarray(film).save(folder / f"smith_anna_{i}.png")
    (folder / "letter_of_smith.txt").write_text("Dear colleague")
    (folder / "<img src=x onerror=alert(1)>.png").write_bytes(b"")
    collect(folder, into=tmp_path / "archive", progress=False, workers=1)
    told = inspect(tmp_path / "archive", progress=False)
    inside = Path(told.page).read_text("utf-8")
    assert "mith" not in inside and "not-an-image" in inside and "empty-file" in inside
    inspect(tmp_path / "archive", page=tmp_path / "page.html", progress=False)
    outside = (tmp_path / "page.html").read_text("utf-8")
    assert "letter_of_smith.txt" in outside and "keep it as you keep the files" in outside
    assert "<img src=x" not in outside and "&lt;img src=x" in outside


def test_credits_of_a_public_library_stand_on_the_page(films, tmp_path):
    said = {
        "source": "PHIL",
        "source_number": "2423",
        "credit": "CDC / Dr. <b>A. Person</b>",
        "copyright": "None",
        "copyright_checked": "public domain",
        "description": "A film.",
        "address": "javascript:alert(1)",
    }
    with Archive.create(tmp_path / "a") as opened:
        opened.add(Study("S1", (opened.put(film_image(films[0], attributes=said)),)))
        opened.add(
            Study("S2", (opened.put(film_image(films[1], attributes={**said, "address": "https://example.org/1"})),))
        )
        text = Path(inspect(opened, progress=False).page).read_text("utf-8")
    assert "PHIL 2423 · CDC / Dr. &lt;b&gt;A. Person&lt;/b&gt; · public domain" in text
    assert 'href="https://example.org/1"' in text and "javascript:" not in text
    assert re.search(r"Credits</h2>\s*<ul><li>CDC", text)


def test_an_empty_archive_has_a_page(tmp_path):
    with Archive.create(tmp_path / "a") as opened:
        told = inspect(opened, progress=False)
    assert "0 images" in Path(told.page).read_text("utf-8")


def test_every_kind_of_image_can_stand_on_the_page(tmp_path):
    rng = np.random.default_rng(0)
    with Archive.create(tmp_path / "a") as opened:
        kinds = [
            Image(rng.normal(0, 300, (6, 20, 30)).astype(np.float32), unit="HU", modality="CT", spacing_mm=(5, 1, 2)),
            Image(rng.integers(0, 255, (1, 30, 20, 3), np.uint8), full_range=(0, 255)),
            Image(np.full((1, 16, 16), np.nan, np.float32)),
            Image(np.zeros((1, 8, 8), bool)),
            Image(rng.integers(0, 9, (64, 64, 4)).astype(np.int16), modality="MR"),
        ]
        for i, image in enumerate(kinds):
            opened.add(Study(f"S{i}", (opened.put(image),)))
        told = inspect(opened, progress=False)
    text = Path(told.page).read_text("utf-8")
    for heading in ("CT volumes (HU)", "Pictures in colour", "MR volumes"):
        assert heading in text
