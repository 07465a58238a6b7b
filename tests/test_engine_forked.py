"""Workers that are forks of the program: only where it has no threads, and gone when it is."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.timeout(60),
    pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a system's own libraries start threads: no forks"),
]

SETTING = """
import multiprocessing, os, signal, sys, threading, time, _thread
import numpy
from overread import engine
numpy.ones((300, 300)) @ numpy.ones((300, 300))  # its library's threads are there

def pid(x):
    time.sleep(0.001)
    return os.getpid()

def children():
    time.sleep(0.2)
    return multiprocessing.active_children()
"""


def _start(script: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", SETTING + script],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def _says(script: str) -> list[str]:
    out, err = _start(script).communicate(timeout=50)
    assert err == ""
    return out.split()


def test_forks_do_the_work_in_order_and_the_list_is_empty_then():
    said = _says(
        "with engine.forks(pid, 2) as crew:\n"
        "    theirs = {w.process.pid for w in crew}\n"
        "    did = list(engine.map(pid, range(100), workers=2, crew=crew))\n"
        "    print(len(theirs), set(did) == theirs, len(did), len(crew))\n"
        "with engine.forks(abs, 2) as crew:\n"
        "    print(list(engine.map(abs, range(-90, 0), workers=2, crew=crew)) == list(range(90, 0, -1)))\n"
        "print(len(children()))\n"
    )
    assert said == ["2", "True", "100", "0", "True", "0"]


@pytest.mark.parametrize(
    ("thread", "how"),
    [
        ("threading.Thread(target=time.sleep, args=(60,), daemon=True).start()", "known"),
        ("_thread.start_new_thread(time.sleep, (60,))", "unknown to Python, as a library's"),
    ],
    ids=["known", "unknown"],
)
def test_where_a_thread_is_there_are_no_forks_and_the_work_is_done_all_the_same(thread, how):
    said = _says(
        f"{thread}\n"
        "with engine.forks(abs, 2) as crew:\n"
        "    print(len(crew), len(children()))\n"
        "    print(list(engine.map(abs, range(-40, 0), workers=2, crew=crew)) == list(range(40, 0, -1)))\n"
    )
    assert said == ["0", "0", "True"]


def test_forks_that_nobody_took_are_ended():
    said = _says(
        "with engine.forks(pid, 3) as crew:\n    print(len(children()))\n"
        "print(len(children()))\n"
        "try:\n    with engine.forks(pid, 2): raise LookupError\n"
        "except LookupError: print(len(children()))\n"
    )
    assert said == ["3", "0", "0"]


def test_a_fork_that_dies_of_an_item_is_replaced_and_the_item_named(tmp_path):
    (tmp_path / "deadly.py").write_text(
        "import os, signal\ndef die_at_five(x):\n    if x == 5: os.kill(os.getpid(), signal.SIGSEGV)\n    return x\n"
    )
    said = _says(
        f"sys.path.insert(0, {str(tmp_path)!r})\n"
        "from deadly import die_at_five\n"
        "with engine.forks(die_at_five, 2) as crew:\n"
        "    for a in engine.map(die_at_five, range(24), workers=2, chunk=4, crew=crew):\n"
        "        print(a.item if isinstance(a, engine.Failure) else 'done')\n"
    )
    assert said == ["done"] * 5 + ["5"] + ["done"] * 18


def test_a_fork_answers_no_signal_as_the_program_would(tmp_path):
    said = _says(
        f"signal.signal(signal.SIGTERM, lambda *_: open({str(tmp_path / 'told')!r}, 'w'))\n"
        "with engine.forks(pid, 1) as crew:\n"
        "    crew[0].pipe.poll(20)\n"
        "    os.kill(crew[0].process.pid, signal.SIGTERM)\n"
        "    crew[0].process.join(20)\n"
        "    print(crew[0].process.exitcode)\n"
    )
    assert said == [str(-signal.SIGTERM)]
    assert not (tmp_path / "told").exists()


GOING = (
    "try:\n"
    "    with engine.forks(pid, 2) as crew:\n"
    "        print(*(w.process.pid for w in crew), flush=True)\n"
    "        for _ in engine.map(pid, range(100_000), workers=2, chunk=1, crew=crew): pass\n"
    "except KeyboardInterrupt:\n"
    "    print('stopped', len(children()))\n"
)


def test_ctrl_c_ends_the_forks_without_a_word():
    program = _start(GOING)
    program.stdout.readline()
    time.sleep(0.3)
    os.killpg(program.pid, signal.SIGINT)
    assert program.communicate(timeout=20) == ("stopped 0\n", "")


def test_forks_end_when_the_program_is_killed():
    program = _start(GOING)
    pids = program.stdout.readline().split()
    assert len(pids) == 2 and all(Path(f"/proc/{pid}").exists() for pid in pids)
    program.kill()
    program.communicate()
    for _ in range(100):
        if not any(map(_runs, pids)):
            return
        time.sleep(0.05)
    pytest.fail("a fork outlived its parent by five seconds")


def _runs(pid: str) -> bool:
    try:
        return "zombie" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False
