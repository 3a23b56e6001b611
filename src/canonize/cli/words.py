"""The command line's words for groups, actions and frames: the only place where strings stand for objects."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from canonize import actions, frames, groups
from canonize.errors import refuse
from canonize.symmetrize import Symmetrized, symmetrize
from canonize.symmetry import Symmetry

GROUPS: tuple[tuple[str, Callable[..., Any], str], ...] = (
    ("C{n}", groups.C, "rotations of the plane by multiples of 360/n degrees"),
    ("D{n}", groups.D, "these rotations and the reflections that go with them"),
    ("octahedral", groups.Octahedral, "rotations of the cube"),
    ("octahedral+", lambda: groups.Octahedral(reflections=True), "rotations and reflections of the cube"),
    ("icosahedral", groups.Icosahedral, "rotations of the icosahedron"),
    ("icosahedral+", lambda: groups.Icosahedral(reflections=True), "rotations and reflections of the icosahedron"),
    ("SO{n}", groups.SO, "all rotations of n-dimensional space"),
    ("O{n}", groups.O, "all rotations and reflections"),
    ("T{n}", groups.Translation, "shifts"),
    ("SE{n}", groups.SE, "rotations and shifts"),
    ("E{n}", groups.E, "rotations, reflections and shifts"),
    ("S{n}", groups.S, "permutations of n things"),
    ("S", groups.S, "permutations of as many things as there are"),
)

PYTHON: tuple[tuple[str, str], ...] = (
    ("Flips(n)", "orientations of n things, such as edges: all choices of signs"),
    ("Scaling()", "scale: positive numbers"),
    ("generated_by(matrices)", "any finite group of matrices"),
    ("permutations_by(orders)", "any group of permutations, by those that generate it"),
    ("Product(a, b)", "products; as a word such as S5xO3"),
)
"""Groups that are made from Python, and what they are."""

LARGEST = {"C{n}": 4096, "D{n}": 4096, "S{n}": 10_000}
"""The largest n of a word; beyond it the list of elements, or the factorial that counts them, no longer ends in good time."""
LARGEST_DIMENSION = 64
"""The largest n of the groups of matrices: random elements cost n^3 for each input."""

ACTIONS: dict[str, Any] = {
    "scalar": actions.Scalar(),
    "vector": actions.Vector(),
    "point": actions.Point(),
    "tensor2": actions.Tensor(2),
    "pseudovector": actions.Tensor(1, odd=True),
    "image": actions.Image(),
    "mask": actions.Mask(),
    "vector-image": actions.VectorImage(),
    "volume": actions.Volume(),
    "nodes": actions.Nodes(),
    "pairs": actions.Pairs(),
    "none": None,
}


FRAMES = ("default", "average", "confidence", "logsumexp", "sorted", "sampled")


def group(word: str) -> Any:
    """The group of a word such as `C8`, `SO(3)`, `octahedral+` or, for a product, `S5xO3`.

    Raises:
        SymmetryError: an unknown word; it lists the known ones. Or a group that is too large.
    """
    parts = re.split(r"\s*[x*]\s*", word.strip())
    if len(parts) > 1:
        return groups.Product(*(group(part) for part in parts))
    plain = re.sub(r"[()\s]", "", parts[0]).lower()
    for pattern, make, _ in GROUPS:
        name = pattern.lower()
        if name == plain:
            return make()
        found = re.fullmatch(name.replace("{n}", r"0*([0-9]+)"), plain) if "{n}" in name else None
        if found:
            most = LARGEST.get(pattern, LARGEST_DIMENSION)
            # By its length first: Python refuses to read numbers of thousands of digits.
            if len(found[1]) > 9 or int(found[1]) > most:
                raise refuse(
                    "this group is too large for the command line",
                    got=repr(word.strip() if len(word) < 40 else f"{word.strip()[:36]}..."),
                    expected=f"{pattern.format(n='n')} with n of at most {most:,}",
                    fix=f"--group {pattern.format(n=min(most, 8))}",
                )
            return make(int(found[1]))
    raise refuse(
        "this is no group that the command line knows",
        got=repr(word),
        expected=", ".join(pattern.format(n="n") for pattern, _, _ in GROUPS),
        fix="--group C8; `canonize groups` lists them all",
    )


def group_for(word: str | None, frames_: Sequence[str] = ()) -> Any:
    """The group of a word; without one the group of the folder of `canonize adapt` that is among these words for frames.

    Raises:
        SymmetryError: neither of them; a folder for another group; an unknown word.
    """
    known = [(name, files().load(name)[0].group) for name in frames_ if is_saved(name)]
    if word is None and not known:
        raise refuse(
            "no group is given",
            got="neither --group nor a folder of `canonize adapt` as --frame, which knows its group",
            expected=", ".join(pattern.format(n="n") for pattern, _, _ in GROUPS),
            fix="--group C4; `canonize groups` says what each of them is",
        )
    wanted = known[0][1] if word is None else group(word)
    for name, own in known:
        if repr(own) != repr(wanted):
            raise refuse(
                "the saved frame is for another group",
                got=f"{own!r} in {name}",
                expected=f"{wanted!r}, as {f'{known[0][0]} does' if word is None else '--group says'}",
                fix="leave out --group, the folder knows it; or train a frame for the other group with canonize adapt",
            )
    return wanted


def is_saved(word: str) -> bool:
    """Whether a word for a frame names a folder."""
    return word.strip().lower().partition(":")[0] not in FRAMES and Path(word).is_dir()


def tree(word: str) -> Any:
    """The actions of a word: one name, or a comma-separated list for several arguments or outputs.

    Raises:
        SymmetryError: an unknown name; it lists the known ones.
    """
    names = [name.strip().lower() for name in word.split(",")]
    for name in names:
        if name not in ACTIONS:
            raise refuse(
                "this is no action that the command line knows",
                got=repr(name),
                expected=", ".join(ACTIONS),
                fix="--input image --output scalar; for dicts and fields call canonize.audit from Python",
            )
    return ACTIONS[names[0]] if len(names) == 1 else tuple(ACTIONS[name] for name in names)


def grids(word: str) -> tuple[int | None, ...]:
    """For each action of a word the number of pixel axes of its values: 2 for images, 3 for volumes, 0 for others.

    None stands for what is left alone. Masks and vector images are no colours, so they count as others.
    """
    names = [name.strip().lower() for name in word.split(",")]
    return tuple(None if ACTIONS.get(name) is None else {"image": 2, "volume": 3}.get(name, 0) for name in names)


def numbers(word: str | None, *, option: str, positive: bool = False) -> tuple[float, ...] | None:
    """The numbers of a comma-separated list; None for None.

    Raises:
        SymmetryError: something that is no finite number, or not above 0 where it must be.
    """
    if word is None:
        return None
    try:
        found = tuple(float(part) for part in word.split(","))
    except ValueError:
        found = (math.nan,)
    if not all(math.isfinite(number) and (number > 0 or not positive) for number in found):
        raise refuse(
            f"{option} takes numbers",
            got=repr(word),
            expected="finite numbers" + (" above 0" if positive else "") + ", with commas between them",
            fix=f"{option} " + ("0.229,0.224,0.225" if positive else "0.485,0.456,0.406"),
        )
    return found


def behind(word: str, model: Any, claim: Symmetry) -> Symmetrized:
    """The model behind the frame of a word, or behind the frame and the claim of a folder that `canonize adapt` has written.

    Raises:
        SymmetryError: an unknown word, a folder that holds none, or one for other inputs or outputs.
    """
    if not is_saved(word):
        return symmetrize(model, claim, frame(word, model))
    saved, found = files().load(word)
    if (saved.inputs, saved.outputs) != (claim.inputs, claim.outputs):
        raise refuse(
            "the saved frame is for another model",
            got=f"inputs {saved.inputs!r}, outputs {saved.outputs!r} in {word}",
            expected=f"inputs {claim.inputs!r}, outputs {claim.outputs!r}",
            fix="give --input and --output as they were, or train it again: canonize adapt",
        )
    return symmetrize(model, saved, found)


def files() -> Any:
    """The module that saves and loads frames.

    Raises:
        SymmetryError: safetensors is not installed.
    """
    try:
        from canonize.integrations import safetensors
    except ModuleNotFoundError as error:
        raise refuse(
            "saved frames need safetensors",
            got=f"{error.name} is not installed",
            expected="safetensors",
            fix="pip install 'canonize[cli]'",
        ) from None
    return safetensors


def frame(word: str, model: Any) -> Any:
    """The frame of a word: `average`, `confidence`, `logsumexp`, `sorted`, `sampled:8`.

    Raises:
        SymmetryError: an unknown word, or a number where none belongs.
    """
    name, colon, number = word.strip().lower().partition(":")
    known: dict[str, Callable[[], Any]] = {
        "default": lambda: None,
        "average": frames.Average,
        "confidence": lambda: frames.Best(frames.Confidence(model)),
        "logsumexp": lambda: frames.Best(frames.LogSumExp(model)),
        "sorted": frames.Sorted,
        "sampled": lambda: frames.Sampled(int(number) if colon else 8),
    }
    if name not in known:
        raise refuse(
            "this is no frame that the command line knows",
            got=repr(word),
            expected=f"{', '.join(known)}, or a folder that `canonize adapt` has written",
            fix="--frame average",
        )
    if colon and (name != "sampled" or not re.fullmatch("[1-9][0-9]{0,5}", number)):
        raise refuse(
            "the frame has a bad number" if name == "sampled" else "this frame takes no number",
            got=repr(word),
            expected="sampled:k with a whole number k from 1 to 999,999" if name == "sampled" else name,
            fix="--frame sampled:8" if name == "sampled" else f"--frame {name}",
        )
    return known[name]()
