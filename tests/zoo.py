"""The hard clouds: symmetric, flat, coincident, nearly so, far away, tiny and huge; every law of clouds runs over them."""

import itertools
import math
from functools import lru_cache

import pytest
import torch

from canonize import SE, E, Fields, Index, Point, Rigid, Rows, Scalar, Symmetry, Vector, symmetrize
from canonize import Tensor as TensorAction
from canonize.actions import move
from lists import draw

DOUBLE = torch.float64
POINTS = Fields(pos=Rows(Point()), batch=Index(loose=True), tag=Scalar())
"""A ragged batch; `tag` counts the samples, so that those without points are there."""
ANSWERS = {"energy": Scalar(), "dipole": Vector(), "forces": Rows(Vector()), "stress": TensorAction(2)}

SINGULAR = ("empty", "one", "zero", "coincident")
"""Clouds that are points: their vectors have no direction."""
SYMMETRIC = ("CH4", "benzene", "CO2", "cube", "hexagon", "polygon 5", "planar")


def rows(*points):
    return torch.tensor(points, dtype=DOUBLE)


def polygon(n, d=2, *, radius=1.0, turn=0.0, height=0.0):
    """The corners of a regular polygon in the first two axes."""
    angle = 2 * math.pi * torch.arange(n, dtype=DOUBLE) / n + turn
    x = torch.zeros(n, d, dtype=DOUBLE)
    x[:, 0], x[:, 1] = radius * angle.cos(), radius * angle.sin()
    if height:
        x[:, 2] = height
    return x


def hypercube(d):
    return torch.tensor(list(itertools.product((1.0, -1.0), repeat=d)), dtype=DOUBLE)


def cross(d):
    """The corners of the cross-polytope: an octahedron in space."""
    eye = torch.eye(d, dtype=DOUBLE)
    return torch.cat([eye, -eye])


def simplex(d):
    """d + 1 points at equal distances."""
    eye = torch.eye(d + 1, dtype=DOUBLE)
    eye = eye - eye.mean(0)
    return eye @ torch.linalg.svd(eye).Vh[:d].T


def icosahedron():
    golden = (1 + 5**0.5) / 2
    base = torch.tensor([(0.0, a, b * golden) for a in (1, -1) for b in (1, -1)], dtype=DOUBLE)
    return torch.cat([base.roll(step, 1) for step in range(3)])


def dodecahedron():
    golden = (1 + 5**0.5) / 2
    base = torch.tensor([(0.0, a / golden, b * golden) for a in (1, -1) for b in (1, -1)], dtype=DOUBLE)
    return torch.cat([hypercube(3), *(base.roll(step, 1) for step in range(3))])


def molecule(name):
    """Positions of a molecule in Angstrom, (n, 3)."""
    build = pytest.importorskip("ase.build", reason="the molecules are those of ASE: pip install ase")
    return torch.tensor(build.molecule(name).get_positions(), dtype=DOUBLE)


@lru_cache(maxsize=1)
def g2():
    """All 162 molecules of the G2 set: (name, points)."""
    collections = pytest.importorskip("ase.collections", reason="the molecules are those of ASE: pip install ase")
    return [(name, molecule(name)) for name in collections.g2.names]


def equal_moments(n, d, axes):
    """Random points whose first `axes` principal moments are equal; no symmetry."""
    x = draw(n, d, seed=5)
    x = x - x.mean(0)
    _, s, turn = torch.linalg.svd(x, full_matrices=False)
    s = s.clone()
    s[:axes] = s[:axes].mean()
    return torch.linalg.svd(x, full_matrices=False).U @ torch.diag(s) @ turn


