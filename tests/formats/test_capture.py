"""The picture that is filed: valid, under the study, with its warning in the pixels and the anatomy whole."""

from __future__ import annotations

import numpy as np
import pydicom
import pytest
from made_reports import CARD, NOW, SOURCES, errors, source

from overread.formats.capture import WARNING, stamped
from overread.formats.evidence import secondary_capture


@pytest.mark.parametrize("name", SOURCES)
def test_the_picture_is_valid_and_filed_under_the_study(name, tmp_path):
    overlay = np.full((61, 75, 3), 90, np.uint8)
    ds = secondary_capture(source(name), overlay, label="pneumonia", card=CARD, now=NOW)
    assert errors(ds, tmp_path) == []
    ds, origin = pydicom.dcmread(tmp_path / "object.dcm"), pydicom.dcmread(source(name))
    assert ds.StudyInstanceUID == origin.StudyInstanceUID
    assert ds.SourceImageSequence[0].ReferencedSOPInstanceUID == origin.SOPInstanceUID
    assert (ds.BurnedInAnnotation, ds.ImageType[0]) == ("YES", "DERIVED")
    assert "BodyPartExamined" in ds
    assert (ds.pixel_array == stamped(overlay, label="pneumonia", model="simple-cnn 3")).all()


def test_the_warning_is_in_the_pixels_and_hides_no_anatomy():
    overlay = np.full((61, 75, 3), 90, np.uint8)
    picture = stamped(overlay, label="pneumonia", model="simple-cnn 3")
    times = -(-512 // 75)
    band = (picture.shape[0] - 61 * times) // 2
    assert (picture[band:-band] == 90).all()  # the overlay is whole
    lit = (picture[:band].max(axis=2) > 128).mean()
    assert 0.02 < lit < 0.5  # letters, not a blank and not a block
    other = stamped(overlay, label="nodule", model="simple-cnn 3")
    assert (picture[:band] == other[:band]).all()
    assert (picture[-band:] != other[-band:]).any()
    assert "not verified" in WARNING


@pytest.mark.parametrize("bad", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3)), np.zeros((0, 4, 3), np.uint8)])
def test_a_picture_that_is_none_is_refused(bad):
    with pytest.raises(ValueError, match="expected"):
        secondary_capture(source(), bad, label="x", card=CARD, now=NOW)
