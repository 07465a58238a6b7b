"""A hospital in small: a real run of known behaviour, phantoms as real DICOM files, a server, a browser."""

from __future__ import annotations

import http.client
import json
import re
import shutil
import socket
import threading
import time
import urllib.parse
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from overread.config import Settings
from overread.domain import ModelCard, Recipe, Step, Task, canonical_json
from overread.formats.phantom_dicom import Header, write_ct, write_dx
from overread.learn.predict import Model, sha256
from overread.stats.calibration import Calibration
from overread.steps.reads import model_of
from overread.steps.run import READS, record_manifest
from overread.store.journal import Journal

LABEL = "nodule"
START = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)


class Clock:
    """A clock that goes on by one second at each look, so that nothing has to be waited for."""

    def __init__(self) -> None:
        self.time = START
        self._lock = threading.Lock()

    def __call__(self) -> datetime:
        with self._lock:
            self.time += timedelta(seconds=1)
            return self.time


def write_run(folder: Path, *, name: str = "brightness", bias: float = -8.0, maps_passed: bool = True) -> Path:
    """A finished run whose network is a real ONNX graph that anyone can check by hand: logit = 16 × mean + bias."""
    import onnx
    from onnx import TensorProto, helper

    graph = helper.make_graph(
        [
            helper.make_node("Identity", ["image"], ["features"]),
            helper.make_node("ReduceMean", ["features", "axes"], ["mean"], keepdims=0),
            helper.make_node("MatMul", ["mean", "kernel"], ["product"]),
            helper.make_node("Add", ["product", "bias"], ["logits"]),
        ],
        "overread",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 16, 16, 1])],
        [
            helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 1]),
            helper.make_tensor_value_info("features", TensorProto.FLOAT, ["batch", 16, 16, 1]),
        ],
        [
            helper.make_tensor("axes", TensorProto.INT64, [2], [1, 2]),
            helper.make_tensor("kernel", TensorProto.FLOAT, [1, 1], [16.0]),
            helper.make_tensor("bias", TensorProto.FLOAT, [1], [bias]),
        ],
    )
    folder.mkdir(parents=True)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.save(model, str(folder / "model.onnx"))
    np.savez(folder / "head.npz", tail=np.array("mean"), kernel0=np.array([[16.0]]), bias0=np.array([bias]))
    task = Task((LABEL,), "binary", LABEL, modality="DX")
    recipe = Recipe(
        (Step("normalise", {"by": "full_range"}), Step("channels", {"count": 1}), Step("resize", {"size": [16, 16]}))
    )
    (folder / "plan.json").write_text(canonical_json({"task": task, "recipe": recipe}))
    spread = tuple((1.0 + 0.002 * (i - 100), 0.004 * (i - 100)) for i in range(200))
    calibration = Calibration("binary", (1.0,), (0.0,), (spread,), n=200, n_patients=200)
    points = {LABEL: {"threshold": 0.5, "rule": "given", "cohort": "calibration"}}
    (folder / "calibration.json").write_text(
        canonical_json({"calibration": calibration.to_json(), "operating_points": points})
    )
    figure = {"value": 0.9, "low": 0.8, "high": 0.95, "n": 120, "method": "Wilson"}
    card = ModelCard(
        name=name,
        version="1",
        task=task.__dict__,
        recipe={"steps": [s.__dict__ for s in recipe.steps]},
        network={"name": "mean"},
        hashes={"model.onnx": sha256(folder / "model.onnx")},
        cohorts={"calibration": {"labels": {LABEL: {"true": 100, "false": 100, "unknown": 0}}}},
        training={},
        operating_points=points,
        calibration={},
        performance={"labels": {LABEL: {"sensitivity": figure, "specificity": figure}}},
        limits=("It looks at nothing but brightness.",),
    )
    (folder / "card.json").write_text(canonical_json(card))
    # what `evaluate` keeps after its tests: a map of brightness behind a global mean is the answer's own decomposition
    passed = {"grad-cam": {"passed": maps_passed, "tested": True, "cases": 100, "why": "", "checks": []}}
    (folder / "heatmaps.json").write_text(canonical_json(passed))
    files = ("plan.json", "calibration.json", "model.onnx", "head.npz", "card.json", "heatmaps.json")
    (folder / "manifest.json").write_text(
        json.dumps({"files": {f: sha256(folder / f) for f in files}, "card": card.fingerprint})
    )
    journal, now = Journal(folder / READS), datetime(2026, 1, 2, 3, 4, tzinfo=UTC)
    record_manifest(folder, now=now)
    read = {"cohort": "", "images": 120, "model": model_of(folder), "by": "evaluate", "own": True, "in_archive": False}
    journal.append("read", read, now=now)
    journal.append("figures", {"files": {"card.json": sha256(folder / "card.json")}}, now=now)
    return folder


