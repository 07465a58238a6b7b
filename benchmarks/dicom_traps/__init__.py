"""Files that are read wrongly without a word: a corpus with known truth, and who passes it.

`python -m benchmarks dicom_traps [--peers FOLDER]` asks overread, and every peer whose environment stands in the folder;
`python -m benchmarks.dicom_traps.environments FOLDER` makes these.
"""

from __future__ import annotations

import argparse
import json
import platform
import tempfile
from collections.abc import Sequence
from datetime import date
from importlib.metadata import version
from pathlib import Path

OUT = Path("bench-out") / "dicom_traps"


def measure(words: Sequence[str] = ()) -> list[dict]:
    """Ask all readers, write the table to bench-out/dicom_traps/, and return its totals."""
    options = argparse.ArgumentParser(prog="python -m benchmarks dicom_traps")
    options.add_argument("--peers", type=Path, help="the folder in which the peers' environments were made")
    return _measured(options.parse_args(words).peers)


def _measured(folder_of_peers: Path | None) -> list[dict]:
    from benchmarks.dicom_traps import asking, environments, table
    from benchmarks.dicom_traps.corpus import build
    from benchmarks.dicom_traps.judge import FAILED, PASSED, SILENT, UNREAD, WARNED, judge
    from benchmarks.dicom_traps.peers import overread

    verdicts, versions = {}, {"overread": {p: version(p) for p in overread.PACKAGES}}
    with tempfile.TemporaryDirectory() as folder:
        traps = build(Path(folder) / "traps")
        answers = {"overread": {t.name: asking.here(overread, t) for t in traps}}
        for peer in environments.standing(folder_of_peers or environments.FOLDER):
            out = Path(folder) / peer.label
            out.mkdir()
            answers[peer.label], versions[peer.label] = asking.elsewhere(peer.python, peer.reader, traps, out)
    for reader, given in answers.items():
        verdicts[reader] = {t.name: judge(given[t.name], t.case) for t in traps}
    told = "; ".join(f"{r}: {', '.join(f'{p} {v}' for p, v in vs.items())}" for r, vs in versions.items())
    OUT.mkdir(parents=True, exist_ok=True)
    (OUT / "table.md").write_text(table.as_markdown(traps, verdicts))
    (OUT / "table.html").write_text(table.as_html(traps, verdicts, heading=told))
    (OUT / "verdicts.json").write_text(
        json.dumps(
            {
                "date": date.today().isoformat(),
                "python": platform.python_version(),
                "versions": versions,
                "verdicts": verdicts,
            },
            indent=1,
        )
    )
    print(table.as_text(traps, verdicts))
    figures = []
    for reader, counted in table.totals(verdicts).items():
        asked = sum(counted.values()) - counted[UNREAD]
        value = f"{sum(counted[v] for v in PASSED)} of {asked} asked; wrong silently {counted[SILENT]}, "
        value += f"wrong with a warning {counted[WARNED]}, failed without the cause {counted[FAILED]}, does not read {counted[UNREAD]}"
        figures.append({"what": f"{reader} passes", "value": value})
        if reader == "overread":
            figures[-1]["must"] = f"all {len(traps)}"
    return [*figures, {"what": "versions", "value": told}]
