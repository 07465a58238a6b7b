"""Search the CDC's Public Health Image Library as a person does: fill in the search field, read the list, turn the page.

The search is an ASP.NET form: the page gives hidden fields, which go back with the words. Which field takes the words is
told by what the form calls it, so that a renamed field is still found, and a form without one is refused.
"""

from __future__ import annotations

import re
import urllib.parse
from dataclasses import dataclass

from overread.errors import SourceError
from overread.sources.markup import Form, Input, Page, joined, read_page
from overread.sources.phil_page import read_record
from overread.sources.polite import Session

_PAGES = 200
_NUMBER = re.compile(r"details\.aspx\?(?:[^#]*&)?pid=(\d{1,7})\b", re.IGNORECASE)
_NEXT = re.compile(r"^(next( page)?|>|>>|›|»|→)$", re.IGNORECASE)
_SAID = re.compile(r"\b([\d,]{1,9}) (?:images?|records?|results?|items?|pictures?)(?: were)? found\b", re.IGNORECASE)


@dataclass(frozen=True)
class Listed:
    """What a search listed.

    Parameters
    ----------
    numbers : tuple of str
        Record numbers in the library's order, at most as many as were wanted.
    complete : bool
        True when the library had no more to list.
    said : int or None
        How many the library says it found, where it says so.
    """

    numbers: tuple[str, ...]
    complete: bool
    said: int | None = None


def search(session: Session, site: str, term: str, *, most: int) -> Listed:
    """Return the numbers of the records that the library lists for some words.

    Parameters
    ----------
    session : Session
        One with cookies: the library recognises its visitor by them.
    site : str
        The library's address, with a slash at the end.
    term : str
        As a person would type it.
    most : int
        No more pages are asked for than are needed for so many.

    Raises
    ------
    SourceError
        When there is no search page, or none that we understand.
    UnreadableFile
        As ``Session.page``.
    """
    answer = session.page(urllib.parse.urljoin(site, "QuickSearch.aspx"), keep=False)
    page = read_page(answer.content, answer.address)
    form = next((f for f in (page.form, *page.forms) if _keyword(f) is not None), None)
    keyword = _keyword(form) if form is not None else None
    if answer.missing or keyword is None:
        raise _not_understood("no field for the words", page)
    sent = {**form.hidden, **_photographs(form), keyword.name: term, **_button(form)}
    if "__VIEWSTATE" in sent:
        sent |= {"__EVENTTARGET": "", "__EVENTARGUMENT": ""}
    answer = session.page(form.action, fields=sent, keep=False)
    page = read_page(answer.content, answer.address)
    numbers = dict.fromkeys(_numbers(page))
    if not numbers and (only := read_record(page)) is not None:
        numbers[only.number] = None  # one record found: some searches show it at once
    if not numbers and not _says_none(page):
        raise _not_understood("neither records nor the word that there are none", page)
    said = _said(page)
    for turned in range(2, _PAGES + 1):
        if len(numbers) >= most:
            break
        following = _following(session, page, number=turned)
        if following is None:
            break
        fresh = dict.fromkeys(_numbers(following))
        if not fresh.keys() - numbers.keys():
            break
        numbers, page = numbers | fresh, following
    complete = len(numbers) <= most and (said is None or len(numbers) >= said)
    return Listed(tuple(numbers)[:most], complete and _next(page, number=turned) is None, said)


def _following(session: Session, page: Page, *, number: int) -> Page | None:
    """Turn the page; None on the last."""
    step = _next(page, number=number)
    if step is None:
        return None
    address, fields = step
    answer = session.page(address, fields=fields, keep=False)
    return None if answer.missing else read_page(answer.content, answer.address)


def _next(page: Page, *, number: int) -> tuple[str, dict[str, str] | None] | None:
    """Return what to ask for to see page ``number``: an address and, for a form, its fields."""
    links = [link for link in page.links if _NEXT.match(link.words) or link.words == str(number)]
    for link in links:
        if link.post_back is not None:
            target, argument = link.post_back
            return page.form.action, {**page.form.hidden, "__EVENTTARGET": target, "__EVENTARGUMENT": argument}
        if link.address.startswith(("http://", "https://")) and not _NUMBER.search(link.address):
            return link.address, None
    for button in page.form.inputs:
        if button.kind in ("submit", "image") and (_NEXT.match(button.value) or _NEXT.match(button.words)):
            pressed = {f"{button.name}.x": "1", f"{button.name}.y": "1"} if button.kind == "image" else {}
            return page.form.action, {**page.form.hidden, **(pressed or {button.name: button.value})}
    return None


def _numbers(page: Page) -> list[str]:
    return [found[1] for link in page.links if (found := _NUMBER.search(link.address))]


def _keyword(form: Form) -> Input | None:
    """The field a person would type into: the one whose name speaks of keywords, else of a search, else the only one."""
    fields = [i for i in form.inputs if i.kind in ("text", "search") and i.name]
    for word in ("keyword", "quick", "search", "query"):
        for i in fields:
            if word in i.name.lower().rpartition("$")[2]:
                return i
    return fields[0] if len(fields) == 1 else None


def _photographs(form: Form) -> dict[str, str]:
    """Tick what says photograph and nothing else: drawings and films are no images of patients."""
    boxes = [i for i in form.inputs if i.kind == "checkbox" and i.name]
    photographs = [i for i in boxes if "photo" in f"{i.value} {i.words}".lower()]
    return {i.name: i.value or "on" for i in photographs or [i for i in boxes if i.ticked]}


def _button(form: Form) -> dict[str, str]:
    buttons = [i for i in form.inputs if i.kind == "submit" and i.name]
    chosen = [i for i in buttons if "search" in f"{i.name} {i.value}".lower()] or buttons[:1]
    return {chosen[0].name: chosen[0].value} if chosen else {}


def _said(page: Page) -> int | None:
    found = _SAID.search(joined(page.pieces))
    return int(found[1].replace(",", "")) if found and found[1].strip(",") else None


def _says_none(page: Page) -> bool:
    text = joined(page.pieces).lower()
    return (
        _said(page) == 0
        or re.search(r"\b(no|0) (images?|records?|results?|items?|matches|pictures?)\b", text) is not None
    )


def _not_understood(what: str, page: Page) -> SourceError:
    return SourceError(
        f"a search page with {what} ({len(page.pieces):,} pieces of text, {len(page.links):,} links)",
        expected="the library's search as docs/phil.md describes it",
        do="search in a browser, and give the numbers: phil:2423,2424",
    )
