"""The header that a report is filed under is read within bounds."""

from __future__ import annotations

from pathlib import Path

import pydicom
import pytest

from overread.errors import UnreadableFile
from overread.formats.filing import header, identity
from overread.formats.parser import MOST_ELEMENTS

REAL = Path(pydicom.__file__).parent / "data" / "test_files" / "CT_small.dcm"


def test_the_header_and_the_identity_are_pydicoms() -> None:
    want = pydicom.dcmread(REAL)
    got = header(REAL)
    assert (got.StudyInstanceUID, got.Rows, got.PatientID) == (want.StudyInstanceUID, want.Rows, want.PatientID)
    assert "PixelData" not in got
    who = {e.keyword for e in identity(REAL)} - {"SpecificCharacterSet"}
    assert who <= {"PatientID", "IssuerOfPatientID", "PatientName", "PatientBirthDate"}
    assert identity(REAL).PatientID == want.PatientID


@pytest.mark.parametrize("read", [header, identity])
def test_a_tail_of_empty_elements_is_refused(read: object, tmp_path: Path) -> None:
    """A zero-filled tail is one empty element every eight bytes to a parser without an end."""
    ds = pydicom.dcmread(REAL)
    del ds.PixelData, ds["DataSetTrailingPadding"]
    ds.file_meta.TransferSyntaxUID = pydicom.uid.ImplicitVRLittleEndian
    path = tmp_path / "tail.dcm"
    ds.save_as(path)
    read(path)
    with path.open("ab") as stream:
        stream.write(bytes(8 * (MOST_ELEMENTS + 1)))
    with pytest.raises(UnreadableFile, match="more than 50,000 elements"):
        read(path)
