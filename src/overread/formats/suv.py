"""PET: from counts or Bq/ml to the standardised uptake value by body weight, where the header tells all that it needs."""

from __future__ import annotations

import re
from datetime import datetime, timedelta

from pydicom.dataset import Dataset

from overread.domain import noted

ACTIVITY = "Bq/ml"
_UNITS = {"GML": "SUVbw", "CM2ML": "SUVbsa"}
_TYPES = {
    "BW": "SUVbw",
    "LBM": "SUVlbm",
    "LBMJAMES128": "SUVlbm",
    "LBMJANMA": "SUVlbm",
    "BSA": "SUVbsa",
    "IBW": "SUVibw",
}


def suv(ds: Dataset) -> tuple[str, float, list[str]]:
    """Return the unit of a PET image, and the factor that takes its rescaled values there.

    SUVbw is activity concentration × body weight / injected activity, both at one time: 1 g/ml is what the tracer would
    have given had it spread evenly. Where something is missing the values stay Bq/ml (or as stored), and the note says what.

    Parameters
    ----------
    ds : Dataset
        A PET Image, or a part of one.

    Returns
    -------
    unit : str
        "SUVbw", another SUV that the scanner made, "Bq/ml" or "stored".
    factor : float
    notes : list of str

    References
    ----------
    QIBA, Computing SUV (vendor-neutral pseudo-code "happy path only"); DICOM PS3.3 C.8.9.1 (PET Series), C.8.9.2
    (PET Isotope).

    Examples
    --------
    >>> suv(Dataset())
    ('stored', 1.0, ['no-suv: the PET values have no unit in the header: taken as stored'])
    """
    said = str(ds.get("Units") or "").strip().upper()
    if said in _UNITS:
        kind = str(ds.get("SUVType") or "").strip().upper()
        return (_TYPES.get(kind, _UNITS[said]) if said == "GML" else _UNITS[said]), 1.0, []
    if said == "CNTS":
        return _philips(ds)
    if said != "BQML":
        what = "have no unit in the header" if not said else "are in a unit that cannot be turned into SUV"
        return "stored", 1.0, [noted("no-suv", f"the PET values {what}: taken as stored")]
    return _from_activity(ds)


def _from_activity(ds: Dataset, factor: float = 1.0) -> tuple[str, float, list[str]]:
    found, missing = _dose_at_scan(ds)
    weight = _number(ds.get("PatientWeight"))
    if weight is None or not 0.2 <= weight <= 500:
        missing = [*missing, f"Patient's Weight is {'missing' if weight is None else f'{weight:g} kg'}"]
    if missing:
        return ACTIVITY, factor, [noted("no-suv", f"no SUV, values are in Bq/ml: {'; '.join(missing)}")]
    return "SUVbw", factor * weight * 1000 / found, []


def _philips(ds: Dataset) -> tuple[str, float, list[str]]:
    """Counts, with the factor that Philips writes beside them: of the SUV, else of the activity."""
    direct = _private(ds, 0x7053, "Philips PET Private Group", 0x00)
    if direct:
        return "SUVbw", direct, []
    activity = _private(ds, 0x7053, "Philips PET Private Group", 0x09)
    if activity:
        return _from_activity(ds, activity)
    return "stored", 1.0, [noted("no-suv", "the PET values are counts, without a factor to Bq/ml: taken as stored")]


