"""What is no group, no claim, no frame or no model is refused by every public function, in the house form."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from canonize import (
    SO,
    Average,
    C,
    Fields,
    Image,
    Sampled,
    Scalar,
    Symmetry,
    SymmetryError,
    audit,
    default_frame,
    groups,
    symmetrize,
)
from canonize.testing import assert_equivariant, check_action, check_frame, check_group

X = torch.ones(4, 1, 4, 4)
CLAIM = Symmetry(C(4), Image(), Scalar())
CALLS: dict[str, tuple[Callable[[], Any], str]] = {
    "check_group of a word": (lambda: check_group("C4"), "needs a group"),
    "check_group of a class": (lambda: check_group(C), "a class"),
    "check_group in whole numbers": (lambda: check_group(C(4), dtype=torch.int64), "floating-point dtype"),
    "check_group of no elements": (lambda: check_group(C(4), count=0), "bad count"),
    "check_action under a word": (lambda: check_action(Image(), "C4", X), "needs a group"),
    "check_action of a class": (lambda: check_action(Image, C(4), X), "Image"),
    "check_action in space": (lambda: check_action(Image(), SO(3), X), "does not fit the dimension"),
    "check_action of a word": (lambda: check_action(Image(), C(4), "x"), "no tensor"),
    "check_frame of a word": (lambda: check_frame("f", CLAIM, X), "cannot be called"),
    "check_frame of a class": (lambda: check_frame(Average, CLAIM, X), "the class Average"),
    "check_frame of an energy": (lambda: check_frame(lambda x: x, CLAIM, X), "not of two arguments"),
    "check_frame without a claim": (lambda: check_frame(Average(), "C4", X), "needs the claim"),
    "check_frame of two inputs": (lambda: check_frame(Average(), CLAIM, (X, X)), "may have been forgotten"),
    "assert_equivariant of a word": (lambda: assert_equivariant("m", CLAIM, X), "needs a model first"),
    "assert_equivariant without a claim": (lambda: assert_equivariant(len, "C4", X), "needs the claim"),
    "assert_equivariant without inputs": (lambda: assert_equivariant(len, CLAIM, None), "no tensor"),
    "assert_equivariant to a word": (lambda: assert_equivariant(len, CLAIM, X, tolerance="a"), "bad tolerance"),
    "audit without a claim": (lambda: audit(len, "C4", X), "needs the claim"),
    "audit of nothing": (lambda: audit(None, CLAIM, X), "needs a model first"),
    "symmetrize without a claim": (lambda: symmetrize(len, "C4"), "needs the claim"),
    "default_frame of a word": (lambda: default_frame("C4"), "needs the claim"),
    "Sampled without a claim": (lambda: Sampled(2)("C4", X), "needs the claim"),
    "the identity of a word": (lambda: groups.identity("C4"), "needs a group"),
    "the order of a word": (lambda: groups.order("C4"), "needs a group"),
    "Fields of a number": (lambda: Fields(3), "takes names"),
    "a claim without a group": (lambda: Symmetry("C4", Image(), Scalar()), "needs a group"),
}


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(("call", "told"), CALLS.values(), ids=CALLS)
def test_bad_input_is_refused(call: Callable[[], Any], told: str) -> None:
    with pytest.raises(SymmetryError, match=told) as caught:
        call()
    for part in ("got:", "expected:", "try:"):
        assert part in str(caught.value)
