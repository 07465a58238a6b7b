"""A server that misbehaves: one clear line, nothing half-written, and the next run brings the rest."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import deque
from datetime import UTC, datetime
from pathlib import Path

import pydicom
import pytest
from small_pacs import BOUNDARY, Fault, SmallPacs

import overread
from overread.errors import NothingToDo, SourceError
from overread.sources import dicomweb, wire
from overread.sources.keys import Keys
from overread.steps.find import find
from overread.steps.phantom import phantom
from overread.store.archive import Archive

pytestmark = pytest.mark.timeout(60)
SERIES = 5
"""Of one CT and four films."""


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> list[Path]:
    """A CT and four films."""
    folder = tmp_path_factory.mktemp("made")
    now = datetime(2026, 1, 31, 12, tzinfo=UTC)
    phantom(folder / "ct", kind="ct", patients=1, size=32, now=now, workers=1, progress=False)
    phantom(folder / "films", patients=3, size=64, first=2, now=now, workers=1, progress=False)
    made = sorted(folder.rglob("*.dcm"))
    assert len({pydicom.dcmread(f, stop_before_pixels=True).SeriesInstanceUID for f in made}) == SERIES
    return made


@pytest.fixture
def pacs(files, monkeypatch):
    monkeypatch.setattr(wire, "_LONGEST_WAIT_S", 0.01)  # nobody waits in a test
    with SmallPacs(files) as server:
        yield server


def collect(word: str, into: Path, **options):
    return overread.collect(word, into=into, workers=1, progress=False, **options)


def fetched(into: Path) -> dict[str, bytes]:
    """What lies on the shelf: every file must be one that the server has, whole."""
    return {p.name: p.read_bytes() for p in Path(f"{into}.names").rglob("*.dcm")}


def hashes(into: Path) -> list[str]:
    with Archive.open(into) as archive:
        archive.verify()
        return sorted(record.hash for record in archive.images())


def everywhere(tmp_path: Path) -> list[Path]:
    """Every file below the test's own folder."""
    return [p for p in tmp_path.rglob("*") if p.is_file()]


# -- once is a mishap: it is asked again, and all is well ------------------------------------------------------------

MISHAPS = {
    "busy": ("wado", Fault(status=503)),
    "too many requests": ("wado", Fault(status=429, head=(("Retry-After", "1"),))),
    "an error half way": ("instances", Fault(status=500)),
    "a list cut short": ("studies", Fault(cut=100)),
    "a list that is no JSON": ("series", Fault(change=lambda body: body[:-5])),
    "a series cut in an instance": ("wado", Fault(cut=20_000)),
    "a series cut before its end": ("wado", Fault(change=lambda body: body[: -len(BOUNDARY) - 6])),
    "another boundary": ("wado", Fault(change=lambda body: body.replace(BOUNDARY.encode(), b"another"))),
    "an empty answer": ("wado", Fault(change=lambda body: b"")),
    "a web page": ("wado", Fault(kind="text/html", change=lambda body: b"<html>log in</html>")),
    "one instance cut": ("one", Fault(cut=900)),
    "a hang-up": ("studies", Fault(cut=0)),
}


@pytest.mark.parametrize("name", MISHAPS)
def test_a_mishap_is_mended(name, pacs, files, tmp_path):
    kind, fault = MISHAPS[name]
    pacs.faults[kind] = deque([fault])
    done = collect(pacs.word, tmp_path / "a")
    assert not pacs.faults[kind], "the fault was never met"
    assert sorted(fetched(tmp_path / "a").values()) == sorted(f.read_bytes() for f in files)
    overread.collect(*files, into=tmp_path / "b", workers=1, progress=False)
    assert hashes(tmp_path / "a") == hashes(tmp_path / "b")
    assert not any("did not come whole" in note for note in done.notes)


# -- always: one line, nothing half, and another day it goes on -------------------------------------------------------

