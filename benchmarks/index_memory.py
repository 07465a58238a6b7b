"""Memory while a million DICOM headers are indexed: real small files on disk, every one opened and read.

A file has 740 bytes (a header of 18 elements and no pixels), 200 to a series; four fifths lie in folders of 2,000, the rest
in a single folder. They lie in memory (``/dev/shm``) where there is room for them, else on the disk: what is measured is the
memory of the index, and a busy disk takes an hour to make a million files. The index runs in a process of its own, and says what it holds (resident memory) on its way; afterwards
the same process goes through all jobs and writes collect's list of what was offered.
"""

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

COUNT = 1_000_000
IN_A_SERIES = 200
IN_A_FOLDER = 2_000


def measure(count: int = COUNT) -> list[dict]:
    shared = Path("/dev/shm")
    room = shared.is_dir() and shutil.disk_usage(shared).free > 8_000 * count
    with tempfile.TemporaryDirectory(dir=shared if room else None) as folder:
        _write(Path(folder) / "scans", count)
        command = [sys.executable, "-P", __file__, str(Path(folder)), str(count)]
        told = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    held = told["held"]
    growth = held["100 %"] - held["10 %"]
    return [
        {
            "what": f"memory while indexing {count:,} headers ({'in memory' if room else 'on disk'}), at "
            + ", ".join(held),
            "value": ", ".join(f"{v:.0f} MB" for v in held.values()),
            "must": "< 500 MB, flat",
        },
        {"what": "growth from 10 % to 100 %", "value": f"{growth:+.0f} MB ({growth / held['10 %']:+.0%})"},
        {"what": "peak, with every job read back and collect's list written", "value": f"{told['peak']:.0f} MB"},
        {
            "what": "time for it",
            "value": f"{told['seconds']:.0f} s ({count / told['seconds']:,.0f} files/s), jobs {told['jobs']:,}",
        },
    ]


def _write(root: Path, count: int) -> None:
    """Write the files without pydicom: a million data sets would take half an hour."""
    for n in range(count):
        if n < count * 4 // 5:
            folder = root / f"{n // IN_A_FOLDER:05d}"
            new = n % IN_A_FOLDER == 0
        else:
            folder, new = root / "all-in-one", n == count * 4 // 5
        if new:
            folder.mkdir(parents=True)
        (folder / f"IM{n:08d}").write_bytes(_file(n))


def _file(n: int) -> bytes:
    series = n // IN_A_SERIES

    def element(group: int, number: int, vr: bytes, value: str) -> bytes:
        raw = value.encode() + (b"\0" if vr == b"UI" else b" ") * (len(value) % 2)
        return group.to_bytes(2, "little") + number.to_bytes(2, "little") + vr + len(raw).to_bytes(2, "little") + raw

    meta = element(2, 0x10, b"UI", "1.2.840.10008.1.2.1")
    body = element(8, 0x16, b"UI", "1.2.840.10008.5.1.4.1.1.2") + element(
        8, 0x18, b"UI", f"1.2.826.0.1.3680043.8.498.9.{n}"
    )
    body += b"".join(element(8, 0x20 + 2 * i, b"LO", f"a value of number {i}") for i in range(12))
    body += element(16, 0x20, b"LO", f"P{series // 4:07d}")
    body += element(32, 13, b"UI", f"1.2.826.0.1.3680043.8.498.7.{series // 2}")
    body += element(32, 14, b"UI", f"1.2.826.0.1.3680043.8.498.8.{series}")
    return bytes(128) + b"DICM" + meta + body


def _held() -> float:
    """Resident memory of this process in MB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 1e6


def _child(folder: Path, count: int) -> None:
    import time

    from overread.formats.door import candidates
    from overread.steps.offered import places_of
    from overread.store.crosswalk import Crosswalk

    marks = {max(1, count * p // 100): f"{p} %" for p in (10, 50, 100)}
    held, seen, peak = {}, 0, 0.0

    def tick() -> None:
        nonlocal seen, peak
        seen += 1
        if seen in marks:
            held[marks[seen]] = _held()
        if seen % 5000 == 0:
            peak = max(peak, _held())

    began = time.monotonic()
    jobs = candidates(folder / "scans", tick=tick)
    seconds = time.monotonic() - began
    if jobs.parts != count:
        raise RuntimeError(f"{jobs.parts} files of {count} were indexed")
    with Crosswalk(folder) as book:
        book.begin(key for job in jobs for key in places_of(job))
    peak = max(peak, _held())
    json.dump({"held": held, "peak": peak, "seconds": seconds, "jobs": len(jobs)}, sys.stdout)


if __name__ == "__main__":
    _child(Path(sys.argv[1]), int(sys.argv[2]))
