"""Energies that come from the model itself: no training, |G| more model calls."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor, nn

from canonize._tree import describe, map_tensors, tensors, to_arrays, to_tensors
from canonize.errors import SymmetryError, refuse


@final
@dataclass(frozen=True)
class Confidence:
    """Minus the largest class probability: the pose in which the model is surest of its answer.

    The model is only called; it does not become part of the frame, so its weights are not stored twice.

    Args:
        model: returns logits (batch, classes), or a pair or object whose first part is.
        arrays: the model takes NumPy arrays, and may return them.

    Raises:
        SymmetryError: a model that cannot be called; on use, logits of another shape, and a function that fails on
            tensors.
    """

    model: Any
    arrays: bool = False

    def __post_init__(self) -> None:
        _callable(self)

    def __call__(self, *args: Any, **kwargs: Any) -> Tensor:
        """(batch,), from -1 to 0, dimensionless."""
        _still(self)
        return -_logits(_output(self, args, kwargs), self).softmax(-1).amax(-1)


@final
@dataclass(frozen=True)
class LogSumExp:
    """Minus the logarithm of the summed exponentials of the logits: the free energy of the classifier.

    Args and raises: as for `Confidence`.

    Source: Grathwohl et al., arXiv 1912.03263.
    """

    model: Any
    arrays: bool = False

    def __post_init__(self) -> None:
        _callable(self)

    def __call__(self, *args: Any, **kwargs: Any) -> Tensor:
        """(batch,), any real number, in the unit of the logits."""
        _still(self)
        return -torch.logsumexp(_logits(_output(self, args, kwargs), self), -1)


def _callable(energy: Any) -> None:
    if not callable(energy.model) or isinstance(energy.model, type):
        name = type(energy).__name__
        raise refuse(
            f"{name} needs a model",
            got=describe(energy.model),
            expected="a callable that returns logits",
            fix=f"Best({name}(model))",
        )


def _still(energy: Any) -> None:
    """Refuse to score with a model whose running statistics would take the turned candidates in."""
    if not isinstance(energy.model, nn.Module) or not energy.model.training:
        return
    for name, module in energy.model.named_modules():
        if module.training and isinstance(module, nn.modules.batchnorm._BatchNorm) and module.track_running_stats:
            raise refuse(
                f"{type(energy).__name__}: scoring would change the running statistics of the model",
                got=f"{type(module).__name__} {name!r} in train mode",
                expected="batch normalisation in eval mode, or a model of its own for the energy",
                fix=f"model.eval(); or Best({type(energy).__name__}(copy.deepcopy(model).eval())) while the model trains",
            )


def _output(energy: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """What the model returns, on the device of its inputs; what is no module may not know tensors, and the refusal tells."""
    if energy.arrays:
        found, _ = to_tensors(energy.model(*to_arrays(args), **to_arrays(kwargs)))
        device = next((part.device for part in tensors((args, kwargs))), torch.device("cpu"))
        return map_tensors(lambda part: part.to(device), found)
    if isinstance(energy.model, nn.Module) or torch.compiler.is_compiling():
        return energy.model(*args, **kwargs)
    try:
        return energy.model(*args, **kwargs)
    except SymmetryError:
        raise
    except (TypeError, AttributeError, ValueError) as error:
        name = type(energy).__name__
        raise refuse(
            f"{name}: the model fails on tensors",
            got=f"{type(error).__name__}: {error}",
            expected="a model of tensors: energies are called with these also where symmetrize is called with arrays",
            fix=f"{name}(model, arrays=True) for a model that takes NumPy arrays",
        ) from error


def _logits(output: Any, energy: Any) -> Tensor:
    output, _ = to_tensors(output)
    logits = getattr(output, "logits", output[0] if isinstance(output, tuple) else output)
    if not isinstance(logits, Tensor) or logits.ndim != 2 or not logits.is_floating_point():
        raise refuse(
            f"{type(energy).__name__} needs a classifier",
            got=describe(logits),
            expected="logits (batch, classes), floating point",
            fix="write the energy as a function of your model's output: Best(lambda x: ...)",
        )
    return logits
