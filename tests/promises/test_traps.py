"""Promise: pixels are read rightly or refused with the numbers – never wrong in silence.

A corpus of traps whose truth is known by formula (benchmarks/dicom_traps) goes through ``overread.read``. The twins
prove that the judge sees a negative, shuffled slices, a wrong spacing, a wrong unit, a lost image and a vague refusal.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from benchmarks.dicom_traps import asking, scene
from benchmarks.dicom_traps.corpus import GROUPS, build
from benchmarks.dicom_traps.judge import FAILED, NEEDLESS, REFUSED, RIGHT, SILENT, WARNED, Answer, Seen, judge
from benchmarks.dicom_traps.peers import overread as door
from benchmarks.dicom_traps.truth import Trap

ROOT = Path(__file__).resolve().parents[2]
NAMES = [write.__name__.replace("_", "-") for functions in GROUPS.values() for write in functions]


@pytest.fixture(scope="module")
def traps(tmp_path_factory) -> dict[str, Trap]:
    return {t.name: t for t in build(tmp_path_factory.mktemp("traps"))}


@pytest.mark.parametrize("name", NAMES)
def test_right_pixels_or_a_refusal_with_the_numbers(traps, name):
    trap = traps[name]
    answer = asking.here(door, trap)
    verdict, why = judge(answer, trap.case)
    assert verdict in (RIGHT, REFUSED), f"{verdict}: {why}"
    if verdict == REFUSED:
        assert answer.error.startswith("UnreadableFile: ")
        missing = [n for n in trap.case.numbers if not re.search(n, answer.error)]
        assert not missing, f"{answer.error!r} does not hold {missing}"
        assert not re.search(r"Trap\^|\bT[12]\b|\d+(\.\d+){5,}", answer.error), "an identifier in a message"


def test_the_corpus_is_large_enough():
    assert len(NAMES) >= 60
    assert len(set(NAMES)) == len(NAMES)


def test_the_page_names_every_trap():
    """docs/traps.md shows overread passing each of them (`python -m benchmarks.dicom_traps.page` writes it again)."""
    page = (ROOT / "docs" / "traps.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| ([a-z0-9-]+) \| (.) \|", page, re.MULTILINE))
    assert sorted(rows) == sorted(NAMES)
    assert set(rows.values()) <= {"✓", "R"}


def _seen(trap: Trap, **changes) -> Seen:
    """The truth of a trap's first piece, as a faultless reader would return it, then changed."""
    piece = trap.case.answers[0][0]
    axes = "zyx" if piece.values.ndim == 3 else "yx"
    unit = piece.units[0] if piece.units else None
    return Seen(**{"array": piece.values, "axes": axes, "affine": piece.affine, "unit": unit, **changes})


def test_twin_the_truth_itself_is_right(traps):
    for name in ("plain-series", "oblique", "monochrome1-film", "rescale-intercept"):
        assert judge(Answer((_seen(traps[name]),)), traps[name].case) == (RIGHT, "")


def test_twin_the_truth_turned_with_its_affine_is_right(traps):
    """A reader may turn its array as it likes, if its affine says so."""
    trap = traps["plain-series"]
    piece = trap.case.answers[0][0]
    flip = np.diag([-1.0, 1, 1, 1])
    flip[0, 3] = piece.values.shape[0] - 1
    turned = (piece.affine @ flip)[:, [2, 1, 0, 3]]
    seen = _seen(trap, array=piece.values[::-1].transpose(2, 1, 0), axes="xyz", affine=turned)
    assert judge(Answer((seen,)), trap.case) == (RIGHT, "")


def test_twin_a_negative_is_wrong(traps):
    trap = traps["monochrome1-film"]
    stored = scene.film().astype(float)
    assert judge(Answer((_seen(trap, array=stored),)), trap.case)[0] == SILENT
    assert judge(Answer((_seen(trap, array=stored, relative=True),)), trap.case)[0] == SILENT
    told = Answer((_seen(trap, array=stored),), warnings=("MONOCHROME1 is not inverted",))
    assert judge(told, trap.case)[0] == WARNED


