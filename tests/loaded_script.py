"""Scripts of the repository as modules: those of CI, of the documentation and of the benchmarks, which are no package."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).parent.parent


def loaded(script: Path) -> ModuleType:
    """A script, run once under a name of its own, under which pickle and dataclasses find it."""
    name = f"{script.parent.name.strip('.')}_{script.stem}_script"
    spec = importlib.util.spec_from_file_location(name, script)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module
