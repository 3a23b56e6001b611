"""Faults planted on purpose: each check must catch its own, and name the law."""

import dataclasses

import pytest
import torch

from canonize import (
    SE,
    SO,
    Average,
    Best,
    C,
    D,
    Fields,
    Image,
    LawError,
    Mask,
    Nodes,
    O,
    Octahedral,
    Point,
    Poses,
    S,
    Scalar,
    Symmetry,
    Vector,
    VectorImage,
    symmetrize,
)
from canonize.testing import assert_equivariant, check_action, check_frame, check_group
from lists import brightness, draw, images

CLAIM = Symmetry(C(4), Image(), Scalar())


class Wrapped:
    """A group with one method replaced."""

    def __init__(self, group, **methods):
        self.group = group
        vars(self).update(methods)

    def __getattr__(self, name):
        if name == "group":
            raise AttributeError(name)
        return getattr(self.group, name)


def unfair(shape=(), *, generator=None, dtype=None, device=None):
    """The orthogonal factor as the library returns it: without dividing out the signs, its law is not Haar's."""
    shape = (shape,) if isinstance(shape, int) else tuple(shape)
    return torch.linalg.qr(torch.randn(*shape, 3, 3, generator=generator, dtype=torch.float64))[0].to(dtype)


def ignoring(shape=(), *, generator=None, dtype=None, device=None):
    return O(3).sample(shape, dtype=dtype)


def stuck(shape=(), *, generator=None, dtype=None, device=None):
    return O(3).sample(shape, generator=torch.Generator().manual_seed(5), dtype=dtype)


def lopsided(shape=(), *, generator=None, dtype=None, device=None):
    g = C(4).sample(shape, generator=generator, dtype=dtype)
    return torch.where(g[..., :1, :1] < 0, torch.eye(2, dtype=g.dtype), g)


def greedy(shape=(), *, generator=None, dtype=None, device=None):
    torch.rand(1)
    return O(3).sample(shape, generator=generator, dtype=dtype)


def half(elements):
    return lambda *, dtype=None, device=None: elements(dtype=dtype, device=device)[:3]


def twice(elements):
    return lambda *, dtype=None, device=None: elements(dtype=dtype, device=device)[[0, 1, 2, 3, 3]]


GROUPS = {
    "inverse is the element": (Wrapped(SO(3), inverse=lambda g: g), "inverse, g g"),
    "transposed product": (Wrapped(SO(3), compose=lambda g, h: (g @ h).mT), "associativity"),
    "product the other way round": (Wrapped(SO(3), compose=lambda g, h: h @ g), "product, compose multiplies matrices"),
    "no sign fix": (Wrapped(O(3), sample=unfair), "Haar moments"),
    "some elements more often": (Wrapped(C(4), sample=lopsided), "Haar moments"),
    "generator ignored": (Wrapped(O(3), sample=ignoring), "equal seeds give equal samples"),
    "always the same": (Wrapped(O(3), sample=stuck), "other seeds give other samples"),
    "draws from elsewhere too": (Wrapped(O(3), sample=greedy), "only source"),
    "not closed": (Wrapped(C(4), elements=half(C(4).elements), order=3), "closure"),
    "wrong order": (Wrapped(C(4), order=5), "order is the number of elements"),
    "listed twice": (Wrapped(C(4), elements=twice(C(4).elements), order=5), "listed twice"),
    "not a number": (Wrapped(SO(3), inverse=lambda g: g.mT * torch.nan), "inverse"),
    "drifts out": (Wrapped(SO(3), compose=lambda g, h: g @ h * (1 + 1e-6)), "associativity|identity"),
}


@pytest.mark.parametrize(("group", "law"), GROUPS.values(), ids=list(GROUPS))
def test_groups(group, law):
    with pytest.raises(LawError, match=law):
        check_group(group)


def mirrored(g, x):
    return Image()(g.mT, x)


