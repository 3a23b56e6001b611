"""One list each of groups, actions, frames, dtypes and batch shapes: every law runs over them."""

import dataclasses
from typing import NamedTuple

import torch

from canonize import (
    SE,
    SO,
    Average,
    Best,
    Boxes,
    C,
    Chain,
    D,
    E,
    Factor,
    Fields,
    Flipped,
    Flips,
    Icosahedral,
    Image,
    Index,
    Keypoints,
    Mask,
    Nodes,
    O,
    Octahedral,
    Pairs,
    Planar,
    Point,
    Polar,
    Product,
    Rows,
    S,
    Scalar,
    SignRule,
    Sorted,
    Symmetry,
    Tensor,
    Translation,
    Vector,
    VectorImage,
    Volume,
    generated_by,
)
from canonize.actions import Each

DTYPES = [torch.float32, torch.float64]
BATCHES = [(), (3,), (2, 3)]


def hyperoctahedral(n):
    """All signed permutations of n axes: 2^n n! of them."""
    swap, cycle, flip = torch.eye(n), torch.eye(n).roll(1, 0), torch.eye(n)
    swap[:2, :2], flip[0, 0] = torch.tensor([[0.0, 1.0], [1.0, 0.0]]), -1.0
    return generated_by(torch.stack([swap, cycle, flip]))


def hexagonal():
    """Six-fold rotations in the basis of a hexagonal lattice: whole numbers, not orthogonal."""
    return generated_by([[1, -1], [1, 0]])


def skewed():
    """C(4) seen in oblique axes: neither orthogonal nor whole numbers."""
    basis = torch.tensor([[1.0, 0.3], [0.0, 2.0]], dtype=torch.float64)
    return generated_by(basis @ torch.tensor([[0.0, -1.0], [1.0, 0.0]], dtype=torch.float64) @ basis.inverse())


FINITE = [
    *(C(n) for n in (1, 2, 3, 4, 7, 8)),
    *(D(n) for n in (1, 3, 4)),
    Octahedral(),
    Octahedral(reflections=True),
    Icosahedral(),
    Icosahedral(reflections=True),
    hexagonal(),
    skewed(),
    hyperoctahedral(4),
    *(S(n) for n in (0, 1, 5)),
    *(Flips(n) for n in (0, 1, 5)),
    Product(C(4), D(3)),
]
INFINITE = [
    *(SO(n) for n in (2, 3, 5)),
    *(O(n) for n in (2, 3)),
    Translation(3),
    SE(2),
    SE(3),
    E(3),
    Product(S(4), O(3)),
]
GROUPS = [*FINITE, *INFINITE]
PLANE = [g for g in (*FINITE, SO(2), O(2)) if getattr(g, "dim", None) == 2 and g not in (hexagonal(), skewed())]
# Groups of the plane, which also turn three-dimensional values about an axis.
UPRIGHT = [*(g for g in PLANE if g not in (C(2), C(7), C(8))), Translation(2), SE(2), E(2)]
SPACE = [Octahedral(), Octahedral(reflections=True), Icosahedral(), SO(3)]


class Pair(NamedTuple):
    first: torch.Tensor
    second: torch.Tensor


@dataclasses.dataclass(frozen=True)
class Cloud:
    pos: torch.Tensor
    charge: torch.Tensor
    name: str = "cloud"


def draw(*shape, dtype=torch.float64, seed=0):
    x = torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return x > 0 if dtype == torch.bool else (x * 8).round().to(dtype) if not dtype.is_floating_point else x.to(dtype)


def values(*shape):
    """A maker of values of that shape from a dtype."""
    return lambda dtype: draw(*shape, dtype=dtype)


def boxes(dtype, size=(6, 6), batch=3):
    corner = draw(batch, 4, 2, dtype=dtype)
    return torch.cat([corner, corner + draw(batch, 4, 2, dtype=dtype, seed=1).abs()], -1)


def sized(dtype):
    """Boxes as a place and a size."""
    return torch.cat([draw(3, 4, 2, dtype=dtype), draw(3, 4, 2, dtype=dtype, seed=1).abs()], -1)


def pictures(dtype):
    """Three images of different sizes."""
    return [draw(2, size, size, dtype=dtype, seed=size) for size in (6, 5, 1)]


