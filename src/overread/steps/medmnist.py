"""Get a MedMNIST file from its published record, or from the user's disk, and say whether it is the published one.

References
----------
Yang J et al. MedMNIST v2. Sci Data 2023;10:41. doi:10.1038/s41597-022-01721-8; record doi:10.5281/zenodo.10519652,
CC BY 4.0.
"""

from __future__ import annotations

import hashlib
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np

from overread.errors import OverreadError

RECORD = "https://zenodo.org/records/10519652/files/{name}.npz?download=1"
MD5 = {"pneumoniamnist": "28209eda62fecd6e6a2d98b1501bb15f"}
"""As the record states them."""

LARGEST = 64 * 2**20


def fetch(name: str, *, file: str | Path | None, into: Path) -> tuple[Path, tuple[str, ...]]:
    """Return the set as a file, and what was not as it should be.

    A download must match the published MD5. A file of the user's own may differ (a set can be rebuilt from its parts);
    the difference is then told, because figures on it are not figures on the published set.

    Parameters
    ----------
    name : str
        "pneumoniamnist".
    file : path, optional
        The user's file; nothing is downloaded then.
    into : Path
        Where a download is kept.

    Returns
    -------
    Path, tuple of str

    Raises
    ------
    OverreadError
        For an unknown name, a missing file, no network, or a download with another MD5.
    """
    if name not in MD5:
        raise OverreadError(f"the MedMNIST set {name!r}", expected=", ".join(MD5), do="name it as medmnist:NAME")
    if file is not None:
        path = Path(file)
        if not path.is_file():
            raise OverreadError("no file at the path given with --file", expected=f"{name}.npz", do="check the path")
        if _md5(path.read_bytes()) == MD5[name]:
            return path, ()
        return path, (f"{path.name} is not the published {name} (another MD5): its figures are its own",)
    try:
        with urllib.request.urlopen(RECORD.format(name=name), timeout=30) as answer:
            content = answer.read(LARGEST)
    except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
        raise OverreadError(
            f"no way to the MedMNIST record ({getattr(error, 'reason', error)})",
            expected="a network",
            do=f"download {name}.npz elsewhere and give it with --file",
        ) from None
    if _md5(content) != MD5[name]:
        raise OverreadError(
            f"a download of {len(content):,} bytes with another MD5 than the record states",
            expected=f"the published {name}.npz",
            do="try again, or give the file with --file",
        )
    path = into / f"{name}.npz"
    path.write_bytes(content)
    return path, ()


def _md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def few_images(path: Path, into: Path, *, count: int) -> Path:
    """Write the first few testing images of a MedMNIST file as a small file of their own, and return it."""
    into.mkdir(exist_ok=True)
    with np.load(path, allow_pickle=False) as arrays:
        part = {key: arrays[key][:count] for key in ("test_images", "test_labels")}
    np.savez(into / path.name, **part)
    return into / path.name
