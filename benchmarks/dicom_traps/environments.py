"""Make the environment of each peer: `python -m benchmarks.dicom_traps.environments [FOLDER]`.

Every peer gets a virtual environment of its own with the versions named here, from the index that pip is set to. About
9 GB and some minutes; a peer that stands already is left as it is.
"""

from __future__ import annotations

import subprocess
import sys
import venv
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path("bench-out") / "peers"


@dataclass(frozen=True)
class Peer:
    """A reader by its name in the table, the adapter in ``peers/``, and what pip installs."""

    label: str
    reader: str
    packages: tuple[str, ...]
    python: Path = Path()


# AUCMEDI names no versions of what it stands on; these are the ones it was measured with.
_AUCMEDI = (
    "aucmedi==0.11.0",
    "tensorflow==2.21.0",
    "keras==3.15.1",
    "SimpleITK==2.5.7",
    "pillow==13.0.0",
    "numpy==2.4.6",
)
_MONAI = ("torch==2.13.0", "monai==1.6.1", "pydicom==3.0.2", "nibabel==5.4.2", "pillow==13.0.0")

PEERS = (
    Peer("MONAI with itk", "monai_loader", (*_MONAI, "itk==5.4.7")),
    Peer("MONAI without itk", "monai_loader", _MONAI),
    Peer("SimpleITK", "simpleitk", ("SimpleITK==2.5.7", "numpy==2.4.6")),
    Peer("dicom2nifti", "dicom2nifti_converter", ("dicom2nifti==2.6.2", "pydicom==3.0.2", "nibabel==5.4.2")),
    Peer("TorchXRayVision", "torchxrayvision_loader", ("torch==2.13.0", "torchxrayvision==1.5.7", "pydicom==3.0.2")),
    Peer("AUCMEDI", "aucmedi_loader", _AUCMEDI),
)


def standing(folder: Path) -> list[Peer]:
    """Return the peers whose environment is whole."""
    found = []
    for peer in PEERS:
        place = folder / peer.label.replace(" ", "-").lower()
        if (place / "ready").exists():
            found.append(Peer(peer.label, peer.reader, peer.packages, (place / "bin" / "python").absolute()))
    return found


def make(peer: Peer, folder: Path) -> None:
    """Make one environment."""
    place = folder / peer.label.replace(" ", "-").lower()
    if (place / "ready").exists():
        return
    venv.create(place, with_pip=True, clear=True)
    python = place / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "-q", "--disable-pip-version-check", *peer.packages], check=True)
    (place / "ready").write_text("\n".join(peer.packages) + "\n")


def main() -> None:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER
    for peer in PEERS:
        print(f"{peer.label}: {', '.join(peer.packages)}", flush=True)
        make(peer, folder)


if __name__ == "__main__":
    main()
