"""One DICOM object, read safely: its header, with its pixels not yet decoded (``units`` does that)."""

from __future__ import annotations

import io
import logging
import re
import warnings
import zlib

import pydicom
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import Tag

from overread.domain import noted
from overread.errors import UnreadableFile
from overread.formats.headers import data_set_begins, is_deflated
from overread.formats.limits import check_bytes, refusing
from overread.formats.parser import ITEMS, check_items, read_dataset

_PIXEL_DATA = Tag(0x7FE0, 0x0010)

logging.getLogger("pydicom").propagate = False  # its log quotes header values, names among them

_NOT_IMAGES = {
    "1.2.840.10008.5.1.4.1.1.66.4": "a Segmentation: marks on images",
    "1.2.840.10008.5.1.4.1.1.66.7": "a Label Map Segmentation: marks on images",
    "1.2.840.10008.5.1.4.1.1.481.2": "an RT Dose: a plan, not a picture",
    "1.2.840.10008.5.1.4.1.1.77.1.6": "a whole-slide microscopy image, stored in tiles",
}


def parse(raw: bytes) -> Dataset:
    """Read a DICOM file from its bytes, with its pixels, without decoding them.

    Raises
    ------
    UnreadableFile
        ``malformed``, ``truncated``, ``no-pixels``, ``unsupported-object``, ``too-large`` (a deflated bomb).
    """
    check_deflated(raw)
    with refusing("a DICOM file whose header cannot be read"):  # RecursionError of nested sequences among it
        try:
            ds = read_dataset(io.BytesIO(raw))
        except EOFError as error:
            raise UnreadableFile("a DICOM file that ends too early", code="truncated", do="copy it again") from error
        sop = str(ds.get("SOPClassUID", ""))
        pixels = any(k in ds for k in ("PixelData", "FloatPixelData", "DoubleFloatPixelData"))
    if sop in _NOT_IMAGES:
        raise UnreadableFile(
            f"a DICOM object that is {_NOT_IMAGES[sop]}",
            code="unsupported-object",
            expected="an image",
            do="leave it out",
        )
    if not pixels and " Image Storage" in _class_name(ds):
        raise UnreadableFile(
            f"a DICOM image that ends before its pixels ({_class_name(ds)})",
            code="truncated",
            expected="its pixels",
            do="copy it again",
        )
    if not pixels:
        raise UnreadableFile(
            f"a DICOM object without pixels ({_class_name(ds)})",
            code="no-pixels",
            expected="an image",
            do="leave it out",
        )
    if not is_deflated(raw):
        _share(ds, raw)
    return ds


def _share(ds: Dataset, raw: bytes) -> None:
    """Let the data set look at the pixels in the file's own bytes: a large series is not held twice."""
    element = ds.get_item(_PIXEL_DATA)
    if not isinstance(element, RawDataElement) or not element.value:
        return
    view = memoryview(raw)[element.value_tell : element.value_tell + len(element.value)]
    if view == element.value:
        ds[_PIXEL_DATA] = element._replace(value=view)


def _class_name(ds: Dataset) -> str:
    sop = ds.get("SOPClassUID") or getattr(ds, "file_meta", {}).get("MediaStorageSOPClassUID")
    known = sop and pydicom.uid.UID(sop).name != str(sop)
    return pydicom.uid.UID(sop).name if known else "of no known kind"


def check_deflated(raw: bytes) -> None:
    """A deflated data set is inflated whole by the parser, so its true size is measured first, in constant memory."""
    if not is_deflated(raw):
        return
    engine, size, items, left = zlib.decompressobj(-zlib.MAX_WBITS), 0, 0, raw[data_set_begins(raw) :]
    try:
        while left and not engine.eof:
            chunk = engine.decompress(left, 1 << 24)
            size, items, left = size + len(chunk), items + chunk.count(ITEMS[0]), engine.unconsumed_tail
            check_bytes(size)
            check_items(items)
    except zlib.error as error:
        raise UnreadableFile("a damaged deflated DICOM file", code="malformed", do="export it again") from error


def told(caught: list[warnings.WarningMessage]) -> list[str]:
    """Turn the parser's warnings into notes. Their own words are not kept: they quote header values.

    Examples
    --------
    >>> with warnings.catch_warnings(record=True) as caught:
    ...     warnings.simplefilter("always")
    ...     warnings.warn("Invalid value for VR UI: '1.2.3.04'")
    >>> told(caught)
    ['header-rules: a header value breaks the rules of its type (UI)']
    """
    notes = []
    for warning in caught:
        kind = re.search(r"for VR ([A-Z]{2})\b", str(warning.message))
        what = f"a header value breaks the rules of its type ({kind[1]})" if kind else "it breaks rules of the Standard"
        notes.append(noted("header-rules", what))
    return list(dict.fromkeys(notes))
