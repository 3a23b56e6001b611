"""Lists with one entry for each sample: images of different sizes, and as many detections as each of them has."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor

from canonize._tree import Listed, brief, describe, map_tensors, rebuild, spec_leaves, tensors, walk
from canonize.actions.base import bitwise, lossless
from canonize.actions.fields import Numbering, Rows
from canonize.errors import refuse
from canonize.linalg import content_key


@final
@dataclass(frozen=True, repr=False)
class Each(Listed):
    """A list with one entry for each sample; all that stands in entry i moves with the element of sample i.

    An entry has no batch axis: `Each(Image())` is a list of images (channels, height, width) of any sizes, and
    `Each(Fields(boxes=Boxes((480, 640)), masks=Image()))` the list of dicts that detectors return, with boxes (count, 4)
    and masks (count, 1, height, width), the count being another in each image.

    As an output it goes with frames that choose one pose, such as `Best`: lists of different length have no mean. For the
    same reason the detections in a symmetric image are left as they come from the chosen pose: they are right up to the
    symmetry of that image.

    As an input it goes with any frame.

    Args:
        entry: tree of actions that mirrors one entry.

    Values: a list or tuple with as many entries as there are samples.

    Raises:
        SymmetryError: a leaf that is no action of one tensor; on use, no list, another length, or entries that do not fit.

    Example:
        >>> import torch
        >>> from canonize import C, Image
        >>> from canonize.actions import Each
        >>> images = [torch.rand(3, 4, 4), torch.rand(3, 7, 7)]
        >>> moved = Each(Image())(C(4).elements()[[1, 2]], images)
        >>> torch.equal(moved[1], images[1].rot90(2, (-2, -1)))
        True
    """

    __repr__ = brief

    entry: Any

    def __post_init__(self) -> None:
        for leaf in spec_leaves(self.entry):
            if leaf is not None and (not callable(leaf) or isinstance(leaf, Rows | Numbering | Listed | type)):
                raise refuse(
                    "Each is built from actions of one tensor",
                    got=f"the class {leaf.__name__}" if isinstance(leaf, type) else describe(leaf),
                    expected="a tree of actions such as Image(), or None for what stands still",
                    fix='Each({"boxes": Boxes((480, 640)), "labels": Scalar()})',
                )

    def __call__(self, g: Any, x: Any) -> Any:
        """The moved entries, in a list like x."""
        self.check(x, len(tensors(g)[0]))
        return rebuild(x, [self._moved(_only(g, i), one, i) for i, one in enumerate(x)])

    def lossless(self, g: Any, x: Any) -> Tensor:
        """Whether each element moves all of its entry without loss."""
        return self.told(lossless, g, x)

    def bitwise(self, g: Any, x: Any) -> Tensor:
        """Whether the lossless moves that an entry had before show in none of its bits; see `Image`."""
        return self.told(bitwise, g, x)

    def keys(self, x: Any) -> Tensor:
        """A number for the content of each entry, (batch,) int64; see `content_key`."""
        found = [0] * len(x)

        for i, one in enumerate(x):

            def leaf(action: Any, part: Any, *, path: str, i: int = i) -> Any:
                if action is not None and isinstance(part, Tensor):
                    found[i] = hash((found[i], int(content_key(part[None])), tuple(part.shape)))
                return part

            walk(leaf, self.entry, one)
        return torch.tensor(found, dtype=torch.int64)

    def mapped(self, function: Callable[[Any, Tensor], Tensor], x: Any) -> Any:
        """A list like x of `function(action, batch of one)` for each declared tensor."""

        def leaf(action: Any, part: Any, *, path: str) -> Any:
            return function(action, part[None])[0] if action is not None and isinstance(part, Tensor) else part

        return rebuild(x, [walk(leaf, self.entry, one) for one in x])

    def told(self, ask: Callable[..., Tensor], g: Any, x: Any) -> Tensor:
        """What `ask`, which is `lossless` or asks like it, says of all actions of an entry, (batch,) bool."""
        first = tensors(g)[0]
        self.check(x, len(first))
        told = torch.ones(len(first), dtype=torch.bool, device=first.device)

        for i, one in enumerate(x):

            def leaf(action: Any, part: Any, *, path: str, i: int = i) -> Any:
                if action is not None and isinstance(part, Tensor):
                    told[i] &= ask(action, _only(g, i), part[None]).all()
                return part

            walk(leaf, self.entry, one, path=f"[{i}]")
        return told

    def check(self, x: Any, count: int | None = None) -> Any:
        """`x` as it is, refused unless it is a list with one entry for each of `count` samples."""
        if not isinstance(x, tuple | list):
            raise refuse(
                f"{self!r} needs a list",
                got=describe(x),
                expected="a list with one entry for each sample",
                fix="list(x) splits a batch into its samples; without Each where all samples are in one tensor",
            )
        if count is not None and len(x) != count:
            raise refuse(
                f"{self!r} needs one entry for each sample",
                got=describe(x),
                expected=f"a list of {count}",
                fix="let the model return one entry for each input, empty tensors where there is nothing in it",
            )
        return x

    def tensors(self, x: Any) -> Iterator[tuple[str, Tensor]]:
        """The declared tensors of all entries, each with its place."""
        found: list[tuple[str, Tensor]] = []

        def leaf(action: Any, part: Any, *, path: str) -> Any:
            if action is not None and isinstance(part, Tensor):
                found.append((path, part))
            return part

        for i, one in enumerate(x):
            walk(leaf, self.entry, one, path=f"[{i}]")
        return iter(found)

    def _moved(self, g: Any, entry: Any, number: int) -> Any:
        def leaf(action: Any, part: Any, *, path: str) -> Any:
            if action is None:
                return part
            if not isinstance(part, Tensor):
                raise refuse(
                    f"the value at {path}, declared as {action!r}, is no tensor",
                    got=describe(part),
                    expected="a tensor or a NumPy array without a batch axis",
                    fix="declare None for what stands still; Fields(...) ignores all that it does not name",
                )
            # A batch of one: actions need not know any other batch than the one that they always have.
            return action(g, part[None])[0]

        return walk(leaf, self.entry, entry, path=f"[{number}]")


def _only(g: Any, i: int) -> Any:
    """Element i alone, as a batch of one."""
    return map_tensors(lambda t: t[i : i + 1], g)
