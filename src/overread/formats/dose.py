"""PET: how much activity was in the patient when the scan began, where the header's times and half life can be believed."""

from __future__ import annotations

import re
from datetime import datetime, timedelta

from pydicom.dataset import Dataset

from overread.domain import noted

MOST_HALF_LIVES = 6.0
"""Half lives between injection and scan beyond which a time must be wrong: 1.6 % of the dose is left, and nobody scans with it.
(Twelve hours of a wrong half of the day are 6.6 half lives of fluorine-18; three days of copper-64 are 5.7.)"""
LATE_SECONDS = 600.0
"""A scan may begin this long (and at most a half life) before the injection: a dynamic one, or two clocks that differ."""
SAME_CLOCK_SECONDS = 60.0
"""Two times of one injection may differ by this."""
LEAST_PER_KG, MOST_PER_KG = 5e4, 3e8
"""Bq for each kg of body weight: a dose outside is in another unit. Patients get 0.1 to 50 million, rats to 200 million; what was
written in kBq is below 60,000 even for the largest doses of rubidium-82, and what was multiplied twice is above 300 million."""
LATER = 0.01
"""A series' time may lie this part of a half life (and at most a minute) after a scan's: rounded seconds, two clocks."""
_NIGHT = timedelta(hours=12)  # a scan after midnight whose injection was before it
_DAY_MUST_BE_SAID = 6 * 3600.0  # s of half life: from here on a scan on another day is nothing unusual
_ALIKE = 0.02  # two half lives are one

_NUCLIDES = {
    "oxygen-15": (122.24, "129504001", "C-B1038"),
    "nitrogen-13": (597.9, "21576001", "C-107A1"),
    "carbon-11": (1221.8, "40565003", "C-105A1"),
    "fluorine-18": (6586.2, "77004003", "C-111A1"),
    "copper-62": (580.2, "422934004", "C-127A5"),
    "copper-64": (45_724.0, "3932008", "C-127A2"),
    "gallium-68": (4062.6, "35337001", "C-131A3"),
    "bromine-76": (58_320.0, "79523006", "C-113A2"),
    "rubidium-82": (76.0, "79197006", "C-159A2"),
    "yttrium-86": (53_064.0, "10738001", "C-162A3"),
    "zirconium-89": (282_280.0, "63360001", "C-168A4"),
    "iodine-124": (360_800.0, "40937006", "C-114A5"),
}
"""Half lives in seconds, and the codes of SNOMED CT and SNOMED RT (DICOM PS3.16 CID 4020)."""
_CORRECTIONS = (("ATTN", "attenuation"), ("DECY", "decay"))


def dose_at_scan(ds: Dataset) -> tuple[float, list[str], list[str]]:
    """Return the activity in the patient, in Bq, at the time to which the image is corrected; or what is missing.

    Parameters
    ----------
    ds : Dataset
        A PET image.

    Returns
    -------
    activity : float
        Bq; of no use where something is missing.
    missing : list of str
        What the header lacks, or where it contradicts itself; empty where the activity is known.
    notes : list of str

    References
    ----------
    DICOM PS3.3 C.8.9.1.1.8 (Decay Correction), C.8.9.2 (PET Isotope), C.12.1.1.8 (Timezone Offset From UTC). Half lives:
    Nuclear Data Sheets (National Nuclear Data Center).

    Examples
    --------
    >>> dose_at_scan(Dataset())[1][-1]
    'Decay Correction is neither START nor ADMIN'
    """
    corrected = [str(v).upper() for v in _list(ds.get("CorrectedImage"))]
    missing = [f"not corrected for {name}" for word, name in _CORRECTIONS if word not in corrected]
    infos = ds.get("RadiopharmaceuticalInformationSequence") or []
    info = infos[0] if len(infos) == 1 else Dataset()
    if len(infos) != 1:
        missing.append(f"{len(infos)} radiopharmaceuticals, expected 1")
    dose, half_life = number(info.get("RadionuclideTotalDose")), number(info.get("RadionuclideHalfLife"))
    if dose is None or dose < 1e4:
        missing.append(f"Radionuclide Total Dose is {'missing' if dose is None else f'{dose:g} Bq'}")
    else:
        missing += _odd_dose(dose, number(ds.get("PatientWeight")))
    correction = str(ds.get("DecayCorrection") or "").strip().upper()
    if correction == "ADMIN":
        return dose or 0.0, missing, []
    if correction != "START":
        return 0.0, [*missing, "Decay Correction is neither START nor ADMIN"], []
    if half_life is None or half_life <= 0:
        return 0.0, [*missing, "Radionuclide Half Life is missing"], []
    missing += _odd_half_life(half_life, info)
    scan, zone = _scan_time(ds, half_life), _zone(ds.get("TimezoneOffsetFromUTC"))
    if scan is None:
        return 0.0, [*missing, "the time of the scan is missing, or the series was made later"], []
    waited, doubts = _waited(info, scan, zone, half_life)
    missing += doubts
    if missing or waited is None or dose is None:
        return 0.0, missing, []
    told = [noted("injected-late", f"injected {-waited:.0f} s after the scan began")] if waited < 0 else []
    return dose * 0.5 ** (waited / half_life), [], told


