"""A trained network → a graph that needs no training framework, checked against the network before it is saved."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import onnx
import onnxruntime

from overread.errors import ExportError
from overread.learn import saliency_gradient
from overread.learn.networks import Built
from overread.learn.slicewise import slicewise

TOLERANCE = 1e-4
"""Largest difference allowed between graph and network, in logits, relative to the larger of 1 and the logit."""


def export(built: Built, into: Path, *, examples: np.ndarray) -> float:
    """Write the network as ONNX with outputs ``logits`` and ``features``; return the largest difference seen.

    The graph is run on real images, alone and in batches of several sizes, and compared with the network: a wrong
    graph is refused, not saved. (A direct export of another format was seen to freeze the batch size and to return
    garbage for any other, without an error.)

    Parameters
    ----------
    built : Built
    into : Path
        ``model.onnx``
    examples : ndarray, (n, …)
        Network inputs made from real images, at least one.

    Raises
    ------
    ExportError
        When graph and network differ by more than ``TOLERANCE``.
    """
    part = into.with_suffix(".part.onnx")
    built.exported(np.asarray(examples[:1]))  # Keras exports only what has been called
    with warnings.catch_warnings():  # the converter's own use of a deprecated NumPy name; nothing of ours
        warnings.simplefilter("ignore")
        built.exported.export(part, format="onnx", verbose=False)
    graph = _named(slicewise(onnx.load(part)))
    part.unlink()
    worst = check(graph.SerializeToString(deterministic=True), built, examples)
    if not worst <= TOLERANCE:
        raise ExportError(
            f"the exported graph differs from the network by {worst:.2g}",
            expected=f"at most {TOLERANCE:g}",
            do="report this together with the versions of Keras and of the converter",
        )
    part.write_bytes(graph.SerializeToString(deterministic=True))
    part.replace(into)
    return worst


def check(graph: bytes, built: Built, examples: np.ndarray) -> float:
    """Return the largest difference between graph and network over logits, for batches of 1, 2, 7 and all examples."""
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    worst = 0.0
    for size in sorted({1, 2, 7, len(examples)}):
        batch = np.resize(np.asarray(examples), (size, *examples.shape[1:]))  # repeats examples when there are few
        want = [np.asarray(v, np.float64) for v in built.exported(batch, training=False)]
        have = session.run(["logits", "features"], {"image": batch})
        for w, h in zip(want, have, strict=True):
            worst = max(worst, float(np.max(np.abs(w - h) / np.maximum(1.0, np.abs(w)))))
            if w.shape != h.shape or not np.isfinite(h).all():
                return float("inf")
    return worst


def export_slopes(built: Built, graph: Path, into: Path, *, examples: np.ndarray) -> str:
    """Write the graph of the scores' slopes beside the network's; return why there is none, "" when there is.

    It is checked like the network itself: slopes on real images against the training framework's. A network without it
    still predicts, and is explained by the methods that need no slopes.

    Parameters
    ----------
    built : Built
    graph : Path
        ``model.onnx``, as `export` wrote it.
    into : Path
        ``gradient.onnx``
    examples : ndarray, (n, …)
    """
    into.unlink(missing_ok=True)  # of an earlier training that was resumed
    try:
        slopes = saliency_gradient.derive(graph.read_bytes())
        worst = saliency_gradient.check(slopes, built.exported, examples)
    except ExportError as refusal:
        return str(refusal)
    if not worst <= saliency_gradient.TOLERANCE:
        return f"the graph of the slopes differs from the training framework's by {worst:.2g} of their size"
    part = into.with_suffix(".part.onnx")
    part.write_bytes(slopes)
    part.replace(into)
    return ""


def head(built: Built) -> dict[str, np.ndarray]:
    """Return how logits come from the last feature maps: the tail's kind and its dense layers, in order."""
    names = ("head",) if built.tail == "mean" else ("hidden", "head")
    model = built.trained
    out: dict[str, np.ndarray] = {"tail": np.array(built.tail)}
    for i, name in enumerate(names):
        kernel, bias = model.get_layer(name).get_weights()
        out |= {f"kernel{i}": kernel, f"bias{i}": bias}
    return out


def _named(model: onnx.ModelProto) -> onnx.ModelProto:
    """Give the graph's ends names that mean something, and nothing that changes from one export to the next."""
    graph = model.graph
    new = {"": "", graph.input[0].name: "image", graph.output[0].name: "logits", graph.output[1].name: "features"}
    _in_order(graph)
    for i, tensor in enumerate(graph.initializer):
        tensor.name = new.setdefault(tensor.name, f"weight{i}")
    for i, node in enumerate(graph.node):
        node.name = f"{node.op_type}{i}"
        node.input[:] = [new[n] for n in node.input]
        node.output[:] = [new.setdefault(n, f"value{i}.{k}") for k, n in enumerate(node.output)]
    for end in (*graph.input, *graph.output):
        end.name = new[end.name]
        end.type.tensor_type.shape.dim[0].dim_param = "batch"
    graph.name = "overread"
    graph.doc_string = ""
    del graph.value_info[:]
    return model


def _in_order(graph: onnx.GraphProto) -> None:
    """Order nodes and weights as the answer needs them: the converter's order depends on what else the process has built."""
    made = {name: node for node in graph.node for name in node.output}
    ordered: list[onnx.NodeProto] = []
    done: set[str] = set()
    for end in graph.output:
        waiting = [end.name]
        while waiting:
            node = made.get(waiting[-1])
            missing = [n for n in node.input if n in made and n not in done] if node is not None else []
            if waiting[-1] in done or node is None:
                waiting.pop()
            elif missing:
                waiting.append(missing[0])
            else:
                ordered.append(node)
                done |= set(node.output)
    first: dict[str, int] = {}
    for name in (name for node in ordered for name in node.input):
        first.setdefault(name, len(first))
    weights = sorted(graph.initializer, key=lambda t: first.get(t.name, len(first)))
    del graph.node[:], graph.initializer[:]
    graph.node.extend(ordered)
    graph.initializer.extend(weights)