def mixes(g, x):
    return Vector()(g, x) + 1e-3 * (x.mean(0) - x.mean(0)[:1])


def in_place(g, x):
    x.copy_(Vector()(g, x))
    return x


def transposed(g, x):
    return Vector()(g.mT, x)


def swapped(g, x):
    return VectorImage()(g, x.flip(-3)).flip(-3)


def half_pixel_off(g, x):
    return torch.where((g[:, 0, 0] < 0).reshape(-1, 1, 1, 1), Image()(g, x).roll(1, -1), Image()(g, x))


def first_element_for_all(g, x):
    return Vector()(g[:1].expand(g.shape), x)


def shifts_first(g, x):
    return Vector()(g.linear, x + g.shift[:, None])


def shrinks(g, x):
    return Image()(g, x)[..., :-1, :]


ACTIONS = {
    "the other way": (mirrored, D(3), draw(3, 1, 6, 6), "composition|inverse"),
    "transposed matrix": (transposed, SO(3), draw(3, 4, 3), "composition"),
    "mixes the batch": (mixes, SO(3), draw(3, 4, 3), "identity|one sample at a time"),
    "uses the first element only": (first_element_for_all, SO(3), draw(3, 4, 3), "one sample at a time|sample i only"),
    "in place": (in_place, SO(3), draw(3, 4, 3), "the input is not changed"),
    "half a pixel off": (half_pixel_off, C(4), draw(3, 1, 6, 6), "composition|inverse"),
    "other shape": (shrinks, C(4), draw(3, 1, 6, 6), "identity|shapes"),
    "not a number": (lambda g, x: Vector()(g, x) * torch.nan, SO(3), draw(3, 4, 3), "identity"),
    "shifts before it turns": (shifts_first, SE(3), draw(3, 4, 3), "composition"),
}  # fmt: skip


@pytest.mark.parametrize("fault", ACTIONS)
def test_actions(fault):
    action, group, x, law = ACTIONS[fault]
    with pytest.raises(LawError, match=law):
        check_action(action, group, x)


def test_an_action_that_mixes_and_one_that_writes_are_named():
    def leaks(g, x):
        return x + 1e-3 * (Vector()(g, x) - x).mean(0, keepdim=True)

    def writes(g, x):
        moved = Vector()(g, x)
        x[0] += 1e-3 * (g[0] - torch.eye(3, dtype=x.dtype)).abs().max()
        return moved

    with pytest.raises(LawError, match=r"composition|one sample at a time|sample i only"):
        check_action(leaks, SO(3), draw(3, 4, 3))
    with pytest.raises(LawError, match="the input is not changed"):
        check_action(writes, SO(3), draw(3, 4, 3))


def test_writing_where_nothing_else_reads_is_caught():
    with pytest.raises(LawError, match="the input is not changed"):
        check_action(
            Fields(pos=Point(), seen=count_calls), SO(3), {"pos": draw(3, 4, 3), "seen": torch.zeros(3)}, tolerance=2.0
        )


def count_calls(g, x):
    x += 1
    return x


def changed(frame, **changes):
    """The frame with some attributes of its poses replaced by functions of the poses and the inputs."""

    def made(symmetry, inputs, *, generator=None):
        poses = frame(symmetry, inputs, generator=generator)
        return dataclasses.replace(poses, **{name: change(poses, inputs) for name, change in changes.items()})

    return made


def upright(symmetry, inputs, *, generator=None):
    """Whatever comes in is said to stand upright."""
    return Poses(
        torch.eye(2, dtype=inputs.dtype).expand(1, len(inputs), 2, 2), torch.ones(1, len(inputs), dtype=inputs.dtype)
    )


