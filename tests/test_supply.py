"""What is locked is pinned and has a known licence, and the check of that fails where it should."""

from __future__ import annotations

import email
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from loaded_script import ROOT, loaded

pytest.importorskip("packaging", reason="packaging reads the lock files")
SCRIPT = ROOT / ".ci" / "supply.py"
if not SCRIPT.exists():
    pytest.skip("the scripts of CI are not part of this copy", allow_module_level=True)


supply: Any = loaded(SCRIPT)


def told(**fields: str) -> Any:
    lines = [f"{name.replace('_', '-')}: {value}" for name, value in fields.items()]
    return email.message_from_string("\n".join(lines))


@pytest.mark.parametrize(
    ("fields", "expected", "good"),
    [
        ({"License_Expression": "MIT"}, "MIT", True),
        ({"License_Expression": "MIT OR GPL-3.0-only"}, "MIT OR GPL-3.0-only", True),
        ({"License_Expression": "MIT AND GPL-3.0-only"}, "MIT AND GPL-3.0-only", False),
        ({"License_Expression": "Apache-2.0 WITH LLVM-exception"}, "Apache-2.0 WITH LLVM-exception", True),
        ({"License_Expression": "MPL-2.0 AND (Apache-2.0 OR MIT)"}, "MPL-2.0 AND (Apache-2.0 OR MIT)", False),
        (
            {"License_Expression": "BSD-3-Clause AND (GPL-2.0-only OR MIT)"},
            "BSD-3-Clause AND (GPL-2.0-only OR MIT)",
            True,
        ),
        ({"License": "Apache 2.0"}, "Apache-2.0", True),
        ({"License": "UNKNOWN", "Classifier": "License :: OSI Approved :: BSD License"}, "BSD-3-Clause", True),
        ({"License": "GNU General Public License v3"}, None, False),
        ({"License": "All rights are ours"}, None, False),
        ({"Name": "x"}, None, False),
    ],
)
def test_licences_are_read_and_judged(fields: dict[str, str], expected: str | None, good: bool) -> None:
    own = supply.licence(told(**fields))
    assert own == expected
    assert (own is not None and supply.allowed(own)) is good


def test_lines_of_other_platforms_are_left_out() -> None:
    text = "# x\nnumpy==1.0 ; python_full_version < '3.0'\nNumPy==2.0\na_b.c==3 ; sys_platform == 'nowhere'\n"
    assert supply.locked(text) == {"numpy": "2.0"}
    with pytest.raises(SystemExit, match="numpy>=2 is not pinned"):
        supply.locked("numpy>=2\n")


@pytest.mark.parametrize("name", ["requirements.lock", "requirements-dev.lock"])
def test_every_line_of_a_lock_file_is_pinned(name: str) -> None:
    assert len(supply.locked((ROOT / name).read_text(encoding="utf-8"))) > 20


def test_the_check_sees_planted_faults(monkeypatch: pytest.MonkeyPatch) -> None:
    known = {
        "good": told(Name="good", Version="1.0+cpu", License="MIT"),
        "viral": told(Name="viral", Version="1.0", License_Expression="AGPL-3.0-only"),
        "changed": told(Name="changed", Version="1.0", License_Expression="GPL-3.0-only"),
        "silent": told(Name="silent", Version="1.0"),
        "older": told(Name="older", Version="0.9", License="MIT"),
    }

    def metadata(name: str) -> Any:
        if name not in known:
            raise supply.PackageNotFoundError(name)
        return known[name]

    monkeypatch.setattr(supply, "metadata", metadata)
    exceptions = {"changed": ("MPL-2.0", "it was another"), "silent": ("MIT", "it stands in its file")}
    found, wrong = supply.check(dict.fromkeys((*known, "missing"), "1.0"), exceptions)
    assert found == {"good": "MIT", "older": "MIT", "silent": "MIT"}
    assert [line.split()[0] for line in wrong] == ["changed", "missing", "older", "viral"]


def test_each_exception_has_a_reason_and_is_needed() -> None:
    for name, (own, reason) in supply.EXCEPTIONS.items():
        assert len(reason) > 20, name
        assert supply.licence(told(License_Expression=own)) == own, name


def test_the_whole_check_passes_and_writes_the_bill(tmp_path: Path) -> None:
    pytest.importorskip("cyclonedx_py", reason="cyclonedx-bom makes the bill of materials")
    out = tmp_path / "sbom.json"
    env = os.environ | {"PIP_NO_INDEX": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--sbom", str(out)], capture_output=True, text=True, check=False, env=env
    )
    assert done.returncode == 0, done.stderr
    bill = json.loads(out.read_text(encoding="utf-8"))
    assert bill["bomFormat"] == "CycloneDX"
    parts = {part["name"]: part for part in bill["components"]}
    assert parts["torch"]["licenses"]
    assert set(supply.locked((ROOT / "requirements.lock").read_text(encoding="utf-8"))) <= set(parts)
