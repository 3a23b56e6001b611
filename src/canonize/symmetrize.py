"""`symmetrize`: any model with the symmetry of its problem."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, final

import torch
from torch import Tensor, nn

from canonize._own import own, own_unnamed
from canonize._tree import describe, map_tensors, matched, spec_leaves, to_arrays, to_tensors, unnamed, walk
from canonize._values import unseen
from canonize.actions import Each, Numbering, Rows
from canonize.actions.rows import Layout, index_of, layout, rows_of
from canonize.actions.single import warn_of_single
from canonize.actions.trees import at, batch_first, batch_of, move, repeat, separable, take
from canonize.errors import SymmetryError, refuse, within
from canonize.frames import Poses, default_frame
from canonize.frames.base import Stabilizer, draws, flat, is_labels
from canonize.frames.check import check_is_frame
from canonize.symmetry import Symmetry, call, check_is_claim, check_is_model, collect

_Add = Callable[[Tensor, "Tensor | None"], Tensor]
"""Brings weighted outputs to the shape of the result; `None` or the sample of each entry of the result."""


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
            use, inputs or outputs that do not fit the claim, and whole-number outputs or lists of detections where k > 1.

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
        if unseen():
            return self._answer(value, arrays, generator)
        try:
            answer = self._answer(value, arrays, generator)
        except (RuntimeError, ValueError, TypeError, IndexError) as error:
            if not isinstance(error, SymmetryError | torch.OutOfMemoryError):
                self._check_batched(value, arrays, error)
            raise
        # Whatever was refused said more than a guess could.
        warn_of_single(self.symmetry.group, self.symmetry.inputs, value)
        return answer

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

    def _answer(self, value: Any, arrays: bool, generator: torch.Generator | None) -> Any:
        outputs = self._outputs(value, self._poses(value, generator), arrays)
        return to_arrays(outputs) if arrays else outputs

    def _check_batched(self, value: Any, arrays: bool, error: Exception) -> None:
        """Refuse one sample without a batch axis, after an error: no action can know it, since other axes may follow the batch.

        The model can: it fails on the value as it is and on its first entry, and runs with one more axis in front.
        """
        spec = self.symmetry.inputs
        moved = [(action, part) for action, part, _ in matched(spec, value) if action is not None]
        if any(
            isinstance(action, Numbering | Rows | Each) or not isinstance(part, Tensor) or not (part.ndim and len(part))
            for action, part in moved
        ):
            return
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            # A call more here than in the other processes might wait for them.
            return
        one = walk(lambda action, part, *, path: part if action is None else part[None], spec, value)
        first = walk(lambda action, part, *, path: part if action is None else part[:1], spec, value)
        # In this order: what fails for another reason is mostly settled by one call.
        if not _runs(self.model, self.symmetry, one, arrays):
            return
        if any(_runs(self.model, self.symmetry, some, arrays) for some in (value, first)):
            return
        raise refuse(
            "this seems to be one sample without a batch axis: the model fails on it, and runs with one more axis",
            got="; ".join(describe(part) for _, part in moved),
            expected="the batch first: " + "; ".join(f"(N, {', '.join(map(str, part.shape))})" for _, part in moved),
            fix="pass x[None], and take [0] of the answer",
        ) from error

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
        if any(isinstance(action, Each) for action in spec_leaves(self.symmetry.outputs)) and poses.count > 1:
            raise _several(self.symmetry.outputs, poses.count)
        if _has_idle(poses) and separable(self.symmetry.inputs, value):
            return self._in_use(value, poses, arrays)
        spec, batch = self.symmetry.inputs, poses.weights.shape[1]
        index = layout(spec, value)
        total: Any = None
        for start in range(0, poses.count, self.chunk):
            part = slice(start, min(start + self.chunk, poses.count))
            times = part.stop - part.start
            g = flat(at(poses.elements, part))
            copies = repeat(spec, value, times, index=index, batch=batch)
            fixed = _stabilizer(
                poses, None if times == poses.count else torch.arange(part.start * batch, part.stop * batch)
            )
            output, rows = self._turned(copies, g, times * batch, fixed, arrays)
            if poses.count == 1 and not poses.weights.requires_grad:
                return _doubted(self.symmetry.outputs, output, poses.weights[0], rows) if poses.unchecked else output
            weights = poses.weights[part].flatten()

            def add(summand: Tensor, owners: Tensor | None, times: int = times) -> Tensor:
                return summand.reshape(times, summand.shape[0] // times, *summand.shape[1:]).sum(0)

            total = self._add(total, output, weights, index, rows, add)
        return walk(_narrow, self.symmetry.outputs, total, output)

    def _in_use(self, value: Any, poses: Poses, arrays: bool) -> Any:
        """The weighted sum where some samples have fewer poses than others: only poses with a weight cost a model call."""
        spec, batch = self.symmetry.inputs, poses.weights.shape[1]
        index = layout(spec, value)
        # The poses of a sample that have a weight come first, so that the first call holds the batch as it is.
        order = (poses.weights == 0).int().argsort(dim=0, stable=True)
        weights = poses.weights.gather(0, order)
        pose, sample = (weights != 0).nonzero().unbind(1)
        elements = at(poses.elements, (order[pose, sample], sample))
        total: Any = None
        size = self.chunk * batch
        # A program that is made once for all inputs cannot repeat a call as often as these need: all share one.
        parts = [slice(None)] if unseen() else [slice(start, start + size) for start in range(0, pose.shape[0], size)]
        for part in parts:
            whose = sample[part]
            copies = take(spec, value, whose, index=index)
            fixed = _stabilizer(poses, order[pose[part], whose] * batch + whose)
            output, rows = self._turned(copies, at(elements, part), whose.shape[0], fixed, arrays)
            entire = copies is value

            def add(summand: Tensor, owners: Tensor | None, whose: Tensor = whose, entire: bool = entire) -> Tensor:
                place, count = whose, batch
                if owners is not None:
                    # The whole batch keeps the order of its rows.
                    count = owners.shape[0]
                    place = torch.arange(count, device=owners.device) if entire else rows_of(owners, whose)[0]
                return summand.new_zeros(count, *summand.shape[1:]).index_add(0, place, summand)

            total = self._add(total, output, weights[pose[part], whose], index, rows, add)
        return walk(_narrow, self.symmetry.outputs, total, output)

    def _turned(
        self, copies: Any, g: Any, count: int, stabilizer: Stabilizer | None, arrays: bool
    ) -> tuple[Any, Layout | None]:
        """The model's outputs for copies seen from g, turned back; and which sample their rows belong to."""
        spec = self.symmetry.inputs
        rows = layout(spec, copies)
        shown = move(spec, self.symmetry.group.inverse(g), copies, index=rows)
        output = self._call(own_unnamed(spec, own(shown, copies)), arrays)
        return self._returned(output, g, count, rows, stabilizer), rows

    def _call(self, value: Any, arrays: bool) -> Any:
        output = call(self.model, self.symmetry, to_arrays(value) if arrays else value)
        return to_tensors(output)[0]

    def _returned(self, output: Any, g: Any, batch: int, rows: Layout | None, stabilizer: Stabilizer | None) -> Any:
        """The outputs turned back, after averaging over the elements that fix the canonical input."""

        def leaf(action: Any, part: Any, *, path: str) -> Any:
            if action is None or isinstance(action, Numbering):
                return part
            part = batch_first(action, part, path, rows, batch)
            if stabilizer is None or isinstance(action, Each):
                return part
            return stabilizer(action, part, rows)

        with within("the model's output, declared as outputs={!r}", self.symmetry.outputs):
            fixed = walk(leaf, self.symmetry.outputs, output)
            return move(self.symmetry.outputs, g, fixed, index=rows)

    def _add(
        self, total: Any, output: Any, weights: Tensor, index: Layout | None, rows: Layout | None, add: _Add
    ) -> Any:
        """`total` with the weighted outputs added."""

        def leaf(action: Any, part: Any, *before: Any, path: str) -> Any:
            if isinstance(action, Numbering):
                known = None if index is None else index.numbers(action)
                return part if known is None else known.to(part.dtype)
            if not isinstance(part, Tensor):
                return before[0] if before else part
            if action is None or is_labels(action) or not (part.is_floating_point() or part.is_complex()):
                raise _unaveraged(path, part, f"declared {action!r}")
            owners = index_of(action, rows)
            each = weights if owners is None else weights[owners]
            # Sums in float32 at least: in bfloat16 the weights alone would not add up to one.
            wide = torch.promote_types(part.dtype, torch.float32)
            each = each.to(wide).reshape(-1, *(1,) * (part.ndim - 1))
            # An answer of weight zero must not count, not even where it is infinite; its weight keeps its gradient.
            part = torch.where((each == 0) & ~part.isfinite(), 0, part)
            summed = add(part.to(wide) * each, index_of(action, index))
            return before[0] + summed if before else summed

        for path, part in unnamed(self.symmetry.outputs, output):
            if part.ndim or part.is_floating_point():
                raise _unaveraged(path, part, "not declared")
        return walk(leaf, self.symmetry.outputs, output, *([] if total is None else [total]))


