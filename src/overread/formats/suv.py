"""PET: from counts or Bq/ml to the standardised uptake value by body weight, where the header tells all that it needs."""

from __future__ import annotations

from pydicom.dataset import Dataset

from overread.domain import noted
from overread.formats.dose import dose_at_scan, number, private_value

ACTIVITY, SUV = "Bq/ml", "SUVbw"
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
        if not said and _is_mapped(ds):
            what = "have no Units, and a Real World Value Mapping that was not applied"
        return "stored", 1.0, [noted("no-suv", f"the PET values {what}: taken as stored")]
    return _from_activity(ds)


def _is_mapped(ds: Dataset) -> bool:
    """True where an object, or its first frame, says by a Real World Value Mapping what its values are."""
    groups = [*list(ds.get("SharedFunctionalGroupsSequence") or [])[:1]]
    groups += list(ds.get("PerFrameFunctionalGroupsSequence") or [])[:1]
    return any(item.get("RealWorldValueMappingSequence") for item in (ds, *groups))


def _from_activity(ds: Dataset, factor: float = 1.0) -> tuple[str, float, list[str]]:
    found, missing, told = dose_at_scan(ds)
    weight = number(ds.get("PatientWeight"))
    if weight is None or not 0.2 <= weight <= 500:
        missing = [*missing, f"Patient's Weight is {'missing' if weight is None else f'{weight:g} kg'}"]
    if missing:
        return ACTIVITY, factor, [noted("no-suv", f"no SUV, values are in Bq/ml: {'; '.join(missing)}")]
    return SUV, factor * weight * 1000 / found, told


def _philips(ds: Dataset) -> tuple[str, float, list[str]]:
    """Counts, with the factor that Philips writes beside them: of the SUV, else of the activity."""
    direct = _private(ds, 0x7053, "Philips PET Private Group", 0x00)
    if direct:
        return "SUVbw", direct, []
    activity = _private(ds, 0x7053, "Philips PET Private Group", 0x09)
    if activity:
        return _from_activity(ds, activity)
    return "stored", 1.0, [noted("no-suv", "the PET values are counts, without a factor to Bq/ml: taken as stored")]


def per_activity(ds: Dataset) -> float:
    """Return the SUV of one Bq/ml where an image's SUV is made of weight and dose; 0 where it is not.

    Examples
    --------
    >>> per_activity(Dataset())
    0.0
    """
    counts = str(ds.get("Units") or "").strip().upper() == "CNTS"
    if counts and _private(ds, 0x7053, "Philips PET Private Group", 0x00):
        return 0.0
    unit, factor, _ = _from_activity(ds)
    return factor if unit == SUV else 0.0


def _private(ds: Dataset, group: int, creator: str, element: int) -> float | None:
    value = number(private_value(ds, group, creator, element))
    return value if value and value > 0 else None
