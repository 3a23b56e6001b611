"""Rows that change places: what permutations do to ragged batches, and to the edges between their rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from canonize._tree import map_tensors, matched
from canonize._values import unseen
from canonize.actions.base import permutation_of
from canonize.actions.fields import Chain, Edges, Factor, Rows
from canonize.actions.graphs import Nodes, Pairs
from canonize.actions.linear import Scalar
from canonize.actions.rows import Layout, layout
from canonize.errors import refuse


def over_rows(action: Any, g: Any, x: Tensor, owners: Int[Tensor, " rows"]) -> Tensor:
    """g · x for rows of many samples: rows of a sample change places where the action is `Nodes()`, or is built from it.

    Args:
        action: how one row moves, or `Nodes()`; also inside `Factor` and `Chain`.
        g: elements (batch, *element).
        x: (rows, ...).
        owners: sample of each row.
    """
    if isinstance(action, Factor):
        return over_rows(action.action, action.part(g), x, owners)
    if isinstance(action, Chain):
        for one in action.actions:
            x = over_rows(one, g, x, owners)
        return x
    if isinstance(action, Nodes):
        _check_axis(action)
        return torch.empty_like(x).index_copy(0, places(action, g, owners), x)
    if isinstance(action, Pairs):
        raise refuse(
            "Rows(Pairs()) has no meaning: the pairs of samples of different sizes do not fit one tensor",
            got=repr(action),
            expected="Nodes() for rows; one entry for each edge as Rows(..., edges=True)",
            fix="Edges(Nodes()) for the edges, or dense matrices (batch, n, n) declared as Pairs()",
        )
    if isinstance(action, Scalar):
        return x
    moved: Tensor = action(map_tensors(lambda t: t[owners], g), x)
    return moved


def ask_rows(ask: Callable[..., Tensor], action: Any, g: Any, x: Tensor, owners: Int[Tensor, " rows"]) -> Tensor:
    """For each row what `ask`, which is `lossless` or `bitwise`, says of moving it, (rows,) bool; change of place keeps all."""
    if isinstance(action, Factor):
        return ask_rows(ask, action.action, action.part(g), x, owners)
    if isinstance(action, Chain):
        told = torch.ones(x.shape[0], dtype=torch.bool, device=x.device)
        for one in action.actions:
            told = told & ask_rows(ask, one, g, x, owners)
        return told
    if isinstance(action, Nodes | Scalar):
        return torch.ones(x.shape[0], dtype=torch.bool, device=x.device)
    return ask(action, map_tensors(lambda t: t[owners], g), x).expand(x.shape[0])


def renumbered(action: Edges, g: Any, edges: Tensor, where: Layout | Tensor | None) -> Tensor:
    """The edges between the same rows after these have changed places; they stand in the order in which they stood.

    Args:
        action: with the action of the rows that tells how they change places, or None, where they do not.
        g: elements (batch, *element).
        edges: (2, edges), places of rows.
        where: sample of each row.
    """
    if action.nodes is None:
        return edges
    nodes = action.nodes
    while isinstance(nodes, Factor):
        nodes, g = nodes.action, nodes.part(g)
    owners = where.index if isinstance(where, Layout) else where
    if owners is None:
        raise refuse(
            f"{action!r} needs to know whose the rows are",
            got="no index of the rows",
            expected="a field declared as Index() or Offsets()",
            fix="Fields(x=Rows(Nodes()), batch=Index(), edge_index=Edges(Nodes()))",
        )
    return places(nodes, g, owners)[edges.long()].to(edges.dtype)


def places(action: Any, g: Any, owners: Int[Tensor, " rows"]) -> Int[Tensor, " rows"]:
    """Where each row of a ragged batch goes under permutations (batch, n) of the rows of each sample.

    Raises:
        SymmetryError: no permutations, or shorter ones than a sample has rows.
    """
    g = permutation_of(action, g)
    ranks, by_sample = ranked(owners)
    if unseen(owners):
        counts = torch.zeros(g.shape[0], dtype=torch.int64, device=g.device).index_add(
            0, owners, torch.ones_like(owners)
        )
        return by_sample[(counts.cumsum(0) - counts)[owners] + g[owners, ranks]]
    counts = torch.bincount(owners, minlength=g.shape[0])
    starts = counts.cumsum(0) - counts
    longest = int(counts.max()) if counts.shape[0] else 0
    if g.ndim != 2 or counts.shape[0] > g.shape[0] or longest > g.shape[1]:
        raise refuse(
            f"Rows({action!r}): the permutations do not fit the samples",
            got=f"permutations {tuple(g.shape)}, {counts.shape[0]} samples of up to {longest} rows",
            expected=f"(samples, n) with n of at least {longest}",
            fix="declare S() as the group, which permutes as many rows as each sample has",
        )
    goal = g[owners, ranks]
    if bool((goal >= counts[owners]).any()):
        row = int((goal >= counts[owners]).int().argmax())
        raise refuse(
            f"Rows({action!r}): a permutation moves a row out of its sample",
            got=f"row {row} to place {int(goal[row])} of sample {int(owners[row])}, which has {int(counts[owners[row]])}",
            expected="permutations that leave in place what is beyond the end of a sample",
            fix="declare S() as the group, and draw from S().for_sizes(sizes)",
        )
    return by_sample[starts[owners] + goal]


def ranked(owners: Int[Tensor, " rows"]) -> tuple[Int[Tensor, " rows"], Int[Tensor, " rows"]]:
    """The number of each row within its sample, from 0, and the rows sorted by sample, each sample's in their order."""
    place = torch.arange(owners.shape[0], device=owners.device)
    if unseen(owners):
        by_sample = owners.argsort(stable=True)
        ordered = owners[by_sample]
        first = torch.cat([ordered.new_ones(1, dtype=torch.bool), ordered[1:] != ordered[:-1]])
        start = torch.where(first, place, 0).cummax(0).values
        return torch.zeros_like(place).scatter(0, by_sample, place - start), by_sample
    counts = torch.bincount(owners)
    starts = counts.cumsum(0) - counts
    if bool((owners[1:] >= owners[:-1]).all()):
        return place - starts[owners], place
    by_sample = owners.argsort(stable=True)
    return torch.empty_like(place).index_copy(0, by_sample, place) - starts[owners], by_sample


