"""Find and fetch studies over DICOMweb: QIDO-RS lists them, WADO-RS brings them as they are stored.

References
----------
PS3.18 10.4 (retrieve), 10.6 (search); Annex F (DICOM JSON model).
"""

from __future__ import annotations

import http.client
import string
import threading
import urllib.parse
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

from overread.errors import SourceError
from overread.sources.asked import EVERYTHING, MOST_SERIES, Asked, Listed, Series, is_uid
from overread.sources.keys import Keys
from overread.sources.multipart import BadMultipart, boundary_of, parts
from overread.sources.shelf import LARGEST, Gone, Shelf, Taken
from overread.sources.wire import Lost, Wire

CONNECTIONS = 4
"""At most so many at once: a hospital's PACS has other work."""

_PAGE = 200
_PLAIN = frozenset(string.ascii_letters + string.digits + "-._~*")
_ACCEPT = 'multipart/related; type="application/dicom"; transfer-syntax=*'
_STUDY = {
    "study": "0020000D",
    "date": "00080020",
    "description": "00081030",
    "patient": "00100020",
    "accession": "00080050",
}
_SERIES_UID, _SOP_UID, _MODALITY, _INSTANCES = "0020000E", "00080018", "00080060", "00201209"


def find(
    address: str,
    asked: Asked = EVERYTHING,
    *,
    keys: Keys | None = None,
    timeout_s: float = 60.0,
    tick: Callable[[], object] | None = None,
) -> Listed:
    """List the series on a DICOMweb server that fit what is asked; nothing is fetched.

    Parameters
    ----------
    address : str
        The service: "https://pacs.example:8443/dicom-web".
    asked : Asked
        What they are to fit.
    keys : Keys, optional
        Login and certificates.
    timeout_s : float
        Of silence.
    tick : callable, optional
        Called for every study.

    Raises
    ------
    SourceError
        When the server cannot be reached, lets nobody in, or is no DICOMweb server.
    """
    with _Wires(address, keys=keys or Keys(), timeout_s=timeout_s) as wires:
        wire = wires.mine()
        studies, unasked = asked.sift(
            {word: _text(told, tag) for word, tag in _STUDY.items()}
            for one in asked.each()
            for told in _pages(wire, "studies", _question(one), key=_STUDY["study"])
        )
        series: list[Series] = []
        for some in wires.work(lambda uid: _series_of(wires.mine(), studies[uid], asked), sorted(studies)):
            series += some
            if tick is not None:
                tick()
    return Listed(tuple(sorted(series, key=lambda s: (s.study, s.series))), unasked)


def fetch(
    address: str,
    series: Sequence[Series],
    into: Path,
    *,
    keys: Keys | None = None,
    timeout_s: float = 60.0,
    largest: int = LARGEST,
    tick: Callable[[int], object] | None = None,
) -> Taken:
    """Fetch series from a DICOMweb server into a folder, each instance as it is stored; what is there already stays.

    Parameters
    ----------
    address : str
    series : sequence of Series
        From :func:`find`.
    into : Path
        Of this server; made, for its owner only. ``<into>.partial`` beside it holds what is on its way.
    keys : Keys, optional
    timeout_s : float
        Of silence.
    largest : int
        Bytes of one instance.
    tick : callable, optional
        Called with a number of instances that are there now.

    Returns
    -------
    Taken
        A series that did not come whole is counted there with the reason, and stops nothing.

    Raises
    ------
    SourceError
        When the server is gone or lets nobody in. What came stays; call it again to go on.
    """
    shelf, taken, lock = Shelf(into), Taken(tick=tick), threading.Lock()

    def said(new: int, already: int) -> None:
        with lock:
            taken.came(new, already)

    with _Wires(address, keys=keys or Keys(), timeout_s=timeout_s) as wires:

        def one(each: Series) -> tuple[Series, int | Gone]:
            try:
                return each, _fetch_series(wires.mine(), each, shelf, largest=largest, said=said)
            except Gone as why:
                return each, why

        for each, came in wires.work(one, series):
            if isinstance(came, Gone):
                taken.miss(came)
            else:
                taken.whole.append(shelf.place(each))
                taken.withdrawn += came
    taken.whole.sort()
    return taken


# -- asking -------------------------------------------------------------------------------------------------------


def _question(asked: Asked) -> list[tuple[str, str]]:
    """Return the words of a QIDO-RS search for studies.

    Some servers (Orthanc 1.10) do not decode what stands in a question. So a character that would have to be encoded is
    asked for as "any one character"; what comes too much is passed over afterwards.
    """
    words = {
        "ModalitiesInStudy": asked.modality,
        "StudyDate": asked.date,
        "StudyDescription": asked.description,
        "PatientID": asked.patient,
        "AccessionNumber": asked.accession,
        "StudyInstanceUID": asked.study,
    }
    plain = {k: "".join(c if c in _PLAIN else "?" for c in v) for k, v in words.items()}
    return [(k, v) for k, v in plain.items() if v] + [("includefield", "StudyDescription")]


def _pages(wire: Wire, path: str, question: list[tuple[str, str]], *, key: str) -> Iterator[Mapping[str, Any]]:
    """Yield everything that a search lists, page by page, until nothing new comes: some servers give less than asked."""
    seen: set[str] = set()
    while True:
        page = wire.json(path, [*question, ("limit", str(_PAGE)), ("offset", str(len(seen)))])
        fresh = [told for told in page if (uid := _text(told, key)) not in seen and not seen.add(uid)]
        for told in fresh:
            if not is_uid(_text(told, key)):
                raise SourceError("a server that lists something without a UID", expected="UIDs", do="tell who runs it")
            yield told
        if not fresh:
            return
        if len(seen) > MOST_SERIES:
            raise SourceError(f"more than {MOST_SERIES:,} answers", expected="fewer", do="ask for less: give a date")


