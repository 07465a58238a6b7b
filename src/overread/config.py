"""A site's own settings: one TOML file becomes one frozen ``Settings``; only the command line and ``serve`` see it.

```toml
site = "St Elsewhere, Radiology"
port = 8080
inbox = "/srv/overread/inbox"
worklist = "urgency"          # or "arrival": the machine then never changes the order

[prevalence]                  # how common each finding is here, for the natural frequencies on the reading page
pneumonia = 0.08
```
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from overread.errors import OverreadError


@dataclass(frozen=True)
class Settings:
    """What differs from one hospital to the next.

    Parameters
    ----------
    site : str
        The name shown at the top of every page.
    host : str
        The address the reading page listens on. Anything but this computer itself needs a guarded network.
    port : int
        1 to 65535.
    inbox : Path or None
        The folder studies arrive in.
    worklist : {"urgency", "arrival"}
        How the worklist is ordered.
    prevalence : mapping of str to float
        For each label, the share of studies at this site that have it; strictly between 0 and 1.

    Examples
    --------
    >>> Settings().port
    8080
    """

    site: str = ""
    host: str = "127.0.0.1"
    port: int = 8080
    inbox: Path | None = None
    worklist: Literal["urgency", "arrival"] = "urgency"
    prevalence: Mapping[str, float] = field(default_factory=dict)


def read_settings(path: Path | str) -> Settings:
    """Read a site's settings; a word that is not known is refused by name, never ignored.

    Parameters
    ----------
    path : Path or str
        A TOML file. A relative ``inbox`` is meant from the folder of this file.

    Raises
    ------
    OverreadError
        If the file is missing, is not TOML, holds an unknown word, or a value that cannot be used.
    """
    path = Path(path)
    try:
        told = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise OverreadError("no settings file there", expected="a TOML file", do="check the path") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise OverreadError(f"settings that are not TOML ({error})", expected="TOML", do="mend that line") from error
    known = [f.name for f in fields(Settings)]
    for word in told:
        if word not in known:
            near = difflib.get_close_matches(word, known, n=1)
            raise OverreadError(
                f"the settings hold {word!r}, which is not known",
                expected=", ".join(known),
                do=f"did you mean {near[0]!r}?" if near else "remove it",
            )
    if "inbox" in told:
        told["inbox"] = path.parent / _a("inbox", told["inbox"], str, "a folder")
    return _checked(told)


def _checked(told: dict[str, Any]) -> Settings:
    """``Settings`` from plain values, each looked at."""
    for word in ("site", "host"):
        if word in told:
            _a(word, told[word], str, "text in quotes")
    if "port" in told and not 1 <= _a("port", told["port"], int, "a whole number") <= 65535:
        raise _wrong("port", told["port"], "1 to 65535")
    if told.get("worklist", "urgency") not in ("urgency", "arrival"):
        raise _wrong("worklist", told["worklist"], '"urgency" or "arrival"')
    if "prevalence" in told:
        _a("prevalence", told["prevalence"], dict, "a table of label = share")
    for label, share in told.get("prevalence", {}).items():
        if not 0 < _a(f"prevalence.{label}", share, (int, float), "a share") < 1:
            raise _wrong(f"prevalence.{label}", share, "a share between 0 and 1, both excluded (8 % is 0.08)")
    return Settings(**told)


def _a(word: str, value: Any, kind: type | tuple[type, ...], expected: str) -> Any:
    """``value`` if it is of that kind (true and false are not numbers)."""
    if not isinstance(value, kind) or isinstance(value, bool):
        raise _wrong(word, value, expected)
    return value


def _wrong(word: str, value: Any, expected: str) -> OverreadError:
    return OverreadError(f"the setting {word} is {value!r}", expected=expected, do="mend that line of the settings")
