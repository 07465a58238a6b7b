"""An archive in a bucket is the archive of a folder: the same objects, books and figures; names never go there."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

if any(importlib.util.find_spec(name) is None for name in ("botocore", "moto", "flask")):
    pytest.skip("no S3 server to test against: pip install moto flask flask-cors botocore", allow_module_level=True)

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parent)]
from bucket import KEYS, Service, new_bucket
from painted import content, paint, run
from small_run import fill, sealed_again, small_run, spots

from overread.domain.canonical import plain
from overread.errors import ArchiveError, IntegrityError, SourceError, UnreadableFile
from overread.learn import starts
from overread.sources import s3
from overread.sources.s3_place import Place
from overread.steps import opened, shared_reads
from overread.steps.copy import copy
from overread.steps.evaluate import evaluate
from overread.steps.inspect import inspect
from overread.steps.opened import HEAD, at_hand, half_of, open_archive
from overread.steps.plan import plan as planned
from overread.steps.reads import beside
from overread.steps.shared_reads import OBJECT
from overread.steps.train import train
from overread.steps.verify import verify
from overread.store.archive import Archive

pytestmark = pytest.mark.timeout(120)
NOW = datetime(2026, 3, 4, 5, 6, tzinfo=UTC)


@pytest.fixture(scope="module")
def service():
    made = Service()
    yield made
    made.end()


@pytest.fixture
def bucket(service, monkeypatch, request, tmp_path):
    """A bucket of its own for each test, and a home and a cache of its own on this machine."""
    monkeypatch.setenv("OVERREAD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("OVERREAD_HOME", str(tmp_path / "home"))
    with new_bucket(service, monkeypatch, "b" + str(abs(hash(request.node.name)))) as name:
        yield f"s3://{name}/chest"


@pytest.fixture
def films(tmp_path):
    home = tmp_path / "Doe_Jane_19500102"  # a name, as folders of films have one
    for i in range(12):
        paint(home / ("ill" if i % 2 else "well") / f"doe_{i // 2:02}_{i}.png", seed=i)
    return home


def inside(address: str) -> dict[str, bytes]:
    """Return everything that lies in a bucket below an address."""
    place = Place(address)
    return {name: place.get(name)[0] for name in place.names()}


def test_a_bucket_holds_the_archive_of_the_folder_byte_by_byte_and_no_name(bucket, films, tmp_path):
    how = {"labels_from_folders": True, "patient": r"doe_(\d+)_"}
    here = run(films, into=tmp_path / "here", **how)
    far = run(films, into=bucket, **how)
    assert any("names and books stay on this machine" in note for note in far.notes) and not here.notes
    assert str(far.archive) == bucket and (far.read, far.images, far.labels) == (here.read, here.images, here.labels)
    there = inside(bucket)
    objects = {p.relative_to(tmp_path / "here").as_posix(): p.read_bytes() for p in (tmp_path / "here").rglob("*.npy")}
    assert {n: raw for n, raw in there.items() if n.startswith("objects/")} == objects and len(objects) == 12
    assert content(at_hand(bucket), remote=True) == content(tmp_path / "here")
    # nothing that tells who it was, and no secret
    shelf = half_of(Place(bucket)).with_name(half_of(Place(bucket)).name + ".names")
    key = (shelf / "key").read_bytes()
    whole = b"".join(there.values()) + "".join(there).encode()
    names = [b"Jane", b"doe_", key, key.hex().encode(), *(v.encode() for v in KEYS.values())]
    assert not any(name in whole for name in names)
    local = b"".join(p.read_bytes() for p in shelf.rglob("*") if p.is_file())
    assert b"Jane" in local and shelf.stat().st_mode & 0o077 == 0  # the twin: here they are, for nobody else to read
    assert {n.partition("/")[0] for n in there} == {"objects", "books", HEAD}


def test_collecting_again_adds_and_changes_nothing_twice(bucket, service, films, tmp_path):
    run(films, into=bucket, labels_from_folders=True)
    before = inside(bucket)
    again = run(films, into=bucket, labels_from_folders=True)
    assert (again.read, again.already) == (0, 12) and inside(bucket) == before
    paint(films / "ill" / "new.png", seed=99)
    more = run(films, into=bucket, labels_from_folders=True)
    after = inside(bucket)
    assert (more.read, more.images) == (1, 13) and len(after) == len(before) + 2  # an object, and the books
    run(films, into=tmp_path / "here", labels_from_folders=True)
    assert content(at_hand(bucket), remote=True) == content(tmp_path / "here")
    paint(films / "ill" / "newer.png", seed=100)
    run(films, into=bucket, labels_from_folders=True)
    assert len([n for n in inside(bucket) if n.startswith("books/")]) == 2  # those that stand, and those before them


def test_a_second_collector_is_told_and_overwrites_nothing(bucket, films, tmp_path, monkeypatch):
    run(films / "ill", into=bucket)
    monkeypatch.setenv("OVERREAD_HOME", str(tmp_path / "other machine"))
    before = inside(bucket)
    with pytest.raises(ArchiveError, match="collected elsewhere"):
        run(films / "well", into=bucket)
    assert inside(bucket) == before
    # with a copy of the names: who publishes second is told, also where both began before either had published
    shutil.copytree(tmp_path / "home", tmp_path / "copy")
    monkeypatch.setenv("OVERREAD_HOME", str(tmp_path / "copy"))
    from overread.steps import published

    first = published.begun(bucket)
    monkeypatch.setenv("OVERREAD_HOME", str(tmp_path / "home"))
    run(films / "well", into=bucket)
    mine = inside(bucket)
    with Archive.create(first.folder, remote=first.remote) as archive:
        from overread.domain import Image

        archive.put(Image(np.ones((1, 3, 3), np.uint8)))
    with pytest.raises(ArchiveError, match="another collector has published"):
        published.publish(first)
    monkeypatch.setenv("OVERREAD_HOME", str(tmp_path / "copy"))
    with pytest.raises(ArchiveError, match="another collector has published"):
        run(films, into=bucket)
    assert inside(bucket)[HEAD] == mine[HEAD]


def test_a_service_that_knows_no_conditions_is_refused(bucket, films, monkeypatch):
    """Twin of the promise above: there the second would overwrite the first."""
    put = Place.put
    monkeypatch.setattr(Place, "put", lambda self, name, body, instead_of=None: put(self, name, body))
    with pytest.raises(SourceError, match="conditional writes"):
        run(films, into=bucket)
    assert inside(bucket) == {}


def test_what_cannot_be_collected_claims_no_place(bucket, tmp_path):
    with pytest.raises(UnreadableFile):
        run(tmp_path / "nowhere", into=bucket)
    assert inside(bucket) == {} and not (tmp_path / "home").exists()


@pytest.mark.slow
def test_two_processes_of_one_machine_collect_into_one_place(bucket, films, tmp_path):
    run(paint(tmp_path / "first.png", seed=50), into=bucket)
    code = "import sys; from overread.steps.collect import collect; collect(sys.argv[1], into=sys.argv[2], progress=False, workers=1)"
    both = [subprocess.Popen([sys.executable, "-c", code, str(films / part), bucket]) for part in ("ill", "well")]
    assert [process.wait() for process in both] == [0, 0]
    assert verify(bucket, progress=False).images == 13 and run(films, into=bucket).read == 0


def test_other_things_in_the_place_are_left_alone(bucket, films):
    Place(bucket).put("letter.txt", b"Dear")
    with pytest.raises(ArchiveError, match="holds other things"):
        run(films, into=bucket)
    assert list(inside(bucket)) == ["letter.txt"]


def test_a_collector_cut_short_while_it_asks_for_conditions_finds_the_place_free(bucket, films, monkeypatch):
    drop = Place.drop

    def dies(self, name):
        raise KeyboardInterrupt

    monkeypatch.setattr(Place, "drop", dies)
    with pytest.raises(KeyboardInterrupt):
        run(films, into=bucket)
    assert len(inside(bucket)) == 1
    monkeypatch.setattr(Place, "drop", drop)
    assert run(films, into=bucket).images == 12


def test_books_that_another_process_takes_away_meanwhile_stop_nobody(tmp_path):
    (tmp_path / "kept").mkdir()
    (tmp_path / "gone").symlink_to(tmp_path / "nowhere")  # listed, and not there when it is looked at
    assert opened._latest(tmp_path) == tmp_path / "kept"
    opened._forget_old(tmp_path, tmp_path / "kept")


CHILD = """
import sys, os, signal
from overread.sources.s3_place import Place
put, count = Place.put, [0]
def killed(self, name, body, **how):
    count[0] += 1
    if count[0] == int(sys.argv[3]):
        os.kill(os.getpid(), signal.SIGKILL)
    return put(self, name, body, **how)