ALWAYS = {
    "busy for ever": ("studies", Fault(status=503), "busy (503), 5 times"),
    "no leave": ("studies", Fault(status=403), "does not let us in (403)"),
    "a login page": ("studies", Fault(kind="text/html"), "an answer of type text/html"),
    "not a list": ("studies", Fault(change=lambda body: b'{"a": 1}'), "no list of data sets"),
    "sent to a file": ("studies", Fault(status=302, head=(("Location", "file:///etc/passwd"),)), "a redirect to file"),
    "sent elsewhere": ("studies", Fault(status=307, head=(("Location", "http://127.0.0.2/x"),)), "sends us elsewhere"),
    "sent in circles": (
        "studies",
        Fault(status=301, head=(("Location", "/dicom-web/studies"),)),
        "more than 3 redirects",
    ),
    "an endless list": ("studies", Fault(endless=True), "more than 1 MiB"),
}


@pytest.mark.parametrize("name", ALWAYS)
def test_what_never_works_is_one_line(name, pacs, tmp_path, monkeypatch):
    monkeypatch.setattr(wire, "LARGEST_JSON", 1 << 20)
    kind, fault, words = ALWAYS[name]
    pacs.faults[kind] = deque([fault] * 50)
    with pytest.raises(SourceError) as refusal:
        collect(pacs.word, tmp_path / "a")
    line = str(refusal.value)
    assert words in line and "expected" in line and "\n" not in line
    assert everywhere(tmp_path) == []


def test_a_series_that_never_comes_whole_is_left_out_and_told(pacs, files, tmp_path):
    """The films come, the CT is told with the reason; when the server is well again, the next run completes it."""
    ct = sum(pydicom.dcmread(f, stop_before_pixels=True).Modality == "CT" for f in files)
    cut = Fault(change=lambda body: body[:-40])
    pacs.faults = {"wado": deque([cut] * 99), "one": deque([cut] * 999)}
    with pytest.raises(SourceError, match=f"none of {SERIES} series came whole"):
        collect(f"{pacs.word}", tmp_path / "a")
    came = fetched(tmp_path / "a")
    assert set(came.values()) <= {f.read_bytes() for f in files}
    assert len(came) == ct - 1, "the parts before the last one are whole"
    pacs.faults = {}
    pacs.asked.clear()
    done = collect(pacs.word, tmp_path / "a")
    assert f"{ct - 1:,} were here already" in done.notes[0]
    assert sorted(fetched(tmp_path / "a").values()) == sorted(f.read_bytes() for f in files)
    assert done.images == SERIES


def test_an_endless_instance_is_stopped(pacs, tmp_path):
    start = f"--{BOUNDARY}\r\nContent-Type: application/dicom\r\n\r\n".encode() + bytes(128) + b"DICM"
    pacs.faults = {k: deque([Fault(endless=True, change=lambda body: start)] * 99) for k in ("wado", "one")}
    series = find_series(pacs)
    taken = dicomweb.fetch(pacs.word.partition(":")[2], series[:1], tmp_path / "shelf", largest=1 << 20)
    assert not taken.whole and "more than 1,048,576 bytes" in next(iter(taken.broken))
    assert everywhere(tmp_path) == []


@pytest.mark.parametrize(
    "change, words",
    [
        (lambda body: body.replace(b"DICM", b"DICX"), "no DICOM file"),
        (lambda body: body.replace(b"Content-Type: application/dicom", b"X: " + b"y" * 20_000), "header does not end"),
        (lambda body: body.replace(b"application/dicom\r", b"text/html\r"), "a part of type text/html"),
    ],
)
def test_what_is_no_instance_is_not_kept(change, words, pacs, tmp_path):
    pacs.faults = {k: deque([Fault(change=change)] * 99) for k in ("wado", "one")}
    taken = dicomweb.fetch(pacs.word.partition(":")[2], find_series(pacs)[:1], tmp_path / "shelf")
    assert not taken.whole and words in next(iter(taken.broken))
    assert everywhere(tmp_path) == []


def test_an_instance_that_was_not_asked_for_is_not_kept(pacs, files, tmp_path):
    """A server that answers every request with somebody else's image."""
    other = files[0].read_bytes() if "CT" not in str(files[0]) else files[-1].read_bytes()
    body = f"--{BOUNDARY}\r\n\r\n".encode() + other + f"\r\n--{BOUNDARY}--".encode()
    uid = pydicom.dcmread(files[0], stop_before_pixels=True).SeriesInstanceUID
    pacs.faults = {k: deque([Fault(change=lambda _: body)] * 99) for k in ("wado", "one")}
    series = [s for s in find_series(pacs) if s.series != uid][:1]
    taken = dicomweb.fetch(pacs.word.partition(":")[2], series, tmp_path / "shelf")
    assert not taken.whole and "not asked for" in next(iter(taken.broken))
    assert everywhere(tmp_path) == []


