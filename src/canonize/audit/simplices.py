"""Whether a model on simplicial complexes is admissible: relabelling, orientation, and whether it sees the complex at all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor

from canonize._tree import spec_leaves, to_tensors, walk
from canonize.actions.trees import batch_of, take
from canonize.audit.complexes import Boundary, simplicial_claims, sizes_in
from canonize.audit.measure import SMALL, compare, relative, typical
from canonize.audit.result import Audit, Verdict
from canonize.audit.run import audit
from canonize.audit.sweep import Plan, run
from canonize.errors import refuse, within
from canonize.symmetry import Symmetry, arguments


@final
@dataclass(frozen=True)
class Awareness:
    """Whether answers depend on which simplices of one dimension there are.

    Attributes:
        dim: of the simplices: 1 for edges, 2 for triangles.
        verdict: "pass" where some answer changed, "fail" where none did, "undecided" where nothing could be told.
        reason: the verdict in one sentence.
        removals: how many (complex, simplex) pairs were tried: the column of one simplex of the boundary matrix set to 0.
        changed: share of them that changed the answer by more than the tolerance, in [0, 1].
        median, largest: relative changes of the answer over them, dimensionless.
    """

    dim: int
    verdict: Verdict
    reason: str
    removals: int
    changed: float
    median: float
    largest: float


@final
@dataclass(frozen=True)
class SimplicialAudit:
    """The result of `audit_simplicial`; `print` it.

    Attributes:
        name: what the audited model is called.
        relabelling: the audit of the claim that simplices may be numbered in any way.
        orientation: the audit of the claim that they may be written in any orientation.
        awareness: one for each dimension of which the model is given the boundary matrix, the lowest first.
    """

    name: str
    relabelling: Audit
    orientation: Audit
    awareness: tuple[Awareness, ...]

    @property
    def verdict(self) -> Verdict:
        """The worst of the parts: "fail" before "undecided" before "pass"."""
        found = [self.relabelling.verdict, self.orientation.verdict, *(one.verdict for one in self.awareness)]
        return "fail" if "fail" in found else "undecided" if "undecided" in found else "pass"

    @property
    def passed(self) -> bool:
        """Whether the verdict is "pass"."""
        return self.verdict == "pass"

    @property
    def order(self) -> int:
        """The order of awareness: the largest K such that answers depend on the simplices of each dimension up to K."""
        aware = 0
        for one in self.awareness:
            if one.verdict != "pass" or one.dim != aware + 1:
                break
            aware = one.dim
        return aware

    def as_dict(self) -> dict[str, Any]:
        """All numbers and words as plain JSON values."""
        return {
            "name": self.name,
            "verdict": self.verdict,
            "relabelling": self.relabelling.as_dict(),
            "orientation": self.orientation.as_dict(),
            "awareness": [dict(vars(one)) for one in self.awareness],
            "order": self.order,
        }

    def __str__(self) -> str:
        lines = [f"{self.name}: {self.verdict.upper()}."]
        for title, part in (("relabelling", self.relabelling), ("orientation", self.orientation)):
            lines.append(f"  {title}: {part.verdict.upper()}. {part.reason}")
        for one in self.awareness:
            lines.append(f"  awareness of dimension {one.dim}: {one.verdict.upper()}. {one.reason}")
        return "\n".join(lines)


def audit_simplicial(
    model: Any,
    value: Any,
    *,
    inputs: Any,
    outputs: Any,
    elements: int = 32,
    removals: int = 8,
    tolerance: float | None = None,
    at_most: float = 0.2,
    batch_size: int = 64,
    generator: torch.Generator | None = None,
    name: str | None = None,
) -> SimplicialAudit:
    """Whether a model on simplicial complexes is admissible, in three parts that do not follow from each other.

    Relabelling: answers follow when simplices of each dimension are numbered otherwise. Orientation: answers follow when
    edges, triangles and so on are written the other way round. Awareness: answers depend on which simplices of each
    dimension there are, measured by taking single simplices out of the boundary matrix of their dimension and leaving all
    else as it is. A network that never looks at triangles passes the first two and fails the third.

    What is left after an edge has been taken out of `Boundary(1)` alone may be no complex, because triangles keep it; it
    still tells whether the answer depends on that matrix.

    Args:
        model: any callable, in eval mode.
        value: what the model takes, with a batch of all complexes.
        inputs: what each part of it is: a tree of `Cochain`, `Boundary`, `Scalar()` and None, with at least one boundary.
        outputs: likewise, of what the model returns.
        elements: random relabellings, and flips, for each complex.
        removals: how many simplices of each dimension are taken out of each complex, one at a time.
        tolerance: the largest relative error of the first two, and the least change that counts for the third;
            eps^(2/3) of the lowest precision in play where None.
        at_most, batch_size, name: as for `audit`.
        generator: source of every draw, on the CPU; seeded with 0 where None.

    Returns:
        The findings; see `SimplicialAudit`.

    Raises:
        SymmetryError: as `audit` and `simplicial_claims`; no boundary among the inputs, no removals.

    Singular case: where no complex has a simplex of a dimension, and where two calls on the same complex differ by more
    than the tolerance, awareness stays undecided. Answers that turn into NaN are no awareness, but a failure.

    Source: Roddenberry, Glaze and Segarra, Principled simplicial neural networks for trajectory prediction,
    arXiv 2102.10058.
    """
    with within("audit_simplicial(...)"):
        if not isinstance(removals, int) or isinstance(removals, bool) or removals < 1:
            raise refuse("audit_simplicial: bad removals", got=repr(removals), expected="at least 1", fix="removals=8")
        generator = torch.Generator().manual_seed(0) if generator is None else generator
        tensors, arrays = to_tensors(value)
        sizes = sizes_in(inputs, tensors)
        relabelling, orientation = simplicial_claims(inputs, outputs, sizes)
        dims = _dims(inputs)
        first, second = (
            audit(
                model,
                claim,
                value,
                elements=elements,
                tolerance=tolerance,
                at_most=at_most,
                batch_size=batch_size,
                cost=False,
                generator=generator,
                name=name,
            )
            for claim in (relabelling, orientation)
        )
        tensors = arguments(orientation, tensors)
        count = batch_of(orientation.inputs, tensors)[0]
        plan = Plan(model, orientation, tensors, arrays, None, (1, count), batch_size, None, None, None, False, None)
        least = max(first.tolerance, second.tolerance)
        seen = tuple(_awareness(plan, inputs, dim, removals, least, generator) for dim in dims)
        return SimplicialAudit(first.name, first, second, seen)


def _dims(inputs: Any) -> list[int]:
    dims = sorted({leaf.dim for leaf in spec_leaves(inputs) if isinstance(leaf, Boundary)})
    if not dims:
        raise refuse(
            "audit_simplicial: the model is given no complex",
            got=repr(inputs),
            expected="a boundary matrix among the inputs",
            fix="inputs=(Cochain(1), Boundary(1), Boundary(2)); wrap a model that keeps its matrices: "
            "lambda flow, first, second: model(flow)",
        )
    return dims


@torch.no_grad()
def _awareness(
    plan: Plan, inputs: Any, dim: int, removals: int, tolerance: float, generator: torch.Generator
) -> Awareness:
    """What taking single simplices of one dimension out of each complex does to the answers."""
    changes, noise = [], 0.0
    count = plan.shape[1]
    for start in range(0, count, plan.batch_size):
        members = torch.arange(start, min(start + plan.batch_size, count))
        part = take(plan.symmetry.inputs, plan.value, members)
        base = run(plan, part, "the complexes as they came")
        again = _apart(plan.symmetry, base, run(plan, part, "the complexes as they came"), len(members))
        noise = max(noise, float(again.max()))
        for _ in range(removals):
            fewer, there = _without(inputs, part, dim, generator)
            if not bool(there.any()):
                break
            other = run(plan, fewer, "complexes without one simplex")
            changes.append(_apart(plan.symmetry, base, other, len(members))[there])
    if not changes:
        return Awareness(dim, "undecided", f"No complex has a simplex of dimension {dim}.", 0, 0.0, 0.0, 0.0)
    found = torch.cat(changes)
    lost = int(found.isinf().sum())
    told = found > tolerance
    verdict: Verdict
    if lost:
        verdict, reason = "fail", f"{lost} of {len(found)} answers turn into NaN or infinity."
    elif noise > tolerance:
        verdict, reason = "undecided", f"Two calls on the same complex already differ by {noise:.2g}."
    elif bool(told.any()):
        share = float(told.double().mean())
        verdict = "pass"
        reason = f"Taking out one simplex changes the answer in {share:.0%} of {len(found)} cases, by up to {found.max():.2g}."
    else:
        verdict = "fail"
        reason = (
            f"Taking out one simplex changes no answer by more than {tolerance:.2g} in {len(found)} cases: "
            f"the model does not see simplices of dimension {dim}."
        )
    return Awareness(
        dim, verdict, reason, len(found), float(told.double().mean()), float(found.median()), float(found.max())
    )


def _apart(symmetry: Symmetry, base: Any, other: Any, count: int) -> Tensor:
    """The relative difference of two answers, the largest over several outputs, (count,) float64."""
    parts = compare(symmetry.outputs, base, other, None, count).values()
    return torch.stack([relative(one.off, one.size, SMALL * typical(one.size)) for one in parts]).amax(0)


def _without(inputs: Any, value: Any, dim: int, generator: torch.Generator) -> tuple[Any, Tensor]:
    """The complexes with one simplex of a dimension less, each another one, and which of them had any."""
    there = torch.ones(0, dtype=torch.bool)
    chosen: Tensor | None = None

    def leaf(action: Any, part: Any, *, path: str) -> Any:
        nonlocal there, chosen
        if action != Boundary(dim):
            return part
        if chosen is None:
            present = (part != 0).any(1).cpu()
            there = present.any(1)
            keys = torch.rand(present.shape, generator=generator, dtype=torch.float64)
            chosen = torch.where(present, keys, -1.0).argmax(1) if present.shape[1] else there.long()
        if not part.shape[2]:
            return part
        column = torch.nn.functional.one_hot(chosen, part.shape[2]).bool().to(part.device)
        return torch.where(column[:, None], torch.zeros((), dtype=part.dtype, device=part.device), part)

    return walk(leaf, inputs, value), there
