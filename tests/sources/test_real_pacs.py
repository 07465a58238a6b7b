"""Collecting from real servers: Orthanc over DICOMweb and DIMSE, dcmqrscp over DIMSE; the same archive by every road."""

from __future__ import annotations

import fnmatch
import json
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pydicom
import pytest
from real_pacs import LOGIN, dcmqrscp, orthanc, replace_instance

import overread
from overread.errors import NothingToDo, OverreadError, SourceError
from overread.steps.find import find
from overread.steps.phantom import phantom
from overread.store.archive import Archive

pytestmark = pytest.mark.timeout(90)
REAL_SERIES = ("generic/compressed_*", "ge/anatomical", "hitachi/anatomical", "hyperfine/anatomical", "generic/rgb")
REAL_FILES = ("JPLL", "J2KR", "JLSL", "RLE")
UNCOMPRESSED = {"1.2.840.10008.1.2", "1.2.840.10008.1.2.1"}
JPEG_2000, RLE = "1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.5"
SENDS = {*UNCOMPRESSED, JPEG_2000, RLE}
"""What dcmqrscp is given; RLE it cannot send."""


@pytest.fixture(scope="module")
def scans(tmp_path_factory, shared_data) -> Path:
    """Films and CT of simulated patients, vendors' series in many transfer syntaxes; every instance once."""
    folder = tmp_path_factory.mktemp("scans")
    now = datetime(2026, 1, 31, 12, tzinfo=UTC)
    phantom(folder / "made" / "films", patients=4, size=64, now=now, workers=1, progress=False)
    phantom(folder / "made" / "ct", kind="ct", patients=2, size=32, now=now, workers=1, progress=False)
    out, seen = folder / "all", set()
    out.mkdir()
    files = sorted((folder / "made").rglob("*.dcm"))
    for pattern in REAL_SERIES:
        files += sorted(p for p in (shared_data / "dicom_series").glob(f"{pattern}/**/*.dcm"))
    for codec in REAL_FILES:
        files += sorted(p for p in (shared_data / "dicom_codecs" / codec).iterdir() if p.name[:3] in ("CT1", "MR1"))
    for file in files:
        uid = header(file).SOPInstanceUID
        if uid not in seen:
            seen.add(uid)
            shutil.copy(file, out / f"{len(seen):04d}.dcm")
    shutil.rmtree(folder / "made")
    return out


@pytest.fixture(scope="module")
def truth(scans) -> list[pydicom.Dataset]:
    return [header(file) for file in sorted(scans.iterdir())]


@pytest.fixture(scope="module")
def server(scans, tmp_path_factory):
    with orthanc(tmp_path_factory.mktemp("orthanc"), sorted(scans.iterdir())) as real:
        yield real


@pytest.fixture(scope="module")
def second(scans, tmp_path_factory):
    kept = [p for p in sorted(scans.iterdir()) if header(p).file_meta.TransferSyntaxUID in SENDS]
    with dcmqrscp(tmp_path_factory.mktemp("dcmqrscp"), kept) as real:
        yield real


@pytest.fixture(scope="module")
def from_folder(scans, tmp_path_factory) -> list:
    into = tmp_path_factory.mktemp("folder") / "archive"
    overread.collect(scans, into=into, workers=1, progress=False)
    return content(into)


def header(file: Path) -> pydicom.Dataset:
    return pydicom.dcmread(file, stop_before_pixels=True)


def content(path: Path) -> list:
    """What an archive says, without what depends on its key."""
    with Archive.open(path) as archive:
        archive.verify()
        patients = {name: i for i, name in enumerate(dict.fromkeys(s.patient for s in archive.studies() if s.patient))}
        studies = [(s.images, patients.get(s.patient), s.labels, s.strata, s.splits) for s in archive.studies()]
        return sorted(studies, key=repr) + [(r.hash, r.notes) for r in archive.images()]


def collect(word: str, into: Path, **options):
    return overread.collect(word, into=into, workers=1, progress=False, **options)


def modes(folder: Path) -> set[int]:
    return {path.stat().st_mode & 0o777 for path in [folder, *folder.rglob("*")] if path.is_dir()}


