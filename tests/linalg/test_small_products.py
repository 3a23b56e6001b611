"""Inner products along a short axis."""

import pytest
import torch

from canonize.linalg import dot


@pytest.mark.parametrize("lead", [(), (0,), (5,), (2, 3)])
@pytest.mark.parametrize("n", [1, 2, 3, 7])
def test_it_is_the_sum_of_products(lead, n):
    a, b = (torch.randn(*lead, n, generator=torch.Generator().manual_seed(s), dtype=torch.float64) for s in (0, 1))
    torch.testing.assert_close(dot(a, b), (a * b).sum(-1), rtol=1e-14, atol=1e-14)
    torch.testing.assert_close(dot(a, b[..., :1, :] if lead else b), (a * (b[..., :1, :] if lead else b)).sum(-1))


def test_autocast_rounds_nothing():
    a = torch.randn(50, 3, generator=torch.Generator().manual_seed(0))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = dot(a, a)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, (a * a).sum(-1), rtol=1e-6, atol=0)
