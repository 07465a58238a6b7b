"""DICOM associations: who calls whom, what they agree on, and why one was refused.

References
----------
PS3.8 9.3.4 (A-ASSOCIATE-RJ), PS3.7 D.3.3.4 (role selection), PS3.15 B.1 (TLS).
"""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from overread.errors import OverreadError, SourceError
from overread.sources.keys import Keys, tls

if TYPE_CHECKING:
    from pynetdicom import AE
    from pynetdicom.association import Association
    from pynetdicom.presentation import PresentationContext

FIND = "1.2.840.10008.5.1.4.1.2.2.1"
MOVE = "1.2.840.10008.5.1.4.1.2.2.2"
GET = "1.2.840.10008.5.1.4.1.2.2.3"

SYNTAXES = (
    "1.2.840.10008.1.2.1",  # explicit little endian
    "1.2.840.10008.1.2",  # implicit little endian
    "1.2.840.10008.1.2.2",  # explicit big endian
    "1.2.840.10008.1.2.1.99",  # deflated
    "1.2.840.10008.1.2.4.50",  # JPEG baseline
    "1.2.840.10008.1.2.4.51",  # JPEG extended
    "1.2.840.10008.1.2.4.57",  # JPEG lossless
    "1.2.840.10008.1.2.4.70",  # JPEG lossless, first-order prediction
    "1.2.840.10008.1.2.4.80",  # JPEG-LS lossless
    "1.2.840.10008.1.2.4.81",  # JPEG-LS near lossless
    "1.2.840.10008.1.2.4.90",  # JPEG 2000 lossless
    "1.2.840.10008.1.2.4.91",  # JPEG 2000
    "1.2.840.10008.1.2.4.201",  # HTJ2K lossless
    "1.2.840.10008.1.2.4.202",  # HTJ2K lossless, RPCL
    "1.2.840.10008.1.2.4.203",  # HTJ2K
    "1.2.840.10008.1.2.5",  # RLE
)
_MOST_CONTEXTS = 126  # 128 in an association, two of them for the questions
_CALLED_UNKNOWN, _CALLING_UNKNOWN = 7, 3
_FOR_NOW = 2  # PS3.8 9.3.4: rejected-transient
TRIES = 4

Receive = Callable[[str, bytes], int]
"""``receive(sop_instance_uid, file) -> status``: takes one instance that the PACS sends."""


@dataclass(frozen=True)
class Peer:
    """A PACS, and how we call it.

    Parameters
    ----------
    called : str
        Its AE title.
    host : str
    port : int
    calling : str
        Our AE title; many PACS answer only those that they know.
    retrieve : {"get", "move"}
        C-GET needs nothing else; for C-MOVE the PACS must know our AE title, host and ``listen``.
    listen : int
        The port on which we take what a C-MOVE sends.
    encrypted : bool
        TLS.
    keys : Keys
        Certificates (a login has no place in DIMSE).
    timeout_s : float
        Of silence.
    """

    called: str
    host: str
    port: int
    calling: str = "OVERREAD"
    retrieve: str = "get"
    listen: int = 11113
    encrypted: bool = False
    keys: Keys = field(default_factory=Keys)
    timeout_s: float = 60.0

    def __post_init__(self) -> None:
        for name, title in (("called", self.called), ("calling", self.calling)):
            if not (1 <= len(title) <= 16 and title.isascii() and title.isprintable() and "\\" not in title):
                raise SourceError(
                    f"a {name} AE title of {len(title)} characters",
                    expected="1 to 16 plain letters",
                    do="write dimse://CALLED@HOST:PORT?calling=OURS",
                )
        if self.retrieve not in ("get", "move"):
            raise SourceError("retrieve= is neither", expected="get or move", do="leave it out for get")
        if self.keys.login:
            raise SourceError("a login for DIMSE", expected="none: it has AE titles", do="leave login= out")


@dataclass(frozen=True)
class Line:
    """An open association, and the status of every C-FIND answer that was heard on it: none may be lost between."""

    association: Association
    heard: list[int]


