"""The reading room's pages: worklist, study, own impression, finding, signature.

A finding is in no page, no data and no picture that this server sends before the reader's own impression of that
study is stored. What can change something is a POST with the session's token; what a GET gives changes nothing.
"""

from __future__ import annotations

import json
import socket
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from overread.config import Settings, read_settings
from overread.errors import OverreadError, RunError
from overread.learn.predict import Model
from overread.serve import guard, reading
from overread.serve.answers import person, status_of
from overread.serve.inbox import Entry, Inbox
from overread.serve.room import (
    HERE,
    Room,
    about,
    entry_of,
    form_of,
    image_facts,
    image_folder,
    message,
    need_reader,
    on_fault,
    on_http,
    on_refusal,
    page,
    reader_of,
    remember_session,
    room_of,
    rows,
    say,
    standing,
    without_token,
)
from overread.serve.signing import Desk
from overread.serve.worker import Worker


def build(
    model: Model,
    inbox: Path | str,
    *,
    now: Callable[[], datetime],
    settings: Settings | None = None,
    demo: bool = False,
    pause: float = 1.0,
    work: bool = True,
) -> Starlette:
    """The reading room as a web application, with the worker's loop beside it.

    Parameters
    ----------
    model : Model
        ``learn.predict.Model``.
    inbox : Path or str
        The folder studies arrive in; must exist.
    now : callable
        Gives the time, with its offset.
    settings : Settings or None
    demo : bool
        Show that these are no patients.
    pause : float
        Seconds between two looks at the inbox.
    work : bool
        False: only what is drafted already; nothing new is read.

    Raises
    ------
    NothingToDo
        If there is no inbox folder.
    IntegrityError
        If its journal was touched.
    """
    settings = settings or Settings()
    shelf = Inbox(inbox)
    shelf.hold()
    desk = Desk(shelf, model.card, now=now())
    worker = Worker(shelf, model, now=now, pause=pause)
    room = Room(shelf, desk, worker=worker, model=model, settings=settings, now=now, demo=demo)

    @asynccontextmanager
    async def life(_: Starlette) -> AsyncIterator[None]:
        if work:
            worker.start()
        yield
        worker.stop()
        if work:
            await run_in_threadpool(worker.join, 30.0)
        shelf.release()

    routes = [
        Route("/", worklist),
        Route("/reader", who),
        Route("/reader", introduce, methods=["POST"]),
        Route("/study/{study}", study),
        Route("/study/{study}/images", images),
        Route("/study/{study}/image/{k:int}/slice/{z:int}", image_slice),
        Route("/study/{study}/impression", impression, methods=["POST"]),
        Route("/study/{study}/heatmap", open_heat_map, methods=["POST"]),
        Route("/study/{study}/heatmap/{i:int}", heat_map),
        Route("/study/{study}/sign", sign, methods=["POST"]),
        Mount("/static", StaticFiles(directory=HERE / "static")),
    ]
    hosts = ("localhost", "127.0.0.1", "::1", settings.host)
    app = Starlette(
        routes=routes,
        lifespan=life,
        middleware=[Middleware(guard.Guard, hosts=hosts)],
        exception_handlers={HTTPException: on_http, OverreadError: on_refusal, Exception: on_fault},
    )
    app.state.room = room
    return app


def serve(
    run: Path | str,
    *,
    inbox: Path | str | None = None,
    port: int | None = None,
    demo: bool = False,
    settings: Settings | Path | str | None = None,
) -> None:
    """Open the reading room of a trained run on this computer, until Ctrl-C.

    Parameters
    ----------
    run : Path or str
        A finished run.
    inbox : Path, str or None
        The folder studies arrive in; else the settings' one, else ``RUN.inbox`` beside the run, which is made: never
        inside it, where names would travel with the model.
    port : int or None
        Else the settings' one (8080).
    demo : bool
        Say on every page that these are phantoms.
    settings : Settings, path of its TOML file, or None

    Raises
    ------
    RunError, IntegrityError, NothingToDo
        If the run cannot be used, or there is no inbox.
    """
    import uvicorn

    settings = read_settings(settings) if isinstance(settings, (str, Path)) else settings or Settings()
    port = settings.port if port is None else port
    check_port(settings.host, port)
    model = Model.load(run)
    folder = Path(inbox or settings.inbox or inbox_beside(run))
    if not inbox and not settings.inbox:
        folder.mkdir(mode=0o700, exist_ok=True)
    app = build(model, folder, now=lambda: datetime.now().astimezone(), settings=settings, demo=demo)
    shown = "127.0.0.1" if settings.host in ("0.0.0.0", "::") else settings.host
    print(
        f"overread is open at http://{shown}:{port}/ on the inbox {folder.resolve()}; Ctrl-C closes it", file=sys.stderr
    )
    uvicorn.run(
        app,
        host=settings.host,
        port=port,
        log_level="warning",
        server_header=False,
        h11_max_incomplete_event_size=32768,
    )


