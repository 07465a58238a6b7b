"""A disc with its DICOMDIR: what it names is read, what is missing is named, what leads elsewhere is refused."""

from __future__ import annotations

import io
import shutil
import zipfile
from pathlib import Path

import pydicom
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence

from overread.formats import dicomdir
from overread.formats.door import Found, Refused, read, scan

BUNDLED = Path(pydicom.__file__).parent / "data" / "test_files" / "dicomdirtests"


@pytest.fixture
def disc(shared_data: Path, tmp_path: Path) -> Path:
    """A disc with four slices and its directory."""
    folder = shared_data / "dicom_series" / "hitachi" / "anatomical" / "001"
    files = sorted(folder.iterdir())
    (tmp_path / "disc" / "DICOM" / "ST1").mkdir(parents=True)
    for n, file in enumerate(files):
        shutil.copy(file, tmp_path / "disc" / "DICOM" / "ST1" / f"IM{n}")
    (tmp_path / "disc" / "DICOMDIR").write_bytes(directory(*(["DICOM", "ST1", f"IM{n}"] for n in range(len(files)))))
    return tmp_path / "disc"


def directory(*ids: list[str]) -> bytes:
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.1.3.10"
    ds.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
    ds.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.1"
    ds.DirectoryRecordSequence = Sequence()
    with pydicom.config.disable_value_validation():
        for one in ids:
            record = Dataset()
            record.DirectoryRecordType = "IMAGE"
            record.ReferencedFileID = one
            ds.DirectoryRecordSequence.append(record)
        buffer = io.BytesIO()
        ds.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def test_a_disc_reads_as_its_folder_does_and_the_directory_is_accounted_for(disc: Path, shared_data: Path) -> None:
    results = list(scan(disc))
    (found,) = (r for r in results if isinstance(r, Found))
    (index,) = (r for r in results if isinstance(r, Refused))
    assert index.code == "directory" and Path(index.file).name == "DICOMDIR" and " 4 files" in index.reason
    (reference,) = read(shared_data / "dicom_series" / "hitachi" / "anatomical" / "001")
    assert (found.image.voxels == reference.voxels).all()


def test_the_directory_alone_offers_what_it_names(disc: Path) -> None:
    (image,) = read(disc / "DICOMDIR")
    assert image.voxels.shape[0] == 4


def test_a_file_that_is_missing_from_the_disc_is_named(disc: Path) -> None:
    gone = sorted(p for p in disc.rglob("*") if p.is_file() and p.name != "DICOMDIR")[0]
    gone.unlink()
    missing = [r for r in scan(disc) if isinstance(r, Refused) and r.code == "missing-from-disc"]
    assert [r.file for r in missing] == [f"{disc / 'DICOMDIR'}!{gone.relative_to(disc).as_posix()}"]


def test_a_file_that_the_directory_does_not_name_is_still_offered(disc: Path, shared_data: Path) -> None:
    other = next((shared_data / "dicom_series" / "generic" / "compressed_rle").rglob("*.dcm"))
    shutil.copy(other, disc / "EXTRA")
    assert len([r for r in scan(disc) if isinstance(r, Found)]) == 2


@pytest.mark.parametrize(
    "parts", [["..", "bait.png"], ["A", "..", "..", "bait.png"], ["/etc", "passwd"], ["C:", "x"], ["A/../../bait.png"]]
)
def test_a_name_that_leads_off_the_disc_is_refused_and_never_opened(tmp_path: Path, parts: list[str]) -> None:
    (tmp_path / "bait.png").write_bytes(b"never to be opened")
    (tmp_path / "disc").mkdir()
    (tmp_path / "disc" / "DICOMDIR").write_bytes(directory(parts))
    for source in (tmp_path / "disc", tmp_path / "disc" / "DICOMDIR"):
        assert [r.code for r in scan(source)] == ["directory", "unsafe-name"]


def test_a_link_on_the_disc_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "bait").write_bytes(b"never to be opened")
    (tmp_path / "disc").mkdir()
    (tmp_path / "disc" / "IM1").symlink_to(tmp_path / "bait")
    (tmp_path / "disc" / "DICOMDIR").write_bytes(directory(["IM1"]))
    assert [r.code for r in scan(tmp_path / "disc" / "DICOMDIR")] == ["directory", "missing-from-disc"]


def test_names_in_small_letters_or_with_a_version_are_found(tmp_path: Path, shared_data: Path) -> None:
    (tmp_path / "dicom").mkdir()
    file = next((shared_data / "dicom_series" / "generic" / "compressed_rle").rglob("*.dcm"))
    shutil.copy(file, tmp_path / "dicom" / "im000001;1")
    (tmp_path / "DICOMDIR").write_bytes(directory(["DICOM", "IM000001"]))
    assert len(read(tmp_path / "DICOMDIR")) == 1


def test_a_damaged_directory_is_refused_and_hides_nothing(disc: Path) -> None:
    raw = (disc / "DICOMDIR").read_bytes()
    (disc / "DICOMDIR").write_bytes(raw[:600])
    results = list(scan(disc))
    assert any(isinstance(r, Found) for r in results)
    assert len([r for r in results if isinstance(r, Refused)]) >= 1


def test_pydicoms_own_discs_are_accounted_for() -> None:
    if not BUNDLED.is_dir():
        pytest.skip("this pydicom comes without its test discs")
    results = list(scan(BUNDLED / "DICOMDIR"))
    assert [r.code for r in results if isinstance(r, Refused) and r.code == "directory"] == ["directory"]
    assert len(results) > 1


def test_a_directory_in_a_zip_is_accounted_for(disc: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "disc.zip", "w") as archive:
        for file in sorted(disc.rglob("*")):
            archive.write(file, file.relative_to(disc))
    codes = [r.code for r in scan(tmp_path / "disc.zip") if isinstance(r, Refused)]
    assert codes == ["directory"]


def test_only_a_directory_is_taken_for_one(disc: Path) -> None:
    assert dicomdir.is_directory((disc / "DICOMDIR").read_bytes()[:4096])
    image = next(p for p in disc.rglob("*") if p.is_file() and p.name != "DICOMDIR")
    assert not dicomdir.is_directory(image.read_bytes()[:4096])
