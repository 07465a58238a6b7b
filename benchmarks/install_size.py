"""How much `pip install .` and `pip install ".[train]"` download, in wheels, into an empty folder."""

import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def measure() -> list[dict]:
    figures = []
    for what, target, must in (("core", "", 150), ("with [train]", "[train]", 450)):
        with tempfile.TemporaryDirectory() as folder:
            subprocess.run(
                [
                    sys.executable,
                    "-m",
                    "pip",
                    "download",
                    "-q",
                    "--disable-pip-version-check",
                    "--dest",
                    folder,
                    f"{ROOT}{target}",
                ],
                check=True,
                stderr=subprocess.DEVNULL,
            )
            files = sorted(Path(folder).iterdir(), key=lambda f: -f.stat().st_size)
            total = sum(f.stat().st_size for f in files) / 1e6
            largest = ", ".join(f"{f.name.split('-')[0]} {f.stat().st_size / 1e6:.0f}" for f in files[:5])
            frameworks = [f.name for f in files if f.name.startswith(("tensorflow", "torch", "jax"))]
        figures.append(
            {
                "what": f"download, {what} ({len(files)} files; largest: {largest} MB)",
                "value": f"{total:.0f} MB",
                "must": f"< {must} MB",
            }
        )
        if what == "core":
            figures.append(
                {"what": "training frameworks in the core", "value": ", ".join(frameworks) or "none", "must": "none"}
            )
    return figures
