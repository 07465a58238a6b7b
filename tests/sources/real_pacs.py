"""Real servers for the tests: Orthanc, and dcmtk's dcmqrscp, each on a free port with its data in a temporary folder."""

from __future__ import annotations

import json
import os
import shutil
import socket
import socketserver
import ssl
import subprocess
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

PLUGINS = Path("/usr/share/orthanc/plugins")
LOGIN = "reader:a secret with spaces"


@dataclass(frozen=True)
class Real:
    """A running server: where it is, and on which port a C-MOVE would reach us."""

    web: str
    dicom: str
    listen: int
    ca: str = ""


def free_ports(count: int) -> list[int]:
    """Return ports that nobody uses, all different."""
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


@contextmanager
def orthanc(folder: Path, files: list[Path], *, locked: bool = False) -> Iterator[Real]:
    """Run an Orthanc that holds these files.

    Parameters
    ----------
    folder : Path
        For its data.
    files : list of Path
    locked : bool
        With TLS on both ports, a login, and our certificate asked for over DIMSE.
    """
    if shutil.which("Orthanc") is None or not (PLUGINS / "libOrthancDicomWeb.so").exists():
        pytest.skip("Orthanc is not installed (apt-get install orthanc orthanc-dicomweb orthanc-gdcm)")
    http, dicom, listen = free_ports(3)
    settings = {
        "StorageDirectory": str(folder / "data"),
        "IndexDirectory": str(folder / "data"),
        "HttpPort": http,
        "DicomPort": dicom,
        "DicomAet": "ORTHANC",
        "DicomCheckCalledAet": True,
        "DicomAlwaysAllowFind": False,
        "DicomAlwaysAllowGet": False,
        "DicomModalities": {"us": {"AET": "OVERREAD", "Host": "127.0.0.1", "Port": listen, "UseDicomTls": locked}},
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": locked,
        "Plugins": [str(PLUGINS)],
        "DicomWeb": {"Enable": True, "Root": "/dicom-web/", "Host": f"127.0.0.1:{http}"},
    }
    ca = ""
    if locked:
        ca = str(certificate(folder))
        user, _, password = LOGIN.partition(":")
        settings |= {
            "RegisteredUsers": {user: password},
            "DicomTlsEnabled": True,
            "DicomTlsCertificate": ca,
            "DicomTlsPrivateKey": str(folder / "key.pem"),
            "DicomTlsTrustedCertificates": ca,
        }
    (folder / "orthanc.json").write_text(json.dumps(settings))
    with open(folder / "log", "wb") as log:
        server = subprocess.Popen(
            ["Orthanc", str(folder / "orthanc.json")],
            stdout=log,
            stderr=log,
            env={**os.environ, "TCP_NODELAY": "1"},
        )
    try:
        _wait_for(http, server, folder / "log")
        _wait_for(dicom, server, folder / "log")
        if not locked:
            for file in files:
                _post(f"http://127.0.0.1:{http}/instances", file.read_bytes())
        with in_front(http, folder) if locked else nullcontext(http) as port:
            yield Real(
                web=f"dicomweb:{'https' if locked else 'http'}://127.0.0.1:{port}/dicom-web",
                dicom=f"{'dimses' if locked else 'dimse'}://ORTHANC@127.0.0.1:{dicom}",
                listen=listen,
                ca=ca,
            )
    finally:
        server.terminate()
        server.wait(timeout=20)


def replace_instance(real: Real, uid: str, file: Path) -> None:
    """Take one instance out of an Orthanc, and give it another."""
    root = real.web.removeprefix("dicomweb:").removesuffix("/dicom-web")
    (found,) = _ask(f"{root}/tools/lookup", "POST", uid.encode())
    _ask(f"{root}{found['Path']}", "DELETE")
    _post(f"{root}/instances", file.read_bytes())


@contextmanager
def in_front(port: int, folder: Path) -> Iterator[int]:
    """Speak TLS in front of a server, as a hospital's proxy does (Debian's Orthanc 1.10 dies when it does so itself)."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")

    class Through(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            try:
                with (
                    context.wrap_socket(self.request, server_side=True) as outside,
                    socket.create_connection(("127.0.0.1", port)) as inside,
                ):
                    back = threading.Thread(target=pour, args=(inside, outside))
                    back.start()
                    pour(outside, inside)
                    back.join()
            except OSError:
                return  # a guest who does not trust our certificate hangs up

    def pour(one: socket.socket, other: socket.socket) -> None:
        with suppress(OSError):
            while data := one.recv(1 << 16):
                other.sendall(data)
        with suppress(OSError):
            other.shutdown(socket.SHUT_RDWR)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Through) as proxy:
        thread = threading.Thread(target=proxy.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield proxy.server_address[1]
        finally:
            proxy.shutdown()
            thread.join()


@contextmanager
def dcmqrscp(folder: Path, files: list[Path]) -> Iterator[Real]:
    """Run dcmtk's archive with these files."""
    if shutil.which("dcmqrscp") is None or shutil.which("dcmqridx") is None:
        pytest.skip("dcmtk is not installed (apt-get install dcmtk)")
    port, listen = free_ports(2)
    store = folder / "store"
    store.mkdir()
    copies = [shutil.copy(file, store / f"{i:05d}.dcm") for i, file in enumerate(files)]
    subprocess.run(["dcmqridx", str(store), *copies], check=True, capture_output=True)
    (folder / "dcmqrscp.cfg").write_text(
        f"NetworkTCPPort = {port}\nMaxPDUSize = 65536\nMaxAssociations = 16\n"
        f"HostTable BEGIN\nus = (OVERREAD, 127.0.0.1, {listen})\nHostTable END\n"
        f"VendorTable BEGIN\nVendorTable END\n"
        f"AETable BEGIN\nQRSCP {store} R (200, 1024mb) ANY\nAETable END\n"
    )
    with open(folder / "log", "wb") as log:
        server = subprocess.Popen(
            ["dcmqrscp", "+xv", "-xv", "-c", str(folder / "dcmqrscp.cfg")],
            stdout=log,
            stderr=log,
            env={**os.environ, "TCP_NODELAY": "1"},
        )
    try:
        _wait_for(port, server, folder / "log")
        yield Real(web="", dicom=f"dimse://QRSCP@127.0.0.1:{port}", listen=listen)
    finally:
        server.terminate()
        server.wait(timeout=20)


def certificate(folder: Path) -> Path:
    """Make a certificate for this computer that signs itself, as small hospitals do."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    key, cert = folder / "key.pem", folder / "cert.pem"
    words = "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=127.0.0.1 -addext subjectAltName=IP:127.0.0.1"
    subprocess.run(["openssl", *words.split(), "-keyout", str(key), "-out", str(cert)], check=True, capture_output=True)
    return cert


def _wait_for(port: int, server: subprocess.Popen, log: Path) -> None:
    for _ in range(200):
        if server.poll() is not None:
            pytest.fail(f"the server ended: {log.read_text(errors='replace')[-800:]}")
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    pytest.fail("the server did not start in 10 s")


def _post(address: str, body: bytes) -> None:
    assert _ask(address, "POST", body)["Status"] == "Success"


def _ask(address: str, method: str, body: bytes | None = None) -> Any:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(urllib.request.Request(address, data=body, method=method), timeout=20) as answer:
        return json.load(answer)