def _series_of(wire: Wire, told: Mapping[str, str], asked: Asked) -> list[Series]:
    """Return the series of one study that are wanted."""
    out = []
    for each in _pages(wire, f"studies/{told['study']}/series", [], key=_SERIES_UID):
        modality = _text(each, _MODALITY)
        if not asked.modalities or modality.upper() in asked.modalities:
            count = _text(each, _INSTANCES)
            out.append(
                Series(
                    **told,
                    series=_text(each, _SERIES_UID),
                    modality=modality,
                    instances=int(count) if count.isdecimal() else None,
                )
            )
    return out


def _text(told: Mapping[str, Any], tag: str) -> str:
    """Return the first value of an attribute in the DICOM JSON model as text; "" when it is empty or not there."""
    attribute = told.get(tag)
    values = attribute.get("Value") if isinstance(attribute, dict) else None
    value = values[0] if isinstance(values, list) and values else None
    return str(value) if isinstance(value, (str, int)) else ""


# -- fetching -----------------------------------------------------------------------------------------------------


def _fetch_series(wire: Wire, series: Series, shelf: Shelf, *, largest: int, said: Callable[[int, int], None]) -> int:
    """Bring what of a series is not there, the whole series in one answer where nothing of it is; return how many were withdrawn.

    The instances are asked for by their UIDs even where as many are here as the server has: one may have been replaced.
    """
    path = f"studies/{series.study}/series/{series.series}"
    listed = [_text(told, _SOP_UID) for told in _pages(wire, f"{path}/instances", [], key=_SOP_UID)]
    missing = shelf.missing(series, listed)
    said(0, len(listed) - len(missing))
    if len(missing) == len(listed) > 1:
        try:
            _retrieve(wire, path, missing, shelf, largest=largest, said=said)
        except Gone:
            pass  # what came stays; the rest is asked for one by one, and that tells what is wrong
    for uid in list(missing):
        _retrieve(wire, f"{path}/instances/{uid}", {uid: missing[uid]}, shelf, largest=largest, said=said)
        del missing[uid]
    return shelf.withdraw(series, listed)


def _retrieve(
    wire: Wire, path: str, missing: dict[str, Path], shelf: Shelf, *, largest: int, said: Callable[[int, int], None]
) -> None:
    """Take one WADO-RS answer apart, keep each instance that is missing, and strike it off."""
    wanted = dict(missing)

    def read(response: http.client.HTTPResponse) -> None:
        try:
            boundary = boundary_of(response.headers.get("Content-Type", ""))
            for part in parts(response.read1, boundary, most=len(wanted)):
                uid = shelf.keep(part, wanted, largest=largest)
                if missing.pop(uid, None) is not None:
                    said(1, 0)
        except BadMultipart as error:
            raise Lost(str(error)) from None
        except (http.client.HTTPException, ConnectionError, TimeoutError):
            raise Lost("an answer that was cut off") from None

    wire.ask(path, accept=_ACCEPT, read=read, whole=len(wanted) == 1)
    if missing and len(wanted) == 1:
        raise Gone("an answer without the instance", expected="the one asked for", do="look at it on the PACS")


class _Wires:
    """A few connections to one server, one for each thread, hung up all together."""

    def __init__(self, address: str, *, keys: Keys, timeout_s: float) -> None:
        self._make = lambda: Wire(base(address), keys=keys, timeout_s=timeout_s, wait=self._stop.wait)
        self._stop, self._own, self._lock = threading.Event(), threading.local(), threading.Lock()
        self._all: list[Wire] = []

    def __enter__(self) -> _Wires:
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            for wire in self._all:
                wire.close()

    def _stop_all(self) -> None:
        """Let every thread hear that it is over, also one that waits for a silent server."""
        self._stop.set()
        with self._lock:
            for wire in self._all:
                wire.end()

    def mine(self) -> Wire:
        """Return this thread's own connection."""
        if not hasattr(self._own, "wire"):
            self._own.wire = self._make()
            with self._lock:
                self._all.append(self._own.wire)
        return self._own.wire

    def work(self, do: Callable[[Any], Any], items: Sequence[Any]) -> Iterator[Any]:
        """Yield what ``do`` makes of each item, in threads; an error or Ctrl-C stops them all."""
        pool = ThreadPoolExecutor(CONNECTIONS)
        try:
            for future in as_completed([pool.submit(do, item) for item in items]):
                yield future.result()
        except BaseException:
            self._stop_all()
            raise
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def base(address: str) -> str:
    """Check the address of a DICOMweb service and return it.

    Raises
    ------
    SourceError
        When it is none, or holds a password.

    Examples
    --------
    >>> base("https://pacs.example/dicom-web/")
    'https://pacs.example/dicom-web'
    """
    parts_of = urllib.parse.urlsplit(address)
    try:
        port_fits = parts_of.port is None or parts_of.port > 0
    except ValueError:
        port_fits = False
    if parts_of.scheme not in ("http", "https") or not parts_of.hostname or not port_fits or parts_of.query:
        raise SourceError(
            "no address of a DICOMweb service", expected="https://HOST:PORT/PATH", do="write dicomweb:https://…"
        )
    if "@" in parts_of.netloc:
        raise SourceError("a login in an address", expected="none there: others see it", do="give login=FILE")
    return address.rstrip("/")
