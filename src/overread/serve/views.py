"""What a reader sees and does, page by page: worklist, study, own impression, finding, heat-map, signature.

A finding is in no page, no data and no picture that this server sends before the reader's own impression of that
study is stored. What can change something is a POST with the session's token; what a GET gives changes nothing.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, RedirectResponse, Response

from overread.errors import OverreadError
from overread.serve import guard, reading
from overread.serve.answers import SIGNED, person, status_of
from overread.serve.inbox import Draft, Entry
from overread.serve.room import (
    Room,
    about,
    entry_of,
    form_of,
    image_facts,
    image_folder,
    message,
    need_reader,
    page,
    reader_of,
    remember_session,
    room_of,
    rows,
    say,
    standing,
    without_token,
)
from overread.serve.signing import Reading


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
        facts["opened"] = _opened(room, draft, done, version=len(facts["signatures"]) + 1)
        mine = [row.moved_up for row in rows(room, reader)[0] if row.entry.study == entry.study]
        facts["opened"].update(moved_up=sum(mine), because=reading.worst(draft.report))
    return page(request, "study.html", status=status, **facts)


def _opened(room: Room, draft: Draft, done: Reading, *, version: int) -> dict[str, Any]:
    """What a page tells of the findings, once the reader's own impression is stored."""
    site = room.settings.prevalence
    return {
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
        "version": version,
        "heat_maps": done.heat_maps,
        "has_heat_map": set(draft.overlays),
        "model": draft.model,
        "limits": room.model.card.limits,
        "notes": draft.notes,
    }


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
            title = say("message.signed_title") if error.came == SIGNED else say("message.changed_title")
            return await run_in_threadpool(message, request, 409, title, str(error), link=f"/study/{entry.study}")
        return await run_in_threadpool(
            _study_page, request, entry, status=400, problem=str(error), given=without_token(form)
        )
    return RedirectResponse(f"/study/{entry.study}", 303)
