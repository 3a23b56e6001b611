"""What would make an audit meaningless is found before it starts."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from canonize._tree import describe, leaves, tensors, walk
from canonize.actions import Each, Numbering
from canonize.actions.rows import Layout
from canonize.actions.sparse import numbers
from canonize.actions.trees import batch_first
from canonize.errors import refuse, within
from canonize.symmetry import check_is_model


def check_model(model: Any, value: Any) -> None:
    """Refuse a model that cannot be audited as it stands.

    Raises:
        SymmetryError: not callable; dropout or batch normalisation in train mode; parameters on another device.
    """
    check_is_model(model, "audit")
    if not isinstance(model, nn.Module):
        return
    random = (nn.modules.dropout._DropoutNd, nn.modules.batchnorm._BatchNorm)
    for name, module in model.named_modules():
        if module.training and isinstance(module, random):
            raise refuse(
                "the model is in train mode, where its answers depend on chance or on the rest of the batch",
                got=f"{type(module).__name__} {name!r} with training=True",
                expected="a model in eval mode",
                fix="model.eval() before audit(...)",
            )
    homes = {parameter.device for parameter in model.parameters()}
    places = {part.device for part in tensors(value)}
    if len(homes) == 1 and places and homes != places:
        raise refuse(
            "the model and the inputs are on different devices",
            got=f"model on {next(iter(homes))}, inputs on {', '.join(sorted(map(str, places)))}",
            expected="one device",
            fix=f"move the inputs: inputs.to({str(next(iter(homes)))!r})",
        )


def check_inputs(spec: Any, value: Any, count: int) -> None:
    """Refuse inputs of which nothing can be learned.

    Raises:
        SymmetryError: no samples, declared inputs without entries, or entries that are not finite; it names the first few.
    """
    if count == 0:
        raise refuse("nothing to audit", got="0 samples", expected="at least one, better 100", fix="pass real inputs")

    def leaf(action: Any, part: Any, *, path: str) -> Any:
        if action is not None and not isinstance(action, Numbering) and isinstance(part, Tensor):
            _check_entries(f"the inputs{path and ' at ' + path}", part, "pass inputs that hold something")
        return part

    walk(leaf, spec, value)
    for path, part in leaves(value):
        if not isinstance(part, Tensor) or not part.is_floating_point() or bool(numbers(part).isfinite().all()):
            continue
        where = (~part.isfinite()).flatten(1).any(1).nonzero()[:, 0].tolist() if _in_samples(part) else []
        raise refuse(
            f"the inputs{path and ' at ' + path} hold NaN or infinity",
            got=f"in sample {', '.join(map(str, where[:8]))} of {len(part)}" if where else describe(part),
            expected="finite numbers",
            fix="drop or repair these samples: the audit would only measure them",
        )


def check_outputs(spec: Any, output: Any, index: Layout | None, count: int, *, entries: bool = True) -> None:
    """Refuse outputs that cannot be told apart by sample.

    Args:
        spec: tree of actions of the outputs.
        output: what the model returned.
        index: which sample each row of the inputs belongs to; None where they have no rows.
        count: samples.
        entries: whether each output must have any.

    Raises:
        SymmetryError: a declared output that is no tensor, has not the batch (or the rows) first, has too few axes for its
            action, or has no entries.
    """

    def leaf(action: Any, part: Any, *, path: str) -> Any:
        if action is None or isinstance(action, Numbering):
            return part
        part = batch_first(action, part, path, index, count)
        if isinstance(action, Each) or not entries:
            # There may well be nothing in an image; that its answers are compared at all shows in their shapes.
            return part
        name = f"an output{path and ' at ' + path}"
        _check_entries(name, part, "let the model answer with something; declare None for what is to be left alone")
        return part

    with within("the model's output, declared as outputs={!r}", spec):
        walk(leaf, spec, output)


def _check_entries(name: str, part: Tensor, fix: str) -> None:
    # A batch may well be without rows, as a graph without edges is; a sample or a row without entries says nothing.
    if part.ndim > 0 and part.shape[1:].numel() == 0:
        raise refuse(f"{name}: there are no entries to compare", got=describe(part), expected="at least one", fix=fix)


def _in_samples(part: Tensor) -> bool:
    return part.ndim > 1 and part.layout == torch.strided
