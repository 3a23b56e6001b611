"""The claim that every verb takes: a group, how it moves the inputs, and how it moves the outputs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, final

from canonize._tree import Node, describe, spec_leaves
from canonize.actions import Numbering, Rows
from canonize.actions.images import check_dimension
from canonize.actions.relabel import sizes_of
from canonize.actions.trees import batch_of
from canonize.errors import refuse
from canonize.groups import Product, S
from canonize.groups.base import check_is_group


@final
class Keywords(dict[str, Any]):
    """Actions of keyword arguments: `Keywords(pixel_values=Image())` declares a model called as `model(pixel_values=...)`."""

    def __repr__(self) -> str:
        return f"Keywords({', '.join(f'{name}={action!r}' for name, action in self.items())})"


@final
@dataclass(frozen=True)
class Symmetry:
    """The claim f(g · x) = g · f(x) for all g of a group.

    Args:
        group: the group, such as `C(4)`; anything with `sample`, `compose` and `inverse`.
        inputs: tree of actions that mirrors what the model takes. One action for one argument; a tuple for several
            positional arguments; `Keywords` for keyword arguments; dicts and `Fields` for structured values. `None`
            leaves a value alone.
        outputs: tree of actions that mirrors what the model returns. `Scalar()` makes the claim one of invariance.

    Raises:
        SymmetryError: something that is no group, or a leaf that is no action.
    """

    group: Any
    inputs: Any
    outputs: Any

    def __post_init__(self) -> None:
        check_is_group(self.group, "Symmetry")
        for side, tree in (("inputs", self.inputs), ("outputs", self.outputs)):
            for leaf in spec_leaves(tree):
                if isinstance(leaf, type) or not (leaf is None or isinstance(leaf, Numbering | Rows) or callable(leaf)):
                    raise refuse(
                        f"Symmetry: a leaf of {side} is no action",
                        got=f"the class {leaf.__name__}" if isinstance(leaf, type) else describe(leaf),
                        expected="an action such as Image(), a function (g, x) -> x, or None",
                        fix=f"write {leaf.__name__}() with brackets" if isinstance(leaf, type) else f"{side}=Scalar()",
                    )


def group_for(symmetry: Symmetry, value: Any, group: Any = None) -> Any:
    """The group that acts on this batch: the claim's own, with `S()` in it sized to what each sample holds.

    Args:
        symmetry: the claim.
        value: what its inputs mirror.
        group: another group that acts on the same inputs, in place of the claim's.

    Raises:
        SymmetryError: `S()`, and nothing in the inputs that tells how much there is to permute.
    """
    group = symmetry.group if group is None else group
    if not _open(group):
        return group
    return group.for_sizes(sizes_of(symmetry.inputs, value, batch_of(symmetry.inputs, value)[0]))


def _open(group: Any) -> bool:
    """Whether the group takes its size from the samples."""
    return any(map(_open, group.factors)) if isinstance(group, Product) else isinstance(group, S) and group.n is None


def check_is_claim(symmetry: Any, where: str) -> None:
    """Refuse what is no `Symmetry`, and one of which an action on a grid has another dimension than the group.

    Raises:
        SymmetryError: either of them.
    """
    if not isinstance(symmetry, Symmetry):
        raise refuse(
            f"{where} needs the claim",
            got=describe(symmetry),
            expected="a Symmetry",
            fix=f"{where}(..., Symmetry(C(4), inputs=Image(), outputs=Scalar()), ...)",
        )
    for action in (*spec_leaves(symmetry.inputs), *spec_leaves(symmetry.outputs)):
        check_dimension(symmetry.group, action)


def check_is_model(model: Any, where: str) -> None:
    """Refuse what cannot be called, and classes.

    Raises:
        SymmetryError: either of them.
    """
    if not callable(model) or isinstance(model, type):
        raise refuse(
            f"{where} needs a model first",
            got=f"the class {model.__name__}" if isinstance(model, type) else describe(model),
            expected="a module or another callable",
            fix=f"{where}(model, Symmetry(...)), with an instance of the model",
        )


def collect(symmetry: Symmetry, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The arguments of a call as the one value that `symmetry.inputs` mirrors.

    Raises:
        SymmetryError: arguments that were not declared, or too few of them; it shows how to declare them.
    """
    spec = symmetry.inputs
    if isinstance(spec, Keywords):
        if args:
            raise _arity(symmetry, args, kwargs, "keyword arguments only", "name the arguments as declared")
        return Keywords(kwargs)
    if kwargs:
        names = ", ".join(f"{name}=..." for name in kwargs)
        raise _arity(
            symmetry,
            args,
            kwargs,
            "positional arguments only",
            f"declare inputs=Keywords({names}), None for what stands still",
        )
    if isinstance(spec, tuple):
        if len(args) != len(spec):
            raise _arity(
                symmetry,
                args,
                kwargs,
                f"{len(spec)} positional arguments",
                "declare one action for each argument of the model",
            )
        return args
    if len(args) != 1:
        fix = f"declare a tuple of {len(args)} actions, one for each argument; None for what stands still"
        raise _arity(symmetry, args, kwargs, "one argument", fix)
    return args[0]


def call(model: Any, symmetry: Symmetry, value: Any) -> Any:
    """`model` on a value in the way that `symmetry.inputs` declares: unpacked for tuples and for `Keywords`.

    A network of `canonize.nn` that looks at one image is handed a single keyword by its place: it cannot know what
    other libraries call an image.
    """
    if isinstance(symmetry.inputs, Keywords):
        if len(value) == 1 and getattr(model, "by_place", False):
            return model(*value.values())
        return model(**value)
    if isinstance(symmetry.inputs, tuple):
        return model(*value)
    return model(value)


def arguments(symmetry: Symmetry, value: Any) -> Any:
    """`value` as it is to be handed to `call`, refused where it cannot be the arguments that `symmetry.inputs` declares.

    Raises:
        SymmetryError: the number or kind of arguments does not fit, or there is no claim.
    """
    check_is_claim(symmetry, "this call")
    if isinstance(symmetry.inputs, Keywords):
        if not isinstance(value, dict):
            raise _arity(symmetry, (value,), {}, "a dict of the keyword arguments", "pass {name: value}")
        return collect(symmetry, (), value)
    if isinstance(symmetry.inputs, tuple):
        return collect(symmetry, tuple(value) if isinstance(value, tuple | list) else (value,), {})
    if isinstance(value, tuple) and not isinstance(symmetry.inputs, list | Node) and not hasattr(value, "_fields"):
        return collect(symmetry, value, {})
    return value


def _arity(symmetry: Symmetry, args: tuple[Any, ...], kwargs: dict[str, Any], expected: str, fix: str) -> Exception:
    came = [describe(arg) for arg in args] + [f"{name}={describe(arg)}" for name, arg in kwargs.items()]
    return refuse(
        "the arguments are not those that were declared: an input may have been forgotten",
        got=f"{len(came)} arguments: {'; '.join(came) or 'none'}",
        expected=f"{expected}, as in inputs={symmetry.inputs!r}",
        fix=fix,
    )
