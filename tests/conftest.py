"""Shapes in annotations are enforced, one thread is used, and no test depends on another's random draws."""

from pathlib import Path

import pytest
import torch
from jaxtyping import config, install_import_hook

SOURCE = Path(__file__).parent.parent / "src"
# Only the modules that annotate shapes: the check wraps every function of a module and makes it several times slower.
SHAPED = [
    ".".join(path.relative_to(SOURCE).with_suffix("").parts)
    for path in sorted(SOURCE.rglob("*.py"))
    if "from jaxtyping import" in path.read_text(encoding="utf-8")
]
assert SHAPED
HOOK = install_import_hook(SHAPED, "typechecked.check")

torch.set_num_threads(1)
# Also what a test module draws as it is imported is the same each time.
torch.manual_seed(0)


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


@pytest.fixture
def unchecked():
    """What users have: annotations are inert, so that a wrong value reaches our own messages."""
    config.update("jaxtyping_disable", True)
    yield
    config.update("jaxtyping_disable", False)
