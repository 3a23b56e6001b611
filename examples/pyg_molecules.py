"""A plain graph network on molecules, made exactly invariant: `python examples/pyg_molecules.py`.

The network reads coordinates as they come, so that its energies change when a molecule is turned. Behind a frame they do not,
for symmetric molecules such as methane and benzene either. Needs `pip install canonize[pyg]`.
"""

import math

import torch
from torch_geometric.data import Batch, Data
from torch_geometric.nn import GCNConv, global_add_pool

from canonize import PCA, SE, Scalar, Symmetry, symmetrize
from canonize.actions import move
from canonize.integrations.pyg import Canonical, pyg_fields


def graph(name: str, z: list[int], pos: list[list[float]]) -> Data:
    """Atoms with bonds between all that are nearer than 1.7 Angstrom."""
    places = torch.tensor(pos)
    near = (torch.cdist(places, places) < 1.7) & ~torch.eye(len(z), dtype=torch.bool)
    return Data(z=torch.tensor(z), pos=places, edge_index=near.nonzero().T, name=name)


def ring(radius: float) -> list[list[float]]:
    """A regular hexagon."""
    return [[radius * math.cos(k * math.pi / 3), radius * math.sin(k * math.pi / 3), 0.0] for k in range(6)]


MOLECULES = [
    graph("water", [8, 1, 1], [[0, 0, 0.119], [0, 0.763, -0.477], [0, -0.763, -0.477]]),
    graph("hydrogen peroxide", [8, 8, 1, 1], [[0, 0.73, -0.05], [0, -0.73, -0.05], [0.84, 0.88, 0.42], [-0.84, -0.88, 0.42]]),
    graph("methane", [6, 1, 1, 1, 1], [[0, 0, 0]] + [[0.63 * x, 0.63 * y, 0.63 * x * y] for x in (-1, 1) for y in (-1, 1)]),
    graph("benzene", [6] * 6 + [1] * 6, ring(1.395) + ring(2.482)),
]  # fmt: skip


class Network(torch.nn.Module):
    """Two rounds of messages over coordinates and kinds of atoms; knows nothing of rotations."""

    def __init__(self) -> None:
        super().__init__()
        self.kinds = torch.nn.Embedding(10, 13)
        self.first, self.second = GCNConv(16, 32), GCNConv(32, 32)
        self.energy = torch.nn.Linear(32, 1)

    def forward(self, batch: Batch) -> torch.Tensor:
        """Energies (graphs, 1)."""
        hidden = torch.cat([batch.pos, self.kinds(batch.z)], 1)
        hidden = self.first(hidden, batch.edge_index).tanh()
        hidden = self.second(hidden, batch.edge_index).tanh()
        return global_add_pool(self.energy(hidden), batch.batch, batch.num_graphs)


def main() -> None:
    """Print the relative change of the energies when the molecules are moved, before and after."""
    torch.manual_seed(0)
    model, molecules = Network().eval(), Batch.from_data_list(MOLECULES)

    fields = pyg_fields(molecules)
    print(fields)
    claim = Symmetry(SE(3), inputs=fields, outputs=Scalar())
    invariant = symmetrize(model, claim, PCA(signs="ruled"))

    moved = move(fields, SE(3).sample(len(MOLECULES), generator=torch.Generator().manual_seed(1)), molecules)
    with torch.no_grad():
        for name, network in (("plain network", model), ("behind a frame", invariant)):
            before, after = network(molecules), network(moved)
            error = (after - before).abs().max() / before.abs().max()
            print(f"{name + ':':16}{error:.1e} of the energy changes when molecules are moved")
        poses = (invariant.poses(molecules).weights > 0).sum(0)
    print(
        "model calls:    "
        + ", ".join(f"{name} {count}" for name, count in zip(molecules.name, poses.tolist(), strict=True))
    )

    # Posed once, as a data set is loaded; the pose stays in the graph.
    transform = Canonical(PCA(signs="ruled"), claim, ties=True)
    posed = transform(MOLECULES[1])
    there_and_back = (transform.undo(posed).pos - MOLECULES[1].pos).abs().max()
    print(f"{posed.name} posed and moved back: {there_and_back:.0e} Angstrom")


if __name__ == "__main__":
    main()
