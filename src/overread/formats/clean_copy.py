"""One DICOM file in, the bytes of its de-identified copy and the place it belongs out."""

from __future__ import annotations

import io
from pathlib import Path

import pydicom
from pydicom.errors import InvalidDicomError

from overread.errors import UnreadableFile
from overread.formats.deid import deidentify, pseudonym
from overread.formats.dicom import check_deflated
from overread.formats.headers import is_deflated
from overread.formats.parser import read_dataset
from overread.formats.sniff import HEAD

_LARGEST = 4 << 30  # bytes; one file is held in memory while it is read


def clean_copy(file: Path, *, key: bytes) -> tuple[Path, bytes]:
    """Return where the copy of one DICOM file belongs, and its bytes.

    Parameters
    ----------
    file : Path
    key : bytes
        Secret for pseudonyms, UIDs and dates.

    Returns
    -------
    (Path, bytes)
        ``patient/study/series/instance.dcm``, all pseudonyms; and a DICOM file.

    Raises
    ------
    UnreadableFile
        When it is not DICOM (``not-dicom``), cannot be opened (``unreadable``), is damaged (``damaged``) or above
        4 GiB (``too-large``).
    IdentityRefused
        When identity could not be removed for certain.
    """
    ds = _read(file)
    clean = deidentify(ds, key=key)
    study, series = str(ds.StudyInstanceUID), str(ds.SeriesInstanceUID)
    where = Path(
        str(clean.get("PatientID") or pseudonym("P", study, key=key)),
        pseudonym("S", study, key=key),
        pseudonym("E", series, key=key),
        f"{clean.SOPInstanceUID}.dcm",
    )
    out = io.BytesIO()
    clean.save_as(out, enforce_file_format=True)
    return where, out.getvalue()


def _read(file: Path) -> pydicom.Dataset:
    try:
        if file.stat().st_size > _LARGEST:
            raise UnreadableFile("a file of more than 4 GiB", code="too-large", expected="one image", do="split it")
        with file.open("rb") as stream:
            if is_deflated(stream.read(HEAD)):
                stream.seek(0)
                check_deflated(stream.read())
            stream.seek(0)
            return read_dataset(stream, force=False)
    except InvalidDicomError:
        raise UnreadableFile(
            "a file that is not DICOM",
            code="not-dicom",
            expected="a DICOM file (other formats have no header to clean, and may show a name)",
            do="leave it out",
        ) from None
    except OSError as e:
        raise UnreadableFile(
            f"a file that cannot be opened ({e.strerror or 'cut short'})",
            code="unreadable",
            expected="a file you may read",
            do="check path and permissions",
        ) from None
    except UnreadableFile:
        raise
    except Exception:  # pydicom raises nine kinds for damaged files, and their texts quote values
        raise UnreadableFile(
            "a damaged DICOM file", code="damaged", expected="elements to the end of the file", do="export it again"
        ) from None