def by_lab_axes(symmetry, inputs, *, generator=None):
    """Upright by the brighter half: but equal halves and a sign from the lab decide between opposite poses."""
    dark = inputs[..., : inputs.shape[-2] // 2, :].flatten(1).sum(1) < 0
    half_turn = torch.where(dark, -1.0, 1.0).to(inputs.dtype)
    return Poses(
        (half_turn[:, None, None] * torch.eye(2, dtype=inputs.dtype))[None],
        torch.ones(1, len(inputs), dtype=inputs.dtype),
    )


def unseeded(symmetry, inputs, *, generator=None):
    g = symmetry.group.sample((1, len(inputs)), dtype=inputs.dtype)
    return Poses(g, torch.ones(1, len(inputs), dtype=inputs.dtype))


def overwrites(symmetry, inputs, *, generator=None):
    inputs.mul_(2)
    return Average()(symmetry, inputs)


def drop(name):
    """The last pose is left out; the weights of the others still sum to one."""
    return lambda poses, x: getattr(poses, name)[:3] * (4 / 3 if name == "weights" else 1)


def column(*entries):
    return torch.tensor(entries, dtype=torch.float64)[:, None]


AVERAGE = Average()
BEST = Best(brightness)
FRAMES = {
    "weights sum to two": (changed(AVERAGE, weights=lambda p, x: 2 * p.weights), "sum to one"),
    "a dropped weight": (changed(AVERAGE, elements=drop("elements"), weights=drop("weights")), "equivariance"),
    "unequal weights": (changed(AVERAGE, weights=lambda p, x: column(0, 1, 2, 3) / 6 + 0 * p.weights), "equivariance"),
    "a negative weight": (changed(AVERAGE, weights=lambda p, x: column(-1, 1, 1, 0) + 0 * p.weights), "at least 0"),
    "weights that are no numbers": (changed(AVERAGE, weights=lambda p, x: p.weights * torch.nan), "weights are finite"),
    "elements that are no numbers": (changed(AVERAGE, elements=lambda p, x: p.elements * torch.nan), "elements are finite"),
    "inverse poses": (changed(BEST, elements=lambda p, x: p.elements.mT), "equivariance"),
    "margin of the lab": (changed(BEST, margin=lambda p, x: x[:, 0, 0, 0].abs()), "margin is invariant"),
    "negative margin": (changed(BEST, margin=lambda p, x: -p.margin), "margin is at least 0"),
    "no stabilizer at ties": (changed(BEST, stabilizer=lambda p, x: None), "equivariance"),
    "always upright": (upright, "equivariance"),
    "depends on the lab axes": (by_lab_axes, "equivariance"),
    "ignores the generator": (unseeded, "equal seeds give equal poses"),
    "changes its input": (overwrites, "the input is not changed"),
    "returns elements": (lambda symmetry, inputs, *, generator=None: symmetry.group.elements(), "returns Poses"),
}  # fmt: skip


@pytest.mark.parametrize(("frame", "law"), FRAMES.values(), ids=list(FRAMES))
def test_frames(frame, law):
    with pytest.raises(LawError, match=law):
        check_frame(frame, CLAIM, images(torch.float64))


class Sometimes:
    """Right, but for a not-a-number at its third call."""

    def __init__(self, model, call=3):
        self.model, self.left = model, call

    def __call__(self, x):
        self.left -= 1
        return self.model(x) * (torch.nan if self.left == 0 else 1.0)


def mean(x):
    return x.mean((1, 2, 3))


def edges(x):
    """The gradient of the image by central differences: to the right, and downwards."""
    across = (x.roll(-1, -1) - x.roll(1, -1)) / 2
    down = (x.roll(-1, -2) - x.roll(1, -2)) / 2
    return torch.cat([across, down], 1)[:, [0, 2]] if x.shape[1] > 1 else torch.cat([across, down], 1)


ONE = draw(3, 1, 6, 6)
FLOW = Symmetry(D(4), Image(), VectorImage())
TWO = Symmetry(C(4), Image(), (Scalar(), Scalar()))
LABELS = Symmetry(C(4), Image(), Mask())


def one_label(x):
    return (x[:, 0] > 0) ^ (torch.arange(36).reshape(6, 6) == 1)


MODELS = {
    "not a number": (lambda x: mean(x) * torch.nan, CLAIM, ONE, "f\\(h x\\) = h f\\(x\\)"),
    "not a number, sometimes": (Sometimes(mean), CLAIM, ONE, "an answer that is NaN"),
    "one corner": (lambda x: mean(x) + 1e-3 * x[:, 0, 0, 0], CLAIM, ONE, "f\\(h x\\)"),
    "swapped channels": (lambda x: edges(x).flip(1), FLOW, ONE, "f\\(h x\\)"),
    "downwards is upwards": (lambda x: edges(x) * torch.tensor([1.0, -1.0])[:, None, None], FLOW, ONE, "f\\(h x\\)"),
    "wrong in the second output": (lambda x: (mean(x), x[:, 0, 0, 0]), TWO, ONE, r"at output \[1\]"),
    "a single label": (one_label, LABELS, ONE, "f\\(h x\\)"),
}  # fmt: skip


@pytest.mark.parametrize("fault", MODELS)
def test_models(fault):
    model, claim, x, law = MODELS[fault]
    with pytest.raises(LawError, match=law):
        assert_equivariant(model, claim, x)


def test_the_right_models_pass():
    """The twins of the faults above."""
    assert_equivariant(mean, CLAIM, ONE)
    assert_equivariant(edges, FLOW, ONE)
    assert_equivariant(lambda x: x[:, 0] > 0, LABELS, ONE)
    assert_equivariant(lambda x: x.norm(dim=-1), Symmetry(O(3), Vector(), Scalar()), draw(3, 4, 3))
    check_action(VectorImage(), C(4), draw(3, 2, 5, 5))


def test_swapped_channels_hide_from_the_action_law_but_not_from_a_model():
    """Rotating backwards is an action of the plane's rotations too: only a model tells the difference."""
    check_action(swapped, C(4), draw(3, 2, 5, 5))
    with pytest.raises(LawError):
        assert_equivariant(edges, Symmetry(C(4), Image(), swapped), ONE)


def test_a_forgotten_field():
    def energy(data):
        return (data["pos"] * data["velocity"]).sum((1, 2))

    data = {"pos": draw(3, 4, 3), "velocity": draw(3, 4, 3, seed=1)}
    whole = Symmetry(SO(3), Fields(pos=Vector(), velocity=Vector()), Scalar())
    assert_equivariant(energy, whole, data)
    with pytest.raises(LawError):
        assert_equivariant(energy, Symmetry(SO(3), Fields(pos=Vector()), Scalar()), data)


def test_a_wrong_sign_in_symmetrize_itself_would_be_seen():
    """Poses of the other sense make symmetrize wrong, and assert_equivariant says so."""
    model = symmetrize(lambda x: x[:, 0, :2].flatten(1), CLAIM, changed(BEST, elements=lambda p, x: p.elements.mT))
    with pytest.raises(LawError):
        assert_equivariant(model, CLAIM, draw(4, 1, 6, 6))


def test_sets_and_solids():
    with pytest.raises(LawError):
        assert_equivariant(lambda x: x.cumsum(1), Symmetry(S(4), Nodes(), Nodes()), draw(2, 4, 3))
    with pytest.raises(LawError):
        assert_equivariant(
            lambda x: torch.linalg.cross(x[:, 0], x[:, 1]),
            Symmetry(Octahedral(True), Vector(), Vector()),
            draw(2, 2, 3),
        )


def test_the_message_has_everything():
    with pytest.raises(LawError) as caught:
        check_group(GROUPS["inverse is the element"][0], tolerance=1e-9)
    message = str(caught.value)
    for part in ("breaks the law: inverse, g g^-1 = e", "a violation of", "at element", "expected: at most 1e-09"):
        assert part in message
    assert isinstance(caught.value, AssertionError)