# -- one archive, whatever the road ---------------------------------------------------------------------------------


@pytest.mark.parametrize("road", ["web", "get", "move"])
def test_every_road_ends_in_the_same_archive(road, server, from_folder, scans, tmp_path):
    move = f"?retrieve=move&listen={server.listen}" if road == "move" else ""
    word = server.web if road == "web" else f"{server.dicom}{move}"
    done = collect(word, tmp_path / "a")
    assert content(tmp_path / "a") == from_folder
    assert len(from_folder) > 10
    count = len(list(scans.iterdir()))
    assert len(list((tmp_path / "a.names" / "fetched").rglob("*.dcm"))) == count
    assert modes(tmp_path / "a.names") == {0o700}
    assert f"{count:,} files" in done.notes[0]
    again = collect(word, tmp_path / "a")
    assert again.notes[0].startswith("0 files")
    assert (again.read, again.images) == (0, done.images)


@pytest.mark.parametrize("road", ["web", "get"])
def test_a_slice_that_the_pacs_replaced_takes_the_old_ones_place(road, tmp_path):
    phantom(
        tmp_path / "ct",
        kind="ct",
        patients=1,
        size=32,
        now=datetime(2026, 1, 31, 12, tzinfo=UTC),
        workers=1,
        progress=False,
    )
    files = sorted((tmp_path / "ct").rglob("*.dcm"))
    (home := tmp_path / "orthanc").mkdir()
    with orthanc(home, files) as real:
        word = real.web if road == "web" else real.dicom
        first = collect(word, tmp_path / "a")
        changed = pydicom.dcmread(files[len(files) // 2])
        old, new = str(changed.SOPInstanceUID), f"{changed.SOPInstanceUID}.9"
        changed.SOPInstanceUID = changed.file_meta.MediaStorageSOPInstanceUID = new
        changed.PixelData = bytes(len(changed.PixelData))
        changed.save_as(tmp_path / "new.dcm")
        replace_instance(real, old, tmp_path / "new.dcm")
        done = collect(word, tmp_path / "a")
    assert done.images == first.images == 1 and any("1 file" in note for note in done.notes)
    with Archive.open(tmp_path / "a") as archive:
        (study,) = archive.studies()
        volume = archive.image(study.images[0]).voxels
    assert volume.shape[0] == len(files)
    assert [k for k in range(len(files)) if np.ptp(volume[k]) == 0] == [
        len(files) // 2
    ]  # the new slice, in the old one's place


@pytest.mark.parametrize("road", ["get", "move"])
def test_a_pacs_that_cannot_send_everything(road, second, scans, tmp_path):
    """dcmqrscp gives no compressed files but JPEG 2000 (told so), by C-GET alone; the rest is told and left out whole."""
    can = UNCOMPRESSED | ({JPEG_2000} if road == "get" else set())
    series: dict[str, list[Path]] = {}
    for file in (p for p in sorted(scans.iterdir()) if header(p).file_meta.TransferSyntaxUID in SENDS):
        series.setdefault(header(file).SeriesInstanceUID, []).append(file)
    whole = {uid: f for uid, f in series.items() if {header(p).file_meta.TransferSyntaxUID for p in f} <= can}
    assert 5 < len(whole) < len(series)
    (tmp_path / "sendable").mkdir()
    for file in (f for files in whole.values() for f in files):
        shutil.copy(file, tmp_path / "sendable")
    overread.collect(tmp_path / "sendable", into=tmp_path / "expected", workers=1, progress=False)
    word = second.dicom if road == "get" else f"{second.dicom}?retrieve=move&listen={second.listen}"
    done = collect(word, tmp_path / "a")
    assert content(tmp_path / "a") == content(tmp_path / "expected")
    assert f"of {len(whole):,} series fetched" in done.notes[0]
    left = sum(int(note.split()[0]) for note in done.notes if "did not come whole" in note)
    assert left == len(series) - len(whole)


def test_what_is_stored_comes_as_it_is_stored(server, scans, tmp_path):
    """Over DICOMweb byte for byte, over C-GET in the transfer syntax it is stored in."""
    stored = {file.read_bytes() for file in scans.iterdir()}
    collect(server.web, tmp_path / "web")
    assert {p.read_bytes() for p in (tmp_path / "web.names" / "fetched").rglob("*.dcm")} == stored
    collect(server.dicom, tmp_path / "get")
    syntaxes = {header(p).SOPInstanceUID: header(p).file_meta.TransferSyntaxUID for p in scans.iterdir()}
    got = [header(p) for p in (tmp_path / "get.names" / "fetched").rglob("*.dcm")]
    assert {ds.SOPInstanceUID: ds.file_meta.TransferSyntaxUID for ds in got} == syntaxes
    assert len(set(syntaxes.values())) >= 5


# -- asking -----------------------------------------------------------------------------------------------------------


def fits(ds: pydicom.Dataset, modality="", date="", description="", patient="", accession="") -> bool:
    """The same question, asked of a header by another author: fnmatch, and plain comparison."""
    first, dash, last = date.partition("-")
    day = str(ds.get("StudyDate") or "")
    return (
        (not modality or ds.Modality in modality.split(","))
        and (not date or (bool(day) and ((first or "0") <= day <= (last or "9") if dash else day == first)))
        and fnmatch.fnmatchcase(str(ds.get("StudyDescription") or "").upper(), description.upper() or "*")
        and fnmatch.fnmatchcase(str(ds.get("PatientID") or ""), patient or "*")
        and fnmatch.fnmatchcase(str(ds.get("AccessionNumber") or ""), accession or "*")
    )


QUESTIONS = [
    {"modality": "CT"},
    {"modality": "CT,DX"},
    {"date": "20000101-20101231"},
    {"date": "20160101-"},
    {"date": "-20041231"},
    {"modality": "MR", "date": "20000101-20161231"},
    {"description": "*chest*"},
    {"patient": "*1"},
]


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda q: "&".join(f"{k}={v}" for k, v in q.items()))
def test_a_question_finds_what_the_headers_say(question, server, second, truth):
    files = sum(fits(ds, **question) for ds in truth)
    assert files, "a question that nothing answers tests nothing"
    words = "&".join(f"{k}={v}" for k, v in question.items())
    for real in (server.web, server.dicom, second.dicom):
        here = truth if real != second.dicom else [ds for ds in truth if ds.file_meta.TransferSyntaxUID in SENDS]
        expected = {str(ds.SeriesInstanceUID) for ds in here if fits(ds, **question)}
        found = find(f"{real}?{words}", progress=False)
        assert sum(s["series"] for s in found.studies) == len(expected), real
        assert {s["study"] for s in found.studies} == {str(ds.StudyInstanceUID) for ds in here if fits(ds, **question)}
        assert real == second.dicom or sum(s["files"] for s in found.studies) == files


def test_one_study_and_one_accession(server, truth):
    ds = next(ds for ds in truth if ds.get("AccessionNumber"))
    for real in (server.web, server.dicom):
        for word in (f"study={ds.StudyInstanceUID}", f"accession={ds.AccessionNumber}"):
            (study,) = find(f"{real}?{word}", progress=False).studies
            assert (study["study"], study["accession"], study["patient"]) == (
                ds.StudyInstanceUID,
                ds.AccessionNumber,
                ds.PatientID,
            )


def test_find_on_the_command_line(server):
    command = [sys.executable, "-m", "overread.cli", "find", f"{server.web}?modality=CT"]
    told = subprocess.run(command, capture_output=True, text=True, check=True)
    assert told.stdout.splitlines()[0].endswith("files")
    machine = json.loads(subprocess.run([*command, "--json"], capture_output=True, text=True, check=True).stdout)
    assert machine["studies"][0]["modality"] == "CT"


def test_several_queries_share_what_they_both_bring(server, tmp_path):
    """A larger query fetches only what a smaller one has not; a smaller one collects nothing of the larger one's rest."""
    collect(f"{server.web}?modality=CT", tmp_path / "a")
    done = collect(f"{server.web}?modality=CT,MR", tmp_path / "a")
    assert not done.notes[0].startswith("0 files") and ", 0 were here" not in done.notes[0]
    only_ct = collect(f"{server.web}?modality=CT", tmp_path / "b")
    assert only_ct.images < done.images


# -- what goes wrong, in one line -------------------------------------------------------------------------------------


def told(word: str, kind=SourceError) -> str:
    with pytest.raises(kind) as refusal:
        find(word, progress=False)
    line = str(refusal.value)
    assert "\n" not in line and "expected" in line
    return line


def test_nobody_wrong_names_and_nothing_found(server):
    assert "does not go by the AE title ELSEWHERE" in told(server.dicom.replace("ORTHANC", "ELSEWHERE"))
    nobody = server.dicom.rpartition(":")[0] + ":1"
    assert "127.0.0.1:1: Connection refused" in told(nobody)
    assert "Connection refused" in told("dicomweb:http://127.0.0.1:1/dicom-web")
    assert "no DICOMweb at this path (404)" in told(server.web.replace("dicom-web", "elsewhere"))
    assert "hung up" in told(f"dimse://ORTHANC@{server.web.split('//')[1].partition('/')[0]}")
    for real in (server.web, server.dicom):
        assert "the query finds no series" in told(f"{real}?modality=XX", NothingToDo)
        with pytest.raises(NothingToDo):
            find(f"{real}?study=1.2.3", progress=False)


def test_a_stranger_is_told_that_he_is_one(server):
    """Orthanc lets a stranger in and hangs up at the first question."""
    assert "ask whether it lets our AE title ask" in told(f"{server.dicom}?calling=STRANGER")


def test_a_move_to_a_port_that_is_taken(server, tmp_path):
    taken = server.dicom.rpartition(":")[2]  # its own
    with pytest.raises(SourceError, match="cannot be listened on"):
        collect(f"{server.dicom}?retrieve=move&listen={taken}", tmp_path / "a")
    assert not (tmp_path / "a").exists()


# -- behind TLS and a login -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def locked(scans, tmp_path_factory):
    with orthanc(tmp_path_factory.mktemp("locked"), [], locked=True) as real:
        yield real


@pytest.fixture
def login(tmp_path) -> Path:
    file = tmp_path / "login"
    file.write_text(f"{LOGIN}\n")
    file.chmod(0o600)
    return file


def test_tls_and_a_login_over_dicomweb(locked, login, monkeypatch):
    with pytest.raises(NothingToDo):  # an empty server, but we were let in
        find(f"{locked.web}?ca={locked.ca}&login={login}", progress=False)
    monkeypatch.setenv("PACS_LOGIN", LOGIN)
    with pytest.raises(NothingToDo):
        find(f"{locked.web}?ca={locked.ca}&login=env:PACS_LOGIN", progress=False)
    assert "certificate is not trusted" in told(f"{locked.web}?login={login}")
    assert "does not let us in (401)" in told(f"{locked.web}?ca={locked.ca}")
    login.chmod(0o644)
    assert "others may read (mode 0644)" in told(f"{locked.web}?ca={locked.ca}&login={login}")
    assert "secret" not in told(f"{locked.web}?ca={locked.ca}&login={login}")


def test_tls_over_dimse(locked):
    folder = Path(locked.ca).parent
    ours = f"ca={locked.ca}&cert={locked.ca}&key={folder / 'key.pem'}"
    with pytest.raises(NothingToDo):
        find(f"{locked.dicom}?{ours}", progress=False)
    assert "certificate that is not trusted" in told(locked.dicom)
    assert "trusts our certificate" in told(f"{locked.dicom}?ca={locked.ca}")
    assert "dimses:// is DIMSE with TLS" in told(locked.dicom.replace("dimses:", "dimse:"))


# -- without the extra ------------------------------------------------------------------------------------------------


def test_without_pynetdicom_one_line_says_what_to_install():
    code = (
        "import sys; sys.modules['pynetdicom'] = None\n"
        "from overread.cli import main; sys.exit(main(['find', 'dimse://A@127.0.0.1:1']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1, done.stderr
    assert 'pip install "overread[pacs]"' in done.stderr
    assert done.stderr.count("\n") == 1, done.stderr


def test_overread_error_is_the_family():
    assert issubclass(SourceError, OverreadError)
