"""The engine gives every answer in order, and outlives the processes that do the work."""

from __future__ import annotations

import functools
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from overread import engine
from overread.engine import Failure
from overread.errors import LabelError

pytestmark = pytest.mark.timeout(60)


def double(x: int) -> int:
    return 2 * x


def slow_at_the_start(x: int) -> int:
    time.sleep(0.2 if x == 0 else 0)
    return x


def die_at_five(x: int, *, how: str) -> int:
    if x == 5:
        if how == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        elif how == "crashed":
            os.kill(os.getpid(), signal.SIGSEGV)
        elif how == "memory":
            raise MemoryError
    return x


def die_once(marker: str, x: int) -> int:
    if x == 3 and not os.path.exists(marker):
        Path(marker).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return x


def refuse_at_seven(x: int) -> int:
    if x == 7:
        raise LabelError("seven", expected="less", do="subtract")
    return x


def unpicklable(x: int):
    return lambda: x


@pytest.mark.parametrize("workers", [1, 2])
def test_answers_come_in_order(workers):
    assert list(engine.map(double, range(50), workers=workers, chunk=3)) == [2 * x for x in range(50)]


def test_a_slow_first_item_does_not_change_the_order():
    assert list(engine.map(slow_at_the_start, range(40), workers=2, chunk=1)) == list(range(40))


def test_few_items_start_no_process(monkeypatch):
    monkeypatch.setattr(engine, "Worker", None)  # would fail when called
    assert list(engine.map(double, range(engine.INLINE - 1), workers=4)) == [2 * x for x in range(engine.INLINE - 1)]


def test_enough_items_do_start_processes():
    assert os.getpid() not in set(engine.map(_pid, range(20), workers=2))


def _pid(_: int) -> int:
    return os.getpid()


@pytest.mark.parametrize("how", ["killed", "crashed", "memory"])
def test_an_item_that_kills_its_process_is_named_and_the_rest_goes_on(how):
    answers = list(engine.map(functools.partial(die_at_five, how=how), range(24), workers=2, chunk=4))
    assert [a for a in answers if not isinstance(a, Failure)] == [x for x in range(24) if x != 5]
    assert answers[5].item == 5
    assert "memory" in answers[5].reason if how != "crashed" else "SIGSEGV" in answers[5].reason


def test_an_item_whose_process_died_by_chance_is_tried_again(tmp_path):
    fn = functools.partial(die_once, str(tmp_path / "died"))
    assert list(engine.map(fn, range(20), workers=2)) == list(range(20))
    assert (tmp_path / "died").exists()  # it did die


@pytest.mark.parametrize("workers", [1, 2])
def test_a_refusal_is_raised_in_its_turn(workers):
    answers = engine.map(refuse_at_seven, range(30), workers=workers)
    assert [next(answers) for _ in range(7)] == list(range(7))
    with pytest.raises(LabelError, match="seven; expected less; subtract"):
        next(answers)


def test_an_answer_that_cannot_be_carried_is_an_error():
    with pytest.raises((RuntimeError, AttributeError), match="pickle"):
        list(engine.map(unpicklable, range(20), workers=2))


def test_items_are_read_only_as_they_are_needed():
    taken = []
    items = (taken.append(x) or x for x in range(10_000))
    answers = engine.map(double, items, workers=2, chunk=2)
    for _ in range(20):
        next(answers)
    assert len(taken) <= 20 + 4 * 2 * 2 + 2
    answers.close()


def test_a_script_without_a_main_guard_runs_once(tmp_path):
    script = tmp_path / "plain.py"
    script.write_text(
        "print('once', flush=True)\n"
        "from overread import engine\nimport operator\n"
        "print(sum(engine.map(operator.neg, range(40), workers=2)))\n"
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=50, check=False)
    assert done.stdout.split() == ["once", "-780"], done.stderr


