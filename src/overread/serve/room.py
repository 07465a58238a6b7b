"""What the pages share: the session of a reader, forms that cannot be forged, words, and where a study stands."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import jinja2
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from overread.config import Settings
from overread.errors import OverreadError
from overread.learn.predict import Model
from overread.serve import guard, reading
from overread.serve.inbox import Draft, Entry, Inbox
from overread.serve.signing import Desk, Signature
from overread.serve.worker import Worker, tell_log

HERE = Path(__file__).parent
WORDS = tomllib.loads((HERE / "words" / "en.toml").read_text(encoding="utf-8"))
STUDY = re.compile(r"S[0-9a-f]{12}")


@dataclass
class Room:
    """The reading room: its inbox, its desk, its machine, its settings."""

    inbox: Inbox
    desk: Desk
    model: Model
    worker: Worker
    settings: Settings
    now: Callable[[], datetime]
    demo: bool

    def __post_init__(self) -> None:
        self.templates = jinja2.Environment(
            loader=jinja2.FileSystemLoader(HERE / "templates"),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self.templates.globals.update(say=say, words=WORDS)
        self.templates.filters.update(clock=clock, spoken=spoken)


def say(key: str, **facts: Any) -> str:
    """One of our sentences, with its facts put in.

    Examples
    --------
    >>> say("finding.yours", state="absent")
    'Your impression: absent'
    """
    section, _, word = key.partition(".")
    return WORDS[section][word].format(**facts)


def clock(time: str | datetime) -> str:
    """A time as a person writes it: day and minute.

    Examples
    --------
    >>> clock("2026-01-05T09:30:12+00:00")
    '2026-01-05 09:30'
    """
    moment = datetime.fromisoformat(time) if isinstance(time, str) else time
    return f"{moment:%Y-%m-%d %H:%M}"


def spoken(name: str) -> str:
    """A reader's name as one says it.

    Examples
    --------
    >>> spoken("Curie^Marie")
    'Marie Curie'
    """
    family, _, given = name.partition("^")
    return f"{given} {family}".strip()


# --- a request and its session ---------------------------------------------------------------------------------


def room_of(request: Request) -> Room:
    """The room this request came to."""
    return request.app.state.room


def session_of(request: Request) -> dict[str, str]:
    """This browser's session; a new one, without a reader, when it brings none of ours."""
    if not hasattr(request.state, "session"):
        told = guard.unseal(room_of(request).inbox.key, request.cookies.get(guard.COOKIE, ""))
        request.state.session = told or guard.new_session()
    return request.state.session


def remember_session(request: Request, response: Response) -> Response:
    """Give the session to the browser: for this server only, and out of reach of scripts."""
    sealed = guard.seal(room_of(request).inbox.key, session_of(request))
    response.set_cookie(guard.COOKIE, sealed, httponly=True, samesite="strict", path="/")
    return response


def reader_of(request: Request) -> str:
    """Who is reading (family^given); "" when nobody has said."""
    return session_of(request)["reader"]


def need_reader(request: Request) -> str:
    """Who is reading; nobody gets a picture or a finding without having said."""
    reader = reader_of(request)
    if not reader:
        raise HTTPException(403)
    return reader


async def form_of(request: Request) -> dict[str, str]:
    """The form's fields, each once, when it carries the session's token."""
    form = await request.form(max_files=0, max_fields=500)
    fields = {key: str(value) for key, value in form.multi_items()}
    if len(fields) != len(form.multi_items()):
        raise HTTPException(400)  # a field that is there twice could be read in two ways
    if not guard.token_fits(room_of(request).inbox.key, session_of(request), fields.get("token", "")):
        raise HTTPException(403)
    return fields


def entry_of(request: Request) -> Entry:
    """The study the address names."""
    name = request.path_params["study"]
    entry = room_of(request).inbox.entry(name) if STUDY.fullmatch(name) else None
    if entry is None:
        raise HTTPException(404)
    return entry


