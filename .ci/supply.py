"""What canonize is built from: `.venv/bin/python .ci/supply.py` checks licences and versions, and writes build/sbom.json.

Reads the lock files and the metadata of what is installed, and no network. Fails where a package of the lock files that this
machine needs is missing or has another version, and where its licence is on neither of the two lists below.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
from importlib.metadata import PackageMetadata, PackageNotFoundError, metadata
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).parent.parent
LOCKS = ("requirements.lock", "requirements-dev.lock")
PERMISSIVE = {
    "0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "BSL-1.0", "CC0-1.0", "CNRI-Python", "HPND", "ISC", "MIT", "MIT-CMU",
    "PSF-2.0", "Python-2.0", "Unlicense", "Zlib",
}  # fmt: skip
WORDS = {
    "apache": "Apache-2.0", "apache 2": "Apache-2.0", "apache 2.0": "Apache-2.0", "apache license": "Apache-2.0",
    "apache 2.0 license": "Apache-2.0", "apache software license": "Apache-2.0", "apache license 2.0": "Apache-2.0",
    "bsd": "BSD-3-Clause", "bsd license": "BSD-3-Clause", "3-clause bsd license": "BSD-3-Clause",
    "bsd 3-clause license": "BSD-3-Clause", "mit license": "MIT", "isc license": "ISC", "isc license (iscl)": "ISC",
    "psfl": "PSF-2.0", "python software foundation license": "PSF-2.0", "mozilla public license 2.0 (mpl 2.0)": "MPL-2.0",
    "the unlicense (unlicense)": "Unlicense",
}  # fmt: skip
"""How packages call them that name no expression."""
EXPRESSION = re.compile(r"[A-Za-z0-9.+-]+( (AND|OR|WITH) [A-Za-z0-9.+-]+)*")
EXCEPTIONS = {
    "ase": (
        "LGPL-2.1-or-later",
        "optional, of the tests and one extra; imported as it is, not changed and not shipped",
    ),
    "certifi": ("MPL-2.0", "a list of certificates; the MPL is about changes to its own files"),
    "fqdn": ("MPL-2.0", "of the tools of the SBOM only; not changed and not shipped"),
    "hypothesis": ("MPL-2.0", "of the tests only; not changed and not shipped"),
    "orjson": ("MPL-2.0 AND (Apache-2.0 OR MIT)", "optional, comes with the playground; not changed and not shipped"),
    "pathspec": ("MPL-2.0", "of the tools of the documentation only; not changed and not shipped"),
    "tqdm": ("MPL-2.0 AND MIT", "comes with optional libraries; not changed and not shipped"),
    "matplotlib": ("PSF-2.0", "its own text, which is that of Python with other names"),
    "cycler": ("BSD-3-Clause", "the text itself stands where its name should"),
    "kiwisolver": ("BSD-3-Clause", "the text itself stands where its name should"),
    "scipy": ("BSD-3-Clause", "the text itself stands where its name should; wheels hold libraries of the compiler"),
}
"""Packages with a licence that is not on the list, or that is not told in words, with the reason for which they may stay."""


def locked(text: str) -> dict[str, str]:
    """Name and version of each line of a lock file that this machine needs."""
    found = {}
    for line in text.splitlines():
        if line.strip() and not line.lstrip().startswith(("#", "-")):
            wanted = Requirement(line)
            if wanted.marker is None or wanted.marker.evaluate():
                (pin,) = wanted.specifier
                if pin.operator != "==":
                    raise SystemExit(f"supply: {line} is not pinned")
                found[re.sub(r"[-_.]+", "-", wanted.name).lower()] = pin.version
    return found


def licence(told: PackageMetadata) -> str | None:
    """The licence of a package as an SPDX expression; None where its metadata do not say."""
    words = [told.get("License-Expression"), told.get("License")]
    words += [one.split("::")[-1] for one in told.get_all("Classifier") or [] if one.startswith("License ::")]
    for word in words:
        plain = " ".join((word or "").split())
        known = WORDS.get(plain.lower(), plain)
        if known != "UNKNOWN" and EXPRESSION.fullmatch(re.sub("[()]", "", known)):
            return known
    return None


def allowed(expression: str) -> bool:
    """Whether an SPDX expression leaves a choice that is permissive."""
    inner = re.sub(r"\s+WITH\s+[\w.-]+", "", expression)
    while "(" in inner:
        inner, count = re.subn(r"\(([^()]*)\)", lambda part: "MIT" if allowed(part[1]) else "NONE", inner)
        if not count:
            return False
    return any(all(atom.strip() in PERMISSIVE for atom in part.split(" AND ")) for part in inner.split(" OR "))


def check(
    wanted: dict[str, str], exceptions: dict[str, tuple[str, str]] = EXCEPTIONS
) -> tuple[dict[str, str], list[str]]:
    """The licence of each package, and in words what is wrong."""
    found: dict[str, str] = {}
    wrong: list[str] = []
    for name, version in sorted(wanted.items()):
        try:
            told = metadata(name)
        except PackageNotFoundError:
            wrong.append(f"{name} {version} is locked and not installed")
            continue
        # The build of a package for one kind of processor has a suffix.
        if told["Version"].partition("+")[0] != version:
            wrong.append(f"{name} {told['Version']} is installed, {version} is locked")
        own = licence(told)
        if own is not None and allowed(own):
            found[name] = own
        elif name in exceptions and own in (None, exceptions[name][0]):
            found[name] = exceptions[name][0]
        else:
            wrong.append(f"{name} {version} has the licence {own or 'unknown'}, which is on no list")
    return found, wrong


def bill(lock: Path, licences: dict[str, str], out: Path) -> int:
    """Write the bill of materials of a lock file (CycloneDX), with licences; the number of its components."""
    command = [sys.executable, "-m", "cyclonedx_py", "requirements", str(lock), "--output-format", "JSON"]
    command += ["--output-reproducible", "--pyproject", str(ROOT / "pyproject.toml")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    told = json.loads(done.stdout)
    for part in told["components"]:
        own = licences.get(re.sub(r"[-_.]+", "-", part["name"]).lower())
        if own is not None:
            part["licenses"] = [{"expression": own}]
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(told, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return len(told["components"])


def main() -> None:
    """Check everything and write the bill; exits with 1 where something is wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sbom", type=Path, default=ROOT / "build" / "sbom.json", help="where the bill is written")
    given = parser.parse_args()
    everything = {}
    for name in LOCKS:
        everything |= locked((ROOT / name).read_text(encoding="utf-8"))
    licences, wrong = check(everything)
    unused = [name for name in EXCEPTIONS if name not in everything]
    wrong += [f"{name} is an exception and in no lock file" for name in unused]
    for line in wrong:
        print(f"supply: {line}", file=sys.stderr)
    parts = bill(ROOT / LOCKS[0], licences, given.sbom)
    kept = sum(name in EXCEPTIONS for name in licences)
    print(f"supply: {len(licences)} packages with known licences, {kept} of them exceptions; {parts} in {given.sbom}")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
