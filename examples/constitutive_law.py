"""A constitutive law learned by a plain network becomes objective: what it says turns with the body.

A network without any symmetry learns the stress of a neo-Hookean solid from deformation gradients F (3 x 3, dimensionless)
whose bodies are turned only a little. Shown a body that stands otherwise, it is wrong. Behind the polar rotation of F it
sees the stretch alone, its answer turns with the body by construction, and nothing is trained again.

    python examples/constitutive_law.py
    python examples/constitutive_law.py --stress kirchhoff --steps 4000

After the neural constitutive laws of Ma et al., arXiv 2304.14369.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import torch
from torch import nn

from canonize import SO, Polar, Symmetry, Tensor, Vector, symmetrize

SHEAR, BULK = 1.0, 2.0  # Lame's constants mu and lambda, in the unit of the stress
# How each stress moves when the body turns, F -> Q F: the first Piola-Kirchhoff stress as P -> Q P, the Kirchhoff stress as
# tau -> Q tau Q^T.
ACTIONS = {"piola": Vector(axis=-2), "kirchhoff": Tensor(2)}


def neo_hookean(deformation: torch.Tensor, stress: str) -> torch.Tensor:
    """The stress of a compressible neo-Hookean solid, (count, 3, 3), in the unit of its constants."""
    volume = torch.linalg.det(deformation).log()[:, None, None]
    back = torch.linalg.inv(deformation).mT
    piola = SHEAR * (deformation - back) + BULK * volume * back
    return piola if stress == "piola" else piola @ deformation.mT


def bodies(count: int, angle: float, draw: torch.Generator) -> torch.Tensor:
    """Deformation gradients (count, 3, 3): stretches of about 15 %, then a turn of about `angle` radians."""
    strain, spin = torch.randn(2, count, 3, 3, generator=draw)
    stretch = torch.matrix_exp(0.15 * (strain + strain.mT) / 2)
    return torch.matrix_exp(angle * (spin - spin.mT) / 2) @ stretch


class Plain(nn.Module):
    """Three layers from the nine entries of F to the nine of the stress; knows of no rotation."""

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(9, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, 9)
        )

    def forward(self, deformation: torch.Tensor) -> torch.Tensor:
        """The stress, (count, 3, 3)."""
        return self.layers((deformation - torch.eye(3)).flatten(1)).unflatten(1, (3, 3))


def trained(stress: str, steps: int, draw: torch.Generator) -> Plain:
    """A network that has seen bodies turned by about 6 degrees."""
    network = Plain()
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        seen = bodies(256, 0.1, draw)
        loss = (network(seen) - neo_hookean(seen, stress)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return network.eval()


@torch.no_grad()
def apart(found: torch.Tensor, wanted: torch.Tensor) -> float:
    """The relative error over all samples, dimensionless."""
    return float((found - wanted).norm() / wanted.norm())


def compare(stress: str, steps: int, seed: int = 0) -> dict[str, dict[str, float]]:
    """For the bare network and the same network behind its frame: the error of objectivity and the test errors."""
    torch.manual_seed(seed)
    draw = torch.Generator().manual_seed(seed)
    action = ACTIONS[stress]
    bare = trained(stress, steps, draw)
    objective = symmetrize(bare, Symmetry(SO(3), Vector(axis=-2), action), Polar())
    near, turns = bodies(2000, 0.1, draw), SO(3).sample(2000, generator=draw)
    models: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {"bare": bare, "behind Polar()": objective}
    return {
        name: {
            "objectivity": apart(model(turns @ near), action(turns, model(near))),
            "test, nearly upright": apart(model(near), neo_hookean(near, stress)),
            "test, any rotation": apart(model(turns @ near), neo_hookean(turns @ near, stress)),
        }
        for name, model in models.items()
    }


def main() -> None:
    """Print the comparison."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stress", choices=sorted(ACTIONS), default="piola")
    parser.add_argument("--steps", type=int, default=2000, help="training steps of 256 bodies (default: 2000)")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    found = compare(options.stress, options.steps, options.seed)
    print(f"relative errors, {options.stress} stress, {options.steps} steps")
    for name, errors in found.items():
        print(f"  {name:16}" + "".join(f"{what}: {error:.2g}   " for what, error in errors.items()))


if __name__ == "__main__":
    main()
