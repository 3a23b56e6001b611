"""Values on the way to a device: no wait where none is needed, and none saved where torch would read freed memory."""

from unittest.mock import Mock

import pytest
import torch

from canonize._values import sent


@pytest.mark.parametrize(
    ("here", "there", "patient"),
    [
        ("cpu", "cuda", False),
        ("cpu", torch.device("cuda:1"), False),
        ("cpu", "mps", True),
        ("cpu", torch.device("mps:0"), True),
        ("cuda", "cpu", True),
        ("mps", "cpu", True),
    ],
)
def test_a_copy_waits_only_where_numbers_would_be_lost(here, there, patient):
    """Back they have to arrive; there, torch before 2.13 reads what is sent to Apple's devices after it is freed."""
    value = Mock(device=torch.device(here), dtype=torch.float32)
    sent(value, there)
    assert value.to.call_args.kwargs["non_blocking"] is not patient
    assert torch.device(value.to.call_args.kwargs["device"]) == torch.device(there)


def test_what_stays_is_left_alone():
    x = torch.ones(3)
    assert sent(x, "cpu") is x
    assert sent(x, "cpu", torch.float64).dtype == torch.float64
