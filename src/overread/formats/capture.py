"""The overlay as a picture an archive can file, which says in its own pixels that nobody has verified it."""

from __future__ import annotations

import datetime
import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from highdicom.sc import SCImage
from PIL import Image as Picture
from PIL import ImageDraw, ImageFont
from pydicom import Dataset

from overread.domain import ModelCard
from overread.formats import films
from overread.formats.filing import (
    check_one_patient,
    dated,
    header,
    identity,
    machine,
    plain_text,
    quoting_no_values,
    uid_of,
)
from overread.imaging import fonts

WARNING = "AI – not verified – not for diagnosis"
_LEAST_WIDTH = 512  # below this a line of text could not be read on a workstation
# Body parts of PS3.16 annex L of which there is one; any other needs a side told, or said to be unknown.
_SINGLE = frozenset(
    (
        *("ABDOMEN", "ABDOMENPELVIS", "AORTA", "BACK", "BLADDER", "BRAIN", "CEREBELLUM", "CHEST"),
        *("CHESTABDOMEN", "COCCYX", "COLON", "CSPINE", "CTSPINE", "ESOPHAGUS", "FACE", "GALLBLADDER", "HEAD"),
        *("HEADNECK", "HEART", "ILIUM", "JAW", "LIVER", "LSPINE", "LSSPINE", "MAXILLA", "MEDIASTINUM"),
        *("MOUTH", "NECK", "NOSE", "PANCREAS", "PELVIS", "PROSTATE", "RECTUM", "SCALP", "SKULL", "SPINE"),
        *("SPLEEN", "SSPINE", "STERNUM", "STOMACH", "THYMUS", "THYROID", "TLSPINE", "TRACHEA", "TSPINE"),
        *("URETER", "UTERUS", "WHOLEBODY"),
    )
)