def test_ctrl_c_ends_the_workers_without_a_word(tmp_path):
    script = tmp_path / "long.py"
    script.write_text(
        "import time\nfrom overread import engine\n"
        "try:\n"
        "    for i, _ in enumerate(engine.map(time.sleep, [0.05] * 10_000, workers=2, chunk=1)):\n"
        "        if i == 0: print('going', flush=True)\n"
        "except KeyboardInterrupt:\n"
        "    import multiprocessing\n"
        "    print('stopped', len(multiprocessing.active_children()))\n"
    )
    process = subprocess.Popen(
        [sys.executable, script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stdout.readline() == "going\n"
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: the whole group
    out, err = process.communicate(timeout=20)
    assert (out, err) == ("stopped 0\n", "")


def test_workers_end_when_their_parent_is_killed(tmp_path):
    script = tmp_path / "long.py"
    script.write_text(
        "import sys\nsys.path.insert(0, sys.argv[1])\nimport tell\nfrom overread import engine\n"
        "for pid in engine.map(tell.pid_slowly, range(10_000), workers=2, chunk=1):\n"
        "    print(pid, flush=True)\n"
    )
    (tmp_path / "tell.py").write_text(
        "import os, time\ndef pid_slowly(_):\n    time.sleep(.05)\n    return os.getpid()\n"
    )
    process = subprocess.Popen([sys.executable, script, tmp_path], stdout=subprocess.PIPE, text=True)
    worker = int(process.stdout.readline())
    process.kill()
    process.wait()
    process.stdout.close()
    for _ in range(100):
        if not Path(f"/proc/{worker}").exists() or "zombie" in Path(f"/proc/{worker}/status").read_text():
            return
        time.sleep(0.05)
    pytest.fail("a worker outlived its parent by five seconds")


@pytest.mark.parametrize(("workers", "chunk"), [(0, 1), (1, 0)])
def test_impossible_numbers_are_refused(workers, chunk):
    with pytest.raises(ValueError, match="at least 1"):
        engine.map(double, [1], workers=workers, chunk=chunk)


# -- as needed: here, until it shows that others are worth their start -------------------------------------------------


def nap(seconds: float) -> tuple[float, int]:
    time.sleep(seconds)
    return seconds, os.getpid()


def _as_needed(items: list[float], *, small: float = 1.0) -> list[tuple[float, int]]:
    seen = []
    take = (seen.append(item) or item for item in items)
    return list(
        engine.map(nap, take, workers=2, inline=1, here=lambda s: s <= small, left=lambda: len(items) - len(seen))
    )


def test_what_is_soon_done_is_done_here_though_two_were_allowed(monkeypatch):
    monkeypatch.setattr(engine, "Starting", _Never)
    assert {pid for _, pid in _as_needed([0.001] * 60)} == {os.getpid()}


class _Never(engine.Starting):
    def begin(self) -> None:
        raise AssertionError("others were started")


def test_what_takes_long_is_given_to_others_once_they_have_started():
    items = [0.002 * (1 + i % 2) for i in range(1500)]
    done = _as_needed(items)
    assert [seconds for seconds, _ in done] == items  # in order, none twice
    pids = [pid for _, pid in done]
    here = pids.count(os.getpid())
    assert 0 < here < 1400 and os.getpid() not in pids[here:]
    assert len(set(pids)) == 3


def test_what_is_not_small_is_never_done_here():
    done = _as_needed([0.001] * 5 + [0.02] + [0.001] * 30, small=0.01)
    assert [pid == os.getpid() for _, pid in done][:6] == [True] * 5 + [False]


def test_quick_items_that_kill_are_found_among_those_that_travelled_with_them():
    answers = list(
        engine.map(functools.partial(die_at_five, how="crashed"), [0] * 300 + [5] + [1] * 300, workers=2, chunk=64)
    )
    assert len(answers) == 601
    assert isinstance(answers[300], Failure) and answers[300].item == 5
    assert sum(isinstance(a, Failure) for a in answers) == 1


# -- an item that holds its process for ever ---------------------------------------------------------------------------


def hang_at_five(x: int) -> int:
    if x == 5:
        time.sleep(3600)
    return x


def slow_at_five(x: int) -> int:
    time.sleep(1.0 if x == 5 else 0.0)
    return x


@pytest.mark.parametrize(("chunk", "items"), [(1, 24), (64, 300)], ids=["alone", "among others"])
def test_an_item_that_never_ends_is_stopped_and_named_and_the_rest_goes_on(chunk, items):
    answers = list(engine.map(hang_at_five, range(items), workers=2, chunk=chunk, patience_s=0.6))
    assert [a for a in answers if not isinstance(a, Failure)] == [x for x in range(items) if x != 5]
    assert answers[5] == Failure(5, "it was not done in 0.6 s, and was stopped")


def test_a_first_item_that_never_ends_is_stopped_too():
    """The word that a process is ready is not taken for its answer."""
    answers = list(engine.map(hang_at_five, [5, *range(6, 30)], workers=2, chunk=1, patience_s=0.6))
    assert isinstance(answers[0], Failure) and answers[1:] == list(range(6, 30))


def test_an_item_that_takes_long_but_not_too_long_is_waited_for():
    assert list(engine.map(slow_at_five, range(24), workers=2, chunk=1, patience_s=20)) == list(range(24))


def test_who_reads_the_answers_late_stops_nobody():
    answers = engine.map(double, range(60), workers=2, chunk=2, patience_s=0.3)
    got = [next(answers)]
    time.sleep(0.8)
    assert got + list(answers) == [2 * x for x in range(60)]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux says whom it ends first")
def test_where_memory_runs_out_a_worker_goes_before_the_program():
    ours = int(Path("/proc/self/oom_score_adj").read_text())
    assert set(engine.map(_oom_score, range(20), workers=2)) == {max(ours, 500)}


def _oom_score(_: int) -> int:
    return int(Path("/proc/self/oom_score_adj").read_text())


def eat_at_five(x: int) -> int:
    if x == 5:
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30))
        return len([bytearray(64 << 20) for _ in range(100)])  # more than it may have
    return x


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="elsewhere a process's memory cannot be bounded")
def test_an_item_that_eats_the_memory_is_named_and_the_rest_goes_on():
    answers = list(engine.map(eat_at_five, range(24), workers=2, chunk=4))
    assert answers[5] == Failure(5, "it needs more memory than there is")
    assert [a for a in answers if not isinstance(a, Failure)] == [x for x in range(24) if x != 5]
