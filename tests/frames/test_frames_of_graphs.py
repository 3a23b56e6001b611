"""Frames of clouds on ragged batches with edges: vectors on edges are read as vectors on nodes are."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from canonize import PCA, SE, SO, E, Fields, O, Octahedral, Rows, Scalar, Symmetry, Vector, Weighted, audit, symmetrize
from canonize.testing import assert_equivariant, check_frame
from ragged_graphs import GRAPH, OUTPUTS, graphs, messages

FRAMES = [PCA(), PCA(signs="ruled"), Weighted()]
SIZES = [5, 0, 3, 1, 4]
OVER_FRAMES = pytest.mark.parametrize("frame", FRAMES, ids=repr)


@OVER_FRAMES
@pytest.mark.parametrize("group", [SO(3), O(3), SE(3), E(3)], ids=repr)
def test_graphs(group: Any, frame: Any) -> None:
    check_frame(frame, Symmetry(group, GRAPH, Scalar()), graphs(SIZES))


@OVER_FRAMES
@pytest.mark.parametrize("group", [SO(3), O(3)], ids=repr)
def test_vectors_on_edges_alone(group: Any, frame: Any) -> None:
    spec = Fields({**GRAPH.parts, "pos": Rows(Scalar())})
    check_frame(frame, Symmetry(group, spec, Scalar()), graphs(SIZES))


@OVER_FRAMES
@pytest.mark.parametrize("chunk", [1, 3])
def test_a_model_of_messages(frame: Any, chunk: int) -> None:
    claim, value = Symmetry(E(3), GRAPH, OUTPUTS), graphs(SIZES)
    # One sample has all its symmetries: it has more poses than the others, which have no more for that.
    value["pos"][:5], value["z"][:5] = torch.tensor([[1.0, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 0]]), 1
    upright = symmetrize(messages, claim, frame, chunk=chunk)
    assert_equivariant(upright, claim, value, tolerance=1e-9)


def test_an_audit_of_graphs() -> None:
    claim = Symmetry(Octahedral(), GRAPH, {"flow": Rows(Vector(), edges=True), "energy": Scalar()})
    value = graphs([4, 3, 2, 5, 3] * 3)

    def flow(graph: dict[str, Any]) -> dict[str, Any]:
        return {name: messages(graph)[name] for name in ("flow", "energy")}

    plain, mended = (
        audit(flow, claim, value, batch_size=5),
        audit(symmetrize(flow, claim), claim, value, batch_size=5),
    )
    assert plain.verdict == "fail"
    assert mended.verdict != "fail"
    assert mended.error.max < 1e-12