def common(d):
    """What there is in every dimension."""
    x = draw(7, d, seed=2)
    flat, thin = x.clone(), x.clone()
    flat[:, -1], thin[:, -1] = 0.0, 1e-7 * x[:, -1]
    line = torch.zeros(5, d, dtype=DOUBLE)
    line[:, 0] = rows(-1.0, -0.4, 0.1, 0.5, 1.3)
    even = torch.zeros(3, d, dtype=DOUBLE)
    even[:, 0] = rows(-1.16, 0.0, 1.16)
    near = x.clone()
    near[1] = near[0] + 1e-6 * draw(d, seed=3)
    return {
        "empty": torch.zeros(0, d, dtype=DOUBLE),
        "one": 3.0 + torch.zeros(1, d, dtype=DOUBLE),
        "two": draw(2, d, seed=4),
        "zero": torch.zeros(4, d, dtype=DOUBLE),
        "coincident": draw(1, d, seed=4).expand(5, d).clone(),
        "generic": x,
        "many": draw(40, d, seed=8),
        "duplicates": x[:4].repeat(2, 1),
        "one twice": torch.cat([x, x[:1]]),
        "planar": flat,
        "almost planar": thin,
        "collinear": line,
        "CO2": even,
        "almost collinear": line + 1e-7 * draw(5, d, seed=6),
        "collinear but for 1e-3": line + 1e-3 * draw(5, d, seed=6),
        "bent": line + 0.03 * draw(5, d, seed=6),
        "inversion": torch.cat([x[:4], -x[:4]]),
        "mirror": torch.cat([x[:4], x[:4] * torch.tensor([-1.0, *[1.0] * (d - 1)], dtype=DOUBLE)]),
        "two moments equal": equal_moments(7, d, 2),
        "all moments equal": equal_moments(7, d, d),
        "on a sphere": torch.nn.functional.normalize(draw(9, d, seed=9), dim=-1),
        "neighbours": near,
        "cube": hypercube(d),
        "cube + 1e-6": hypercube(d) + 1e-6 * draw(2**d, d, seed=7),
        "octahedron": cross(d),
        "tetrahedron": simplex(d),
        "tetrahedron and centre": torch.cat([simplex(d), torch.zeros(1, d, dtype=DOUBLE)]),
        "far": x + 100.0,
        "tiny": 1e-6 * x,
        "tiny cube": 1e-6 * hypercube(d),
        "huge": 1e6 * x,
        "huge octahedron": 1e6 * cross(d),
    }


def special(d):
    """What there is in one dimension."""
    if d == 2:
        return {f"polygon {n}": polygon(n) for n in (3, 4, 5, 6, 8, 12)} | {
            "rectangle": rows((1.0, 0.6), (-1.0, 0.6), (1.0, -0.6), (-1.0, -0.6)),
            "windmill": torch.cat([polygon(3), polygon(3, radius=0.7, turn=0.4)]),
        }
    if d == 3:
        return {f"polygon {n}": polygon(n, 3) for n in (3, 4, 5, 8)} | {
            "hexagon": polygon(6, 3),
            "icosahedron": icosahedron(),
            "dodecahedron": dodecahedron(),
            "prism": torch.cat([polygon(3, 3, height=0.8), polygon(3, 3, height=-0.8)]),
            "antiprism": torch.cat([polygon(4, 3, height=0.5), polygon(4, 3, height=-0.5, turn=math.pi / 4)]),
            "propeller": torch.cat([polygon(3, 3, height=0.6), polygon(3, 3, height=-0.6, turn=0.3)]),
            "pyramid": torch.cat([polygon(4, 3), rows((0.0, 0.0, 0.7))]),
            "benzene": torch.cat([polygon(6, 3, radius=1.39), polygon(6, 3, radius=2.48)]),
            "CH4": torch.cat([0.6291 * hypercube(3)[[0, 3, 5, 6]], torch.zeros(1, 3, dtype=DOUBLE)]),
            # To six digits only, as files hold it.
            "NH3": rows((0.0, 0.0, 0.116489), (0.0, 0.939731, -0.271808), (0.813831, -0.469865, -0.271808),
                        (-0.813831, -0.469865, -0.271808)),
        }  # fmt: skip
    return {}


@lru_cache(maxsize=8)
def zoo(d):
    """All hard clouds of d dimensions: (name, points), float64."""
    return [*common(d).items(), *special(d).items()]


def member(name, d=3):
    """One cloud, (n, d) float64."""
    return dict(zoo(d))[name]


def ragged(clouds, dtype=DOUBLE):
    """A ragged batch of clouds (n, d), for `POINTS`."""
    counts = torch.tensor([len(cloud) for cloud in clouds], dtype=torch.int64)
    return {
        "pos": torch.cat(list(clouds)).to(dtype),
        "batch": torch.arange(len(clouds)).repeat_interleave(counts),
        "tag": torch.zeros(len(clouds), dtype=dtype),
    }


def size_of(cloud, *, shifts=True):
    """Largest distance from the mean, from the origin for groups without shifts; one for points."""
    about = cloud - cloud.mean(0) * shifts if len(cloud) else cloud
    far = float(about.norm(dim=-1).amax()) if len(cloud) else 0.0
    return far if far > 1e-12 * float(cloud.norm(dim=-1).amax() if len(cloud) else 0.0) else 1.0


