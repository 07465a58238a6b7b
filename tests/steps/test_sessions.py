"""What a training spent is counted over its sessions, also where one was killed."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from overread.steps import cost
from overread.steps.finish import SPENT, Begun
from overread.steps.sessions import counted


def begun(out: Path) -> Begun:
    return Begun(out, 0.95, 0, False, cost.read_meter(), time.monotonic(), "code", datetime(2026, 1, 2, tzinfo=UTC), False)  # fmt: skip


def burn(seconds: float) -> None:
    since = time.process_time()
    while time.process_time() - since < seconds:
        sum(range(1000))


def test_a_second_session_counts_what_the_first_spent(tmp_path):
    """Also the clock; the twin, which never looks into the folder, has only its own."""
    with pytest.raises(KeyboardInterrupt), counted(tmp_path, begun(tmp_path)):
        burn(0.4)
        raise KeyboardInterrupt
    fresh = begun(tmp_path)
    with counted(tmp_path, fresh) as going:
        burn(0.2)
        told = cost.of_training(going.meter)
        assert 0.6 <= told["processor_seconds"] < 5 and told["sessions"] == 2
        assert time.monotonic() - going.started > 0.6
        assert cost.of_training(fresh.meter)["processor_seconds"] < told["processor_seconds"] - 0.3
        assert "sessions" not in cost.of_training(fresh.meter)
    assert json.loads((tmp_path / SPENT).read_text())["sessions"] == 2


def test_what_a_killed_session_spent_is_known_but_for_the_last_seconds(tmp_path):
    code = (
        "import sys\nfrom pathlib import Path\nsys.path.insert(0, sys.argv[1])\nfrom test_sessions import begun, burn\n"
        "from overread.steps.sessions import counted\nout = Path(sys.argv[2])\n"
        "with counted(out, begun(out), every_s=0.05):\n    burn(0.7)\n    print('spent', flush=True)\n    burn(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(Path(__file__).parent), str(tmp_path)], stdout=subprocess.PIPE, env=os.environ) as child:  # fmt: skip
        assert child.stdout.readline() == b"spent\n"
        time.sleep(0.2)
        child.send_signal(signal.SIGKILL)
    with counted(tmp_path, begun(tmp_path)) as going:
        assert going.meter.before.processor_s >= 0.6 and going.meter.before.sessions == 1


def test_joules_are_not_made_up_where_an_earlier_session_could_not_count_them(tmp_path):
    zone = tmp_path / "intel-rapl:0"
    zone.mkdir()
    (zone / "energy_uj").write_text("1000000")
    (zone / "max_energy_range_uj").write_text("9000000")
    since = cost.read_meter(tmp_path)
    (zone / "energy_uj").write_text("3000000")
    told = [
        cost.spent(replace(since, before=cost.Before(1.0, joules, 1)), tmp_path)["joules"]
        for joules in (0.0, 5.0, None)
    ]
    assert told == [2.0, 7.0, None]


def test_a_damaged_note_costs_the_count_and_not_the_training(tmp_path):
    (tmp_path / SPENT).write_text("{")
    with counted(tmp_path, begun(tmp_path)) as going:
        assert going.meter.before == cost.Before()