@contextmanager
def call(
    peer: Peer,
    models: Sequence[str],
    *,
    takes: Sequence[PresentationContext] = (),
    receive: Receive | None = None,
    wait: Callable[[float], object] = time.sleep,
) -> Iterator[Line]:
    """Open an association, and close it whatever happens.

    Parameters
    ----------
    peer : Peer
    models : sequence of str
        SOP classes of the questions.
    takes : sequence of PresentationContext
        What may be sent to us on the same association (C-GET).
    receive : callable, optional
        Takes it.
    wait : callable
        Waits some seconds, where the PACS refuses for now (too many associations, congestion).

    Raises
    ------
    SourceError
        When nobody is there, the association is refused, or a question is not understood.
    """
    ae, evt = _application_entity(peer)
    for model in models:
        ae.add_requested_context(model)
    heard: list[int] = []
    opened: list[socket.socket] = []
    handlers = [(evt.EVT_CONN_OPEN, _no_delay, [opened]), (evt.EVT_DIMSE_RECV, _hear, [heard])]
    roles = []
    if receive is not None:
        from pynetdicom import build_role

        handlers.append((evt.EVT_C_STORE, _store, [receive]))
        roles = [build_role(uid, scp_role=True) for uid in dict.fromkeys(c.abstract_syntax for c in takes)]
        ae.requested_contexts = [*ae.requested_contexts, *takes]
    association = _associated(peer, lambda how: ae.associate(ext_neg=roles, evt_handlers=handlers, **how), wait)
    if not association.is_established:
        _close(opened)
        raise _refused(peer, association)
    accepted = {context.abstract_syntax for context in association.accepted_contexts}
    with _undisturbed(association):
        try:
            if not accepted.issuperset(models):
                raise _not_offered(models)
            yield Line(association, heard)
        except BaseException:
            association.abort()
            raise
        finally:
            if association.is_established:
                association.release()
            _close(opened)


def _associated(
    peer: Peer, associate: Callable[[dict[str, Any]], Association], wait: Callable[[float], object]
) -> Association:
    """Ask for an association, again after a while where the PACS refuses for now; it may still be refused in the end."""
    how: dict[str, Any] = {"addr": peer.host, "port": peer.port, "ae_title": peer.called}
    for tried in range(TRIES):
        if peer.encrypted:
            how["tls_args"] = (tls(peer.keys), peer.host)
        association = associate(how)
        if not (association.is_rejected and association.acceptor.primitive.result == _FOR_NOW):
            break
        if tried + 1 < TRIES:
            wait(0.5 * 2**tried)
    return association


def storage(classes: frozenset[str], syntax: str = "") -> list[PresentationContext]:
    """Return what we can take: every transfer syntax as a context of its own, so that each instance comes as it is stored.

    Without known SOP classes: all of them, where the PACS chooses one transfer syntax for each. With a ``syntax``: that
    one alone, for a PACS that looks at one context of a class only.
    """
    from pynetdicom import StoragePresentationContexts, build_context

    if classes:
        each = [syntax] if syntax else SYNTAXES
        contexts = [build_context(uid, one) for uid in sorted(classes) for one in each]
        return contexts[:_MOST_CONTEXTS]
    return [
        build_context(c.abstract_syntax, syntax or list(SYNTAXES)) for c in StoragePresentationContexts[:_MOST_CONTEXTS]
    ]


@contextmanager
def listen(peer: Peer, receive: Receive) -> Iterator[None]:
    """Take what a C-MOVE sends, from the PACS alone, on the address that it sees of us.

    Raises
    ------
    SourceError
        When the port is taken.
    """
    from pynetdicom import AllStoragePresentationContexts

    ae, evt = _application_entity(peer)
    ae.require_called_aet = True
    for context in AllStoragePresentationContexts:
        ae.add_supported_context(context.abstract_syntax, list(SYNTAXES))
    here = (_own_address(peer), peer.listen)
    try:
        with socket.socket() as probe:  # pynetdicom would leave its own open
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(here)
        server = ae.start_server(
            here,
            block=False,
            evt_handlers=[(evt.EVT_CONN_OPEN, _no_delay), (evt.EVT_C_STORE, _store, [receive])],
        )
    except OSError as error:
        raise SourceError(
            f"port {peer.listen} cannot be listened on ({error.strerror})",
            expected="a free port",
            do="give listen=PORT",
        ) from None
    try:
        yield
    finally:
        server.shutdown()


def _application_entity(peer: Peer) -> tuple[AE, Any]:
    try:
        from pynetdicom import AE, evt
    except ImportError:
        raise OverreadError(
            "DIMSE needs pynetdicom, which is not installed",
            expected="the extra for PACS",
            do='pip install "overread[pacs]"',
        ) from None
    ae = AE(ae_title=peer.calling)
    ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = peer.timeout_s
    ae.connection_timeout = min(10.0, peer.timeout_s)
    return ae, evt


