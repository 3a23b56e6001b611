"""`symmetrize`: any model with the symmetry of its problem."""

from __future__ import annotations

from typing import Any, final

import torch
from torch import Tensor, nn

from canonize._tree import describe, map_tensors, own_unnamed, tensors, to_arrays, to_tensors, unnamed, walk
from canonize.actions import Index, Rows
from canonize.actions.trees import at, batch_first, batch_of, move, repeat, row_index
from canonize.errors import SymmetryError, refuse, within
from canonize.frames import Poses, default_frame
from canonize.frames.base import draws, flat, is_labels
from canonize.frames.check import check_is_frame
from canonize.symmetry import Symmetry, call, check_is_claim, check_is_model, collect


def symmetrize(model: Any, symmetry: Symmetry, frame: Any = None, *, chunk: int = 1) -> Symmetrized:
    """The model with the claimed symmetry: sum_k w_k · g_k · model(g_k^-1 · x), with {(g_k, w_k)} = frame(x).

    Args:
        model: an `nn.Module` or any callable, also one that takes and returns NumPy arrays (then without gradient).
        symmetry: the claim.
        frame: how poses are chosen; `default_frame(symmetry)` where None.
        chunk: how many poses share one call of the model, at least 1. More means fewer, larger calls, which may be
            faster where a call has an overhead of its own (on a GPU), and takes that many times the memory.

    Returns:
        A module that is called as the model is. Its parameters are the model's, under the prefix `model.`, and the
        frame's under `frame.`. With a valid frame and lossless actions it keeps the claim to rounding for every input.

    Raises:
        SymmetryError: a model or frame that cannot be called, a chunk below 1, an infinite group without a frame; on
            use, inputs or outputs that do not fit the claim, and whole-number outputs where k > 1.

    Example:
        >>> import torch
        >>> from canonize import C, Image, Scalar, Symmetry, symmetrize
        >>> model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 3))
        >>> upright = symmetrize(model, Symmetry(C(4), Image(), Scalar()))
        >>> x = torch.rand(2, 1, 4, 4)
        >>> torch.allclose(upright(x), upright(x.rot90(1, (-2, -1))), atol=1e-6)
        True

    Source: Puny et al., arXiv 2110.03336; Kaba et al., arXiv 2211.06489.
    """
    return Symmetrized(model, symmetry, frame, chunk=chunk)


