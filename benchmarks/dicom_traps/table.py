"""The pass table: traps down, readers across; as text, Markdown and one page of HTML."""

from __future__ import annotations

import html
from collections import Counter
from collections.abc import Mapping, Sequence

from benchmarks.dicom_traps.judge import FAILED, NEEDLESS, PASSED, REFUSED, RIGHT, SILENT, UNREAD, VERDICTS, WARNED
from benchmarks.dicom_traps.truth import Trap

Verdicts = Mapping[str, Mapping[str, tuple[str, str]]]
"""Reader → trap's name → (verdict, why)."""

SIGNS = {RIGHT: "✓", REFUSED: "R", NEEDLESS: "r", WARNED: "w", SILENT: "✗", FAILED: "F", UNREAD: "·"}
MEANING = {
    RIGHT: "the right values at the right place",
    REFUSED: "refused in words that name the matter, where nothing better can be done or the encoding is rare",
    NEEDLESS: "refused in such words, though the file is legal and plain",
    WARNED: "wrong, and a warning named the matter",
    SILENT: "wrong, without a word",
    FAILED: "an error that does not name the matter, or the process died",
    UNREAD: "its documentation does not claim to read this kind",
}
_COLOURS = {
    RIGHT: "#d7ead9", REFUSED: "#d5e4f3", NEEDLESS: "#f3efd2", WARNED: "#f6dfc0", SILENT: "#e9b8b4", FAILED: "#dcd3e6",
    UNREAD: "#ffffff",
}  # fmt: skip


def totals(verdicts: Verdicts) -> dict[str, Counter]:
    """Count the verdicts of each reader."""
    return {reader: Counter(v for v, _ in by_trap.values()) for reader, by_trap in verdicts.items()}


def summary(verdicts: Verdicts) -> list[tuple[str, list[int]]]:
    """Return the lines below the table: what passed of what was asked, then each verdict's count."""
    counted = totals(verdicts)
    lines = [("passed (✓ or R)", [sum(c[v] for v in PASSED) for c in counted.values()])]
    lines += [("no wrong pixels (✓ R r F)", [sum(c[v] for v in (*PASSED, NEEDLESS, FAILED)) for c in counted.values()])]
    lines += [("asked", [sum(c.values()) - c[UNREAD] for c in counted.values()])]
    return lines + [(f"{SIGNS[v]} {v}", [c[v] for c in counted.values()]) for v in VERDICTS]


def as_text(traps: Sequence[Trap], verdicts: Verdicts) -> str:
    """The table for a terminal."""
    readers = list(verdicts)
    lines = [" " * 30 + "  ".join(readers)]
    for trap in traps:
        cells = [SIGNS[verdicts[r][trap.name][0]].center(len(r)) for r in readers]
        lines.append(f"{trap.name:30s}" + "  ".join(cells))
    for name, counts in summary(verdicts):
        lines.append(f"{name:30s}" + "  ".join(str(n).center(len(r)) for n, r in zip(counts, readers)))
    return "\n".join(lines)


def as_markdown(traps: Sequence[Trap], verdicts: Verdicts) -> str:
    """The table for the documentation: totals first, then a line for each trap with why it matters."""
    readers = list(verdicts)
    rule = "|---|" + ":-:|" * len(readers)
    out = [f"| | {' | '.join(readers)} |", rule]
    for name, counts in summary(verdicts):
        bold = "**" if name.startswith("passed") else ""
        out.append(f"| {bold}{name}{bold} | {' | '.join(f'{bold}{n}{bold}' for n in counts)} |")
    group = ""
    for trap in traps:
        if trap.group != group:
            group = trap.group
            out += ["", f"### {group}", "", f"| trap | {' | '.join(readers)} | why it matters |", rule + "---|"]
        cells = " | ".join(SIGNS[verdicts[r][trap.name][0]] for r in readers)
        out.append(f"| {trap.name} | {cells} | {trap.why.replace('|', '¦')} |")
    return "\n".join(out) + "\n"


def as_html(traps: Sequence[Trap], verdicts: Verdicts, *, heading: str) -> str:
    """The table as one page, coloured; what each reader did wrong stands in the cell's title."""
    readers = list(verdicts)
    head = "".join(f"<th><div>{_wrapped(r)}</div></th>" for r in readers)
    rows, group = [], ""
    for trap in traps:
        if trap.group != group:
            group = trap.group
            rows.append(f'<tr class="group"><th colspan="{len(readers) + 2}">{html.escape(group)}</th></tr>')
        cells = "".join(_cell(*verdicts[r][trap.name]) for r in readers)
        rows.append(f"<tr><th>{trap.name}</th>{cells}<td class=why>{html.escape(trap.why)}</td></tr>")
    foot = "".join(
        f"<tr><th>{html.escape(name)}</th>{''.join(f'<td>{n}</td>' for n in counts)}<td></td></tr>"
        for name, counts in summary(verdicts)
    )
    key = "".join(
        f'<li><span style="background:{_COLOURS[v]}">{SIGNS[v]}</span> <b>{v}</b>: {MEANING[v]}</li>' for v in VERDICTS
    )
    return _PAGE.format(
        heading=html.escape(heading), head=head, rows="\n".join(rows), foot=foot, key=key, count=len(traps)
    )


def _wrapped(reader: str) -> str:
    """Let a long name break before its capitals."""
    return "".join(
        f"<wbr>{c}" if c.isupper() and n and reader[n - 1].islower() else c for n, c in enumerate(html.escape(reader))
    )


def _cell(verdict: str, why: str) -> str:
    title = f"{verdict}: {why}" if why else verdict
    return f'<td style="background:{_COLOURS[verdict]}" title="{html.escape(title, quote=True)}">{SIGNS[verdict]}</td>'


_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Traps</title>
<style>
body {{ font: 14px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 78rem; padding: 0 1rem; color: #1c2733 }}
table {{ border-collapse: collapse; width: 100% }} th {{ text-align: left; font-weight: 500; white-space: nowrap }}
td, th {{ border-bottom: 1px solid #e3e7ea; padding: .18rem .45rem }} td {{ text-align: center; min-width: 2rem }}
td.why {{ text-align: left; color: #44515e; font-size: 13px }}
thead th {{ vertical-align: bottom; white-space: normal; position: sticky; top: 0; background: #fff; font-size: 13px }}
thead div {{ text-align: center; max-width: 5rem; margin: auto; overflow-wrap: break-word }}
tr.group th {{ padding-top: 1.1rem; font-weight: 700 }} .sum tr:first-child * {{ font-weight: 700 }}
ul {{ list-style: none; padding: 0; columns: 2 }} li span {{ display: inline-block; width: 1.6rem; text-align: center }}
</style>
<h1>{count} traps</h1><p>{heading}</p><ul>{key}</ul>
<table><thead><tr><th>trap</th>{head}<th>why it matters</th></tr></thead>
<tbody class=sum>{foot}</tbody>
<tbody>{rows}</tbody></table></html>
"""
