"""The decoding process: the same values, and a damaged stream that kills it kills nothing else."""

from __future__ import annotations

import multiprocessing
import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pydicom
import pytest

from overread.formats import decoder
from overread.formats.dicom import parse
from overread.formats.found import Found, Refused
from overread.formats.fragments import frames
from overread.formats.pixels import decode
from overread.formats.series import read_series
from overread.formats.streams import stream

STREAM = Path(pydicom.__file__).parent / "data" / "test_files" / "MR_small_jp2klossless.dcm"
PLAIN = Path(pydicom.__file__).parent / "data" / "test_files" / "MR_small.dcm"


def values(path: Path) -> np.ndarray:
    return decode(parse(path.read_bytes()))[0]


def test_values_are_those_of_the_uncompressed_twin() -> None:
    assert np.array_equal(values(STREAM), values(PLAIN))


def test_the_decoding_process_starts_without_what_it_does_not_need() -> None:
    """pydicom and SciPy would be most of the time it takes to start."""
    code = "import sys, overread.formats.decoder; sys.exit(any(m in sys.modules for m in ('pydicom', 'scipy')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_decoder_that_has_died_is_started_again() -> None:
    values(STREAM)
    first = decoder._helpers[-1].process
    first.kill()
    first.wait()
    assert np.array_equal(values(STREAM), values(PLAIN))
    assert decoder._helpers[-1].process.pid != first.pid


def test_a_decoder_that_does_not_answer_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoder, "SECONDS", 0)
    (frame,), _ = frames(parse(STREAM.read_bytes()).PixelData, 1)
    with pytest.raises(decoder.DecoderDied, match="in time"):
        decoder.decode_apart([frame] * 200, stream(frame))


# -- a child that is not what it should be: each is a real process in the decoder's place ------------------------------


DECODER = "import numpy as np; from overread.formats import decoder"
SERVE = "decoder._serve(int(sys.argv[-2]), int(sys.argv[-1]))"


def answering(kind: bytes, size: int, length: int = 8) -> str:
    return f"os.read(0, 100); os.write(1, {decoder._ANSWER.pack(kind, size)[:length]!r}); time.sleep(60)"


