"""The decoding process: the same values, and a damaged stream that kills it kills nothing else."""

from __future__ import annotations

import multiprocessing
import os
import random
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