def _runs(model: Any, symmetry: Symmetry, value: Any, arrays: bool) -> bool:
    """Whether the model runs on a value; its running statistics and the generator of its dropout stay as they are."""
    kept = {name: part.clone() for name, part in model.named_buffers()} if isinstance(model, nn.Module) else {}

    def run(*args: Any, **kwargs: Any) -> Any:
        return torch.func.functional_call(model, kept, args, kwargs) if kept else model(*args, **kwargs)

    shown = map_tensors(torch.clone, value)
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            call(run, symmetry, to_arrays(shown) if arrays else shown)
    except Exception:
        return False
    return True


def _stabilizer(poses: Poses, entries: Tensor | None) -> Stabilizer | None:
    """The stabilizer of some of the (pose, sample) pairs; of all of them where None."""
    if poses.stabilizer is None or entries is None:
        return poses.stabilizer
    taken: Stabilizer = poses.stabilizer.take(entries)  # type: ignore[attr-defined]  # Poses refuses one without, for k > 1
    return taken


def _has_idle(poses: Poses) -> bool:
    """Whether some poses are none, or have weight zero and nobody wants its gradient.

    On a GPU, where looking stalls it, only the former is looked for.
    """
    weights = poses.weights
    if unseen():
        return poses.sparse
    if weights.shape[0] == 1 or (weights.requires_grad and not poses.sparse):
        return False
    return poses.sparse if unseen(weights) else bool((weights == 0).any())


