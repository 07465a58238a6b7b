"""A folder of a bucket that is read and written object by object: each is there whole or not at all.

References
----------
Amazon S3 API 2006-03-01: GetObject (Range, If-Match), HeadObject, PutObject (If-Match, If-None-Match), DeleteObject,
ListObjectsV2.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from overread.errors import SourceError
from overread.sources import s3

ANYTHING = None
"""For :meth:`Place.put`: whatever lies there is written over."""

NOTHING = ""
"""For :meth:`Place.put`: only where nothing lies."""

_BLOCK = 1 << 20
_GONE = ("NoSuchKey", "404")
_AT_ONCE = "ConditionalRequestConflict"  # with a write of the same name that had not ended
_OTHER = ("PreconditionFailed", "412", "InvalidRange", "416")


@dataclass(frozen=True)
class Place:
    """A folder of a bucket; it holds no connection and no key, so it may travel to other processes and hosts.

    Parameters
    ----------
    address : str
        ``s3://BUCKET/FOLDER``.

    Examples
    --------
    >>> Place("s3://scans/chest/").address
    's3://scans/chest'
    """

    address: str

    def __post_init__(self) -> None:
        bucket, key = s3.parts_of(self.address)
        object.__setattr__(self, "address", f"{s3.SCHEME}{bucket}/{key.strip('/')}".rstrip("/"))

    @property
    def id(self) -> str:
        """A short name for this place and the service it lies in, that may stand in a file's name."""
        whole = f"{s3.client().meta.endpoint_url}\0{self.address}"
        return hashlib.sha256(whole.encode()).hexdigest()[:16]

    def get(self, name: str) -> tuple[bytes, str] | None:
        """Return an object's bytes and its ETag; None where there is none.

        Raises
        ------
        SourceError
            When the service cannot be asked, or refuses.
        """
        into = io.BytesIO()
        tag = self.fetch(name, into)
        return None if tag is None else (into.getvalue(), tag)

    def fetch(self, name: str, into: BinaryIO) -> str | None:
        """Write an object into an empty file, going on where an answer broke off, and return its ETag; None where there is none."""
        tag, why = "", "no answer"
        for tried in range(s3.TRIES):
            if tried:
                s3.pause(tried)
            how = {"Range": f"bytes={into.tell()}-", "IfMatch": tag} if into.tell() else {}
            try:
                answer = s3.client().get_object(**self._key(name), **how)
                tag = answer["ETag"]
                for piece in answer["Body"].iter_chunks(_BLOCK):
                    into.write(piece)
                return tag
            except Exception as error:
                if s3.code_of(error) in _GONE:
                    return None
                if s3.code_of(error) in _OTHER or type(error).__name__ == "FlexibleChecksumError":
                    into.seek(0)  # it was changed meanwhile, or came otherwise than it was sent: from the beginning
                    into.truncate()
                elif not s3.is_transient(error):
                    raise self._refusal(error, "read", "s3:GetObject and s3:ListBucket") from None
                why = s3.in_words(error)
        raise s3.unanswered(why, self.address)

    def put(self, name: str, body: bytes | BinaryIO, *, instead_of: str | None = ANYTHING) -> str | None:
        """Write an object and return its ETag; None where what lies there is not what it was to be written over.

        Parameters
        ----------
        name : str
        body : bytes or file
            At most 5 GB, which is what one request may bring.
        instead_of : str or None
            ``NOTHING``: only where nothing lies. An ETag: only over this very object. ``ANYTHING``: whatever lies there.
        """
        how = {} if instead_of is ANYTHING else {"IfMatch": instead_of} if instead_of else {"IfNoneMatch": "*"}
        try:
            sent = s3.again(lambda: s3.client().put_object(**self._key(name), Body=_anew(body), **how), also=_AT_ONCE)
            return sent["ETag"]
        except Exception as error:
            if instead_of is ANYTHING or s3.code_of(error) not in (*_OTHER, *_GONE):
                raise self._refusal(error, "write", "s3:PutObject") from None
        return self._ours(name, body)  # the answer to a first try may have been lost

    def _ours(self, name: str, body: bytes | BinaryIO) -> str | None:
        got, sent = self.get(name), body if isinstance(body, bytes) else _anew(body).read()
        return got[1] if got is not None and got[0] == sent else None

    def size(self, name: str) -> int | None:
        """Return how many bytes an object has; None where there is none."""
        try:
            return s3.again(lambda: s3.client().head_object(**self._key(name)))["ContentLength"]
        except Exception as error:
            if s3.code_of(error) in _GONE:
                return None
            raise self._refusal(error, "read", "s3:GetObject and s3:ListBucket") from None

    def names(self, folder: str = "") -> Iterator[str]:
        """Yield the name of every object below this place, or below a folder of it that ends in a slash."""
        bucket, prefix = s3.parts_of(f"{self.address}/{folder}")
        try:
            for one in s3.pages(bucket, prefix):
                yield folder + one["Key"].removeprefix(prefix)
        except Exception as error:
            raise self._refusal(error, "list", "s3:ListBucket") from None

    def drop(self, name: str) -> None:
        """Delete an object; nothing happens where there is none."""
        try:
            s3.again(lambda: s3.client().delete_object(**self._key(name)))
        except Exception as error:
            raise self._refusal(error, "delete", "s3:DeleteObject") from None

    def _key(self, name: str) -> dict[str, str]:
        bucket, key = s3.parts_of(f"{self.address}/{name}")
        return {"Bucket": bucket, "Key": key}

    def _refusal(self, error: Exception, verb: str, leave: str) -> Exception:
        code = s3.code_of(error)
        if code in ("AccessDenied", "403"):
            return SourceError(
                f"{self.address}: these credentials may not {verb} there", expected=leave, do="ask for it"
            )
        if code == _AT_ONCE:
            return SourceError(
                f"{self.address}: somebody else writes the same name, {s3.TRIES} times",
                expected="one who writes at a time",
                do="run the same command again when the other has ended: what is stored stays",
            )
        if code == "EntityTooLarge":
            return SourceError(f"{self.address}: more than 5 GB at once", expected="less", do="make several archives")
        if code == "InvalidObjectState":
            return SourceError(f"{self.address}: an object in cold storage", do="restore it first")
        return s3.source_error(error, self.address)


def _anew(body: bytes | BinaryIO) -> bytes | BinaryIO:
    """Return what is sent, from its beginning."""
    if not isinstance(body, bytes):
        body.seek(0)
    return body
