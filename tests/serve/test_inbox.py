"""What arrives in the inbox: taken whole, taken once, never dropped."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image as Picture
from small_disk import BLOCK, small_disk, used
from small_hospital import LABEL, START, Clock, deliver, deliver_ct, film, write_run

from overread.domain import Geometry, Image
from overread.errors import IntegrityError, NothingToDo, RunError
from overread.learn.predict import Model
from overread.serve.inbox import Inbox
from overread.serve.worker import Worker, displayable, letters, needs_draft
from overread.store.journal import Journal


def look(shelf: Inbox, *seconds: float) -> list[str]:
    """Look at the given seconds after the start; what the last look took."""
    taken: list[str] = []
    for s in seconds:
        taken = shelf.take(now=START + timedelta(seconds=s))
    return taken


def test_the_shelf_is_closed_to_others(inbox):
    shelf = Inbox(inbox)
    assert stat.S_IMODE(shelf.shelf.stat().st_mode) == 0o700
    assert stat.S_IMODE((shelf.shelf / "key").stat().st_mode) == 0o600 and len(shelf.key) == 32
    assert Inbox(inbox).key == shelf.key


def test_a_missing_inbox_is_refused(tmp_path):
    with pytest.raises(NothingToDo, match="no inbox folder"):
        Inbox(tmp_path / "none")


def test_a_file_is_taken_only_when_it_has_settled(inbox):
    shelf = Inbox(inbox)
    path = deliver(inbox, 1, 0.5)
    assert look(shelf, 0) == [] and shelf.arriving() == 1
    assert look(shelf, 1) == []
    with path.open("ab") as file:  # it grows: the waiting begins anew
        file.write(b"\0" * 10)
    assert look(shelf, 1.5) == [] and look(shelf, 3) == []
    assert len(look(shelf, 4)) == 1 and shelf.arriving() == 0


def test_half_of_a_copied_file_is_never_read(inbox):
    """A copy that stops and goes on: the file is taken once, whole, and nothing is refused on the way."""
    whole = deliver(inbox, 1, 0.5)
    content = whole.read_bytes()
    shelf = Inbox(inbox)
    for second in range(5):
        whole.write_bytes(content[: len(content) * (second + 1) // 6])
        assert look(shelf, second) == []
    whole.write_bytes(content)
    look(shelf, 6, 9)
    assert len(shelf.entries()) == 1 and shelf.refused() == []


def test_a_series_is_taken_whole(inbox):
    shelf = Inbox(inbox)
    deliver_ct(inbox, 1)
    files = sorted((inbox / "delivery-001").iterdir())
    late = files.pop()
    content = late.read_bytes()
    late.unlink()
    look(shelf, 0, 1)
    late.write_bytes(content)
    assert look(shelf, 2.5) == []  # the others have settled, but their folder has not
    assert len(look(shelf, 5)) == 1
    assert len(shelf.entries()[0].sources) == 12


def test_a_folder_that_never_rests_is_not_waited_for_for_ever(inbox):
    shelf = Inbox(inbox)
    deliver(inbox, 1, 0.5)
    busy = inbox / "delivery-001" / "busy.dcm"
    for second in range(0, 64, 1):
        busy.write_bytes(b"\0" * second)
        look(shelf, second)
    assert len(shelf.entries()) == 1


@pytest.mark.parametrize("name", [".hidden.dcm", "film.dcm.part", "film.tmp", "film.crdownload"])
def test_unfinished_names_are_left_alone(inbox, name):
    shelf = Inbox(inbox)
    deliver(inbox, 1, 0.5).rename(inbox / name)
    assert look(shelf, 0, 5, 10) == [] and shelf.entries() == [] and shelf.refused() == []


def test_two_films_of_one_study_are_one_study_and_a_late_one_joins(inbox):
    shelf = Inbox(inbox)
    deliver(inbox, 1, 0.5)
    (study,) = look(shelf, 0, 3)
    before = shelf.entry(study)
    deliver(inbox, 1, 0.4, view="LL", film_number=2)
    assert look(shelf, 4, 7) == [study]
    after = shelf.entry(study)
    assert len(after.sources) == 2 and after.arrived == before.arrived and after.content != before.content
    assert look(shelf, 8, 12) == []  # nothing new: nothing is taken again


def test_two_patients_under_one_study_uid_are_two_studies(inbox):
    first, second = deliver(inbox, 1, 0.7), deliver(inbox, 2, 0.3)
    ds = pydicom.dcmread(second)
    ds.StudyInstanceUID = pydicom.dcmread(first).StudyInstanceUID
    ds.save_as(second)
    shelf = Inbox(inbox)
    assert len(look(shelf, 0, 3)) == 2
    for entry in shelf.entries():
        (found,) = shelf.images(entry)
        assert found.origin.patient_id == entry.patient and len(entry.sources) == 1
    assert {e.patient for e in shelf.entries()} == {"PH-001", "PH-002"}


def test_pictures_are_studies_of_their_own(inbox):
    for name in ("a.png", "b.png"):
        Picture.fromarray((film(0.5) >> 4).astype("uint8")).save(inbox / name)
    shelf = Inbox(inbox)
    assert len(look(shelf, 0, 3)) == 2
    assert {(e.patient, e.is_dicom) for e in shelf.entries()} == {("", False)}


def test_what_cannot_be_read_is_listed_with_its_reason(inbox):
    (inbox / "letter.png").write_text("Dear colleague")
    (inbox / "empty.dcm").write_bytes(b"")
    shelf = Inbox(inbox)
    look(shelf, 0, 3)
    assert [row[0] for row in shelf.refused()] == ["empty.dcm", "letter.png"]
    assert all(code and reason for _, code, reason in shelf.refused())
    assert Inbox(inbox).refused() == shelf.refused()  # and still after a restart


def test_real_pictures_are_taken(inbox, shared_data):
    for path in sorted((shared_data / "chest_xray").rglob("*.jpeg"))[:3]:
        shutil.copy(path, inbox)
    shelf = Inbox(inbox)
    assert len(look(shelf, 0, 3)) == len(list(inbox.glob("*.jpeg"))) == 3


def test_one_server_for_an_inbox(inbox):
    first = Inbox(inbox)
    first.hold()
    with pytest.raises(RunError, match="another server"):
        Inbox(inbox).hold()
    first.release()
    Inbox(inbox).hold()


# --- the worker ------------------------------------------------------------------------------------------------


def worker_of(inbox: Path, model: Model) -> Worker:
    return looks(Worker(Inbox(inbox), model, now=Clock()))


def looks(worker: Worker) -> Worker:
    """Let it look at the inbox three times, so that what lies there has settled."""
    for _ in range(3):
        worker.now.time += timedelta(seconds=3)
        worker.once()
    return worker


def test_a_study_becomes_a_draft_with_its_evidence(inbox, model):
    deliver(inbox, 1, 0.7)
    worker = worker_of(inbox, model)
    (entry,) = worker.inbox.entries()
    draft = worker.inbox.draft(entry.study)
    assert draft.report.findings[0].decision == "present" and draft.report.card == model.card.fingerprint
    for name in (draft.sr, *draft.captures, *draft.overlays.values()):
        assert (worker.inbox.home(entry.study) / name).stat().st_size > 0
    assert draft.notes == () and worker.once() == 0  # nothing is read twice


def test_a_study_that_the_machine_fails_on_is_referred_with_the_reason(inbox, model, monkeypatch, capsys):
    deliver(inbox, 1, 0.7)
    deliver(inbox, 2, 0.3)
    honest, secret = Model.answer, "PH-001"

    def fail_on_bright(self, image, *, hash=""):
        if image.voxels.mean() > 2000:
            raise ZeroDivisionError(f"{secret} has no denominator")
        return honest(self, image, hash=hash)

    monkeypatch.setattr(Model, "answer", fail_on_bright)
    worker = worker_of(inbox, model)
    drafts = {e.patient: worker.inbox.draft(e.study) for e in worker.inbox.entries()}
    (finding,) = drafts["PH-001"].report.findings
    assert finding.decision == "refer" and "ZeroDivisionError" in finding.reason and "PH-001" not in finding.reason
    assert drafts["PH-002"].report.findings[0].decision == "absent"  # the others do not wait for it
    told = capsys.readouterr().err
    assert "ZeroDivisionError" in told and "fail_on_bright" in told and "PH-001" not in told


def test_a_broken_heat_map_does_not_take_the_finding_with_it(inbox, model, monkeypatch):
    from overread.learn import saliency

    monkeypatch.setattr(saliency, "grad_cam", lambda *a: 1 / 0)
    deliver(inbox, 1, 0.7)
    worker = worker_of(inbox, model)
    draft = worker.inbox.draft(worker.inbox.entries()[0].study)
    assert draft.report.findings[0].decision == "present" and draft.overlays == {} and draft.sr
    assert "No heat-map" in draft.notes[0]


def test_a_full_disk_is_told_and_tried_again(model, tmp_path):
    with small_disk(tmp_path / "disk", size="64m") as resize:
        inbox = tmp_path / "disk" / "inbox"
        inbox.mkdir()
        worker = Worker(Inbox(inbox), model, now=Clock())
        deliver(inbox, 1, 0.7)
        resize(used(tmp_path / "disk") + 4 * BLOCK)  # room for what was taken, and for no draft
        looks(worker)
        assert "OSError" in worker.trouble and worker.inbox.draft(worker.inbox.entries()[0].study) is None
        resize("64m")
        assert worker.once() == 1 and worker.trouble == ""


def test_another_model_reads_unsigned_studies_again(inbox, model, tmp_path):
    deliver(inbox, 1, 0.7)
    worker = worker_of(inbox, model)
    (entry,) = worker.inbox.entries()
    other = Model.load(write_run(tmp_path / "other", name="other", bias=-9.0))
    assert needs_draft(worker.inbox, entry, other.card)
    (worker.inbox.home(entry.study) / "signed-1.json").write_text("{}")
    assert not needs_draft(worker.inbox, entry, other.card)  # what is signed stays what it is


def test_a_damaged_report_is_noticed_and_made_anew(inbox, model):
    deliver(inbox, 1, 0.7)
    worker = worker_of(inbox, model)
    (entry,) = worker.inbox.entries()
    path = worker.inbox.home(entry.study) / "report.json"
    path.write_bytes(path.read_bytes().replace(b"present", b"absent"))
    with pytest.raises(IntegrityError):
        worker.inbox.draft(entry.study)
    assert worker.once() == 1
    assert worker.inbox.draft(entry.study).report.findings[0].decision == "present"


LOOP = """
import sys
sys.path.insert(0, sys.argv[3])
from small_hospital import Clock, Model
from datetime import timedelta
from overread.serve.inbox import Inbox
from overread.serve.worker import Worker
worker = Worker(Inbox(sys.argv[1]), Model.load(sys.argv[2]), now=Clock())
print("ready", flush=True)
while True:
    worker.now.time += timedelta(seconds=3)
    worker.once()
