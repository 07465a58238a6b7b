"""A smaller graph from an exported one: weights in half precision, or whole numbers of eight bits.

Whether the smaller graph may be used is not decided here: `agreement` says what changed, on images one knows.
"""

from __future__ import annotations

import importlib.util
import logging
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from overread.domain import Finding, Image
from overread.errors import ExportError
from overread.learn.graph import open_graph
from overread.learn.predict import Model

WAYS = ("float16", "int8")
"""``float16``: weights take half the room, sums are made in full precision. ``int8``: weights and what flows between
layers are whole numbers of eight bits, whose range is learned from images."""

_SMALL = 64  # weights with fewer numbers stay as they are: they take no room


def reduced(graph: bytes, how: str, inputs: Sequence[np.ndarray]) -> bytes:
    """Return a graph with the same ends and less in it.

    Parameters
    ----------
    graph : bytes
        ``model.onnx``
    how : str
        One of ``WAYS``.
    inputs : sequence of ndarray
        Network inputs from which the ranges of ``int8`` are learned.

    Raises
    ------
    ExportError
        When the ``onnx`` package is not installed, or the way is not known.
    """
    if how not in WAYS:
        raise ExportError(f"the precision {how!r}", expected="one of " + ", ".join(WAYS), do="name one of these")
    if importlib.util.find_spec("onnx") is None:
        raise ExportError(
            "the package onnx is not installed", expected="the extra [train]", do='run: pip install "overread[train]"'
        )
    return _half(graph) if how == "float16" else _eight_bits(graph, inputs)


def _half(graph: bytes) -> bytes:
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    model = onnx.load_from_string(graph)
    kept, casts = [], []
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if values.dtype != np.float32 or values.size < _SMALL or np.abs(values).max() > np.finfo(np.float16).max:
            kept.append(tensor)
            continue
        kept.append(numpy_helper.from_array(values.astype(np.float16), f"{tensor.name}.half"))
        casts.append(helper.make_node("Cast", [f"{tensor.name}.half"], [tensor.name], to=TensorProto.FLOAT))
    nodes = [*casts, *model.graph.node]
    del model.graph.initializer[:], model.graph.node[:]
    model.graph.initializer.extend(kept)
    model.graph.node.extend(nodes)
    return model.SerializeToString(deterministic=True)


def _eight_bits(graph: bytes, inputs: Sequence[np.ndarray]) -> bytes:
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    class Given(CalibrationDataReader):
        def __init__(self) -> None:
            self.left = iter(inputs)

        def get_next(self) -> dict[str, np.ndarray] | None:
            x = next(self.left, None)
            return None if x is None else {"image": np.asarray(x, np.float32)[None]}

    with tempfile.TemporaryDirectory() as folder:
        whole, small = Path(folder) / "whole.onnx", Path(folder) / "small.onnx"
        whole.write_bytes(graph)
        kinds = {"activation_type": QuantType.QUInt8, "weight_type": QuantType.QInt8, "quant_format": QuantFormat.QDQ}
        logging.disable(logging.WARNING)  # it advises a preparation of graphs that ours do not need
        try:
            quantize_static(
                whole, small, Given(), per_channel=True, op_types_to_quantize=["Conv", "Add", "MatMul"], **kinds
            )
        finally:
            logging.disable(logging.NOTSET)
        return small.read_bytes()


def agreement(model: Model, smaller: bytes, images: Iterator[Image]) -> dict[str, Any]:
    """Return how a smaller graph's answers differ from the model's own, on images one knows.

    Every answer is made whole, with the gate, the intervals and the operating point: what would be read is compared.

    Returns
    -------
    dict
        ``images``; ``decisions_changed``: images with a finding that is no longer present, absent or refer as it was, or
        whose interval lies elsewhere of its operating point (of levels: another is clearly the most probable);
        ``largest_difference`` of a probability; ``one_in``: with 95 % confidence fewer than one new image in so many
        has a changed decision (rule of three), where none had.
    """
    other = replace(model, session=open_graph(smaller))
    several = model.task.kind in ("multiclass", "ordinal")
    n, changed, largest = 0, 0, 0.0
    for image in images:
        whole, small = model.findings(image), other.findings(image)
        pairs = list(zip(whole, small, strict=True))
        changed += _said(whole, several) != _said(small, several)
        largest = max([largest, *(abs(a.probability - b.probability) for a, b in pairs)])
        n += 1
    told = {"images": n, "decisions_changed": changed, "largest_difference": round(largest, 6)}
    return told | ({"one_in": n // 3} if n and not changed else {})


def _said(findings: Sequence[Finding], several: bool) -> tuple[Any, ...]:
    """What a reader would be told, and which way an answer leans whose interval is clear of the limit, referred or not.

    Where all are referred, what is told alone would show nothing; a case that lies on its limit leans neither way.
    """
    if several:
        *_, second, first = sorted(findings, key=lambda f: f.probability)
        leans: tuple[Any, ...] = (first.label if first.low > second.high else "",)
    else:
        leans = tuple((f.low > f.threshold) - (f.high < f.threshold) for f in findings)
    return (*(f.decision for f in findings), *leans)
