"""What `predict` leaves for an archive: one draft a study and patient, and no answer lost for another's odd header."""

from __future__ import annotations

import csv
import io
import json
import sys
import zipfile
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pydicom
import pytest

pytest.importorskip("onnx", reason="the test's network is written with the onnx package")
sys.path.insert(0, str(Path(__file__).parents[1] / "serve"))

from small_hospital import LABEL, deliver, deliver_ct, write_run

from overread.domain import Finding, Report
from overread.formats import door
from overread.learn import saliency
from overread.learn.predict import Model
from overread.steps.draft import pieces
from overread.steps.predict import Predictions, Read, _sheet, predict

NOW = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)


@pytest.fixture(scope="module")
def bright(tmp_path_factory) -> Path:
    """A run that calls bright films present and dark ones absent."""
    return write_run(tmp_path_factory.mktemp("bright") / "run")


@pytest.fixture
def films(tmp_path) -> Path:
    folder = tmp_path / "films"
    folder.mkdir()
    return folder


def change(path: Path, **values) -> Path:
    """Change header values of a file; None removes one."""
    ds = pydicom.dcmread(path)
    for keyword, value in values.items():
        if value is None:
            del ds[keyword]
        else:
            setattr(ds, keyword, value)
    ds.save_as(path)
    return path


def drafts(out: Path) -> list[pydicom.Dataset]:
    return [pydicom.dcmread(file) for file in sorted((out / "evidence").glob("*-draft-sr.dcm"))]


def referenced(ds: pydicom.Dataset) -> set[str]:
    return {
        item.ReferencedSOPInstanceUID
        for study in ds.CurrentRequestedProcedureEvidenceSequence
        for series in study.ReferencedSeriesSequence
        for item in series.ReferencedSOPSequence
    }


def numbers(ds: pydicom.Dataset) -> list[float]:
    """The probabilities of a draft."""
    found = []

    def look(tree):
        for item in tree.get("ContentSequence", []):
            if item.ConceptNameCodeSequence[0].CodeMeaning == "Probability":
                found.append(float(item.MeasuredValueSequence[0].NumericValue))
            look(item)

    look(ds)
    return found


def test_studies_whose_files_lie_among_each_other_have_one_draft_each_of_all_their_images(bright, films, tmp_path):
    """a: study 1, b: study 2, c: study 1 again. The draft of study 1 holds both films and the brighter one's number."""
    for name, number, film_number, brightness in (
        ("a", 1, 1, 0.7),
        ("b", 2, 1, 0.3),
        ("c", 1, 2, 0.2),
        ("d", 2, 2, 0.6),
    ):
        deliver(films, number, brightness, film_number=film_number).rename(films / f"{name}.dcm")
    result = predict(bright, films, out=tmp_path / "out", progress=False, now=NOW)
    assert len(result.evidence) == 4 and result.notes == ()
    made = drafts(tmp_path / "out")
    uids = {n: pydicom.dcmread(films / f"{n}.dcm").SOPInstanceUID for n in "abcd"}
    assert {frozenset(referenced(ds)) for ds in made} == {
        frozenset({uids["a"], uids["c"]}),
        frozenset({uids["b"], uids["d"]}),
    }
    best: dict[str, float] = {}
    for read in result.reads:
        best[read.study] = max(best.get(read.study, 0), round(100 * read.findings[0].probability, 3))
    assert sorted(n for ds in made for n in numbers(ds)) == pytest.approx(sorted(best.values()), abs=2e-3)
    capture = next((tmp_path / "out" / "evidence").glob(f"{_study(result, 'a.dcm')}*-sc.dcm"))
    assert pydicom.dcmread(capture).SourceImageSequence[0].ReferencedSOPInstanceUID == uids["a"]


def _study(result: Predictions, name: str) -> str:
    return next(r.study for r in result.reads if r.file.endswith(name))


def test_two_patients_under_one_study_uid_have_a_draft_each(bright, films, tmp_path):
    first, second = deliver(films, 1, 0.7), deliver(films, 2, 0.3)
    change(second, StudyInstanceUID=pydicom.dcmread(first).StudyInstanceUID)
    predict(bright, films, out=tmp_path / "out", progress=False, now=NOW)
    told = {ds.PatientID: numbers(ds)[0] for ds in drafts(tmp_path / "out")}
    assert set(told) == {"PH-001", "PH-002"} and told["PH-001"] > 90 and told["PH-002"] < 10


