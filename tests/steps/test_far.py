"""What lies in a bucket is collected and answered as what lies in a folder; a bad line costs time and no image."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

if any(importlib.util.find_spec(name) is None for name in ("botocore", "moto", "flask")):
    pytest.skip("no S3 server to test against: pip install moto flask flask-cors botocore", allow_module_level=True)

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parent)]
from bucket import KEYS, Service, new_bucket
from painted import content, paint, run
from PIL import Image as Picture
from small_run import fill, small_run, spots

from overread.errors import NothingToDo, SourceError, UnreadableFile
from overread.formats.jobs import Part
from overread.sources import s3
from overread.steps.explain import explain
from overread.steps.phantom import phantom
from overread.steps.predict import predict

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(scope="module")
def service():
    made = Service()
    yield made
    made.end()


@pytest.fixture
def bucket(service, monkeypatch, request):
    """A bucket of its own for each test, and the way to it in the environment, as for any other program."""
    with new_bucket(service, monkeypatch, "t" + str(abs(hash(request.node.name)))) as name:
        yield name


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    home = tmp_path_factory.mktemp("films")
    phantom(home, patients=8, size=48, progress=False)
    for i in range(4):
        paint(home / "images" / "more" / f"{i}.png", seed=i)
    (home / "images" / "notes.txt").write_text("nothing to see")
    (home / "images" / ".hidden").write_bytes(b"x")
    (home / "images" / "a.zip").write_bytes(b"PK\3\4" + bytes(100))
    (home / "images" / "cut.png").write_bytes((home / "images" / "more" / "0.png").read_bytes()[:200])
    return home


def put(bucket, folder: Path, prefix: str) -> int:
    files = [file for file in sorted(folder.rglob("*")) if file.is_file()]
    for file in files:
        key = f"{prefix}/{file.relative_to(folder).as_posix()}"
        s3.client().put_object(Bucket=bucket, Key=key, Body=file.read_bytes())
    return len(files)


def test_a_bucket_gives_the_archive_that_the_folder_gives_and_is_read_once(bucket, service, films, tmp_path):
    there = put(bucket, films / "images", "chest/images")
    labels = films / "labels.csv"
    (films / "images" / "a.zip").rename(tmp_path / "a.zip")  # refused in a bucket, opened in a folder
    here = run(films / "images", into=tmp_path / "here", labels=labels)
    (tmp_path / "a.zip").rename(films / "images" / "a.zip")
    service.gets()
    far = run(f"s3://{bucket}/chest", into=tmp_path / "far", labels=labels)
    asked = service.gets()
    assert content(tmp_path / "far") == content(tmp_path / "here") and far.labels == here.labels
    codes = sorted(r["code"] for r in far.refused)
    assert codes == sorted(["nested-archive", *(r["code"] for r in here.refused)])
    assert len(asked) <= 2 * there  # first a look, then the whole
    # nothing is read twice: a second run lists, and asks for what was refused for a reason that may pass, no more
    again = run(f"s3://{bucket}/chest", into=tmp_path / "far", labels=labels)
    assert service.gets() == [] and again.read == 0 and again.already == far.read
    # one new object: its neighbours are looked at, and only it is read
    new = paint(tmp_path / "new.png", seed=99).read_bytes()
    s3.client().put_object(Bucket=bucket, Key="chest/images/more/9.png", Body=new)
    service.gets()
    assert run(f"s3://{bucket}/chest", into=tmp_path / "far").read == 1
    asked = [path.rpartition("/")[2] for path in service.gets()]
    assert sorted(set(asked)) == ["0.png", "1.png", "2.png", "3.png", "9.png"] and asked.count("9.png") == 2
    # one that changed is read anew
    s3.client().put_object(Bucket=bucket, Key="chest/images/more/9.png", Body=paint(tmp_path / "n.png", 5).read_bytes())
    assert run(f"s3://{bucket}/chest", into=tmp_path / "far").read == 1


@pytest.mark.slow
def test_a_bad_line_costs_time_and_no_image(bucket, service, films, tmp_path, monkeypatch):
    put(bucket, films / "images", "x")
    clean = run(f"s3://{bucket}/x", into=tmp_path / "clean")
    monkeypatch.setattr(s3, "_SILENCE_S", 0.4)
    s3._client.cache_clear()
    seen: dict[str, int] = {}

    def spoil(path):
        """Spoil the first requests for some objects, each in its own way, and two pages of the listing."""
        seen[path.partition("?")[0]] = n = seen.get(path.partition("?")[0], 0) + 1
        if "list-type" in path:
            return "503" if n < 3 else ""
        if path.endswith("1.png"):
            return "silence" if n == 1 else ""
        return ("cut" if path.endswith(".dcm") else "503") if n < 3 else ""

    service.spoil = spoil
    bad = run(f"s3://{bucket}/x", into=tmp_path / "bad")
    assert bad.read == clean.read and content(tmp_path / "bad") == content(tmp_path / "clean")
    # the twin: where it never gets better the object is refused, by name, and the next run asks for it again
    service.spoil = lambda path: "503" if path.endswith("2.png") else ""
    lost = run(f"s3://{bucket}/x", into=tmp_path / "lost")
    (told,) = [r for r in lost.refused if r["file"].endswith("2.png")]
    assert lost.read == clean.read - 1 and told["code"] == "unreadable" and "5 times" in told["reason"]
    service.spoil = lambda path: ""
    assert run(f"s3://{bucket}/x", into=tmp_path / "lost").read == 1


def test_an_object_that_changes_between_listing_and_reading_is_refused_and_read_the_next_time(
    bucket, service, films, tmp_path
):
    put(bucket, films / "images" / "more", "x")
    changed = []

    def spoil(path):
        if path.endswith("/2.png") and not changed:
            changed.append(True)  # after the listing, before the look
            raw = paint(tmp_path / "other.png", seed=77).read_bytes()
            service.spoil = lambda path: ""
            s3.client().put_object(Bucket=bucket, Key="x/2.png", Body=raw)
        return ""

    service.spoil = spoil
    first = run(f"s3://{bucket}/x", into=tmp_path / "a")
    assert changed and first.read == 3 and "changed after it was listed" in first.refused[0]["reason"]
    second = run(f"s3://{bucket}/x", into=tmp_path / "a")
    assert second.read == 1 and second.refused == ()


def test_more_objects_than_a_page_holds_are_listed(bucket, service):
    for i in range(2500):
        _backend(bucket, f"many/{i:05}.png", b"x")
    _backend(bucket, "many2/0.png", b"x")  # a neighbour whose name begins alike
    service.asked.clear()
    listed = list(s3.Bucket().listed(f"s3://{bucket}/many"))
    assert len(listed) == 2500 and len(service.asked) == 3
    assert [path for path, _, _ in s3.Bucket().listed(f"s3://{bucket}/many2/0.png")] == [f"s3://{bucket}/many2/0.png"]


def _backend(bucket, key, raw):
    """Put an object where the server keeps them: 2,500 requests would take longer than what is tested."""
    from moto.s3.models import s3_backends

    s3_backends["123456789012"]["aws"].put_object(bucket, key, raw)


def test_the_folder_of_an_object_is_its_class(bucket, tmp_path):
    for folder in ("ill", "well"):
        paint(tmp_path / "pictures" / folder / "a.png", seed=len(folder))
    paint(tmp_path / "pictures" / "b.png", seed=9)  # of no class: it lies beside the folders
    put(bucket, tmp_path / "pictures", "x")
    far = run(f"s3://{bucket}/x/", into=tmp_path / "far", labels_from_folders=True)
    here = run(tmp_path / "pictures", into=tmp_path / "here", labels_from_folders=True)
    assert far.labels == here.labels and content(tmp_path / "far") == content(tmp_path / "here")


@pytest.mark.parametrize(
    ("word", "why"),
    [("s3://no-such-bucket-anywhere/x", "no such bucket"), ("s3:///x", "without a bucket"), ("s3://", "without")],
)
def test_what_is_not_there_is_said_in_one_line(bucket, tmp_path, word, why):
    with pytest.raises(SourceError, match=why):
        run(word, into=tmp_path / "a")


def test_an_empty_folder_and_a_service_that_is_down_are_said(bucket, tmp_path, monkeypatch):
    with pytest.raises(NothingToDo):
        run(f"s3://{bucket}/empty", into=tmp_path / "a")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    s3._client.cache_clear()
    with pytest.raises(SourceError, match="nobody answers"):
        run(f"s3://{bucket}/x", into=tmp_path / "a")


def test_a_wrong_key_is_said_and_never_shown(bucket, service, tmp_path, monkeypatch):
    import requests

    address = "http://{}:{}/moto-api/reset-auth".format(*service.there)
    requests.post(address, data="0", timeout=10).close()  # from now on signatures are checked
    try:
        with pytest.raises(SourceError, match="does not know") as told:
            run(f"s3://{bucket}/x", into=tmp_path / "a")
        assert not any(secret in str(told.value) for secret in KEYS.values())
        for name in KEYS:
            monkeypatch.delenv(name)
        monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
        monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
        s3._client.cache_clear()
        with pytest.raises(SourceError, match="no credentials"):
            run(f"s3://{bucket}/x", into=tmp_path / "b")
    finally:
        requests.post(address, data="inf", timeout=10).close()


def test_no_key_is_ever_stored(bucket, films, tmp_path):
    put(bucket, films / "images" / "more", "x")
    run(f"s3://{bucket}/x", into=tmp_path / "a")
    kept = b"".join(file.read_bytes() for file in tmp_path.rglob("*") if file.is_file())
    assert b"0.png" in kept and not any(secret.encode() in kept for secret in KEYS.values())


def test_no_more_than_64_megabytes_are_on_their_way(monkeypatch):
    """Objects of 30 MB: two at a time; one of 100 MB alone; small ones eight at a time; and always in order."""
    import threading

    lock, now, most = threading.Lock(), [0, 0], [0, 0]
    waited = threading.Event()

    def fetch(size):
        with lock:
            now[0] += 1
            now[1] += size
            most[:] = [max(most[0], now[0]), max(most[1], now[1])]
        waited.wait(0.01)
        with lock:
            now[0] -= 1
            now[1] -= size
        return b""

    sizes = [30, 30, 30, 100, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 60, 60]
    sizes = [size << 20 for size in sizes]
    assert [part for part, _ in s3._in_order(sizes, fetch, cost=lambda size: size)] == sizes
    assert most[0] <= 8 and most[1] <= 100 << 20
    most[:] = [0, 0]
    list(s3._in_order([30 << 20] * 6, fetch, cost=lambda size: size))
    assert most[1] <= 64 << 20


def test_a_header_longer_than_the_first_look_is_fetched_as_it_is_read(bucket):
    raw = bytes(range(256)) * 8192
    s3.client().put_object(Bucket=bucket, Key="x", Body=raw)
    ((path, size, tag),) = s3.Bucket().listed(f"s3://{bucket}/x")
    part = Part(path, path, stamp=(size, tag))
    file = s3.Bucket().opened(part, raw[:1000])
    assert file.read(2000) == raw[:2000] and file.seek(-10, 2) == len(raw) - 10 and file.read() == raw[-10:]
    file.seek(1_500_000)
    assert file.read(70_000) == raw[1_500_000:1_570_000]
    gone = s3.Bucket().opened(Part(path, path, stamp=(size, '"other"')), raw[:10])
    with pytest.raises(UnreadableFile, match="changed"):
        gone.read(2000)


@pytest.mark.slow
def test_answers_and_maps_are_those_of_the_folder(bucket, tmp_path):
    pictures, there = spots(200, seed=1)
    with fill(tmp_path / "archive", pictures, [{"spot": bool(t)} for t in there], patients=False) as archive:
        made = small_run(tmp_path, archive, "spot")
    folder = tmp_path / "offered"
    folder.mkdir()
    for i, picture in enumerate(spots(6, seed=2)[0]):
        Picture.fromarray(picture).save(folder / f"{i}.png")
    put(bucket, folder, "x")
    here = predict(made, folder, out=tmp_path / "p1", progress=False)
    far = predict(made, f"s3://{bucket}/x", out=tmp_path / "p2", progress=False)
    mine, theirs = ([(r.image, r.findings) for r in p.reads] for p in (here, far))
    assert len(mine) == 6 and mine == theirs and not far.refused
    drawn = explain(made, f"s3://{bucket}/x/1.png", out=tmp_path / "e", progress=False)
    assert len(drawn.maps) and not drawn.refused
