"""What is written is read back as it was, from tables and from shards."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from canonize import Cloud, D, Graph, SymmetryError
from canonize.cli.canonicalize import canonicalize
from canonize.cli.items import find_items
from canonize.scale import Canonical, Form
from canonize.scale.write import Layout, Sample, check_fits, columns, kind_of, writer

pytest.importorskip("pyarrow", reason="pyarrow is not installed")
g = torch.Generator().manual_seed(0)
PIXELS = torch.randint(0, 255, (4, 3, 5), generator=g, dtype=torch.uint8)
VALUES: dict[str, Any] = {
    "colours": PIXELS[:3],
    "transparent": PIXELS,
    "opaque": torch.cat([PIXELS[:3], torch.full((1, 3, 5), 255, dtype=torch.uint8)]),
    "gray": PIXELS[:1],
    "deep": torch.tensor([[[0, 65535, 3]]]),
    "deeper": torch.tensor([[[0, 65536, 3]]]),
    "floats": torch.randn(3, 4, 4, generator=g),
    "half": torch.randn(3, 2, generator=g).half(),
    "flags": torch.tensor([True, False]),
    "nothing": torch.zeros(0, 3),
    "cloud": Cloud(torch.randn(4, 3, generator=g, dtype=torch.float64), torch.tensor([6, 1, 1, 8])),
    "cloud of words": Cloud(torch.randn(2, 3, generator=g, dtype=torch.float64), ["C", "O"]),
    "cloud of isotopes": Cloud(torch.randn(2, 3, generator=g, dtype=torch.float64), [[6, 13], [1, 0]]),
    "graph": Graph(torch.tensor([[0, 1], [1, 2]]), [["C", 0.1], ["O", None], ["C", 1e-300]], ["a", 1], 3),
    "bare graph": Graph(torch.zeros(2, 0, dtype=torch.int64), None, None, 4, True),
}


def parts(value: Any) -> list[Any]:
    if isinstance(value, Graph):
        return [value.edges.tolist(), value.nodes, value.labels, value.count, value.directed]
    if isinstance(value, Cloud):
        return [
            value.points.tolist(),
            list(map(list, value.kinds)) if isinstance(value.kinds[0], tuple) else list(value.kinds),
        ]
    return [value.dtype, value.shape, value.tolist()]


@pytest.mark.parametrize("suffix", [".parquet", ".tar"])
@pytest.mark.parametrize("name", VALUES)
def test_a_value_comes_back(tmp_path: Path, name: str, suffix: str) -> None:
    form = Form(VALUES[name], {"order": torch.tensor([1, 0])}, 0.5, "ab")
    dim = 3 if isinstance(form.value, Cloud) else 0
    layout = Layout(kind_of(form.value), ("order",), True, True, dim)
    made = writer(tmp_path / f"a{suffix}", suffix, layout)
    made.add([Sample(place, f"s{place}", columns(form, layout), {}) for place in range(3)])
    made.add([])
    made.close()
    items = find_items(tmp_path / f"a{suffix}", None)
    assert len(items) == 3
    for item in items:
        assert parts(item.read()) == parts(form.value)


def test_the_same_samples_make_the_same_bytes(tmp_path: Path) -> None:
    form = Form(VALUES["colours"])
    for suffix in (".parquet", ".tar"):
        for name in "ab":
            made = writer(tmp_path / f"{name}{suffix}", suffix, Layout("image"))
            made.add([Sample(0, "s", columns(form, Layout("image")), {})])
            made.close()
        assert (tmp_path / f"a{suffix}").read_bytes() == (tmp_path / f"b{suffix}").read_bytes()


def test_what_is_of_another_kind_does_not_fit() -> None:
    check_fits(Layout("array"), Form(VALUES["colours"]))
    for layout, name in ((Layout("image"), "floats"), (Layout("cloud", dim=2), "cloud"), (Layout("graph"), "cloud")):
        with pytest.raises(SymmetryError, match=r"^the sample is of another kind than the first one"):
            check_fits(layout, Form(VALUES[name]))


def test_features_that_cannot_be_written_are_refused() -> None:
    with pytest.raises(SymmetryError, match=r"^features of this form cannot be written"):
        columns(Form(Graph(torch.tensor([[0], [1]]), [b"x", 1j], None, 2)), Layout("graph"))


def test_volumes_are_arrays(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.arange(2 * 27).reshape(2, 3, 3, 3).astype(np.uint8))
    canonicalize(tmp_path / "a.npy", tmp_path / "b.parquet", Canonical(D(4)))
    for item, given in zip(find_items(tmp_path / "b.parquet", None), find_items(tmp_path / "a.npy", None), strict=True):
        assert sorted(item.read().flatten().tolist()) == sorted(given.read().flatten().tolist())
