"""Linear maps that commute with every relabelling, between numbers, nodes and pairs of nodes; and networks of them."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, final

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from canonize._tree import describe
from canonize.errors import refuse
from canonize.nn._checks import same_dtype
from canonize.nn.scorer import drawn, positive

_MOST = 2  # the highest power: its layer has 15 maps, the next would have 203


def diagrams(order_in: int, order_out: int) -> tuple[str, ...]:
    """The basis of linear maps that commute with all permutations, one for each way to tie indices together.

    A diagram such as "ab->ba" names the indices of input and output; equal letters are one index. The map takes the
    entries of the input at these indices, averages over the letters that the output lacks, and writes the result at these
    indices of the output, whatever the letters that the input lacks; everything else is 0. So "ab->ba" is the transpose,
    "aa->a" reads the diagonal, "ab->a" averages rows, "a->bb" writes the mean on the whole diagonal.

    Args:
        order_in: how many indices the input has, at least 0.
        order_out: how many the output has, at least 0.

    Returns:
        As many as there are partitions of a set of order_in + order_out, which is a Bell number: 1, 2, 5, 15 for 1 to 4.
        They are linearly independent where there are at least order_in + order_out nodes, and always complete.

    Example:
        >>> from canonize.nn import diagrams
        >>> diagrams(1, 1)
        ('a->a', 'a->b')

    Source: Maron et al., arXiv 1812.09902; Pearce-Crump, arXiv 2212.08648.
    """
    words = [""]
    for _ in range(order_in + order_out):
        words = [word + chr(ord("a") + letter) for word in words for letter in range(len(set(word)) + 1)]
    return tuple(f"{word[:order_in]}->{word[order_in:]}" for word in words)


@final
class PermutationLinear(nn.Module):
    """Every linear map between tensor powers that commutes with relabelling: f(g · x) = g · f(x) for all g of S(n).

    Powers are numbers (order 0, `Scalar()`), nodes (order 1, `Nodes()`) and ordered pairs of nodes (order 2, `Pairs()`),
    with channels in the last axis. The same weights serve any number of nodes. Sums over nodes are means, so that answers
    do not grow with their number, and a network that was trained on small graphs meets large ones at the same scale; where
    the number itself matters, pass it as a channel. Costs as much as reading the input: no tensor has more than n^2 entries
    for each channel.

    Args:
        order_in: of the input: 0, 1 or 2.
        order_out: of the output: 0, 1 or 2.
        channels_in, channels_out: numbers for each entry, at least 1.
        bias: whether a constant is added: one for each channel of a number or a node; of a pair one on the diagonal and one
            anywhere.
        generator: draws the initial weights; the global one where None.

    Attributes:
        weight: (diagrams, channels_out, channels_in), in the order of `diagrams(order_in, order_out)`.
        bias: (diagrams, channels_out), in the order of `diagrams(0, order_out)`; None without.

    Values: (batch, *nodes, channels), as many axes of nodes as the order says, floating point in the dtype of the weights.

    Raises:
        SymmetryError: orders or channels out of range; on use, values of another shape or dtype, a mask that does not fit,
            no number of nodes where nothing tells it.

    Singular case: the mean over no nodes is 0; below order_in + order_out nodes some maps coincide.

    Example:
        >>> from canonize.nn import PermutationLinear
        >>> layer = PermutationLinear(2, 1, 3, 8)
        >>> len(layer.weight), layer(torch.rand(4, 5, 5, 3)).shape
        (5, torch.Size([4, 5, 8]))

    Source: Maron et al., Invariant and equivariant graph networks, arXiv 1812.09902; Pearce-Crump, Connecting
    permutation equivariant neural networks and partition diagrams, arXiv 2212.08648.
    """

    def __init__(
        self,
        order_in: int,
        order_out: int,
        channels_in: int,
        channels_out: int,
        bias: bool = True,
        *,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        for name, order in (("order_in", order_in), ("order_out", order_out)):
            if not isinstance(order, int) or isinstance(order, bool) or not 0 <= order <= _MOST:
                raise refuse(
                    f"PermutationLinear: {name} is no order",
                    got=f"{name}={order!r}",
                    expected="0 for numbers, 1 for nodes, 2 for pairs of nodes",
                    fix="PermutationLinear(2, 2, channels_in, channels_out) for matrices",
                )
        positive("PermutationLinear", channels_in=channels_in, channels_out=channels_out)
        self.order_in = order_in
        self.order_out = order_out
        self.channels = channels_in
        names = diagrams(order_in, order_out)
        # Means of many entries are small; the others share the variance.
        plain = sum(set(name.split("->")[0]) <= set(name.split("->")[1]) for name in names)
        self.weight = drawn(len(names), channels_out, channels_in, fan=channels_in * max(plain, 1), generator=generator)
        self.bias = nn.Parameter(torch.zeros(len(diagrams(0, order_out)), channels_out)) if bias else None

    def forward(
        self,
        x: Float[Tensor, "batch *nodes_in channels_in"],
        *,
        mask: Bool[Tensor, "batch n"] | None = None,
        nodes: int | None = None,
    ) -> Float[Tensor, "batch *nodes_out channels_out"]:
        """The mapped values (batch, *nodes, channels_out).

        Args:
            x: (batch, *nodes, channels_in).
            mask: (batch, n), True for nodes that are there; the others are not felt, whatever they hold, and get 0.
            nodes: how many nodes the output has, where neither the input nor a mask tells.
        """
        n = self._checked(x, mask, nodes)
        if mask is None:
            count = x.new_full((len(x), 1), max(n, 1))
        else:
            count = mask.sum(1, keepdim=True).clamp(min=1).to(x.dtype)
            x = _where(mask, x, self.order_in)
        read: dict[tuple[str, str], Tensor] = {}
        written: dict[str, Tensor] = {}
        for name, weight in zip(diagrams(self.order_in, self.order_out), self.weight, strict=True):
            source, target = name.split("->")
            kept = "".join(sorted(set(source) & set(target)))
            if (source, kept) not in read:
                read[source, kept] = _read(source, kept, x, count)
            mapped = F.linear(read[source, kept], weight)
            # What is written at the same places is added before it is spread out.
            place, mapped = _place(kept, target, mapped)
            written[place] = written[place] + mapped if place in written else mapped
        if self.bias is not None:
            for name, constant in zip(diagrams(0, self.order_out), self.bias, strict=True):
                place, mapped = _place("", name[2:], constant.expand(len(x), -1))
                written[place] = written[place] + mapped
        shape = (len(x), *(n,) * self.order_out, self.weight.shape[1])
        total = torch.zeros((), dtype=x.dtype, device=x.device)
        for place, value in written.items():
            total = total + _spread(place, value, n)
        total = total.expand(shape)
        return total if mask is None else _where(mask, total, self.order_out)

    def extra_repr(self) -> str:
        """The sizes, for `print`."""
        return (
            f"{self.order_in}, {self.order_out}, {self.channels}, {self.weight.shape[1]}, bias={self.bias is not None}"
        )

    def _checked(self, x: Any, mask: Any, nodes: int | None) -> int:
        """How many nodes there are.

        Raises:
            SymmetryError: values, mask or number that do not fit.
        """
        axes = 2 + self.order_in
        if not isinstance(x, Tensor) or x.ndim != axes or x.shape[-1] != self.channels or len(set(x.shape[1:-1])) > 1:
            raise refuse(
                f"PermutationLinear of order_in={self.order_in} needs values for {_NAMES[self.order_in]}",
                got=describe(x),
                expected=f"a tensor (batch{', n' * self.order_in}, {self.channels})",
                fix="put the batch first and the channels last: adjacency[None, ..., None]",
            )
        same_dtype("PermutationLinear", "the values", x, self.weight)
        told = [x.shape[1]] if self.order_in else []
        if mask is not None:
            fits = isinstance(mask, Tensor) and mask.dtype == torch.bool and mask.ndim == 2 and len(mask) == len(x)
            if not fits or (told and mask.shape[1] != told[0]) or mask.device != x.device:
                raise refuse(
                    "PermutationLinear: the mask does not fit the values",
                    got=f"{describe(mask)}, values of shape {tuple(x.shape)}",
                    expected="a tensor (batch, n) of booleans, True for nodes that are there",
                    fix="mask = torch.arange(n) < sizes[:, None]",
                )
            told.append(mask.shape[1])
        if nodes is not None:
            told.append(nodes)
        if (not told and self.order_out) or len(set(told)) > 1:
            raise refuse(
                "PermutationLinear: how many nodes are there?",
                got=f"numbers of nodes {told}" if told else "values without nodes, no mask, nodes=None",
                expected="one number",
                fix="layer(x, nodes=n), where the values have no nodes and the output has",
            )
        return told[0] if told else 0


@final
class PermutationNet(nn.Module):
    """A network of `PermutationLinear` layers with SiLUs between them: f(g · x) = g · f(x) for all g of S(n).

    `PermutationNet((1, 1, 0), (3, 32, 2))` is a network on sets (Deep Sets): three numbers for each thing in, two for the
    whole set out; `(1, 1, 1)` answers for each thing. `PermutationNet((2, 2, 0), ...)` is a network on graphs, given as
    matrices with channels.

    Args:
        orders: of the input, between layers, and of the output: 0, 1 or 2 each, at least two of them.
        channels: numbers for each entry, as many as there are orders.
        generator: draws the initial weights; the global one where None.

    Values, errors: as for `PermutationLinear`.

    Example:
        >>> from canonize.nn import PermutationNet
        >>> PermutationNet((1, 1, 0), (3, 32, 2))(torch.rand(4, 10, 3)).shape
        torch.Size([4, 2])

    Source: Zaheer et al., Deep sets, arXiv 1703.06114; Maron et al., arXiv 1812.09902.
    """

    def __init__(
        self, orders: tuple[int, ...], channels: tuple[int, ...], *, generator: torch.Generator | None = None
    ) -> None:
        super().__init__()
        if len(orders) != len(channels) or len(orders) < 2:
            raise refuse(
                "PermutationNet needs an order and channels for the input, between layers, and for the output",
                got=f"orders {orders}, channels {channels}",
                expected="two tuples of one length, at least 2",
                fix="PermutationNet((1, 1, 0), (3, 32, 2))",
            )
        self.layers = nn.ModuleList(
            PermutationLinear(*order, *width, generator=generator)
            for order, width in zip(pairwise(orders), pairwise(channels), strict=True)
        )

    def forward(
        self,
        x: Float[Tensor, "batch *nodes_in channels_in"],
        *,
        mask: Bool[Tensor, "batch n"] | None = None,
        nodes: int | None = None,
    ) -> Float[Tensor, "batch *nodes_out channels_out"]:
        """Values (batch, *nodes, channels). Arguments as for `PermutationLinear`."""
        n = x.shape[1] if isinstance(x, Tensor) and x.ndim > 2 else nodes
        for number, layer in enumerate(self.layers):
            x = layer(F.silu(x) if number else x, mask=mask, nodes=n)
        return x


_NAMES = ("numbers (batch, channels)", "nodes", "pairs of nodes")


def _read(source: str, kept: str, x: Tensor, count: Tensor) -> Tensor:
    """What the letters in `kept`, in their order, have of the input: (batch, *nodes, channels)."""
    if source == "aa":
        x = x.diagonal(dim1=1, dim2=2).mT
    for letter in sorted(set(source) - set(kept), reverse=True):
        # Letters stand in the order of their axes; the last goes first.
        axis = 1 + ord(letter) - ord("a")
        x = x.sum(axis) / count.reshape(-1, *(1,) * (x.ndim - 2))
    return x


def _place(kept: str, target: str, value: Tensor) -> tuple[str, Tensor]:
    """Where a value with the axes `kept` is written: "ij", "i." (whatever j), "ii" (on the diagonal), and so on."""
    if kept == "ab":
        return "ij", value if target == "ab" else value.transpose(1, 2)
    names = dict.fromkeys(kept, "i")
    if len(set(target)) == 1 and len(target) == 2:
        return ("ii" if kept else ".="), value
    return "".join(names.get(letter, ".") for letter in target), value


def _spread(place: str, value: Tensor, n: int) -> Tensor:
    """A value at its place in the output, in a shape that broadcasts to (batch, *nodes, channels)."""
    if place == ".=":
        value = value[:, None].expand(len(value), n, value.shape[-1])
    if place in ("ii", ".="):
        return torch.diag_embed(value.mT, dim1=1, dim2=2)
    for axis, letter in enumerate(place, start=1):
        value = value.unsqueeze(axis) if letter == "." else value
    return value


def _where(mask: Tensor, x: Tensor, order: int) -> Tensor:
    """0 where a node is not there."""
    if order == 0:
        return x
    present = mask if order == 1 else mask[:, :, None] & mask[:, None, :]
    return torch.where(present[..., None], x, 0)