def find_series(pacs):
    return dicomweb.find(pacs.word.partition(":")[2]).series


# -- what a server passes over, and what it calls a UID ---------------------------------------------------------------


def test_a_server_that_passes_over_a_key_does_not_send_everything(pacs, files, tmp_path):
    wanted = str(pydicom.dcmread(files[-1], stop_before_pixels=True).PatientID)
    honest = collect(f"{pacs.word}?patient={wanted}", tmp_path / "a")
    pacs.ignores = {"PatientID", "ModalitiesInStudy"}
    done = collect(f"{pacs.word}?patient={wanted}", tmp_path / "b")
    assert hashes(tmp_path / "a") == hashes(tmp_path / "b")
    assert honest.images == done.images == 1
    assert any("do not fit what was asked" in note for note in done.notes)
    ct = find(f"{pacs.word}?modality=CT", progress=False)
    assert {study["modality"] for study in ct.studies} == {"CT"}
    with pytest.raises(NothingToDo, match="may pass over some"):
        find(f"{pacs.word}?patient=NOBODY", progress=False)


def test_a_uid_that_is_a_path_is_refused(pacs, tmp_path):
    def climb(body: bytes) -> bytes:
        return body.replace(b'"00080018": {"vr": "UI", "Value": ["', b'"00080018": {"vr": "UI", "Value": ["../../')

    pacs.faults["instances"] = deque([Fault(change=climb)] * 99)
    with pytest.raises(SourceError, match="without a UID"):
        collect(pacs.word, tmp_path / "a")
    assert everywhere(tmp_path) == []


# -- Ctrl-C, kill -9, and who we are ----------------------------------------------------------------------------------


@pytest.mark.parametrize("blow", [signal.SIGINT, signal.SIGKILL])
def test_stopped_in_the_middle_of_an_instance(blow, pacs, files, tmp_path):
    """Only whole files lie on the shelf, and the next run fetches only the rest."""
    pacs.faults["wado"] = deque([Fault(hang_s=8.0)] * 4)
    into = tmp_path / "a"
    command = [sys.executable, "-m", "overread.cli", "collect", pacs.word, "--into", str(into), "--quiet"]
    run = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    ct = sum(pydicom.dcmread(f, stop_before_pixels=True).Modality == "CT" for f in files)
    deadline = time.monotonic() + 30
    while len(fetched(into)) < ct // 2 - 1 and time.monotonic() < deadline:
        time.sleep(0.02)
    began = time.monotonic()
    os.kill(run.pid, blow)
    _, said = run.communicate(timeout=20)
    assert time.monotonic() - began < 5, "it waited for the silent server"
    if blow == signal.SIGINT:
        assert run.returncode == 1 and said.startswith("overread: stopped by Ctrl-C")
    before = fetched(into)
    assert 1 < len(before) < len(files)
    assert set(before.values()) <= {f.read_bytes() for f in files}
    pacs.faults = {}
    done = collect(pacs.word, into)
    assert f"{len(before)} were here already" in done.notes[0]
    assert sorted(fetched(into).values()) == sorted(f.read_bytes() for f in files)
    assert done.images == SERIES


def test_who_we_are_is_said_and_never_in_an_address(pacs, tmp_path, monkeypatch):
    monkeypatch.setenv("PACS_TOKEN", "Bearer abc.def")
    find(f"{pacs.word}?login=env:PACS_TOKEN", progress=False)
    assert pacs.heads[0]["Authorization"] == "Bearer abc.def"
    assert pacs.heads[0]["User-Agent"] == f"overread/{overread.__version__}"
    with pytest.raises(SourceError, match="a login in an address"):
        find(pacs.word.replace("//", "//user:secret@"), progress=False)
    with pytest.raises(SourceError, match="a login environment variable with 0 lines"):
        find(f"{pacs.word}?login=env:NOT_SET", progress=False)
    with pytest.raises(SourceError, match="a key without its certificate"):
        dicomweb.find(pacs.word.partition(":")[2].replace("http:", "https:"), keys=Keys(key="x"))


