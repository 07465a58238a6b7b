"""The header scanner never says anything that pydicom would not say; it may only leave the word to pydicom."""

from __future__ import annotations

import io
import random
import warnings
from pathlib import Path

import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence

from overread.errors import UnreadableFile
from overread.formats import headers
from overread.formats.headers import scan
from overread.formats.series_key import _by_pydicom, series_key

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # pydicom's own, about what is written on purpose
ASKED = (
    "Modality",
    "PatientID",
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "Rows",
    "ImagePositionPatient",
    "PixelSpacing",
)
SYNTAXES = ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.5", "1.2.840.10008.1.2.2")


def reference(raw: bytes) -> tuple[dict[str, bytes], bytes | None] | None:
    """What pydicom finds: the bytes of the asked values, and the pixels'; None where it raises."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            ds = pydicom.dcmread(io.BytesIO(raw), force=True, stop_before_pixels=True)
            found = {k: ds.get_item(k).value or b"" for k in ASKED if k in ds}
            ds = pydicom.dcmread(io.BytesIO(raw), force=True)
            pixels = ds.get_item("PixelData").value if "PixelData" in ds else None
        except Exception:  # the reference itself falls over damaged files in many ways
            return None
    return found, pixels


def agrees(raw: bytes) -> bool:
    """Check one file against pydicom, whole and through a small window; True when the scanner answered."""
    header = scan(raw, ASKED)
    for head in (0, 200, 1000):
        again = scan(raw[:head], ASKED, stream=io.BytesIO(raw))
        assert again == header or again is None
    if header is None:
        return False
    expected = reference(raw)
    assert expected is not None, "answered where pydicom cannot"
    assert header.values == expected[0]
    if header.pixels is not None and header.pixels[1] is not None and expected[1] is not None:
        begin, length = header.pixels
        assert raw[begin : begin + length] == expected[1]
    return True


def real_files(shared_data: Path) -> list[Path]:
    bundled = sorted((Path(pydicom.__file__).parent / "data").rglob("*.dcm"))
    ours = [p for folder in ("dicom_codecs", "dicom_series") for p in sorted((shared_data / folder).rglob("*"))]
    return [p for p in bundled + ours if p.is_file() and p.suffix != ".gz"]


def test_real_files_say_what_pydicom_says(shared_data: Path) -> None:
    answered = [agrees(path.read_bytes()) for path in real_files(shared_data)]
    assert sum(answered) > 0.75 * len(answered)


def test_series_keys_are_those_of_pydicom(shared_data: Path) -> None:
    for path in real_files(shared_data):
        with path.open("rb") as stream:
            head = stream.read(4096)
            fast, slow = series_key(stream, head), _by_pydicom(stream)
        assert fast == (slow if slow is not None and slow[2] else None), path.name


TEXT = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=40)
VALUES = {
    "PatientID": TEXT,
    "Modality": st.sampled_from(["CT", "MR", ""]),
    "StudyInstanceUID": st.sampled_from(["1.2.3", "2.25.4", ""]),
    "SeriesInstanceUID": st.sampled_from(["1.2.3.4", "2.25.41", ""]),
    "Rows": st.integers(0, 65535),
    "PixelSpacing": st.lists(st.floats(0.125, 9, width=16), min_size=2, max_size=2),
    "SpecificCharacterSet": st.sampled_from(["", "ISO_IR 100", "ISO_IR 192", "ISO_IR 13"]),
    "ImageComments": TEXT,
    "PatientName": TEXT,
    "InstitutionAddress": TEXT,
}


@st.composite
def datasets(draw: st.DrawFn, depth: int = 2) -> Dataset:
    ds = Dataset()
    for keyword in draw(st.sets(st.sampled_from(sorted(VALUES)))):
        setattr(ds, keyword, draw(VALUES[keyword]))
    if draw(st.booleans()):
        ds.add_new(0x00091001, "UN", draw(st.binary(max_size=30)) * 2)
        ds.add_new(0x00290010, "LO", "MAKER")
        ds.add_new(0x00291010, "OB", bytes(2 * draw(st.integers(0, 4000))))
    if depth and draw(st.booleans()):
        keyword = draw(st.sampled_from(["ReferencedImageSequence", "SharedFunctionalGroupsSequence"]))
        items = draw(st.lists(datasets(depth=depth - 1), max_size=3))
        for item in items:
            item.is_undefined_length_sequence_item = draw(st.booleans())
        setattr(ds, keyword, Sequence(items))
        ds[keyword].is_undefined_length = draw(st.booleans())
    return ds


@st.composite
def files(draw: st.DrawFn) -> bytes:
    ds = draw(datasets())
    ds.SOPClassUID = "1.2.840.10008.5.1.4.1.1.7"
    syntax = draw(st.sampled_from(SYNTAXES))
    if draw(st.booleans()):
        ds.add_new(0x7FE00010, "OW", bytes(2 * draw(st.integers(0, 20))))
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = syntax
    ds.file_meta.MediaStorageSOPClassUID = ds.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
    if syntax.endswith(".5") and "PixelData" in ds:
        ds["PixelData"].is_undefined_length = True
        ds.PixelData = pydicom.encaps.encapsulate([bytes(8)])
    buffer = io.BytesIO()
    ds.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


@settings(max_examples=200, deadline=None)
@given(files())
def test_legal_headers_are_read_as_pydicom_reads_them(raw: bytes) -> None:
    big_endian = b"1.2.840.10008.1.2.2\0" in raw[:400]
    assert agrees(raw) is not big_endian  # what is plain is answered, not merely left to pydicom
    assert series_key(io.BytesIO(raw), raw[:300]) == _slowly(raw)


@settings(max_examples=300, deadline=None)
@given(files(), st.randoms(use_true_random=False), st.integers(1, 6))
def test_damaged_headers_are_read_as_pydicom_reads_them_or_left_to_it(raw: bytes, rng: random.Random, n: int) -> None:
    damaged = bytearray(raw)
    for _ in range(n):
        at = rng.randrange(132, len(damaged))
        what = rng.random()
        if what < 0.5:
            damaged[at] = rng.randrange(256)
        elif what < 0.8:
            damaged[at : at + 2] = bytes(damaged[(b := rng.randrange(132, len(damaged))) : b + 2])
        else:
            del damaged[at : at + rng.randrange(1, 9)]
    agrees(bytes(damaged))
    assert series_key(io.BytesIO(damaged), bytes(damaged[:300])) == _slowly(bytes(damaged))


def _slowly(raw: bytes) -> tuple[str, str, str] | None:
    words = _by_pydicom(io.BytesIO(raw))
    return words if words is not None and words[2] else None


def test_the_check_can_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    """A scanner that takes the first of two equal tags, or believes a length, is found out."""
    file = plain(b"\x10\0\x20\0LO\2\0A \x10\0\x20\0LO\2\0B \x20\0\x0e\0UI\2\0" + b"1\0")
    assert agrees(file)
    monkeypatch.setattr(
        headers, "_take", lambda window, begin, end, vr, asked, values: values.setdefault(asked[0], b"A ")
    )
    with pytest.raises(AssertionError):
        agrees(file)


def plain(body: bytes, syntax: bytes = b"1.2.840.10008.1.2.1\0") -> bytes:
    return bytes(128) + b"DICM" + b"\x02\0\x10\0UI" + bytes([len(syntax), 0]) + syntax + body


SERIES = b"\x20\0\x0e\0UI\4\0" + b"1.2\0"


@pytest.mark.parametrize(
    "body",
    [
        b"\x10\0\x20\0LO\xff\xffAB",  # a length beyond the file's end
        b"\x10\0\x20\0UN\0\0\2\0\0\0A " + SERIES,  # another VR than the dictionary's
        b"\x10\0\x20\0XX\2\0A " + SERIES,  # no VR of the Standard
        b"\x08\0\x40\x11SQ\0\0\xff\xff\xff\xff" + SERIES,  # a sequence that does not begin with an item
        b"\x08\0\x40\x11SQ\0\0\xff\xff\xff\xff\xfe\xff\0\xe0\5\0\0\0" + SERIES,  # an item that ends inside an element
        b"\x09\0\1\x10OB\0\0\xff\xff\xff\xff" + SERIES + b"\xfe\xff\xdd\xe0\0\0\0\0",  # bytes without a length
        b"\0\0\0\0\4\0\0\0\0\0\0\0" + SERIES,  # a command
        b"",
    ],
)
def test_what_is_unusual_is_left_to_pydicom(body: bytes) -> None:
    assert scan(plain(body), ASKED) is None
    assert series_key(io.BytesIO(plain(body)), plain(body)[:4096]) == _slowly(plain(body))


def test_other_encodings_are_left_to_pydicom() -> None:
    for syntax in (b"1.2.840.10008.1.2.2\0", b"1.2.840.10008.1.2.1.99", b"1.2.3.4\0", b""):
        assert scan(plain(SERIES, syntax), ASKED) is None
    assert scan(SERIES, ASKED) is None
    assert scan(b"", ASKED) is None


def test_names_beyond_ascii_are_decoded_by_pydicom() -> None:
    name = "Jürgen".encode("latin-1") + b" \0"
    file = plain(b"\x08\0\5\0CS\x0a\0ISO_IR 100\x10\0\x20\0LO" + bytes([len(name), 0]) + name + SERIES)
    assert series_key(io.BytesIO(file), file[:4096]) == ("Jürgen", "", "1.2")


def test_nesting_and_headers_without_end_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    deep = b"\x08\0\x40\x11SQ\0\0\xff\xff\xff\xff\xfe\xff\0\xe0\xff\xff\xff\xff" * 5000
    assert scan(plain(deep), ASKED) is None
    monkeypatch.setattr(headers, "MOST_ELEMENTS", 100)
    with pytest.raises(UnreadableFile, match="more than 100 elements") as caught:
        scan(plain(b"\x09\0\1\x10LO\0\0" * 5000 + SERIES), ASKED)
    assert caught.value.code == "malformed"


def test_only_the_beginning_of_a_large_file_is_read() -> None:
    class Counting(io.BytesIO):
        taken = 0

        def read(self, size: int | None = -1) -> bytes:
            part = super().read(size)
            self.taken += len(part)
            return part

    body = b"\x29\0\x10\x10OB\0\0" + (1 << 24).to_bytes(4, "little") + bytes(1 << 24) + b"\xe0\x7f\x10\0OW\0\0\0\4\0\0"
    raw = plain(SERIES + body + bytes(1024))
    stream = Counting(raw)
    header = scan(raw[:4096], ASKED, stream=stream)
    assert header is not None and header.values == {"SeriesInstanceUID": b"1.2\0"}
    assert header.pixels == (len(raw) - 1024, 1024)
    assert stream.taken < 40_000


@pytest.mark.parametrize("patient", [b" A1 ", b"A1", b"  A1", b" J\xfc "])
def test_spaces_around_a_patient_number_mean_nothing(patient: bytes) -> None:
    patient += b" " * (len(patient) % 2)
    charset = b"\x08\0\5\0CS\x0a\0ISO_IR 100"
    file = plain(charset + b"\x10\0\x20\0LO" + bytes([len(patient), 0]) + patient + SERIES)
    assert series_key(io.BytesIO(file), file[:4096])[0] == patient.strip().decode("latin-1")
