"""Files in object storage that speaks S3: listed page by page, read one at a time, and never written to this disk.

Credentials come from where every program of this kind looks for them (environment, ``~/.aws``, the machine's own role),
and are neither shown nor kept. The endpoint of another provider stands in ``AWS_ENDPOINT_URL``.

References
----------
Amazon S3 API 2006-03-01: ListObjectsV2, GetObject (Range, If-Match).
"""

from __future__ import annotations

import functools
import io
import itertools
import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, BinaryIO, Protocol

from overread.errors import SourceError, UnreadableFile

SCHEME = "s3://"
INSTALL = "pip install 'overread[cloud]'"

_HEAD = 64 << 10  # of an object, when it is looked at: a DICOM header is rarely longer
_BLOCK = 1 << 20  # fetched at once where a header is
_SMALL = 1 << 20  # what is read beside an image
_AT_ONCE = 8  # objects on their way
_MUCH = 64 << 20  # bytes on their way; a larger object travels alone
TRIES = 5
_PAUSE_S = 0.5  # doubled with every try
_SILENCE_S = 30.0

_KEYS = {  # what the service says of credentials that are no use anywhere
    "InvalidAccessKeyId": "an access key that the service does not know",
    "SignatureDoesNotMatch": "a secret key that does not fit the access key",
    "ExpiredToken": "credentials that have expired",
    "InvalidToken": "a session token that is no good",
    "RequestTimeTooSkewed": "a clock here that is wrong by more than a quarter of an hour",
}


class Listed(Protocol):
    """An object as it was listed."""

    @property
    def path(self) -> str: ...
    @property
    def stamp(self) -> tuple[int, str] | None: ...


class Bucket:
    """Everything that the credentials of this process can read."""

    def holds(self, path: str) -> bool:
        """True for what is called ``s3://…``."""
        return path.startswith(SCHEME)

    def listed(self, word: str) -> Iterator[tuple[str, int, str]]:
        """Yield address, size and ETag of every object below ``s3://bucket/folder``, or of the one of that name.

        Raises
        ------
        SourceError
            When there is no such bucket, no way to it, or no leave to list it.
        """
        bucket, key = parts_of(word)
        folder = key if not key or key.endswith("/") else f"{key}/"
        some = False
        try:
            for one in pages(bucket, folder):
                some = True
                yield f"{SCHEME}{bucket}/{one['Key']}", one["Size"], one["ETag"]
            for one in pages(bucket, key, most=1) if not some and folder != key else ():
                if one["Key"] == key:
                    yield word, one["Size"], one["ETag"]
        except Exception as error:
            raise source_error(error, f"{SCHEME}{bucket}") from None

    def heads(self, parts: Iterable[Any]) -> Iterator[tuple[Any, bytes | UnreadableFile]]:
        """Yield each object's first bytes, in order, eight being asked for at once."""
        return _in_order(parts, lambda part: _bytes(part, 0, min(_HEAD, _size(part))), cost=lambda part: _HEAD)

    def contents(self, parts: Iterable[Any]) -> Iterator[tuple[Any, bytes | UnreadableFile]]:
        """Yield each object's bytes, in order, or why they cannot be had; never more than 64 MB wait, or one object."""
        return _in_order(parts, lambda part: _bytes(part, 0, _size(part)), cost=_size)

    def opened(self, part: Any, head: bytes) -> BinaryIO:
        """Return an object as a file that can be sought; what lies beyond ``head`` is fetched as it is read."""
        return io.BufferedReader(_Sought(part, head), _HEAD)

    @functools.lru_cache(maxsize=1024)  # noqa: B019 - there is one of these in a process, and it stays
    def beside(self, path: str) -> bytes | None:
        """Return a small object's bytes by its address; None where there is none."""
        bucket, key = parts_of(path)
        try:
            answer = client().get_object(Bucket=bucket, Key=key)
            raw = answer["Body"].read(_SMALL + 1)
        except Exception as error:
            if code_of(error) in ("NoSuchKey", "404", "AccessDenied", "403") or is_transient(error):
                return None
            raise
        return raw if len(raw) <= _SMALL else None


