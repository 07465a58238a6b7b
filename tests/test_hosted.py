"""What a Ray worker does with its items, without Ray: the process beside it dies, and the worker tells of it."""

from __future__ import annotations

import functools
import os
import pickle
import signal
import time
from dataclasses import replace

import pytest

from overread.engine import hosted
from overread.engine.hosted import Order, do
from overread.errors import LabelError, SourceError

pytestmark = pytest.mark.timeout(60)


def double(x: int) -> int:
    return 2 * x


def refuse(x: int) -> int:
    raise LabelError(f"{x}", expected="less")


def ill(x: int, *, how: str, marker: str = "") -> int:
    if x != 5 or (marker and os.path.exists(marker)):
        return x
    if marker:
        open(marker, "w").close()
    if how == "hangs":
        time.sleep(1000)
    if how == "memory":
        raise MemoryError
    os.kill(os.getpid(), {"crashes": signal.SIGSEGV, "killed": signal.SIGKILL}[how])


@pytest.fixture
def order():
    yield lambda fn, **changed: replace(
        Order(pickle.dumps(fn), hosted.code(), os.getcwd(), (), patience_s=20.0), **changed
    )
    for what in list(hosted._beside):
        hosted._end(what, died=False)


def test_items_are_answered_in_order_by_one_process(order):
    assert [a[:2] for a in do(order(double), [1, 2, 3])] == [("done", 2), ("done", 4), ("done", 6)]
    (worker,) = hosted._beside.values()
    do(order(double), [4])
    assert list(hosted._beside.values()) == [worker]  # it is kept
    do(order(abs), [4])
    assert len(hosted._beside) == 1 and worker not in hosted._beside.values()  # one function at a time


def test_paths_are_meant_from_where_the_command_was_given(order, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "a.png").write_bytes(b"")
    there = order(os.path.exists, folder=str(tmp_path / "here"))
    assert [do(o, ["a.png"])[0][1] for o in (there, order(os.path.exists, folder=str(tmp_path)), there)] == [1, 0, 1]


def test_a_refusal_is_an_answer(order):
    ((how, error, _),) = do(order(refuse), [7])
    assert (how, str(error)) == ("raised", "7; expected less")


@pytest.mark.parametrize(
    ("how", "told", "reason"),
    [
        ("crashes", "failed", "the process that read it crashed (SIGSEGV)"),
        ("hangs", "failed", "it was not done in 1.5 s, and was stopped"),
        ("killed", "memory", "the process that read it was killed, probably because the memory ran out"),
        ("memory", "memory", None),
    ],
)
def test_what_kills_its_process_is_told_of_and_the_rest_is_answered(order, how, told, reason):
    answers = do(order(functools.partial(ill, how=how), patience_s=1.5), range(8))
    assert [a[1] for a in answers] == [0, 1, 2, 3, 4, reason, 6, 7]
    assert answers[5][0] == told


def test_what_dies_by_chance_is_answered_the_second_time(order, tmp_path):
    answers = do(order(functools.partial(ill, how="crashes", marker=str(tmp_path / "died"))), range(8))
    assert [a[1] for a in answers] == list(range(8))
    assert (tmp_path / "died").exists()  # it did die


def test_a_host_with_other_code_is_refused_and_so_is_one_that_sees_less(order, tmp_path):
    with pytest.raises(SourceError, match="another overread, Python or library"):
        do(order(double, code="0" * 16), [1])
    with pytest.raises(SourceError, match=r"does not see .*nowhere"):
        do(order(double, shared=(str(tmp_path / "nowhere"),)), [1])
    (tmp_path / "nowhere").mkdir()
    assert do(order(double, shared=(str(tmp_path / "nowhere"),)), [1])[0][1] == 2  # the twin


def test_the_fingerprint_is_of_the_source(monkeypatch, tmp_path):
    home = tmp_path / "overread"
    home.mkdir()
    seen = set()
    for text in ("a = 1\n", "a = 2\n", "a = 2\n"):
        (home / "__init__.py").write_text(text)
        monkeypatch.setattr(hosted.overread, "__file__", str(home / "__init__.py"))
        seen.add(hosted.code.__wrapped__())
    assert len(seen) == 2
