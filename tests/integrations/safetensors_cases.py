"""Frames that are saved and read back."""

from __future__ import annotations

import pytest
from torch import nn

pytest.importorskip("safetensors")


from canonize import (
    C,
    Image,
    Scalar,
    Symmetry,
)

CLAIM = Symmetry(C(4), Image(), Scalar())
MODEL = nn.Sequential(nn.Flatten(), nn.Linear(2 * 12 * 12, 3))