def batch_of_clouds(clouds, group, dtype=DOUBLE):
    """The clouds as one ragged batch with their sizes, which `Generic` sees them in the unit of; and the sizes."""
    sizes = torch.tensor([size_of(cloud, shifts=isinstance(group, SE | E)) for cloud in clouds], dtype=DOUBLE)
    return {**ragged(clouds, dtype), "tag": sizes.log().to(dtype)}, sizes


def element(group, sizes, seed):
    """A random element for each sample, with shifts of the size of the cloud; float64."""
    h = group.sample((len(sizes),), generator=torch.Generator().manual_seed(seed), dtype=DOUBLE)
    return Rigid(h.linear, h.shift * sizes[:, None]) if isinstance(h, Rigid) else h


def cast(data, dtype):
    return {name: part.to(dtype) if part.is_floating_point() else part for name, part in data.items()}


def worst_of(off, path, data):
    """The largest entry of each sample, (batch,); infinite for NaN."""
    off = torch.where(off.isfinite(), off, torch.inf).reshape(len(off), -1)
    if path != "forces":
        return off.amax(1)
    return off.new_zeros(len(data["tag"])).scatter_reduce(0, data["batch"], off.amax(1), "amax")


def violations(frame, group, clouds, dtype, *, count=16, model=None):
    """How far the symmetrized model is from its claim: (batch,) by output, over the size of what the bare model returns.

    The largest over `count` elements for each cloud. Where coordinates are larger than the cloud they are rounded in units of
    their own, which no frame can mend: there in units of that.
    """
    x, sizes = batch_of_clouds(clouds, group)
    symmetry = Symmetry(group, POINTS, ANSWERS)
    model = Generic(clouds[0].shape[-1]) if model is None else model
    fixed = symmetrize(model, symmetry, frame, chunk=64)
    with torch.no_grad():
        base, bare = cast(fixed(cast(x, dtype)), DOUBLE), model(x)
        found = {path: torch.zeros(len(clouds), dtype=DOUBLE) for path in ANSWERS}
        for seed in range(count):
            h = element(group, sizes, seed)
            y = move(POINTS, h, x)
            far = y["pos"].abs().amax(-1) if len(y["pos"]) else y["pos"].sum(-1)
            raw = sizes.new_zeros(len(sizes)).scatter_reduce(0, x["batch"], far, "amax")
            slack = (raw / sizes).clamp(min=1)
            wanted = move(ANSWERS, h, base, index=x["batch"])
            for path, part in fixed(cast(y, dtype)).items():
                typical = bare[path].square().mean().sqrt()
                off = worst_of((part.double() - wanted[path]).abs() / typical, path, x)
                found[path] = torch.maximum(found[path], off / slack)
    return found


class Generic(torch.nn.Module):
    """A smooth model of clouds that is neither odd nor even and has no symmetry but that of the order of points.

    Sees the shape in units of `unit`, one number a sample (tag), so that tiny and huge clouds are as interesting as others.
    """

    def __init__(self, d, *, ragged=True, hidden=12, seed=0):
        super().__init__()
        self.d, self.ragged = d, ragged
        shapes = {"inner": (d, hidden), "shift": (hidden,), "energy": (hidden,), "dipole": (hidden, d), "own": (2 * hidden, d),
                  "stress": (hidden, d * d)}  # fmt: skip
        for number, (name, shape) in enumerate(shapes.items()):
            self.register_buffer(name, draw(*shape, seed=100 * seed + number + 1) / shape[0] ** 0.5)

    def forward(self, data):
        pos, count = data["pos"], len(data["tag"])
        if self.ragged:
            unit = data["tag"].exp()[data["batch"], None]
        else:
            unit = data["tag"].exp()[:, None, None]
        hidden = torch.sin(pos / unit @ (1.5 * self.inner.to(pos)) + self.shift.to(pos))
        if self.ragged:
            number = torch.bincount(data["batch"], minlength=count).clamp(min=1).to(pos)
            total = hidden.new_zeros(count, hidden.shape[1]).index_add(0, data["batch"], hidden)
            mean = total / number[:, None]
            each = mean[data["batch"]]
        else:
            mean = hidden.sum(1) / max(1, hidden.shape[1])
            each = mean[:, None].expand_as(hidden)
        mixed = torch.sin(2 * mean + 0.5)
        own = torch.cat([hidden, each], -1)
        return {
            "energy": (mixed @ self.energy.to(pos) + 1).cos(),
            "dipole": torch.tanh(mixed @ self.dipole.to(pos) + 0.3),
            "forces": torch.sin(own @ self.own.to(pos) + 0.4),
            "stress": torch.sin(mixed @ self.stress.to(pos) + 0.2).reshape(count, self.d, self.d),
        }
