"""How we show a server who we are, and check who it is: a login, certificates. No secret ever stands on the command line."""

from __future__ import annotations

import base64
import os
import ssl
import stat
from dataclasses import dataclass
from pathlib import Path

from overread.errors import SourceError

_HOW = "USER:PASSWORD or a line 'Bearer TOKEN'"


@dataclass(frozen=True)
class Keys:
    """Where the keys to a server lie.

    Parameters
    ----------
    login : str
        A file that only its owner can read, or ``env:NAME`` for an environment variable. It holds ``USER:PASSWORD``, or
        ``Bearer TOKEN``.
    ca : str
        A file with the certificates that are trusted; the system's when empty.
    cert, key : str
        Files with our own certificate and its key, where the server asks for one.
    """

    login: str = ""
    ca: str = ""
    cert: str = ""
    key: str = ""


def authorization(login: str) -> str:
    """Return what the header Authorization says; "" without a login.

    Raises
    ------
    SourceError
        For a file or variable that is not there or empty, or a file that others can read.

    Examples
    --------
    >>> os.environ["EXAMPLE_LOGIN"] = "Bearer abc"
    >>> authorization("env:EXAMPLE_LOGIN")
    'Bearer abc'
    """
    if not login:
        return ""
    kind, _, name = login.partition(":")
    secret = (os.environ.get(name, "") if kind == "env" else _private_text(Path(login))).strip()
    if not secret or "\n" in secret or "\r" in secret:
        what = "environment variable" if kind == "env" else "file"
        raise SourceError(f"a login {what} with {len(secret.splitlines())} lines", expected=_HOW, do="write one line")
    if secret[:7].lower() == "bearer ":
        return f"Bearer {secret[7:].strip()}"
    if ":" not in secret:
        raise SourceError("a login without a colon", expected=_HOW, do="write it so")
    return f"Basic {base64.b64encode(secret.encode()).decode()}"


def tls(keys: Keys) -> ssl.SSLContext:
    """Return how to speak TLS: the server's certificate and name are always checked.

    Raises
    ------
    SourceError
        When a certificate file is missing or is none.
    """
    if keys.key and not keys.cert:
        raise SourceError("a key without its certificate", expected="cert= and key=", do="add cert=FILE")
    try:
        context = ssl.create_default_context(cafile=keys.ca or None)
        if keys.cert:
            context.load_cert_chain(keys.cert, keys.key or None, password=_no_password)
    except (OSError, ssl.SSLError) as error:
        which = "ca" if not keys.cert else "ca, cert or key"
        raise SourceError(
            f"a file given with {which}= cannot be used ({error.strerror or type(error).__name__})",
            expected="certificates as PEM, and a key without a password",
            do="check the path",
        ) from None
    return context


def _no_password() -> str:
    raise SourceError("a key with a password", expected="a key without one, that only you can read", do="convert it")


def _private_text(path: Path) -> str:
    """Read a secret from a file that only its owner can read."""
    try:
        mode = path.stat().st_mode
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "no text"
        raise SourceError(f"no login file that can be read ({why})", expected=_HOW, do="check login=FILE") from None
    if os.name == "posix" and mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise SourceError(
            f"a login file that others may read (mode {stat.S_IMODE(mode):04o})", expected="0600", do="chmod 600 it"
        )
    return text
