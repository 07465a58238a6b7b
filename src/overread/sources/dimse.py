"""Find and fetch studies over DIMSE: C-FIND lists them, C-GET brings them (or C-MOVE, where a PACS knows only that).

References
----------
PS3.4 C.4 (C-FIND, C-MOVE, C-GET), C.6.2 (Study Root); PS3.7 9.1; PS3.8 9.3.4 (rejection).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from overread.errors import SourceError
from overread.sources.asked import EVERYTHING, MOST_SERIES, Asked, Listed, Series, is_uid
from overread.sources.associations import FIND, GET, MOVE, SYNTAXES, TRIES, Line, Peer, call, listen, reach, storage
from overread.sources.shelf import LARGEST, Gone, Shelf, Taken

_PENDING = (0xFF00, 0xFF01)
_OUT_OF_RESOURCES = (0xA700, 0xA701, 0xA702)
_SOME_FAILED = 0xA702  # some servers say so where they cannot send a transfer syntax: waiting does not help
_STUDY = {
    "study": "StudyInstanceUID",
    "date": "StudyDate",
    "description": "StudyDescription",
    "patient": "PatientID",
    "accession": "AccessionNumber",
}


def find(
    peer: Peer,
    asked: Asked = EVERYTHING,
    *,
    tick: Callable[[], object] | None = None,
) -> Listed:
    """List the series on a PACS that fit what is asked, with C-FIND; nothing is fetched.

    Parameters
    ----------
    peer : Peer
        Who is called, and under which name.
    asked : Asked
        What they are to fit.
    tick : callable, optional
        Called for every study.

    Raises
    ------
    SourceError
        When the PACS cannot be reached, refuses the association or the question.
    """
    series: list[Series] = []
    reach(peer)
    with call(peer, [FIND]) as line:
        studies, unasked = asked.sift(
            {word: told.get(keyword, "") for word, keyword in _STUDY.items()}
            for one in asked.each()
            for told in _ask(line, "STUDY", _question(one))
        )
        for uid in sorted(studies):
            series += _series_of(line, studies[uid], asked)
            if tick is not None:
                tick()
    return Listed(tuple(sorted(series, key=lambda s: (s.study, s.series))), unasked)


def fetch(
    peer: Peer,
    series: Sequence[Series],
    into: Path,
    *,
    largest: int = LARGEST,
    tick: Callable[[int], object] | None = None,
    wait: Callable[[float], object] = time.sleep,
) -> Taken:
    """Fetch series from a PACS into a folder, each instance as it is stored; what is there already stays.

    One association at a time. Parameters and result as :func:`overread.sources.dicomweb.fetch`; ``wait`` waits some
    seconds when the PACS is out of resources (A700).

    Raises
    ------
    SourceError
        When the PACS is gone or refuses. What came stays; call it again to go on.
    """
    reach(peer)
    taken, desk = Taken(tick=tick), _Desk(Shelf(into), largest=largest)
    with _Calls(peer, desk) as calls:
        for each in series:
            try:
                taken.withdrawn += _fetch_series(calls, each, said=taken.came, wait=wait)
                taken.whole.append(desk.shelf.place(each))
            except Gone as why:
                taken.miss(why)
    taken.whole.sort()
    return taken


# -- asking -------------------------------------------------------------------------------------------------------


def _question(asked: Asked) -> dict[str, str]:
    return {
        "StudyInstanceUID": asked.study,
        "StudyDate": asked.date,
        "StudyDescription": asked.description,
        "PatientID": asked.patient,
        "AccessionNumber": asked.accession,
        "ModalitiesInStudy": asked.modality,
    }


def _ask(line: Line, level: str, question: Mapping[str, str]) -> list[dict[str, str]]:
    """Return all answers to one C-FIND, each as keyword → text."""
    for _ in range(TRIES):
        line.heard.clear()
        answers = list(_answers(line, level, question))
        if len(answers) == sum(code in _PENDING for code in line.heard):
            return answers
    raise SourceError("answers that were lost on the way", expected="all of them", do="run the same command again")


def _answers(line: Line, level: str, question: Mapping[str, str]) -> Iterator[dict[str, str]]:
    count = 0
    for status, answer in line.association.send_c_find(_identifier(level, question), FIND):
        code = status.get("Status")
        if code in _PENDING and answer is not None:
            count += 1
            if count > MOST_SERIES:
                raise SourceError(
                    f"more than {MOST_SERIES:,} answers", expected="fewer", do="ask for less: give a date"
                )
            told = {k: _text(answer, k) for k in question}
            if not is_uid(told[_KEY[level]]):
                raise SourceError("a PACS that lists something without a UID", expected="UIDs", do="tell who runs it")
            yield told
        elif code != 0x0000:
            raise _failed("C-FIND", code)


_KEY = {"STUDY": "StudyInstanceUID", "SERIES": "SeriesInstanceUID", "IMAGE": "SOPInstanceUID"}


def _identifier(level: str, question: Mapping[str, str]) -> Any:
    from pydicom.dataset import Dataset

    identifier = Dataset()
    identifier.QueryRetrieveLevel = level
    if not all(value.isascii() for value in question.values()):
        identifier.SpecificCharacterSet = "ISO_IR 192"
    for keyword, value in question.items():
        setattr(identifier, keyword, value)
    return identifier


def _series_of(line: Line, told: Mapping[str, str], asked: Asked) -> list[Series]:
    """Return the series of one study that are wanted."""
    question = {
        "StudyInstanceUID": told["study"],
        "SeriesInstanceUID": "",
        "Modality": "",
        "NumberOfSeriesRelatedInstances": "",
    }
    out = []
    for each in _ask(line, "SERIES", question):
        count, modality = each["NumberOfSeriesRelatedInstances"], each["Modality"]
        if not asked.modalities or modality.upper() in asked.modalities:
            number = int(count) if count.isdecimal() else None
            out.append(Series(**told, series=each["SeriesInstanceUID"], modality=modality, instances=number))
    return out


def _text(answer: Any, keyword: str) -> str:
    value = answer.get(keyword)
    return "" if value is None else str(value).strip()


def _failed(what: str, code: int | None) -> SourceError:
    if code is None:
        return SourceError(
            f"no answer to {what}: the PACS cut the association",
            expected="an answer",
            do="ask whether it lets our AE title ask (calling=TITLE names another), or run the same command again",
        )
    said = {
        0xA700: "out of resources",
        0xA701: "out of resources",
        0xA702: "out of resources",
        0xA801: "it does not know where to move to: our AE title has to be known to it, with host and port",
        0xA900: "the question does not fit its model",
        0x0122: "it does not offer this",
        0x0124: "not allowed",
    }.get(code, "it failed")
    return SourceError(f"{what} was answered with {code:04X} ({said})", expected="0000", do="ask who runs the PACS")


# -- fetching -----------------------------------------------------------------------------------------------------


class _Desk:
    """Where instances arrive: each is kept when it was asked for."""

    def __init__(self, shelf: Shelf, *, largest: int) -> None:
        self.shelf, self.largest = shelf, largest
        self.wanted: dict[str, Path] = {}
        self.came: set[str] = set()
        self.broken: Gone | None = None
        self.fault: OSError | None = None

    def receive(self, uid: str, file: bytes) -> int:
        """Keep one instance and return the status of the C-STORE."""
        try:
            self.came.add(self.shelf.keep([file], self.wanted, largest=self.largest))
        except Gone as why:
            self.broken = self.broken or why
            return 0xA900
        except OSError as fault:  # a full disk: told once the PACS has stopped sending
            self.fault = fault
            return 0xA700
        return 0x0000


@dataclass
class _Calls:
    """The associations of one fetch: one to ask, one to bring; each opened when it is needed and kept while it will do."""

    peer: Peer
    desk: _Desk

    def __enter__(self) -> _Calls:
        self._finding, self._bringing, self._listening = ExitStack(), ExitStack(), ExitStack()
        self._find: Line | None = None
        self._bring: Line | None = None
        self._takes: tuple[frozenset[str], str] = (frozenset(), "")
        self._syntax = ""  # the one that worked last, with a PACS that looks at one context only
        self._useless: set[tuple[frozenset[str], str]] = set()
        if self.peer.retrieve == "move":
            self._listening.enter_context(listen(self.peer, self.desk.receive))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, raised: BaseException | None, trace: TracebackType | None
    ) -> None:
        # what ends the fetch ends the associations: told of it they are aborted, else each would be released politely,
        # and wait a minute for an answer that stands behind the instances still being sent
        closing = ExitStack()
        for stack in (self._listening, self._finding, self._bringing):
            closing.push(stack)
        closing.__exit__(kind, raised, trace)

    def finding(self) -> Line:
        """Return an association for C-FIND."""
        if self._find is None or not self._find.association.is_established:
            self._finding.close()
            self._find = self._finding.enter_context(call(self.peer, [FIND]))
        return self._find

    def bringing(self, classes: frozenset[str], syntax: str) -> Line:
        """Return an association for C-GET that takes these SOP classes, or one for C-MOVE."""
        move = self.peer.retrieve == "move"
        will_do = move or (classes <= self._takes[0] and syntax == self._takes[1])
        if self._bring is None or not self._bring.association.is_established or not will_do:
            self._bringing.close()
            takes = () if move else storage(classes, syntax)
            opened = call(self.peer, [MOVE if move else GET], takes=takes, receive=None if move else self.desk.receive)
            self._bring = self._bringing.enter_context(opened)
            self._takes = classes, syntax
            if syntax and len(self._bring.association.accepted_contexts) == 1:  # the question's own
                self._useless.add(self._takes)
        return self._bring

    def syntaxes(self, classes: frozenset[str]) -> list[str]:
        """Return the ways to ask for an instance: the one that worked last, all at once, then one by one."""
        each = SYNTAXES if self.peer.retrieve == "get" else ()
        return [s for s in dict.fromkeys((self._syntax, "", *each)) if (classes, s) not in self._useless]

    def worked(self, syntax: str) -> None:
        """Remember how an instance came."""
        self._syntax = syntax


def _fetch_series(
    calls: _Calls,
    series: Series,
    *,
    said: Callable[[int, int], None],
    wait: Callable[[float], object],
) -> int:
    """Bring what of a series is not there, the whole series in one request where nothing of it is; return how many were withdrawn.

    The instances are asked for by their UIDs even where as many are here as the PACS has: one may have been replaced.
    """
    desk = calls.desk
    listed = _instances(calls, series)
    missing = desk.shelf.missing(series, listed)
    said(0, len(listed) - len(missing))
    classes = frozenset(listed.values()) - {""} if all(listed.values()) else frozenset()
    one = {"StudyInstanceUID": series.study, "SeriesInstanceUID": series.series}
    wants, desk.broken = _Wants(missing, classes, said, wait), None
    if len(missing) == len(listed):
        _bring(calls, "SERIES", one, wants)
    for uid in list(missing):  # the rest, one by one
        for syntax in calls.syntaxes(classes):
            _bring(calls, "IMAGE", one | {"SOPInstanceUID": uid}, wants, syntax=syntax)
            if uid not in missing:
                calls.worked(syntax)
                break
        else:
            raise desk.broken or Gone(
                f"{len(missing)} of {len(listed)} instances of a series that the PACS lists and does not send",
                expected="all of them",
                do="ask who runs the PACS whether it can send their transfer syntax",
            )
    return desk.shelf.withdraw(series, listed)


@dataclass(frozen=True)
class _Wants:
    """What is missing of one series, and who hears of what comes."""

    missing: dict[str, Path]
    classes: frozenset[str]
    said: Callable[[int, int], None]
    wait: Callable[[float], object]


def _instances(calls: _Calls, series: Series) -> dict[str, str]:
    """Return the instances of a series → their SOP class ("" where the PACS does not say)."""
    question = {
        "StudyInstanceUID": series.study,
        "SeriesInstanceUID": series.series,
        "SOPInstanceUID": "",
        "SOPClassUID": "",
    }
    told = _ask(calls.finding(), "IMAGE", question)
    return {each["SOPInstanceUID"]: each["SOPClassUID"] for each in told}


def _bring(calls: _Calls, level: str, question: Mapping[str, str], wants: _Wants, *, syntax: str = "") -> None:
    """Send one C-GET or C-MOVE, again where the PACS is out of resources or hung up, and strike off what came."""
    desk, missing, code = calls.desk, wants.missing, None
    for tried in range(TRIES):
        if tried:
            wants.wait(0.5 * 2**tried)
        desk.wanted, desk.came = dict(missing), set()
        for code, failed in _send(calls, level, question, wants.classes, syntax):
            for uid in list(desk.came):
                desk.came.discard(uid)
                if missing.pop(uid, None) is not None:
                    wants.said(1, 0)
        if desk.fault is not None:
            raise desk.fault
        busy = code in _OUT_OF_RESOURCES and not (code == _SOME_FAILED and failed)
        if not missing or (code is not None and not busy):
            break
    what = "C-MOVE" if calls.peer.retrieve == "move" else "C-GET"
    if missing and code in (None, 0xA801, 0x0122, 0x0124):
        raise _failed(what, code)
    if missing and busy:
        why = _failed(what, code)
        raise Gone(why.came, expected=why.expected, do="run the same command again later: what came is kept")


def _send(
    calls: _Calls, level: str, question: Mapping[str, str], classes: frozenset[str], syntax: str
) -> Iterator[tuple[int | None, int]]:
    """Yield of each answer to a C-GET or C-MOVE its status (None where the association broke) and how many failed."""
    association = calls.bringing(classes, syntax).association
    identifier = _identifier(level, question)
    if calls.peer.retrieve == "move":
        answers = association.send_c_move(identifier, calls.peer.calling, MOVE)
    else:
        answers = association.send_c_get(identifier, GET)
    for status, _ in answers:
        yield status.get("Status"), status.get("NumberOfFailedSuboperations") or 0