def _doubted(spec: Any, output: Any, weights: Tensor, rows: Layout | None) -> Any:
    """The outputs, not-a-number where the weight of their sample is; labels have no word for it."""

    def leaf(action: Any, part: Any, *, path: str) -> Any:
        if action is None or isinstance(action, Numbering | Each) or not isinstance(part, Tensor):
            return part
        if not part.is_floating_point() or part.layout != torch.strided:
            return part
        owners = index_of(action, rows)
        lost = (weights if owners is None else weights[owners]).isnan()
        return torch.where(lost.reshape(-1, *(1,) * (part.ndim - 1)), torch.nan, part)

    return walk(leaf, spec, output)


def _narrow(action: Any, total: Any, output: Any, *, path: str) -> Any:
    """A sum in the dtype of the outputs."""
    averaged = action is not None and not isinstance(action, Numbering) and isinstance(total, Tensor)
    return total.to(output.dtype) if averaged else total


def _unaveraged(path: str, part: Tensor, how: str) -> SymmetryError:
    return refuse(
        f"an output{path and ' at ' + path} cannot be averaged over poses",
        got=f"{describe(part)}, {how}",
        expected="floating-point outputs with an action where a sample has several poses",
        fix="symmetrize the logits and take labels outside: symmetrize(model, ...)(x).argmax(1); "
        "or use a frame with one pose, such as Best(energy) in eval mode",
    )


def _several(outputs: Any, count: int) -> SymmetryError:
    return refuse(
        "lists of detections cannot be averaged over poses: each pose may find another number of them",
        got=f"outputs={outputs!r}, and a frame with {count} poses for some of the samples",
        expected="one pose for each sample",
        fix="symmetrize(model, symmetry, Best(energy)) in eval mode, with soft=0 and the images in one tensor; or let the "
        "model return maps that can be averaged, such as Image(), and look for detections in them outside",
    )


def _check_weights(weights: Tensor) -> None:
    """Refuse weights that are no shares; on a GPU, where looking at values stalls it, `check_frame` is there to do so."""
    if unseen() or weights.device.type != "cpu":
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
