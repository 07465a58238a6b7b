"""Take a multipart answer apart while it comes: one part after the other, nothing held in memory, nothing believed.

References
----------
RFC 2046 5.1 (boundaries), RFC 2387 (multipart/related); PS3.18 8.6.1.2.1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from email.message import Message

LARGEST_HEADER = 16 << 10
_CHUNK = 1 << 18


class BadMultipart(Exception):
    """An answer that is no multipart message, or ends before its last boundary."""


def boundary_of(content_type: str) -> bytes:
    """Return the boundary that a Content-Type names.

    Raises
    ------
    BadMultipart
        When there is none, or one longer than the 70 characters that are allowed.

    Examples
    --------
    >>> boundary_of('multipart/related; type="application/dicom"; boundary="a b"')
    b'a b'
    """
    message = Message()
    message["Content-Type"] = content_type
    boundary = message.get_param("boundary")
    if message.get_content_type() != "multipart/related" or not isinstance(boundary, str):
        raise BadMultipart("an answer that is not multipart/related with a boundary")
    if not 1 <= len(boundary) <= 200 or not boundary.isascii():  # Orthanc's are 73 long
        raise BadMultipart(f"a boundary of {len(boundary)} characters")
    return boundary.encode()


def parts(read: Callable[[int], bytes], boundary: bytes, *, most: int) -> Iterator[Iterator[bytes]]:
    """Yield the parts of a multipart message, each as its chunks; take each to its end before the next.

    Parameters
    ----------
    read : callable
        Returns up to so many bytes; b"" at the end.
    boundary : bytes
    most : int
        Parts; more are refused.

    Raises
    ------
    BadMultipart
        When the message ends before its closing boundary, has other types, endless headers, or too many parts.

    Examples
    --------
    >>> import io
    >>> body = b"--b\\r\\nContent-Type: application/dicom\\r\\n\\r\\none\\r\\n--b\\r\\n\\r\\ntwo\\r\\n--b--\\r\\n"
    >>> [b"".join(part) for part in parts(io.BytesIO(body).read, b"b", most=9)]
    [b'one', b'two']
    """
    stream = _Stream(read, b"\r\n--" + boundary)
    for _ in stream.until_boundary():  # a preamble says nothing
        if stream.taken > LARGEST_HEADER:
            raise BadMultipart("no boundary where an answer begins")
    for count in range(most + 1):
        if stream.is_last():
            return
        if count == most:
            raise BadMultipart(f"more than {most:,} parts")
        stream.header()
        yield stream.until_boundary()


class _Stream:
    """Bytes that come, and a little of what came before."""

    def __init__(self, read: Callable[[int], bytes], delimiter: bytes) -> None:
        self._read, self._delimiter = read, delimiter
        self._have = b"\r\n"  # so that a boundary at the very beginning is one
        self.taken = 0

    def until_boundary(self) -> Iterator[bytes]:
        """Yield what stands before the next boundary, and step over that."""
        keep = len(self._delimiter) - 1
        while (at := self._have.find(self._delimiter)) < 0:
            if len(self._have) > keep:
                chunk, self._have = self._have[:-keep], self._have[-keep:]
                self.taken += len(chunk)
                yield chunk
            self._more()
        if at:
            yield self._have[:at]
        self._have = self._have[at + len(self._delimiter) :]

    def is_last(self) -> bool:
        """True when the boundary just passed was the closing one."""
        while len(self._have) < 2:
            self._more()
        return self._have.startswith(b"--")

    def header(self) -> None:
        """Step over a part's header; a part of another type than DICOM is refused."""
        while (end := self._have.find(b"\r\n\r\n")) < 0:
            if len(self._have) > LARGEST_HEADER:
                raise BadMultipart("a part whose header does not end")
            self._more()
        if end > LARGEST_HEADER:
            raise BadMultipart("a part whose header does not end")
        lines = self._have[:end].decode("ascii", "replace").split("\r\n")[1:]
        said = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        kind = said.get("content-type", "application/dicom").partition(";")[0].strip().lower()
        if kind != "application/dicom":
            raise BadMultipart(f"a part of type {kind[:60]}")
        self._have = self._have[end + 4 :]

    def _more(self) -> None:
        more = self._read(_CHUNK)
        if not more:
            raise BadMultipart("an answer that ends before its closing boundary")
        self._have += more