@final
class Symmetrized(nn.Module):
    """A model behind a frame; made by `symmetrize`, which says what it does. Keeps nothing of any call.

    Attributes:
        model: the wrapped model, as it was given.
        symmetry: the claim.
        frame: how poses are chosen.
        chunk: poses per call of the model.
    """

    def __init__(self, model: Any, symmetry: Symmetry, frame: Any = None, *, chunk: int = 1) -> None:
        super().__init__()
        check_is_model(model, "symmetrize")
        check_is_claim(symmetry, "symmetrize")
        frame = default_frame(symmetry) if frame is None else frame
        check_is_frame(frame, "symmetrize")
        if not isinstance(chunk, int) or chunk < 1:
            raise refuse("symmetrize: bad chunk", got=repr(chunk), expected="poses per call, at least 1", fix="chunk=1")
        self.model = model
        self.symmetry = symmetry
        self.frame = frame
        self.chunk = chunk

    def forward(self, *args: Any, generator: torch.Generator | None = None, **kwargs: Any) -> Any:
        """The model's output with the claimed symmetry.

        Args:
            args, kwargs: what the model takes, as declared; not changed.
            generator: source of randomness for frames that draw.

        Raises:
            SymmetryError: what was passed or what the model returned does not fit the claim.
        """
        value, arrays = to_tensors(collect(self.symmetry, args, kwargs))
        poses = self._poses(value, generator)
        outputs = self._outputs(value, poses, arrays)
        return to_arrays(outputs) if arrays else outputs

    def poses(self, *args: Any, generator: torch.Generator | None = None, **kwargs: Any) -> Poses:
        """The poses of these inputs, as the frame chooses them."""
        return self._poses(to_tensors(collect(self.symmetry, args, kwargs))[0], generator)

    def canonical(self, *args: Any, generator: torch.Generator | None = None, **kwargs: Any) -> Any:
        """What the model is shown first: g^-1 · x for the first pose of each sample, in the structure of the inputs."""
        value, arrays = to_tensors(collect(self.symmetry, args, kwargs))
        poses = self._poses(value, generator)
        turned = move(self.symmetry.inputs, self.symmetry.group.inverse(at(poses.elements, 0)), value)
        return to_arrays(turned) if arrays else turned

    def extra_repr(self) -> str:
        """The claim, for `print(model)`."""
        return f"{self.symmetry!r}, chunk={self.chunk}"

    def _poses(self, value: Any, generator: torch.Generator | None) -> Poses:
        with within("symmetrize(..., frame={})", type(self.frame).__name__):
            batch = batch_of(self.symmetry.inputs, value)[0]
            poses = self.frame(self.symmetry, value, **draws(self.frame, generator))
            if not isinstance(poses, Poses):
                raise refuse(
                    "a frame must return Poses",
                    got=describe(poses),
                    expected="Poses(elements, weights)",
                    fix="return Poses(g[None], torch.ones(1, len(g))) for one pose a sample",
                )
            if poses.weights.shape[1] != batch:
                raise refuse(
                    "the frame returned poses for another batch",
                    got=f"poses for {poses.weights.shape[1]} samples",
                    expected=f"{batch}, one for each sample of the input",
                    fix="give the elements and weights of Poses the shape (k, batch, ...)",
                )
            _check_weights(poses.weights)
            return poses

    def _outputs(self, value: Any, poses: Poses, arrays: bool) -> Any:
        spec, batch = self.symmetry.inputs, poses.weights.shape[1]
        index = row_index(spec, value)
        total: Any = None
        for start in range(0, poses.count, self.chunk):
            part = slice(start, min(start + self.chunk, poses.count))
            times = part.stop - part.start
            g = flat(at(poses.elements, part))
            copies = repeat(spec, value, times, index=index, batch=batch)
            shown = move(spec, self.symmetry.group.inverse(g), copies)
            rows = row_index(spec, copies)
            output = self._call(own_unnamed(spec, _own(shown, copies)), arrays)
            output = self._returned(output, g, times * batch, rows, poses)
            if poses.count == 1 and not poses.weights.requires_grad:
                return output
            weights = poses.weights[part].flatten()
            total = self._add(total, output, weights, times, rows)
        return walk(_narrow, self.symmetry.outputs, total, output)

    def _call(self, value: Any, arrays: bool) -> Any:
        output = call(self.model, self.symmetry, to_arrays(value) if arrays else value)
        return to_tensors(output)[0]

    def _returned(self, output: Any, g: Any, batch: int, rows: Tensor | None, poses: Poses) -> Any:
        """The outputs turned back, after averaging over the elements that fix the canonical input."""

        def leaf(action: Any, part: Any, *, path: str) -> Any:
            if action is None or isinstance(action, Index):
                return part
            part = batch_first(action, part, path, rows, batch)
            if poses.stabilizer is None:
                return part
            inner, index = (action.action, rows) if isinstance(action, Rows) else (action, None)
            return poses.stabilizer(inner, part, index)

        with within("the model's output, declared as outputs={!r}", self.symmetry.outputs):
            fixed = walk(leaf, self.symmetry.outputs, output)
            return move(self.symmetry.outputs, g, fixed, index=rows)

    def _add(self, total: Any, output: Any, weights: Tensor, times: int, rows: Tensor | None) -> Any:
        def leaf(action: Any, part: Any, *before: Any, path: str) -> Any:
            if isinstance(action, Index):
                return before[0] if before else part[: len(part) // times]
            if not isinstance(part, Tensor):
                return before[0] if before else part
            if action is None or is_labels(action) or not (part.is_floating_point() or part.is_complex()):
                raise _unaveraged(path, part, f"declared {action!r}")
            each = weights[rows] if isinstance(action, Rows) and rows is not None else weights
            # Sums in float32 at least: in bfloat16 the weights alone would not add up to one.
            wide = torch.promote_types(part.dtype, torch.float32)
            each = each.to(wide).reshape(-1, *(1,) * (part.ndim - 1))
            # An answer of weight zero must not count, not even where it is infinite; its weight keeps its gradient.
            part = torch.where((each == 0) & ~part.isfinite(), 0, part)
            weighted = part.to(wide) * each
            summed = weighted.reshape(times, part.shape[0] // times, *part.shape[1:]).sum(0)
            return before[0] + summed if before else summed

        for path, part in unnamed(self.symmetry.outputs, output):
            if part.ndim:
                raise _unaveraged(path, part, "not declared")
        return walk(leaf, self.symmetry.outputs, output, *([] if total is None else [total]))


def _narrow(action: Any, total: Any, output: Any, *, path: str) -> Any:
    """A sum in the dtype of the outputs."""
    averaged = action is not None and not isinstance(action, Index) and isinstance(total, Tensor)
    return total.to(output.dtype) if averaged else total


def _unaveraged(path: str, part: Tensor, how: str) -> SymmetryError:
    return refuse(
        f"an output{path and ' at ' + path} cannot be averaged over poses",
        got=f"{describe(part)}, {how}",
        expected="floating-point outputs with an action where a sample has several poses",
        fix="symmetrize the logits and take labels outside: symmetrize(model, ...)(x).argmax(1); "
        "or use a frame with one pose, such as Best(energy)",
    )


def _check_weights(weights: Tensor) -> None:
    """Refuse weights that are no shares; on a GPU, where looking at values stalls it, `check_frame` is there to do so."""
    if torch.compiler.is_compiling() or weights.device.type != "cpu":
        return
    sums = weights.detach().double().sum(0)
    good = (weights.detach() >= 0).all(0) & ((sums - 1).abs() < 1e-3)
    if not bool(good.all()):
        first = int((~good).int().argmax())
        raise refuse(
            "the weights of the poses are no shares",
            got=f"{weights[:, first].tolist()[:8]} for sample {first}, with the sum {float(sums[first]):.6g}",
            expected="numbers from 0 that sum to one over k",
            fix="divide them by their sum: weights / weights.sum(0)",
        )


def _own(shown: Any, given: Any) -> Any:
    """`shown` with copies of the tensors that are still the caller's, so that a model which changes its input harms nobody."""
    theirs = {_memory(leaf) for leaf in tensors(given)}
    return map_tensors(lambda leaf: leaf.clone() if _memory(leaf) in theirs else leaf, shown)


def _memory(leaf: Tensor) -> int:
    """What tells tensors that share memory: an action may return a view of its input."""
    if torch.compiler.is_compiling() or torch._C._functorch.is_functorch_wrapped_tensor(leaf):
        return id(leaf)
    return leaf.untyped_storage().data_ptr() if leaf.layout == torch.strided else id(leaf)
