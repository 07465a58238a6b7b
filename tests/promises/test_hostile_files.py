"""No file can crash overread, hang it, fill the memory, or make it write where it was not told: a short run of the fuzzer.

The long one is ``python -m benchmarks fuzz --inputs 100000 --seed 0``; ``docs/robustness.md`` has its figures. What it
found is built here again, as small as it can be.
"""

from __future__ import annotations

import io
import struct
import tarfile
import tracemalloc
import zipfile
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from PIL import Image as Picture
from pydicom import dcmwrite
from pydicom.dataset import Dataset, FileMetaDataset

from benchmarks import fuzz
from overread.errors import IdentityRefused, LabelError, OverreadError, UnreadableFile
from overread.formats.clean_copy import clean_copy
from overread.formats.door import scan
from overread.formats.found import Refused
from overread.formats.labels import read_table
from overread.formats.parser import read_dataset
from overread.steps.collect import collect
from overread.store.archive import Archive

pytestmark = pytest.mark.timeout(120)


def test_1500_hostile_inputs_do_no_harm():
    tally = fuzz.run(0, 1500, seed=1, small=True)
    assert tally.defects == []
    assert tally.inputs == 1500
    assert min(tally.routes[way] for way in ("door", "clean", "collect", "damaged_archive")) >= 15
    assert tally.outcomes["read"] > 150  # they are not all nonsense
    assert len([o for o in tally.outcomes if o.startswith("refused: ")]) >= 8


def test_a_planted_crash_is_found_and_the_run_goes_on():
    """Twin: a reader that kills its process."""
    tally = fuzz.run(20, 25, seed=0, small=True, plant="crash")
    assert tally.inputs == 5
    assert any(why.startswith("a crash: SIGSEGV") for _, why in tally.defects)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("plant", "told"),
    [
        ("hang", "a hang: no answer"),
        ("raise", "KeyError: 'planted'"),
        ("write", "outside the archive"),
        ("tell", "holds an identifier"),
        ("memory", "MemoryError"),
        ("lose", "were accounted for"),
    ],
)
def test_any_other_planted_defect_is_found_too(plant, told):
    """Twins: each of the things that may never happen."""
    tally = fuzz.run(20, 35, seed=0, small=True, plant=plant, cpu_s=5, wall_s=3)
    assert tally.inputs == 15
    assert any(told in why for _, why in tally.defects)


# -- what was found -----------------------------------------------------------------------------------------------


def dicom(**changes: object) -> bytes:
    ds = Dataset()
    ds.SOPClassUID, ds.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.2", "1.2.3.4"
    ds.StudyInstanceUID, ds.SeriesInstanceUID = "1.2.3", "1.2.3.1"
    ds.PatientName, ds.PatientID, ds.Modality, ds.BurnedInAnnotation = "Q^ANN", "Q7", "CT", "NO"
    ds.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    ds.Rows = ds.Columns = 16
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 12, 11, 0
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.PixelData = np.arange(256, dtype="<u2").tobytes()
    for name, value in changes.items():
        setattr(ds, name, value)
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.1"
    out = io.BytesIO()
    dcmwrite(out, ds, enforce_file_format=True)
    return out.getvalue()


def codes(folder: Path, name: str, raw: bytes) -> list[str]:
    """Why a file is refused ("read" where it is not)."""
    (folder / name).write_bytes(raw)
    return [r.code if isinstance(r, Refused) else "read" for r in scan(folder / name)]