def inbox_beside(run: Path | str) -> Path:
    """The inbox of a run that was given none: beside its folder, as the run itself may be handed on.

    Examples
    --------
    >>> inbox_beside("runs/chest/").name
    'chest.inbox'
    """
    run = Path(run).resolve()
    return run.with_name(f"{run.name}.inbox")


def check_port(host: str, port: int) -> None:
    """Refuse a port that there is not, or that somebody else has, before anything is begun.

    Raises
    ------
    RunError
    """
    if not 1 <= port <= 65535:
        raise RunError(f"port {port}", expected="1 to 65535", do="name another with --port")
    try:
        socket.create_server((host, port)).close()
    except OSError as error:
        raise RunError(
            f"port {port} cannot be opened ({error.strerror})", expected="a free port", do="name another with --port"
        ) from error


# --- pages -----------------------------------------------------------------------------------------------------


def worklist(request: Request) -> Response:
    """All studies: to be read in order, refused, signed."""
    room = room_of(request)
    reader = reader_of(request)
    if not reader:
        return RedirectResponse("/reader", 303)
    by_urgency = room.settings.worklist == "urgency"
    to_read, signed = rows(room, reader)
    return page(
        request,
        "worklist.html",
        to_read=to_read,
        signed=signed,
        refused=room.inbox.refused(),
        arriving=room.inbox.arriving(),
        looked=room.worker.last_look,
        trouble=room.worker.trouble,
        stopped=room.worker.ident is not None and not room.worker.is_alive(),
        by_urgency=by_urgency,
        facts={row.entry.study: about(room, row.entry) for row in (*to_read, *signed)},
    )


def who(request: Request) -> Response:
    """Ask who is reading."""
    return page(request, "reader.html", problem="", given={})


async def introduce(request: Request) -> Response:
    """Take down who is reading."""
    form = await form_of(request)
    try:
        reader = person(f"{form.get('family', '')}^{form.get('given', '')}", room_of(request).model.card)
    except OverreadError as error:
        return page(request, "reader.html", status=400, problem=str(error), given=without_token(form))
    request.state.session = guard.new_session(reader)
    return remember_session(request, RedirectResponse("/", 303))


def study(request: Request) -> Response:
    """One study, as far as this reader may see it now."""
    if not reader_of(request):
        return RedirectResponse("/reader", 303)
    return _study_page(request, entry_of(request))


def _study_page(
    request: Request, entry: Entry, *, status: int = 200, problem: str = "", given: dict | None = None
) -> Response:
    room, reader = room_of(request), reader_of(request)
    draft, state, signature = standing(room, entry, reader)
    done = room.desk.reading(entry.study, reader) if draft else None
    facts: dict[str, Any] = {
        "entry": entry,
        "about": about(room, entry),
        "state": state,
        "problem": problem,
        "given": given or {},
    }
    facts.update(
        signature=signature, signatures=room.desk.signatures(entry.study), opened=None, has_draft=draft is not None
    )
    facts["questions"] = [f.label for f in draft.report.findings] if draft else []
    facts["amending"] = state == reading.SIGNED and "amend" in request.query_params
    if state == reading.SIGNED:
        following = next((row.entry for row in rows(room, reader)[0]), None)
        facts["next"] = (following.study, about(room, following)["who"]) if following else None
    if draft and done:  # only from here on does the page know the finding
        site = room.settings.prevalence
        facts["opened"] = {
            "findings": [
                reading.opened_finding(
                    f,
                    room.model.card,
                    prevalence=site.get(f.label),
                    impression=done.impressions[f.label],
                    images=len(draft.report.images),
                )
                for f in draft.report.findings
            ],
            "fingerprint": draft.report.fingerprint,
            "version": len(facts["signatures"]) + 1,
            "heat_maps": done.heat_maps,
            "has_heat_map": set(draft.overlays),
            "model": draft.model,
            "limits": room.model.card.limits,
            "notes": draft.notes,
        }
    return page(request, "study.html", status=status, **facts)