class _Sought(io.RawIOBase):
    """An object of which a part is fetched at a time."""

    def __init__(self, part: Any, head: bytes) -> None:
        self.part, self.size, self.at = part, _size(part), 0
        self.have, self.begin = head, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self.at = offset + (0, self.at, self.size)[whence]
        return self.at

    def readinto(self, room: Any) -> int:
        if self.at >= self.size:
            return 0
        if not self.begin <= self.at < self.begin + len(self.have):
            got = _bytes(self.part, self.at, min(self.at + _BLOCK, self.size))
            if isinstance(got, UnreadableFile):
                raise got
            self.have, self.begin = got, self.at
        piece = self.have[self.at - self.begin :][: len(room)]
        room[: len(piece)] = piece
        self.at += len(piece)
        return len(piece)


def _in_order(
    parts: Iterable[Any], fetch: Callable[[Any], bytes | UnreadableFile], *, cost: Callable[[Any], int]
) -> Iterator[tuple[Any, bytes | UnreadableFile]]:
    """Fetch a few at once, and yield them in order."""
    todo, under_way = iter(parts), deque[tuple[Any, Future]]()
    with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="s3") as threads:
        try:
            ahead = next(todo, None)
            while ahead is not None or under_way:
                while ahead is not None and (
                    not under_way
                    or (len(under_way) < _AT_ONCE and sum(cost(p) for p, _ in under_way) + cost(ahead) <= _MUCH)
                ):
                    under_way.append((ahead, threads.submit(fetch, ahead)))
                    ahead = next(todo, None)
                part, future = under_way.popleft()
                yield part, future.result()
        finally:
            for _, future in under_way:
                future.cancel()


def _bytes(part: Listed, begin: int, end: int) -> bytes | UnreadableFile:
    """Return some bytes of an object as it was when it was listed, going on where an answer broke off."""
    bucket, key = parts_of(part.path)
    version = {"IfMatch": part.stamp[1]} if part.stamp else {}
    got, why = b"", "no answer"
    for tried in range(TRIES):
        if begin + len(got) >= end:
            return got
        if tried:
            pause(tried)
        try:
            answer = client().get_object(Bucket=bucket, Key=key, Range=f"bytes={begin + len(got)}-{end - 1}", **version)
            for piece in answer["Body"].iter_chunks(_BLOCK):
                got += piece
        except Exception as error:
            if refusal := _refused(error):
                return refusal
            if not is_transient(error):
                raise source_error(error, f"{SCHEME}{bucket}") from None
            why = in_words(error)
    if begin + len(got) >= end:
        return got
    return UnreadableFile(
        f"an object of which {len(got):,} of {end - begin:,} bytes came ({why}, {TRIES} times)",
        code="unreadable",
        do="run the same command again later",
    )


def _refused(error: Exception) -> UnreadableFile | None:
    """Return why one object cannot be had, where others can."""
    told = {
        "PreconditionFailed": ("an object that was changed after it was listed", "run the same command again"),
        "412": ("an object that was changed after it was listed", "run the same command again"),
        "InvalidRange": ("an object that was changed after it was listed", "run the same command again"),
        "NoSuchKey": ("an object that was deleted after it was listed", "leave it out"),
        "AccessDenied": ("an object that these credentials may list and not read", "ask for s3:GetObject"),
        "InvalidObjectState": ("an object in cold storage", "restore it first"),
    }.get(code_of(error))
    return UnreadableFile(told[0], code="unreadable", do=told[1]) if told else None


def pages(bucket: str, prefix: str, *, most: int | None = None) -> Iterator[dict[str, Any]]:
    """Yield what the service tells of every object whose key begins with ``prefix``, page by page; or of the first ``most``."""
    how: dict[str, Any] = {} if most is None else {"MaxKeys": most}
    while True:
        page = again(functools.partial(client().list_objects_v2, Bucket=bucket, Prefix=prefix, **how))
        yield from page.get("Contents", ())
        if most is not None or not page.get("IsTruncated"):
            return
        how["ContinuationToken"] = page["NextContinuationToken"]


def again(ask: Callable[[], Any], *, also: str = "") -> Any:
    """Ask several times where the service is busy, or answers ``also``; then raise as it did."""
    for tried in itertools.count(1):
        try:
            return ask()
        except Exception as error:
            if tried == TRIES or not (is_transient(error) or (also and code_of(error) == also)):
                raise
            pause(tried)


