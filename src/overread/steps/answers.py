"""What a human says of a run: ``answers.toml``, a short file of plain text beside the sealed ones."""

from __future__ import annotations

import json
import tomllib
import unicodedata
from collections.abc import Mapping
from pathlib import Path

from overread.domain.human import HUMAN, says_something
from overread.errors import RunError
from overread.steps.run import write

NAME = "answers.toml"

HEAD = """\
# What only a human can say of this model. Write between the quotation marks, keep the names before the equals signs;
# for several lines use three quotation marks at each end. Then: overread report RUN
# A blank one of the first part stamps the report and the model card INCOMPLETE.
# This file is not sealed: it changes what the report says, never what the model is. Name no patient in it.
"""

_TURNING = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""What makes a page show letters in another order than they are written."""

MOST = 4000
"""Characters of one answer: a report is read, not filed."""


def read_answers(run: Path, *, intended_use: str = "") -> dict[str, str]:
    """Return what a human has written about a run; write the blank file where there is none.

    A mark that an answer is still to come ("TODO", "…") is none: it stays blank.

    Parameters
    ----------
    run : Path
    intended_use : str
        As it was given to ``train``; it stands until the file says something else.

    Raises
    ------
    RunError
        For a file that is no TOML, a name that is not asked for, or an answer that is not text or holds what nobody sees.
    """
    path = run / NAME
    if not path.exists():
        try:
            write(path, template({"intended_use": intended_use}))
        except OSError:  # a run that may only be read is reported all the same, with its blanks
            return {"intended_use": intended_use} if intended_use else {}
    try:
        said = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RunError(
            f"{NAME} cannot be read: {error}",
            expected='lines such as users = "radiologists"',
            do="mend the line, or delete the file and write it again",
        ) from None
    _check(said)
    found = {key: " ".join(text.split()) for key, text in said.items()}
    return {"intended_use": intended_use, **{k: v for k, v in found.items() if says_something(v)}}


def _check(said: Mapping[str, object]) -> None:
    strange = sorted(set(said) - set(HUMAN))
    if strange:
        raise RunError(
            f"{NAME} holds {len(strange)} names that are not asked for, the first {strange[0]!r}",
            expected="one of " + ", ".join(HUMAN),
            do="correct the name",
        )
    for key, text in said.items():
        if not isinstance(text, str) or len(text) > MOST:
            came = f"{len(text):,} characters" if isinstance(text, str) else type(text).__name__
            raise RunError(
                f"{NAME}: the answer {key!r} is {came}",
                expected=f"text between quotation marks, at most {MOST:,} characters",
                do="write it as text, and shorter",
            )
        if unseen := sorted({f"U+{ord(c):04X}" for c in text if _unseen(c)}):
            raise RunError(
                f"{NAME}: the answer {key!r} holds characters that nobody sees, or that turn the order of others round: "
                f"{', '.join(unseen[:5])}",
                expected="text as it is read",
                do="write it again without them",
            )


def _unseen(c: str) -> bool:
    """Return True for a control character but white space, and for one that turns the order of letters round."""
    return (unicodedata.category(c) in ("Cc", "Co", "Cn") and not c.isspace()) or c in _TURNING


def template(answers: Mapping[str, str]) -> str:
    """Return the file with its questions as comments, and what is known already.

    Examples
    --------
    >>> made = tomllib.loads(template({"users": 'say "we"'}))
    >>> made["users"], made["contact"]
    ('say "we"', '')
    """
    parts = [HEAD]
    for needed in (True, False):
        if not needed:
            parts.append("# The rest is wanted by the model card (card.xml) and may stay blank.\n")
        for key, item in HUMAN.items():
            if item.needed is needed:
                text = (answers.get(key) or "").replace("\x7f", " ")  # but for this character,
                said = json.dumps(text, ensure_ascii=False)  # a JSON string is a TOML string
                parts.append(f"# {item.words}: {item.hint}\n{key} = {said}\n")
    return "\n".join(parts)
