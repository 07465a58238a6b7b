"""Promise: whatever a header, its corners and its nested items say of a person does not leave with the image."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pydicom
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image as Picture
from PIL import PngImagePlugin
from planted_names import as_bytes, marker, planted_ct, survivors
from pydicom import Dataset
from pydicom.data import get_testdata_file
from pydicom.dataset import FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import JPEGBaseline8Bit

from overread.domain import Image
from overread.formats.deid import deidentify
from overread.formats.door import read
from overread.steps.collect import collect
from overread.steps.inspect import inspect
from overread.store.archive import Archive

KEY = b"a key that is only for the tests"


@pytest.fixture(scope="module")
def planted() -> tuple[Dataset, dict[str, bytes], bytes]:
    """The planted CT, its markers and its bytes. Values are planted as hostile files hold them: unchecked."""
    with pydicom.config.disable_value_validation(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(pydicom.config, "replace_un_with_known_vr", False)  # so that UN can be planted
        ds, markers = planted_ct()
        return ds, markers, as_bytes(ds)


def test_every_marker_is_in_the_file_before(planted):
    """The twin: the search finds each of the planted markers where nothing was removed."""
    _, markers, raw = planted
    assert len(markers) >= 90
    assert set(survivors(raw, markers)) == set(markers)


def test_no_marker_is_in_the_file_after(planted):
    _, markers, raw = planted
    clean = deidentify(pydicom.dcmread(io.BytesIO(raw)), key=KEY)
    assert survivors(as_bytes(clean), markers) == []


def test_no_marker_is_left_in_memory_built_datasets_either(planted):
    ds, markers, _ = planted
    assert survivors(as_bytes(deidentify(ds, key=KEY)), markers) == []


def test_a_leak_would_be_seen(planted):
    """The twin of the twin: one element put back by hand is found."""
    ds, markers, raw = planted
    clean = deidentify(pydicom.dcmread(io.BytesIO(raw)), key=KEY)
    clean.StationName = ds.StationName
    assert survivors(as_bytes(clean), markers) == ["StationName"]


@pytest.mark.parametrize("charset", ["ISO_IR 100", "ISO_IR 192", "ISO 2022 IR 87", "GB18030"])
def test_names_in_other_alphabets(charset):
    ds = pydicom.dcmread(get_testdata_file("CT_small.dcm"))
    ds.SpecificCharacterSet = ["", charset] if charset.startswith("ISO 2022") else charset
    name = {"ISO_IR 100": "Größwörth^Änne", "GB18030": "王^小东"}.get(charset, "山田^太郎")
    ds.PatientName = name
    ds.StudyDescription = name
    raw = as_bytes(ds)
    words = [
        w
        for part in name.split("^")
        for w in [
            part.encode(
                {"ISO_IR 100": "latin-1", "ISO_IR 192": "utf-8", "ISO 2022 IR 87": "iso2022_jp", "GB18030": "gb18030"}[
                    charset
                ]
            )
        ]
    ]
    words = [w.removeprefix(b"\x1b$B").removesuffix(b"\x1b(B") for w in words]
    assert all(w in raw for w in words)
    clean = as_bytes(deidentify(pydicom.dcmread(io.BytesIO(raw)), key=KEY))
    assert not any(w in clean for w in words)


_words = st.integers(0, 26**3 - 1).map(marker)
_keywords = st.sampled_from(
    [
        "PatientName",
        "ImageComments",
        "AccessionNumber",
        "SeriesDescription",
        "CodeMeaning",
        "TextValue",
        "OperatorsName",
    ]
)
_sequences = st.sampled_from(
    [
        "SourceImageSequence",
        "ReferencedImageSequence",
        "SharedFunctionalGroupsSequence",
        "PurposeOfReferenceCodeSequence",
        "AnatomicRegionSequence",
        "RequestAttributesSequence",
        "DerivationImageSequence",
        "ExposureSequence",
    ]
)
_items = st.recursive(
    st.dictionaries(_keywords, _words, max_size=3),
    lambda inner: st.dictionaries(_sequences, st.lists(inner, min_size=1, max_size=2), max_size=2),
    max_leaves=8,
)


def _item(tree: dict) -> Dataset:
    ds = Dataset()
    for keyword, value in tree.items():
        setattr(ds, keyword, [_item(i) for i in value] if isinstance(value, list) else value)
    return ds


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(tree=_items, sequence=_sequences)
def test_no_word_survives_any_nesting(tree, sequence):
    ds = pydicom.dcmread(get_testdata_file("CT_small.dcm"))
    setattr(ds, sequence, [_item(tree)])
    raw = as_bytes(ds)
    clean = as_bytes(deidentify(pydicom.dcmread(io.BytesIO(raw)), key=KEY))
    assert b"QXZ" not in clean


def test_comments_in_compressed_pixels():
    """A JPEG comment with a name in it is gone, and the picture is the same."""
    ds = pydicom.dcmread(get_testdata_file("SC_rgb_jpeg_dcmtk.dcm"))
    ds.BurnedInAnnotation = "NO"
    before = ds.pixel_array
    frame = next(pydicom.encaps.generate_frames(ds.PixelData, number_of_frames=1))
    word = marker(7).encode()
    comment = b"\xff\xfe" + (len(word) + 2).to_bytes(2, "big") + word
    exif = b"\xff\xe1" + (len(word) + 8).to_bytes(2, "big") + b"Exif\0\0" + word
    ds.PixelData = encapsulate([frame[:2] + comment + exif + frame[2:] + word])
    raw = as_bytes(ds)
    assert raw.count(word) == 3
    clean = deidentify(pydicom.dcmread(io.BytesIO(raw)), key=KEY)
    data = as_bytes(clean)
    assert word not in data
    assert clean.file_meta.TransferSyntaxUID == JPEGBaseline8Bit
    assert (pydicom.dcmread(io.BytesIO(data)).pixel_array == before).all()


def test_an_overlay_burned_into_unused_bits():
    """Bits beyond BitsStored are cleared; the pixel values are the same."""
    ds = pydicom.dcmread(get_testdata_file("MR_small.dcm"))
    values = ds.pixel_array.copy() & 0x0FFF
    ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 12, 11, 0
    ds.SmallestImagePixelValue = None
    ds.PixelData = (values.astype("<u2") | 0x8000).tobytes()
    clean = deidentify(ds, key=KEY)
    assert clean.PixelData == values.astype("<u2").tobytes()
    assert isinstance(clean.file_meta, FileMetaDataset)


# ── the archive ─────────────────────────────────────────────────────────────────────────────────────────────────────


def _everything_in(folder: Path) -> bytes:
    """Every byte of every file, the names of files, and what pictures hold compressed (text, profiles)."""
    told = b""
    for path in sorted(folder.rglob("*")):
        told += str(path.relative_to(folder)).encode() + b"\n"
        if path.is_file():
            told += path.read_bytes()
        if path.suffix == ".png":
            with Picture.open(path) as picture:
                told += repr(picture.info).encode()
    return told


@pytest.fixture(scope="module")
def collected(planted, tmp_path_factory) -> Path:
    """An archive of the planted CT, under a file's and a folder's name that are markers too, and inspected."""
    home = tmp_path_factory.mktemp("planted")
    _, markers, raw = planted
    ds = pydicom.dcmread(io.BytesIO(raw))
    name = markers["PatientName"].decode()
    ds.BodyPartExamined, ds.ViewPosition, ds.Manufacturer = name, name, f"Dr {name} private unit"
    ds.ManufacturerModelName = f"for {name} 19630217"
    folder = home / markers["PatientID"].decode()
    folder.mkdir()
    (folder / f"{markers['AccessionNumber'].decode()}.dcm").write_bytes(as_bytes(ds))
    picture = io.BytesIO()
    Picture.new("L", (32, 24), 7).save(picture, "PNG", pnginfo=_text(markers["OperatorsName"].decode()))
    (folder / f"{markers['StudyID'].decode()}.{markers['StationName'].decode()[:8]}").write_bytes(picture.getvalue())
    done = collect(folder, into=home / "archive", workers=1, progress=False)
    assert (done.read, done.refused) == (2, ())
    inspect(home / "archive", progress=False)
    return home / "archive"


def _text(word: str) -> PngImagePlugin.PngInfo:
    info = PngImagePlugin.PngInfo()
    info.add_text("Comment", word)
    return info


def test_no_marker_is_in_the_archive(planted, collected):
    assert (collected / "contact.png").is_file()
    left = survivors(_everything_in(collected), planted[1])
    assert left == []
    assert planted[1]["StationName"][:8].lower() not in _everything_in(collected).lower()  # a "suffix" that was a name


def test_the_search_sees_what_is_in_an_archive(planted, collected, tmp_path):
    """The twin: the shelf beside the archive has the names, and a study under the patient's own name is found."""
    _, markers, _ = planted
    assert {"PatientID", "AccessionNumber"} <= set(survivors(_everything_in(Path(f"{collected}.names")), markers))
    leaky = tmp_path / "archive"
    with Archive.create(leaky) as archive:
        word = markers["StationName"].decode()
        archive.put(Image(np.zeros((1, 8, 8), np.uint8), attributes={"Manufacturer": word}))
    assert survivors(_everything_in(leaky), markers) == ["StationName"]
    Picture.new("L", (8, 8)).save(leaky / "contact.png", pnginfo=_text(markers["OperatorsName"].decode()))
    assert set(survivors(_everything_in(leaky), markers)) == {"StationName", "OperatorsName"}


@pytest.mark.parametrize(("said", "code"), [("YES", "burned-in"), ("NO", None)])
def test_text_in_the_pixels_does_not_enter_an_archive_but_can_be_read_in_the_clinic(tmp_path, said, code):
    ds = pydicom.dcmread(get_testdata_file("CT_small.dcm"))
    ds.BurnedInAnnotation = said
    (tmp_path / "films").mkdir()
    (tmp_path / "films" / "a.dcm").write_bytes(as_bytes(ds))
    Picture.new("L", (32, 24), 7).save(tmp_path / "films" / "b.png")
    done = collect(tmp_path / "films", into=tmp_path / "archive", workers=1, progress=False)
    assert [r["code"] for r in done.refused] == ([code] if code else [])
    assert done.images == (1 if code else 2)
    assert len(read(tmp_path / "films" / "a.dcm")) == 1