def detections(dtype):
    """What a detector finds in three images of 6 x 6: two things, nothing, one thing."""
    return [
        {
            "boxes": boxes(dtype, batch=1)[0, :count],
            "labels": torch.arange(count),
            "masks": draw(count, 1, 6, 6, dtype=dtype) > 0,
            "points": draw(count, 5, 3, dtype=dtype),
            "size": "6 x 6",
        }
        for count in (2, 0, 1)
    ]


FOUND = {
    "boxes": Boxes((6, 6)),
    "labels": Scalar(),
    "masks": Mask(),
    "points": Keypoints((6, 6), visible=True),
    "size": None,
}


def ragged(dtype):
    """Three samples; the one in the middle is empty, the rows are not in order."""
    return {"pos": draw(5, 3, dtype=dtype), "batch": torch.tensor([2, 0, 2, 2, 0])}


def nested(dtype):
    return {"a": draw(3, 1, 6, 6, dtype=dtype), "b": [boxes(dtype), 1]}


def symmetric_clouds(dtype):
    """Two without symmetry, and one with: the corners of a simplex."""
    return torch.cat([draw(2, 4, 3, dtype=dtype), torch.eye(4, 3, dtype=dtype)[None]])


def vector_and_scalar(dtype):
    return draw(3, 4, 2, dtype=dtype), draw(3, dtype=dtype)


RAGGED = Fields(pos=Rows(Point()), batch=Index(loose=True))
GRID_DTYPES = [torch.float32, torch.float64, torch.bfloat16, torch.int64, torch.bool, torch.uint8]
LOSSLESS_PLANE = [C(1), C(2), C(4), D(1), D(4)]

# (action, group, maker of a value from a dtype); the value has three samples.
CASES = [
    *((Image(), g, values(3, 2, 6, 6)) for g in PLANE),
    *((VectorImage(), g, values(3, 2, 5, 5)) for g in PLANE),
    *((Boxes((6, 6)), g, boxes) for g in LOSSLESS_PLANE),
    *((Boxes((6, 6), form, share), g, sized) for g in (C(4), D(4)) for form in ("xywh", "cxcywh") for share in (False, True)),
    *((Boxes(None, form, normalised=True), D(4), boxes if form == "xyxy" else sized) for form in ("xyxy", "cxcywh")),
    *((Boxes((4, 9), form, normalised=True), D(2), sized) for form in ("xywh", "cxcywh")),
    *((Keypoints((6, 6)), g, values(3, 4, 2)) for g in PLANE),
    *((Keypoints((6, 6), visible=True), g, values(3, 4, 3)) for g in PLANE),
    *((Each(Image()), g, pictures) for g in (C(4), D(4), C(8))),
    *((Each(FOUND), g, detections) for g in (C(4), D(4))),
    (Each(Fields(points=Keypoints((6, 6), visible=True))), D(4), detections),
    (Each((Point(), Scalar())), E(3), lambda dtype: [(draw(k, 3, dtype=dtype), draw(1, dtype=dtype)) for k in (4, 0, 2)]),
    *((Volume(), g, values(3, 2, 4, 4, 4)) for g in SPACE),
    *((Volume(), g, values(3, 5, 5, 5)) for g in SPACE[:2]),
    *((a, g, values(3, 4, g.dim)) for g in GROUPS if hasattr(g, "dim") for a in (Vector(), Point())),
    *((Vector(axis=-2), g, values(3, g.dim, 4)) for g in GROUPS if hasattr(g, "dim")),
    (Vector(axis=-3), O(3), values(3, 2, 3, 4, 5)),
    *((Planar(a), g, values(3, 4, 3)) for g in UPRIGHT for a in (Vector(), Point())),
    *((Planar(a, axis), g, values(3, 3, 3)) for g in (D(3), E(2)) for axis in (0, 1)
      for a in (Point(), Vector(axis=-2), Tensor(2), Tensor(1, odd=True))),
    *((Planar(Volume(), axis), g, values(3, 5, 5, 5)) for g in (C(4), D(4)) for axis in (0, 1, 2)),
    (Planar(Volume()), C(3), values(3, 5, 5, 5)),
    (Fields(pos=Rows(Planar(Point())), batch=Index(loose=True)), E(2), ragged),
    *((Tensor(2), g, values(3, g.dim, g.dim)) for g in (*FINITE, *INFINITE) if hasattr(g, "dim")),
    *((Tensor(r, odd=True), g, values(3, *(3,) * r)) for r in (0, 1, 3) for g in (O(3), E(3))),
    *((Scalar(), g, values(3, 4)) for g in GROUPS),
    *((Nodes(), S(n), values(3, n, 2)) for n in (0, 1, 5)),
    *((Pairs(), S(n), values(3, n, n)) for n in (0, 1, 5)),
    *((Flipped(), Flips(n), values(3, n, 2)) for n in (0, 1, 5)),
    (Chain(Factor(0, Flipped()), Factor(1, Flipped(axis=1))), Product(Flips(5), Flips(2)), values(3, 5, 2)),
    (Chain(Factor(0, Nodes()), Factor(1, Point())), Product(S(4), O(3)), values(3, 4, 3)),
    (Factor(0, Image()), Product(C(4), D(3)), values(3, 2, 6, 6)),
    (Factor(-1, Image(padding="border")), Product(C(4), D(3)), values(3, 2, 6, 6)),
    (RAGGED, E(3), ragged),
    (Fields(pos=Point(), charge=Scalar()), SE(3), lambda dtype: Cloud(draw(3, 4, 3, dtype=dtype), draw(3, 4, dtype=dtype))),
    (Fields(pos=Vector()), O(3), lambda dtype: {"pos": draw(3, 4, 3, dtype=dtype), "other": "kept"}),
    ((Vector(), None), SO(3), lambda dtype: Pair(draw(3, 3, dtype=dtype), draw(2, dtype=dtype))),
    ({"a": Image(), "b": [Boxes((6, 6)), None]}, D(4), nested),
]  # fmt: skip