def _odd_dose(dose: float, weight: float | None) -> list[str]:
    """Tell a dose that nobody of this weight is given: one in kBq, MBq or mCi.

    Examples
    --------
    >>> _odd_dose(370e6, 70.0), _odd_dose(370e3, 70.0)
    ([], ['Radionuclide Total Dose is 370000 Bq, 5286 for each kg of weight: is it another unit?'])
    """
    if not weight or weight < 0 or LEAST_PER_KG <= dose / weight <= MOST_PER_KG:
        return []
    return [f"Radionuclide Total Dose is {dose:.0f} Bq, {dose / weight:.0f} for each kg of weight: is it another unit?"]


def _odd_half_life(said: float, info: Dataset) -> list[str]:
    """Tell a half life that is not the named nuclide's, or that is one's only in minutes, hours or days."""
    codes = {str(code.get("CodeValue") or "").strip() for code in info.get("RadionuclideCodeSequence") or []}
    for name, (half_life, *known) in _NUCLIDES.items():
        if codes & set(known) and not _near(said, half_life, 0.05):
            return [f"Radionuclide Half Life is {said:g} s, that of {name} is {half_life:g} s"]
    if any(_near(said, half_life) for half_life, *_ in _NUCLIDES.values()):
        return []
    for unit, seconds in (("minutes", 60), ("hours", 3600), ("days", 86400)):
        for name, (half_life, *_) in _NUCLIDES.items():
            if _near(said * seconds, half_life):
                return [f"Radionuclide Half Life is {said:g} s; {said:g} {unit} would be that of {name}"]
    return []


def _near(one: float, other: float, by: float = _ALIKE) -> bool:
    return abs(one - other) <= by * other


# ── when ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def _waited(info: Dataset, scan: datetime, zone: timedelta | None, half_life: float) -> tuple[float | None, list[str]]:
    """Return the seconds from injection to scan (below 0 where the scan began first), or why nobody can say."""
    start, doubts = _injection(info, scan, zone, half_life)
    if start is None:
        return None, doubts
    waited = (scan - start).total_seconds()
    if -min(LATE_SECONDS, half_life) <= waited <= MOST_HALF_LIVES * half_life:
        return waited, []
    return None, [f"{waited:.0f} s between injection and scan, at a half life of {half_life:.0f} s"]


def _injection(
    info: Dataset, scan: datetime, zone: timedelta | None, half_life: float
) -> tuple[datetime | None, list[str]]:
    """Return the time of injection on the scan's own clock, or why it is not known."""
    clock = _moment(scan.strftime("%Y%m%d"), info.get("RadiopharmaceuticalStartTime"))
    dated = _written(info.get("RadiopharmaceuticalStartDateTime"))
    if dated is None:
        return _by_the_clock(clock, scan, half_life)
    start, own = dated
    if own is not None and zone is not None:
        start += zone - own
    elif own is not None and clock is None:
        return None, ["Radiopharmaceutical Start DateTime names a time zone, the times of the scan none"]
    if clock is not None:
        apart = abs((start - clock).total_seconds()) % 86400
        apart = min(apart, 86400 - apart)
        if apart > SAME_CLOCK_SECONDS:
            return None, [f"two times of injection, {apart:.0f} s apart"]
    return start, []