def test_a_header_that_no_report_can_be_filed_under_costs_nobody_their_answer(bright, films, tmp_path, capfd):
    change(deliver(films, 1, 0.7), SOPInstanceUID=None)
    deliver(films, 2, 0.3)
    result = predict(bright, films, out=tmp_path / "out", progress=False, now=NOW)
    with open(tmp_path / "out" / "predictions.csv", newline="") as f:
        assert [row["decision"] for row in csv.DictReader(f)] == ["present", "absent"]
    ((file, code, reason),) = result.notes
    assert file.endswith("delivery-001/film-1.dcm") and code == "no-evidence" and "SOPInstanceUID" in reason
    assert [ds.PatientID for ds in drafts(tmp_path / "out")] == ["PH-002"]
    assert json.loads((tmp_path / "out" / "predictions.json").read_text())["notes"] == result.to_json()["notes"]
    assert "no DICOM object for" in str(result) and "Traceback" not in capfd.readouterr().err


@pytest.mark.filterwarnings("default")  # as a user runs it: what a library warns of is printed
@pytest.mark.parametrize(
    ("keyword", "tag", "value"),
    [
        ("PatientName", (0x0010, 0x0010), "SECRET"),
        ("StudyID", (0x0020, 0x0010), "SECRET " * 10),
        ("PatientBirthDate", (0x0010, 0x0030), "SECRET"),
        ("StudyDate", (0x0008, 0x0020), "SECRET"),
        ("AccessionNumber", (0x0008, 0x0050), "SECRET " * 10),
    ],
)
def test_an_odd_header_value_is_printed_nowhere(bright, films, tmp_path, capfd, recwarn, keyword, tag, value):
    ds = pydicom.dcmread(deliver(films, 1, 0.7))
    vr = ds[tag].VR
    ds[tag] = pydicom.DataElement(tag, vr, value, validation_mode=0)
    ds.save_as(films / "delivery-001" / "film-1.dcm")
    deliver(films, 2, 0.3)
    result = predict(bright, films, out=tmp_path / "out", progress=False, now=NOW)
    assert len(result.reads) == 2 and "PH-002" in {ds.PatientID for ds in drafts(tmp_path / "out")}
    out, err = capfd.readouterr()
    said = out + err + str(result) + json.dumps(result.to_json()) + " ".join(str(w.message) for w in recwarn.list)
    assert "SECRET" not in said


def test_evidence_that_fails_in_an_unknown_way_is_a_note_without_the_errors_own_words(
    bright, films, tmp_path, monkeypatch
):
    from overread.formats import evidence

    real = evidence.draft_sr

    def stumble(files, *more, **facts):
        if "001" in str(files[0]):
            raise ValueError("no such name: PHANTOM^001")
        return real(files, *more, **facts)

    monkeypatch.setattr(evidence, "draft_sr", stumble)
    deliver(films, 1, 0.7)
    deliver(films, 2, 0.3)
    result = predict(bright, films, out=tmp_path / "out", progress=False, now=NOW)
    assert [(c, why) for _, c, why in result.notes] == [("no-evidence", "an error of kind ValueError")]
    assert len(result.evidence) == 3  # both pictures, and the other study's report


def test_dicom_inside_a_zip_is_answered_and_said_to_have_no_report(bright, films, tmp_path):
    with zipfile.ZipFile(tmp_path / "films.zip", "w") as archive:
        archive.write(deliver(films, 1, 0.7), "a.dcm")
    result = predict(bright, tmp_path / "films.zip", out=tmp_path / "out", progress=False, now=NOW)
    assert len(result.reads) == 1 and result.evidence == () and "inside an archive" in result.notes[0][2]


def test_no_threshold_is_told_where_none_is_applied():
    finding = Finding("benign", 0.7, 0.6, 0.8, 0.5, "present")
    for several, threshold in ((True, ""), (False, "0.500000")):
        told = Predictions(Path("r"), Path("o"), (Read("f", "S", "i", (finding,)),), (), several=several)
        (row,) = csv.DictReader(io.StringIO(_sheet(told)))
        assert row["threshold"] == threshold
        assert told.to_json()["predictions"][0]["threshold"] == (None if several else 0.5)


def test_the_picture_of_a_volume_refers_to_the_slice_it_shows(bright, films, monkeypatch):
    deliver_ct(films, 4)
    (found,) = door.scan(films)
    heat = np.zeros(found.image.voxels.shape, np.float32)
    heat[7, 20, 20] = 3
    monkeypatch.setattr(saliency, "grad_cam", lambda *a: heat)
    model = Model.load(bright)
    finding = Finding(LABEL, 0.9, 0.8, 0.95, 0.5, "present", "", "h")
    report = Report("S0123456789ab", model.card.fingerprint, ("h",), (finding,))
    made = {p.kind: p for p in pieces(model, report, [found.origin], lambda _: found.image, now=NOW)}
    assert set(made) == {"heat-map", "capture", "report"} and not any(p.error for p in made.values())
    ds = pydicom.dcmread(io.BytesIO(made["capture"].content))
    shown = pydicom.dcmread(found.origin.files[7]).SOPInstanceUID
    assert ds.SourceImageSequence[0].ReferencedSOPInstanceUID == shown
