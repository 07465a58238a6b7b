"""From a run to its use: the verbs that answer for new images, hand the run on, open the reading page, and check."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Callable


def predict(p: ArgumentParser) -> Callable[[Namespace], object]:
    p.add_argument("run_folder", metavar="RUN")
    p.add_argument("sources", nargs="+", metavar="SOURCE")
    p.add_argument("--out", required=True, metavar="DIR")
    p.add_argument("--no-dicom", action="store_true", help="no draft SR and Secondary Capture for DICOM input")
    p.add_argument("--cluster", metavar="auto|local|HOST:PORT", help="answer on a Ray cluster (docs/scale.md)")

    def run(o: Namespace) -> object:
        from overread.steps.predict import predict

        how = {"dicom": not o.no_dicom, "cluster": o.cluster, "progress": not o.quiet}
        return predict(o.run_folder, *o.sources, out=o.out, **how)

    return run


def export(p: ArgumentParser) -> Callable[[Namespace], object]:
    p.add_argument("run_folder", metavar="RUN")
    p.add_argument(
        "--format", default="onnx", help="onnx: the graph; run: what answers for new images, with nothing of any case"
    )
    p.add_argument(
        "--quantize",
        metavar="float16|int8",
        help="a smaller graph, if every calibration image is then answered as before (else refused)",
    )
    p.add_argument("--out", required=True, metavar="FILE|DIR")

    def run(o: Namespace) -> object:
        from overread.steps.export import export

        return export(o.run_folder, out=o.out, format=o.format, quantize=o.quantize, progress=not o.quiet)

    return run


def serve(p: ArgumentParser) -> Callable[[Namespace], object]:
    p.add_argument("run_folder", metavar="RUN")
    p.add_argument("--inbox", metavar="DIR", help="where studies arrive (default: RUN.inbox)")
    p.add_argument("--port", type=int, default=None, help="8080")
    p.add_argument("--settings", metavar="TOML")
    p.add_argument("--demo", action="store_true", help="mark every page as a demonstration")

    def run(o: Namespace) -> object:
        from overread.serve.app import serve

        return serve(o.run_folder, inbox=o.inbox, port=o.port, demo=o.demo, settings=o.settings)

    return run


def verify(p: ArgumentParser) -> Callable[[Namespace], object]:
    p.add_argument("path", metavar="PATH", help="an archive, a run, a journal, or the inbox or folder that holds one")

    def run(o: Namespace) -> object:
        from overread.steps.verify import verify

        return verify(o.path, progress=not o.quiet)

    return run
