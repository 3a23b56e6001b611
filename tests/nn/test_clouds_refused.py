"""What the networks for clouds refuse, and what they say of it."""

import pytest
import torch
from cloud_laws import POINTERS

from canonize.errors import SymmetryError
from canonize.nn import DeepSets, VectorNeurons

ALL = pytest.mark.parametrize("make", POINTERS.values(), ids=POINTERS)

REFUSED = {
    "one cloud": ({"points": torch.zeros(5, 3)}, r"points\[None\]"),
    "no axes": ({"points": torch.zeros(2, 5, 0)}, "cloud of points"),
    "list": ({"points": [[1.0]]}, "cloud of points"),
    "double": ({"points": torch.zeros(2, 5, 3).double()}, "differ in dtype"),
    "whole": ({"points": torch.zeros(2, 5, 3).long()}, "differ in dtype"),
    "no features": ({"points": torch.zeros(2, 5, 3), "features": None}, "features=2"),
    "other features": ({"points": torch.zeros(2, 5, 3), "features": torch.zeros(2, 5, 3)}, "features=2"),
    "no fields": ({"points": torch.zeros(2, 5, 3), "fields": None}, "fields=1"),
    "fields in the plane": ({"points": torch.zeros(2, 5, 3), "fields": torch.zeros(2, 5, 1, 2)}, "fields=1"),
    "weights": ({"points": torch.zeros(2, 5, 3), "weights": torch.ones(2)}, "weights do not fit"),
    "negative": ({"points": torch.zeros(2, 5, 3), "weights": -torch.ones(2, 5)}, "numbers from 0"),
    "nan weights": ({"points": torch.zeros(2, 5, 3), "weights": torch.full((2, 5), torch.nan)}, "numbers from 0"),
    "dense index": ({"points": torch.zeros(2, 5, 3), "index": torch.zeros(2).long()}, "with an index"),
    "short index": ({"points": torch.zeros(5, 3), "index": torch.zeros(4).long()}, "sample of each row"),
    "float index": ({"points": torch.zeros(5, 3), "index": torch.zeros(5)}, "index.long"),
    "negative index": ({"points": torch.zeros(5, 3), "index": -torch.ones(5).long()}, "does not exist"),
    "sample 4 of 2": ({"points": torch.zeros(5, 3), "index": torch.full((5,), 4), "batch": 2}, "does not exist"),
}


@ALL
@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(("call", "told"), REFUSED.values(), ids=REFUSED)
def test_what_is_no_cloud(make, call, told):
    net = make(2, features=2, fields=1)
    points = call["points"]
    lead = points.shape[:-1] if isinstance(points, torch.Tensor) else ()
    good = {"features": torch.zeros(*lead, 2), "fields": torch.zeros(*lead, 1, 3)}
    with pytest.raises(SymmetryError, match=told) as caught:
        net(**{**good, **call})
    assert type(net).__name__ in str(caught.value)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("bad", [0, -1, 2.5, True, "3", None])
def test_settings_of_cloud_networks(bad):
    for name in ("vectors", "depth"):
        for make in POINTERS.values():
            if bad is None and make is POINTERS["egnn"] and name == "vectors":
                continue
            with pytest.raises(SymmetryError, match=f"{name} is no positive whole number"):
                make(**{name: bad})
    if bad != 0:
        with pytest.raises(SymmetryError, match="features is no number of entries"):
            DeepSets(features=bad)
    if bad not in (2.5, None):
        with pytest.raises(SymmetryError, match="unit is no length"):
            VectorNeurons(unit=bad)
