"""Simplicial complexes with their boundary matrices, and claims on their orientation: what the tests of flips are run on."""

import torch

from canonize import Chain, Factor, Flipped, Flips, Product, Scalar, Symmetry

EDGES = Factor(0, Flipped())
TRIANGLES = Factor(1, Flipped())
FIRST = Factor(0, Flipped(axis=1))
SECOND = Chain(Factor(0, Flipped()), Factor(1, Flipped(axis=1)))


def draw(*shape, dtype=torch.float64, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def strip(triangles, dtype=torch.float64):
    """A strip of triangles (i, i + 1, i + 2): its boundary matrices (nodes, edges) and (edges, triangles)."""
    faces = [(i, i + 1, i + 2) for i in range(triangles)]
    edges = sorted({pair for a, b, c in faces for pair in ((a, b), (a, c), (b, c))})
    first = torch.zeros(triangles + 2, len(edges), dtype=dtype)
    second = torch.zeros(len(edges), triangles, dtype=dtype)
    for number, (a, b) in enumerate(edges):
        first[a, number], first[b, number] = -1, 1
    for number, (a, b, c) in enumerate(faces):
        for sign, pair in ((1, (a, b)), (-1, (a, c)), (1, (b, c))):
            second[edges.index(pair), number] = sign
    assert not (first @ second).any()
    return first, second


def complexes(batch, triangles=2, channels=2, dtype=torch.float64, seed=0):
    """Flows on edges (batch, edges, channels), values on triangles, and the two boundary matrices, batched."""
    first, second = strip(triangles, dtype)
    flow = draw(batch, first.shape[1], channels, dtype=dtype, seed=seed)
    swirl = draw(batch, triangles, channels, dtype=dtype, seed=seed + 1)
    return flow, swirl, first.expand(batch, -1, -1), second.expand(batch, -1, -1)


def orientation(triangles=2):
    """The group of both orientations of a strip."""
    first, second = strip(triangles)
    return Product(Flips(first.shape[1]), Flips(second.shape[1]))


def _two(x, dtype):
    """A batch of five from one maker: at random, all zero, one thing zero, repeated, huge and tiny."""
    x = torch.stack([x, torch.zeros_like(x), x, x[:1].expand_as(x), 1e-6 * x]).to(dtype)
    x[2, 0] = 0
    return x


def flows(dtype):
    return _two(draw(4, 3), dtype)


def columns(dtype):
    """As eigenvectors: (batch, n, k), one thing for each column."""
    return _two(draw(4, 3), dtype).mT.contiguous()


def nothing(dtype):
    return draw(3, 0, 2, dtype=dtype), draw(3, dtype=dtype)


def waves(dtype):
    return torch.complex(flows(dtype), flows(dtype).flip(1))


def everything(dtype):
    flow, swirl, first, second = complexes(4, dtype=dtype)
    flow, swirl = flow.clone(), swirl.clone()
    flow[1], swirl[2, 0], flow[3], swirl[3] = 0, 0, 0, 0
    return flow, swirl, first, second


def tied(dtype):
    """Only the matrix between triangles and edges: every connected part may turn over as a whole."""
    second = torch.block_diag(strip(2, dtype)[1], strip(1, dtype)[1], torch.zeros(1, 1, dtype=dtype))
    some = draw(*second.shape, dtype=dtype) * second
    return torch.stack([second, some, torch.zeros_like(second), -second])


def laplacians(dtype):
    """Hodge Laplacians of edges, which feel the flips of edges twice; one has two parts, one is diagonal."""
    first, second = strip(2, dtype)
    whole = first.mT @ first + second @ second.mT
    parts = first.mT @ first
    parts[:2, 2:], parts[2:, :2] = 0, 0
    return torch.stack([whole, parts, torch.eye(len(whole), dtype=dtype), whole * draw(*whole.shape, dtype=dtype)])


# (name, claim, maker of inputs from a dtype); the outputs of a claim are for models.
CLAIMS = [
    ("flows", Symmetry(Flips(4), Flipped(), Flipped()), flows),
    ("columns", Symmetry(Flips(4), Flipped(axis=-1), Flipped(axis=-1)), columns),
    ("none", Symmetry(Flips(0), (Flipped(), Scalar()), Scalar()), nothing),
    ("complex numbers", Symmetry(Flips(4), Flipped(), Flipped()), waves),
    ("complexes", Symmetry(orientation(), (EDGES, TRIANGLES, FIRST, SECOND), EDGES), everything),
    ("boundaries", Symmetry(orientation(), (FIRST, SECOND), EDGES), lambda dtype: everything(dtype)[2:]),
    ("flow and second", Symmetry(orientation(), (EDGES, SECOND), TRIANGLES), lambda dtype: everything(dtype)[::3]),
    ("triangles and second", Symmetry(orientation(), (TRIANGLES, SECOND), TRIANGLES), lambda dtype: everything(dtype)[1::2]),
    ("tied", Symmetry(Product(Flips(9), Flips(4)), SECOND, SECOND), tied),
    ("laplacians", Symmetry(Flips(5), Chain(Flipped(), Flipped(axis=1)), Flipped()), laplacians),
]  # fmt: skip
