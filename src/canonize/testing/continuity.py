"""Whether a frame is continuous: paths through an input, searched for jumps."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, final

import torch
from torch import Tensor

from canonize._tree import describe, tensors, walk
from canonize.actions import Each, Numbering, Planar, Point, Rows, Scalar, Vector
from canonize.actions.rows import index_of, layout
from canonize.actions.trees import batch_of, take
from canonize.audit.measure import apart, beside, per_sample
from canonize.errors import LawError, refuse
from canonize.frames.base import draws
from canonize.frames.check import check_is_frame
from canonize.frames.declared import has_shifts, inner
from canonize.symmetrize import symmetrize
from canonize.symmetry import Symmetry, arguments, call, check_is_claim, collect
from canonize.testing.compare import Checked, Ledger, flat, gaussian, same

_KINDS = ("all entries move", "one row moves", "the input is sheared")


def check_continuity(
    frame: Any,
    symmetry: Symmetry,
    inputs: Any,
    *,
    step: float = 1e-6,
    jump: float = 1e-4,
    reach: float = 0.1,
    paths: int = 6,
    generator: torch.Generator | None = None,
) -> Checked:
    """That the symmetrized model has no jumps: on straight paths through each input, a small step changes it little.

    A random smooth model with an equivariant and an invariant output is symmetrized with the frame, and evaluated along
    x + t v for t from -reach to reach, so also *through* x: pass symmetric, flat and collinear inputs, where frames jump. Where
    it changes most the interval is halved until it is no longer than `step`; what it still changes by then is the violation.
    In turn all entries move, one row (a point of a cloud) moves, and all rows are mapped by one matrix, which keeps a planar
    cloud planar.

    Args:
        frame: a function (symmetry, inputs, *, generator=None) -> Poses.
        symmetry: group and inputs; its outputs are not used.
        inputs: what a model would take, batch first; floating-point parts in float64. Parts that the group does not move
            (`Scalar`, None) are left as they are.
        step: how far the row that moves farthest moves in a step, over the length of the longest row (points count from their
            mean where the group has shifts); above 1e-12.
        jump: the most that a step may change an output by, relative to that of the bare model; positive.
        reach: half the length of the paths, in the same unit; at least `step`.
        paths: how many directions are taken for each sample, at least 1.
        generator: source of randomness; seed 0 where None.

    Returns:
        The laws, each with the largest change that was found; and what was skipped: samples all of whose points coincide,
        near which an output that turns has no limit, and frames that draw at random.

    Raises:
        LawError: it names the output, the sample, the kind of path, where on the path and how far it jumps.
        SymmetryError: settings out of their range, other dtypes, lists of detections.

    A check is no proof: a jump that no path crosses is not seen.
    """
    __tracebackhide__ = True
    check_is_claim(symmetry, "check_continuity")
    check_is_frame(frame, "check_continuity")
    _check_settings(step, jump, reach, paths)
    value = arguments(symmetry, inputs)
    _check_dtypes(symmetry, value)
    generator = generator or torch.Generator().manual_seed(0)
    laws = Ledger(frame)
    first, other = (frame(symmetry, value, **draws(frame, torch.Generator().manual_seed(seed))) for seed in (1, 2))
    if not same((first.elements, first.weights), (other.elements, other.weights)):
        laws.skip("continuity", "the frame draws at random: it holds on average only")
        return laws.done()
    lines, told = _lines(symmetry, value, paths, generator)
    if len(told) < batch_of(symmetry.inputs, value)[0]:
        left = sorted(set(range(batch_of(symmetry.inputs, value)[0])) - set(told.tolist()))
        laws.skip("continuity", f"samples {left[:8]} have no extent, so that what turns has no direction there")
    if not len(told):
        return laws.done()
    for path, found in _search(frame, symmetry, lines, step, reach).items():
        worst = found.change.nan_to_num(nan=torch.inf).argmax()
        most = float(found.change[worst])
        law = f"a step of {step:.3g} changes the symmetrized output{path} by at most {jump:.3g}"
        if not most <= jump:
            line = int(found.line[worst])
            raise LawError(
                f"{frame!r} breaks the law: {law}\n"
                f"  got:      a change of {most:.3g} in sample {int(told[line // paths])}, "
                f"{int((~(found.change <= jump)).sum())} of {len(found.change)} places\n"
                f"  expected: at most {jump:.3g}\n"
                f"  try:      look at the poses on the path x + t v where {_KINDS[line % paths % len(_KINDS)]}, "
                f"t from {float(found.low[worst]):.6g} to {float(found.high[worst]):.6g}"
            )
        laws.hold(f"{law}; the most found is {most:.2g}", found.change, jump)
    return laws.done()


@final
@dataclass(frozen=True)
class _Lines:
    """Straight paths: the start and the direction of each, as batches of inputs."""

    start: Any
    along: Any
    count: int

    def at(self, symmetry: Symmetry, line: Tensor, t: Tensor) -> Any:
        """The inputs on these lines at these places, (places,) each."""
        spec = symmetry.inputs
        start, along = take(spec, self.start, line), take(spec, self.along, line)
        index = layout(spec, start)

        def leaf(action: Any, part: Any, way: Any, *, path: str) -> Any:
            if not _moves(action, part):
                return part
            return part + beside(t, part, action, index) * way

        return walk(leaf, spec, start, along)


@final
@dataclass(frozen=True)
class _Found:
    """Short intervals of the lines, and by how much an output changes on each; all (intervals,)."""

    line: Tensor
    low: Tensor
    high: Tensor
    change: Tensor


def _as_vector(action: Any) -> Any:
    if isinstance(action, Point):
        return Vector()
    return replace(action, action=_as_vector(action.action)) if isinstance(action, Rows | Planar) else action


def _moves(action: Any, part: Any) -> bool:
    still = action is None or isinstance(inner(action), Scalar | Numbering)
    return not still and isinstance(part, Tensor) and part.is_floating_point()


def _lines(symmetry: Symmetry, value: Any, paths: int, generator: torch.Generator) -> tuple[_Lines, Tensor]:
    """`paths` lines through each sample that has an extent, and which samples these are."""
    spec, group = symmetry.inputs, symmetry.group
    batch = batch_of(spec, value)[0]
    extent = torch.zeros(batch, dtype=torch.float64)
    index = layout(spec, value)

    def look(action: Any, part: Any, *, path: str) -> Any:
        nonlocal extent
        if _moves(action, part):
            extent = extent + per_sample(_about(group, action, part, index, batch).square(), action, index, batch)
        return part

    walk(look, spec, value)
    told = (extent > 0).nonzero()[:, 0]
    copies = told.repeat_interleave(paths)
    start = take(spec, value, copies, index=index)
    where, count = layout(spec, start), len(copies)
    kind = torch.arange(count) % paths % len(_KINDS)

    def draw(action: Any, part: Any, *, path: str) -> Any:
        if not _moves(action, part) or not part.numel():
            return part
        shape, d = part.shape, part.shape[-1]
        every = gaussian(generator, part.numel() // d, d).reshape(shape)
        owners = index_of(action, where)
        # Of all rows of a sample the one with the largest random number moves alone.
        rows = torch.rand(shape[:-1], generator=generator, dtype=torch.float64)
        top = rows.new_zeros(count)
        flat_rows = rows.reshape(len(rows), -1).amax(1)
        top = flat_rows if owners is None else top.scatter_reduce(0, owners, flat_rows, "amax")
        single = torch.where((rows == beside(top, rows, action, where))[..., None], every, 0.0)
        matrix = gaussian(generator, count * d, d).reshape(count, d, d)
        each = matrix if owners is None else matrix[owners]
        about = _about(group, action, part, where, count)
        sheared = (about.reshape(len(part), -1, d) @ each.mT).reshape(shape)
        choice = beside(kind.double(), part, action, where)
        way = torch.where(choice == 0, every, torch.where(choice == 1, single, sheared))
        size, length = (_farthest(one, action, where, count) for one in (about, way))
        return way * beside(size / torch.where(length > 0, length, 1.0), part, action, where)

    return _Lines(start, walk(draw, spec, start), count), told


def _about(group: Any, action: Any, part: Tensor, index: Any, batch: int) -> Tensor:
    """The part about its mean over the rows of each sample where a shift moves it, as it is elsewhere."""
    if not has_shifts(group) or not isinstance(inner(action), Point) or part.ndim < 2:
        return part
    owners = index_of(action, index)
    if owners is None:
        return part - part.mean(tuple(range(1, part.ndim - 1)), keepdim=True) if part.ndim > 2 else part * 0
    sums = part.new_zeros(batch, *part.shape[1:]).index_add(0, owners, part)
    counts = torch.bincount(owners, minlength=batch).clamp(min=1).to(part.dtype)
    return part - beside(1 / counts, part, action, index) * sums[owners]


def _farthest(part: Tensor, action: Any, index: Any, count: int) -> Tensor:
    """The length of the longest row of each sample, (count,)."""
    longest = part.square().sum(-1).sqrt().reshape(len(part), -1).amax(1)
    owners = index_of(action, index)
    return longest if owners is None else longest.new_zeros(count).scatter_reduce(0, owners, longest, "amax")


def _search(frame: Any, symmetry: Symmetry, lines: _Lines, step: float, reach: float) -> dict[str, _Found]:
    """The changes on intervals of at most `step` of each line, by output."""
    probe = _Smooth(symmetry, lines.start)
    claim = Symmetry(symmetry.group, symmetry.inputs, probe.outputs)
    model = symmetrize(probe, claim, frame)

    def look(line: Tensor, t: Tensor) -> tuple[Any, Any]:
        value = lines.at(symmetry, line, t)
        with torch.no_grad():
            return call(model, claim, value), layout(symmetry.inputs, value)

    every = torch.arange(lines.count)
    sizes: dict[str, Tensor] = {}
    bare = call(probe, claim, lines.start)
    where = layout(symmetry.inputs, lines.start)

    def measure(action: Any, part: Any, *, path: str) -> Any:
        sizes[path] = per_sample(part.detach().double().square(), action, where, lines.count).sqrt()
        return part

    walk(measure, claim.outputs, bare)

    def changes(line: Tensor, one: tuple[Any, Any], two: tuple[Any, Any]) -> dict[str, Tensor]:
        found: dict[str, Tensor] = {}

        def leaf(action: Any, a: Any, b: Any, *, path: str) -> Any:
            off = apart(a, b, action, one[1], len(line)).off
            found[path] = torch.where(off == 0, 0.0, off / sizes[path][line])
            return a

        walk(leaf, claim.outputs, one[0], two[0])
        return found

    # A ladder on both sides of the input itself: jumps at any distance from it fall into some interval.
    rungs = [step]
    while rungs[-1] * 10 < reach:
        rungs.append(rungs[-1] * 10)
    rungs = [0.0, *rungs] if reach <= rungs[-1] else [0.0, *rungs, reach]
    ladder = torch.tensor([-rung for rung in reversed(rungs[1:])] + rungs, dtype=torch.float64)
    line = every.repeat_interleave(len(ladder) - 1)
    low, high = ladder[:-1].repeat(len(every)), ladder[1:].repeat(len(every))
    change = changes(line, look(line, low), look(line, high))
    wide = (high - low > step * (1 + 1e-9)).nonzero()[:, 0]
    while len(wide):
        middle = (low[wide] + high[wide]) / 2
        one, two, three = (look(line[wide], t) for t in (low[wide], middle, high[wide]))
        left, right = changes(line[wide], one, two), changes(line[wide], two, three)
        # Follow the half in which any output changes more.
        lefts, rights = (torch.stack(list(side.values())).amax(0) for side in (left, right))
        go = ~(rights > lefts)
        for path in change:
            change[path] = change[path].index_copy(0, wide, torch.where(go, left[path], right[path]))
        low, high = (
            low.index_copy(0, wide, torch.where(go, low[wide], middle)),
            high.index_copy(0, wide, torch.where(go, middle, high[wide])),
        )
        wide = (high - low > step * (1 + 1e-9)).nonzero()[:, 0]
    return {path: _Found(line, low, high, off) for path, off in change.items()}


class _Smooth:
    """A random smooth model without symmetry that sees each sample in units of its size: one output like each part that moves.

    Rows of a ragged sample are summed over; nothing depends on where in the batch a sample stands.
    """

    def __init__(self, symmetry: Symmetry, value: Any) -> None:
        self.symmetry = symmetry
        self.outputs: dict[str, Any] = {"scalar": Scalar()}

        def leaf(action: Any, part: Any, *, path: str) -> Any:
            if _moves(action, part):
                # A point would add where the sample is to how it is turned.
                self.outputs[path.lstrip(".") or "same"] = _as_vector(action)
            return part

        walk(leaf, symmetry.inputs, value)

    def __call__(self, *args: Any, **kwargs: Any) -> dict[str, Tensor]:
        value = collect(self.symmetry, args, kwargs)
        batch, dtype, _ = batch_of(self.symmetry.inputs, value)
        index, found = layout(self.symmetry.inputs, value), {}

        def leaf(action: Any, part: Any, *, path: str) -> Any:
            path = path.lstrip(".") or "same"
            if path in self.outputs:
                squares = per_sample(part.detach().double().square(), action, index, batch)
                count = per_sample(torch.ones_like(part), action, index, batch).clamp(min=1)
                unit = (squares / count).sqrt()
                found[path] = (part, flat(part / beside(torch.where(unit > 0, unit, 1.0), part, action, index)))
            return part

        walk(leaf, self.symmetry.inputs, value)
        draw = torch.Generator().manual_seed(7)
        mixed = torch.zeros(batch, 8, dtype=dtype)
        for path, (_, entries) in found.items():
            width = entries.shape[1]
            hidden = torch.sin(entries @ gaussian(draw, width, 8) / max(width, 1) ** 0.5 + gaussian(draw, 1, 8))
            owners = index_of(self.outputs[path], index)
            if owners is not None:
                counts = torch.bincount(owners, minlength=batch).clamp(min=1)[:, None]
                hidden = torch.zeros_like(mixed).index_add(0, owners, hidden) / counts
            mixed = mixed + hidden
        # Not odd, or its mean over a group with -1 would be nothing but rounding.
        outputs: dict[str, Tensor] = {"scalar": torch.sin(mixed + 0.7)}
        for path, (part, entries) in found.items():
            owners = index_of(self.outputs[path], index)
            own = mixed if owners is None else mixed[owners]
            bend = torch.cos(entries + gaussian(draw, 1, entries.shape[1]))
            outputs[path] = (torch.sin(own @ gaussian(draw, 8, entries.shape[1]) + 0.5) * bend).reshape(part.shape)
        return outputs


def _check_settings(step: float, jump: float, reach: float, paths: int) -> None:
    for name, value, low, high in (
        ("step", step, 1e-12, 1.0),
        ("jump", jump, 0.0, float("inf")),
        ("reach", reach, 0.0, 10.0),
    ):
        if not isinstance(value, int | float) or not low < value < high:
            raise refuse(
                f"check_continuity: bad {name}",
                got=repr(value),
                expected=f"above {low:g}, below {high:g}",
                fix="leave it out",
            )
    if reach < step:
        raise refuse("check_continuity: bad reach", got=repr(reach), expected=f"at least {step:g}", fix="leave it out")
    if not isinstance(paths, int) or paths < 1:
        raise refuse(
            "check_continuity: bad paths", got=repr(paths), expected="a whole number, at least 1", fix="paths=6"
        )


def _check_dtypes(symmetry: Symmetry, value: Any) -> None:
    moved: list[Tensor] = []

    def leaf(action: Any, part: Any, *, path: str) -> Any:
        if isinstance(action, Each):
            raise refuse(
                f"check_continuity takes no lists of entries of their own sizes{path and ', as at ' + path}",
                got=repr(action),
                expected="tensors, batch first",
                fix="check each entry in a batch of its own",
            )
        if _moves(action, part):
            moved.append(part)
        return part

    walk(leaf, symmetry.inputs, value)
    wrong = [part for part in moved if part.dtype != torch.float64]
    if wrong or not moved:
        raise refuse(
            "check_continuity needs inputs in float64: rounding would hide small jumps",
            got=", ".join(describe(part) for part in wrong or tensors(value)) or "no tensor",
            expected="float64, and at least one part that the group moves",
            fix="x.double(); a network inside the frame with .double() too",
        )
