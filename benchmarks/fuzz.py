"""Damaged files for every reader: `.venv/bin/python benchmarks/fuzz.py --seconds 8 --json docs/benchmarks/fuzz.json`.

Three engines try each reader of `tests/fuzzing/fuzz_targets.py`, each reader in a process of its own with a bound on
memory: `edits` makes drawn changes to whole files, `hypothesis` draws and shrinks lists of changes, `atheris` (where it is
installed) changes what reaches new lines of canonize. A finding is an exception that is no `SymmetryError`, something done
that no reader may do, an input that takes longer than ten seconds of the processor, or the end of the process. What led to
it is kept in build/fuzz/.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
KEPT = ROOT / "build" / "fuzz"
ENGINES = ("edits", "hypothesis", "atheris")
ROOM, SLOW = 3 * 2**30, 10.0
"""Bytes that a process may take beside what it takes to begin with; seconds of the processor for one input."""
READERS = ("canonize.cli", "canonize.scale", "canonize.integrations", "canonize.playground", "canonize.adapt.state")
LIBRARIES = ("numpy", "torch", "pillow", "pyarrow", "rdkit", "onnxruntime", "safetensors", "hypothesis", "atheris")


class Tally:
    """What one engine found with one reader; written down now and then, because some engines end the process."""

    def __init__(self, target: Any, out: Path, seconds: float) -> None:
        from fuzz_guard import watched

        self.target, self.out, self.seconds, self.watched = target, out, seconds, watched
        self.counts = {"read": 0, "refused": 0}
        self.findings: dict[str, str] = {}
        self.executions, self.begun, self.told = 0, time.monotonic(), 0.0
        # A file that ends the process is found here afterwards.
        self.place = out.parent / "one"
        for whole in target.seeds():
            self.call(whole, count=False)

    @property
    def over(self) -> bool:
        """Whether the time is up."""
        return time.monotonic() - self.begun > self.seconds

    def call(self, content: bytes, *, count: bool = True) -> None:
        """Read one file, and note what should not have happened."""
        from fuzz_targets import outcome

        self.place.mkdir(exist_ok=True)
        for left in self.place.iterdir():
            left.unlink()
        start = time.process_time()
        with self.watched() as seen:
            try:
                result = outcome(self.target, content, self.place)
            except Exception as error:
                last = traceback.extract_tb(error.__traceback__)[-1]
                self.note(f"{type(error).__name__} at {Path(last.filename).name}:{last.lineno}", content)
                result = ""
        if not count:
            return
        if seen:
            self.note(seen[0][:80], content)
        if time.process_time() - start > SLOW:
            self.note(f"an input took longer than {SLOW:g} s", content)
        self.executions += 1
        if result:
            self.counts[result] += 1
        if time.monotonic() - self.told > 0.5:
            self.write()

    def note(self, what: str, content: bytes) -> None:
        """Keep a finding with what led to it, once for each kind."""
        if what not in self.findings:
            KEPT.mkdir(parents=True, exist_ok=True)
            name = f"{self.target.name} {len(self.findings)}.bin".replace(" ", "-")
            (KEPT / name).write_bytes(content)
            self.findings[what] = name
            self.write()

    def write(self) -> None:
        """Write down what is known so far."""
        self.told = time.monotonic()
        found = {"executions": self.executions, **self.counts, "findings": sorted(self.findings)}
        found["seconds"] = round(time.monotonic() - self.begun, 1)
        found["peak_mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        self.out.write_text(json.dumps(found), encoding="utf-8")


def engine(name: str, readers: list[str], seconds: float, seed: int, out: Path) -> None:
    """Try readers with one engine, each in a copy of this process, which has imported everything."""
    warnings.simplefilter("ignore")
    sys.path.insert(0, str(ROOT / "tests" / "fuzzing"))
    if name == "atheris":
        import atheris

        with atheris.instrument_imports(include=list(READERS)):
            import fuzz_targets
    else:
        import fuzz_targets
    rows = []
    for target in (*fuzz_targets.TARGETS, *fuzz_targets.OUTSIDE, *fuzz_targets.SEALED):
        if readers and target.name not in readers:
            continue
        with tempfile.TemporaryDirectory() as folder:
            child = os.fork()
            if not child:
                one(name, target, seconds, seed, Path(folder) / "found.json")
                os._exit(0)
            status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            rows.append({"engine": name, "reader": target.name, **_told(Path(folder), status, f"{name} {target.name}")})
        row = rows[-1]
        print(
            f"{name:11} {target.name:18} {row['executions']:9,} {row['seconds']:6.1f} s  {row['findings'] or ''}",
            flush=True,
        )
        out.write_text(json.dumps(rows), encoding="utf-8")


def one(name: str, target: Any, seconds: float, seed: int, out: Path) -> None:
    """Try one reader with one engine, in this process."""
    # What led to the end of the process is told by its parent.
    os.chdir(out.parent)
    tally = Tally(target, out, seconds)
    if name != "atheris":
        taken = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (taken + ROOM, taken + ROOM))
    tally.begun = time.monotonic()
    {"edits": _edits, "hypothesis": _drawn, "atheris": _covered}[name](tally, seed)
    tally.write()


def _told(folder: Path, status: int, name: str) -> dict[str, Any]:
    out = folder / "found.json"
    empty = {"executions": 0, "read": 0, "refused": 0, "seconds": 0.0, "peak_mib": 0, "findings": []}
    found: dict[str, Any] = json.loads(out.read_text(encoding="utf-8")) if out.exists() else empty
    if status:
        found["findings"].append(f"the process ended with {status}")
        KEPT.mkdir(parents=True, exist_ok=True)
        for left in (folder / "one").glob("*"):
            (KEPT / f"{name} {left.name}".replace(" ", "-")).write_bytes(left.read_bytes())
    return found


def _edits(tally: Tally, seed: int) -> None:
    from fuzz_damage import FOREIGN, cuts, damaged
    from fuzz_targets import EVIL

    for content in (*EVIL.values(), *FOREIGN):
        tally.call(content)
    for number in range(10**9):
        for whole in tally.target.seeds():
            contents = damaged(whole, seed + number, 64)
            for content in (*cuts(whole), *contents) if not number else contents:
                if tally.over:
                    return
                tally.call(content)


def _drawn(tally: Tally, seed: int) -> None:
    from hypothesis import HealthCheck, Phase, given, settings
    from hypothesis import seed as seeded
    from hypothesis import strategies as st

    wholes = tally.target.seeds()
    edits = st.lists(st.tuples(st.integers(0, 2**16), st.integers(0, 12), st.binary(max_size=12)), max_size=8)

    def tried(edits: list[tuple[int, int, bytes]], whole: bytes, length: int | None) -> None:
        if tally.over:
            return
        content = bytearray(whole[:length])
        for place, span, other in edits:
            at = place % (len(content) + 1)
            content[at : at + span] = other
        tally.call(bytes(content))

    # Its first run reads the sources of everything that is imported; that does not count.
    settings(max_examples=1, database=None, deadline=None)(given(st.integers())(lambda _: None))()
    tally.begun = time.monotonic()
    for number in range(10**9):
        if tally.over:
            return
        law = settings(
            max_examples=200,
            database=None,
            deadline=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )(given(edits, st.sampled_from(wholes), st.none() | st.integers(0, 4096))(tried))
        seeded(seed + number)(law)()


def _covered(tally: Tally, seed: int) -> None:
    import atheris
    from fuzz_targets import EVIL

    with tempfile.TemporaryDirectory() as corpus:
        for number, content in enumerate((*tally.target.seeds(), *EVIL.values())):
            (Path(corpus) / str(number)).write_bytes(content)
        options = [f"-max_total_time={round(tally.seconds) + 60}", f"-seed={seed + 1}", "-max_len=16384"]
        options += ["-timeout=60", f"-rss_limit_mb={ROOM // 2**20 + 2048}", "-print_final_stats=0", "-verbosity=0"]

        def tried(content: bytes) -> None:
            if tally.over:
                # Its own way out joins threads that this copy of the process does not have.
                tally.write()
                os._exit(0)
            tally.call(content)

        atheris.Setup([sys.argv[0], *options, corpus], tried)
        atheris.Fuzz()


def campaign(seconds: float, seed: int, engines: list[str], only: list[str]) -> dict[str, Any]:
    """Every reader with every engine; the counts by engine and reader."""
    rows: list[dict[str, Any]] = []
    for name in engines:
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder) / "rows.json"
            command = [sys.executable, __file__, "--one", name, "--out", str(out)]
            command += ["--seconds", str(seconds), "--seed", str(seed)]
            for reader in only:
                command += ["--reader", reader]
            KEPT.mkdir(parents=True, exist_ok=True)
            with (KEPT / f"{name}.log").open("wb") as log:
                subprocess.run(command, check=True, stderr=log, env=os.environ | {"OMP_NUM_THREADS": "1"})
            rows += json.loads(out.read_text(encoding="utf-8"))
    return {
        "rows": rows,
        "seed": seed,
        "room_mib": ROOM // 2**20,
        "slow_s": SLOW,
        "versions": {
            name: version(name) for name in LIBRARIES if importlib.util.find_spec(name.replace("pillow", "PIL"))
        },
        "python": platform.python_version(),
    }


def main() -> None:
    """Run the campaign, print it, and write its figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=2.0, help="for each reader and engine")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--engine", choices=ENGINES, action="append", help="several times for several; by default all")
    parser.add_argument("--reader", action="append", default=[], help="several times for several; by default all")
    parser.add_argument("--json", type=Path, help="where the figures are written")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        engine(given.one, given.reader, given.seconds, given.seed, given.out)
        return
    engines = given.engine or [name for name in ENGINES if importlib.util.find_spec(name) or name == "edits"]
    found = campaign(given.seconds, given.seed, engines, given.reader)
    if given.json and given.json.exists() and (given.reader or given.engine):
        # A part that was run again takes the place of its rows.
        new = {(row["engine"], row["reader"]): row for row in found["rows"]}
        old = json.loads(given.json.read_text(encoding="utf-8"))["rows"]
        found["rows"] = [new.pop((row["engine"], row["reader"]), row) for row in old] + list(new.values())
    if given.json:
        given.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    if any(row["findings"] for row in found["rows"]):
        sys.exit(1)


if __name__ == "__main__":
    main()
