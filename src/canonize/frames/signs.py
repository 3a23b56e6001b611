"""Which way the principal axes of a cloud point: a rule that turns with it."""

from __future__ import annotations

from itertools import combinations, product

import torch
from torch import Tensor

from canonize._values import constant
from canonize.frames.cloud import Cloud


def sign_table(d: int, mirrors: bool, like: Tensor) -> Tensor:
    """All choices of signs of d axes, (k, d): 2^d, or the 2^(d - 1) of an even number of minus signs; all plus first."""
    rows = [signs for signs in product((1.0, -1.0), repeat=d) if mirrors or signs.count(-1.0) % 2 == 0]
    return constant(rows, dtype=like.dtype, device=like.device).reshape(-1, d)


def sign_scores(cloud: Cloud, axes: Tensor, values: Tensor, signs: Tensor) -> Tensor:
    """How much each choice of signs is preferred, (k, batch): one function of the cloud as seen from each pose.

    Sums of odd moments along the axes: third moments (the skewness and its mixed kin), and products of higher ones that
    speak where these vanish. Each is of the order of one at most. Two choices score alike where the cloud looks the same
    from both, which is what symmetric clouds do; of other clouds, only exceptional ones.

    Args:
        cloud: the points.
        axes: (batch, d, d), columns.
        values: (batch, d), the mean squares along the axes.
        signs: (k, d), from `sign_table`.
    """
    d = cloud.dim
    # Along thin directions the units are floored, so that rounding is not blown up to a shape.
    scale = (values.clamp(min=0) + 5e-2 * torch.where(values[:, :1] > 0, values[:, :1], 1.0)).sqrt()
    frame = axes / scale[:, None, :]
    third, fourth, fifth, sixth, cube = _odd_moments(cloud, frame)
    ladder = 1.0 + 0.37 * torch.arange(d, dtype=third.dtype, device=third.device)
    even = torch.eye(d, dtype=third.dtype, device=third.device) + 0.31 * ladder
    single = _soft((third * even).sum(-1)) + 0.2 * _soft((fifth * even.flip(0)).sum(-1) / 4)
    total = torch.einsum("ka,ba->kb", signs, single * ladder)
    if d > 1:
        pairs = fourth / 3 + 0.17 * (sixth / 15)
        places = constant(list(combinations(range(d), 2)), device=third.device).mT
        products = signs[:, places[0]] * signs[:, places[1]]
        # The transposed moment counts differently, so that <z_a z_b^3> and <z_a^3 z_b> do not cancel.
        both = pairs[:, places[0], places[1]] + 0.61 * pairs[:, places[1], places[0]]
        spread = 1.0 + 0.23 * torch.arange(places.shape[1], dtype=third.dtype, device=third.device)
        total = total + 0.5 * products @ (_soft(both) * spread).mT
    if d > 2:
        triples = constant(list(combinations(range(d), 3)), device=cube.device)
        total = total + 0.5 * signs[:, triples].prod(-1) @ _soft(cube).mT
    return total


def _odd_moments(cloud: Cloud, frame: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Moments of the points seen in a frame (batch, d, d), z = x · frame, that are odd in at least one component.

    Returns:
        The means (batch, d, d) of z_a z_b^2, of z_a z_b^3, of z_a^3 z_b^2 and of z_a^3 z_b^3; and those of z_a z_b z_c
        for all a < b < c, in the order of `combinations`.
    """
    if cloud.index is None:
        z = (frame.mT @ cloud.points.mT).mT
    else:
        z = torch.einsum("ri,rij->rj", cloud.points, frame[cloud.index])
    if cloud.marks is not None:
        # Kinds count by their mark: a cloud that is symmetric but for its kinds is told apart by them.
        z = z * (0.75 + 0.5 * cloud.marks)[..., None]
    square = z.square()
    power = z * square
    # Product by product: features put side by side for one product would be copied for longer than all these take.
    third, fourth = cloud.moments(z, square), cloud.moments(z, power)
    fifth, sixth = cloud.moments(power, square), cloud.moments(power, power)
    triples = [cloud.mean(z[..., a] * z[..., b] * z[..., c]) for a, b, c in combinations(range(cloud.dim), 3)]
    return third, fourth, fifth, sixth, torch.stack(triples, -1) if triples else frame[:, 0, :0]


def _soft(x: Tensor) -> Tensor:
    """x, held between -1 and 1."""
    return x / (1 + x.abs())
