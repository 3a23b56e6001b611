"""Small networks with drawn weights: what they say means nothing, how it changes is what the playground shows."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor, nn

from canonize.nn.scorer import drawn


@final
class Bare(nn.Module):
    """A number for each molecule from bare coordinates: it feels how the atoms stand, and where.

    Args:
        width: of the hidden layers.
        generator: draws the weights; the global one where None.

    Values: positions (batch, atoms, 3) in Å and atomic numbers (batch, atoms); the number (batch,) is dimensionless. The
        order of atoms does not matter.
    """

    def __init__(self, width: int = 32, *, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.first = drawn(4, width, fan=2, generator=generator)
        self.middle = drawn(width, width, fan=width, generator=generator)
        self.last = drawn(width, fan=width, generator=generator)

    def forward(self, positions: Tensor, numbers: Tensor) -> Tensor:
        """The number of each molecule."""
        kinds = numbers.to(positions.dtype).clamp(0, 120) / 9
        each = torch.tanh(torch.cat([positions / 1.5, kinds[..., None]], -1) @ self.first)
        # A mean, so that the last layer is in its bend for small and large molecules alike.
        whole = torch.tanh(torch.tanh(each @ self.middle).mean(1) * 2)
        answer: Tensor = whole @ self.last
        return answer


@final
class Numbered(nn.Module):
    """A number for each graph and one for each node that depend on how the nodes are numbered.

    Each node begins with waves of its number, as position encodings of sequences do, and hears its neighbours twice.

    Args:
        width: of the layers, even.
        generator: draws the weights; the global one where None.

    Values: adjacency matrices (batch, nodes, nodes); numbers (batch,) and (batch, nodes) between -1 and 1.
    """

    def __init__(self, width: int = 16, *, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.rates = nn.Parameter(2 * drawn(width // 2, fan=1.0, generator=generator).abs().detach())
        self.steps = nn.ParameterList(drawn(width, width, fan=width / 3, generator=generator) for _ in range(2))
        self.last = drawn(width, fan=width / 3, generator=generator)

    def forward(self, matrices: Tensor) -> tuple[Tensor, Tensor]:
        """The numbers of the graphs and of their nodes."""
        places = torch.arange(matrices.shape[-1], dtype=matrices.dtype, device=matrices.device)[:, None]
        waves = torch.cat([(places * self.rates).sin(), (places * self.rates).cos()], -1)
        known = waves.expand(len(matrices), *waves.shape)
        for step in self.steps:
            # Means, so that many neighbours do not drive the layer to its ends.
            heard = matrices @ known / matrices.sum(-1, keepdim=True).clamp_min(1)
            known = torch.tanh((known + heard) @ step)
        nodes = torch.tanh(known @ self.last)
        return nodes.mean(1), nodes