def header(number: int) -> Header:
    return Header(
        name=f"PHANTOM^{number:03d}",
        patient_id=f"PH-{number:03d}",
        sex="F" if number % 2 else "M",
        birth=date(1960, 1, 1),
        study_time=datetime(2026, 1, 5, 8, 0),
        study_key=f"study {number}",
        institution="Phantom Hospital",
        manufacturer="Phantom",
        model="P1",
    )


def film(brightness: float, *, rows: int = 128, columns: int = 128, seed: int = 0) -> np.ndarray:
    """A film of a given mean brightness (0 to 1), with something to see on it."""
    noise = np.random.default_rng(seed).normal(0, 0.03, (rows, columns))
    y, x = np.mgrid[0:rows, 0:columns]
    shade = 0.15 * np.cos(2 * np.pi * x / columns) * np.cos(2 * np.pi * y / rows)
    values = shade + noise
    return np.clip(4095 * (brightness + values - values.mean()), 0, 4095).astype(np.uint16)


def deliver(inbox: Path, number: int, brightness: float, *, view: str = "PA", film_number: int = 1) -> Path:
    """A study of one film arrives: bright is present, dark is absent, between them the machine refers."""
    path = inbox / f"delivery-{number:03d}" / f"film-{film_number}.dcm"
    path.parent.mkdir(exist_ok=True)
    picture = film(brightness, seed=number)
    write_dx(path, picture, header=header(number), view=view, number=film_number, pixel_mm=0.4)
    return path


def deliver_ct(inbox: Path, number: int) -> None:
    """A CT of 12 slices arrives, which the model of films knows nothing about."""
    z, y, x = np.mgrid[0:12, 0:48, 0:64]
    volume = np.where((x - 32) ** 2 / 900 + (y - 24) ** 2 / 400 < 1, 40 + 10 * z, -1000).astype(np.int16)
    write_ct(
        inbox / f"delivery-{number:03d}",
        volume,
        header=header(number),
        spacing_mm=(5.0, 1.0, 0.8),
        order=list(range(12)),
    )


@pytest.fixture(scope="session")
def run(tmp_path_factory) -> Path:
    pytest.importorskip("onnx", reason="the test's network is written with the onnx package")
    return write_run(tmp_path_factory.mktemp("serve") / "run")


@pytest.fixture(scope="session")
def model(run) -> Model:
    return Model.load(run)


@pytest.fixture
def inbox(tmp_path) -> Path:
    folder = tmp_path / "inbox"
    folder.mkdir()
    return folder


@dataclass
class Answer:
    status: int
    body: bytes
    headers: dict[str, str]

    @property
    def text(self) -> str:
        return self.body.decode()