# --- where a study stands --------------------------------------------------------------------------------------


def standing(room: Room, entry: Entry, reader: str) -> tuple[Draft | None, str, Signature | None]:
    """(report now, state, last signature) of a study as this reader has it before them."""
    try:
        draft = room.inbox.draft(entry.study)
    except OverreadError:  # the worker makes a damaged report anew; until then there is none
        draft = None
    signatures = room.desk.signatures(entry.study)
    last = signatures[-1] if signatures else None
    if draft is None:
        return None, reading.VOID if last else reading.READING, last
    if last:
        return draft, reading.SIGNED if last.report == draft.report.fingerprint else reading.VOID, last
    opened = room.desk.reading(entry.study, reader) is not None
    return draft, reading.OPENED if opened else reading.WAITING, None


def rows(room: Room, reader: str) -> tuple[list[reading.Row], list[reading.Row]]:
    """The worklist as this reader has it: what is to be read, in order, and what is signed."""
    studies = [(entry, *standing(room, entry, reader)) for entry in room.inbox.entries()]
    return reading.worklist(studies, now=room.now(), by_urgency=room.settings.worklist == "urgency")


def image_facts(room: Room, entry: Entry) -> list[dict[str, Any]]:
    """What is known of a study's images but their pixels; empty while the machine is still reading."""
    folder = image_folder(room, entry)
    return json.loads((folder / "images.json").read_bytes()) if folder else []


def image_folder(room: Room, entry: Entry) -> Path | None:
    """Where the pixels for the viewer lie."""
    draft = room.inbox.draft(entry.study)
    return room.inbox.home(entry.study) / draft.images if draft else None


def about(room: Room, entry: Entry) -> dict[str, str]:
    """Who and what a study is, in words for a line of the worklist."""
    try:
        facts = image_facts(room, entry)
    except OverreadError:
        facts = []
    files = [Path(name).name for name in entry.sources]
    who = entry.patient or (files[0] if len(files) == 1 and not entry.is_dicom else say("worklist.no_patient"))
    kinds = sorted({f["modality"] for f in facts if f["modality"]})
    slices = sum(f["slices"] for f in facts)
    views = ", ".join(dict.fromkeys(f["view"] for f in facts if f["view"]))
    return {"who": who, "what": " ".join([*kinds, f"× {slices}" if slices > 1 else ""]).strip(), "views": views}


# --- answers ---------------------------------------------------------------------------------------------------


def page(request: Request, template: str, *, status: int = 200, **facts: Any) -> Response:
    """A page of the room, with what every page needs."""
    room, session = room_of(request), session_of(request)
    text = room.templates.get_template(template).render(
        site=room.settings.site,
        demo=room.demo,
        reader=session["reader"],
        token=guard.token(room.inbox.key, session),
        **facts,
    )
    return remember_session(request, HTMLResponse(text, status_code=status))


async def on_http(request: Request, error: HTTPException) -> Response:
    """A page for what is not here, or not allowed."""
    kind = {403: "forbidden", 404: "missing"}.get(error.status_code, "forbidden")
    return message(request, error.status_code, say(f"message.{kind}_title"), say(f"message.{kind}"))


async def on_refusal(request: Request, error: OverreadError) -> Response:
    """A page for one of our own refusals."""
    return message(request, 400, say("message.refused_title"), str(error))


async def on_fault(request: Request, error: Exception) -> Response:
    """A page for a fault of the program; the log tells more."""
    tell_log(error)
    answer = message(request, 500, say("message.fault_title"), say("message.fault"))
    answer.headers.update(guard.HEADERS)  # this page is made outside the guard
    return answer


def message(request: Request, status: int, title: str, text: str, *, link: str = "") -> Response:
    """A page that says one thing."""
    return page(request, "message.html", status=status, title=title, text=text, link=link)


def without_token(form: Mapping[str, str]) -> dict[str, str]:
    """What a reader had filled in, to show it again."""
    return {k: v for k, v in form.items() if k != "token"}