def _dose_at_scan(ds: Dataset) -> tuple[float, list[str]]:
    """Return the activity in the patient, in Bq, at the time to which the image is corrected; or what is missing."""
    corrected = [str(v).upper() for v in _list(ds.get("CorrectedImage"))]
    missing = [f"not corrected for {name}" for word, name in _CORRECTIONS if word not in corrected]
    infos = ds.get("RadiopharmaceuticalInformationSequence") or []
    info = infos[0] if len(infos) == 1 else Dataset()
    if len(infos) != 1:
        missing.append(f"{len(infos)} radiopharmaceuticals, expected 1")
    dose, half_life = _number(info.get("RadionuclideTotalDose")), _number(info.get("RadionuclideHalfLife"))
    if dose is None or dose < 1e4:
        missing.append(f"Radionuclide Total Dose is {'missing' if dose is None else f'{dose:g} Bq'}")
    correction = str(ds.get("DecayCorrection") or "").strip().upper()
    if correction == "ADMIN":
        return dose or 0.0, missing
    if correction != "START":
        return 0.0, [*missing, "Decay Correction is neither START nor ADMIN"]
    if half_life is None or half_life <= 0:
        missing.append("Radionuclide Half Life is missing")
    scan = _scan_time(ds)
    start = _injection(info, scan)
    if scan is None:
        missing.append("the time of the scan is missing, or the series was made later")
    if start is None:
        missing.append("Radiopharmaceutical Start Time is missing")
    if missing or scan is None or start is None or half_life is None or dose is None:
        return 0.0, missing
    waited = (scan - start).total_seconds()
    if not 0 <= waited <= 20 * half_life:
        return 0.0, [f"{waited:.0f} s between injection and scan, at a half life of {half_life:.0f} s"]
    return dose * 0.5 ** (waited / half_life), []


_CORRECTIONS = (("ATTN", "attenuation"), ("DECY", "decay"))


def _scan_time(ds: Dataset) -> datetime | None:
    """Return the time to which decay was corrected: the series' own, unless it was made after the scan (then GE's private one)."""
    series = _moment(ds.get("SeriesDate"), ds.get("SeriesTime"))
    acquired = _moment(ds.get("AcquisitionDate"), ds.get("AcquisitionTime"))
    if series is not None and (acquired is None or series <= acquired):
        return series
    return _datetime(_private_value(ds, 0x0009, "GEMS_PETD_01", 0x0D))


def _injection(info: Dataset, scan: datetime | None) -> datetime | None:
    whole = _datetime(info.get("RadiopharmaceuticalStartDateTime"))
    if whole is not None or scan is None:
        return whole
    start = _moment(scan.strftime("%Y%m%d"), info.get("RadiopharmaceuticalStartTime"))
    if start is not None and start > scan:  # injected before midnight
        start -= timedelta(days=1)
    return start


def _moment(date: object, time: object) -> datetime | None:
    """Join a date and a time of DICOM."""
    day, hour = str(date or "").strip(), str(time or "").strip()
    return _datetime(day + hour) if len(day) == 8 and len(hour) >= 4 else None


_WRITTEN = re.compile(r"(\d{8})(\d{2})(\d{2})(\d{2})?(\.\d{1,6})?(?:[+-]\d{4})?")


def _datetime(value: object) -> datetime | None:
    """Read YYYYMMDDHHMM[SS[.FFFFFF]]; a zone is left out, as the other times have none."""
    match = _WRITTEN.fullmatch(str(value or "").strip())
    if match is None:
        return None
    day, hour, minute, second, part = match.groups()
    try:
        base = datetime.strptime(f"{day}{hour}{minute}{second or '00'}", "%Y%m%d%H%M%S")
    except ValueError:
        return None
    return base + timedelta(seconds=float(part or 0))


def _private_value(ds: Dataset, group: int, creator: str, element: int) -> object:
    try:
        return ds.private_block(group, creator)[element].value
    except KeyError:
        return None


def _private(ds: Dataset, group: int, creator: str, element: int) -> float | None:
    value = _number(_private_value(ds, group, creator, element))
    return value if value and value > 0 else None


def _number(value: object) -> float | None:
    try:
        number = float(str(value).strip()) if value not in (None, "") else None
    except ValueError:
        return None
    return number if number is not None and abs(number) < 1e30 else None


def _list(value: object) -> list:
    return [] if value in (None, "") else [value] if isinstance(value, str) else list(value)
