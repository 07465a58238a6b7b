"""The words a person types: exit 0 done · 1 refused in one line · 2 misused."""

import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from small_hospital import write_run

from overread import cli

PROMISED = (
    "demo",
    "collect",
    "copy",
    "inspect",
    "plan",
    "pretrain",
    "train",
    "evaluate",
    "find",
    "compare",
    "report",
    "doubts",
    "rivals",
    "distil",
    "explain",
    "predict",
    "export",
    "deidentify",
    "serve",
    "verify",
    "phantom",
    "networks",
    "tasks",
)


def test_every_promised_command_is_there():
    assert set(cli.COMMANDS) == set(PROMISED)


@pytest.mark.parametrize("words", [["--version"], ["--help"], *[[c, "--help"] for c in PROMISED]])
def test_help_and_version_exit_0(words, capsys):
    with pytest.raises(SystemExit) as end:
        cli.main(words)
    assert end.value.code == 0
    assert capsys.readouterr().out


@pytest.mark.parametrize("words", [[], ["collect"], ["predict", "x"], ["train", "a", "--label", "b"], ["fly"]])
def test_misuse_exits_2(words, capsys):
    with pytest.raises(SystemExit) as end:
        cli.main(words)
    assert end.value.code == 2


def test_networks_and_tasks_are_listed(capsys):
    assert cli.main(["networks"]) == 0
    assert "simple-cnn" in capsys.readouterr().out
    assert cli.main(["tasks", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)) >= 5


@pytest.mark.parametrize(
    "words",
    [
        ["collect", "EMPTY", "--into", "OUT"],
        ["collect", "NOWHERE", "--into", "OUT"],
        ["inspect", "EMPTY"],
        ["train", "EMPTY", "--label", "x", "--out", "OUT"],
        ["train", "EMPTY", "--label", "x", "--out", "OUT", "--task", "astrology"],
        ["evaluate", "EMPTY"],
        ["predict", "EMPTY", "EMPTY", "--out", "OUT"],
        ["explain", "EMPTY", "EMPTY", "--out", "OUT"],
        ["export", "EMPTY", "--out", "OUT"],
        ["deidentify", "EMPTY", "--into", "OUT"],
        ["verify", "EMPTY"],
        ["serve", "EMPTY"],
    ],
    ids=" ".join,
)
def test_bad_input_is_refused_in_one_line_and_exit_1(words, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    places = {"EMPTY": tmp_path / "empty", "OUT": tmp_path / "out", "NOWHERE": tmp_path / "nowhere"}
    assert cli.main([str(places.get(w, w)) for w in words]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    lines = [line for line in captured.err.splitlines() if line.startswith("overread: ")]
    assert len(lines) == 1
    assert "Traceback" not in captured.err


def test_nothing_that_could_be_read_is_told_in_full_and_exits_1(tmp_path, capsys):
    (tmp_path / "in").mkdir()
    for n in range(5):
        (tmp_path / "in" / f"{n}.png").write_text("no picture")
    assert cli.main(["deidentify", str(tmp_path / "in"), "--into", str(tmp_path / "out"), "--quiet"]) == 1
    told = capsys.readouterr().out
    assert "0 images written" in told and "5 × " in told and "and 2 more; --json lists all" in told
    write_run(tmp_path / "run")
    assert (
        cli.main(["predict", str(tmp_path / "run"), str(tmp_path / "in"), "--out", str(tmp_path / "p"), "--quiet"]) == 1
    )
    assert "no image could be read; 5 refused" in capsys.readouterr().out
    assert (tmp_path / "p" / "predictions.csv").read_text().count("refused") == 5


def test_an_output_folder_that_is_a_file_is_refused_in_one_line(tmp_path, capsys):
    (tmp_path / "file").touch()
    for out in ("file", "file/below"):
        assert cli.main(["phantom", "--patients", "1", "--out", str(tmp_path / out), "--quiet"]) == 1
        told = capsys.readouterr().err
        assert "expected a folder" in told and "name another" in told and told.count("\n") == 1


def test_a_crash_of_our_own_exits_3_and_says_whose_fault_it_is(tmp_path, capsys, monkeypatch):
    def broken(sub):
        def run(options):
            raise ZeroDivisionError("by design of this test")

        return run

    monkeypatch.setitem(cli.COMMANDS, "networks", ("broken for a test", broken))
    assert cli.main(["networks"]) == 3
    assert "our fault" in capsys.readouterr().err


@pytest.mark.timeout(60)
def test_ctrl_c_ends_in_one_line(tmp_path):
    out = tmp_path / "films"
    command = [sys.executable, "-m", "overread.cli", "phantom", "--patients", "100000", "--out", str(out), "--quiet"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as walking:
        while not list(out.glob("images/*")):
            assert walking.poll() is None
            time.sleep(0.05)
        walking.send_signal(signal.SIGINT)
        _, told = walking.communicate()
    assert walking.returncode == 1
    assert told.startswith("overread: stopped by Ctrl-C") and told.count("\n") == 1


def test_who_is_stopped_is_told_which_commands_go_on_only_when_asked_to():
    """Every command that has --resume stands in the words of Ctrl-C and of a full disk, and no other."""
    words = Path(cli.__file__).read_text(encoding="utf-8")
    told = re.findall(r"\((\w+(?:, \w+)*): with --resume\)", words)
    verbs = next(a for a in cli.parser()._actions if a.dest not in ("help", "version")).choices
    resumed = {name for name, sub in verbs.items() if "--resume" in sub._option_string_actions}
    assert len(told) == 2 and all(set(names.split(", ")) == resumed for names in told)
