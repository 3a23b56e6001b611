"""A resampled turn is a lossless one and a small rest: lossless moves made before do not show in the bits."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from canonize import C, D, Icosahedral, Image, Mask, Octahedral, Volume
from canonize.actions.grid import split


@pytest.mark.parametrize("size", [(5, 5), (8, 8), (33, 33), (6, 4), (5, 8)])
@pytest.mark.parametrize("n", [3, 5, 6, 8, 16, 64])
@pytest.mark.parametrize("make", [C, D])
@pytest.mark.parametrize("action", [Image(), Image(interpolation="bicubic"), Image(padding="border"), Mask()], ids=repr)
def test_lossless_moves_do_not_show_in_the_bits(action: Any, make: Any, n: int, size: tuple[int, int]) -> None:
    elements = make(n).elements()
    square = size[0] == size[1]
    if not square:
        # Quarter turns, which would exchange height and width, are refused.
        elements = elements[elements[:, 0, 0].abs() > 1e-6]
    x = torch.rand(len(elements), 2, *size)
    for h in (D(4) if square else D(2)).elements():
        turn = h.expand(len(elements), 2, 2)
        assert torch.equal(action(elements, action(turn, x)), action(elements @ turn, x))


def test_nor_in_volumes() -> None:
    x, g = torch.rand(60, 1, 5, 5, 5), Icosahedral().elements()
    for h in Octahedral(reflections=True).elements():
        turn = h.expand(60, 3, 3)
        assert torch.equal(Volume()(g, Volume()(turn, x)), Volume()(g @ turn, x))


@pytest.mark.parametrize("group", [C(8), D(64), Octahedral(), Icosahedral(reflections=True)], ids=repr)
def test_the_parts_multiply_to_the_element_and_the_rest_is_small(group: Any) -> None:
    g = group.elements(dtype=torch.float64)
    lossless, rest = split(g, (4,) * group.dim)
    assert torch.equal(rest @ lossless, g)
    assert torch.equal(lossless.abs(), lossless.abs().round())
    # No farther than half a right angle in the plane; in space the farthest is about 63 degrees.
    assert float(rest.diagonal(dim1=-2, dim2=-1).sum(-1).min()) > (1.4 if group.dim == 2 else 1.7)


def test_a_grid_that_is_not_square_keeps_its_axes() -> None:
    lossless, _ = split(C(64).elements(), (4, 6))
    assert bool((lossless[:, 0, 1] == 0).all())