@pytest.fixture
def impostor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Let other Python code be started in place of the decoder."""

    python = sys.executable

    def start(code: str) -> None:
        program = tmp_path / "impostor"
        program.write_text(f"#!{python}\nimport os, sys, time\n{code}\n")
        program.chmod(0o755)
        decoder._close()
        monkeypatch.setattr(sys, "executable", str(program))

    yield start
    decoder._close()


def apart(count: int = 1) -> np.ndarray:
    (frame,), _ = frames(parse(STREAM.read_bytes()).PixelData, 1)
    return decoder.decode_apart([frame] * count, stream(frame))


def test_an_impostor_that_does_the_decoders_work_is_not_noticed(impostor: Callable[[str], None]) -> None:
    """The twin of those below: it is what they do that is refused, not that they are others."""
    impostor(f"{DECODER}; {SERVE}")
    assert np.array_equal(apart()[0, ..., 0], values(PLAIN)[0])


@pytest.mark.parametrize(
    "code",
    [
        answering(b"<u2", 4097),
        answering(b"<u2", 3),
        answering(b"<u8", 4096),
        answering(b"fail", 2**31),
        answering(b"<u2", 4096, length=3),
        "os.abort()",
        "sys.exit(0)",
    ],
)
def test_a_death_or_a_lie_is_one_refusal(impostor: Callable[[str], None], code: str) -> None:
    impostor(code)
    with pytest.raises(decoder.DecoderDied):
        apart()


def test_a_crash_is_one_refusal_and_the_next_decoder_is_as_good_as_ever(
    impostor: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    impostor(f"{DECODER}; decoder.decode_frame = lambda *a, **k: os.abort(); {SERVE}")
    with pytest.raises(decoder.DecoderDied):
        apart()
    monkeypatch.undo()
    assert np.array_equal(values(STREAM), values(PLAIN))


def test_a_hang_is_one_refusal(impostor: Callable[[str], None], monkeypatch: pytest.MonkeyPatch) -> None:
    impostor("time.sleep(60)")
    with monkeypatch.context() as patch:
        patch.setattr(decoder, "SECONDS", 0.2)
        with pytest.raises(decoder.DecoderDied, match="in time"):
            apart()


def test_too_much_memory_is_one_refusal(impostor: Callable[[str], None]) -> None:
    impostor(f"{DECODER}; decoder.decode_frame = lambda *a, **k: np.empty(decoder.MEMORY, 'u1'); {SERVE}")
    with pytest.raises(RuntimeError, match="allocate"):
        apart()


@pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="memory that is sealed is Linux's")
def test_the_child_cannot_take_the_memory_from_under_the_parent(impostor: Callable[[str], None]) -> None:
    handle = decoder._memory(1 << 16)
    for size in (0, 1 << 17):
        with pytest.raises(PermissionError):
            os.ftruncate(handle, size)
    os.close(handle)
    impostor("os.read(0, 100); os.ftruncate(int(sys.argv[-2]), 0)")  # would end this test run by SIGBUS
    with pytest.raises(decoder.DecoderDied):
        apart()


def test_values_are_ours_once_answered() -> None:
    """What a child does to the shared memory afterwards changes nothing."""
    first = apart()
    kept = first.copy()
    decoder._helpers[-1].arena[:65536] = b"\xff" * 65536
    assert np.array_equal(first, kept)
    assert not np.shares_memory(first, np.frombuffer(decoder._helpers[-1].arena, "u1"))


def test_an_interrupted_question_leaves_no_answer_for_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C between question and answer: the answer to come belongs to nobody."""
    apart()
    first = decoder._helpers[-1]

    class Interrupted:
        def poll(self, _: float) -> None:
            raise KeyboardInterrupt

    first.answered = Interrupted()
    with pytest.raises(KeyboardInterrupt):
        apart()
    assert np.array_equal(apart(3)[2, ..., 0], values(PLAIN)[0])
    assert decoder._helpers[-1] is not first


def test_many_and_large_frames_are_asked_for_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = values(PLAIN)[0]
    monkeypatch.setattr(decoder, "BATCH", 4 * expected.size * 3)
    monkeypatch.setattr(decoder, "_KEPT", 4 * expected.size)  # so that the arena is emptied after each
    got = apart(8)
    assert got.shape == (8, *expected.shape, 1)
    assert (got[..., 0] == expected).all()


def test_an_arena_that_is_too_small_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    decoder._close()
    monkeypatch.setattr(decoder, "_SMALLEST", 1 << 12)
    apart()
    small = len(decoder._helpers[-1].arena)
    apart(40)
    assert small < len(decoder._helpers[-1].arena)
    decoder._close()


def _where(path: str) -> tuple[int, int]:
    return os.getpid(), int(values(Path(path)).sum())


def test_forked_workers_do_not_share_a_decoder() -> None:
    expected = int(values(PLAIN).sum())
    values(STREAM)  # so that the parent has one already
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("fork")) as pool:
        answers = list(pool.map(_where, [str(STREAM)] * 6))
    assert {total for _, total in answers} == {expected}
    assert os.getpid() not in {pid for pid, _ in answers}


@pytest.mark.parametrize("folder", ["J2KR/CT1_J2KR", "JPLL/MR1_JPLL", "JLSL/CT1_JLSL"])
def test_damaged_streams_never_take_this_process_down(shared_data: Path, folder: str) -> None:
    """Without the process of its own, each of these three runs ended in an abort or a segmentation fault."""
    whole = (shared_data / "dicom_codecs" / folder).read_bytes()
    start = whole.rfind(b"\xe0\x7f\x10\x00O") + 12
    rng = random.Random(1)
    for _ in range(15):
        raw = bytearray(whole)
        for _ in range(rng.randint(1, 6)):
            raw[start + rng.randrange(rng.choice([120, 600, len(raw) - start]))] = rng.randrange(256)
        (result,) = read_series([("a.dcm", bytes(raw))])
        assert isinstance(result, (Found, Refused))
