"""How long `overread --help` takes, as a process."""

import statistics
import subprocess
import sys
import time


def measure() -> list[dict]:
    times = []
    for _ in range(11):
        began = time.perf_counter()
        subprocess.run([sys.executable, "-m", "overread.cli", "--help"], check=True, capture_output=True)
        times.append(time.perf_counter() - began)
    return [{"what": "overread --help, median of 11", "value": f"{statistics.median(times):.3f} s", "must": "< 0.5 s"}]