@dataclass
class Visitor:
    """A browser without a screen: keeps its cookie, and sends what it is told to."""

    port: int
    cookie: str = ""
    seen: list[Answer] = field(default_factory=list)

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def ask(self, method: str, path: str, form: dict | None = None, **headers: str) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        body = urllib.parse.urlencode(form).encode() if form is not None else None
        sent = {"Cookie": self.cookie} if self.cookie else {}
        if form is not None:
            sent |= {"Origin": self.origin, "Content-Type": "application/x-www-form-urlencoded"}
        sent |= {k.replace("_", "-"): v for k, v in headers.items()}
        connection.request(method, path, body, {k: v for k, v in sent.items() if v})
        answer = connection.getresponse()
        told = Answer(answer.status, answer.read(), {k.lower(): v for k, v in answer.getheaders()})
        connection.close()
        if "set-cookie" in told.headers:
            self.cookie = told.headers["set-cookie"].split(";")[0]
        self.seen.append(told)
        return told

    def get(self, path: str, **headers: str) -> Answer:
        return self.ask("GET", path, **headers)

    def post(self, path: str, form: dict, **headers: str) -> Answer:
        return self.ask("POST", path, form, **headers)

    def token(self, path: str = "/reader") -> str:
        return re.search(r'name="token" value="([0-9a-f]+)"', self.get(path).text)[1]

    def introduce(self, family: str = "Curie", given: str = "Marie") -> Visitor:
        answer = self.post("/reader", {"token": self.token(), "family": family, "given": given})
        if answer.status != 303:
            raise AssertionError(answer.text)
        return self

    def look(self, study: str, impression: str = "absent") -> Answer:
        form = {"token": self.token(f"/study/{study}"), f"impression:{LABEL}": impression}
        return self.post(f"/study/{study}/impression", form)

    def form(self, study: str, **changes: str) -> dict[str, str]:
        """The signing form of a study as the page gives it, with the reader's answers."""
        page = self.get(f"/study/{study}?amend=1").text
        hidden = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', page.split('id="sign"')[1]))
        first = re.search(r'name="answer:nodule" value="([^"]+)"', page)[1]
        form = {**hidden, f"answer:{LABEL}": first, f"reason:{LABEL}": "", "family": "Curie", "given": "Marie"}
        return {**form, **changes}


class House:
    """A server on a port of its own, with its worker's loop driven by hand."""

    def __init__(self, model: Model, inbox: Path, *, settings: Settings | None = None, demo: bool = False) -> None:
        import uvicorn

        from overread.serve.app import build

        self.clock = Clock()
        self.app = build(model, inbox, now=self.clock, settings=settings, demo=demo, work=False)
        self.room = self.app.state.room
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        config = uvicorn.Config(self.app, host="127.0.0.1", port=self.port, log_level="warning", ws="none")
        self.server = uvicorn.Server(config)
        self.thread = threading.Thread(target=self.server.run, daemon=True)
        self.thread.start()
        while not self.server.started:
            time.sleep(0.01)

    @property
    def journal(self):
        return self.room.inbox.journal

    def visitor(self) -> Visitor:
        return Visitor(self.port)

    def work(self) -> list[str]:
        """Let the worker look until everything in the inbox is drafted; pseudonyms in order of arrival."""
        for _ in range(4):
            self.clock.time += timedelta(seconds=3)
            self.room.worker.once()
        return [e.study for e in self.room.inbox.entries()]

    def of(self, patient: str) -> str:
        return next(e.study for e in self.room.inbox.entries() if e.patient == patient)

    def close(self, *, wait: bool = True) -> None:
        self.server.should_exit = True
        if wait:
            self.thread.join(10)


@pytest.fixture
def house(model, inbox):
    opened = []

    def open_house(**facts) -> House:
        opened.append(House(model, inbox, **facts))
        return opened[-1]

    yield open_house
    for one in opened:
        one.close(wait=False)  # it ends by itself within a tick; the next test has another inbox and another port


@pytest.fixture(scope="session")
def browser(tmp_path_factory):
    """Headless Chromium, logging every answer it gets."""
    webdriver = pytest.importorskip("selenium.webdriver")
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    driver = shutil.which("chromedriver")
    if not chromium or not driver:
        pytest.skip("needs Chromium and chromedriver (Debian: apt-get install chromium-driver)")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    profile = tmp_path_factory.mktemp("chromium")
    for word in (
        "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
        "--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage",
        "--window-size=1500,950", f"--user-data-dir={profile}",
    ):  # fmt: skip
        options.add_argument(word)
    options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
    window = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    yield window
    window.quit()
