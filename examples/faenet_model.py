"""The published FAENet behind its own frames and behind exact ones: what changes when a molecule is moved.

    python examples/faenet_model.py

FAENet (Duval et al., arXiv 2305.05577, package `faenet`, MIT) reads relative positions with a plain network and leaves the
symmetry to frame averaging. Its frames are those of the principal axes: where a molecule is symmetric these are not defined,
and rounding chooses them. The same network, with the same weights, is put behind frames that are completed there. Then the
forces: as the gradient of the averaged energy they must agree with finite differences, and do so only if the gradient goes
through the frame. (Where the averaged energy jumps, as it does behind faenet's frames at symmetric molecules, it has none.)

The weights are random: symmetry is no matter of training. Needs `pip install canonize[pyg,ase]` and, as far as tried,
`faenet==0.1.3 "mendeleev<0.20" "sqlalchemy<2.1"`, with a torch-scatter that is compiled for the torch at hand.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from ase.build import molecule
from faenet import FAENet, FrameAveraging, model_forward
from torch import Tensor, nn
from torch_geometric.data import Batch, Data

from canonize import PCA, E, Rows, Scalar, Symmetry, Vector, Weighted, symmetrize
from canonize.actions import move
from canonize.integrations.pyg import pyg_fields
from canonize.nn import EnergyForces

GENERIC = ("CH3CH2OH", "CH3CONH2", "H2CO")
SYMMETRIC = ("CH4", "NH3", "C2H6", "C6H6")
FRAMES = {"PCA()": PCA(), 'PCA("ruled")': PCA(signs="ruled"), "Weighted()": Weighted()}

Network = Callable[[Batch], Mapping[str, Tensor]]


def near(data: Batch, cutoff: float, _: int) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """What FAENet asks of a graph, with edges between all atoms of a molecule nearer than `cutoff` Å.

    Returns:
        Atomic numbers (N,), sample of each atom (N,), edges (2, M), relative positions (M, 3) and distances (M,) in Å.
    """
    places = data.pos.detach()
    together = data.batch[:, None] == data.batch
    together &= torch.cdist(places, places, compute_mode="donot_use_mm_for_euclid_dist") < cutoff
    edges = together.fill_diagonal_(False).nonzero().T
    offsets = data.pos[edges[0]] - data.pos[edges[1]]
    return data.atomic_numbers, data.batch, edges, offsets, offsets.norm(dim=-1)


def faenet(dtype: torch.dtype) -> FAENet:
    """A small FAENet with direct forces and random weights, always the same."""
    torch.manual_seed(0)
    model = FAENet(
        preprocess=near,
        hidden_channels=64,
        num_filters=64,
        num_interactions=3,
        tag_hidden_channels=0,
        pg_hidden_channels=8,
        # Its graph norm is over all molecules of a batch at once: what one gets would depend on its neighbours.
        graph_norm=False,
        regress_forces="direct",
        force_decoder_type="simple",
        force_decoder_model_config={"simple": {"hidden_channels": 64}},
    )
    # As initialised it hardly looks at directions. Trained networks do.
    with torch.no_grad():
        model.embed_block.lin_e1.weight *= 4
    return model.to(dtype).eval()


class Predictions(nn.Module):
    """Energies (molecules, 1) and direct forces (atoms, 3) of a FAENet: what moves, without its hidden state."""

    def __init__(self, model: FAENet) -> None:
        super().__init__()
        self.model = model

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Both, without FAENet's derivative of the energy."""
        predicted = self.model(batch, mode="inference")
        return {name: predicted[name] for name in ("energy", "forces")}


def own_frames(model: FAENet, method: str) -> Network:
    """The model behind faenet's own frame averaging; `method` is "all", "det" or "stochastic"."""
    transform = FrameAveraging("3D", method)

    def run(batch: Batch) -> dict[str, Tensor]:
        posed = Batch.from_data_list([transform(data) for data in batch.to_data_list()])
        return model_forward(posed, model, "3D", mode="inference", crystal_task=False)

    return run


def molecules(names: tuple[str, ...], dtype: torch.dtype) -> Batch:
    """Molecules of the G2 set."""
    atoms = [molecule(name) for name in names]
    return Batch.from_data_list(
        [Data(atomic_numbers=torch.tensor(a.numbers), pos=torch.tensor(a.positions, dtype=dtype)) for a in atoms]
    )


def claim(batch: Batch) -> Symmetry:
    """Under rotations, reflections and shifts the energy stands still, and the forces turn."""
    return Symmetry(E(3), inputs=pyg_fields(batch), outputs={"energy": Scalar(), "forces": Rows(Vector())})


