"""Lists with one entry for each sample: images of different sizes, and the detections in each image."""

import copy
import pickle

import numpy as np
import pytest
import torch

from canonize import (
    Average,
    Best,
    Boxes,
    C,
    D,
    Fields,
    Image,
    Index,
    LawError,
    Rows,
    Scalar,
    Symmetry,
    SymmetryError,
    audit,
    symmetrize,
)
from canonize.actions import Each, Keypoints, Mask, lossless_tree, move
from canonize.actions.trees import batch_of, repeat, take
from canonize.testing import assert_equivariant, check_action, check_frame
from lists import FOUND, brightness, detections, draw, images, pictures

SIZE = (7, 7)
CLAIMED = {
    "boxes": Boxes(SIZE),
    "labels": Scalar(),
    "scores": Scalar(),
    "masks": Mask(),
    "keypoints": Keypoints(SIZE, visible=True),
}


def spots(image, more=0.0):
    """The pixels of one image that are bright, the brightest first, as a detector would tell them; `more` is added to it."""
    light = image.mean(0) + more
    rows, columns = (light > 0.3).nonzero().unbind(1)
    scores, order = light[rows, columns].sort(descending=True)
    rows, columns = rows[order], columns[order]
    masks = torch.zeros(len(rows), 1, *light.shape, dtype=torch.bool)
    masks[torch.arange(len(rows)), 0, rows, columns] = True
    left, top = columns.to(light.dtype), rows.to(light.dtype)
    return {
        "boxes": torch.stack([left, top, left + 1, top + 1], -1),
        "labels": (scores > 0.5).long(),
        "scores": scores,
        "masks": masks,
        "keypoints": torch.stack([left, top, torch.ones_like(left)], -1)[:, None],
    }


def detector(batch):
    """Equivariant; takes a batch, or a list of images as torchvision's detectors do."""
    return [spots(image) for image in batch]


def crooked(batch):
    """Sees better at the upper left: finds another number of things in a turned image."""
    return [
        spots(image, torch.linspace(0.4, -0.4, image.shape[-1], dtype=image.dtype) * torch.ones_like(image[0]))
        for image in batch
    ]


def bright(batch):
    """The energy `brightness`, for lists."""
    return torch.cat([brightness(image[None]) for image in batch])


def test_each_entry_moves_by_its_own_element():
    g, x = D(4).elements(dtype=torch.float64)[[1, 6, 3]], pictures(torch.float64)
    moved = Each(Image())(g, x)
    assert isinstance(moved, list)
    for i in range(3):
        assert torch.equal(moved[i], Image()(g[i], x[i]))
    assert isinstance(Each(Image())(g, tuple(x)), tuple)


def test_detections_move_with_their_image():
    g, x = C(4).elements(dtype=torch.float64)[[1, 2, 3]], detections(torch.float64)
    moved = move(Each(FOUND), g, x)
    for i, (one, before) in enumerate(zip(moved, x, strict=True)):
        assert torch.equal(one["boxes"], Boxes((6, 6))(g[i], before["boxes"]))
        assert torch.equal(one["masks"], before["masks"].rot90(i + 1, (-2, -1)))
        assert torch.equal(one["points"][..., 2], before["points"][..., 2])
        assert torch.equal(one["labels"], before["labels"])
        assert one["size"] == "6 x 6"


def test_samples_are_counted_taken_and_repeated():
    spec, x = Each(FOUND), detections(torch.float64)
    assert batch_of(spec, x) == (3, torch.float64, torch.device("cpu"))
    assert batch_of((spec, Scalar()), (x, draw(3)))[0] == 3
    assert batch_of(spec, [])[0] == 0
    some = take(spec, x, torch.tensor([2, 0, 2]))
    assert [one is x[i] for one, i in zip(some, (2, 0, 2), strict=True)] == [True] * 3
    many = repeat(spec, x, 2)
    assert len(many) == 6
    assert many[3] is x[0]


def test_lossless_is_told_for_each_entry():
    g = C(8).elements(dtype=torch.float64)[[0, 1, 2]]
    assert lossless_tree(Each(Image()), g, pictures(torch.float64)).tolist() == [True, False, True]
    assert lossless_tree(Each({"a": Scalar(), "b": None}), g, [{"a": draw(2), "b": 1}] * 3).tolist() == [True] * 3


@pytest.mark.parametrize("group", [C(4), D(4)], ids=str)
def test_a_detector_behind_best_keeps_the_claim(group):
    x = images(torch.float64)[[0, 5]]
    claim = Symmetry(group, Image(), Each(CLAIMED))
    assert_equivariant(detector, claim, x)
    with pytest.raises(LawError):
        assert_equivariant(crooked, claim, x)
    assert_equivariant(symmetrize(crooked, claim, Best(brightness)), claim, x)
    assert_equivariant(symmetrize(crooked, claim, Best(brightness, resolution=4)), claim, x)


