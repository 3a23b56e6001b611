"""The law of a frame."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from canonize._tree import map_tensors, tensors, walk
from canonize.actions import Each, Numbering, Scalar, lossless_tree, move
from canonize.actions.rows import index_of, layout
from canonize.actions.trees import batch_of
from canonize.frames import Poses
from canonize.frames.base import draws
from canonize.frames.check import check_is_frame
from canonize.groups import identity
from canonize.symmetrize import symmetrize
from canonize.symmetry import Symmetry, arguments, call, check_is_claim, collect, group_for
from canonize.testing.compare import Checked, Ledger, check_settings, errors, flat, gaussian, lowest, same, spoken


def check_frame(
    frame: Any,
    symmetry: Symmetry,
    inputs: Any,
    *,
    count: int = 4,
    tolerance: float | None = None,
    generator: torch.Generator | None = None,
) -> Checked:
    """The law frame(h x) = h frame(x) as a weighted set, and what every frame must return, on a batch of inputs.

    The weighted set is tested through a random model with an equivariant and an invariant output: it is symmetrized with
    the frame and must then keep the claim at lossless elements.

    Args:
        frame: a function (symmetry, inputs, *, generator=None) -> Poses.
        symmetry: group and inputs; its outputs are not used.
        inputs: what a model would take, batch first.
        count: how many batches of elements h are drawn.
        tolerance: relative error of a sample; eps^(2/3) of the lowest dtype where None.
        generator: source of randomness; seed 0 where None.

    Raises:
        LawError: it names the law, the violation, the sample and the tolerance.
    """
    __tracebackhide__ = True
    check_is_claim(symmetry, "check_frame")
    check_is_frame(frame, "check_frame")
    check_settings("check_frame", count, tolerance)
    laws, generator = Ledger(frame), generator or torch.Generator().manual_seed(0)
    value = arguments(symmetry, inputs)
    tolerance = lowest(value) if tolerance is None else tolerance
    batch, dtype, _ = batch_of(symmetry.inputs, value)
    group = group_for(symmetry, value)
    before, state = map_tensors(torch.clone, value), torch.get_rng_state()
    poses, again, other = (frame(symmetry, value, **draws(frame, torch.Generator().manual_seed(s))) for s in (1, 1, 2))
    laws.hold("the input is not changed", not same(before, value))
    laws.hold("it returns Poses", not isinstance(poses, Poses))
    single = [t.shape for t in tensors(identity(group, dtype=dtype))]
    expected = [(*poses.weights.shape, *shape) for shape in single]
    laws.hold("one pose for each sample, of the group's shape", poses.weights.shape[1] != batch)
    laws.hold("one pose for each sample, of the group's shape", [t.shape for t in tensors(poses.elements)] != expected)
    laws.hold("elements are finite", ~torch.stack([flat(t).isfinite().all() for t in tensors(poses.elements)]))
    laws.hold("weights are finite", ~poses.weights.isfinite())
    laws.hold("weights are at least 0", -poses.weights)
    laws.hold("weights sum to one", (poses.weights.double().sum(0) - 1).abs(), tolerance, of="sample")
    seeded = "equal seeds give equal poses, and nothing else is drawn from"
    laws.hold(seeded, not same((poses.elements, poses.weights), (again.elements, again.weights)))
    laws.hold(seeded, not torch.equal(state, torch.get_rng_state()))
    if poses.margin is None:
        laws.skip("the margin is invariant", "the frame tells no margin")
    else:
        laws.hold("the margin is at least 0", -poses.margin, of="sample")
    if not same((poses.elements, poses.weights), (other.elements, other.weights)):
        laws.skip("equivariance, frame(h x) = h frame(x)", "the frame draws at random: it holds on average only")
        return laws.done()
    probe = _Probe(symmetry, value)
    claim = Symmetry(symmetry.group, symmetry.inputs, probe.outputs)
    model = symmetrize(probe, claim, frame)
    base, index, lost = call(model, claim, value), layout(symmetry.inputs, value), 0
    for _ in range(count):
        h = group.sample((batch,), generator=generator, dtype=dtype)
        moved = move(symmetry.inputs, h, value)
        free = lossless_tree(symmetry.inputs, h, value).expand(batch)
        lost += int((~free).sum())
        wanted = move(claim.outputs, h, base, index=index)
        for path, off in errors(claim.outputs, call(model, claim, moved), wanted, index, batch).items():
            law = f"equivariance, frame(h x) = h frame(x), seen through a random model's output{path}"
            laws.hold(law, torch.where(free, off, 0.0), tolerance, of="sample", where=spoken(h=h))
        margin = frame(symmetry, moved, **draws(frame, torch.Generator().manual_seed(1))).margin
        if margin is not None and poses.margin is not None:
            off = (margin - poses.margin).abs() / poses.margin.abs().clamp(min=1)
            off = torch.where(free, off, 0.0)
            laws.hold("the margin is invariant", off, tolerance, of="sample", where=spoken(h=h))
    if lost:
        laws.skip("equivariance at resampled elements", f"{lost} of {count * batch} draws lose detail of the input")
    return laws.done()


class _Probe:
    """A random model without any symmetry: one output like each input that is a tensor, and an invariant one."""

    def __init__(self, symmetry: Symmetry, value: Any) -> None:
        self.symmetry = symmetry
        self.outputs: dict[str, Any] = {"scalar": Scalar()}
        self.scales: dict[str, Tensor] = {}

        def leaf(action: Any, part: Any, *, path: str) -> Any:
            if isinstance(action, Each):
                entries = [tensor.flatten() for _, tensor in action.tensors(part)]
                self.scales[path] = (
                    flat(torch.cat(entries)[None]).abs().mean().clamp(min=torch.finfo(torch.float32).tiny)
                )
            elif action is not None and not isinstance(action, Numbering):
                self.outputs[path] = action
                self.scales[path] = flat(part).abs().mean().clamp(min=torch.finfo(torch.float32).tiny)
            return part

        walk(leaf, symmetry.inputs, value)

    def __call__(self, *args: Any, **kwargs: Any) -> dict[str, Tensor]:
        value = collect(self.symmetry, args, kwargs)
        batch, dtype, _ = batch_of(self.symmetry.inputs, value)
        index, found = layout(self.symmetry.inputs, value), {}
        listed = torch.zeros(batch, 8, dtype=dtype)

        def leaf(action: Any, part: Any, *, path: str) -> Any:
            if isinstance(action, Each):
                for i, one in enumerate(part):
                    for _, tensor in action.tensors([one]):
                        entries = flat(tensor[None]).to(dtype) / self.scales[path].to(dtype)
                        width = entries.shape[1]
                        weights = gaussian(torch.Generator().manual_seed(7), width, 8, dtype)
                        listed[i] += torch.sin(entries @ weights / max(width, 1) ** 0.5)[0]
            elif path in self.scales:
                found[path] = (part, flat(part).to(dtype) / self.scales[path].to(dtype))
            return part

        walk(leaf, self.symmetry.inputs, value)
        draw = torch.Generator().manual_seed(7)
        mixed: Any = listed
        for path, (_, entries) in found.items():
            width = entries.shape[1]
            hidden = torch.sin(entries @ gaussian(draw, width, 8, dtype) / max(width, 1) ** 0.5)
            owners = index_of(self.outputs[path], index)
            if owners is not None:
                hidden = torch.zeros_like(mixed).index_add(0, owners, hidden)
            mixed = mixed + hidden
        # Not odd, or its mean over a group with -1 would be nothing but rounding.
        outputs: dict[str, Tensor] = {"scalar": torch.sin(mixed + 0.7)}
        for path, (part, entries) in found.items():
            owners = index_of(self.outputs[path], index)
            own = mixed if owners is None else mixed[owners]
            bend = torch.cos(entries + gaussian(draw, 1, entries.shape[1], dtype))
            made = torch.sin(own @ gaussian(draw, 8, entries.shape[1], dtype)) * bend
            made = torch.complex(made[:, ::2], made[:, 1::2]) if part.is_complex() else made
            outputs[path] = made.reshape(part.shape)
        return outputs
