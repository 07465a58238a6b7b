"""The plan as a TOML file that a person reads and edits: written here, and checked word by word when it comes back."""

from __future__ import annotations

import difflib
import json
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from overread.errors import RunError
from overread.learn.plan_checks import HEAD, PARTS, check_together

FORMAT = 1
_WIDTH = 118
_INTRODUCTION = """\
# A plan of overread: all that training does with this cohort, and why.
# Change a value and hand the file over: overread train ARCHIVE --label NAME --plan THIS --out RUN
# `rule` and `reason` are for you: training does not read them. [cohort] and [machine] say what was looked at;
# the fingerprint ties the plan to these training images and their answers.
"""


def written(head: Mapping[str, Any], parts: Mapping[str, Mapping[str, Any]], *, paths: bool = False) -> str:
    """Return a plan as TOML.

    Parameters
    ----------
    head : mapping
        ``question``, ``cohort`` and ``machine``: what was asked and looked at.
    parts : mapping
        What was chosen (``learn.plan_rules.choose``).
    paths : bool
        Also say where a start lies; not in a run, with which no user's folders travel.

    Examples
    --------
    >>> written({}, {"training": {"batch": 32, "reason": "a small cohort"}}).splitlines()[-3:]
    ['[training]', 'batch = 32', 'reason = "a small cohort"']
    """
    lines = [_INTRODUCTION, f"format = {FORMAT}"]
    for name, part in {**head, **parts}.items():
        lines.append(f"\n[{name}]")
        ordered = sorted(part, key=lambda k: {"rule": 1, "reason": 2}.get(k, 0))
        ordered = [k for k in ordered if paths or (name, k) != ("start", "path")]
        lines += [f"{_key(k)} = {toml(part[k])}" for k in ordered if part[k] is not None]
    return "\n".join(lines) + "\n"


def toml(value: Any) -> str:
    """Return one value as TOML: text, numbers, true and false, lists, and tables inside a line.

    Examples
    --------
    >>> toml({"sizes": [1, 2.0], "name": "a b", "left-right": True})
    '{sizes = [1, 2.0], name = "a b", left-right = true}'
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return (
            "nan" if value != value else ("inf" if value > 0 else "-inf") if abs(value) == float("inf") else repr(value)
        )
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_key(k)} = {toml(v)}" for k, v in value.items() if v is not None) + "}"
    if isinstance(value, (list, tuple)):
        inside = [toml(v) for v in value]
        line = "[" + ", ".join(inside) + "]"
        return line if len(line) <= _WIDTH or len(inside) < 2 else "[\n  " + ",\n  ".join(inside) + ",\n]"
    if hasattr(value, "item"):
        return toml(value.item())
    raise TypeError(f"{type(value).__name__} has no form in TOML")


def _text(value: str) -> str:
    """Return text in quotes; a long one over several lines, which TOML joins again."""
    line = json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")  # TOML's basic strings are JSON's
    first, *words = re.split(r" (?=[^\s\\])", line[1:-1])  # never where white space follows: it would be lost
    if len(line) <= _WIDTH or first[:1] in ("", " ", "\\"):
        return line
    lines = [first]
    for word in words:
        if len(lines[-1]) + len(word) > _WIDTH - 4:
            lines[-1] += " "
            lines.append(word)
        else:
            lines[-1] += " " + word
    return '"""\\\n' + "\\\n".join(lines) + '"""'


def _key(key: str) -> str:
    bare = key.replace("-", "").replace("_", "")
    return key if bare.isascii() and bare.isalnum() else toml(key)


def read(path: str | Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Read a plan; return what it says of question and cohort, and what is to be done.

    Raises
    ------
    RunError
        In one line each: no file, no TOML, an unknown part or word, a part or a word that is missing, a value that
        cannot be.
    """
    path = Path(path)
    try:
        told = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RunError(
            f"no plan at {path.name}", expected="a file that `overread plan --out` wrote", do="check the path"
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RunError(f"the plan is not TOML: {error}", expected="TOML", do="mend that line") from None
    return checked(told)


def checked(told: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return question and cohort, and what is to be done, of a plan read from TOML; refuse it as `read` does."""
    told = dict(told)
    if told.pop("format", None) != FORMAT:
        raise RunError(
            "a plan of another format", expected=f"format = {FORMAT}", do="draw it up again with `overread plan`"
        )
    for name in told:
        _known(name, (*HEAD, *PARTS), "the part")
    head = {name: told[name] for name in HEAD if name in told}
    parts = {name: _part(name, part) for name, part in told.items() if name in PARTS}
    missing = [n for n in (*HEAD[:2], *PARTS) if n not in told and n not in ("start", "study")]
    if missing:
        raise RunError(f"the plan has no [{missing[0]}]", expected="every part that `overread plan` writes", do="put it back")  # fmt: skip
    check_together(parts)
    return head, {name: parts[name] for name in PARTS if name in parts}


def _part(name: str, part: Any) -> dict[str, Any]:
    words = PARTS[name]
    if not isinstance(part, dict):
        raise RunError(f"the plan says {name} = {toml(part)}", expected=f"a part [{name}]", do="mend that line")
    for key, value in part.items():
        if key in ("rule", "reason"):
            continue
        _known(key, tuple(words), f"in [{name}] the word")
        good, expected = words[key]
        if not good(value):
            raise RunError(f"the plan says [{name}] {key} = {toml(value)}", expected=expected, do="mend that line")
    return dict(part)


def _known(word: str, known: tuple[str, ...], what: str) -> None:
    if word not in known:
        near = difflib.get_close_matches(word, known, n=1)
        raise RunError(
            f"{what} {word!r} of the plan is not known",
            expected="one of " + ", ".join(known),
            do=f"did you mean {near[0]!r}?" if near else "take it out",
        )
