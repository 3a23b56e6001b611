"""The claim of a model."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor

from canonize._tree import describe, map_tensors, tensors, to_arrays, to_tensors
from canonize.actions import lossless_tree, move
from canonize.actions.rows import layout
from canonize.actions.single import sure_of_batches, warn_of_single
from canonize.actions.trees import at, batch_of
from canonize.audit.conclude import name_of
from canonize.audit.labels import in_words
from canonize.audit.preflight import check_outputs
from canonize.errors import LawError, refuse, within
from canonize.groups import order
from canonize.groups.base import leading
from canonize.symmetrize import Symmetrized
from canonize.symmetry import Symmetry, arguments, call, check_is_claim, check_is_model, group_for
from canonize.testing.compare import Checked, Ledger, check_settings, errors, lowest

_LISTED = 1024
_LAW = "f(h x) = h f(x){}"


def assert_equivariant(
    model: Any,
    symmetry: Symmetry,
    inputs: Any,
    *,
    tolerance: float | None = None,
    count: int = 32,
    generator: torch.Generator | None = None,
) -> Checked:
    """The claim f(h x) = h f(x), on all elements of a finite group (up to 1,024), or on `count` drawn ones for each sample.

    The error of a sample is the norm of the difference over the larger norm (at least 1 % of the batch's), in float64; for
    whole numbers and booleans it is 1 plus the share that differs, so that labels must agree exactly.

    Args:
        model: a module or another callable; also one that takes and returns NumPy arrays.
        symmetry: the claim.
        inputs: what the model takes, batch first: a tensor, a tuple of arguments, a dict for `Keywords`.
        tolerance: largest relative error; eps^(2/3) of the lowest dtype where None. Elements that resample the input
            are checked only where it is given, because interpolation alone is far above rounding.
        count: elements for each sample of an infinite or larger group.
        generator: source of randomness; seed 0 where None.

    Raises:
        LawError: it names the model, the output, the largest error beside the tolerance, the element in words and the sample
            at which it was found, and what may help.
        SymmetryError: nothing can be checked: no declared output, or resampled elements only.
    """
    __tracebackhide__ = True
    check_is_model(model, "assert_equivariant")
    check_is_claim(symmetry, "assert_equivariant")
    check_settings("assert_equivariant", count, tolerance)
    laws, generator = Ledger(symmetry), generator or torch.Generator().manual_seed(0)
    value, arrays = to_tensors(arguments(symmetry, inputs))
    batch, dtype, device = batch_of(symmetry.inputs, value)
    if not batch:
        raise refuse(
            "assert_equivariant has nothing to compare",
            got="a batch of no samples",
            expected="one sample or more: of none every claim holds",
            fix="pass inputs that the model is made for; a few are enough",
        )
    warn_of_single(symmetry.group, symmetry.inputs, value)
    index = layout(symmetry.inputs, value)

    def run(x: Any) -> Any:
        return to_tensors(call(model, symmetry, to_arrays(x) if arrays else x))[0]

    with torch.no_grad(), sure_of_batches():
        base = run(map_tensors(torch.clone, value))
        check_outputs(symmetry.outputs, base, index, batch, entries=False)
        bound = max(lowest(value), lowest(base)) if tolerance is None else tolerance
        group = group_for(symmetry, value)
        size, lost, tallies = order(group), 0, dict[str, _Tally]()
        listed = size is not None and size <= _LISTED
        elements = group.elements(dtype=dtype, device=device) if listed else None
        for number in range(leading(elements) if listed else count):
            if listed:
                h = map_tensors(lambda t, i=number: t[i].expand(batch, *t.shape[1:]), elements)  # type: ignore[misc]
            else:
                h = group.sample((batch,), generator=generator, dtype=dtype, device=device)
            free = lossless_tree(symmetry.inputs, h, value).expand(batch)
            use = free | (tolerance is not None)
            lost += int((~use).sum())
            if batch and not bool(use.any()):
                continue
            output = run(move(symmetry.inputs, h, value))
            with within("the model's output, declared as outputs={!r}", symmetry.outputs):
                wanted = move(symmetry.outputs, h, base, index=index)
            for path, off in errors(symmetry.outputs, output, wanted, index, batch).items():
                tallies.setdefault(path, _Tally()).add(off, use, bound, h, number, free)
        path = max(tallies, key=lambda path: tallies[path].error, default="")
        if any(tally.above for tally in tallies.values()):
            again = errors(symmetry.outputs, run(map_tensors(torch.clone, value)), base, index, batch)
            noise = max(float(off.max()) for off in again.values())
            way = _way_out(model, symmetry, tallies[path], bound, noise, free=tolerance is not None)
            raise _broken(model, symmetry, path, tallies[path], bound, way, base)
    for path, tally in tallies.items():
        laws.hold(_LAW.format(_at(path)), torch.tensor(tally.error), bound)
    if not laws.laws:
        raise refuse(
            "assert_equivariant found nothing that it can check",
            got=f"output {describe(base)}, {lost} resampled draws",
            expected="a declared output, and lossless elements or a tolerance",
            fix="tolerance=0.05 also checks elements that interpolate; or take a lossless group such as C(4)",
        )
    if lost:
        laws.skip(
            _LAW.format(" at resampled elements"), f"{lost} draws interpolate, and no tolerance was given for them"
        )
    return laws.done()


@final
@dataclass
class _Tally:
    """What was found at one output: the pair of an element and a sample that is farthest off, and how many are too far."""

    error: float = 0.0
    element: str = ""
    sample: int = 0
    resampled: bool = False
    above: int = 0
    pairs: int = 0

    def add(self, off: Tensor, use: Tensor, bound: float, h: Any, number: int, free: Tensor) -> None:
        """Take in the errors of one element for each sample, (batch,), where `use`."""
        # Not-a-number is farther off than anything else.
        off = torch.where(use, off, 0.0).nan_to_num(nan=torch.inf, posinf=torch.inf)
        self.pairs += int(use.sum())
        self.above += int((off > bound).sum())
        if len(off) and float(off.max()) > max(self.error, bound):
            self.sample = int(off.argmax())
            self.element = in_words(at(h, self.sample), number)
            self.resampled = not bool(free[self.sample])
        self.error = max([self.error, *off.tolist()])


def _at(path: str) -> str:
    return f" at output {path}" if path else ""


def _broken(model: Any, symmetry: Symmetry, path: str, tally: _Tally, bound: float, way: str, answer: Any) -> LawError:
    """What to raise for a model that breaks its claim."""
    numbers = any(part.is_floating_point() or part.is_complex() for part in tensors(answer))
    off = f"a relative difference of {tally.error:.3g}" if numbers else f"labels of which {tally.error - 1:.0%} differ"
    if math.isinf(tally.error):
        off = "an answer that is NaN, infinite or of another shape"
    broken = LawError(
        f"{name_of(model)} breaks its claim {_LAW.format(_at(path))}: {symmetry!r}\n"
        f"  got:      {off} at the {tally.element} in sample {tally.sample}; "
        f"{tally.above} of {tally.pairs} (element, sample) pairs are above the tolerance\n"
        f"  expected: at most {bound:.3g}\n"
        f"  try:      {way}"
    )
    broken.violation = tally.error
    return broken


def _way_out(model: Any, symmetry: Symmetry, tally: _Tally, bound: float, noise: float, *, free: bool) -> str:
    """What may help, by what seems to be the cause; `free` where the tolerance is the caller's own."""
    if math.isinf(tally.error):
        return f"look at the model's answer to sample {tally.sample}, as it is and moved by the {tally.element}"
    if not noise <= bound:
        return f"model.eval(): two calls on the same input already differ by {noise:.2g}"
    if tally.resampled:
        return (
            "audit(model, symmetry, inputs) shows it beside what resampling alone costs; symmetrize(model, symmetry, frame) "
            "makes it hold up to that"
        )
    if isinstance(model, Symmetrized) and model.symmetry != symmetry:
        return f"it was symmetrized for {model.symmetry!r}: test that claim, or symmetrize for this one"
    if isinstance(model, Symmetrized):
        return "canonize.testing.check_frame(frame, symmetry, inputs) and check_action name the law that a part breaks"
    close = (
        f"tolerance={2 * tally.error:.1g} if this is rounding; else " if tally.error < 100 * bound and not free else ""
    )
    return (
        f"{close}symmetrize(model, symmetry, frame) makes it hold; or claim what the model keeps: another action for its "
        "outputs, or a smaller group (audit(model, symmetry, inputs) shows each element)"
    )