def _by_the_clock(clock: datetime | None, scan: datetime, half_life: float) -> tuple[datetime | None, list[str]]:
    """Return the time of an injection without a date: on the day of the scan, or in the evening before it."""
    if clock is None:
        return None, ["Radiopharmaceutical Start Time is missing"]
    if half_life > _DAY_MUST_BE_SAID:
        said = f"the day of injection is not said, at a half life of {half_life / 3600:.1f} h"
        return None, [said]
    evening = clock - timedelta(days=1)
    if clock > scan and scan - evening <= min(_NIGHT, timedelta(seconds=MOST_HALF_LIVES * half_life)):
        return evening, []
    return clock, []


def _scan_time(ds: Dataset, half_life: float) -> datetime | None:
    """Return the time to which decay was corrected: the series' own, unless it was made after the scan (then GE's private one).

    A date of acquisition may be empty (the Standard allows it): then it is that of the series, or the next day's for a scan
    over midnight. A derived image that says nothing of its acquisition has no time to compare with.
    """
    series = _moment(ds.get("SeriesDate"), ds.get("SeriesTime"))
    acquired = _acquired(ds, series)
    unknown = acquired is None and "DERIVED" in [str(word).upper() for word in _list(ds.get("ImageType"))]
    later = min(SAME_CLOCK_SECONDS, LATER * half_life)
    if series is not None and not unknown and (acquired is None or (series - acquired).total_seconds() <= later):
        return series
    scan = _written(private_value(ds, 0x0009, "GEMS_PETD_01", 0x0D))
    if scan is None:
        return None
    zone = _zone(ds.get("TimezoneOffsetFromUTC"))
    return scan[0] if zone is None or scan[1] is None else scan[0] + zone - scan[1]


def _acquired(ds: Dataset, series: datetime | None) -> datetime | None:
    """Return when the acquisition began; one without a date within half a day of the series' own time."""
    dated = _moment(ds.get("AcquisitionDate"), ds.get("AcquisitionTime"))
    if dated is None and (written := _written(ds.get("AcquisitionDateTime"))) is not None:
        dated = written[0]
    if dated is not None or series is None or ds.get("AcquisitionDate"):
        return dated
    clock = _moment(series.strftime("%Y%m%d"), ds.get("AcquisitionTime"))
    if clock is None or abs(clock - series) <= _NIGHT:
        return clock
    return clock + timedelta(days=1 if clock < series else -1)


def _moment(date: object, time: object) -> datetime | None:
    """Join a date and a time of DICOM."""
    day, hour = str(date or "").strip(), str(time or "").strip()
    found = _written(day + hour) if len(day) == 8 and len(hour) >= 4 else None
    return found[0] if found else None


_WRITTEN = re.compile(r"(\d{8})(\d{2})(\d{2})(\d{2})?(\.\d{1,6})?([+-]\d{4})?")


def _written(value: object) -> tuple[datetime, timedelta | None] | None:
    """Read YYYYMMDDHHMM[SS[.FFFFFF]][±HHMM]: the time as it is written, and its zone where it names one."""
    match = _WRITTEN.fullmatch(str(value or "").strip())
    if match is None:
        return None
    day, hour, minute, second, part, zone = match.groups()
    try:
        base = datetime.strptime(f"{day}{hour}{minute}{second or '00'}", "%Y%m%d%H%M%S")
    except ValueError:
        return None
    return base + timedelta(seconds=float(part or 0)), _zone(zone)


def _zone(value: object) -> timedelta | None:
    """Read a zone as ±HHMM; None where there is none, or no such one.

    Examples
    --------
    >>> _zone("-0330"), _zone(""), _zone("+9900")
    (datetime.timedelta(days=-1, seconds=73800), None, None)
    """
    match = re.fullmatch(r"([+-])(\d{2})(\d{2})", str(value or "").strip())
    if match is None or int(match[2]) > 14 or int(match[3]) > 59:
        return None
    east = timedelta(hours=int(match[2]), minutes=int(match[3]))
    return east if match[1] == "+" else -east


# ── values ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def private_value(ds: Dataset, group: int, creator: str, element: int) -> object:
    """Return a private element's value; None where it is not there."""
    try:
        return ds.private_block(group, creator)[element].value
    except KeyError:
        return None


def number(value: object) -> float | None:
    """Read a finite number; None where there is none."""
    try:
        found = float(str(value).strip()) if value not in (None, "") else None
    except ValueError:
        return None
    return found if found is not None and abs(found) < 1e30 else None


def _list(value: object) -> list:
    return [] if value in (None, "") else [value] if isinstance(value, str) else list(value)
