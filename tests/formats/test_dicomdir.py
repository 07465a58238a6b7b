"""A disc with its DICOMDIR: what it names is read, what is missing is named, what leads elsewhere is refused."""

from __future__ import annotations

import gc
import io
import shutil
import tarfile
import warnings
import zipfile
from pathlib import Path

import pydicom
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.fileset import FileSet
from pydicom.sequence import Sequence

from overread.domain import code_of
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


def _notes(source: Path) -> list[list[str]]:
    """What each volume says of files that were lost."""
    found = [r for r in scan(source) if isinstance(r, Found)]
    return [[n for n in f.image.notes if code_of(n) == "files-lost"] for f in found]


@pytest.fixture
def two_series(shared_data: Path, tmp_path: Path) -> tuple[Path, list[Path]]:
    """A disc with two series in one folder, its directory pydicom's, and the files of each, in their order."""
    folder, files, names = shared_data / "dicom_series" / "hitachi" / "anatomical" / "001", FileSet(), {}
    for series in ("1.2.3.1", "1.2.3.2"):
        slices = sorted(map(pydicom.dcmread, folder.iterdir()), key=lambda ds: list(ds.ImagePositionPatient))
        for n, ds in enumerate(slices):
            ds.StudyDate, ds.StudyTime, ds.StudyID = "20200101", "10", "1"
            ds.SeriesInstanceUID, ds.SOPInstanceUID = series, f"{series}.{n}"
            ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
            ds.SeriesNumber, ds.InstanceNumber = int(series[-1]), n + 1
            files.add(ds)
            names[ds.SOPInstanceUID] = series
    files.write(tmp_path / "two")
    of = {str(i.SOPInstanceUID): Path(i.path) for i in FileSet(tmp_path / "two" / "DICOMDIR")}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # a FileSet leaves its temporary folder to the collector
        del files
        gc.collect()
    return tmp_path / "two", [of[uid] for uid in sorted(names)]


def test_a_disc_in_a_tar_is_known_by_its_directory(two_series: tuple[Path, list[Path]], tmp_path: Path) -> None:
    disc, files = two_series
    files[0].unlink()
    with tarfile.open(tmp_path / "disc.tar", "w") as archive:
        archive.add(disc, "disc")
    assert _notes(tmp_path / "disc.tar") == _notes(disc) and any(_notes(disc))
    codes = sorted(r.code for r in scan(tmp_path / "disc.tar") if isinstance(r, Refused))
    assert codes == ["directory", "missing-from-disc"]


@pytest.mark.parametrize("gone", [(0,), (3,)])
def test_a_volume_whose_slice_is_missing_from_the_disc_says_so_and_no_other_does(
    two_series: tuple[Path, list[Path]], gone: tuple[int, ...]
) -> None:
    disc, files = two_series
    assert _notes(disc) == [[], []]
    for n in gone:
        files[n].rename(disc.parent / f"{n}")
    for source in (disc, disc / "DICOMDIR"):
        (note,) = (n for notes in _notes(source) for n in notes)
        assert f"{len(gone)} more file" in note and "may be cut short" in note
        first = next(r for r in scan(source) if isinstance(r, Found) and r.origin.series_uid == "1.2.3.1")
        assert note in first.image.notes


def test_a_slice_missing_from_a_disc_in_a_zip_is_told_of_too(
    two_series: tuple[Path, list[Path]], tmp_path: Path
) -> None:
    disc, files = two_series
    with zipfile.ZipFile(tmp_path / "disc.zip", "w") as archive:
        for file in sorted(f for f in disc.rglob("*") if f.is_file() and f != files[0]):
            archive.write(file, file.relative_to(disc))
    assert sorted(map(len, _notes(tmp_path / "disc.zip"))) == [0, 1]


def test_a_file_copied_under_another_name_is_not_missing_from_its_volume(two_series: tuple[Path, list[Path]]) -> None:
    disc, files = two_series
    for n, file in enumerate(files):
        file.rename(disc / f"flat{n}.dcm")
    assert len([r for r in scan(disc) if isinstance(r, Refused) and r.code == "missing-from-disc"]) == 8
    assert _notes(disc) == [[], []]


def test_where_the_directory_names_no_series_the_folder_hears_of_what_is_missing(disc: Path) -> None:
    (disc / "DICOM" / "ST1" / "IM0").unlink()
    for source in (disc, disc / "DICOMDIR"):
        ((note,),) = _notes(source)
        assert "1 more file beside it" in note


def test_records_that_point_at_each_other_end() -> None:
    ds = pydicom.dcmread(io.BytesIO(directory(["A", "1"], ["A", "2"])))
    ds.OffsetOfTheFirstDirectoryRecordOfTheRootDirectoryEntity = 0
    for record in ds.DirectoryRecordSequence:
        record.OffsetOfTheNextDirectoryRecord = record.OffsetOfReferencedLowerLevelDirectoryEntity = 0
    ds.DirectoryRecordSequence[0].SeriesInstanceUID = "1.2"
    buffer = io.BytesIO()
    ds.save_as(buffer)
    places = [record.seq_item_tell for record in pydicom.dcmread(io.BytesIO(buffer.getvalue())).DirectoryRecordSequence]
    ds.OffsetOfTheFirstDirectoryRecordOfTheRootDirectoryEntity = places[0]
    ds.DirectoryRecordSequence[0].OffsetOfReferencedLowerLevelDirectoryEntity = places[1]
    ds.DirectoryRecordSequence[1].OffsetOfTheNextDirectoryRecord = places[0]
    buffer = io.BytesIO()
    ds.save_as(buffer)
    assert [named.series for named in dicomdir.named_files(buffer.getvalue())] == ["", "1.2"]


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