def changes(network: Network, names: tuple[str, ...], dtype: torch.dtype, count: int = 16) -> dict[str, list[float]]:
    """Largest relative error of the energy and of the direct forces of each molecule, over `count` drawn elements of E(3)."""
    batch, draw = molecules(names, dtype), torch.Generator().manual_seed(1)
    symmetry = claim(batch)
    before = {name: part.detach() for name, part in network(batch).items()}
    worst = {"energy": torch.zeros(len(names), dtype=dtype), "forces": torch.zeros(len(names), dtype=dtype)}
    for _ in range(count):
        g = symmetry.group.sample(len(names), generator=draw, dtype=dtype)
        after = {name: part.detach() for name, part in network(move(symmetry.inputs, g, batch)).items()}
        turned = (before["forces"].unsqueeze(1) @ g.linear[batch.batch].mT).squeeze(1)
        energy = before["energy"].reshape(-1)
        wrong = ((after["energy"].reshape(-1) - energy) / energy).abs()
        worst["energy"] = torch.maximum(worst["energy"], wrong)
        wrong, size = (_largest(part, batch) for part in (after["forces"] - turned, turned))
        worst["forces"] = torch.maximum(worst["forces"], wrong / size)
    return {name: part.tolist() for name, part in worst.items()}


def _largest(vectors: Tensor, batch: Batch) -> Tensor:
    """The largest norm in each molecule; NaN where there is one."""
    norms = vectors.norm(dim=1)
    return torch.stack([norms[batch.batch == k].max() for k in range(batch.num_graphs)])


def own_forces(model: FAENet, name: str) -> float:
    """Relative error of the forces that faenet finds from its averaged energy, against finite differences of it."""

    def run(batch: Batch) -> dict[str, Tensor]:
        model.regress_forces = "from_energy"
        try:
            return own_frames(model, "all")(batch)
        finally:
            model.regress_forces = "direct"

    return _against_differences(run, name)


def our_forces(model: FAENet, name: str, frame: Any) -> float:
    """The same of the gradient of the energy averaged over our frames."""
    averaged = symmetrize(Predictions(model), claim(molecules((name,), torch.float64)), frame)
    return _against_differences(EnergyForces(averaged, of="pos").eval(), name)


def _against_differences(network: Network, name: str, step: float = 1e-5) -> float:
    """Largest error of forces relative to the largest force, against central differences of the energy; `step` in Å."""
    (data,) = molecules((name,), torch.float64).to_data_list()
    found = network(Batch.from_data_list([data]))["forces"].detach()
    size = data.pos.numel()
    energies = []
    for sign in (step, -step):
        shifts = sign * torch.eye(size, dtype=torch.float64).reshape(size, -1, 3)
        moved = [Data(atomic_numbers=data.atomic_numbers, pos=data.pos + shift) for shift in shifts]
        energies.append(network(Batch.from_data_list(moved))["energy"].detach().reshape(-1))
    expected = -(energies[0] - energies[1]).reshape(-1, 3) / (2 * step)
    return float((found - expected).norm(dim=1).max() / expected.norm(dim=1).max())


def print_changes(names: tuple[str, ...], dtype: torch.dtype) -> None:
    """The tables of errors, and of how often the model is called."""
    model, batch = faenet(dtype), molecules(names, dtype)
    bare = Predictions(model)
    theirs = {f"faenet {method}": own_frames(model, method) for method in ("all", "det")}
    ours = {name: symmetrize(bare, claim(batch), frame) for name, frame in FRAMES.items()}
    with torch.no_grad():
        errors = {name: changes(network, names, dtype) for name, network in {"bare": bare, **theirs, **ours}.items()}
        calls = {name: (network.poses(batch).weights > 0).sum(0).tolist() for name, network in ours.items()}
        # Where symmetry leaves little of the direct forces, rounding is large beside what is left.
        sizes = [_largest(network(batch)["forces"], batch) for network in (ours["Weighted()"], bare)]
    for what in ("energy", "forces"):
        print(f"\n{what}, {dtype}: largest relative change over 16 elements of E(3)")
        print(f"{'':10}" + "".join(f"{name:>14}" for name in errors))
        for k, name in enumerate(names):
            print(f"{name:10}" + "".join(f"{error[what][k]:14.1e}" for error in errors.values()))
    print(f"\n{dtype}: largest averaged force over largest bare force; model calls for each molecule (faenet all: 8)")
    print(f"{'':10}{'size':>14}" + "".join(f"{name:>14}" for name in calls))
    for k, (name, size) in enumerate(zip(names, sizes[0] / sizes[1], strict=True)):
        print(f"{name:10}{size:14.4f}" + "".join(f"{counts[k]:14}" for counts in calls.values()))


def main() -> None:
    """Print the tables."""
    names = GENERIC + SYMMETRIC
    for dtype in (torch.float32, torch.float64):
        print_changes(names, dtype)
    model = faenet(torch.float64)
    print("\nforces from the averaged energy, torch.float64: largest relative error against finite differences")
    print(f"{'':10}{'faenet all':>14}" + "".join(f"{name:>14}" for name in FRAMES))
    for name in names:
        errors = [own_forces(model, name), *(our_forces(model, name, frame) for frame in FRAMES.values())]
        print(f"{name:10}" + "".join(f"{error:14.1e}" for error in errors))


if __name__ == "__main__":
    main()
