"""Matrices for canonical eigenvectors: graphs with many automorphisms and with none, weighted ones, and edge cases."""

import itertools

import torch

from lists import draw

DOUBLE = torch.float64


def graph(n, edges):
    """The adjacency matrix of an undirected graph."""
    a = torch.zeros(n, n, dtype=DOUBLE)
    for i, j in edges:
        a[i, j] = a[j, i] = 1.0
    return a


def laplacian(a):
    return torch.diag(a.sum(1)) - a


def cycle(n, *steps):
    return graph(n, [(i, (i + step) % n) for i in range(n) for step in (steps or (1,))])


def path(n):
    return graph(n, [(i, i + 1) for i in range(n - 1)])


def random_graph(n, seed, edge=0.3):
    a = (draw(n, n, seed=seed) > (1 - 2 * edge)).to(DOUBLE).triu(1)
    return a + a.mT


def random_tree(n, seed):
    up = torch.rand(n, generator=torch.Generator().manual_seed(seed))
    return graph(n, [(i, int(up[i] * i)) for i in range(1, n)])


def weighted(n, seed):
    a = draw(n, n, seed=seed)
    return a + a.mT


def rook():
    """4 x 4, strongly regular."""
    places = list(itertools.product(range(4), repeat=2))
    return graph(16, [(a, b) for a, b in itertools.combinations(range(16), 2)
                      if (places[a][0] == places[b][0]) != (places[a][1] == places[b][1])])  # fmt: skip


def hypercube(d):
    n = 2**d
    return graph(n, [(i, i ^ (1 << k)) for i in range(n) for k in range(d)])


def petersen():
    pairs = list(itertools.combinations(range(5), 2))
    return graph(10, [(a, b) for a, b in itertools.combinations(range(10), 2) if not set(pairs[a]) & set(pairs[b])])


ASYMMETRIC = graph(6, [(0, 1), (1, 2), (2, 3), (3, 4), (1, 5), (2, 5)])
"""One of the smallest graphs without automorphisms."""
FRUCHT = graph(12, [(i, (i + 1) % 7) for i in range(7)] + [
    (0, 7), (1, 7), (2, 8), (3, 9), (4, 9), (5, 10), (6, 10), (7, 11), (8, 11), (8, 9), (10, 11),
])  # fmt: skip
"""Cubic, without automorphisms: all degrees are alike."""

CASES = {
    "one": torch.ones(1, 1, dtype=DOUBLE),
    "two": laplacian(path(2)),
    "zero": torch.zeros(4, 4, dtype=DOUBLE),
    "identity": torch.eye(5, dtype=DOUBLE),
    "path": laplacian(path(6)),
    "cycle": laplacian(cycle(7)),
    "star": laplacian(graph(6, [(0, i) for i in range(1, 6)])),
    "complete": laplacian(1 - torch.eye(6, dtype=DOUBLE)),
    "hypercube": laplacian(hypercube(3)),
    "petersen": laplacian(petersen()),
    "rook": laplacian(rook()),
    "skip links": laplacian(cycle(41, 1, 9)),
    "asymmetric": laplacian(ASYMMETRIC),
    "frucht": laplacian(FRUCHT),
    "frucht, adjacency": FRUCHT,
    "random": laplacian(random_graph(12, 3)),
    "random 24": laplacian(random_graph(24, 5, 0.15)),
    "tree": laplacian(random_tree(20, 1)),
    "weighted": weighted(9, 1),
    "weighted 30": weighted(30, 2),
    "two copies": torch.block_diag(weighted(3, 3), weighted(3, 3), weighted(4, 4)),
    "disconnected": laplacian(torch.block_diag(random_tree(9, 4), cycle(5), path(3), torch.zeros(1, 1, dtype=DOUBLE))),
    "planes": (lambda q: q @ torch.diag(torch.tensor([1.0, 1.0, 1.0, 2.0, 2.0, 3.0, 5.0, 5.0], dtype=DOUBLE)) @ q.mT)(
        torch.linalg.qr(draw(8, 8, seed=6)).Q
    ),
    "tiny": 1e-9 * weighted(6, 7),
    "huge": 1e9 * weighted(6, 7),
    "shifted": weighted(6, 7) + 30 * torch.eye(6, dtype=DOUBLE),
}
SMALL = [name for name, a in CASES.items() if len(a) <= 7]


def automorphisms(a):
    """All permutations p with a[p][:, p] = a, by looking at each of them."""
    n = len(a)
    every = torch.tensor(list(itertools.permutations(range(n))))
    moved = a[every[:, :, None], every[:, None, :]]
    return every[(moved == a).flatten(1).all(1)]


def fixable(a, space):
    """For each eigenspace the dimension of what all automorphisms leave alone: as much as any rule can fix."""
    _, vectors = torch.linalg.eigh(a)
    mean = torch.nn.functional.one_hot(automorphisms(a), len(a)).to(DOUBLE).mean(0)
    found = {}
    for number in space.unique().tolist():
        own = vectors[:, space == number]
        found[number] = round(float((own.mT @ mean @ own).trace()))
    return found


def mixed_eigh(real, seed):
    """A solver that returns other signs and, inside of eigenspaces, other bases."""
    generator = torch.Generator().manual_seed(seed)

    def eigh(matrix):
        values, vectors = real(matrix)
        vectors = vectors.clone()
        for number in range(len(matrix)):
            scale = float(values[number].abs().amax()) if values.shape[1] else 0.0
            cuts = [0, *((values[number].diff() > 1e-7 * scale).nonzero()[:, 0] + 1).tolist(), values.shape[1]]
            for start, end in itertools.pairwise(cuts):
                if end > start:
                    turn = torch.linalg.qr(
                        torch.randn(end - start, end - start, dtype=values.dtype, generator=generator)
                    )
                    vectors[number, :, start:end] = vectors[number, :, start:end] @ turn.Q
        return values, vectors

    return eigh