@pytest.mark.parametrize("group", [C(4), D(4)], ids=str)
def test_lists_of_images_of_different_sizes(group):
    x = [draw(2, size, size, seed=size) for size in (7, 4, 6)]
    labels = Symmetry(group, Each(Image()), Each(Fields(labels=Scalar(), masks=Mask())))
    assert_equivariant(detector, labels, x)
    with pytest.raises(LawError):
        assert_equivariant(crooked, labels, x)
    model = symmetrize(crooked, labels, Best(bright))
    assert_equivariant(model, labels, x)
    assert [one["masks"].shape[-1] for one in model(x)] == [7, 4, 6]
    check_frame(Best(bright), labels, x)


@pytest.mark.parametrize("chunk", [1, 3])
def test_answers_for_lists_are_averaged_where_they_are_tensors(chunk):
    x = [draw(2, size, size, seed=size) for size in (7, 4)]
    model = symmetrize(bright, Symmetry(C(4), Each(Image()), Scalar()), Average(), chunk=chunk)
    naive = torch.stack([bright([one.rot90(k, (-2, -1)) for one in x]) for k in range(4)]).mean(0)
    torch.testing.assert_close(model(x), naive)
    check_frame(Average(), model.symmetry, x)


def test_boxes_that_are_shares_need_no_size():
    def scaled(batch):
        found = crooked(batch)
        return [one["boxes"] / image.shape[-1] for one, image in zip(found, batch, strict=True)]

    x = [draw(2, size, size, seed=size) for size in (7, 4, 6)]
    claim = Symmetry(D(4), Each(Image()), Each(Boxes(None, normalised=True)))
    assert_equivariant(symmetrize(scaled, claim, Best(bright)), claim, x)


def test_detections_in_a_symmetric_image_are_left_as_they_come():
    claim = Symmetry(C(4), Image(), Each(CLAIMED))
    x = images(torch.float64)
    found = symmetrize(crooked, claim, Best(brightness))(x)
    assert len(found) == len(x)
    # Everywhere bright: seen from any pose the same, so the answer is the plain one, turned as a whole.
    plain = crooked(x[1:2])[0]
    assert len(found[1]["scores"]) == len(plain["scores"])
    assert torch.equal(found[1]["scores"], plain["scores"])


def test_several_poses_are_refused():
    model = symmetrize(detector, Symmetry(C(4), Image(), Each(CLAIMED)))
    with pytest.raises(SymmetryError, match=r"(?s)cannot be averaged over poses.*4 poses.*Best\(energy\)"):
        model(images(torch.float32))


def test_arrays_in_and_out():
    def plain(batch):
        assert all(isinstance(one, np.ndarray) for one in batch)
        return [{"scores": one.mean((1, 2))} for one in batch]

    claim = Symmetry(C(4), Each(Image()), Each({"scores": Scalar()}))
    found = symmetrize(plain, claim, Best(bright))([draw(2, 4, 4).numpy(), draw(2, 3, 3).numpy()])
    assert isinstance(found[1]["scores"], np.ndarray)


def test_the_input_is_the_callers_own():
    def greedy(batch):
        for one in batch:
            one.zero_()
        return [{"a": one.sum()} for one in batch]

    x = [draw(1, 4, 4), draw(1, 5, 5)]
    before = copy.deepcopy(x)
    symmetrize(greedy, Symmetry(C(1), Each(Image()), Each({"a": Scalar()})))(x)
    assert all(torch.equal(a, b) for a, b in zip(x, before, strict=True))


def test_an_audit_tells_another_number_of_detections():
    x = draw(30, 2, 7, 7)
    claim = Symmetry(C(4), Image(), Each(CLAIMED))
    good, bad = (audit(model, claim, x, cost=False) for model in (detector, crooked))
    assert (good.verdict, good.error.max) == ("pass", 0.0)
    assert bad.verdict == "fail"
    assert bad.by_output["[i] shapes"] == 1.0
    assert set(good.by_output) == {"[i] shapes", *(f"[i].{name}" for name in CLAIMED)}
    better = audit(symmetrize(crooked, claim, Best(brightness)), claim, x, cost=False)
    assert better.verdict == "pass"
    assert "an entry with tensors of shape" in bad.worst[0].answer


def test_an_audit_of_lists_of_images():
    x = [draw(2, size, size, seed=number) for number, size in enumerate([4, 5, 6] * 10)]
    claim = Symmetry(C(4), Each(Image()), Each(Fields(scores=Scalar())))
    assert audit(detector, claim, x, batch_size=7).verdict == "pass"
    assert audit(crooked, claim, x, cost=False).verdict == "fail"
    finer = Symmetry(C(8), Each(Image()), Scalar())
    assert audit(lambda batch: torch.stack([one.mean() for one in batch]), finer, x, cost=False).floor is not None


