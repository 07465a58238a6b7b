"""Two hosts on one machine, each with its own processes and object store: the same bytes, and what is lost is survived."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
from small_disk import small_disk

if importlib.util.find_spec("ray") is None:  # not imported here: it reads its environment once, when it is
    pytest.skip("Ray is not installed: pip install 'overread[cluster]'", allow_module_level=True)


sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent / "steps")]
from hosts import Hosts
from painted import paint

from overread import engine
from overread.engine import Failure
from overread.engine.cluster import on_cluster
from overread.errors import ArchiveError, LabelError, SourceError
from overread.steps.collect import collect
from overread.store.archive import Archive

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(240),
    pytest.mark.skipif(sys.platform != "linux", reason="hosts on one machine are made as Linux does it"),
]

TELL = """
import os, signal, time
def slowly(x):
    time.sleep(0.05)
    return x
def ill(x):
    if x == 5: os.kill(os.getpid(), signal.SIGSEGV)
    if x == 9: time.sleep(1000)
    if x == 11: raise MemoryError
    if x == 13: os.kill(os.getpid(), signal.SIGKILL)
    return x
def kill_the_ray_worker(x):
    if x == 5:
        between = open(f"/proc/{os.getppid()}/stat").read().rpartition(")")[2].split()[1]  # the forkserver's parent
        os.kill(int(between), signal.SIGKILL)
    return x
def refuse(x):
    from overread.errors import LabelError
    if x == 7: raise LabelError("seven", expected="less", do="subtract")
    return x