def stamped(overlay_rgb: np.ndarray, *, label: str, model: str) -> np.ndarray:
    """Return the picture with a band above and below it that says what it is, drawn into the pixels.

    A band, so that no anatomy is covered; small pictures are enlarged by whole numbers, so that no pixel is invented.

    Parameters
    ----------
    overlay_rgb : ndarray, (rows, columns, 3) uint8
    label : str
        The finding the overlay explains.
    model : str
        Name and version.

    Returns
    -------
    ndarray, (rows, columns, 3) uint8

    Examples
    --------
    >>> stamped(np.zeros((64, 64, 3), np.uint8), label="nodule", model="simple-cnn 1").shape
    (588, 512, 3)
    """
    if overlay_rgb.ndim != 3 or overlay_rgb.shape[2] != 3 or overlay_rgb.dtype != np.uint8 or 0 in overlay_rgb.shape:
        raise ValueError(f"an overlay of {overlay_rgb.shape} {overlay_rgb.dtype}, expected (rows, columns, 3) uint8")
    times = max(1, -(-_LEAST_WIDTH // overlay_rgb.shape[1]))
    body = np.kron(overlay_rgb, np.ones((times, times, 1), np.uint8))
    rows, columns = body.shape[:2]
    size = max(18, columns // 32)
    band = 2 * size + 2
    canvas = Picture.new("RGB", (columns, rows + 2 * band), "black")
    canvas.paste(Picture.fromarray(body), (0, band))
    draw = ImageDraw.Draw(canvas)
    for text, top, colour in ((WARNING, 0, "#ffd400"), (f"{label} · {model}", rows + band, "white")):
        font = _fitting(draw, text, size, columns - size)
        draw.text((columns / 2, top + band / 2), text, fill=colour, font=font, anchor="mm")
    return np.asarray(canvas)


def _fitting(draw: ImageDraw.ImageDraw, text: str, size: int, width: int) -> ImageFont.FreeTypeFont:
    """Return DejaVu Sans at ``size``, or as much smaller as the text needs (never below 8)."""
    font = ImageFont.truetype(str(fonts.path()), size)
    while size > 8 and draw.textlength(text, font=font) > width:
        size -= 1
        font = ImageFont.truetype(str(fonts.path()), size)
    return font


@quoting_no_values()
def secondary_capture(
    source: Path,
    overlay_rgb: np.ndarray,
    *,
    label: str,
    card: ModelCard,
    now: datetime.datetime,
    study_files: Sequence[Path] = (),
) -> Dataset:
    """Return the overlay as a DICOM picture filed under the study it was made from, marked in its pixels.

    Parameters
    ----------
    source : Path
        The DICOM file the overlay was made from; patient and study are taken from it, and it is referenced.
    overlay_rgb : ndarray, (rows, columns, 3) uint8
        The picture with its heat-map, as it is to be seen.
    label : str
        The finding it explains.
    card : ModelCard
        The model.
    now : datetime
        Written as the time of the picture. The same arguments give the same bytes.
    study_files : sequence of Path
        All files that the finding was read from; they must be the same patient's.

    Returns
    -------
    pydicom.Dataset
        Secondary Capture Image, uncompressed, with the words "AI – not verified – not for diagnosis" burned in (and
        Burned In Annotation YES, since they are); ready for ``save_as(path, enforce_file_format=True)``.

    Raises
    ------
    UnreadableFile
        When the source lacks the UIDs that say where the picture belongs.
    IdentityRefused
        When the source and the study's files name different patients.
    ValueError
        When the overlay is not an RGB picture.

    References
    ----------
    DICOM PS3.3 A.8.1 (Secondary Capture Image IOD), C.7.6.1 (derivation, source image).
    """
    model = plain_text(f"{card.name} {card.version}", 64)
    pixels = stamped(overlay_rgb, label=label, model=model)
    origin = header(source)
    check_one_patient([origin, *(identity(file) for file in study_files)])
    content = hashlib.sha256(pixels.tobytes()).hexdigest()
    ds = SCImage.from_ref_dataset(
        ref_dataset=origin,
        pixel_array=pixels,
        photometric_interpretation="RGB",
        bits_allocated=8,
        coordinate_system="PATIENT",
        series_instance_uid=uid_of("overlay series", origin.StudyInstanceUID, card.fingerprint),
        series_number=9900,
        sop_instance_uid=uid_of("overlay", origin.SOPInstanceUID, label, content, card.fingerprint, now.isoformat()),
        instance_number=1,
        manufacturer="overread",
        transfer_syntax_uid="1.2.840.10008.1.2.1",
        patient_orientation=("L", "F"),  # the library wants one; what the source says of it is written below
        manufacturer_model_name=plain_text(card.name, 64),
        software_versions=machine(),
        device_serial_number=card.fingerprint,
        series_description="AI overlay - not verified - not for diagnosis",
        specific_character_set="ISO_IR 192",
    )
    dated(ds, now)
    ds.DateOfSecondaryCapture, ds.TimeOfSecondaryCapture = ds.ContentDate, ds.ContentTime
    ds.Modality, ds.ConversionType = "OT", "WSD"
    ds.BurnedInAnnotation = "YES"
    ds.ImageType = ["DERIVED", "SECONDARY"]
    ds.PatientOrientation = films.orientation(origin) or ""  # of the picture as it was turned when it was read
    ds.BodyPartExamined = origin.get("BodyPartExamined") or ""
    if origin.get("Laterality") or ds.BodyPartExamined not in _SINGLE:
        ds.Laterality = (
            origin.get("Laterality") or ""
        )  # asked for with parts that come in twos, forbidden with the others
    ds.DerivationDescription = plain_text(f"Heat-map of {model} for {label} over the image; not verified", 1024)
    image = Dataset()
    image.ReferencedSOPClassUID, image.ReferencedSOPInstanceUID = origin.SOPClassUID, origin.SOPInstanceUID
    ds.SourceImageSequence = [image]
    return ds