def test_a_small_difference_in_one_box_of_one_entry_is_seen():
    def slip(batch):
        found = detector(batch)
        found[1]["boxes"][0, 0] += 1e-3 * batch[1][0, 0, 0]
        return found

    x = draw(30, 2, 7, 7)
    found = audit(slip, Symmetry(C(4), Image(), Each(CLAIMED)), x, cost=False)
    assert found.by_output["[i].boxes"] > 1e-6
    assert found.by_output["[i].scores"] == 0


def transposed(g, x):
    return Image()(g.mT, x)


FAULTS = {
    "the other way": (Each(transposed), pictures, "composition|inverse"),
    "a row less": (Each(lambda g, x: Image()(g, x)[..., :-1]), pictures, "identity|shapes"),
    "one part of a dict": (Each({**FOUND, "masks": transposed}), detections, "composition|inverse"),
    "not a number": (Each(lambda g, x: x * torch.nan), pictures, "identity"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_planted_faults(fault):
    action, make, law = FAULTS[fault]
    with pytest.raises(LawError, match=law):
        check_action(action, D(4), make(torch.float64))


def test_lists_pickle():
    spec = Each(FOUND)
    assert pickle.loads(pickle.dumps(spec)) == spec
    assert repr(Each(Image())) == "Each(Image())"


X, TWO = draw(2, 1, 4, 4), C(4).elements(dtype=torch.float64)[:2]
CLAIM = Symmetry(C(4), Image(), Each({"scores": Scalar()}))
REFUSED = {
    "rows": (lambda: Each({"a": Rows(Scalar())}), "actions of one tensor"),
    "an index": (lambda: Each(Index()), "actions of one tensor"),
    "a list in a list": (lambda: Each(Each(Image())), "actions of one tensor"),
    "a class": (lambda: Each(Image), "the class Image"),
    "rows of lists": (lambda: Rows(Each(Image())), "Rows wraps one action"),
    "a tensor": (lambda: move(Each(Image()), TWO, X), "needs a list"),
    "another length": (lambda: move(Each(Image()), TWO, [X[0]]), "one entry for each sample"),
    "no tensor in it": (lambda: move(Each(Image()), TWO, ["a", "b"]), r"at \[0\], declared as Image\(\), is no tensor"),
    "no batch axis wanted": (lambda: move(Each(Image()), TWO, [X[0, 0, 0], X[0]]), "too few axes"),
    "inputs that disagree": (
        lambda: batch_of((Each(Image()), Scalar()), ([X[0]], draw(2))),
        "parts of the input disagree",
    ),
    "an output in one tensor": (lambda: symmetrize(lambda x: x, CLAIM, Best(brightness))(X), "(?s)needs a list.*in: "),
    "too few outputs": (lambda: symmetrize(lambda x: [], CLAIM, Best(brightness))(X), "a list of 2"),
    "another key": (
        lambda: symmetrize(lambda x: [{"score": x}] * 2, CLAIM, Best(brightness))(X),
        r"not declared at \[0\]: score",
    ),
    "an audit of a tensor": (lambda: audit(lambda x: x, CLAIM, X), "needs a list"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_no_list_of_entries_is_refused(what):
    call, told = REFUSED[what]
    with pytest.raises(SymmetryError, match=told) as caught:
        call()
    for part in ("got:", "expected:", "try:"):
        assert part in str(caught.value)


@pytest.mark.parametrize("resolution", [None, 4])
def test_best_on_lists_is_exact_on_symmetric_images_too(resolution):
    """Blank and mirrored images of several sizes: one call, one pose, and the same answer at every quarter turn."""
    images = [torch.rand(1, 6, 6), torch.full((1, 8, 8), 0.5), torch.zeros(1, 5, 5)]
    half = torch.rand(1, 8, 8)
    images.append(half + half.rot90(2, (-2, -1)))

    def detector(images):
        return [{"scores": one.flatten().sort().values[:3], "mean": one[:, :2].mean(0)[0]} for one in images]

    claim = Symmetry(C(4), Each(Image()), Each({"scores": Scalar(), "mean": Scalar()}))
    frame = Best(
        lambda images: torch.stack([one[:, :2].mean() + one[0, 0, 0] for one in images]), resolution=resolution
    )
    mended = symmetrize(detector, claim, frame)
    expected = mended(images)
    assert mended.poses(images).count == 1
    for g in C(4).elements():
        turned = claim.inputs(g.expand(len(images), 2, 2), images)
        for one, other in zip(mended(turned), expected, strict=True):
            assert all(torch.equal(one[name], other[name]) for name in one)
