"""A public image library on this computer: records, pictures and a search that behave as the CDC's do, on two hosts.

The front sends everybody on to the back (``phil.cdc.gov`` does that), the search is an ASP.NET form whose hidden fields
must come back, and pages come in three layouts.
"""

from __future__ import annotations

import html
import io
import re
from collections.abc import Mapping
from dataclasses import replace
from urllib.parse import parse_qs, urlsplit

import numpy as np
from local_site import Asked, Reply, Site
from PIL import Image

FREE = "None - This image is in the public domain and thus free of any copyright restrictions. As a matter of courtesy we request that the content provider be credited and notified in any public or private usage of this image."
PROTECTED = "This image is copyright protected. Any public or private use of this image is subject to prevailing copyright laws. Please contact the content provider of this image for permission requests."

RECORD = {
    "number": "2423",
    "description": "A made-up chest film, drawn & not taken. It shows “nothing” at 37 °C – über alles.",
    "content_provider": "CDC/ Dr. A. N. Other",
    "created": "May 4, 1975",
    "credit": "Marion Müller",
    "links": (("CDC – Some Page", "https://www.cdc.gov/some?a=1&b=2"),),
    "categories": ("CDC Organization", "MeSH", "Thorax"),
    "copyright": FREE,
}


def record(number: str, **other) -> dict:
    """A record; what is not said is as in ``RECORD``."""
    return RECORD | {"number": number} | other


def table_page(r: Mapping) -> bytes:
    """The library's page as it was for years: a table with the titles in bold in the first column."""
    links = "".join(f"<tr><td>-<td><a href='{html.escape(a)}'>{html.escape(w)}</a></tr>" for w, a in r["links"])
    kinds = "".join(f"<table><tr><td>{html.escape(c)}</td></tr></table>" for c in r["categories"])
    rows = (
        ("ID#:", r["number"]),
        ("Description:", f"<b>{html.escape(r['description'][:8])}</b>{html.escape(r['description'][8:])}"),
        ("Content Providers(s):", html.escape(r["content_provider"])),
        ("Creation Date:", r["created"]),
        ("Photo Credit:", html.escape(r["credit"])),
        ("Links:", f"<table>{links}</table>"),
        ("Categories:", kinds),
        ("Copyright Restrictions:", html.escape(r["copyright"]).replace("None", "<b>None</b>", 1)),
    )
    body = "".join(f"<tr><td><b>{title}</b></td><td>{value}</td></tr>\n" for title, value in rows)
    menu = "<div><a href='/'>Home</a><a href='x'>Links</a><a href='y'>Categories</a></div>"
    foot = "<p>Page last reviewed 2009 &copy; somebody, all rights reserved</p>"
    picture = f"<h2>Picture</h2><img src='PHIL_Images/{r['number']}/{r['number']}_lores.jpg'>"
    return f"<html><body>{menu}{picture}<table cellpadding=5>{body}</table>{foot}</body></html>".encode()


def span_page(r: Mapping, *, folder: str = "", post_back: bool = False) -> bytes:
    """The page as it is now: divisions and spans, "Caption" for the description, a tree of categories."""
    place = folder or r["number"]
    high = (
        '<a id="hlHighResDownload" href="javascript:__doPostBack(&#39;ctl00$contentArea2$ucDetails$hlHighResDownload&#39;,&#39;&#39;)">'
        "Click here for hi-resolution image</a> (18.34 MB)"
        if post_back
        else ""
    )
    links = "".join(f'<li><a href="{html.escape(a)}">{html.escape(w)}</a></li>' for w, a in r["links"])
    kinds = "".join(f"<a>Skip Navigation Links.</a><div>{html.escape(c)}</div>" for c in r["categories"])
    text = html.escape(r["description"]).replace(" – ", " &ndash; ").replace("ü", "&uuml;")
    return f"""<!DOCTYPE html><html><head><title>Details - Links: Public Health Image Library</title>
<script>var x = "<b>ID#:</b> 9999";</script></head><body><nav><a href="Categories.aspx">Categories</a></nav>
<form method="post" action="./Details.aspx?pid={r["number"]}"><input type="hidden" name="__VIEWSTATE" value="/wEP&#43;{r["number"]}==">
<img id="imgURL2" src="//HOST/phil///PHIL_Images/{place}/{r["number"]}_lores.jpg" alt="">
<div class="details"><div><b>ID#:</b>&nbsp;<span id="lblID">{r["number"]}</span></div>
<span id="lblDesc"><b>Caption:</b><br />{text}</span>
<div><b>High Resolution:</b> {high}</div>
<div><b>Content Provider(s):</b> <span id="lblContprov">{html.escape(r["content_provider"])}</span></div>
<div><b>Creation Date:</b> <span>{r["created"]}</span></div>
<div><b>Photo Credit:</b> <span id="lblPhotoCredit">{html.escape(r["credit"])}</span></div>
<div><b>Links:</b> <ul>{links}</ul></div>
<div><b>Categories:</b> {kinds}</div>
<div><b>Copyright Restrictions:</b> <span><b>{html.escape(r["copyright"]).replace(" - ", "</b> - ", 1)}</span></div></div>
</form><footer>Links: <a href="z">CDC</a> &copy; 2026</footer></body></html>""".encode()


