"""The claim of a model."""

from __future__ import annotations

from typing import Any

import torch

from canonize._tree import describe, map_tensors, to_arrays, to_tensors
from canonize.actions import lossless_tree, move
from canonize.actions.rows import layout
from canonize.actions.trees import batch_of
from canonize.errors import refuse
from canonize.groups import order
from canonize.groups.base import leading
from canonize.symmetry import Symmetry, arguments, call, check_is_claim, check_is_model, group_for
from canonize.testing.compare import Checked, Ledger, check_settings, errors, lowest

_LISTED = 1024


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
        LawError: it names the output, the error, the sample and the tolerance.
        SymmetryError: nothing can be checked: no declared output, or resampled elements only.
    """
    check_is_model(model, "assert_equivariant")
    check_is_claim(symmetry, "assert_equivariant")
    check_settings("assert_equivariant", count, tolerance)
    laws, generator = Ledger(symmetry), generator or torch.Generator().manual_seed(0)
    value, arrays = to_tensors(arguments(symmetry, inputs))
    batch, dtype, device = batch_of(symmetry.inputs, value)
    index = layout(symmetry.inputs, value)

    def run(x: Any) -> Any:
        return to_tensors(call(model, symmetry, to_arrays(x) if arrays else x))[0]

    with torch.no_grad():
        base = run(map_tensors(torch.clone, value))
        bound = max(lowest(value), lowest(base)) if tolerance is None else tolerance
        group = group_for(symmetry, value)
        size, lost = order(group), 0
        listed = size is not None and size <= _LISTED
        elements = group.elements(dtype=dtype, device=device) if listed else None
        for number in range(leading(elements) if listed else count):
            if listed:
                h = map_tensors(lambda t, i=number: t[i].expand(batch, *t.shape[1:]), elements)  # type: ignore[misc]
            else:
                h = group.sample((batch,), generator=generator, dtype=dtype, device=device)
            use = lossless_tree(symmetry.inputs, h, value).expand(batch) | (tolerance is not None)
            lost += int((~use).sum())
            if batch and not bool(use.any()):
                continue
            output, wanted = run(move(symmetry.inputs, h, value)), move(symmetry.outputs, h, base, index=index)
            for path, off in errors(symmetry.outputs, output, wanted, index, batch).items():
                law = f"f(h x) = h f(x){path and ' at output ' + path}"
                laws.hold(law, torch.where(use, off, 0.0), bound, of=f"h number {number}, sample")
    if not laws.laws:
        raise refuse(
            "assert_equivariant found nothing that it can check",
            got=f"output {describe(base)}, {lost} resampled draws",
            expected="a declared output, and lossless elements or a tolerance",
            fix="tolerance=0.05 also checks elements that interpolate; or take a lossless group such as C(4)",
        )
    if lost:
        laws.skip(
            "f(h x) = h f(x) at resampled elements", f"{lost} draws interpolate, and no tolerance was given for them"
        )
    return laws.done()
