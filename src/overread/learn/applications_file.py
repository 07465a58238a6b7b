"""A file of weights as Keras writes it, read without running anything that stands in it.

Only numbers are taken: no configuration is carried out, no link is followed, nothing is unpickled.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from overread.errors import IntegrityError, RunError

_HDF5, _ZIP, _INSIDE = b"\x89HDF\r\n\x1a\n", b"PK\x03\x04", "model.weights.h5"
_LARGEST = 1 << 30
"""Bytes that a file, and what is packed in it, may have: the largest application that is used here has 20 MB."""


def layers_of(file: Path) -> dict[str, list[np.ndarray]]:
    """Return the arrays of each layer by the layer's name, in Keras' order.

    Parameters
    ----------
    file : Path
        ``.weights.h5`` or ``.keras`` of Keras 3, or ``.h5`` as Keras 2 wrote it and Keras' own downloads are.

    Raises
    ------
    RunError
        When it is no file of weights.
    IntegrityError
        When it is damaged.
    """
    import h5py

    stream = _opened(file)
    try:
        with h5py.File(stream, "r") as kept:
            if "layer_names" in kept.attrs or "model_weights" in kept:
                found = dict(_older(kept["model_weights"] if "model_weights" in kept else kept))
            else:
                found = dict(_newer(kept))
    except (OSError, KeyError, ValueError, RuntimeError, TypeError) as why:
        raise IntegrityError(f"{file.name} cannot be read to its end ({type(why).__name__})", expected="a whole file of weights", do="bring it again from where it came from") from why  # fmt: skip
    if not found:
        raise RunError(f"{file.name} is an HDF5 file without layers", expected="weights as Keras saves them", do="save them with model.save_weights")  # fmt: skip
    return {("normalization" if name.startswith("normalization") else name): values for name, values in found.items()}


def _opened(file: Path) -> Any:
    try:
        size = file.stat().st_size
        with open(file, "rb") as stream:
            head = stream.read(8)
    except OSError:
        raise RunError(f"there is no file {file.name}", expected="a file of weights", do="check the path") from None
    if size > _LARGEST:
        raise RunError(
            f"{file.name} has {size:,} bytes", expected=f"at most {_LARGEST:,}", do="bring the weights alone"
        )
    if head == _HDF5:
        return file
    if head[:4] != _ZIP:
        raise RunError(f"{file.name} is no file of weights as Keras writes it", expected=".weights.h5, .h5 or .keras; pickles and files of PyTorch are not opened", do="save the weights with Keras")  # fmt: skip
    try:
        with zipfile.ZipFile(file) as packed:
            if packed.getinfo(_INSIDE).file_size > _LARGEST:
                raise RunError(f"{file.name} unpacks to more than {_LARGEST:,} bytes", expected="the weights of one network", do="bring another file")  # fmt: skip
            return io.BytesIO(packed.read(_INSIDE))
    except KeyError:
        raise RunError(f"{file.name} is a zip file without {_INSIDE}", expected="a .keras file", do="save the model with Keras") from None  # fmt: skip
    except (zipfile.BadZipFile, OSError, EOFError, NotImplementedError):
        raise IntegrityError(f"{file.name} is cut short or damaged", expected="a whole .keras file", do="bring it again from where it came from") from None  # fmt: skip


def _newer(group: Any, depth: int = 0) -> Iterator[tuple[str, list[np.ndarray]]]:
    """Keras 3: each layer's arrays lie in ``vars``, which carries its name; networks may lie in networks."""
    for key in group:
        inner = _inside(group, key)
        if not hasattr(inner, "keys") or depth > 16:
            continue
        if key == "vars" and len(inner):
            name = inner.attrs.get("name", group.name.rpartition("/")[2])
            yield _text(name), [_numbers(inner, str(i)) for i in range(len(inner))]
        elif key != "vars":
            yield from _newer(inner, depth + 1)


def _older(group: Any) -> Iterator[tuple[str, list[np.ndarray]]]:
    """Keras 2: the file lists its layers, and each layer its arrays."""
    for layer in map(_text, group.attrs["layer_names"]):
        inner = _inside(group, layer)
        names = [_text(n) for n in inner.attrs["weight_names"]]
        if names:
            yield layer, [_numbers(inner, n) for n in names]


def _inside(group: Any, path: str) -> Any:
    """Return what lies under a name, and follow no link out of the file."""
    import h5py

    for part in path.split("/"):
        if group.get(part, getclass=True, getlink=True) is not h5py.HardLink:
            raise ValueError("a link")
        group = group[part]
    return group


def _numbers(group: Any, path: str) -> np.ndarray:
    held = _inside(group, path)
    if held.external or held.is_virtual or held.dtype.kind not in "fiu" or held.size * held.dtype.itemsize > _LARGEST:
        raise ValueError("not numbers that lie in this file")
    return np.asarray(held[()])


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