def test_twin_shuffled_slices_are_wrong(traps):
    trap = traps["instance-numbers-shuffled"]
    values = trap.case.answers[0][0].values
    shuffled = values[np.random.default_rng(0).permutation(len(values))]
    assert judge(Answer((_seen(trap, array=shuffled),)), trap.case)[0] == SILENT
    assert judge(Answer((_seen(trap, array=shuffled, affine=None),)), trap.case)[0] == SILENT
    two_swapped = values[[0, 1, 2, 4, 3, *range(5, 12)]]
    assert judge(Answer((_seen(trap, array=two_swapped),)), trap.case)[0] == SILENT


def test_twin_a_wrong_place_is_wrong(traps):
    trap = traps["plain-series"]
    affine = trap.case.answers[0][0].affine
    for wrong in (
        affine @ np.diag([1.1, 1, 1, 1]),  # the slice thickness instead of the spacing
        np.diag([-1.0, 1, 1, 1]) @ affine,  # left and right changed over
        affine + np.array([[0, 0, 0, 0.4], *[[0, 0, 0, 0]] * 3]),  # half a pixel to the side
    ):
        assert judge(Answer((_seen(trap, affine=wrong),)), trap.case)[0] == SILENT


def test_twin_a_filled_gap_is_wrong(traps):
    """Closing a gap, by pulling slices together or by interpolation, is never right."""
    trap = traps["one-slice-missing"]
    affine = scene.placed()
    values = scene.volume(affine)
    values[6] = (values[5] + values[7]) / 2
    assert judge(Answer((Seen(values, "zyx", affine),)), trap.case)[0] == SILENT
    assert judge(Answer((Seen(values, "zyx", affine),), warnings=("missing slices",)), trap.case)[0] == WARNED


def test_twin_a_wrong_unit_a_lost_image_and_a_shift_are_wrong(traps):
    case = traps["rescale-missing"].case
    assert judge(Answer((_seen(traps["rescale-missing"], unit="HU"),)), case)[0] == SILENT
    assert judge(Answer((_seen(traps["two-series"]),)), traps["two-series"].case)[0] == SILENT
    assert judge(Answer(()), traps["plain-series"].case)[0] == SILENT
    shifted = _seen(traps["rescale-intercept"], array=traps["rescale-intercept"].case.answers[0][0].values + 1)
    assert judge(Answer((shifted,)), traps["rescale-intercept"].case)[0] == SILENT


def test_twin_a_vague_refusal_is_a_crash_and_a_legal_file_may_not_be_refused(traps):
    assert judge(Answer(error="IndexError: 3"), traps["truncated-pixels"].case)[0] == FAILED
    assert judge(Answer(error="ValueError: 2400 bytes, expected 3840"), traps["truncated-pixels"].case)[0] == REFUSED
    assert judge(Answer(error="NotImplementedError: not supported"), traps["oblique"].case)[0] == NEEDLESS


def test_twin_a_slanted_array_is_wrong_though_its_affine_is_right(traps):
    trap = traps["nifti-leaning"]
    assert judge(Answer((_seen(trap),)), trap.case)[0] == SILENT
    assert judge(Answer((_seen(trap),), warnings=("the sform is sheared",)), trap.case)[0] == WARNED


def test_twin_rounded_numbers_are_wrong_unless_it_is_told(traps):
    trap = traps["bits-32-rounded"]
    rounded = trap.case.answers[0][0].values.astype(np.float32)
    assert judge(Answer((_seen(trap),)), trap.case)[0] == RIGHT
    assert judge(Answer((_seen(trap, array=rounded),)), trap.case)[0] == SILENT
    assert judge(Answer((_seen(trap, array=rounded, notes=("rounded",)),)), trap.case)[0] == RIGHT


def test_twin_an_invented_millimetre_is_wrong(traps):
    trap = traps["film-without-spacing"]
    assert judge(Answer((_seen(trap, spacing_mm={"y": 1.0, "x": 1.0}),)), trap.case)[0] == SILENT
    assert judge(Answer((_seen(trap),)), trap.case)[0] == RIGHT
