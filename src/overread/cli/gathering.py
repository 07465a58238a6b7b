"""From scans to an archive: the verbs that find, collect, inspect, free of identities, or simulate."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Callable


def demo(p: ArgumentParser) -> Callable[[Namespace], object]:
    p.add_argument("--out", required=True, metavar="DIR")
    p.add_argument("--data", default="phantom", help="phantom (default, made here), or medmnist:NAME")
    p.add_argument("--file", metavar="NPZ", help="the MedMNIST file, where there is no network")
    p.add_argument("--seed", type=int, default=0)

    def run(o: Namespace) -> object:
        from overread.steps.demo import demo

        return demo(out=o.out, data=o.data, file=o.file, seed=o.seed, progress=not o.quiet)

    return run


def find(p: ArgumentParser) -> Callable[[Namespace], object]:
    p.add_argument("source", metavar="SOURCE", help="dicomweb:https://HOST/PATH?modality=CT or dimse://AET@HOST:PORT?…")

    def run(o: Namespace) -> object:
        from overread.steps.find import find

        return find(o.source, progress=not o.quiet)

    return run


def collect(p: ArgumentParser) -> Callable[[Namespace], object]:
    p.add_argument(
        "sources",
        nargs="+",
        metavar="SOURCE",
        help="folders, files, zip files, .npz; or elsewhere: see docs/sources.md",
    )
    p.add_argument("--into", required=True, metavar="ARCHIVE", help="a folder, or s3://BUCKET/FOLDER (docs/scale.md)")
    p.add_argument("--labels", metavar="CSV", help="a table with the column `file` and one column for each label")
    p.add_argument("--labels-from-folders", action="store_true", help="a picture's folder is its class")
    p.add_argument("--patient", metavar="COLUMN|REGEX", help="who it is: a column of the table, or a part of the path")
    p.add_argument("--workers", type=int, metavar="N", help="processes (default: all cores)")
    p.add_argument("--cluster", metavar="auto|local|HOST:PORT", help="read on a Ray cluster (docs/scale.md)")

    def run(o: Namespace) -> object:
        from overread.steps.collect import collect

        return collect(
            *o.sources,
            into=o.into,
            labels=o.labels,
            labels_from_folders=o.labels_from_folders,
            patient=o.patient,
            workers=o.workers,
            cluster=o.cluster,
            progress=not o.quiet,
        )

    return run


def copy(p: ArgumentParser) -> Callable[[Namespace], object]:
    p.add_argument("archive", metavar="ARCHIVE", help="a folder, or s3://BUCKET/FOLDER")
    p.add_argument("--into", required=True, metavar="PLACE", help="s3://BUCKET/FOLDER, or a new folder")

    def run(o: Namespace) -> object:
        from overread.steps.copy import copy

        return copy(o.archive, into=o.into, progress=not o.quiet)

    return run


def inspect(p: ArgumentParser) -> Callable[[Namespace], object]:
    p.add_argument("archive", metavar="ARCHIVE")
    p.add_argument("--page", metavar="HTML", help="write the page there, with the names of refused files")

    def run(o: Namespace) -> object:
        from overread.steps.inspect import inspect

        return inspect(o.archive, page=o.page, progress=not o.quiet)

    return run


def deidentify(p: ArgumentParser) -> Callable[[Namespace], object]:
    p.add_argument("sources", nargs="+", metavar="SOURCE")
    p.add_argument("--into", required=True, metavar="DIR")

    def run(o: Namespace) -> object:
        from overread.steps.deidentify import deidentify

        return deidentify(o.sources, into=o.into, progress=not o.quiet)

    return run


def phantom(p: ArgumentParser) -> Callable[[Namespace], object]:
    p.add_argument("--out", required=True, metavar="DIR")
    p.add_argument("--kind", default="chest", choices=("chest", "ct"))
    p.add_argument("--patients", type=int, default=300)
    p.add_argument("--size", type=int, default=None, help="pixels a side")
    p.add_argument("--seed", type=int, default=0)

    def run(o: Namespace) -> object:
        from overread.steps.phantom import phantom

        size = {} if o.size is None else {"size": o.size}
        return phantom(o.out, kind=o.kind, patients=o.patients, seed=o.seed, progress=not o.quiet, **size)

    return run
