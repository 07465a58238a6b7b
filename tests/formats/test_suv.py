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
    dated = {"RadiopharmaceuticalStartTime": "233000", "RadiopharmaceuticalStartDateTime": "20200101233000.00"}
    dated = pet(SeriesTime="003000", AcquisitionTime="003000", **dated)
    assert suv(dated)[1] == pytest.approx(suv(pet())[1])


@pytest.mark.parametrize("late", [1, 15, 600])
def test_injected_after_the_scan_began_is_not_injected_the_day_before(late: int) -> None:
    """A dynamic scan is started first. Decay is corrected to its start, when a little more than the dose would have been needed."""
    start = f"10{15 + late // 60:02d}{late % 60:02d}"
    unit, factor, notes = suv(pet(RadiopharmaceuticalStartTime=start))
    assert unit == "SUVbw"
    assert factor == pytest.approx(70_000 / (370e6 * 0.5 ** (-late / HALF_LIFE)), rel=1e-12)
    assert notes == [f"injected-late: injected {late} s after the scan began"]


@pytest.mark.parametrize("start", ["102501", "120000", "230000"])
def test_an_injection_long_after_the_scan_is_a_wrong_time(start: str) -> None:
    unit, factor, notes = suv(pet(RadiopharmaceuticalStartTime=start))
    assert (unit, factor) == ("Bq/ml", 1.0)
    assert "s between injection and scan" in notes[0]


def zoned(start: str, *, zone: str | None, clock: str | None = None) -> Dataset:
    ds = pet(RadiopharmaceuticalStartDateTime=start, TimezoneOffsetFromUTC=zone, RadiopharmaceuticalStartTime=clock)
    if zone is None:
        del ds.TimezoneOffsetFromUTC
    return ds


@pytest.mark.parametrize(
    ("start", "zone"),
    [
        ("20200102091500", "+0100"),
        ("20200102081500+0000", "+0100"),
        ("20200102121500.5+0930", "+0630"),
        ("20200102041500-0500", "+0000"),
        ("20200101214500-1130", "+0000"),
    ],
)
def test_an_injection_in_another_time_zone_is_the_same_moment(start: str, zone: str) -> None:
    assert suv(zoned(start, zone=zone))[:2] == ("SUVbw", pytest.approx(suv(pet())[1], rel=1e-4))


def test_a_zone_that_the_scan_does_not_share_leaves_activity_unless_the_clock_confirms_it() -> None:
    assert "time zone" in suv(zoned("20200102091500+0200", zone=None))[2][0]
    assert suv(zoned("20200102091500+0200", zone=None, clock="091500"))[1] == pytest.approx(suv(pet())[1])
    contradicted = suv(zoned("20200102091500+0000", zone="+0100", clock="091500"))
    assert contradicted[0] == "Bq/ml"
    assert "two times of injection, 3600 s apart" in contradicted[2][0]


def test_a_long_half_life_needs_the_day_of_injection() -> None:
    """Zirconium-89 is scanned days later: a time without a date says nothing."""
    assert "day of injection is not said" in suv(pet(RadionuclideHalfLife=282_276))[2][0]
    unit, factor, _ = suv(pet(RadionuclideHalfLife=282_276, RadiopharmaceuticalStartDateTime="20191229091500"))
    assert (unit, factor) == ("SUVbw", pytest.approx(70_000 / (370e6 * 0.5 ** ((4 * 86400 + 3600) / 282_276))))


def test_a_half_life_that_is_another_nuclide_s_is_named() -> None:
    assert "109.77 minutes would be that of fluorine-18" in suv(pet(RadionuclideHalfLife=109.77))[2][0]
    assert "1.83 hours" in suv(pet(RadionuclideHalfLife=1.83))[2][0]
    code = Dataset()
    code.CodeValue = "C-111A1"
    ds = pet(RadionuclideHalfLife=4062.6)
    assert suv(ds)[0] == "SUVbw"
    ds.RadiopharmaceuticalInformationSequence[0].RadionuclideCodeSequence = Sequence([code])
    assert "that of fluorine-18 is 6586.2 s" in suv(ds)[2][0]
    ds.RadiopharmaceuticalInformationSequence[0].RadionuclideHalfLife = HALF_LIFE
    assert suv(ds)[0] == "SUVbw"


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
        ({"RadiopharmaceuticalStartDateTime": "20200101091500"}, "90000 s between injection and scan"),
    ],
)
def test_whatever_is_missing_leaves_activity_and_is_named(header: dict, named: str) -> None:
    unit, factor, notes = suv(pet(**header))
    assert (unit, factor) == ("Bq/ml", 1.0)
    assert [code_of(n) for n in notes] == ["no-suv"]
    assert named in notes[0]
    assert "2020" not in notes[0] and "2019" not in notes[0]