def _check_axis(action: Nodes) -> None:
    if action.axis:
        raise refuse(
            f"Rows({action!r}): rows are the first axis",
            got=f"axis {action.axis}",
            expected="Nodes()",
            fix="Rows(Nodes())",
        )


def permutes(action: Any) -> bool:
    """Whether a leaf of a tree of actions moves things from place to place, as `Nodes()` and `Pairs()` do."""
    if isinstance(action, Rows | Factor):
        return permutes(action.action)
    if isinstance(action, Chain):
        return any(map(permutes, action.actions))
    if isinstance(action, Edges):
        return action.nodes is not None
    return isinstance(action, Nodes | Pairs)


def sizes_of(spec: Any, value: Any, batch: int) -> list[int]:
    """How many things each sample has that a permutation may move.

    Args:
        spec: tree of actions, with `Nodes()` or `Pairs()` in it.
        value: what it mirrors.
        batch: number of samples.

    Raises:
        SymmetryError: parts that disagree, or none that tells.
    """
    found: dict[str, list[int]] = {}
    where = layout(spec, value)
    for action, part, path in matched(spec, value):
        if not permutes(action) or not isinstance(part, Tensor):
            continue
        if isinstance(action, Rows | Edges):
            if where is not None:
                found[path] = torch.bincount(where.index, minlength=batch).tolist()
        else:
            axis = _axis(action)
            if -part.ndim <= axis < part.ndim:
                found[path] = [part.shape[axis]] * batch
    told = list(found.values())
    if not told or any(one != told[0] for one in told):
        raise refuse(
            "how many things a sample has is not clear" if told else "nothing in the input tells what S() permutes",
            got="; ".join(f"{path or 'the input'}: {sorted(set(sizes))[:8]}" for path, sizes in found.items())
            or repr(spec),
            expected="one number for each sample, the same in all inputs declared Nodes() or Pairs()",
            fix="put the nodes right after the batch, (batch, n, ...), or declare Rows(Nodes()) and Index()",
        )
    return told[0]


def _axis(action: Any) -> int:
    """The axis of a dense value that counts the things."""
    if isinstance(action, Factor):
        return _axis(action.action)
    if isinstance(action, Chain):
        return next(_axis(one) for one in action.actions if permutes(one))
    axis = 0 if isinstance(action, Pairs) else int(action.axis)
    return axis if axis < 0 else 1 + axis
