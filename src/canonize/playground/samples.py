"""What there is to play with: drawn images, molecules with their geometry, graphs with a name."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

_PLANS = {
    "letter F": ("........", ".######.", ".#......", ".####...", ".#......", ".#......", ".#......", "........"),
    "arrow": ("...##...", "..####..", ".######.", "...##...", "...##...", "...##...", "...##...", "...##..."),
    "plus sign": ("........", "...##...", "...##...", ".######.", ".######.", "...##...", "...##...", "........"),
    "blank": ("........",) * 8,
}

_SYMBOLS = (
    "H He Li Be B C N O F Ne Na Mg Al Si P S Cl Ar K Ca Sc Ti V Cr Mn Fe Co Ni Cu Zn Ga Ge As Se Br Kr Rb Sr Y Zr Nb Mo "
    "Tc Ru Rh Pd Ag Cd In Sn Sb Te I Xe Cs Ba La Ce Pr Nd Pm Sm Eu Gd Tb Dy Ho Er Tm Yb Lu Hf Ta W Re Os Ir Pt Au Hg Tl "
    "Pb Bi Po At Rn Fr Ra Ac Th Pa U Np Pu Am Cm Bk Cf Es Fm Md No Lr Rf Db Sg Bh Hs Mt Ds Rg Cn Nh Fl Mc Lv Ts Og"
)
SYMBOLS = ("?", *_SYMBOLS.split())
"""Symbols of the elements by atomic number."""


def drawings(side: int, channels: int) -> dict[str, Tensor]:
    """Drawn images by name, (1, channels, side, side) float32 in [0, 1]: some symmetric, one blank."""
    found = {}
    for name, plan in _PLANS.items():
        pixels = torch.tensor([[float(cell == "#") for cell in row] for row in plan])[None, None]
        # A margin, so that nothing is cut off when the square is turned.
        inner = max(1, round(side * 0.7))
        image = F.interpolate(pixels, size=(inner, inner), mode="bilinear", align_corners=False)
        before = (side - inner) // 2
        after = side - inner - before
        found[name] = F.pad(image, (before, after, before, after)).expand(1, channels, side, side).contiguous()
    return found


def molecules(dtype: torch.dtype = torch.float64) -> dict[str, tuple[Tensor, Tensor]]:
    """Molecules by name: positions (1, atoms, 3) in Å about their mean, and atomic numbers (1, atoms) int64.

    Bond lengths and angles are experimental ones, rounded; ethanol is of the G2 set, doi 10.1063/1.473182. Methane and
    benzene have symmetries of their own, carbon dioxide lies on a line, bromochlorofluoromethane has a handedness.
    """
    corners = torch.tensor([[1.0, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]], dtype=dtype) / math.sqrt(3)
    ring = torch.arange(6, dtype=dtype) * (math.pi / 3)
    hexagon = torch.stack([ring.cos(), ring.sin(), torch.zeros_like(ring)], 1)
    half = math.radians(104.52 / 2)
    turn = torch.arange(3, dtype=dtype) * (2 * math.pi / 3)
    plans: dict[str, tuple[str, Tensor]] = {
        "ethanol": (
            "C C O H H H H H H",
            torch.tensor(
                [
                    [1.17, -0.40, 0.0],
                    [0.0, 0.56, 0.0],
                    [-1.19, -0.21, 0.0],
                    [-1.95, 0.38, 0.0],
                    [0.04, 1.21, 0.89],
                    [0.04, 1.21, -0.89],
                    [2.12, 0.14, 0.0],
                    [1.13, -1.04, 0.89],
                    [1.13, -1.04, -0.89],
                ],
                dtype=dtype,
            ),
        ),
        "water": (
            "O H H",
            0.957
            * torch.tensor(
                [[0.0, 0, 0], [math.sin(half), -math.cos(half), 0], [-math.sin(half), -math.cos(half), 0]], dtype=dtype
            ),
        ),
        "methane": ("C H H H H", torch.cat([torch.zeros(1, 3, dtype=dtype), 1.09 * corners])),
        "ammonia": (
            "N H H H",
            torch.cat(
                [
                    torch.zeros(1, 3, dtype=dtype),
                    torch.stack([0.94 * turn.cos(), 0.94 * turn.sin(), torch.full_like(turn, -0.38)], 1),
                ]
            ),
        ),
        "benzene": ("C C C C C C H H H H H H", torch.cat([1.397 * hexagon, 2.48 * hexagon])),
        "carbon dioxide": ("C O O", torch.tensor([[0.0, 0, 0], [1.16, 0, 0], [-1.16, 0, 0]], dtype=dtype)),
        "bromochlorofluoromethane": (
            "C H F Cl Br",
            torch.cat(
                [
                    torch.zeros(1, 3, dtype=dtype),
                    corners * torch.tensor([1.09, 1.36, 1.77, 1.93], dtype=dtype)[:, None],
                ]
            ),
        ),
    }
    found = {}
    for name, (symbols, places) in plans.items():
        numbers = torch.tensor([SYMBOLS.index(symbol) for symbol in symbols.split()])
        found[name] = ((places - places.mean(0))[None], numbers[None])
    return found


def graphs(dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
    """Graphs by name as adjacency matrices (1, nodes, nodes) of zeros and ones."""
    spokes = [(spoke, spoke + 5) for spoke in range(5)]
    plans: dict[str, tuple[int, list[tuple[int, int]]]] = {
        "house": (5, [(0, 1), (1, 2), (2, 3), (3, 0), (0, 4), (1, 4)]),
        "path": (7, [(node, node + 1) for node in range(6)]),
        "ring": (8, [(node, (node + 1) % 8) for node in range(8)]),
        "star": (7, [(0, node) for node in range(1, 7)]),
        "no symmetry": (7, [(0, 1), (1, 2), (2, 3), (3, 4), (4, 5), (2, 6), (2, 5), (3, 5)]),
        "Petersen": (
            10,
            [(n, (n + 1) % 5) for n in range(5)] + spokes + [(5 + n, 5 + (n + 2) % 5) for n in range(5)],
        ),
        "cube": (8, [(a, a | bit) for a in range(8) for bit in (1, 2, 4) if not a & bit]),
    }
    return {name: adjacency(count, edges, dtype)[None] for name, (count, edges) in plans.items()}


def adjacency(count: int, edges: list[tuple[int, int]], dtype: torch.dtype = torch.float32) -> Tensor:
    """The matrix (count, count) of an undirected graph, ones where there is an edge."""
    matrix = torch.zeros(count, count, dtype=dtype)
    for one, other in edges:
        matrix[one, other] = matrix[other, one] = 1
    return matrix
