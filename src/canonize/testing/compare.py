"""What a check found, and how far two values are apart."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor

from canonize._tree import tensors, walk
from canonize.actions import Each, Numbering
from canonize.actions.rows import Layout
from canonize.actions.trees import at
from canonize.audit.labels import in_words
from canonize.audit.measure import SMALL, apart_in_lists, relative, relative_error, typical
from canonize.errors import LawError, refuse
from canonize.groups.base import leading


@final
@dataclass(frozen=True)
class Checked:
    """What a check found: `print` it.

    Attributes:
        laws: the laws that held.
        skipped: pairs (law, why it was not checked).
        violation: the largest by which any of the laws was off, within its tolerance; 0.0 where nothing was measured.
    """

    laws: tuple[str, ...]
    skipped: tuple[tuple[str, str], ...] = ()
    violation: float = 0.0

    def __str__(self) -> str:
        return "\n".join(
            [f"held:    {law}" for law in self.laws] + [f"skipped: {law}: {why}" for law, why in self.skipped]
        )


def check_settings(where: str, count: int, tolerance: float | None) -> None:
    """Refuse a count below 1 and a tolerance that is no number from 0.

    Raises:
        SymmetryError: either of them.
    """
    if not isinstance(count, int) or count < 1:
        raise refuse(f"{where}: bad count", got=repr(count), expected="a whole number, at least 1", fix="leave it out")
    if tolerance is not None and not (isinstance(tolerance, int | float) and tolerance >= 0):
        raise refuse(
            f"{where}: bad tolerance", got=repr(tolerance), expected="a number from 0, or None", fix="leave it out"
        )


class Ledger:
    """Collects the laws of one check; raises at the first that is broken."""

    def __init__(self, subject: Any) -> None:
        self.subject = subject
        self.laws: dict[str, None] = {}
        self.skipped: dict[str, str] = {}
        self.violation = 0.0

    def hold(
        self,
        law: str,
        violation: Tensor | bool,
        tolerance: float = 0.0,
        *,
        of: str = "element",
        where: Callable[[int], str] | None = None,
    ) -> None:
        """Take in how far `law` is off, one number for each element or sample; True stands for a broken law.

        `where` says in words at which group elements it was looked at, given the number of the element or sample.
        """
        __tracebackhide__ = True
        off = torch.as_tensor(violation).double().flatten()
        bad = ~(off <= tolerance)
        if bool(bad.any()):
            worst = int(off.nan_to_num(nan=torch.inf).argmax())
            elements = "" if where is None else f" with {where(worst)}"
            broken = LawError(
                f"{self.subject!r} breaks the law: {law}\n"
                f"  got:      a violation of {float(off[worst]):.3g} at {of} {worst}{elements}, "
                f"{int(bad.sum())} of {len(off)} broken\n"
                f"  expected: at most {tolerance:.3g}\n"
                f"  try:      evaluate the law by hand at {of} {worst} of the same generator"
            )
            broken.violation = float(off.nan_to_num(nan=torch.inf, posinf=torch.inf).max())
            raise broken
        self.violation = max([self.violation, *off.tolist()])
        self.laws[law] = None

    def skip(self, law: str, why: str) -> None:
        """Note why a law was not checked."""
        self.skipped[law] = why

    def done(self) -> Checked:
        """The result; a law that held in part is listed on both sides."""
        return Checked(tuple(self.laws), tuple(self.skipped.items()), self.violation)


def spoken(**elements: Any) -> Callable[[int], str]:
    """`sample -> words` for elements with one entry for each sample, by the letters of the law: "g = turn by 90°"."""
    return lambda sample: ", ".join(f"{name} = {in_words(at(g, sample), sample)}" for name, g in elements.items())


def apart(a: Any, b: Any) -> Tensor:
    """The largest difference of entries between elements, (count,), over the larger of 1 and their largest entry."""
    x, y = features(a), features(b)
    if x.shape != y.shape:
        return torch.tensor([torch.inf])
    size = torch.cat([x.abs(), y.abs(), torch.ones_like(x[:, :1]) if x.shape[1] else x.new_ones(len(x), 1)], 1).amax(1)
    return torch.cat([(x - y).abs(), x.new_zeros(len(x), 1)], 1).amax(1) / size


def errors(spec: Any, a: Any, b: Any, index: Layout | Tensor | None, batch: int) -> dict[str, Tensor]:
    """The relative error of each leaf and sample, by path, (batch,) float64; infinite for NaN and for other shapes.

    For whole numbers and booleans: 0 where all entries agree, 1 plus the share that differs elsewhere.
    """
    found: dict[str, Tensor] = {}

    def leaf(action: Any, one: Any, two: Any, *, path: str) -> Any:
        if isinstance(action, Each):
            for inner, far in apart_in_lists(action, one, two, path).items():
                error = relative(far.off, far.size, SMALL * typical(far.size))
                found[inner] = torch.where(error > 0, error + 1, 0.0) if far.whole else error
            return one
        if action is None or isinstance(action, Numbering) or not isinstance(one, Tensor):
            return one
        if not isinstance(two, Tensor) or one.shape != two.shape:
            found[path] = torch.full((batch,), torch.inf, dtype=torch.float64)
            return one
        error = relative_error(one, two, action, index, batch)
        # A share of labels that differ is no rounding, however small it is.
        found[path] = error if one.is_floating_point() or one.is_complex() else torch.where(error > 0, error + 1, 0.0)
        return one

    walk(leaf, spec, a, b)
    return found


def same(a: Any, b: Any) -> bool:
    """Bit for bit, except that 0.0 equals -0.0; NaN equals NaN."""
    pairs = list(zip(tensors(a), tensors(b), strict=True))
    return all(kind(x) == kind(y) and bool(((x == y) | ((x != x) & (y != y))).all()) for x, y in pairs)


def kind(t: Tensor) -> tuple[torch.Size, torch.dtype]:
    """Shape and dtype."""
    return t.shape, t.dtype


def rounding(dtype: torch.dtype) -> float:
    """The default tolerance: above the rounding of long sums, far below any broken law; eps^(2/3)."""
    return float(torch.finfo(dtype).eps ** (2 / 3))


def lowest(value: Any) -> float:
    """eps^(2/3) of the lowest floating dtype of a value; of float64 where there is none."""
    kinds = [t.dtype for t in tensors(value) if t.is_floating_point() or t.is_complex()]
    return max((rounding(kind) for kind in kinds), default=rounding(torch.float64))


def features(g: Any, *, one_hot: bool = False) -> Tensor:
    """The entries of (count, *element) as (count, features) float64; permutations as matrices where `one_hot`."""
    columns = [torch.zeros(leading(g), 0, dtype=torch.float64)]
    for part in tensors(g):
        whole = one_hot and not part.is_floating_point() and part.shape[-1] > 0
        columns.append(flat(torch.nn.functional.one_hot(part, part.shape[-1]) if whole else part))
    return torch.cat(columns, 1)


def flat(t: Tensor) -> Tensor:
    """(count, features), float64."""
    t = torch.view_as_real(t) if t.is_complex() else t
    return t.detach().double().reshape(t.shape[0], t.shape[1:].numel())


def gaussian(draw: torch.Generator, rows: int, columns: int, dtype: torch.dtype = torch.float64) -> Tensor:
    """(rows, columns), standard normal, the same for the same state of `draw` whatever the dtype."""
    return torch.randn(rows, columns, generator=draw, dtype=torch.float64).to(dtype)
