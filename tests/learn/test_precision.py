"""Products in 16 bits are had for the asking, where network and processor can, and nowhere by surprise."""

from __future__ import annotations

import subprocess
import sys

import pytest

from overread.domain import Task
from overread.errors import RunError
from overread.learn import plan as planning
from overread.learn import precision

SEEN = planning.Fingerprint(90, (1, 28, 28), 1, "", "stored", 0, eight_bit=True)


def drawn(network="residual"):
    return planning.draw_up(Task(("x",), "binary", "x"), SEEN, network=network, seed=0)


def test_a_processor_without_such_products_is_refused_in_a_line():
    precision.refuse("fpu avx512_bf16")
    precision.refuse("amx_bf16")
    with pytest.raises(RunError, match="does not multiply so"):
        precision.refuse("fpu avx512f avx2")


def test_the_plan_says_it_in_words_and_one_that_nobody_asked_for_is_the_plan_it_was():
    half = precision.at(drawn(), "bfloat16")
    assert half.parts["optimiser"]["precision"] == "bfloat16"
    assert "as was asked" in half.parts["optimiser"]["reason"] and drawn().parts["optimiser"]["reason"] in half.parts["optimiser"]["reason"]  # fmt: skip
    assert planning.executed(half) != planning.executed(drawn())
    for same in (None, "float32"):  # the twins
        assert planning.executed(precision.at(drawn(), same)) == planning.executed(drawn())
        assert precision.at(drawn(), same).parts == drawn().parts


def test_a_network_that_does_not_learn_so_is_refused_with_the_one_that_does():
    with pytest.raises(RunError, match=r"for the network 'simple-cnn'.*--network residual"):
        precision.at(drawn("simple-cnn"), "bfloat16")
    assert precision.at(drawn("simple-cnn"), "float32").network == "simple-cnn"


@pytest.mark.parametrize(
    ("asked", "beside", "words"),
    [
        ("float16", {}, "the precision 'float16'.*float32, bfloat16"),
        ("bfloat16", {"network": "auto"}, "beside --network auto"),
        ("bfloat16", {"network": "pair"}, "beside --network pair"),
        ("bfloat16", {"--start": "start"}, "beside --start"),
        ("bfloat16", {"--cluster": "local"}, "beside --cluster"),
    ],
)
def test_what_cannot_be_asked_is_refused_before_any_work(asked, beside, words, monkeypatch):
    monkeypatch.setattr(precision, "refuse", lambda: None)
    with pytest.raises(RunError, match=words):
        precision.check(asked, **beside)
    precision.check("bfloat16", network="residual", **{"--start": None})  # the twins
    precision.check("float32", **beside)


def test_a_plan_for_another_processor_is_refused_where_it_would_be_executed(monkeypatch):
    def none(*_):
        raise RunError("no such products")

    half = precision.at(drawn(), "bfloat16")
    monkeypatch.setattr(precision, "refuse", none)
    with pytest.raises(RunError, match="no such products"):
        precision.refuse_of(half)
    precision.refuse_of(drawn())  # the twin


def test_it_loads_without_a_training_framework():
    code = "import sys, overread.learn.precision; print(sorted({'tensorflow', 'keras', 'overread.learn.rounded'} & set(sys.modules)))"  # fmt: skip
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
