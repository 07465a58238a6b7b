"""Write the measured table into docs/traps.md: `python -m benchmarks.dicom_traps.page`, after a measurement with all peers."""

from __future__ import annotations

import json
import re
from pathlib import Path

from benchmarks.dicom_traps import OUT

PAGE = Path(__file__).resolve().parents[2] / "docs" / "traps.md"
MARK = "## Totals\n"


def main() -> None:
    text, table = PAGE.read_text(encoding="utf-8"), (OUT / "table.md").read_text(encoding="utf-8")
    measured = json.loads((OUT / "verdicts.json").read_text(encoding="utf-8"))
    versions = measured["versions"]
    count = len(next(iter(measured["verdicts"].values())))
    text = re.sub(
        r"Measured on \S+ with Python \S+,", f"Measured on {measured['date']} with Python {measured['python']},", text
    )
    text = re.sub(r"A corpus of \d+ ", f"A corpus of {count} ", text)
    lines = [f"| {reader} | {', '.join(f'{p} {v}' for p, v in found.items())} |" for reader, found in versions.items()]
    head, rest = text.split("| reader | versions |\n|---|---|\n")
    after = rest[rest.index("\n\n") :]
    told = head + "| reader | versions |\n|---|---|\n" + "\n".join(lines) + after
    PAGE.write_text(told[: told.index(MARK)] + MARK + "\n" + table.replace("\n### ", "\n## "), encoding="utf-8")


if __name__ == "__main__":
    main()
