"""What would make an audit meaningless is found before it starts."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from canonize._tree import describe, leaves, tensors
from canonize.errors import SymmetryError, refuse


def check_model(model: Any, value: Any) -> None:
    """Refuse a model that cannot be audited as it stands.

    Raises:
        SymmetryError: not callable; dropout or batch normalisation in train mode; parameters on another device.
    """
    if not callable(model) or isinstance(model, type):
        raise refuse(
            "audit needs a model first",
            got=f"the class {model.__name__}" if isinstance(model, type) else describe(model),
            expected="a module or another callable",
            fix="audit(model, Symmetry(...), inputs), with an instance of the model",
        )
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


def check_inputs(value: Any, count: int) -> None:
    """Refuse inputs of which nothing can be learned.

    Raises:
        SymmetryError: no samples, or entries that are not finite; it names the first few.
    """
    if count == 0:
        raise refuse("nothing to audit", got="0 samples", expected="at least one, better 100", fix="pass real inputs")
    for path, part in leaves(value):
        if not isinstance(part, torch.Tensor) or not part.is_floating_point() or bool(part.isfinite().all()):
            continue
        where = (~part.isfinite()).flatten(1).any(1).nonzero()[:, 0].tolist() if part.ndim > 1 else []
        raise refuse(
            f"the inputs{path and ' at ' + path} hold NaN or infinity",
            got=f"in sample {', '.join(map(str, where[:8]))} of {len(part)}" if where else describe(part),
            expected="finite numbers",
            fix="drop or repair these samples: the audit would only measure them",
        )


def explain(error: Exception, value: Any, where: str) -> SymmetryError:
    """The model's own failure as a `SymmetryError` that shows what it was given."""
    given = "; ".join(describe(part) for part in tensors(value)) or describe(value)
    return refuse(
        f"the model failed on {where}",
        got=f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''} (inputs: {given})",
        expected="an answer",
        fix="call the model on these inputs yourself; check dtype, shape, and that the inputs are declared as it takes them",
    )