def images(request: Request) -> Response:
    """What the viewer must know of a study's images."""
    need_reader(request)
    return JSONResponse(image_facts(room_of(request), entry_of(request)))


def image_slice(request: Request) -> Response:
    """One slice as numbers: 4 bytes length, JSON of that length, then the values, little-endian, row by row."""
    need_reader(request)
    room, entry = room_of(request), entry_of(request)
    k, z = request.path_params["k"], request.path_params["z"]
    facts = image_facts(room, entry)
    if k >= len(facts) or z >= facts[k]["slices"]:
        raise HTTPException(404)
    voxels = np.load(image_folder(room, entry) / f"{k}.npy", mmap_mode="r", allow_pickle=False)
    return Response(
        framed({key: facts[k][key] for key in ("dtype", "rows", "columns", "channels")}, voxels[z]),
        media_type="application/octet-stream",
    )


def framed(head: dict[str, Any], values: np.ndarray) -> bytes:
    """Numbers with their description before them; the numbers start at a multiple of 8 bytes.

    Examples
    --------
    >>> framed({"dtype": "|u1"}, np.array([7], "|u1"))
    b'\\x14\\x00\\x00\\x00{"dtype": "|u1"}    \\x07'
    """
    text = json.dumps(head).encode()
    text += b" " * (-(4 + len(text)) % 8)
    return len(text).to_bytes(4, "little") + text + np.ascontiguousarray(values).tobytes()


async def impression(request: Request) -> Response:
    """Store the reader's own impression; the finding opens on the page that follows."""
    form, entry = await form_of(request), entry_of(request)
    room, reader = room_of(request), need_reader(request)
    states = {key.removeprefix("impression:"): value for key, value in form.items() if key.startswith("impression:")}
    try:
        await run_in_threadpool(room.desk.impression, entry.study, reader=reader, states=states, now=room.now())
    except OverreadError as error:
        return await run_in_threadpool(
            _study_page, request, entry, status=400, problem=str(error), given=without_token(form)
        )
    return RedirectResponse(f"/study/{entry.study}", 303)


async def open_heat_map(request: Request) -> Response:
    """Open a heat-map, on record."""
    form, entry = await form_of(request), entry_of(request)
    room, reader = room_of(request), need_reader(request)
    label = form.get("label", "")
    await run_in_threadpool(room.desk.open_heat_map, entry.study, reader=reader, label=label, now=room.now())
    draft = room.inbox.draft(entry.study)
    i = [f.label for f in draft.report.findings].index(label)
    if "application/json" in request.headers.get("accept", ""):
        return JSONResponse({"src": f"/study/{entry.study}/heatmap/{i}"})
    return RedirectResponse(f"/study/{entry.study}#finding-{i}", 303)


def heat_map(request: Request) -> Response:
    """The picture of a heat-map that this reader has opened."""
    room, entry, reader = room_of(request), entry_of(request), need_reader(request)
    draft, done = room.inbox.draft(entry.study), room.desk.reading(entry.study, reader)
    i = request.path_params["i"]
    if draft is None or i >= len(draft.report.findings):
        raise HTTPException(404)
    label = draft.report.findings[i].label
    if done is None or label not in done.heat_maps:
        raise HTTPException(403)
    return FileResponse(room.inbox.home(entry.study) / draft.overlays[label], media_type="image/png")


async def sign(request: Request) -> Response:
    """A reader signs what they answered."""
    form, entry = await form_of(request), entry_of(request)
    room, reader = room_of(request), need_reader(request)
    answers = []
    for key, value in form.items():
        if key.startswith("answer:"):
            label = key.removeprefix("answer:")
            verdict, _, final = value.partition(":")
            answers.append(
                {"label": label, "verdict": verdict, "final": final, "reason": form.get(f"reason:{label}", "")}
            )
    version = form.get("version", "")
    try:
        await run_in_threadpool(
            room.desk.sign,
            entry.study,
            session=reader,
            typed=f"{form.get('family', '')}^{form.get('given', '')}",
            shown=form.get("report", ""),
            version=int(version) if version.isascii() and version.isdigit() else 0,
            answers=answers,
            now=room.now(),
        )
    except OverreadError as error:
        if status_of(error) == 409:
            title = say("message.changed_title")
            return await run_in_threadpool(message, request, 409, title, str(error), link=f"/study/{entry.study}")
        return await run_in_threadpool(
            _study_page, request, entry, status=400, problem=str(error), given=without_token(form)
        )
    return RedirectResponse(f"/study/{entry.study}", 303)
