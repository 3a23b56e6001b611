"""The table of docs/security.md from its JSON: `.venv/bin/python benchmarks/_fuzz_page.py`, or with `--check`."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
PAGE, DATA = ROOT / "docs" / "security.md", ROOT / "docs" / "benchmarks" / "fuzz.json"
KINDS = {"edits": "drawn edits", "hypothesis": "hypothesis", "atheris": "atheris, guided by coverage"}


def block(found: dict[str, Any]) -> str:
    """What one campaign counted, by engine, and its findings."""
    lines = [
        "| engine | readers | files read | refused | seconds | largest process | findings |",
        "|---|---|---|---|---|---|---|",
    ]
    for engine, name in KINDS.items():
        rows = [row for row in found["rows"] if row["engine"] == engine]
        if not rows:
            continue
        counts = [sum(row[what] for row in rows) for what in ("executions", "refused")]
        seconds, peak = sum(row["seconds"] for row in rows), max(row["peak_mib"] for row in rows)
        findings = sum(len(row["findings"]) for row in rows)
        lines.append(
            f"| {name} | {len(rows)} | {counts[0]:,} | {counts[1]:,} | {seconds:,.0f} | {peak:,} MiB | {findings} |"
        )
    for row in found["rows"]:
        lines += [f"- {row['engine']}, {row['reader']}: {what}" for what in row["findings"]]
    told = ", ".join(f"{name} {version}" for name, version in found["versions"].items())
    bounds = f"at most {found['room_mib']:,} MiB beside what it began with (edits and hypothesis)"
    return "\n".join([*lines, "", f"Seed {found['seed']}; each process {bounds}. Python {found['python']}, {told}."])


def main() -> None:
    """Write the block between its marks, or check that it is what the JSON says."""
    text = PAGE.read_text(encoding="utf-8")
    made = block(json.loads(DATA.read_text(encoding="utf-8")))
    fresh = re.sub(r"(?<=<!-- fuzz -->\n).*(?=\n<!-- /fuzz -->)", lambda _: made, text, flags=re.DOTALL)
    if "--check" in sys.argv[1:]:
        sys.exit(0 if fresh == text and made in text else "docs/security.md does not say what its JSON says")
    PAGE.write_text(fresh, encoding="utf-8")


if __name__ == "__main__":
    main()