# Actions that only move entries, for any dtype.
MOVES = [
    *((Image(), g, values(3, 2, 5, 5)) for g in LOSSLESS_PLANE),
    *((Mask(), g, values(3, 6, 6)) for g in (*LOSSLESS_PLANE, C(8))),
    *((Volume(), g, values(3, 1, 3, 3, 3)) for g in SPACE[:2]),
    (Nodes(), S(5), values(3, 5, 2)),
    (Pairs(), S(5), values(3, 5, 5)),
]


def brightness(x):
    """Not symmetric: weighs the upper left more."""
    h, w = x.shape[-2:]
    ramp = torch.linspace(1, 2, h, dtype=x.dtype)[:, None] * torch.linspace(1, 3, w, dtype=x.dtype)
    return (x * ramp).flatten(1).sum(1)


def constant(x):
    return torch.zeros(len(x), dtype=x.dtype)


def folded(x):
    """The same for an image and its mirror image."""
    return brightness(x) + brightness(x.flip(-1))


def height(pos, *_):
    return pos.flatten(1).sin().cumsum(1).sum(1)


def flat_energy(data):
    """For `ragged`: three samples, as many copies as there are."""
    copies = len(data["pos"]) // 5
    energy = torch.zeros(3 * copies, dtype=data["pos"].dtype)
    return energy.index_add(0, data["batch"], data["pos"][:, 0].sin() + data["pos"][:, 1])


def with_ties(dtype):
    """Sets: equal rows, all rows equal, equal first columns, distinct rows."""
    x = draw(4, 5, 2, dtype=dtype)
    x[0, 1:3], x[1], x[2, :, 0] = x[0, :1], 1.0, 0.5
    return x


def two_with_ties(dtype):
    return with_ties(dtype), with_ties(dtype)[..., 0].round()


def strains(d, *, reflected=False):
    """Deformations: at random, none, two equal stretches, almost flat; one that turns space inside out where `reflected`."""

    def made(dtype):
        x = torch.eye(d, dtype=dtype) + 0.4 * draw(5, d, d, dtype=dtype)
        x[1], x[2] = torch.eye(d), 1e-3 * torch.diag(torch.linspace(2, 3, d).round())
        x[3, :, 0] = x[3, :, 0] * 0.05
        if reflected:
            x[4, 0] *= -torch.linalg.det(x[4]).sign()
        return x

    return made