def careless_page(r: Mapping) -> bytes:
    """A page as someone may write it tomorrow: a list without end tags, the titles and values in one piece of text."""
    rows = (
        ("ID#", r["number"]),
        ("DESCRIPTION", html.escape(r["description"])),
        ("Content Provider(s)", html.escape(r["content_provider"])),
        ("Creation Date", r["created"]),
        ("Photo Credit", html.escape(r["credit"])),
        ("Links", "".join(f"<a href='{html.escape(a)}'>{html.escape(w)}</a> " for w, a in r["links"])),
        ("Categories", "<br>".join(html.escape(c) for c in r["categories"])),
        ("Copyright Restrictions", html.escape(r["copyright"])),
    )
    body = "".join(f"<li>{title}: {value}\n" for title, value in rows)
    return f"<HTML><BODY><UL>{body}</UL><P>Links: &copy; somebody</BODY></HTML>".encode()


def picture(kind: str = "TIFF", *, seed: int = 0, size: int = 96) -> bytes:
    """A small picture that is not the same for two seeds."""
    pixels = np.random.default_rng(seed).integers(0, 255, (size, size), dtype=np.uint8)
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, kind)
    return out.getvalue()


class Library:
    """The front and the back of a library; ``records`` and ``pictures`` are what it holds."""

    def __init__(self, front: Site, back: Site) -> None:
        self.front, self.back, self.address = front, back, front.address
        self.pages: dict[str, bytes] = {}
        self.page_size = 2
        front.reply = lambda asked: Reply(status=302, head={"Location": f"{back.address}phil{asked.path}"})
        self._given, back.reply = back.reply, self._reply

    def add(
        self, number: str, *, page: bytes | None = None, tif: bytes | None = b"", lores: bytes | None = b""
    ) -> None:
        """Put in a record; its pictures are made where they are not given, and not there where they are None."""
        self.pages[number] = page or span_page(record(number))
        for name, given, kind in ((f"{number}.tif", tif, "TIFF"), (f"{number}_lores.jpg", lores, "JPEG")):
            if given is not None:
                content = given or picture(kind, seed=int(number))
                self.back.pages[f"/phil/PHIL_Images/{number}/{name}"] = Reply(content, head={"ETag": f'"{name}"'})

    def _reply(self, asked: Asked) -> Reply:
        asked = replace(asked, path=re.sub("/+", "/", asked.path))  # its pages write some addresses with "///"
        parts = urlsplit(asked.path)
        name = parts.path.lower().rpartition("/")[2]
        if asked.path in self.back.pages or parts.path in self.back.pages:
            return self._given(asked)
        if name == "details.aspx":
            number = parse_qs(parts.query)["pid"][0]
            page = self.pages.get(number, b"<html><body>The image you asked for is not available.</body></html>")
            return Reply(page.replace(b"//HOST/", f"{self.back.address}".encode()))
        if name == "quicksearch.aspx":
            return self._search(asked)
        return self._given(asked)

    def _search(self, asked: Asked) -> Reply:
        form = """<html><body><form action="https://search.example/"><input type="text" name="searchbox"></form>
<form method="post" action="./QuickSearch.aspx">
<input type="hidden" name="__VIEWSTATE" value="/wEP&#43;a=="><input type="hidden" name="__EVENTVALIDATION" value="v">
<input type="text" name="ctl00$site" placeholder="Search CDC">
<input type="text" name="ctl00$contentArea2$ucQuickSearch$txtQuickKeywords">
<input type="checkbox" name="ctl00$contentArea2$ucQuickSearch$chkTypes$0" value="Photo" checked>
<input type="checkbox" name="ctl00$contentArea2$ucQuickSearch$chkTypes$1" value="Illustrations" checked>
<input type="submit" name="ctl00$contentArea2$ucQuickSearch$bntSearch" value="Search">"""
        sent = asked.form
        if not sent:
            return Reply(f"{form}</form></body></html>".encode(), head={"Set-Cookie": "ASP.NET_SessionId=s1; path=/"})
        if not sent.get("__VIEWSTATE", "").startswith("/wEP+a") or "s1" not in asked.head.get("Cookie", ""):
            return Reply(b"<html><body>Session expired</body></html>")
        if sent.get("__EVENTTARGET", "").endswith("lnkNext"):
            term, _, page = sent["__VIEWSTATE"].removeprefix("/wEP+a|").rpartition("|")
            first = int(page) * self.page_size
        else:
            term, first = sent["ctl00$contentArea2$ucQuickSearch$txtQuickKeywords"], 0
            if not any("chkTypes" in name for name in sent):
                return Reply(b"<html><body>Choose a type of image</body></html>")
        hits = [n for n, page in self.pages.items() if term.lower() in html.unescape(page.decode()).lower()]
        shown = "".join(
            f'<td><a href="Details.aspx?pid={n}"><img src="t/{n}_thumb.jpg" alt="{n}"></a></td>'
            for n in hits[first : first + self.page_size]
        )
        more = (
            '<a href="javascript:__doPostBack(&#39;ctl00$lnkNext&#39;,&#39;&#39;)">Next</a>'
            if first + self.page_size < len(hits)
            else ""
        )
        state = f"/wEP&#43;a|{html.escape(term)}|{first // self.page_size + 1}"
        told = f"{len(hits)} images found" if hits else "No images found"
        return Reply(
            f'<html><body><form action="QuickSearch.aspx"><input type="hidden" name="__VIEWSTATE" value="{state}">'
            f"<p>{told}</p><table><tr>{shown}</tr></table>{more}</form></body></html>".encode()
        )
