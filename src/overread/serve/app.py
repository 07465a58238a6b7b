"""The reading room as a web application: its addresses, the worker beside it, the port it listens on."""

from __future__ import annotations

import socket
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from overread.config import Settings, read_settings
from overread.errors import OverreadError, RunError
from overread.learn.predict import Model
from overread.serve import guard, views
from overread.serve.inbox import Inbox
from overread.serve.room import HERE, Room, on_fault, on_http, on_refusal
from overread.serve.signing import Desk
from overread.serve.worker import Worker
from overread.steps.reads import opened


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
        Route("/", views.worklist),
        Route("/reader", views.who),
        Route("/reader", views.introduce, methods=["POST"]),
        Route("/study/{study}", views.study),
        Route("/study/{study}/images", views.images),
        Route("/study/{study}/image/{k:int}/slice/{z:int}", views.image_slice),
        Route("/study/{study}/impression", views.impression, methods=["POST"]),
        Route("/study/{study}/heatmap", views.open_heat_map, methods=["POST"]),
        Route("/study/{study}/heatmap/{i:int}", views.heat_map),
        Route("/study/{study}/sign", views.sign, methods=["POST"]),
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
        If the run cannot be used, is not the one that was trained and measured (`steps.reads.opened`), or there is no inbox.
    """
    import uvicorn

    settings = read_settings(settings) if isinstance(settings, (str, Path)) else settings or Settings()
    port = settings.port if port is None else port
    check_port(settings.host, port)
    model, edits = opened(Path(run), needed=("card.json",))  # its figures stand on the reading page
    for why in edits:
        print(f"! {why}", file=sys.stderr)
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
