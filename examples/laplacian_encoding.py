"""Laplacian encodings without random signs: `python examples/laplacian_encoding.py`.

The usual encoding gives each eigenvector a random sign, and multiple eigenvalues an arbitrary basis: two copies of one molecule
get different features. With canonical signs and bases they get the same, and a report of what a symmetry leaves open. Needs
`pip install canonize[pyg]`.
"""

import copy

import torch
from torch_geometric.data import Batch, Data
from torch_geometric.nn import GCNConv, global_add_pool

from canonize.integrations.pyg import CanonicalLaplacianPE

RING = [(i, (i + 1) % 6) for i in range(6)]


def molecule(name: str, atoms: int, bonds: list[tuple[int, int]]) -> Data:
    """Heavy atoms and bonds."""
    edges = torch.tensor(bonds).T
    return Data(edge_index=torch.cat([edges, edges.flip(0)], 1), num_nodes=atoms, name=name)


MOLECULES = [
    molecule("benzene", 6, RING),
    molecule("indole", 9, [*RING, (0, 6), (6, 7), (7, 8), (8, 1)]),
    molecule("methylindole", 10, [*RING, (0, 6), (6, 7), (7, 8), (8, 1), (7, 9)]),
    molecule("menthol", 11, [*RING, (0, 6), (3, 7), (7, 8), (7, 9), (2, 10)]),
]


def relabelled(data: Data) -> Data:
    """The same molecule with its atoms in another order."""
    moved = copy.copy(data)
    moved.edge_index = torch.randperm(data.num_nodes)[data.edge_index]
    return moved


class Network(torch.nn.Module):
    """A plain graph network on the encoding."""

    def __init__(self, k: int) -> None:
        super().__init__()
        self.inner, self.outer = GCNConv(k, 16), GCNConv(16, 1)

    def forward(self, data: Data, encoding: torch.Tensor) -> torch.Tensor:
        """One number a molecule."""
        hidden = self.inner(encoding, data.edge_index).tanh()
        return global_add_pool(self.outer(hidden, data.edge_index).tanh(), data.batch)[:, 0]


def main() -> None:
    """Print how far the answers for copies of a molecule differ, and what is fixed."""
    torch.manual_seed(0)
    encode = CanonicalLaplacianPE(4)
    network = Network(4).eval()
    batch, again = (Batch.from_data_list(each) for each in (MOLECULES, [relabelled(data) for data in MOLECULES]))
    batch, again = encode(batch), encode(again)

    def random_signs(data: Data) -> torch.Tensor:
        return data.lap_pe * (1 - 2 * torch.randint(2, (data.num_graphs, 4)))[data.batch]

    with torch.no_grad():
        change = network(batch, random_signs(batch)) - network(again, random_signs(again))
        print(f"random signs: {float(change.abs().max()):.1e} between copies of a molecule")
        change = network(batch, batch.lap_pe) - network(again, again.lap_pe)
        print(f"canonical:    {float(change.abs().max()):.1e} between copies of a molecule")
    for data, fixed in zip(MOLECULES, batch.lap_pe_fixed.tolist(), strict=True):
        print(f"{data.name:13}", " ".join("fixed" if each else "open " for each in fixed))
    print(encode.eigenvectors(batch))


if __name__ == "__main__":
    main()
