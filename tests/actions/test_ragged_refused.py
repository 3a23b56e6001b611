"""Ragged batches that are not told right: what is refused, and what the message names."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from canonize import (
    SE,
    Edges,
    Fields,
    Index,
    Octahedral,
    Offsets,
    Point,
    Rows,
    Scalar,
    Symmetry,
    SymmetryError,
    symmetrize,
)
from canonize.actions import move
from canonize.actions.trees import batch_of
from lists import draw

DOUBLE = torch.float64

CLOUD = Fields(pos=Rows(Point()), batch=Index())
LOOSE = Fields(pos=Rows(Point()), batch=Index(loose=True))
COUNTED = Fields(pos=Rows(Point()), batch=Index(), ptr=Offsets())
STARTS = Fields(pos=Rows(Point()), ptr=Offsets())
JOINED = Fields(pos=Rows(Point()), batch=Index(), edge_index=Edges())


def cloud(index: list[int], ptr: list[int] | None = None, edges: list[list[int]] | None = None) -> dict[str, Tensor]:
    return {
        "pos": draw(len(index), 3),
        "batch": torch.tensor(index, dtype=torch.int64),
        **({} if ptr is None else {"ptr": torch.tensor(ptr, dtype=torch.int64)}),
        **({} if edges is None else {"edge_index": torch.tensor(edges)}),
    }


META = torch.zeros(3, 3, device="meta")
REFUSED = {
    "again": (CLOUD, cloud([0, 1, 0]), r"names sample 0 again after sample 1\n.*row 2"),
    "falls": (CLOUD, cloud([1, 0]), r"names sample 0 after sample 1\n.*row 1"),
    "skips": (CLOUD, cloud([0, 2]), r"skips sample 1,.*\n.*row 1 names sample 2 after sample 0"),
    "begins late": (CLOUD, cloud([1, 1]), r"skips sample 0,.*\n.*row 0 names sample 1 and is the first"),
    "negative": (CLOUD, cloud([0, -3]), r"negative\n.*sample -3 for row 1"),
    "negative, loose": (LOOSE, cloud([0, -3]), r"negative\n.*sample -3 for row 1"),
    "beyond": (
        Fields(**CLOUD.parts, e=Scalar()),
        {**cloud([0, 0, 7]), "e": draw(2)},
        r"does not exist\n.*sample 7 of 2, for row 2",
    ),
    "beyond none": (
        Fields(**CLOUD.parts, e=Scalar()),
        {**cloud([0]), "e": draw(0)},
        r"does not exist\n.*sample 0 of 0",
    ),
    "offsets count less": (
        COUNTED,
        cloud([0, 0, 1], [0, 2]),
        r"disagree on sample 1\n.*1 rows by the index\n.*1 samples by",
    ),
    "offsets say else": (
        COUNTED,
        cloud([0, 0, 1], [0, 1, 3]),
        r"disagree on sample 0\n.*2 rows by the index\n.*1 rows by the off",
    ),
    "offsets with loose": (
        Fields(pos=Rows(Point()), batch=Index(loose=True), ptr=Offsets()),
        cloud([1, 0], [0, 1, 2]),
        r"disagree on sample 0\n.*sample 1 for row 0",
    ),
    "offsets and others": (
        Fields(**STARTS.parts, e=Scalar()),
        {**cloud([0, 0], [0, 1, 2]), "e": draw(3)},
        r"disagree\n.*\.e: 3 samples, the offsets: 2 samples",
    ),
    "offsets go down": (STARTS, cloud([0, 0], [0, 3, 2]), r"go down at sample 1\n.*from 3 to 2"),
    "offsets from 1": (STARTS, cloud([0, 0], [1, 2]), r"do not begin with 0"),
    "no offsets": (STARTS, cloud([], []), r"do not begin with 0\n.*no entries"),
    "offsets end early": (STARTS, cloud([0, 0], [0, 1]), r"differ in length\n.*2 rows, 1 entries"),
    "two offsets": (
        Fields(**STARTS.parts, other=Offsets()),
        {**cloud([0], [0, 1]), "other": torch.tensor([0, 1])},
        "one index",
    ),
    "offsets of fractions": (
        STARTS,
        {"pos": draw(1, 3), "ptr": torch.tensor([0.0, 1.0])},
        r"not a vector of whole numbers",
    ),
    "no index": (
        Fields(edge_index=Edges(), e=Scalar()),
        {"edge_index": torch.zeros(2, 0).long(), "e": draw(1)},
        r"none as Index\(\)",
    ),
    "two samples": (
        JOINED,
        cloud([0, 0, 1], edges=[[0, 1], [1, 2]]),
        r"edge 1 joins two samples\n.*rows \[1, 2\] of samples 0 and 1",
    ),
    "nowhere": (
        JOINED,
        cloud([0, 0], edges=[[0, 0], [1, 5]]),
        r"edge 1 points to a row that does not exist\n.*rows \[0, 5\]\n.*rows 0 to 1",
    ),
    "before all": (
        JOINED,
        cloud([0, 0], edges=[[0, -1], [1, 0]]),
        r"edge 1 points to a row that does not exist\n.*rows \[-1, 0\]",
    ),
    "edges of pairs": (
        JOINED,
        cloud([0, 0], edges=[[0, 1], [1, 0], [0, 0]]),
        r"\.edge_index are not two rows.*\n.*shape \(3, 2\)",
    ),
    "edges of fractions": (JOINED, {**cloud([0]), "edge_index": torch.zeros(2, 1)}, r"not two rows of whole numbers"),
    "rows of no edges": (
        Fields(**CLOUD.parts, w=Rows(Scalar(), edges=True)),
        {**cloud([0]), "w": draw(1)},
        r"declared as Edges\(\)",
    ),
    "too few edges": (
        Fields(**JOINED.parts, w=Rows(Scalar(), edges=True)),
        {**cloud([0, 0], edges=[[0, 1], [1, 0]]), "w": draw(1)},
        r"\.w and the edges differ in length\n.*1 edges, 2 entries",
    ),
    "rows elsewhere": (CLOUD, {"pos": META, "batch": torch.tensor([0, 0, 1])}, r"\.pos on meta, \.batch on cpu"),
    "index elsewhere": (CLOUD, {"pos": draw(3, 3), "batch": META[:, 0].long()}, r"\.pos on cpu, \.batch on meta"),
    "edges elsewhere": (JOINED, {**cloud([0]), "edge_index": META[:2].long()}, r"edges on meta, index on cpu"),
    "offsets elsewhere": (COUNTED, {**cloud([0]), "ptr": META[:2, 0].long()}, r"index on cpu, offsets on meta"),
}


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(("spec", "value", "says"), REFUSED.values(), ids=list(REFUSED))
def test_refused(spec: Fields, value: dict[str, Tensor], says: str) -> None:
    for call in (
        lambda: batch_of(spec, value),
        lambda: symmetrize(lambda graph: graph["pos"], Symmetry(Octahedral(), spec, None))(value),
    ):
        with pytest.raises(SymmetryError, match=says) as caught:
            call()
        lines = str(caught.value).splitlines()
        assert [line[:11].strip() for line in lines[1:4]] == ["got:", "expected:", "try:"]


@pytest.mark.parametrize("wrong", [draw(3, 2), draw(3, 4), draw(3)], ids=lambda x: str(tuple(x.shape)))
def test_another_dimension_is_refused(wrong: Tensor) -> None:
    value = {**cloud([0, 0, 1]), "pos": wrong}
    with pytest.raises(SymmetryError, match=r"(?s)has too few axes|dimension of the group.*in: .*the value at \.pos"):
        move(CLOUD, SE(3).sample(2, dtype=DOUBLE), value)


def test_what_is_told_or_declared_loose_is_taken() -> None:
    assert batch_of(LOOSE, cloud([2, 0, 2]))[0] == 3
    assert batch_of(COUNTED, cloud([1, 1, 3], [0, 0, 2, 2, 3, 3]))[0] == 5
    assert (
        batch_of(STARTS, {name: part for name, part in cloud([1, 1], [0, 0, 2, 2]).items() if name != "batch"})[0] == 3
    )
    assert batch_of(Fields(**CLOUD.parts, e=Scalar()), {**cloud([1, 3]), "e": draw(6)})[0] == 6
    assert batch_of(CLOUD, cloud([]))[0] == 0
