"""A DICOMweb server on this computer that behaves as badly as it is told: for each kind of request, fault after fault."""

from __future__ import annotations

import json
import threading
import time
from collections import deque
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pydicom

BOUNDARY = "a-boundary-1234"


@dataclass(frozen=True)
class Fault:
    """What goes wrong with one answer.

    Parameters
    ----------
    status : int
        Instead of 200, with ``head``.
    head : tuple of (str, str)
    cut : int
        So many bytes of the body are sent, then the line goes dead.
    change : callable or None
        The body as it should be → the body that is sent.
    kind : str
        Another Content-Type.
    endless : bool
        The body begins, and never ends.
    hang_s : float
        Silence in the middle of the body.
    """

    status: int = 200
    head: tuple[tuple[str, str], ...] = ()
    cut: int = -1
    change: object = None
    kind: str = ""
    endless: bool = False
    hang_s: float = 0.0


class SmallPacs:
    """Serves some DICOM files; ``faults["studies" | "series" | "instances" | "wado" | "one"]`` are used up one by one.

    ``ignores`` holds query keys that it passes over, ``asked`` every path with its query.
    """

    def __init__(self, files: list[Path]) -> None:
        self.files = {}
        for file in files:
            ds = pydicom.dcmread(file, stop_before_pixels=True)
            self.files[ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.SOPInstanceUID] = (ds, file.read_bytes())
        self.faults: dict[str, deque[Fault]] = {}
        self.ignores: set[str] = set()
        self.asked: list[str] = []
        self.heads: list[dict[str, str]] = []
        pacs = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                pacs.asked.append(self.path)
                pacs.heads.append(dict(self.headers))
                name, kind, body = pacs.answer(self.path)
                faults = pacs.faults.get(name)
                self.send(kind, body, faults.popleft() if faults else Fault())

            def send(self, kind: str, body: bytes, fault: Fault) -> None:
                body = fault.change(body) if fault.change else body
                self.send_response(fault.status)
                self.send_header("Content-Type", fault.kind or kind)
                for name, value in fault.head:
                    self.send_header(name, value)
                if fault.endless or fault.cut >= 0:
                    self.send_header("Connection", "close")
                    self.close_connection = True
                else:
                    self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                try:
                    if fault.hang_s:
                        self.wfile.write(body[: len(body) // 2])
                        time.sleep(fault.hang_s)
                        body = body[len(body) // 2 :]
                    self.wfile.write(body[: fault.cut] if fault.cut >= 0 else body)
                    while fault.endless:
                        self.wfile.write(bytes(1 << 16))
                except OSError:
                    self.close_connection = True  # the guest had enough

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.word = f"dicomweb:http://127.0.0.1:{self._server.server_address[1]}/dicom-web"

    def __enter__(self) -> SmallPacs:
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def answer(self, path: str) -> tuple[str, str, bytes]:
        """Return the kind of a request, the type of its answer, and the answer."""
        url = urlsplit(path)
        parts = url.path.removeprefix("/dicom-web/").split("/")
        question = {k: v[0] for k, v in parse_qs(url.query).items() if k not in self.ignores}
        found = [(key, ds) for key, (ds, _) in self.files.items() if list(key)[: len(parts[1::2])] == parts[1::2]]
        if len(parts) % 2 == 0:
            files = [self.files[key][1] for key, _ in found]
            parts_of = b"".join(
                b"--%s\r\nContent-Type: application/dicom\r\n\r\n%s\r\n" % (BOUNDARY.encode(), f) for f in files
            )
            kind = f'multipart/related; type="application/dicom"; boundary={BOUNDARY}'
            return ("wado" if len(parts) == 4 else "one"), kind, parts_of + f"--{BOUNDARY}--\r\n".encode()
        level = parts[-1]
        index = ("studies", "series", "instances").index(level)
        listed = {key[index]: ds for key, ds in found if self._fits(ds, question)}
        page = list(listed.values())[int(question.get("offset", 0)) :][: int(question.get("limit", 1000))]
        keep = (
            "StudyInstanceUID",
            "SeriesInstanceUID",
            "SOPInstanceUID",
            "StudyDate",
            "PatientID",
            "Modality",
            "StudyDescription",
            "AccessionNumber",
        )
        told = [{k: v for k, v in _json(ds, keep).items()} for ds in page]
        return level, "application/dicom+json", json.dumps(told).encode()

    @staticmethod
    def _fits(ds: pydicom.Dataset, question: dict[str, str]) -> bool:
        if "PatientID" in question and ds.PatientID != question["PatientID"]:
            return False
        return question.get("ModalitiesInStudy", ds.Modality) == ds.Modality


def _json(ds: pydicom.Dataset, keywords: tuple[str, ...]) -> dict:
    small = pydicom.Dataset()
    for keyword in keywords:
        if keyword in ds:
            small[keyword] = ds[keyword]
    return small.to_json_dict()