def without_a_date(**header: object) -> Dataset:
    ds = pet(**header)
    ds.AcquisitionDate = ""
    return ds


def test_a_scan_whose_date_is_empty_is_compared_by_its_time() -> None:
    """Acquisition Date may be empty. A series that was made four hours after the scan says nothing of when decay began."""
    assert suv(without_a_date())[:2] == suv(pet())[:2]
    assert "made later" in suv(without_a_date(SeriesTime="141500"))[2][0]
    whole = without_a_date(SeriesTime="141500", AcquisitionDateTime="20200102101500")
    assert "made later" in suv(whole)[2][0]
    midnight = {"SeriesTime": "235900", "RadiopharmaceuticalStartTime": "225900"}
    assert suv(without_a_date(**midnight, AcquisitionTime="000300"))[:2] == ("SUVbw", pytest.approx(suv(pet())[1]))
    after = {"SeriesTime": "000300", "RadiopharmaceuticalStartTime": "225900"}
    assert "made later" in suv(without_a_date(**after, AcquisitionTime="235900"))[2][0]


def test_a_derived_image_without_a_time_of_its_scan_has_no_suv() -> None:
    ds = pet(ImageType=["DERIVED", "PRIMARY"])
    assert suv(ds)[0] == "SUVbw"
    del ds.AcquisitionDate, ds.AcquisitionTime
    assert "time of the scan is missing" in suv(ds)[2][0]
    ds.ImageType = ["ORIGINAL", "PRIMARY"]
    assert suv(ds)[0] == "SUVbw"


def test_a_series_a_second_after_its_first_bed_is_the_scan() -> None:
    """Whole seconds beside fractions, two clocks: what a hundredth of a half life can change is below a hundredth of the SUV."""
    assert suv(pet(SeriesTime="101501.2"))[:2] == ("SUVbw", pytest.approx(suv(pet())[1], rel=2e-4))
    assert suv(pet(SeriesTime="101601"))[0] == "Bq/ml"
    rubidium = {"RadionuclideHalfLife": 76.0, "RadiopharmaceuticalStartTime": "101430", "RadionuclideTotalDose": 1.5e9}
    assert suv(pet(**rubidium))[0] == "SUVbw"
    assert suv(pet(**rubidium, SeriesTime="101502"))[0] == "Bq/ml"


@pytest.mark.parametrize("dose", [370e3, 2.2e6, 370e9])
def test_a_dose_that_nobody_is_given_is_in_another_unit(dose: float) -> None:
    """370,000 is 370 MBq in kBq: taken as Bq, every SUV is a thousand times too high."""
    unit, factor, notes = suv(pet(RadionuclideTotalDose=dose))
    assert (unit, factor) == ("Bq/ml", 1.0)
    assert f"Total Dose is {dose:.0f} Bq, {dose / 70:.0f} for each kg of weight" in notes[0]
    unit, _, notes = suv(pet(RadionuclideTotalDose=dose, DecayCorrection="ADMIN"))
    assert (unit, code_of(notes[0])) == ("Bq/ml", "no-suv")


@pytest.mark.parametrize(("dose", "weight"), [(14e6, 3.0), (37e6, 110), (10e6, 95), (2.2e9, 45), (60e6, 0.3)])
def test_doses_of_children_of_immuno_pet_of_water_and_of_rats_are_believed(dose: float, weight: float) -> None:
    assert suv(pet(RadionuclideTotalDose=dose, PatientWeight=weight))[0] == "SUVbw"


def test_a_mapping_to_real_world_values_is_not_called_no_unit() -> None:
    ds = Dataset()
    ds.RealWorldValueMappingSequence = Sequence([Dataset()])
    assert "Real World Value Mapping that was not applied" in suv(ds)[2][0]
    group = Dataset()
    group.RealWorldValueMappingSequence = Sequence([Dataset()])
    frames = Dataset()
    frames.PerFrameFunctionalGroupsSequence = Sequence([group])
    assert suv(frames)[2] == suv(ds)[2]
