"""The canonical form of one value after the other: which frame poses it, and what is known of the pose."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, final

import torch
from torch import Tensor

from canonize._tree import describe
from canonize.actions import Fields, Image, Index, Nodes, Point, Rows, Scalar
from canonize.actions.trees import at, move
from canonize.errors import SymmetryError, refuse
from canonize.forms import Cloud, canonical_hashes
from canonize.forms.cloud import motions
from canonize.forms.graph import canonical_graphs, is_graph_like
from canonize.forms.orbit import least_turn
from canonize.frames import PCA, Sorted
from canonize.groups import FiniteMatrixGroup, Product, S
from canonize.linalg import is_signed_permutation
from canonize.symmetrize import symmetrize
from canonize.symmetry import Symmetry

LUMA = (0.299, 0.587, 0.114)
"""Shares of red, green and blue in the brightness, ITU-R BT.601, as Pillow takes them."""


@final
@dataclass(frozen=True)
class Form:
    """A value in its canonical pose.

    Attributes:
        value: what came, turned: a tensor, a `Cloud` with its points in float64, a `Graph`.
        pose: the parts of the element that takes it back, x = pose · value: "linear" (d, d), "shift" (d,), "order" (n,) with
            the number that each row of the value had in x. An order is undone first.
        margin: how far the turn is from a tie, as `Poses.margin`; None for exact forms, and where the frame does not know.
        hash: as `canonical_hash`, where it was asked for.
    """

    value: Any
    pose: Mapping[str, Tensor] = field(default_factory=dict)
    margin: float | None = None
    hash: str | None = None


@final
@dataclass(frozen=True)
class Missing:
    """That there is no form of a value, and why.

    Attributes:
        error: what was raised.
    """

    error: Exception


@final
@dataclass(frozen=True)
class Canonical:
    """The canonical forms of values under a group; a function, the same each time for the same values.

    | value | group | form |
    |---|---|---|
    | image, volume | `C(4)`, `D(4)`, `Octahedral()` | the turn with the smallest digest; exact |
    | image | any of the plane, with a `frame` | the pose that the frame chooses |
    | tensor (n, d), `Cloud` | `SO(d)`, `O(d)`, `SE(d)`, `E(d)` | the first pose of `PCA(signs="ruled")` |
    | tensor (n, d), `Cloud` | `Product(S(), E(d))`, ... | this pose, then sorted by kind and coordinates |
    | `Graph` | `S()` | nodes in canonical order, edges sorted; exact |
    | tensor (n, ...) | `S()` | rows sorted; exact |

    Args:
        group: what may happen to the values.
        frame: a claim and a frame for images, as `canonize.integrations.safetensors.load` returns them.
        hashed: also tell `canonical_hash`.
        tolerance: for the hash, and for floats of graphs; a length in the unit of coordinates.
        limit: seconds for the labelling of one graph.
        mean, std: what images in 0..1 are normalised with for the frame's eyes, one number or one a channel.
        gray: the frame looks at the brightness of images with three channels.
    """

    group: Any
    frame: tuple[Symmetry, Any] | None = None
    hashed: bool = False
    tolerance: float | None = None
    limit: float | None = 60.0
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    gray: bool = False

    def __call__(self, values: Sequence[Any]) -> list[Form | Missing]:
        """The form of each value, or what is wrong with it; nothing is changed in place."""
        found: list[Form | Missing] = [Missing(ValueError("not looked at"))] * len(values)
        parties: dict[Any, list[int]] = {}
        for place, value in enumerate(values):
            parties.setdefault(self._party(value), []).append(place)
        for (kind, *_), places in parties.items():
            many = _MANY[kind]
            try:
                told: list[Form | Missing] = list(many(self, [values[place] for place in places]))
            except Exception:  # one of them: each by itself says which
                told = [self._alone(many, values[place]) for place in places]
            for place, each in zip(places, told, strict=True):
                found[place] = each
        return found

    def _party(self, value: Any) -> tuple[Any, ...]:
        """What values must share to be worked on together."""
        kind = family(value, self.group)
        if kind == "grid" and self.frame is not None:
            return ("framed", tuple(value.shape), value.dtype)
        return (kind,)

    def _alone(self, many: Callable[[Canonical, list[Any]], list[Form]], value: Any) -> Form | Missing:
        try:
            return many(self, [value])[0]
        except Exception as error:  # frames and readers are also those of others
            return Missing(error)

    def _hashes(self, values: list[Any]) -> list[str | None]:
        if not self.hashed:
            return [None] * len(values)
        return list(canonical_hashes(values, self.group, tolerance=self.tolerance, limit=self.limit))


def family(value: Any, group: Any) -> str:
    """Which kind of form a value has under the group: "graph", "cloud", "rows", "grid", or "none"."""
    if is_graph_like(value):
        return "graph" if isinstance(group, S) else "none"
    if not isinstance(value, Tensor | Cloud):
        return "none"
    if motions(group) is not None:
        return "cloud"
    if isinstance(group, S):
        return "rows"
    return "grid" if isinstance(value, Tensor) and isinstance(group, FiniteMatrixGroup) else "none"


def check_canonical(job: Canonical) -> None:
    """Refuse once, before anything is read, what each value would be refused for.

    Raises:
        SymmetryError: a group without a canonical form; a group that resamples, without a frame or with hashes; a frame for
            another group or for other inputs than images.
    """
    group, frame = job.group, job.frame
    finite = isinstance(group, FiniteMatrixGroup)
    if not finite and motions(group) is None and not isinstance(group, S):
        raise _unknown("what was read", group)
    if frame is not None:
        claim = frame[0]
        if not finite or repr(claim.group) != repr(group) or not isinstance(claim.inputs, Image):
            raise refuse(
                "the frame is for something else",
                got=f"{claim.inputs!r} under {claim.group!r}",
                expected=f"images under {group!r}",
                fix="give --group as it was for canonize adapt; clouds and graphs need no --frame",
            )
    if finite and not bool(is_signed_permutation(group.elements(dtype=torch.float64)).all()):
        if frame is None:
            raise refuse(
                f"{group!r} does not map pixels onto pixels, so that a frame has to choose the pose",
                got="no frame",
                expected="a folder that `canonize adapt` has written, or quarter turns and flips: C4, D4",
                fix="canonize adapt ... --group C8 --out canonizer/, then --frame canonizer/",
            )
        if job.hashed:
            raise refuse(
                "turned pixels that were resampled have no exact hash",
                got=f"--hash for {group!r}",
                expected="quarter turns and flips: C4, D4",
                fix="leave out --hash",
            )


def _graphs(job: Canonical, values: list[Any]) -> list[Form]:
    found = canonical_graphs(values, job.tolerance, job.limit)
    return [
        Form(graph, {"order": torch.tensor(order, dtype=torch.int64)}, None, told if job.hashed else None)
        for graph, order, told in found
    ]


def _least(job: Canonical, values: list[Any]) -> list[Form]:
    found = [least_turn(value, job.group) for value in values]
    return [Form(value, {"linear": element}, None, told if job.hashed else None) for value, element, told in found]


def _framed(job: Canonical, values: list[Any]) -> list[Form]:
    """Images of one size and dtype, posed by a frame; what is lossless is so to the last bit of 8 and 16 bits."""
    assert job.frame is not None  # asked before
    claim, frame = job.frame
    x = torch.stack(values)
    # Whole numbers of more than 8 bits are gray images of 16, as they are read.
    whole = None if x.is_floating_point() else 255.0 if x.dtype == torch.uint8 else 65535.0
    floats = x if whole is None else x.float() / whole
    with torch.no_grad():
        # Learned frames look at single precision, however fine the images are.
        poses = frame(claim, _seen(job, floats.float()))
        elements = at(poses.elements, 0).to(floats.dtype)
        turned = move(claim.inputs, claim.group.inverse(elements), floats)
    if whole is not None:
        turned = (turned * whole).round().clamp(0, whole).to(x.dtype)
    hashes = job._hashes(values)
    margins = _margins(poses.margin, len(values))
    return [
        Form(turned[place].contiguous(), {"linear": elements[place].double()}, margins[place], hashes[place])
        for place in range(len(values))
    ]


def _seen(job: Canonical, x: Tensor) -> Tensor:
    if job.gray and x.shape[1] == len(LUMA):
        x = (x * x.new_tensor(LUMA)[:, None, None]).sum(1, keepdim=True)
    for numbers in (job.mean, job.std):
        if numbers is not None and len(numbers) not in (1, x.shape[1]):
            raise refuse(
                "--mean and --std do not fit the channels",
                got=f"{len(numbers)} numbers for {describe(x)}",
                expected=f"one number, or {x.shape[1]}",
                fix="as they were for canonize adapt",
            )
    centre, spread = (
        x.new_tensor(default if numbers is None else numbers)[:, None, None]
        for numbers, default in ((job.mean, (0.0,)), (job.std, (1.0,)))
    )
    return (x - centre) / spread


def _clouds(job: Canonical, values: list[Any]) -> list[Form]:
    clouds = [value if isinstance(value, Cloud) else Cloud(value) for value in values]
    moved = motions(job.group)
    assert moved is not None  # the kind says so
    parts = job.group.factors if isinstance(job.group, Product) else (job.group,)
    motion = next(part for part in parts if not isinstance(part, S))
    for cloud in clouds:
        if cloud.points.ndim != 2 or cloud.points.shape[1] != moved.dim or not len(cloud.points):
            raise refuse(
                "these are no points of the group's space",
                got=describe(cloud.points),
                expected=f"a tensor (n, {moved.dim}) with at least one point",
                fix="one cloud for each sample",
            )
    counts = [len(cloud.points) for cloud in clouds]
    data = {
        "kinds": torch.cat([_ranks(cloud.kinds, n) for cloud, n in zip(clouds, counts, strict=True)]),
        "pos": torch.cat([cloud.points.detach().cpu().double() for cloud in clouds]),
        "batch": torch.repeat_interleave(torch.arange(len(clouds)), torch.tensor(counts)),
    }
    claim = Symmetry(motion, Fields(kinds=Rows(Scalar()), pos=Rows(Point()), batch=Index()), Scalar())
    posed = symmetrize(_nothing, claim, PCA(signs="ruled", marks="kinds"))
    poses = posed.poses(data)
    element = at(poses.elements, 0)
    data = move(claim.inputs, motion.inverse(element), data)
    linear, shift = (element.linear, element.shift) if moved.shifts else (element, None)
    orders: list[Tensor | None] = [None] * len(clouds)
    if moved.permutes:
        order = Symmetry(S(), Fields(kinds=Rows(Nodes()), pos=Rows(Nodes()), batch=Index()), Scalar())
        chosen = symmetrize(_nothing, order, Sorted(within="rounding")).poses(data)
        picked = at(chosen.elements, 0)
        orders = [picked[place, :n] for place, n in enumerate(counts)]
    points, margins, hashes = data["pos"].split(counts), _margins(poses.margin, len(clouds)), job._hashes(values)
    found = []
    for place, cloud in enumerate(clouds):
        rows, kinds, pose = points[place], cloud.kinds, {"linear": linear[place]}
        if shift is not None:
            pose["shift"] = shift[place]
        own = orders[place]
        if own is not None:
            rows, pose["order"] = rows[own], own
            kinds = (
                kinds[own] if isinstance(kinds, Tensor) else None if kinds is None else [kinds[i] for i in own.tolist()]
            )
        found.append(Form(Cloud(rows.clone(), kinds), pose, margins[place], hashes[place]))
    return found


def _ranks(kinds: Any, n: int) -> Tensor:
    """A number for each kind, the same for equal kinds of all clouds: themselves where they are numbers."""
    if kinds is None:
        return torch.zeros(n, 1, dtype=torch.float64)
    listed = kinds.tolist() if isinstance(kinds, Tensor) else list(kinds)
    if len(listed) != n:
        raise refuse(
            "the kinds do not fit the points",
            got=f"{len(listed)} kinds for {n} points",
            expected="one for each point",
            fix="Cloud(points, kinds=numbers)",
        )
    told = [_number(kind) for kind in listed]
    return torch.tensor(told, dtype=torch.float64)[:, None]


def _number(kind: Any) -> float:
    if isinstance(kind, int | float):
        return float(kind)
    if isinstance(kind, tuple | list) and kind and all(isinstance(part, int) for part in kind):
        # An element with its isotope.
        return float(sum(part / 1024**place for place, part in enumerate(kind)))
    if isinstance(kind, str):
        return float(int.from_bytes(kind.encode()[:6].ljust(6, b"\0"), "big"))
    raise refuse(
        "kinds of this form have no order",
        got=describe(kind),
        expected="numbers or strings",
        fix="whole numbers as kinds",
    )


def _rows(job: Canonical, values: list[Any]) -> list[Form]:
    found = []
    for value, told in zip(values, job._hashes(values), strict=True):
        cloud = value if isinstance(value, Cloud) else Cloud(value)
        x, kinds = cloud.points, cloud.kinds
        if job.group.n not in (None, len(x)):
            raise refuse("these are not as many rows", got=describe(x), expected=f"{job.group!r}", fix="--group S")
        marks = _ranks(kinds, len(x))
        claim = Symmetry(job.group, {"kinds": Nodes(), "x": Nodes()}, Scalar())
        flat = x.reshape(len(x), -1)
        poses = symmetrize(_nothing, claim, Sorted()).poses({"kinds": marks[None], "x": flat[None]})
        order = poses.elements[0, 0]
        turned = x[order]
        kinds = (
            kinds[order] if isinstance(kinds, Tensor) else None if kinds is None else [kinds[i] for i in order.tolist()]
        )
        held = Cloud(turned, kinds) if isinstance(value, Cloud) else turned
        found.append(Form(held, {"order": order}, None, told))
    return found


def _none(job: Canonical, values: list[Any]) -> list[Form]:
    raise _unknown(describe(values[0]), job.group)


def _nothing(*_: Any) -> Any:
    """A model that is never called."""


def _margins(margin: Tensor | None, count: int) -> list[float | None]:
    return [None] * count if margin is None else [float(each) for each in margin]


def _unknown(value: str, group: Any) -> SymmetryError:
    return refuse(
        "there is no canonical form of this value under this group",
        got=f"{value} under {group!r}",
        expected="images under C4 or D4, or under any group of the plane with a frame; points under SE3, E3, SxE3 and the "
        "like; graphs, molecules and sets under S",
        fix="--group as the data need it",
    )


_MANY: dict[str, Callable[[Canonical, list[Any]], list[Form]]] = {
    "graph": _graphs,
    "grid": _least,
    "framed": _framed,
    "cloud": _clouds,
    "rows": _rows,
    "none": _none,
}
