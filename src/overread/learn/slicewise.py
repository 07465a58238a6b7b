"""A graph for volumes that computes with pictures: the same sums, for which the runtime has much faster code.

A convolution over a volume is one over its slices, in which each slice brings its neighbours along as further channels:
kernel (channels, depth, rows, columns) → (depth · channels, rows, columns). The values are those of the volume's
convolution; only rounding differs, and the export compares the result with the network as it does any graph.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper, shape_inference

_SWAP = [0, 2, 1, 3, 4]
"""(volumes, channels, slices, rows, columns) ↔ (volumes, slices, channels, rows, columns)."""


def slicewise(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the graph with its convolutions and poolings over volumes replaced by those over slices, where they can be.

    A graph without volumes comes back as it was. What lies between two such operations is passed on as a stack of slices
    (volumes · slices, channels, rows, columns); any other operation is given volumes, as before.
    """
    rewriting = _Rewriting(shape_inference.infer_shapes(model).graph)
    if not rewriting.able:
        return model
    for node in model.graph.node:
        rewriting.take(node)
    for end in model.graph.output:
        rewriting.as_volumes(end.name)
    kept = [t for t in model.graph.initializer if t.name not in rewriting.weights]
    del model.graph.node[:], model.graph.initializer[:], model.graph.value_info[:]
    model.graph.node.extend(rewriting.made)
    model.graph.initializer.extend([*kept, *rewriting.weights.values()])
    return model


