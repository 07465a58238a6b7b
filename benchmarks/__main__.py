"""Run the benchmarks named on the command line, or all; print a line for each figure and keep them in bench-out/."""

from __future__ import annotations

import argparse
import importlib
import json
import platform
import sys
import time
from pathlib import Path

NAMES = (
    "install_size",
    "help_time",
    "demo_time",
    "simple_cnn_throughput",
    "chest_xray",
    "medmnist",
    "accuracy",
    "messy_folders",
    "header_index",
    "index_memory",
    "collect_processes",
    "decode_speed",
    "resample_speed",
    "coverage",
    "injections",
    "fuzz",
    "dicom_traps",
    "near_duplicates",
    "lettering",
    "report_speed",
    "heat_maps",
    "cold_predict",
    "inference_speed",
    "training_speed",
    "input_pipeline",
    "engine_overhead",
    "several",
    "bucket",
    "scale",
)
OUT = Path("bench-out")


def main() -> int:
    words = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    words.add_argument("names", nargs="*", metavar="NAME", help=", ".join(NAMES))
    given, more = words.parse_known_args()  # "fuzz --inputs 100000": what follows a single name is for it
    names = given.names or NAMES
    unknown = [n for n in names if n not in NAMES]
    if unknown:
        words.error(f"no benchmark {unknown[0]!r}; there are {', '.join(NAMES)}")
    if more and len(names) != 1:
        words.error(f"{more[0]} is for one benchmark, and {len(names)} were named")
    OUT.mkdir(exist_ok=True)
    for name in names:
        began = time.perf_counter()
        print(f"== {name}", flush=True)
        figures = importlib.import_module(f"benchmarks.{name}").measure(*([more] if more else []))
        for figure in figures:
            goal = f"   (must: {figure['must']})" if figure.get("must") else ""
            print(f"   {figure['what']}: {figure['value']}{goal}", flush=True)
        record = {
            "figures": figures,
            "seconds": round(time.perf_counter() - began, 1),
            "python": sys.version.split()[0],
            "machine": platform.machine(),
        }
        (OUT / f"{name}.json").write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
