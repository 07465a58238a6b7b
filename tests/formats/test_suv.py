"""PET: the vendor-neutral recipe, by hand, and what is missing said by name."""

from __future__ import annotations

import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from overread.domain import code_of
from overread.formats.suv import suv

HALF_LIFE = 6586.2  # s, fluorine-18


def pet(**header: object) -> Dataset:
    info = Dataset()
    info.RadionuclideTotalDose, info.RadionuclideHalfLife = 370e6, HALF_LIFE
    info.RadiopharmaceuticalStartTime = "091500"
    ds = Dataset()
    ds.Units, ds.DecayCorrection, ds.CorrectedImage = "BQML", "START", ["ATTN", "DECY"]
    ds.PatientWeight, ds.SeriesDate, ds.SeriesTime = 70, "20200102", "101500"
    ds.AcquisitionDate, ds.AcquisitionTime = "20200102", "101500.000"
    ds.RadiopharmaceuticalInformationSequence = Sequence([info])
    for keyword, value in header.items():
        target = info if keyword.startswith("Radi") else ds
        setattr(target, keyword, value)
    return ds


def test_decay_corrected_to_the_scan() -> None:
    unit, factor, notes = suv(pet())
    assert (unit, notes) == ("SUVbw", [])
    assert factor == pytest.approx(70_000 / (370e6 * 0.5 ** (3600 / HALF_LIFE)), rel=1e-12)


def test_corrected_to_the_injection_needs_no_times() -> None:
    ds = pet(DecayCorrection="ADMIN")
    del ds.SeriesTime
    assert suv(ds)[:2] == ("SUVbw", pytest.approx(70_000 / 370e6))


def test_injected_before_midnight() -> None:
    night = pet(SeriesTime="003000", AcquisitionTime="003000", RadiopharmaceuticalStartTime="233000")
    assert suv(night)[1] == pytest.approx(suv(pet())[1])
    dated = pet(SeriesTime="003000", AcquisitionTime="003000", RadiopharmaceuticalStartDateTime="20200101233000.00")
    assert suv(dated)[1] == pytest.approx(suv(pet())[1])


def test_a_series_made_after_the_scan_needs_ges_own_time() -> None:
    later = pet(SeriesTime="180000")
    assert suv(later)[0] == "Bq/ml"
    block = later.private_block(0x0009, "GEMS_PETD_01", create=True)
    block.add_new(0x0D, "DT", "20200102101500.00")
    assert suv(later)[:2] == ("SUVbw", pytest.approx(suv(pet())[1]))


def test_philips_counts() -> None:
    ds = pet(Units="CNTS")
    assert suv(ds)[:2] == ("stored", 1.0)
    block = ds.private_block(0x7053, "Philips PET Private Group", create=True)
    block.add_new(0x09, "DS", "2.5")
    assert suv(ds)[:2] == ("SUVbw", pytest.approx(2.5 * suv(pet())[1]))
    block.add_new(0x00, "DS", "0.001")
    assert suv(ds)[:2] == ("SUVbw", 0.001)


def test_what_the_scanner_already_made() -> None:
    assert suv(pet(Units="GML"))[:2] == ("SUVbw", 1.0)
    assert suv(pet(Units="GML", SUVType="LBM"))[0] == "SUVlbm"
    assert suv(pet(Units="CM2ML"))[0] == "SUVbsa"
    assert suv(pet(Units="PROPCPS"))[0] == "stored"


@pytest.mark.parametrize(
    ("header", "named"),
    [
        ({"PatientWeight": None}, "Weight"),
        ({"PatientWeight": 0}, "0 kg"),
        ({"RadionuclideTotalDose": None}, "Total Dose is missing"),
        ({"RadionuclideTotalDose": 370}, "370 Bq"),
        ({"RadionuclideHalfLife": None}, "Half Life"),
        ({"RadiopharmaceuticalStartTime": None}, "Start Time"),
        ({"SeriesTime": None}, "time of the scan"),
        ({"DecayCorrection": "NONE"}, "Decay Correction"),
        ({"CorrectedImage": ["DECY"]}, "attenuation"),
        ({"RadiopharmaceuticalStartDateTime": "20191201091500"}, "s between injection and scan"),
    ],
)
def test_whatever_is_missing_leaves_activity_and_is_named(header: dict, named: str) -> None:
    unit, factor, notes = suv(pet(**header))
    assert (unit, factor) == ("Bq/ml", 1.0)
    assert [code_of(n) for n in notes] == ["no-suv"]
    assert named in notes[0]
    assert "2020" not in notes[0] and "2019" not in notes[0]