def reach(peer: Peer) -> None:
    """Refuse at once, with the reason, where nobody answers or TLS fails; pynetdicom would keep both to itself.

    Raises
    ------
    SourceError
    """
    _application_entity(peer)  # without pynetdicom there is no reason to disturb anybody
    try:
        with socket.create_connection((peer.host, peer.port), timeout=10) as plain:
            if peer.encrypted:
                with tls(peer.keys).wrap_socket(plain, server_hostname=peer.host):
                    return
    except ssl.SSLCertVerificationError as error:
        raise SourceError(
            f"{peer.host}:{peer.port}: a certificate that is not trusted ({error.verify_message})",
            expected="one that a trusted authority has signed for this name",
            do="give the hospital's own authority with ca=FILE; overread never goes on unchecked",
        ) from None
    except ssl.SSLError as error:
        raise SourceError(
            f"{peer.host}:{peer.port} does not speak TLS with us ({error.reason or 'no reason given'})",
            expected="TLS 1.2 or newer",
            do="check port, cert= and key=; dimse:// is DIMSE without TLS",
        ) from None
    except OSError as error:
        raise _nobody(peer, error.strerror or "no answer") from None


def _close(opened: list[socket.socket]) -> None:
    """Close what pynetdicom leaves open when the other side hangs up first."""
    for connection in opened:
        connection.close()


def _no_delay(event: Any, opened: list[socket.socket] | None = None) -> None:
    """Send small answers at once: waiting to fill a packet makes DIMSE six times slower."""
    connection = event.assoc.dul.socket.socket
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if opened is not None:
        opened.append(connection)


class _Gate(threading.Event):
    """A gate that stays shut whoever wants to open it, and tells when somebody stands before it."""

    def __init__(self) -> None:
        super().__init__()
        self.somebody = threading.Event()

    def set(self) -> None:
        """Stay shut."""

    def wait(self, timeout: float | None = None) -> bool:
        self.somebody.set()
        return super().wait(timeout)

    def open(self) -> None:
        super().set()


@contextmanager
def _undisturbed(association: Association) -> Iterator[None]:
    """Keep pynetdicom's own thread out of the way while answers come.

    It looks for requests of the peer, and is meant to pause while we ask. In 3.0.4 it says that it has paused a moment
    too early, takes about one answer in 3,500 off the queue and drops it: a study is missing, or the end of the answers
    never comes. Here it is stopped for good before the first question, at a gate of our own.
    """
    gate = _Gate()
    pynetdicoms, association._reactor_checkpoint = association._reactor_checkpoint, gate
    gate.somebody.wait(timeout=2.0)
    try:
        yield
    finally:
        association._reactor_checkpoint = pynetdicoms
        gate.open()


def _hear(event: Any, heard: list[int]) -> None:
    if type(event.message).__name__ == "C_FIND_RSP":
        heard.append(event.message.command_set.Status)


def _store(event: Any, receive: Receive) -> int:
    return receive(str(event.request.AffectedSOPInstanceUID), event.encoded_dataset())


def _own_address(peer: Peer) -> str:
    """Return the address of ours that the PACS sees, so that no other network can reach the port."""
    try:
        family, kind, _, _, there = socket.getaddrinfo(peer.host, peer.port, type=socket.SOCK_DGRAM)[0]
        with socket.socket(family, kind) as probe:
            probe.connect(there)  # sends nothing: it only asks which way it would go
            return probe.getsockname()[0]
    except OSError as error:
        raise _nobody(peer, error.strerror or "unknown host") from None


def _refused(peer: Peer, association: Association) -> SourceError:
    """Say why there is no association."""
    if not association.is_rejected:
        return SourceError(
            f"{peer.host}:{peer.port} hung up while the association was made",
            expected="a PACS that speaks DIMSE" + (" with TLS and trusts our certificate" if peer.encrypted else ""),
            do="check the port" + (", cert= and key=" if peer.encrypted else "; dimses:// is DIMSE with TLS"),
        )
    diagnostic = association.acceptor.primitive.diagnostic
    source = association.acceptor.primitive.result_source
    why = f"refused (source {source}, reason {diagnostic})"
    if source == 1 and diagnostic == _CALLED_UNKNOWN:
        why, do = f"does not go by the AE title {peer.called}", "ask who runs the PACS for its AE title"
    elif source == 1 and diagnostic == _CALLING_UNKNOWN:
        why, do = f"does not know our AE title {peer.calling}", "have it entered there, or give calling=TITLE"
    else:
        do = "ask who runs the PACS, or try again later"
    return SourceError(f"{peer.host}:{peer.port} {why}", expected="an association", do=do)


def _nobody(peer: Peer, why: str) -> SourceError:
    return SourceError(f"{peer.host}:{peer.port}: {why}", expected="a PACS", do="check host and port, and the network")


def _not_offered(models: Sequence[str]) -> SourceError:
    name = {FIND: "C-FIND", GET: "C-GET", MOVE: "C-MOVE"}[models[0]]
    do = "add retrieve=move" if models[0] == GET else "ask who runs the PACS"
    return SourceError(f"a PACS without {name} (Study Root)", expected="one that offers it to us", do=do)
