"""Where an audit fails: whether a field was declared to stand still that turns with the others."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from canonize._tree import Node, children, rebuild, spec_leaves
from canonize.actions import Fields, Image, Mask, Planar, Point, Rows, Scalar, Vector, VectorImage, Volume
from canonize.actions import Tensor as TensorAction
from canonize.actions.fields import Numbering
from canonize.actions.rows import Layout, layout
from canonize.actions.trees import at, separable, take
from canonize.audit.raw import Found
from canonize.audit.result import Forgotten
from canonize.audit.sweep import Plan, run, sweep
from canonize.errors import SymmetryError
from canonize.groups import Rigid
from canonize.symmetry import Symmetry

SAMPLES, ELEMENTS, TRIALS = 6, 4, 32
"""A declaration is tried on at most so many samples at so many elements each; and at most so many are tried."""

CLEARLY = 0.1
"""A declaration is proposed where the error falls below this share of what it was."""

Keys = tuple[Any, ...]


class _LeftOut:
    """Stands in a tree of actions where a `Fields` says nothing."""

    def __repr__(self) -> str:
        return "left out"


_LEFT_OUT = _LeftOut()


@dataclass(frozen=True)
class _Option:
    """One other declaration of one place; `path` is as the errors of outputs are named."""

    output: bool
    keys: Keys
    path: str
    declared: str
    action: Any


def forgotten(few: Callable[[], Plan], tolerance: float) -> Forgotten | None:
    """What was declared wrongly, where another declaration makes the error fall clearly; None where none does.

    Each tensor that is declared to stand still (None, `Scalar()`, or left out by `Fields`), and has the shape of something
    that the group turns, is tried as `Vector()`, `Point()`, `Tensor(2)`, a pseudovector, or an image like those beside it;
    of outputs also points as vectors, and vectors as pseudovectors. Inputs are never declared to move less than they
    were, which would only hide an error. Measured on the samples and elements with the largest errors.

    Args:
        few: gives the plan of these samples and elements alone.
        tolerance: the largest error that passes.
    """
    try:
        small = few()
        before = sweep(small, None)
        worst = max(before.by_output.values())
        # Not for answers that are lost or random: there is nothing to compare with.
        if not tolerance < worst < float("inf") or before.noise > CLEARLY * worst:
            return None
        chosen = _search(small, before, _options(small))
    except (SymmetryError, RuntimeError):
        # What was found stands without this.
        return None
    return None if chosen is None else _told(small.symmetry, *chosen)


def few_of(plan: Plan, errors: Tensor) -> Plan:
    """The plan with the samples and the elements of the largest errors, as far as samples can be told apart."""
    spec, count = plan.symmetry.inputs, plan.shape[1]
    samples = worst_samples(errors) if separable(spec, plan.value) else torch.arange(count)
    few = replace(plan, value=take(spec, plan.value, samples), table=at(plan.table, (slice(None), samples)))
    return at_worst(few, errors[:, samples])


def worst_samples(errors: Tensor) -> Tensor:
    """Which samples have the largest errors, in their order, (few,) int64."""
    return _finite(errors).amax(0).topk(min(SAMPLES, errors.shape[1])).indices.sort().values


def at_worst(plan: Plan, errors: Tensor) -> Plan:
    """The plan of a few samples in one batch, at the elements of their largest errors, (elements, samples)."""
    numbers = _finite(errors).amax(1).topk(min(ELEMENTS, len(errors))).indices
    return replace(
        plan,
        table=at(plan.table, (numbers,)),
        shape=(len(numbers), errors.shape[1]),
        batch_size=errors.shape[1],
        targets=None,
        metric=None,
        decision=None,
        exhaustive=False,
    )


def _finite(errors: Tensor) -> Tensor:
    return errors.nan_to_num(posinf=torch.finfo(torch.float64).max)


def _search(plan: Plan, before: Found, options: list[_Option]) -> tuple[list[_Option], float, float] | None:
    """The fewest declarations that make the error fall clearly, the error without and with them."""
    left = TRIALS
    known: dict[tuple[int, ...], Found | None] = {}

    def tried(numbers: Sequence[int]) -> Found | None:
        nonlocal left
        key = tuple(sorted(numbers))
        if key not in known:
            if left == 0:
                return None
            left -= 1
            known[key] = _trial(plan, [options[number] for number in key])
        return known[key]

    def errors(numbers: Sequence[int]) -> tuple[float, float] | None:
        """Error without and with these declarations, where it falls clearly."""
        after = tried(numbers)
        if after is None:
            return None
        own = {options[number].path for number in numbers}
        # A wrong output speaks for itself, whatever the others do; a wrong input shows in all of them.
        alone = all(options[number].output for number in numbers)
        paths = [path for path in before.by_output if path in own or not alone]
        was, now = (max(one.by_output[path] for path in paths) for one in (before, after))
        return (was, now) if now <= CLEARLY * was else None

    def best(sets: list[list[int]]) -> tuple[list[_Option], float, float] | None:
        """The first of those whose error is the least, up to a factor of ten."""
        good = [(numbers, *found) for numbers in sets if (found := errors(numbers)) is not None]
        if not good:
            return None
        least = min(now for _, _, now in good)
        numbers, was, now = next(one for one in good if one[2] <= 10 * least)
        return [options[number] for number in numbers], was, now

    every = list(range(len(options)))
    single = best([[number] for number in every])
    if single is not None:
        return single
    places = {(option.output, option.keys): number for number, option in reversed(list(enumerate(options)))}
    together = sorted(places.values())
    if len(together) > 1 and errors(together) is not None:
        for number in list(together):
            rest = [other for other in together if other != number]
            if rest and errors(rest) is not None:
                together = rest
        return best([together])
    chosen: list[int] = []
    for _ in range(3):
        used = {(options[number].output, options[number].keys) for number in chosen}
        free = [n for n in every if (options[n].output, options[n].keys) not in used]
        ranked = sorted(
            (float(after.errors.mean()), [*chosen, n]) for n in free if (after := tried([*chosen, n])) is not None
        )
        if not ranked:
            return None
        chosen = ranked[0][1]
        if errors(chosen) is not None:
            return best([sorted(chosen)])
    return None


def _trial(plan: Plan, options: Sequence[_Option]) -> Found | None:
    """What is found with these declarations; None where the values do not fit them."""
    claim = plan.symmetry
    inputs, outputs = claim.inputs, claim.outputs
    try:
        for option in options:
            if option.output:
                outputs = _declared(outputs, option.keys, None, option.action)
            else:
                inputs = _declared(inputs, option.keys, plan.value, option.action)
        found = sweep(replace(plan, symmetry=Symmetry(claim.group, inputs, outputs)), None)
    except (SymmetryError, RuntimeError):
        return None
    return found if found.moved else None


def _options(plan: Plan) -> list[_Option]:
    """All declarations to try, the likely ones first."""
    kinds = _Kinds(plan)
    if not kinds.size:
        return []
    claim = plan.symmetry
    found = []
    for keys, path, spec, part in _places(claim.inputs, plan.value):
        if spec is None or spec is _LEFT_OUT or isinstance(_bare(spec), Scalar):
            found += [_Option(False, keys, path, repr(spec), action) for action in kinds.of(part, spec)]
    output = run(plan, plan.value, "the inputs as they came")
    for keys, path, spec, part in _places(claim.outputs, output):
        # What is left alone is not compared: no error comes from it.
        inner = _bare(spec)
        flat = inner.action if isinstance(inner, Planar) else inner
        if isinstance(inner, Scalar | Point | Vector) or isinstance(flat, Point | Vector):
            others = kinds.of(part, spec) if isinstance(inner, Scalar) else kinds.instead(flat, spec)
            found += [_Option(True, keys, path or "output", repr(spec), action) for action in others]
    return found


class _Kinds:
    """How a tensor of some shape may move under the group of a plan."""

    def __init__(self, plan: Plan) -> None:
        elements = plan.table
        matrix = elements.linear if isinstance(elements, Rigid) else elements
        square = isinstance(matrix, Tensor) and matrix.is_floating_point() and matrix.shape[-1] == matrix.shape[-2] > 1
        self.rows: Layout | None = layout(plan.symmetry.inputs, plan.value)
        self.count = plan.shape[1]
        self.rigid = isinstance(elements, Rigid)
        self.mirrors = square and bool((torch.linalg.det(matrix) < 0).any())
        plane = [leaf for leaf in map(_bare, spec_leaves(plan.symmetry.inputs)) if isinstance(leaf, Planar)]
        self.axis = plane[0].axis if plane else None
        self.size = 0 if not square else 3 if plane else int(matrix.shape[-1])
        self.grids: list[tuple[Any, torch.Size]] = [
            (spec, part.shape)
            for _, _, spec, part in _places(plan.symmetry.inputs, plan.value)
            if isinstance(spec, Image | Volume)
        ]

    def of(self, part: Tensor, spec: Any) -> list[Any]:
        """Actions that fit the shape of a tensor which is declared to stand still, the likely ones first."""
        own: list[Any] = []
        if part.is_floating_point() and part.ndim > 1 and part.shape[-1] == self.size:
            own = [Vector(), *([Point()] if self.rigid else [])]
            if part.ndim > 2 and part.shape[-2] == self.size:
                own.append(TensorAction(2))
            if self.mirrors:
                own.append(TensorAction(1, odd=True))
        own = [self._flat(action) for action in own]
        for action, shape in self.grids:
            axes = 3 if isinstance(action, Volume) else 2
            if part.ndim > axes and part.shape[-axes:] == shape[-axes:] and part.shape[0] == self.count:
                pair = axes == 2 and part.ndim > 3 and part.shape[-3] == 2
                whole = not part.is_floating_point()
                if not whole or axes == 2:
                    own.append(Mask() if whole else action)
                if pair and not whole:
                    own.append(VectorImage(action.padding, action.interpolation))
                break
        if isinstance(spec, Rows):
            return [replace(spec, action=action) for action in own]
        fitting = list(own) if len(part) == self.count and part.ndim > 1 else []
        if self.rows is not None and not isinstance(spec, Scalar):
            fitting += [Rows(action) for action in own if len(part) == len(self.rows.index)]
            if self.rows.owners is not None and len(part) == len(self.rows.owners):
                fitting += [Rows(action, edges=True) for action in own]
        return fitting

    def instead(self, inner: Any, spec: Any) -> list[Any]:
        """What an output may be that is declared as a point or as a vector."""
        other: list[Any] = []
        if isinstance(inner, Point) and self.rigid:
            other.append(Vector())
        if self.mirrors and inner in (Point(), Vector()):
            other.append(TensorAction(1, odd=True))
        moved = [self._flat(action) for action in other]
        return [replace(spec, action=action) for action in moved] if isinstance(spec, Rows) else moved

    def _flat(self, action: Any) -> Any:
        return action if self.axis is None else Planar(action, self.axis)


def _bare(spec: Any) -> Any:
    return spec.action if isinstance(spec, Rows) else spec


def _places(spec: Any, value: Any, keys: Keys = (), path: str = "") -> Iterator[tuple[Keys, str, Any, Tensor]]:
    """Each tensor of a value with its keys, its path, and what it is declared as; lists of entries are left out."""
    alone = spec is None or spec is _LEFT_OUT
    if isinstance(value, Tensor):
        if value.ndim and not isinstance(spec, Numbering):
            yield keys, path, spec, value
    elif alone or isinstance(spec, Node | Mapping | tuple | list):
        for key, part in _parts(value, spec.parts if isinstance(spec, Node) else ()):
            if isinstance(spec, Node):
                inner = spec.parts.get(key, _LEFT_OUT)
            else:
                inner = spec if alone else spec[key]
            step = f"[{key}]" if isinstance(key, int) else f".{key}"
            yield from _places(inner, part, (*keys, key), path + step)


def _parts(value: Any, named: Iterable[str] = ()) -> list[tuple[Any, Any]]:
    """The parts of a container with the keys that it has them under; of an object its tensors and the named attributes."""
    if isinstance(value, Mapping):
        return list(value.items())
    if isinstance(value, tuple | list):
        return list(enumerate(value))
    inner = children(value)
    if inner is not None:
        return list(inner)
    # An attribute that nobody named may be anything, the object itself too.
    known = getattr(value, "__dict__", {})
    return [(name, part) for name, part in known.items() if isinstance(part, Tensor) or name in set(named)]


def _declared(spec: Any, keys: Keys, value: Any, action: Any) -> Any:
    """The tree of actions with another action at one place; `value` is asked where the tree has not come so far."""
    if not keys:
        return action
    key, rest = keys[0], keys[1:]
    part = dict(_parts(value, [str(key)])).get(key)
    if isinstance(spec, Node):
        return Fields({**spec.parts, key: _declared(spec.parts.get(key, _LEFT_OUT), rest, part, action)})
    if spec is None or spec is _LEFT_OUT:
        inner = _declared(spec, rest, part, action)
        if isinstance(key, int):
            return tuple(inner if place == key else None for place in range(len(value)))
        return Fields({key: inner})
    if isinstance(spec, Mapping):
        return rebuild(spec, [_declared(one, rest, part, action) if name == key else one for name, one in spec.items()])
    return rebuild(spec, [_declared(one, rest, part, action) if i == key else one for i, one in enumerate(spec)])


def _told(claim: Symmetry, options: list[_Option], was: float, now: float) -> Forgotten:
    """The finding in words."""
    moving = _moving(claim.inputs)
    beside = "the other inputs" if moving is None else _quoted(moving, "the input")
    ins, outs = ([option for option in options if option.output is side] for side in (False, True))
    clauses = []
    if ins:
        clauses.append(f"{_listed(ins, 'the input')} did not turn with {beside}")
    if outs:
        declared = " and ".join(dict.fromkeys(option.declared for option in outs))
        verb = "turns" if len(outs) == 1 else "turn"
        clauses.append(f"{_listed(outs, 'the output')}, declared {declared}, {verb} with {beside} otherwise")
    asked = ", ".join(_written(option) for option in options)
    return Forgotten(
        places=tuple(
            ("outputs" if option.output else "inputs") + option.path.removeprefix("output") for option in options
        ),
        declared=tuple(option.declared for option in options),
        actions=tuple(repr(option.action) for option in options),
        error=was,
        then=now,
        advice=f"{'; '.join(clauses)}: error {was:.2g}; declare {asked} (then {now:.2g})",
    )


def _moving(spec: Any) -> str | None:
    """The path of the first input that moves."""
    still = (Numbering, Scalar, type(None))
    return next((path for path, leaf in _leaves(spec) if not isinstance(_bare(leaf), still)), None)


def _leaves(spec: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(spec, Node):
        for name, part in spec.parts.items():
            yield from _leaves(part, f"{path}.{name}")
    elif isinstance(spec, Mapping | tuple | list):
        for key, part in _parts(spec):
            yield from _leaves(part, f"{path}[{key}]" if isinstance(key, int) else f"{path}.{key}")
    else:
        yield path, spec


def _quoted(path: str, whole: str) -> str:
    return f"`{path.removeprefix('.')}`" if path not in ("", "output") else whole


def _listed(options: Sequence[_Option], whole: str) -> str:
    words = [
        ("output " if option.output and option.path != "output" else "") + _quoted(option.path, whole)
        for option in options
    ]
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def _written(option: _Option) -> str:
    """The declaration as one would write it."""
    last = option.keys[-1] if option.keys else None
    if isinstance(last, str):
        return f"`{last}={option.action!r}`"
    if last is None:
        return f"`{'outputs' if option.output else 'inputs'}={option.action!r}`"
    return f"`{option.action!r}` at `{option.path.removeprefix('.')}`"
