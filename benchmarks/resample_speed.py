"""How fast is a volume brought to another grid? 96 × 256 × 256 → 96³, paired with SciPy and SimpleITK, one thread each.

SimpleITK (52 MB) is no dependency: its rows are left out, with the reason, where it is not installed.
"""

from __future__ import annotations

import importlib.metadata
import os
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import ndimage

from overread.imaging import geometry, preprocess

SHAPE, SIZE = (96, 256, 256), (96, 96, 96)
SPACING = (2.5, 0.7, 0.7)
ROUNDS = 15
TOLERANCE = 0.01
"""HU by which two linear interpolations may differ: what single precision costs."""


def scipy_linear(voxels: np.ndarray) -> np.ndarray:
    step = np.array(SHAPE) / SIZE
    source = voxels.astype(np.float32)
    return ndimage.affine_transform(source, step, offset=(step - 1) / 2, output_shape=SIZE, order=1, mode="nearest")


def itk_linear(itk: Any) -> Callable[[np.ndarray], np.ndarray]:
    """SimpleITK's linear interpolation on the same grid; its order of axes is columns, rows, slices."""
    itk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    old, new = np.array(SPACING[::-1]), np.array(SPACING[::-1]) * np.array(SHAPE[::-1]) / np.array(SIZE[::-1])
    engine = itk.ResampleImageFilter()
    engine.SetSize(SIZE[::-1])
    engine.SetOutputSpacing(new.tolist())
    engine.SetOutputOrigin(((new - old) / 2).tolist())
    engine.SetInterpolator(itk.sitkLinear)
    engine.SetOutputPixelType(itk.sitkFloat32)

    def resample(voxels: np.ndarray) -> np.ndarray:
        image = itk.GetImageFromArray(voxels)
        image.SetSpacing(old.tolist())
        return itk.GetArrayFromImage(engine.Execute(image))

    return resample


def ours(voxels: np.ndarray) -> np.ndarray:
    spacing = tuple(s * n / m for s, n, m in zip(SPACING, SHAPE, SIZE, strict=True))
    return geometry.resample(voxels, np.diag([*SPACING, 1.0]), spacing_mm=spacing)[0]


def smoothed(voxels: np.ndarray) -> np.ndarray:
    """What a recipe's "resize" does: the same grid, but every new voxel is a mean over all it covers."""
    return preprocess.resample(voxels[..., None], SIZE)[..., 0]


def measure() -> list[dict[str, Any]]:
    """Return the median time of each, and how many times faster ours is than the fastest other."""
    voxels = (np.random.default_rng(0).normal(size=SHAPE) * 300).astype(np.int16)
    ways: dict[str, Callable[[np.ndarray], np.ndarray]] = {
        "overread, linear": ours,
        "overread, linear with smoothing (what a recipe does)": smoothed,
        f"SciPy {importlib.metadata.version('scipy')}": scipy_linear,
    }
    figures = []
    try:
        import SimpleITK

        ways[f"SimpleITK {importlib.metadata.version('simpleitk')}"] = itk_linear(SimpleITK)
    except ImportError:
        figures.append({"what": "SimpleITK", "value": "left out: it is not installed (pip install SimpleITK)"})
    others = [name for name in ways if not name.startswith("overread")]
    expected = ours(voxels)
    for name in others:
        apart = float(np.abs(ways[name](voxels) - expected).max())
        figures.append(
            {"what": f"{name} and overread differ by at most", "value": f"{apart:.5f} HU", "must": f"≤ {TOLERANCE}"}
        )
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(ROUNDS):  # one after the other, so that whatever else the machine does is shared evenly
        for name, way in ways.items():
            began = time.perf_counter()
            way(voxels)
            times[name].append(time.perf_counter() - began)
    for name, taken in times.items():
        figures.append({"what": name, "value": f"{1e3 * float(np.median(taken)):.1f} ms"})
    for name in (n for n in ways if n.startswith("overread")):
        ratio = min(float(np.median(np.divide(times[o], times[name]))) for o in others)
        figures.append({"what": f"{name}: times faster than the fastest other", "value": f"{ratio:.2f}", "must": "≥ 1"})
    threads = os.environ.get("OPENBLAS_NUM_THREADS") or os.environ.get("OMP_NUM_THREADS") or "all"
    figures.append({"what": "threads of matrix products (OPENBLAS_NUM_THREADS)", "value": threads})
    return figures
