"""What is fetched lies under a hash, whole or not at all; the UID in a file is read as pydicom reads it."""

from __future__ import annotations

import io
import os
import time
import warnings
from pathlib import Path

import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)
from small_disk import BLOCK, small_disk

from overread.errors import SourceError
from overread.sources.asked import Asked, Series
from overread.sources.keys import Keys, authorization, tls
from overread.sources.shelf import Gone, Shelf, file_name, safe, sop_instance_uid

SERIES = Series(study="1.2", series="1.2.3")


def file_of(uid: str, syntax: str = ExplicitVRLittleEndian, *, meta_uid: str = "") -> bytes:
    """A small DICOM file, as pydicom writes it."""
    ds = pydicom.Dataset()
    ds.SpecificCharacterSet = "ISO_IR 100"
    ds.SOPClassUID = "1.2.840.10008.5.1.4.1.1.7"
    ds.SOPInstanceUID = uid
    ds.PatientName = "Nobody^At all"
    ds.file_meta = pydicom.dataset.FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = UID(syntax)
    ds.file_meta.MediaStorageSOPInstanceUID = meta_uid or uid
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID
    out = io.BytesIO()
    ds.save_as(out, enforce_file_format=True)
    return out.getvalue()


SYNTAXES = [ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian]


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_the_data_sets_own_uid_counts(syntax):
    assert sop_instance_uid(file_of("1.2.3.4", syntax, meta_uid="9.9")) == "1.2.3.4"


def test_pydicom_reads_the_same_uid_in_its_own_files():
    """A second author, on real and on malformed files."""
    seen = 0
    for name in sorted((Path(pydicom.__file__).parent / "data" / "test_files").glob("*.dcm")):
        head = name.read_bytes()[: 32 << 10]
        if head[128:132] != b"DICM":
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # some of these files are malformed on purpose
            expected = str(pydicom.dcmread(name, stop_before_pixels=True).get("SOPInstanceUID"))
        seen += expected != "None"
        assert sop_instance_uid(head) in (expected, None), name.name
    assert seen > 20


@given(st.binary(max_size=2000))
def test_no_bytes_are_too_strange(noise):
    assert sop_instance_uid(bytes(128) + b"DICM" + noise) is None or len(noise) > 12


@given(st.integers(0, 5000), st.integers(0, 255))
def test_a_changed_byte_gives_a_uid_or_none(at, value):
    data = bytearray(file_of("1.2.3.4"))
    data[at % len(data)] = value
    uid = sop_instance_uid(bytes(data))
    assert uid is None or set(uid) <= set("0123456789.")


def test_whole_or_not_at_all(tmp_path):
    shelf = Shelf(tmp_path / "shelf")
    wanted = {"1.2.3.4": shelf.place(SERIES) / file_name("1.2.3.4")}
    content = file_of("1.2.3.4")

    def torn():
        yield content[:100]
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        shelf.keep(torn(), wanted)
    with pytest.raises(Gone, match="more than 10 bytes"):
        shelf.keep([content], wanted, largest=10)
    with pytest.raises(Gone, match="not asked for"):
        shelf.keep([file_of("6.6.6")], wanted)
    assert shelf.there(SERIES) == set() and list(shelf.partial.iterdir()) == []
    assert shelf.keep([content[:7], content[7:]], wanted) == "1.2.3.4"
    assert wanted["1.2.3.4"].read_bytes() == content
    assert shelf.there(SERIES) == {file_name("1.2.3.4")}
    assert wanted["1.2.3.4"].stat().st_mode & 0o777 == 0o600


def test_a_full_disk_is_told_as_such(tmp_path):
    with small_disk(tmp_path / "disk", size=BLOCK):
        other = tmp_path / "disk" / "other"
        other.write_bytes(bytes(BLOCK))
        shelf = Shelf(tmp_path / "disk" / "shelf")
        wanted = {"1.2": shelf.place(SERIES) / file_name("1.2")}
        with pytest.raises(OSError, match="No space"):
            shelf.keep([file_of("1.2")], wanted)
        assert [p for p in tmp_path.rglob("*") if p.is_file()] == [other]
        other.unlink()
        assert shelf.keep([file_of("1.2")], wanted) == "1.2"  # with room, it comes


def test_what_a_killed_process_left_is_swept_after_a_day(tmp_path):
    shelf = Shelf(tmp_path / "shelf")
    old, young = shelf.partial / "old", shelf.partial / "young"
    for file in (old, young):
        file.write_bytes(b"half")
    os.utime(old, (time.time() - 90_000,) * 2)
    Shelf(tmp_path / "shelf")
    assert not old.exists() and young.exists()


@given(st.text(max_size=80))
def test_no_uid_is_a_path(text):
    assert set(safe(text)) <= set("0123456789abcdef") and len(safe(text)) == 32


# -- words and keys ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("words", [{"date": "2020-01-01"}, {"study": "../x"}, {"patient": "a\\b"}, {"study": "1" * 65}])
def test_words_that_cannot_be_asked(words):
    with pytest.raises(SourceError, match="expected"):
        Asked(**words)


def test_a_series_shows_no_identity():
    shown = repr(Series("1.2", "1.3", "CT", "20200101", "Chest of Mr Smith", "ID-7", "A-9", 4))
    assert shown == "Series(modality='CT', instances=4)"


def test_a_login_is_read_from_a_file_of_ones_own(tmp_path):
    file = tmp_path / "login"
    file.write_text("me:p:w\n")
    file.chmod(0o600)
    assert authorization(str(file)) == "Basic bWU6cDp3"
    file.chmod(0o640)
    with pytest.raises(SourceError, match="mode 0640"):
        authorization(str(file))
    for content in ("", "me:a\nme:b\n", "justaword"):
        file.write_text(content)
        file.chmod(0o600)
        with pytest.raises(SourceError):
            authorization(str(file))
    with pytest.raises(SourceError, match="no login file"):
        authorization(str(tmp_path / "nowhere"))


def test_certificates_that_are_none(tmp_path):
    (tmp_path / "ca.pem").write_text("no certificate")
    for keys in (Keys(ca=str(tmp_path / "ca.pem")), Keys(ca=str(tmp_path / "nowhere"))):
        with pytest.raises(SourceError, match="a file given with ca="):
            tls(keys)