def crystals(dtype):
    """Cells with their vectors as rows, and six atoms in each."""
    return {"cell": 3 * torch.eye(3, dtype=dtype) + draw(4, 3, 3, dtype=dtype), "pos": draw(4, 6, 3, dtype=dtype)}


def slabs(dtype):
    """As `crystals`; the third vector of a cell is upright."""
    made = crystals(dtype)
    made["cell"] = made["cell"] * torch.tensor([[1.0, 1, 0], [1, 1, 0], [0, 0, 1]], dtype=dtype)
    return made


def images(dtype):
    """Random, constant, zero, mirror-symmetric, four-fold, of odd size."""
    x = draw(6, 2, 7, 7, dtype=dtype)
    x[1], x[2], x[3] = 0.7, 0.0, x[3] + x[3].flip(-1)
    x[4] = sum(x[4].rot90(k, (-2, -1)) for k in range(4))
    return x


def even_images(dtype):
    return torch.nn.functional.interpolate(images(dtype), size=(8, 8), mode="nearest")


_IMAGE_FRAMES = {
    "Average": Average(),
    "Best": Best(brightness),
    "Best-constant": Best(constant),
    "Best-folded": Best(folded),
    "Best-small": Best(brightness, resolution=3),
}

# (name, frame, symmetry, maker of inputs from a dtype)
FRAMES = [
    *(
        (f"{name}-{g}-{made.__name__}", frame, Symmetry(g, Image(), Scalar()), made)
        for name, frame in _IMAGE_FRAMES.items()
        for g in (C(4), D(4))
        for made in (images, even_images)
    ),
    ("Average-C(8)", Average(), Symmetry(C(8), Image(), Scalar()), images),
    ("Best-C(8)", Best(brightness), Symmetry(C(8), Image(), Scalar()), images),
    ("Average-volume", Average(), Symmetry(Octahedral(), Volume(), Scalar()), values(2, 1, 4, 4, 4)),
    ("Best-volume", Best(brightness, resolution=2), Symmetry(Octahedral(), Volume(), Scalar()),
     values(2, 1, 4, 4, 4)),
    ("Average-points", Average(), Symmetry(Icosahedral(), Point(), Scalar()), values(3, 6, 3)),
    ("Best-points", Best(height), Symmetry(Octahedral(True), Point(), Scalar()), symmetric_clouds),
    ("Best-tuple", Best(height), Symmetry(D(4), (Vector(), Scalar()), Scalar()), vector_and_scalar),
    ("Average-ragged", Average(), Symmetry(Octahedral(), RAGGED, Scalar()), ragged),
    ("Best-ragged", Best(flat_energy), Symmetry(Octahedral(), RAGGED, Scalar()), ragged),
    ("Average-graph", Average(), Symmetry(S(4), Pairs(), Scalar()), values(3, 4, 4)),
    ("Sorted", Sorted(), Symmetry(S(5), Nodes(), Scalar()), with_ties),
    *((f"Sorted-{n}", Sorted(), Symmetry(S(n), Nodes(), Scalar()), values(3, n, 2)) for n in (0, 1)),
    *(
        (f"Polar-{g}", Polar(), Symmetry(g, Vector(axis=-2), Scalar()), strains(g.dim, reflected=isinstance(g, SO)))
        for g in (SO(2), SO(3), SO(5), O(2), O(3))
    ),
    *(
        (f"Polar-cell-{g}", Polar(of="cell"), Symmetry(g, Fields(cell=Vector(), pos=Point()), Scalar()), crystals)
        for g in (SO(3), O(3))
    ),
    *(
        (f"Polar-slab-{g}", Polar(of="cell"), Symmetry(g, Fields(cell=Planar(Vector()), pos=Planar(Point())), Scalar()), slabs)
        for g in (SO(2), O(2))
    ),
    ("Sorted-two", Sorted(), Symmetry(S(5), (Nodes(), Nodes()), Scalar()), two_with_ties),
    ("SignRule", SignRule(), Symmetry(Flips(5), Flipped(), Scalar()), with_ties),
    ("SignRule-columns", SignRule(), Symmetry(Flips(2), Flipped(axis=1), Scalar()), with_ties),
]  # fmt: skip


def name(case):
    """An id for pytest."""
    return "-".join(str(part) for part in case[:2]) if isinstance(case, tuple) else str(case)