def source_error(error: Exception, where: str) -> Exception:
    """Return an error that ends the run, in words that hold no key; what is no answer of the service stays itself."""
    code, kind = code_of(error), type(error).__name__
    if kind in ("NoCredentialsError", "PartialCredentialsError", "CredentialRetrievalError"):
        return SourceError(
            f"{where}: no credentials",
            expected="those of the environment (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY), ~/.aws or this machine's role",
            do="set them, as for any other program that reads this bucket",
        )
    if code in _KEYS:
        return SourceError(f"{where}: {_KEYS[code]}", expected="credentials that may list and read it", do="set others")
    if code in ("NoSuchBucket", "InvalidBucketName"):
        return SourceError(
            f"{where}: no such bucket", expected="one that is there", do="check its name, and AWS_ENDPOINT_URL"
        )
    if code in ("AccessDenied", "403"):
        return SourceError(f"{where}: these credentials may not list it", expected="s3:ListBucket", do="ask for it")
    if code in ("PermanentRedirect", "AuthorizationHeaderMalformed", "301"):
        return SourceError(f"{where}: it lies in another region", expected="its region", do="set AWS_REGION")
    if is_transient(error):
        return unanswered(in_words(error), where)
    if code:
        return SourceError(f"{where}: the service refused ({code})", expected="a listing", do="ask who runs it")
    return error


def unanswered(why: str, where: str) -> SourceError:
    """Return the error for a service that was asked again and again."""
    return SourceError(
        f"{where}: {why}, {TRIES} times",
        expected="a service that answers",
        do="check AWS_ENDPOINT_URL, and run the same command again later: what is stored stays",
    )


def is_transient(error: Exception) -> bool:
    """True for what another try may mend: the service is busy, or the line is bad."""
    if isinstance(error, SourceError):  # said already, and perhaps that there is no botocore
        return False
    import botocore.exceptions as wrong

    lines = (wrong.ConnectionError, wrong.HTTPClientError, wrong.IncompleteReadError, wrong.ResponseStreamingError)
    if isinstance(error, lines) and not isinstance(error, wrong.SSLError):
        return True
    answer = getattr(error, "response", None)
    status = answer.get("ResponseMetadata", {}).get("HTTPStatusCode", 0) if answer else 0
    return status >= 500 or status == 429 or code_of(error) in ("SlowDown", "RequestTimeout", "Throttling")


def code_of(error: Exception) -> str:
    """Return what the service called an error; nothing where it is none of the service's."""
    return str((getattr(error, "response", None) or {}).get("Error", {}).get("Code", ""))


def in_words(error: Exception) -> str:
    """Say what happened without an address or a key."""
    if code := code_of(error):
        return f"an answer of {code}"
    kind = type(error).__name__
    return {
        "EndpointConnectionError": "nobody answers",
        "ConnectTimeoutError": "nobody answers",
        "ReadTimeoutError": f"silence for {_SILENCE_S:.0f} s",
    }.get(kind, "the connection broke off")


def parts_of(address: str) -> tuple[str, str]:
    """Return bucket and key.

    Examples
    --------
    >>> parts_of("s3://scans/ct/1.dcm"), parts_of("s3://scans")
    (('scans', 'ct/1.dcm'), ('scans', ''))
    """
    bucket, _, key = address.removeprefix(SCHEME).partition("/")
    if not bucket:
        raise SourceError("an address without a bucket", expected="s3://BUCKET/FOLDER", do="name the bucket")
    return bucket, key


def _size(part: Listed) -> int:
    return part.stamp[0] if part.stamp else 0


def pause(tried: int) -> None:
    """Wait before a request is made again, twice as long each time."""
    time.sleep(_PAUSE_S * 2 ** (tried - 1))


def client() -> Any:
    """Return the client of this process: one that a fork took over would share its connections with its parent."""
    return _client(os.getpid())


@functools.cache
def _client(process: int) -> Any:
    """Make a client; its own retries are few, for ours go on in the middle of an object."""
    try:
        import botocore.config
        import botocore.session
    except ModuleNotFoundError as error:
        raise SourceError("a bucket needs botocore, which is not installed", do=INSTALL) from error
    how = botocore.config.Config(
        retries={"mode": "standard", "total_max_attempts": 2},
        connect_timeout=10,
        read_timeout=_SILENCE_S,
        max_pool_connections=2 * _AT_ONCE,
    )
    session = botocore.session.get_session()
    region = session.get_config_variable("region") or "us-east-1"
    return session.create_client("s3", region_name=region, config=how)