def test_words_that_are_misspelt_are_told_before_anybody_is_called(pacs):
    for words, told in (
        ("modalty=CT", "modalty= after the"),
        ("date=2020", "a date of 4 characters"),
        ("study=abc", "no UID"),
        ("modality=", "nothing after modality="),
    ):
        with pytest.raises(SourceError, match=told):
            find(f"{pacs.word}?{words}", progress=False)
    assert pacs.asked == []


# -- what the server changed -----------------------------------------------------------------------------------------


def test_a_replaced_and_a_withdrawn_slice_are_noticed(files, tmp_path):
    """As many instances as before are not the same instances; the archive is the one that a first fetch would give."""
    ct = sorted(f for f in files if pydicom.dcmread(f, stop_before_pixels=True).Modality == "CT")
    other = pydicom.dcmread(ct[1])
    other.SOPInstanceUID = other.file_meta.MediaStorageSOPInstanceUID = f"{other.SOPInstanceUID}.9"
    other.PixelData = bytes(len(other.PixelData))
    other.save_as(tmp_path / "other.dcm")
    with SmallPacs(files) as server:
        collect(server.word, tmp_path / "a")
        server.files.pop(next(k for k in server.files if k[2] == pydicom.dcmread(ct[1]).SOPInstanceUID))
        server.files[other.StudyInstanceUID, other.SeriesInstanceUID, other.SOPInstanceUID] = (
            other,
            (tmp_path / "other.dcm").read_bytes(),
        )
        replaced = collect(server.word, tmp_path / "a")
        collect(server.word, tmp_path / "b")
        assert hashes(tmp_path / "a") == hashes(tmp_path / "b")
        assert "1 files of" in replaced.notes[0] and any(
            "1 files that were here are no longer" in n for n in replaced.notes
        )
        server.files.pop(next(k for k in server.files if k[2] == pydicom.dcmread(ct[-1]).SOPInstanceUID))
        collect(server.word, tmp_path / "a")
        collect(server.word, tmp_path / "c")
        assert hashes(tmp_path / "a") == hashes(tmp_path / "c") != hashes(tmp_path / "b")
        again = collect(server.word, tmp_path / "a")
        assert again.read == 0 and "0 files of" in again.notes[0]


# -- labels -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("column, keyword", [("study_uid", "StudyInstanceUID"), ("Accession", "AccessionNumber")])
def test_a_label_table_names_studies(column, keyword, pacs, files, tmp_path):
    """Every image of a study gets what the table says of it, and neither number enters the archive."""
    headers = [pydicom.dcmread(f, stop_before_pixels=True) for f in files]
    modalities = {str(ds[keyword].value): ds.Modality for ds in headers}
    assert len(modalities) == SERIES, "each of these examinations has its own number"
    table = tmp_path / "labels.csv"
    table.write_text(
        f"{column},sick\n" + "".join(f"{n},{int(m == 'CT')}\n" for n, m in modalities.items()) + "NO-SUCH,1\n"
    )
    done = collect(pacs.word, tmp_path / "a", labels=table)
    assert done.labels == {"sick": {"true": 1, "false": SERIES - 1, "unknown": 0}}
    assert [r["code"] for r in done.refused if r["code"] == "missing-file"] == ["missing-file"]
    with Archive.open(tmp_path / "a") as archive:
        told = {archive.describe(study.images[0]).modality: study.labels["sick"] for study in archive.studies()}
    assert told.pop("CT") is True and set(told.values()) == {False}
    assert not any("several studies have" in note for note in done.notes)
    every_byte = b"".join(p.read_bytes() for p in (tmp_path / "a").rglob("*") if p.is_file())
    assert not any(number.encode() in every_byte for number in modalities)


def test_an_accession_number_of_several_studies_is_told_as_such(files, tmp_path):
    shared = []
    for n, file in enumerate(files):
        ds = pydicom.dcmread(file)
        ds.AccessionNumber = "CT1" if ds.Modality == "CT" else "SHARED"
        ds.save_as(tmp_path / f"{n}.dcm")
        shared.append(tmp_path / f"{n}.dcm")
    (tmp_path / "labels.csv").write_text("accession,sick\nCT1,1\nSHARED,0\n")
    with SmallPacs(shared) as server:
        done = collect(server.word, tmp_path / "a", labels=tmp_path / "labels.csv")
    assert any(n.startswith("1 row of the label table names an accession number that several") for n in done.notes)