def zipped(**members: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, raw in members.items():
            archive.writestr(name, raw)
    return out.getvalue()


def png() -> bytes:
    out = io.BytesIO()
    Picture.fromarray(np.arange(256, dtype=np.uint8).reshape(16, 16)).save(out, "PNG")
    return out.getvalue()


def test_two_billion_frames_that_are_not_there(tmp_path):
    """A list of two billion frames was made before the pixels were counted: a hang."""
    assert codes(tmp_path, "a.dcm", dicom(NumberOfFrames=2**31 - 1)) == ["truncated"]


def test_a_header_without_end(tmp_path):
    """A tail of zeros is one empty element every eight bytes: minutes."""
    assert codes(tmp_path, "a.dcm", dicom() + bytes(8 * 60_000)) == ["malformed"]


@pytest.mark.parametrize("header", ["'''", "[1,\n 2", "(" * 5000, "{" * 3000])
def test_a_header_of_an_array_that_is_no_python(tmp_path, header):
    """NumPy's own reader of headers lets errors of Python's tokenizer through: a crash."""
    raw = b"\x93NUMPY\x01\0" + struct.pack("<H", len(header)) + header.encode()
    assert codes(tmp_path, "a.npz", zipped(**{"train_images.npy": raw})) == ["malformed"]


def test_a_shape_whose_product_wraps_round(tmp_path):
    head = b"{'descr': '|u1', 'fortran_order': False, 'shape': (4611686018427387905, 4, 4), }"
    raw = b"\x93NUMPY\x01\0" + struct.pack("<H", len(head)) + head
    (code,) = codes(tmp_path, "a.npz", zipped(**{"train_images.npy": raw}))
    assert code in ("too-large", "truncated", "malformed")


def test_two_values_where_one_belongs_do_not_leave(tmp_path):
    """``SamplesPerPixel`` 1\\1 was no number: a crash of the de-identifier."""
    for changes in ({"SamplesPerPixel": [1, 1]}, {"NumberOfFrames": [1, 1]}, {"PixelData": b""}):
        (tmp_path / "a.dcm").write_bytes(dicom(**changes))
        with pytest.raises(IdentityRefused):
            clean_copy(tmp_path / "a.dcm", key=bytes(32))


def test_a_transfer_syntax_that_is_no_uid_does_not_leave(tmp_path):
    """Its VR said text: a crash of the de-identifier."""
    raw = dicom()
    at = raw.index(b"\x02\0\x10\0UI") + 4
    (tmp_path / "a.dcm").write_bytes(raw[:at] + b"LO" + raw[at + 2 :])
    try:
        where, _ = clean_copy(tmp_path / "a.dcm", key=bytes(32))
        assert len(where.parts) == 4
    except (IdentityRefused, UnreadableFile):
        pass


def test_voxels_larger_than_the_solar_system(tmp_path):
    """1e200 mm, squared, is infinite: an image with an infinite spacing."""
    for far in (1e200, float("nan"), 1e30):
        image = nib.Nifti2Image(np.arange(729, dtype=np.int16).reshape(9, 9, 9), np.eye(4))
        raw = bytearray(image.to_bytes())
        for n in range(3):
            struct.pack_into("<d", raw, 400 + 40 * n, far)  # the diagonal of the sform
        assert codes(tmp_path, "a.nii", bytes(raw)) == ["malformed"]
    lies = {"ImagePositionPatient": [0, 0, 0], "ImageOrientationPatient": [1, 0, 0, 0, 1, 0], "PixelSpacing": [1, 1]}
    assert codes(tmp_path, "a.dcm", dicom(**lies, SliceThickness="3")) == ["read"]
    assert codes(tmp_path, "b.dcm", dicom(**lies, SliceThickness="1e200")) == ["malformed"]


def test_a_column_as_long_as_a_book_is_not_repeated(tmp_path):
    (tmp_path / "a.csv").write_text("b" * 5000 + ",two words\r and more,mass\na.png,1,1\n")
    with pytest.raises(LabelError) as refused:
        read_table(tmp_path / "a.csv")
    assert len(str(refused.value)) < 300 and "\r" not in str(refused.value)


def test_a_tar_that_is_longer_than_the_universe(tmp_path):
    """A size of 8 · 10²⁷ bytes cannot be stepped over: a crash."""
    about = tarfile.TarInfo("a.png")
    about.size = len(png())
    block = bytearray(about.tobuf(tarfile.GNU_FORMAT))
    block[124:136] = b"\x80" + b"\xff" * 11
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    assert "read" not in codes(tmp_path, "a.tar", bytes(block) + png().ljust(1024, b"\0") + bytes(1024))


def test_a_zip_member_without_a_name_or_in_another_packing(tmp_path):
    """Two engines found it, this one and a coverage-guided one: an IndexError of Python's own zipfile."""
    raw = zipped(a=png())
    at = raw.index(b"PK\x01\x02")
    nameless = raw[: at + 28] + b"\0\0\1\0" + raw[at + 32 :]  # the name's letter counts as an extra field
    assert codes(tmp_path, "a.zip", nameless) == ["malformed"]
    lzma = raw[:8] + b"\x0e\0" + raw[10 : at + 10] + b"\x0e\0" + raw[at + 12 :]
    assert "read" not in codes(tmp_path, "b.zip", lzma)


def test_a_length_of_four_gigabytes_is_given_no_memory(tmp_path):
    """``read(4 GiB)`` of a short file has the memory ready before it looks: 4 GiB for a kilobyte."""
    raw = dicom()
    at = raw.index(b"\x02\0\x01\0OB\0\0") + 8
    (tmp_path / "a.dcm").write_bytes(raw[:at] + b"\xf0\xff\xff\xff" + raw[at + 4 :])
    with open(tmp_path / "a.dcm", "rb") as stream, pytest.raises((EOFError, OSError, AttributeError, UnreadableFile)):
        tracemalloc.start()
        try:
            _ = read_dataset(stream).Rows
        finally:
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
            assert peak < 10 << 20


def test_an_archive_with_a_damaged_database_says_so(tmp_path):
    """SQLite's own words came through: a crash of ``verify``."""
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.png").write_bytes(png())
    collect(tmp_path / "in", into=tmp_path / "archive", progress=False, workers=1)
    raw = (tmp_path / "archive" / "archive.sqlite").read_bytes()
    for at in range(0, len(raw), 97):
        (tmp_path / "archive" / "archive.sqlite").write_bytes(raw[:at] + b"\xff" * 40 + raw[at + 40 :])
        try:
            with Archive.open(tmp_path / "archive") as archive:
                archive.verify()
                list(archive.studies())
        except OverreadError as error:
            assert "\n" not in str(error)  # SQLite quotes the damaged schema
            continue


@pytest.mark.parametrize(("vr", "value"), [("IS", "3"), ("FD", b"ORIGINAL\\PRIMARY\\AXIAL"), ("DS", "1.5\\2")])
def test_an_image_type_that_is_no_words_is_no_fault_of_ours(tmp_path, vr, value):
    from pydicom import dcmread
    from pydicom.data import get_testdata_file
    from pydicom.dataelem import RawDataElement
    from pydicom.tag import Tag

    ds = dcmread(get_testdata_file("CT_small.dcm"))
    raw = value if isinstance(value, bytes) else value.encode()
    raw += b" " * (len(raw) % 2)
    ds[0x00080008] = RawDataElement(Tag(0x00080008), vr, len(raw), raw, 0, False, True)
    dcmwrite(tmp_path / "a.dcm", ds, enforce_file_format=False)
    (result,) = scan(tmp_path / "a.dcm")
    assert not isinstance(result, Refused) or result.code == "malformed"
