"""The arithmetic for ten million studies, and a simulation that checks it.

    python -m benchmarks scale

Every figure that goes in stands below with where it comes from: measured by this repository, a published price, or an
assumption. The lines that come out stand in docs/scale.md, and a test holds them equal.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

STUDIES = 10_000_000
SHARD = 100_000
"""Studies in one archive: what one SQLite file and one process that makes the studies hold at ease."""


@dataclass(frozen=True)
class Kind:
    """Studies of one kind: the share of all, files and stored images of one, megapixels a file, bytes a pixel, work.

    ``ms`` is processor time a megapixel, from file to stored voxels: 12.2 for uncompressed slices (960 slices of 512 × 512
    in 3.2 s: decision record 9), and what decoding adds (decision record 7): 6.5 for JPEG Lossless, 1.3 for JPEG Baseline.
    """

    share: float
    files: float
    images: float
    megapixels: float
    stored: float
    sent: float
    ms: float


KINDS = {  # shares, files and images of a study: assumptions; a film of 1760 × 2140: PACSnet's storage calculator
    "films": Kind(0.50, 2, 2, 1.760 * 2.140, 2, 1.0, 18.7),
    "ultrasound": Kind(0.25, 30, 30, 1.024 * 0.768, 3, 0.3, 13.5),
    "CT": Kind(0.16, 500, 4, 0.512 * 0.512, 2, 1.0, 18.7),
    "MR": Kind(0.09, 300, 8, 0.256 * 0.256, 2, 1.0, 18.7),
}

DRIVER_MS = 0.24
"""What the one process that hands out and keeps the books does for a file: 0.2 (record 9), and 1/24,000 s for its header."""
ROW_FILE, ROW_IMAGE = 730, 680
"""Bytes of SQLite: crosswalk a file, archive an image (253 MR pictures collected: 184,320 and 155,648 bytes)."""
ANSWER_MS = 2.5
"""ONNX Runtime, one image, a MobileNet-like network at 128 × 128 on one core."""

CORE_HOUR, GPU_HOUR = 0.0408, 1.006  # US$: half an m7g.large; a g5.xlarge (list prices, us-east-1, June 2026)
GB_MONTH = 0.021  # US$: S3 Standard, the lowest step of the list price
GETS, PUTS = 0.0004e-3, 0.005e-3  # US$ a request, S3 Standard
LINK = 1.25e9  # bytes a second of one host's 10 Gbit/s
GPU_IMAGES = 2_000  # images a second that one GPU trains on: an assumption, not measured
EPOCHS = 10


@dataclass(frozen=True)
class Site:
    """A cluster: cores that read, collectors beside them, bytes a second of all its links, losses an hour of a core."""

    cores: int
    collectors: int = 1
    link: float = LINK
    losses: float = 0.0


@dataclass(frozen=True)
class Load:
    """What is to be done in all."""

    files: float
    images: float
    core_s: float
    driver_s: float
    sent: float
    stored: float


def load(studies: int = STUDIES) -> Load:
    """Return what so many studies are.

    Examples
    --------
    >>> round(load(1).files, 1)
    115.5
    """
    of = [(studies * kind.share, kind) for kind in KINDS.values()]
    files = sum(n * k.files for n, k in of)
    pixels = [(n * k.files * k.megapixels, k) for n, k in of]
    return Load(
        files,
        sum(n * k.images for n, k in of),
        sum(mp * k.ms / 1e3 for mp, k in pixels),
        files * DRIVER_MS / 1e3,
        sum(mp * 1e6 * k.sent for mp, k in pixels),
        sum(mp * 1e6 * k.stored for mp, k in pixels),
    )


def seconds(work: Load, site: Site, *, block_s: float = 1.0) -> tuple[float, str]:
    """Return how long it takes, and what it waits for: the slowest of three that work at the same time.

    Of a block that is lost half has been done on average; it is done again: ``1 + losses × block / 2`` of the work, to the
    first order.
    """
    again = 1 + site.losses / 3600 * block_s / 2
    bounds = {
        "cores": work.core_s * again / site.cores,
        "collectors": work.driver_s / site.collectors,
        "network": (work.sent + work.stored) / site.link,
    }
    slowest = max(bounds, key=bounds.__getitem__)
    return bounds[slowest], slowest


def simulate(work: Load, site: Site, rng: np.random.Generator, *, block_s: float = 1.0, spread: float = 0.5) -> float:
    """Return how long it takes when blocks are handed out one by one, as ``overread.engine.cluster`` does.

    A block is about a second of work, but none is like another (lognormal, ``spread``). It waits for its collector, which
    does one thing at a time; for a free core; for the network, which carries one block after another; and for the work
    itself, which is lost now and then and done again from the start.
    """
    count = max(1, round(work.core_s / block_s))
    work_s = rng.lognormal(-spread * spread / 2, spread, count) * work.core_s / count
    carry_s = work_s / work.core_s * (work.sent + work.stored) / site.link
    keep_s = work_s / work.core_s * work.driver_s
    collectors, cores = [0.0] * site.collectors, [0.0] * site.cores
    network = 0.0
    for work_one, carry_one, keep_one in zip(work_s, carry_s, keep_s, strict=True):
        handed = heapq.heappop(collectors) + keep_one
        heapq.heappush(collectors, handed)
        begun = max(handed, heapq.heappop(cores))
        network = max(network, begun) + carry_one
        end = network
        for lost_after in _losses(site.losses / 3600, work_one, rng):
            end += lost_after
        heapq.heappush(cores, end + work_one)
    return max(cores)


def _losses(rate: float, work_s: float, rng: np.random.Generator) -> Iterator[float]:
    """Yield after how long each try was lost, until one was not."""
    while rate and (after := rng.exponential(1 / rate)) < work_s:
        yield after


def lines() -> list[str]:
    """Return the table of docs/scale.md."""
    work, shards = load(), STUDIES // SHARD
    told = [
        f"files: {work.files / 1e9:.2f} × 10⁹, images stored: {work.images / 1e6:.0f} × 10⁶",
        f"originals: {work.sent / 1e12:.0f} TB; voxels stored: {work.stored / 1e12:.0f} TB, "
        f"US$ {work.stored / 1e9 * GB_MONTH:,.0f} a month",
        f"books: {work.files * ROW_FILE / 1e9:.0f} GB beside the archives and {work.images * ROW_IMAGE / 1e9:.0f} GB in them; "
        f"in {shards} archives of {SHARD:,} studies {work.files * ROW_FILE / 1e9 / shards:.1f} and "
        f"{work.images * ROW_IMAGE / 1e9 / shards:.1f} GB each",
        f"reading: {work.core_s / 3600:,.0f} core hours, US$ {work.core_s / 3600 * CORE_HOUR:,.0f}; "
        f"one collector keeps {work.core_s / work.driver_s:.0f} cores busy, {1e3 / DRIVER_MS:,.0f} files a second",
        f"requests: US$ {work.files * GETS:,.0f} to read the originals, US$ {work.images * PUTS:,.0f} to store",
        f"answering every image once: {work.images * ANSWER_MS / 3.6e6:,.0f} core hours, "
        f"US$ {work.images * ANSWER_MS / 3.6e6 * CORE_HOUR:,.0f}, and reading the originals again",
        f"training, {EPOCHS} times over every image: {work.images * EPOCHS / GPU_IMAGES / 3600:,.0f} GPU hours, "
        f"US$ {work.images * EPOCHS / GPU_IMAGES / 3600 * GPU_HOUR:,.0f}",
    ]
    rng = np.random.default_rng(0)
    for site in (
        Site(16, link=LINK),
        Site(64, link=2 * LINK),
        Site(256, collectors=12, link=8 * LINK),
        Site(256, collectors=12, link=32 * LINK),
        Site(256, collectors=16, link=64 * LINK, losses=1.0),
    ):
        took, waits = seconds(work, site)
        part = STUDIES // 50
        by_simulation = simulate(load(part), site, rng) * STUDIES / part
        told.append(
            f"{site.cores} cores, {site.collectors} collectors, {site.link / LINK:.0f} × 10 Gbit/s"
            + (f", {site.losses:g} loss an hour of each core" if site.losses else "")
            + f": {took / 3600:.1f} h (waits for: {waits}); simulated {by_simulation / 3600:.1f} h"
        )
    return told


def without(work: Load, **parts: float) -> Load:
    """Return the same load with some parts changed: to ask what one of them costs alone."""
    return replace(work, **parts)


def measure() -> list[dict[str, str]]:
    """Return the lines, for ``python -m benchmarks scale``."""
    return [{"what": what, "value": value} for what, _, value in (line.partition(": ") for line in lines())]