"""


@pytest.fixture(scope="module")
def hosts(tmp_path_factory):
    home = tmp_path_factory.mktemp("hosts")
    (home / "told_elsewhere.py").write_text(TELL)
    before = dict(os.environ)
    made = Hosts(home, path=str(home))
    made.join()
    os.environ.update(made.secret)
    sys.path.insert(0, str(home))
    yield made
    sys.path.remove(str(home))
    os.environ.clear()
    os.environ.update(before)
    made.end()


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    folder = tmp_path_factory.mktemp("films")
    for i in range(120):
        paint(folder / "abc"[i % 3] / f"{i}.png", seed=i // 2, side=64)
    for broken in ("a/3.png", "b/4.png"):
        (folder / broken).write_bytes((folder / broken).read_bytes()[:900])
    return folder


def collected(films: Path, into: Path, **options) -> str:
    """The hash of all that an archive holds, and of what the names shelf says of every file; with one key for all."""
    Path(f"{into}.names").mkdir(mode=0o700, parents=True, exist_ok=True)
    Path(f"{into}.names", "key").write_bytes(b"k" * 32)
    collect(films, into=into, labels_from_folders=True, progress=False, **options)
    return archive_hash(into)


def archive_hash(into: Path) -> str:
    digest = hashlib.sha256()
    for file in sorted((into / "objects").rglob("*")):
        if file.is_file():
            digest.update(f"{file.relative_to(into)}".encode() + file.read_bytes())
    for database in (into / "archive.sqlite", Path(f"{into}.names", "crosswalk.sqlite")):
        with sqlite3.connect(database) as db:
            digest.update("\n".join(db.iterdump()).encode())
        db.close()
    return digest.hexdigest()


def test_collect_gives_the_same_bytes_here_in_processes_and_on_two_hosts(hosts, films, tmp_path):
    here = collected(films, tmp_path / "here", workers=1)
    assert collected(films, tmp_path / "two", workers=2) == here
    assert collected(films, tmp_path / "hosts", cluster=hosts.address) == here
    (films / "a" / "0.png").rename(films / "a" / "0000.png")
    assert collected(films, tmp_path / "other", workers=1) != here  # the twin: another name would be seen
    (films / "a" / "0000.png").rename(films / "a" / "0.png")


def test_answers_come_in_order_and_a_refusal_in_its_turn(hosts):
    import told_elsewhere as tell

    assert list(engine.map(tell.slowly, range(40), cluster=hosts.address)) == list(range(40))
    answers = engine.map(tell.refuse, range(30), cluster=hosts.address)
    assert [next(answers) for _ in range(7)] == list(range(7))
    with pytest.raises(LabelError, match="seven; expected less; subtract"):
        next(answers)


def test_a_ray_worker_killed_in_the_middle_loses_nothing(hosts):
    import told_elsewhere as tell

    killed, answers = [], []
    for x in on_cluster(tell.slowly, range(120), cluster=hosts.address, chunk=4):
        answers.append(x)
        if len(answers) in (20, 60):
            killed += hosts.workers()[:1]
            os.kill(killed[-1], signal.SIGKILL)
    assert answers == list(range(120))
    assert len(set(killed)) == 2


def test_what_is_poisoned_is_named_and_the_rest_is_whole(hosts):
    import told_elsewhere as tell

    answers = list(on_cluster(tell.ill, range(24), cluster=hosts.address, chunk=4, patience_s=3))
    named = {a.item: a.reason for a in answers if isinstance(a, Failure)}
    assert [a for a in answers if not isinstance(a, Failure)] == [x for x in range(24) if x not in named]
    assert named == {
        5: "the process that read it crashed (SIGSEGV)",
        9: "it was not done in 3 s, and was stopped",
        11: "it needs more memory than there is",
        13: "the process that read it was killed, probably because the memory ran out",
    }


def test_an_item_that_loses_four_workers_is_refused(hosts):
    import told_elsewhere as tell

    answers = list(on_cluster(tell.kill_the_ray_worker, range(12), cluster=hosts.address, chunk=4))
    assert [a for a in answers if not isinstance(a, Failure)] == [x for x in range(12) if x != 5]
    assert (answers[5].item, answers[5].reason) == (5, "the 4 workers of the cluster that read it were lost")


def test_a_cluster_without_a_processor_is_refused_after_a_while(hosts, tmp_path):
    bare = Hosts(tmp_path, cpus=0)
    try:
        with pytest.raises(SourceError, match="has had no processor for 1 s"):
            list(on_cluster(abs, [1], cluster=bare.address, none_s=1))
    finally:
        bare.end()


def test_a_collector_that_is_killed_goes_on_where_it_was(hosts, films, tmp_path):
    (tmp_path / "a.names").mkdir(mode=0o700)
    (tmp_path / "a.names" / "key").write_bytes(b"k" * 32)
    script = (
        "import sys\nfrom overread.steps.collect import collect\n"
        "collect(sys.argv[1], into=sys.argv[2], labels_from_folders=True, progress=False, cluster=sys.argv[3])\n"
    )
    words = [sys.executable, "-c", script, str(films), str(tmp_path / "a"), hosts.address]
    process = subprocess.Popen(words, stderr=subprocess.DEVNULL, start_new_session=True)
    while not list(tmp_path.glob("a/objects/*/.*.tmp")) + list(tmp_path.glob("a/objects/*/*.npy")):
        assert process.poll() is None
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    with Archive.open(tmp_path / "a") as archive:
        archive.verify()
    collected(films, tmp_path / "a", cluster=hosts.address)
    collected(films, tmp_path / "whole", workers=1)
    with Archive.open(tmp_path / "a") as archive, Archive.open(tmp_path / "whole") as whole:
        assert list(archive.studies()) == list(whole.studies())
        assert archive.verify() == whole.verify()


def test_a_full_disk_is_named_and_the_same_command_goes_on(hosts, films, tmp_path):
    disk = tmp_path / "disk"
    with small_disk(disk, size="400k") as enlarge:
        with pytest.raises(ArchiveError, match=r"^the disk of the archive is full; .* run the same command again"):
            collected(films, disk / "a", cluster=hosts.address)
        with Archive.open(disk / "a") as archive:
            archive.verify()
        enlarge("20m")
        collected(films, disk / "a", cluster=hosts.address)
        with Archive.open(disk / "a") as archive, Archive.create(tmp_path / "whole") as whole:
            collected(films, tmp_path / "whole", workers=1)
            assert list(archive.studies()) == list(whole.studies())
            assert archive.verify() == whole.verify()
        assert not list(disk.rglob(".seen-by-all-*"))


def test_predict_explain_and_evaluate_give_the_same_bytes(hosts, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # names are told as they were given, and they were given from here
    from small_run import fill, small_run, spots

    from overread.steps.evaluate import evaluate
    from overread.steps.explain import explain
    from overread.steps.predict import predict

    pictures, there = spots(160, seed=1)
    labels = [{"spot": bool(t)} for t in there]
    with fill(tmp_path / "archive", pictures, labels) as archive:
        run = small_run(tmp_path, archive, "spot")
    with fill(tmp_path / "other", *(lambda p, t: (p, [{"spot": bool(x)} for x in t]))(*spots(60, seed=2)), others=True):
        pass
    for i, picture in enumerate(pictures[:30]):
        from PIL import Image

        (tmp_path / "new").mkdir(exist_ok=True)
        Image.fromarray(picture).save(tmp_path / "new" / f"{i}.png")
    (tmp_path / "new" / "7.png").write_bytes(b"\x89PNG\r\n\x1a\nno more")

    def files(folder: Path) -> dict[str, bytes]:
        return {p.name: p.read_bytes() for p in sorted(folder.iterdir()) if p.is_file()}

    for name, verb, options in (
        ("predicted", predict, {}),
        ("explained", explain, {"methods": ("grad-cam",)}),
    ):
        verb(run, "new", out=tmp_path / name / "here", progress=False, **options)
        verb(run, "new", out=tmp_path / name / "there", progress=False, cluster=hosts.address, **options)
        here, there = files(tmp_path / name / "here"), files(tmp_path / name / "there")
        assert here == there
        assert len(here) >= 2 and any(b"not-an-image" in v or b"7.png" in v for v in here.values())
    figures = [evaluate(run, on=tmp_path / "other", cluster=c).to_json()["labels"] for c in (None, hosts.address)]
    assert figures[0] == figures[1]


def test_a_cluster_that_is_not_there_is_named(hosts):
    with pytest.raises(SourceError, match="no Ray cluster"):
        list(engine.map(abs, [1], cluster="127.0.0.1:1"))


@pytest.mark.skipif(os.geteuid() != 0, reason="a host with mounts of its own needs root")
def test_a_host_that_does_not_see_the_archive_is_refused(hosts, films, tmp_path):
    (tmp_path / "here").mkdir()
    own = f'mount -t tmpfs tmpfs {tmp_path / "here"} && exec "$@"'
    if subprocess.run(["unshare", "-m", "true"], check=False).returncode:
        pytest.skip("this machine lets no process have mounts of its own")
    number = hosts.join("unshare", "-m", "sh", "-c", own, "sh")
    try:
        _until_there_are(hosts, 3)
        with pytest.raises(SourceError, match="a host of the cluster that does not see"):
            collected(films, tmp_path / "here" / "a", cluster=hosts.address)
    finally:
        hosts.lose(number)
    _until_there_are(hosts, 2)
    here = collected(films, tmp_path / "whole", workers=1)
    assert collected(films, tmp_path / "here" / "a", cluster=hosts.address) == here  # the twin


def test_a_host_lost_in_the_middle_loses_nothing(hosts):
    import told_elsewhere as tell

    number = hosts.join()
    _until_there_are(hosts, 3)
    answers = []
    for x in on_cluster(tell.slowly, range(160), cluster=hosts.address, chunk=4):
        answers.append(x)
        if len(answers) == 40:
            hosts.lose(number)
    assert answers == list(range(160))


def _until_there_are(hosts: Hosts, count: int) -> None:
    """Wait until so many hosts are known to the head."""
    import ray

    ray.init(address=hosts.address, log_to_driver=False, logging_level="error")
    try:
        end = time.monotonic() + 60
        while sum(node["Alive"] for node in ray.nodes()) != count:
            assert time.monotonic() < end, "a host did not come, or did not go"
            time.sleep(0.2)
    finally:
        ray.shutdown()
