"""`canonical_hash` and its relatives: which form belongs to which value and group."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from torch import Tensor

from canonize._tree import describe
from canonize.errors import SymmetryError, refuse, within
from canonize.forms.align import within as aligned
from canonize.forms.cloud import Cloud, Motions, centred, cloud_digest, motions
from canonize.forms.digest import code, digest
from canonize.forms.graph import Graph, as_graph, graph_digests, is_graph_like
from canonize.forms.keys import cloud_keys
from canonize.forms.orbit import grid_digest, listed_digest
from canonize.groups import FiniteMatrixGroup, S
from canonize.groups.base import check_is_group


def canonical_hash(
    value: Any, group: Any, *, tolerance: float | None = None, action: Any = None, limit: float | None = 60.0
) -> str:
    """128 bits in hexadecimal: the same for all values of one orbit, different for others up to collisions of the hash.

    | value | group | the same |
    |---|---|---|
    | `Graph`, a graph of networkx or PyG | `S()` | isomorphic with all features, exactly |
    | tensor (n, ...) | `S()` | the same rows in any order, exactly |
    | image, volume | `C(4)`, `D(4)`, `Octahedral()`, ... | the same pixels after a lossless turn, exactly |
    | any tensor, with `action=` | any finite group | the same entries after a lossless move, exactly |
    | tensor (n, d), `Cloud` | `SO(d)`, `O(d)`, `SE(d)`, `E(d)` | the same points in this order after a motion, up to rounding |
    | tensor (n, d), `Cloud` | `Product(S(), E(d))`, ... | in any order |

    Numbers are exact: whole numbers of all dtypes are one kind, floats of all dtypes another, and 0.0 equals -0.0. With a
    tolerance the floats of graphs and rows are rounded to its multiples, so that nearly equal ones may still be parted.

    **Coordinates** are never equal to the last bit after a motion, so a tolerance says how coarse the hash looks: it tells
    in which cells, of this width, the points lie after the cloud is posed by its own points. Equal hashes then mean (up to
    collisions) that some motion takes the clouds to within one cell of one another along each axis. Copies whose points
    differ by delta, such as rounding, have equal hashes unless a coordinate or an invariant lies that near to the border of a
    cell, which happens to about n d delta / tolerance of clouds in general position: with float64 and a tolerance of 1e-3
    once in 10^10, with float32 once in some hundreds. No hash can do better, since nearness is not transitive; where it
    matters, take `duplicates`, which misses no pair. Symmetric clouds (CH4, benzene, a cube) are treated as any other, and
    mirror images differ under SO and SE.

    Hashes are comparable where group, tolerance and the version of canonize's forms are the same.

    Args:
        value: one value, without a batch axis.
        group: what may happen to it.
        tolerance: a length in the unit of the coordinates; for floats at graphs and rows in their unit. None: exact.
        action: how the elements of a finite group move the value, for example `Nodes(-1)` with `permutations_by(...)`.
        limit: seconds for the labelling of one graph; None for no limit.

    Raises:
        SymmetryError: a value and a group that do not go together, NaN, coordinates without a tolerance or with one below
            their rounding, a graph that cannot be labelled in time.

    Example:
        >>> import torch
        >>> from canonize import C, canonical_hash
        >>> picture = torch.arange(12, dtype=torch.uint8).reshape(1, 3, 4)
        >>> canonical_hash(picture, C(4)) == canonical_hash(picture.rot90(1, (-2, -1)), C(4))
        True
        >>> canonical_hash(picture, C(4)) == canonical_hash(picture.flip(-1), C(4))
        False
    """
    return canonical_hashes([value], group, tolerance=tolerance, action=action, limit=limit)[0]


def canonical_hashes(
    values: Iterable[Any], group: Any, *, tolerance: float | None = None, action: Any = None, limit: float | None = 60.0
) -> list[str]:
    """`canonical_hash` of each value; graphs are labelled together, which is faster than one by one."""
    with within("canonical_hash(..., {!r}, tolerance={!r})", group, tolerance):
        tolerance = _checked(group, tolerance)
        listed = list(values)
        graphs = [value for value in listed if is_graph_like(value)]
        if graphs:
            told = iter(graph_digests([_fitting(as_graph(value), group) for value in graphs], tolerance, limit))
        return [next(told) if is_graph_like(value) else _digest(value, group, tolerance, action) for value in listed]


def canonical_keys(
    value: Any, group: Any, *, tolerance: float | None = None, action: Any = None, limit: float | None = 60.0
) -> tuple[str, ...]:
    """Keys of which any two values within the tolerance share at least one; what shares none is different.

    For exact values this is `canonical_hash` alone. For clouds it is one key for each of several grids of invariants: sharing
    a key is necessary, not sufficient, and `equivalent` decides. Arguments and errors as for `canonical_hash`.
    """
    moved = _cloudy(value, group)
    if moved is None:
        return (canonical_hash(value, group, tolerance=tolerance, action=action, limit=limit),)
    with within("canonical_keys(..., {!r}, tolerance={!r})", group, tolerance):
        tolerance = _checked(group, tolerance)
        cloud = centred(value, group, moved, tolerance)
        assert tolerance is not None  # centred has refused it
        return cloud_keys(cloud, moved, tolerance)


def equivalent(
    one: Any,
    other: Any,
    group: Any,
    *,
    tolerance: float | None = None,
    action: Any = None,
    limit: float | None = 60.0,
) -> bool:
    """Whether the group takes one value to the other: exactly, or for clouds with no point farther off than the tolerance.

    For clouds True comes with a motion and a matching that were found. False is as certain where points of one kind are more
    than a few tolerances apart. Arguments and errors as for `canonical_hash`.

    Example:
        >>> import torch
        >>> from canonize import SE, E, Product, S, equivalent
        >>> hand = torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 2, 0], [0, 0, 3]])
        >>> [equivalent(hand, -hand, Product(S(), group), tolerance=1e-3) for group in (SE(3), E(3))]
        [False, True]
    """
    moved = _cloudy(one, group)
    if moved is None or _cloudy(other, group) is None:
        first, second = canonical_hashes([one, other], group, tolerance=tolerance, action=action, limit=limit)
        return first == second
    with within("equivalent(..., {!r}, tolerance={!r})", group, tolerance):
        tolerance = _checked(group, tolerance)
        clouds = [centred(value, group, moved, tolerance) for value in (one, other)]
        assert tolerance is not None  # centred has refused it
        return aligned(clouds[0], clouds[1], moved, tolerance)


def decided_by_hash(value: Any, group: Any) -> bool:
    """Whether equal keys say that values are equal; for clouds they do not."""
    return _cloudy(value, group) is None


def _cloudy(value: Any, group: Any) -> Motions | None:
    return motions(group) if isinstance(value, Tensor | Cloud) else None


def _checked(group: Any, tolerance: float | None) -> float | None:
    check_is_group(group, "canonical_hash")
    if tolerance is None:
        return None
    if not isinstance(tolerance, int | float) or isinstance(tolerance, bool) or not 0 < tolerance < math.inf:
        raise refuse(
            "the tolerance is no positive number",
            got=repr(tolerance),
            expected="a positive, finite number, or None for exact equality",
            fix="tolerance=1e-3",
        )
    return float(tolerance)


def _fitting(graph: Graph, group: Any) -> Graph:
    if not isinstance(group, S):
        raise _unknown(graph, group)
    if group.n is not None and graph.count not in (None, group.n):
        raise refuse("the graph has another size", got=f"{graph.count} nodes", expected=f"{group.n}", fix="S()")
    return graph if group.n is None else Graph(graph.edges, graph.nodes, graph.labels, group.n, graph.directed)


def _digest(value: Any, group: Any, tolerance: float | None, action: Any) -> str:
    moved = _cloudy(value, group)
    if moved is not None:
        cloud = centred(value, group, moved, tolerance)
        assert tolerance is not None  # centred has refused it
        return cloud_digest(cloud, moved, tolerance)
    if isinstance(value, Cloud | Tensor) and isinstance(group, S) and action is None:
        return _rows(value, group, tolerance)
    if not isinstance(value, Tensor):
        raise _unknown(value, group)
    if tolerance is not None:
        raise refuse(
            "entries that only move are compared exactly",
            got=f"tolerance={tolerance:g}",
            expected="no tolerance",
            fix="round the entries yourself: canonical_hash((x / step).round(), ...)",
        )
    if action is not None:
        return listed_digest(value, group, action)
    if isinstance(group, FiniteMatrixGroup):
        return grid_digest(value, group)
    raise _unknown(value, group)


def _rows(value: Tensor | Cloud, group: S, tolerance: float | None) -> str:
    points = value.points if isinstance(value, Cloud) else value
    if points.ndim < 1 or group.n not in (None, len(points)):
        raise refuse("these are not as many rows", got=describe(points), expected=f"{group!r}", fix="S()")
    rows = [code(row, tolerance) for row in points.detach().cpu().tolist()]
    if isinstance(value, Cloud) and value.kinds is not None:
        kinds = value.kinds.tolist() if isinstance(value.kinds, Tensor) else list(value.kinds)
        rows = [row + code(kind, tolerance) for row, kind in zip(rows, kinds, strict=True)]
    return digest("rows", [str(tuple(points.shape[1:])).encode(), *sorted(rows)])


def _unknown(value: Any, group: Any) -> SymmetryError:
    return refuse(
        "there is no canonical form of this value under this group",
        got=f"{describe(value)} under {group!r}",
        expected="a Graph under S(); a tensor (n, d) or a Cloud under SO, O, SE, E(d) or Product(S(), E(d)); an image under "
        "C(4) or D(4); rows under S()",
        fix="action= says how a finite group moves the value; Graph.dense(adjacency) makes a graph of a matrix",
    )
