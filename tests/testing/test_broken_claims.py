"""What a broken claim is told in: the model, the element in words, the size, the sample, and a way out that helps."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from canonize import (
    SE,
    SO,
    Average,
    Best,
    C,
    D,
    E,
    Image,
    LawError,
    Nodes,
    Point,
    S,
    Scalar,
    Symmetry,
    SymmetryError,
    Translation,
    Vector,
    audit,
    symmetrize,
)
from canonize.audit.labels import in_words
from canonize.groups import Flips, Octahedral, Rigid
from canonize.testing import assert_equivariant, check_action, check_continuity, check_frame, check_group

TURNS = Symmetry(C(4), Image(), Scalar())
BATCH, WORST = 6, 4


class Corner(nn.Module):
    """Looks at one corner, which is only bright in one sample."""

    def forward(self, x: Tensor) -> Tensor:
        return 10 + x[:, :, :2, :2].mean((1, 2, 3))[:, None]


def images() -> Tensor:
    """All blank but one, of which three corners are dark."""
    x = torch.zeros(BATCH, 1, 6, 6)
    x[WORST, :, 4:, :2] = 5.0
    return x


def told(model: Any, claim: Symmetry = TURNS, x: Any = None, **options: Any) -> str:
    with pytest.raises(LawError) as caught:
        assert_equivariant(model, claim, images() if x is None else x, **options)
    return str(caught.value)


def test_the_model_the_element_the_size_and_the_sample() -> None:
    message = told(Corner())
    assert message.startswith(f"Corner breaks its claim f(h x) = h f(x): {TURNS!r}\n")
    found = re.search(r"got: +a relative difference of ([0-9.e-]+) at the (.+) in sample ([0-9]+); 1 of 24 ", message)
    assert found, message
    x = images()
    plain = Corner()(x)
    # The naive twin: every element, every sample.
    off = torch.stack([(Corner()(x.rot90(k, (-2, -1))) - plain).abs() / 15 for k in range(4)])[..., 0]
    element, sample = divmod(int(off.argmax()), BATCH)
    assert float(found[1]) == pytest.approx(float(off.max()), rel=0.01)
    assert found[2] == f"turn by {(90 * element)}°"
    assert int(found[3]) == sample == WORST
    assert re.search(r"expected: at most [0-9.e-]+", message)
    assert "symmetrize(model, symmetry, frame)" in message
    # It is the model that is wrong, not what is claimed of it.
    assert "breaks the law" not in message
    assert "h number" not in message


def test_the_words_of_the_audit_are_the_same() -> None:
    found = audit(Corner(), TURNS, images(), cost=False)
    assert f"turn by {found.worst[0].label}" in told(Corner())
    assert f"in sample {found.worst[0].sample}" in told(Corner())


def test_the_largest_of_all_elements_and_outputs_is_told() -> None:
    """Not the first that is above the tolerance."""

    def growing(x: Tensor) -> tuple[Tensor, Tensor]:
        # Off by 1 % for one turn, by half for the next; the second output by more than the first.
        corners = torch.stack([x[:, 0, 0, 0], x[:, 0, 0, -1], x[:, 0, -1, -1], x[:, 0, -1, 0]], 1)
        return 10 + corners[:, :1], 10 + 2 * corners[:, :1]

    x = torch.zeros(3, 1, 4, 4)
    x[1, 0, 0, -1], x[1, 0, -1, -1] = 0.1, 10.0
    message = told(growing, Symmetry(C(4), Image(), (Scalar(), Scalar())), x)
    assert "growing breaks its claim f(h x) = h f(x) at output [1]" in message
    assert "at the turn by 180° in sample 1" in message
    with pytest.raises(LawError) as caught:
        assert_equivariant(growing, Symmetry(C(4), Image(), (Scalar(), Scalar())), x)
    assert caught.value.violation == pytest.approx(20 / 30)


def turn(degrees: float) -> Tensor:
    angle = torch.deg2rad(torch.tensor(degrees, dtype=torch.float64))
    return torch.stack([angle.cos(), -angle.sin(), angle.sin(), angle.cos()]).reshape(2, 2)


def standing(n: int) -> Tensor:
    return torch.eye(n, dtype=torch.float64)


@pytest.mark.parametrize(
    ("element", "words"),
    [
        (standing(2), "identity"),
        (standing(3), "identity"),
        (turn(90), "turn by 90°"),
        (D(4).elements()[5], "reflection (90°, mirrored)"),
        (Octahedral().elements()[1], "turn by 180° (element 7)"),
        (-standing(3), "reflection (0°, mirrored)"),
        (torch.diag(torch.tensor([1.0, 1.0, -1.0])), "reflection (180° (element 7), mirrored)"),
        (torch.zeros(0, 0), "element 7"),
        (Rigid(turn(90), torch.tensor([1.0, -0.5])), "turn by 90° and the shift by (1, -0.5)"),
        (Rigid(standing(2), torch.tensor([1.0, -0.5])), "shift by (1, -0.5)"),
        (Rigid(standing(2), torch.zeros(2)), "identity"),
        (torch.tensor([2, 0, 1]), "permutation (2, 0, 1)"),
        (torch.tensor([0, 1, 2]), "identity"),
        (torch.arange(40).flip(0), "permutation 7 of 40 things"),
        ((torch.tensor([1, 0]), turn(45)), "pair of the permutation (1, 0) and the turn by 45°"),
        (torch.eye(5), "identity"),
        (2 * torch.eye(5), "element 7"),
        (Flips(3).elements()[5], "element 7"),
        (1j * torch.eye(2), "element 7"),
        (torch.tensor([1j]), "element 7"),
        (None, "element 7"),
    ],
    ids=str,
)
def test_elements_in_words(element: Any, words: str) -> None:
    assert in_words(element, 7) == words


def test_drawn_elements_are_those_of_the_worst_sample() -> None:
    message = told(lambda x: x[..., :1], Symmetry(SO(2), Vector(), Scalar()), torch.ones(3, 2), count=5)
    assert re.search(r"at the turn by [0-9.]+° in sample [0-2]; ", message), message
    message = told(lambda x: x.sum((1, 2))[:, None], Symmetry(Translation(3), Point(), Scalar()), torch.rand(3, 4, 3))
    assert "at the shift by (" in message
    message = told(lambda x: x.cumsum(1), Symmetry(S(3), Nodes(), Nodes()), torch.rand(2, 3, 1))
    assert "at the permutation (" in message


@pytest.mark.parametrize(
    ("case", "way"),
    [
        ("plain", r"symmetrize\(model, symmetry, frame\) makes it hold"),
        ("noise", r"model\.eval\(\): two calls on the same input already differ by 0\.\d+"),
        ("nan", "look at the model's answer to sample 0"),
        ("rounding", r"tolerance=\d\.?\d*e-\d+ if this is rounding"),
        ("other claim", r"it was symmetrized for Symmetry\(group=C\(2\)"),
        ("same claim", r"canonize\.testing\.check_frame\(frame, symmetry, inputs\)"),
        ("resampled", r"audit\(model, symmetry, inputs\) shows it beside what resampling alone costs"),
    ],
)
def test_the_way_out_fits_the_cause(case: str, way: str) -> None:
    class Wrong(Average):
        def __call__(self, symmetry: Any, value: Any, *, generator: Any = None) -> Any:
            return super().__call__(Symmetry(C(2), symmetry.inputs, None), value)

    torch.manual_seed(0)
    model: dict[str, Callable[[], Any]] = {
        "plain": Corner,
        "noise": lambda: nn.Sequential(nn.Flatten(), nn.Linear(36, 4), nn.Dropout(0.5)),
        "nan": lambda: lambda x: x.mean((1, 2, 3)) * torch.nan,
        "rounding": lambda: lambda x: 1 + 3e-5 * x[:, 0, -1, 0].sign(),
        "other claim": lambda: symmetrize(Corner(), Symmetry(C(2), Image(), Scalar())),
        "same claim": lambda: symmetrize(Corner(), TURNS, Wrong()),
        "resampled": lambda: lambda x: x[:, 0, 2:, 2:].flatten(1),
    }
    claim = Symmetry(C(8), Image(), Scalar()) if case == "resampled" else TURNS
    x = torch.ones(2, 1, 6, 6) if case == "noise" else None
    message = told(model[case](), claim, x, **({"tolerance": 0.3} if case == "resampled" else {}))
    assert re.search(rf"try: +.*{way}", message), message
    # Symmetrizing does not help where the cause is another.
    assert ("symmetrize(model, symmetry, frame) makes" in message) == (case in ("plain", "rounding", "resampled"))


def wild(symmetry: Symmetry, value: Any, *, generator: Any = None) -> Any:
    """A frame that follows the first entry, whatever stands there."""
    poses = Average()(symmetry, value)
    return type(poses)(poses.elements[:1], poses.weights[:1] * 0 + 1)


def skewed(g: Any, x: Tensor) -> Tensor:
    return x @ g.mT * (1 + 0.1 * g[..., 1:, :1])


class Doubling:
    """No group: its inverse is the element itself."""

    def __getattr__(self, name: str) -> Any:
        return getattr(C(4), name)

    def inverse(self, g: Any) -> Any:
        return g


CHECKS: dict[str, Callable[[], Any]] = {
    "assert_equivariant": lambda: assert_equivariant(Corner(), TURNS, images()),
    "check_group": lambda: check_group(Doubling()),
    "check_action": lambda: check_action(skewed, C(4), torch.rand(3, 5, 2)),
    "check_frame": lambda: check_frame(wild, TURNS, images() + torch.rand(6, 1, 6, 6)),
    "check_continuity": lambda: check_continuity(
        Best(lambda x: x[:, 0, 0].sign()),
        Symmetry(C(4), Vector(), Scalar()),
        torch.tensor([[[1e-9, 1.0], [0.3, 0.2]]], dtype=torch.float64),
    ),
}


@pytest.mark.parametrize("check", CHECKS)
def test_tracebacks_end_where_the_user_called(check: str) -> None:
    with pytest.raises(LawError) as caught:
        CHECKS[check]()
    shown = caught.traceback.filter(caught)
    assert {str(entry.path) for entry in shown} == {__file__}
    # The law: without the marks there is more to see.
    assert len(caught.traceback) > len(shown)


@pytest.mark.parametrize(("check", "elements"), [("check_action", "g ="), ("check_frame", "h =")])
def test_other_checks_tell_their_elements_in_words(check: str, elements: str) -> None:
    with pytest.raises(LawError, match=rf"got: .* {elements} (the )?(identity|turn by \d+°|reflection)"):
        CHECKS[check]()


def test_what_is_right_passes() -> None:
    assert_equivariant(lambda x: x - x.mean(1, keepdim=True), Symmetry(SE(2), Point(), Vector()), torch.rand(3, 4, 2))
    assert_equivariant(lambda x: torch.cdist(x, x), Symmetry(E(3), Point(), Scalar()), torch.rand(3, 4, 3))


def test_nothing_is_no_evidence() -> None:
    with pytest.raises(SymmetryError, match="no samples"):
        assert_equivariant(lambda x: x.mean((1, 2, 3)), Symmetry(C(4), Image(), Scalar()), torch.rand(0, 1, 4, 4))