"""


def test_a_kill_at_any_point_loses_nothing(inbox, run):
    """Killed without warning again and again while it drafts; then every study has its report and its evidence."""
    for number in range(1, 7):
        deliver(inbox, number, 0.1 * number + 0.05)
    command = [sys.executable, "-c", LOOP, str(inbox), str(run), str(Path(__file__).parent)]
    for wait in (0.05, 0.35, 0.8):
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        process.stdout.readline()
        time.sleep(wait)
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
        journal = Journal(inbox / ".overread" / "journal.jsonl")
        journal.recover(now=START)
        journal.verify()
    worker = worker_of(inbox, Model.load(run))
    drafts = [worker.inbox.draft(e.study) for e in worker.inbox.entries()]
    assert len(drafts) == 6 and all(d.sr and d.captures and d.overlays and not d.notes for d in drafts)
    for draft in drafts:
        folder = worker.inbox.home(draft.report.study)
        assert all((folder / name).is_file() for name in (draft.sr, *draft.captures, *draft.overlays.values()))
    assert worker.inbox.journal.verify() >= 6


def test_values_are_shown_as_they_are_stored():
    for kind, low, high in (("|u1", 0, 255), ("<i2", -1024, 3071), ("<u2", 0, 65535), ("<f4", 0, 70000)):
        values = np.array([[[low, high]]], np.int32)
        shown = displayable(values)
        assert shown.dtype == np.dtype(kind)
        np.testing.assert_array_equal(shown, values)
    assert displayable(np.array([[[True]]])).dtype == np.uint8 and LABEL


@pytest.mark.parametrize(
    ("told", "left_right_top_bottom"),
    [
        ("L\\F", "RLHF"),
        ("P\\F", "APHF"),
        ("LA\\FP", "RLHF"),
        ("", None),
        ("L", None),
        ("X\\F", None),
        ("L\\F\\A", None),
    ],
)
def test_sides_are_named_as_the_film_says_or_not_at_all(told, left_right_top_bottom):
    named = letters(Image(np.zeros((1, 2, 2)), attributes={"PatientOrientation": told}))
    expected = dict(zip(("left", "right", "top", "bottom"), left_right_top_bottom or "", strict=False))
    assert named == expected


def test_where_the_file_says_where_each_pixel_lies_that_counts():
    axial = Geometry(((0, 0, -0.5, 0), (0, 0.5, 0, 0), (2, 0, 0, 0), (0, 0, 0, 1)))
    image = Image(np.zeros((1, 2, 2)), geometry=axial, attributes={"PatientOrientation": "L\\F"})
    assert letters(image) == {"right": "R", "left": "L", "bottom": "P", "top": "A"}
