"""What is asked of data before a training begins, so that it is told once and by the names that the user knows."""

from __future__ import annotations

from canonize._tree import tensors
from canonize.cli.data import Data
from canonize.errors import refuse

SHOWN = 8
"""Samples that are named."""


def check_finite(data: Data, where: str) -> None:
    """Refuse samples with NaN or infinity, by the names of their files or the numbers of their rows.

    Args:
        data: with one sample at each place of the first axis.
        where: the file of rows.

    Raises:
        SymmetryError: some are not finite.
    """
    floats = [x for x in tensors(data.inputs) if x.is_floating_point()]
    wrong = sorted({row for x in floats for row in (~x.isfinite()).flatten(1).any(1).nonzero()[:, 0].tolist()})
    if not wrong:
        return
    names = [data.names[row] if data.names else row for row in wrong[:SHOWN]]
    listed = ", ".join(name if isinstance(name, str) else f"row {name} of {where}" for name in names)
    more = f" and {len(wrong) - SHOWN:,} more" if len(wrong) > SHOWN else ""
    raise refuse(
        "samples hold NaN or infinity",
        got=f"{len(wrong):,} of {max(map(len, floats)):,}: {listed}{more}",
        expected="finite numbers",
        fix="drop or repair them; look at --std where the data themselves are finite",
    )
