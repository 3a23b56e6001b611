"""How far canonical forms move under edits: universal orders do not move, others do, and both are told."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
import torch
from torch import Tensor

from canonize import (
    Average,
    CanonicalOrder,
    Nodes,
    Pairs,
    Poses,
    S,
    Scalar,
    Symmetry,
    SymmetryError,
    audit_stability,
)
from relabelled_graphs import OUT, RAGGED, ragged, ring, zoo

CLAIM = Symmetry(S(), {"gene": Nodes(), "links": Pairs()}, Scalar())


def dense(count: int = 6, n: int = 9, *, directed: bool = False) -> dict[str, Tensor]:
    draw = torch.Generator().manual_seed(0)
    links = (torch.rand(count, n, n, generator=draw) < 0.25).float()
    links = links if directed else ((links + links.mT) > 0).float()
    return {"gene": torch.stack([torch.randperm(n, generator=draw) for _ in range(count)]), "links": links}


@pytest.mark.parametrize("directed", [False, True])
def test_a_universal_order_does_not_move(directed: bool) -> None:
    value = dense(directed=directed)
    still = audit_stability(CanonicalOrder(first=".gene"), CLAIM, value)
    assert still.still == still.median == still.worst == 1.0
    assert still.known.numel() == 48
    free = audit_stability(CanonicalOrder(), Symmetry(S(), {"gene": None, "links": Pairs()}, Scalar()), value)
    assert free.worst > 2
    assert free.still < 0.9


def test_ragged_graphs() -> None:
    value = ragged([*zoo().values()], colours=1)
    found = audit_stability(CanonicalOrder(), Symmetry(S(), RAGGED, OUT), value, edits=3)
    # Two graphs of the zoo have one node; the empty one at the end is no sample, since nothing counts it.
    assert int(found.moved.isnan().sum()) == 6
    assert found.worst > 1
    value["x"] = torch.arange(len(value["x"]))[:, None].double()
    assert audit_stability(CanonicalOrder(), Symmetry(S(), RAGGED, OUT), value).worst == 1.0


def test_relabelled_copies_are_moved_alike() -> None:
    # The form is canonical: where an order follows the numbering, copies are moved by other amounts.
    value = dense(1)
    claim = Symmetry(S(), {"gene": None, "links": Pairs()}, Scalar())
    kept = audit_stability(_as_numbered, claim, value)
    assert kept.worst == 1.0
    ends = audit_stability(CanonicalOrder(), claim, {**value, "links": torch.zeros(1, 9, 9)})
    # The first edge of an empty graph has one place to be, whatever pair it joins.
    assert ends.worst == ends.still == 1.0


def _as_numbered(symmetry: Symmetry, inputs: Any) -> Poses:
    links = inputs["links"]
    return Poses(torch.arange(links.shape[1]).expand(1, len(links), -1), torch.ones(1, len(links)))


def test_figures() -> None:
    value = dense()
    found = audit_stability(CanonicalOrder(), CLAIM, value, edits=2)
    again = audit_stability(CanonicalOrder(), CLAIM, value, edits=2, generator=torch.Generator().manual_seed(0))
    assert torch.equal(found.moved, again.moved)
    assert json.loads(json.dumps(found.to_dict()))["edits"] == 12
    assert "in that edge alone" in str(found)
    none = audit_stability(CanonicalOrder(), CLAIM, {"gene": torch.zeros(2, 1), "links": torch.zeros(2, 1, 1)})
    assert math.isnan(none.worst)
    assert "no room" in str(none) or "no graph has room" in str(none)


def test_nothing_is_changed() -> None:
    value = dense()
    before = {name: part.clone() for name, part in value.items()}
    audit_stability(CanonicalOrder(), CLAIM, value)
    assert all(torch.equal(part, before[name]) for name, part in value.items())


def test_refused() -> None:
    with pytest.raises(SymmetryError, match="edits one graph"):
        audit_stability(CanonicalOrder(), Symmetry(S(), Nodes(), Scalar()), torch.zeros(2, 3, 1))
    with pytest.raises(SymmetryError, match="bad edits"):
        audit_stability(CanonicalOrder(), CLAIM, dense(), edits=0)
    with pytest.raises(SymmetryError, match="one canonical form"):
        audit_stability(Average(), Symmetry(S(3), Pairs(), Scalar()), ring(3)[None])