class _Rewriting:
    """The new nodes, and which values exist as a stack of slices."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        self.shapes = {
            v.name: [d.dim_value for d in v.type.tensor_type.shape.dim]
            for v in (*graph.input, *graph.value_info, *graph.output)
        }
        self.arrays = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
        self.weights: dict[str, onnx.TensorProto] = {}
        self.made: list[onnx.NodeProto] = []
        self.stacks: dict[str, str] = {}
        self.volumes: set[str] = set()
        self.able = {n.output[0] for n in graph.node if self._can(n)}
        spoilt = {name for n in graph.node if n.output[0] not in self.able for name in n.input}
        self.able -= {n.output[0] for n in graph.node if n.op_type == "Conv" and n.input[1] in spoilt}

    def _can(self, node: onnx.NodeProto) -> bool:
        """True for a convolution or a pooling over volumes that can be done slice by slice."""
        if node.op_type not in ("Conv", "AveragePool") or len(self.shapes.get(node.input[0], [])) != 5:
            return False
        how, (deep, *plane) = _settings(node), self.shapes[node.input[0]][2:]
        if (
            0 in (deep, *plane, *self.shapes.get(node.output[0], [0])[1:])
            or how.get("auto_pad", b"NOTSET") != b"NOTSET"
        ):
            return False
        if node.op_type == "AveragePool":
            same = how.get("strides") == how["kernel_shape"] and not any(how.get("pads", ()))
            return same and not how.get("ceil_mode") and deep % how["kernel_shape"][0] == 0
        weight, stride = self.arrays.get(node.input[1]), how.get("strides", [1, 1, 1])[0]
        plain = how.get("group", 1) == 1 and set(how.get("dilations", [1])) == {1}
        return weight is not None and plain and (stride == 1 or weight.shape[2] % stride == 0)

    def take(self, node: onnx.NodeProto) -> None:
        """Pass a node on: over slices, where it can be."""
        if node.output[0] in self.able:
            (self._convolution if node.op_type == "Conv" else self._pooling)(node)
        elif node.op_type in ("Relu", "Add") and all(name in self.stacks for name in node.input):
            self.stacks[node.output[0]] = self._add(node.op_type, *(self.stacks[name] for name in node.input))
        else:
            for name in node.input:
                self.as_volumes(name)
            self.made.append(node)

    def as_volumes(self, name: str) -> None:
        """Make a value that is a stack of slices exist as volumes again, under its own name."""
        if name in self.stacks and name not in self.volumes:
            self.volumes.add(name)
            channels, *space = self.shapes[name][1:]
            self._add(
                "Transpose", self._split(self.stacks[name], [space[0], channels, *space[1:]]), to=name, perm=_SWAP
            )

    def _stack(self, name: str) -> str:
        if name not in self.stacks:
            channels, _, *plane = self.shapes[name][1:]
            self.stacks[name] = self._split(self._add("Transpose", name, perm=_SWAP), [channels, *plane])
            self.volumes.add(name)
        return self.stacks[name]

    def _convolution(self, node: onnx.NodeProto) -> None:
        how, weight = _settings(node), self.arrays[node.input[1]]
        deep, stride = weight.shape[2], how.get("strides", [1, 1, 1])[0]
        pads = how.get("pads", [0] * 6)
        source = self._stack(node.input[0])
        if (deep, stride, pads[0], pads[3]) != (1, 1, 0, 0):
            source = self._neighbours(source, node, deep, stride, pads[0])
        flat = np.ascontiguousarray(weight.transpose(0, 2, 1, 3, 4)).reshape(len(weight), -1, *weight.shape[3:])
        self.weights[node.input[1]] = numpy_helper.from_array(flat, node.input[1])
        self.stacks[node.output[0]] = self._add(
            "Conv",
            source,
            *node.input[1:],
            kernel_shape=list(weight.shape[3:]),
            strides=list(how.get("strides", [1, 1, 1])[1:]),
            pads=[*pads[1:3], *pads[4:6]],
        )

    def _neighbours(self, source: str, node: onnx.NodeProto, deep: int, stride: int, before: int) -> str:
        """Return the stack in which each new slice brings along, as channels, the old slices that its kernel covers."""
        channels, slices, *plane = self.shapes[node.input[0]][1:]
        new = self.shapes[node.output[0]][2]
        value = self._split(source, [slices, channels, *plane])
        if stride > 1:  # slices in groups of one step: a margin, and each group's slices are channels
            groups = new + deep // stride - 1
            value = self._moved(value, before, [slices, channels, *plane], groups * stride)
            value, slices, before = self._split(value, [groups, stride * channels, *plane]), groups, 0
        one = [stride * channels, *plane]
        parts = [self._moved(value, before - k, [slices, *one], new) for k in range(deep // stride)]
        together = self._add("Concat", *parts, axis=2) if len(parts) > 1 else parts[0]
        return self._split(together, [deep * channels, *plane])

    def _pooling(self, node: onnx.NodeProto) -> None:
        deep, *window = _settings(node)["kernel_shape"]
        channels, _, *plane = self.shapes[node.output[0]][1:]
        value = self._add("AveragePool", self._stack(node.input[0]), kernel_shape=window, strides=window)
        if deep > 1:
            apart = self._split(value, [deep, channels, *plane])
            value = self._add("ReduceMean", apart, axes=[1], keepdims=0)
        self.stacks[node.output[0]] = value

    def _moved(self, value: str, before: int, shape: list[int], count: int) -> str:
        """Put so many empty slices before, and after until there are ``count``; fewer than none are slices left out."""
        after = count - shape[0] - before
        if not before and not after:
            return value
        one = int(np.prod(shape[1:]))  # volumes as rows of numbers: moved whole, not pixel row by pixel row
        flat = self._split(value, [shape[0] * one])
        moved = self._add("Pad", flat, self._constant([0, before * one, 0, after * one]))
        return self._split(moved, [count, *shape[1:]])

    def _split(self, value: str, shape: list[int]) -> str:
        return self._add("Reshape", value, self._constant([-1, *shape]))

    def _constant(self, numbers: list[int]) -> str:
        name = "slicewise:" + ",".join(map(str, numbers))
        self.weights[name] = numpy_helper.from_array(np.array(numbers, np.int64), name)
        return name

    def _add(self, kind: str, *inputs: str, to: str = "", **settings: Any) -> str:
        name = to or f"slicewise{len(self.made)}"
        self.made.append(helper.make_node(kind, list(inputs), [name], **settings))
        return name


def _settings(node: onnx.NodeProto) -> dict[str, Any]:
    return {a.name: helper.get_attribute_value(a) for a in node.attribute}