Place.put = killed
from overread.steps.collect import collect
collect(sys.argv[1], into=sys.argv[2], progress=False, workers=1)
"""


@pytest.mark.slow
@pytest.mark.parametrize("at", [4, 5, 9, 16, 17, 18])  # while claiming, among the objects, before the books, the head
def test_killed_anywhere_the_same_command_goes_on(bucket, films, tmp_path, at):
    died = subprocess.run([sys.executable, "-c", CHILD, str(films), bucket, str(at)], env=dict(os.environ), check=False)
    assert died.returncode in (-signal.SIGKILL, 0)
    run(films, into=bucket)
    run(films, into=tmp_path / "here")
    assert content(at_hand(bucket), remote=True) == content(tmp_path / "here")
    verify(bucket, progress=False)


def test_a_kill_between_publishing_and_noting_it_is_seen(bucket, films, monkeypatch):
    from overread.steps import published

    run(films / "ill", into=bucket)
    note = published._note

    def dies(folder, **said):
        if "tag" in said and said.get("books"):
            raise KeyboardInterrupt
        note(folder, **said)

    monkeypatch.setattr(published, "_note", dies)
    with pytest.raises(KeyboardInterrupt):
        run(films / "well", into=bucket)
    monkeypatch.setattr(published, "_note", note)
    assert run(films, into=bucket).images == 12
    paint(films / "ill" / "more.png", seed=77)
    run(films, into=bucket)
    kept = [name for name in inside(bucket) if name.startswith("books/")]
    assert len(kept) == 2  # what stood before the kill was taken away, too


@pytest.fixture
def two(bucket, films, tmp_path):
    """A run, and the same other archive in a folder and in the bucket."""
    pictures, there = spots(120, seed=1)
    labels = [{"spot": bool(t)} for t in there]
    with fill(tmp_path / "archive", pictures, labels) as archive:
        made = small_run(tmp_path, archive, "spot")
    others, known = spots(60, seed=2)
    from PIL import Image as Picture

    for i, (picture, spot) in enumerate(zip(others, known, strict=True)):
        file = tmp_path / "others" / ("spot" if spot else "none") / f"p{i // 4}_{i}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Picture.fromarray(picture).save(file)
    how = {"labels_from_folders": True, "patient": r"p(\d+)_"}
    run(tmp_path / "others", into=tmp_path / "there", **how)
    names = half_of(Place(bucket))
    names.parent.mkdir(parents=True)
    shutil.copytree(
        tmp_path / "there.names", names.with_name(names.name + ".names")
    )  # one key, so one set of pseudonyms
    (names.with_name(names.name + ".names") / "crosswalk.sqlite").unlink()
    run(tmp_path / "others", into=bucket, **how)
    return made, tmp_path / "there", bucket


def twice(made: Path, name: str) -> Path:
    return Path(shutil.copytree(made, made.with_name(name)))


def figures(made: Path) -> dict[str, bytes]:
    (folder,) = made.glob("on-*")
    return {f.name: f.read_bytes() for f in folder.iterdir() if f.name == "metrics.json"}


def test_every_figure_on_a_bucket_is_that_on_the_folder_and_the_read_is_counted_there(two, service):
    made, folder, bucket = two
    one, other = twice(made, "one"), twice(made, "other")
    evaluate(one, on=folder, now=NOW)
    service.asked.clear()
    said = evaluate(other, on=bucket, now=NOW)
    assert figures(one) == figures(other) and len(figures(one)) == 1
    got = [p for p in service.asked if "objects/" in p]
    assert len(got) == len(set(got)) == 60  # each voxel file is fetched once
    assert OBJECT in inside(bucket) and "the 1st model" in str(said.page["measured_before"])
    service.asked.clear()
    again = evaluate(twice(made, "third"), on=bucket, now=NOW)  # warm
    assert not [p for p in service.asked if "objects/" in p] and "1st model" in str(again.page["measured_before"])
    assert verify(bucket, progress=False).reads == 2
    # the twin: another answer in the books is another figure
    assert figures(one)["metrics.json"] != json.dumps({}).encode()


def test_reads_that_others_count_at_the_same_moment_are_waited_for_and_all_of_them_stand(
    bucket, films, tmp_path, monkeypatch
):
    run(films, into=bucket)
    ours = beside(at_hand(bucket))
    other = beside(Path(shutil.copytree(at_hand(bucket), tmp_path / "other machine")))
    put, waited, busy = Place.put, [], []

    def crowded(self, name, body, *, instead_of=None):
        if name == OBJECT and not busy and len(waited) < 3:
            busy.append(name)
            shared_reads.add(other, "read", {"by": "another"}, now=NOW)
            busy.clear()
        return put(self, name, body, instead_of=instead_of)

    monkeypatch.setattr(Place, "put", crowded)
    monkeypatch.setattr(shared_reads, "_pause", waited.append)
    shared_reads.add(ours, "read", {"by": "us"}, now=NOW)
    assert waited == [1, 2, 3] and shared_reads.fetched(other).verify() == 4
    assert [entry["record"]["by"] for entry in other.records()] == ["another"] * 3 + ["us"]


def test_what_is_wrong_in_the_bucket_is_named(bucket, films, tmp_path, monkeypatch):
    run(films, into=bucket)
    place = Place(bucket)
    name = next(n for n in place.names() if n.startswith("objects/"))
    raw = place.get(name)[0]
    digest = name.rpartition("/")[2][:-4]
    for bad, why in ((raw[:-1] + bytes([raw[-1] ^ 1]), "hash"), (raw[:-9], "bytes in"), (None, "missing from")):
        place.drop(name) if bad is None else place.put(name, bad)
        with open_archive(bucket) as archive, pytest.raises(IntegrityError, match=why) as told:
            archive.image(digest)
        assert digest[:12] in str(told.value)
        with pytest.raises(IntegrityError, match=why):
            verify(bucket, progress=False)
    place.put(name, raw)
    with open_archive(bucket) as archive:
        assert archive.image(digest).voxels.shape == (1, 24, 24)
    assert verify(bucket, progress=False).images == 12
    place.put(name, raw[:-9])  # a copy on this machine does not hide what is wrong there
    with pytest.raises(IntegrityError):
        verify(bucket, progress=False)
    place.put(name, raw)
    # the folder as another tool copied it: no archive, in one line
    (tmp_path / "synced").mkdir()
    (tmp_path / "synced" / HEAD).write_bytes(place.get(HEAD)[0])
    with pytest.raises(ArchiveError, match=r"no archive\.sqlite here"):
        open_archive(tmp_path / "synced")
    # books
    (book,) = {b["sha256"] for n, b in json.loads(place.get(HEAD)[0])["books"].items() if n == "archive.sqlite"}
    whole = place.get(f"books/{book}")[0]
    shutil.rmtree(tmp_path / "cache")
    for bad, why in ((whole[:-4096], "not what was stored"), (None, "missing")):
        place.drop(f"books/{book}") if bad is None else place.put(f"books/{book}", bad)
        with pytest.raises(IntegrityError, match=why):
            open_archive(bucket)
    place.put(f"books/{book}", whole)
    for bad in (b"{}", b"no json", place.get(HEAD)[0].replace(b"archive.sqlite", b"../archive.sqlite")):
        good = place.get(HEAD)[0]
        place.put(HEAD, bad)
        with pytest.raises(ArchiveError, match="damaged"):
            open_archive(bucket)
        place.put(HEAD, good)
    with open_archive(bucket) as archive:
        assert archive.count() == (12, 12)


def test_no_archive_no_bucket_no_keys_and_a_service_that_is_down_are_said(bucket, service, tmp_path, monkeypatch):
    with pytest.raises(ArchiveError, match="no archive at"):
        inspect(bucket, progress=False)
    with pytest.raises(SourceError, match="no such bucket"):
        inspect("s3://no-such-bucket-anywhere/x", progress=False)
    service.spoil = lambda path: "503"
    with pytest.raises(SourceError, match="5 times"):
        inspect(bucket, progress=False)
    service.spoil = lambda path: ""
    for name in KEYS:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    s3._client.cache_clear()
    with pytest.raises(SourceError, match="no credentials"):
        inspect(bucket, progress=False)


def test_a_bad_line_costs_time_and_changes_nothing(bucket, service, films, tmp_path):
    seen: dict[str, int] = {}

    def spoil(path):
        seen[path] = n = seen.get(path, 0) + 1
        return ("503" if len(path) % 2 else "cut") if n == 1 else ""

    service.spoil = spoil
    run(films, into=bucket)
    seen.clear()
    assert content(at_hand(bucket), remote=True) == content(run(films, into=tmp_path / "here").archive)
    service.spoil = lambda path: ""


def test_the_cache_stays_within_its_room(bucket, films, tmp_path, monkeypatch):
    for i in range(12, 40):
        paint(films / "more" / f"{i}.png", seed=i, side=100)
    run(films, into=bucket)
    monkeypatch.setenv("OVERREAD_CACHE_GB", "0.0001")  # 100 kB: ten of the pictures
    with open_archive(bucket) as archive:
        for record in archive.images():
            assert archive.image(record.hash).voxels.shape == record.shape
    kept = sum(f.stat().st_size for f in (tmp_path / "cache" / "voxels").rglob("*.npy"))
    assert 0 < kept <= 110_000
    monkeypatch.setenv("OVERREAD_CACHE_GB", "plenty")
    with open_archive(bucket) as archive, pytest.raises(ArchiveError, match="OVERREAD_CACHE_GB"):
        archive.image(next(archive.images()).hash)


def test_inspect_reads_a_bucket_as_a_folder(bucket, films, tmp_path):
    run(films, into=bucket, labels_from_folders=True)
    run(films, into=tmp_path / "here", labels_from_folders=True)
    far, here = inspect(bucket, progress=False), inspect(tmp_path / "here", progress=False)
    same = {k: v for k, v in here.to_json().items() if k not in ("archive", "contact_sheet", "page")}
    assert {k: v for k, v in far.to_json().items() if k in same} == same and far.archive == bucket


def test_an_archive_is_copied_to_a_bucket_and_back_without_names(bucket, films, tmp_path):
    run(films, into=tmp_path / "here", labels_from_folders=True)
    made = copy(tmp_path / "here", into=bucket, progress=False)
    assert (made.images, made.studies) == (12, 12) and content(at_hand(bucket), remote=True) == content(
        tmp_path / "here"
    )
    back = copy(bucket, into=tmp_path / "back", progress=False)
    assert back.images == 12 and content(tmp_path / "back") == content(tmp_path / "here")
    assert sorted(p.name for p in (tmp_path / "back").iterdir()) == ["archive.sqlite", "objects"]
    with Archive.open(tmp_path / "back") as archive:
        assert archive.anonymous
    whole = b"".join(inside(bucket).values())
    assert b"doe_" not in whole and (tmp_path / "here.names" / "key").read_bytes() not in whole
    for place in (bucket, tmp_path / "back"):
        with pytest.raises(ArchiveError, match="holds other things"):
            copy(tmp_path / "here", into=place, progress=False)
    with pytest.raises(ArchiveError, match="collected elsewhere"):
        run(films, into=bucket)
    some = next((tmp_path / "here").rglob("*.npy"))
    some.write_bytes(some.read_bytes()[:-1] + b"?")
    with pytest.raises(IntegrityError, match="hash"):
        copy(tmp_path / "here", into=f"{bucket}2", progress=False)
    assert HEAD not in inside(f"{bucket}2")  # half a copy is no archive


def test_processes_collect_into_a_bucket_as_one_does(bucket, films, tmp_path):
    for i in range(12, 60):
        paint(films / "more" / f"{i}.png", seed=i)
    one = run(films, into=bucket)
    two = run(films, into=f"{bucket}2", workers=2)
    assert one.images == two.images == 60
    objects = [{n: raw for n, raw in inside(b).items() if n.startswith("objects/")} for b in (bucket, f"{bucket}2")]
    assert objects[0] == objects[1] and len(objects[0]) == 60
    assert not [p for p in (tmp_path / "home").rglob("*.tmp")] and not [p for p in (tmp_path / "home").rglob("*.npy")]


def test_an_object_that_cannot_be_sent_is_not_known_and_is_read_again(bucket, service, films):
    service.spoil = lambda path: "503" if "objects/" in path else ""
    with pytest.raises(SourceError, match="5 times"):
        run(films, into=bucket)
    service.spoil = lambda path: ""
    assert HEAD in inside(bucket)
    with pytest.raises(ArchiveError, match="being collected"):
        open_archive(bucket)
    assert run(films, into=bucket).read == 12 and verify(bucket, progress=False).images == 12


def test_where_a_bucket_may_only_be_read_the_run_is_measured_and_says_that_its_read_is_not_counted_there(two, service):
    made, folder, bucket = two
    one, other = twice(made, "one"), twice(made, "other")
    evaluate(one, on=folder, now=NOW)
    service.forbidden = {"PUT", "DELETE"}
    said = evaluate(other, on=bucket, now=NOW)
    assert figures(one) == figures(other)
    assert any("cannot be written" in told and "may not write" in told for told in said.page["warnings"])
    with pytest.raises(SourceError, match="may not write"):
        run(folder.parent / "others", into=f"{bucket}-new")
    service.forbidden = {"GET", "HEAD"}
    with pytest.raises(SourceError, match="may not read"):
        evaluate(twice(made, "third"), on=bucket, now=NOW)
    service.forbidden = set()
    assert OBJECT not in inside(bucket)


def test_a_key_that_expires_in_the_middle_is_said_and_the_same_command_goes_on(bucket, service, films):
    sent = []

    def expires(path):
        sent.extend([path] if "objects/" in path else [])
        return "400" if len(sent) > 5 else ""

    service.spoil = expires
    with pytest.raises(SourceError, match="expired") as told:
        run(films, into=bucket)
    assert not any(secret in str(told.value) for secret in KEYS.values())
    service.spoil = lambda path: ""
    assert run(films, into=bucket).images == 12 and verify(bucket, progress=False).images == 12


def test_somebody_else_who_writes_the_same_name_is_waited_for_and_then_told(bucket, service):
    place = Place(bucket)
    for often, body in ((4, b"one"), (5, b"two")):
        left = ["409"] * often
        service.spoil = lambda path, left=left: left.pop() if left else ""
        service.asked.clear()
        if often == 4:
            assert place.put("some", body, instead_of="") is not None
        else:
            with pytest.raises(SourceError, match="somebody else writes the same name, 5 times"):
                place.put("some", body, instead_of='"0"')
        assert len(service.asked) == 5
    assert place.get("some")[0] == b"one"


def test_without_the_library_it_is_said_what_to_install(bucket, monkeypatch):
    monkeypatch.setitem(sys.modules, "botocore.config", None)
    s3._client.cache_clear()
    for ask in (
        lambda: Place(bucket).get("x"),
        lambda: [*Place(bucket).names()],
        lambda: [*s3.Bucket().listed(bucket)],
    ):
        with pytest.raises(SourceError, match="botocore"):
            ask()


def test_a_run_trained_from_a_bucket_finds_it_again_and_goes_on_where_it_cannot(two, monkeypatch, service):
    made, _, _ = two
    home = made.parent / "archive"
    shelf = f"{two[2]}-training"
    copy(home, into=shelf, progress=False)
    local, far = twice(made, "local"), twice(made, "far")
    plan = json.loads((far / "plan.json").read_text())
    (far / "plan.json").write_text(json.dumps({**plan, "archive": shelf}))
    sealed_again(far)
    here, there = evaluate(local, now=NOW), evaluate(far, now=NOW)
    assert plain(here.metrics["labels"]) == plain(there.metrics["labels"]) and len(there.page["gallery"]) > 0
    assert "1st model" in str(there.page["measured_before"]) and verify(far, progress=False).reads == {"evaluate": 1}
    service.spoil = lambda path: "503"  # as on a machine without a way to the bucket
    gone = evaluate(far, now=NOW)
    assert any("not here" in said for said in gone.page["warnings"])


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_training_from_a_bucket_gives_the_network_of_the_folder(bucket, service, archive, tmp_path):
    pytest.importorskip("keras")
    if not starts.available():
        pytest.skip("no start is installed: pip install 'overread[starts]'")
    copy(archive, into=bucket, progress=False)
    how = {"label": "blob", "network": "features", "baseline": False, "progress": False, "now": NOW}
    for name, place in (("here", archive), ("there", bucket)):
        service.asked.clear()
        train(place, out=tmp_path / name, **how)
    got = [path for path in service.asked if "objects/" in path]
    assert len(got) == len(set(got)) == 96
    for name in ("model.onnx", "calibration.json", "scores.csv", "metrics.json", "plan.toml", "leakage.json"):
        assert (tmp_path / "here" / name).read_bytes() == (tmp_path / "there" / name).read_bytes(), name
    assert json.loads((tmp_path / "there" / "plan.json").read_text())["archive"] == bucket


def test_a_plan_is_the_same_from_a_bucket(two, tmp_path):
    _, folder, bucket = two
    said = [planned(place, label="spot", progress=False) for place in (folder, bucket)]
    assert said[0].parts == said[1].parts


@pytest.mark.slow
@pytest.mark.skipif(
    importlib.util.find_spec("ray") is None, reason="Ray is not installed: pip install 'overread[cluster]'"
)
def test_a_cluster_reads_and_fills_a_bucket_as_one_process_does(two, films):
    made, folder, bucket = two
    one, other = twice(made, "one"), twice(made, "other")
    evaluate(one, on=folder, now=NOW)
    evaluate(other, on=bucket, cluster="local", now=NOW)
    assert figures(one) == figures(other)
    run(films, into=f"{bucket}1")
    run(films, into=f"{bucket}2", workers=None, cluster="local")
    assert content(at_hand(f"{bucket}1"), remote=True) == content(at_hand(f"{bucket}2"), remote=True)
