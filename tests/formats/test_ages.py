"""Ages become bands, the same ones wherever an age is met."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import Dataset

from overread.formats.ages import age_band
from overread.formats.facts import facts

BANDS = ("<18", "18-39", "40-64", "65-79", "80+")


@pytest.mark.parametrize(
    ("age", "band"), [("90-94", "80+"), ("90+", "80+"), ("80-89", "80-89"), ("<18", "<18"), ("018M", "<18")]
)
def test_age_bands(age, band):
    assert age_band(age) == band


@given(st.integers(0, 130))
def test_the_ages_of_tables_and_headers_fall_in_the_same_bands(years):
    ds = Dataset()
    ds.PatientAge = f"{years:03}Y"
    assert age_band(str(years)) == facts([ds]).strata["age"]


@given(st.integers(0, 999), st.sampled_from("DWMY"))
def test_every_age_has_one_band(number, unit):
    assert age_band(f"{number:03d}{unit}") in BANDS


@pytest.mark.parametrize("age", ["", "45", "045", "50-59", "old"])
def test_a_header_says_an_age_with_its_unit_or_none(age):
    ds = Dataset()
    ds.add_new("PatientAge", "LO", age)
    assert "age" not in facts([ds]).strata
