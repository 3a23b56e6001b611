"""The model card of a shared canonizer: what it claims, what was measured, how to use it, what it costs."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from huggingface_hub import ModelCard, ModelCardData
from torch import nn

from canonize._version import __version__
from canonize.audit.result import Audit
from canonize.report import facts, words
from canonize.symmetry import Symmetry

MARK = "<!-- Written by canonize. It is written anew on the next save, unless this line is removed. -->"
_ABOUT = (
    "This makes a model of yours keep a symmetry: each input is turned as the frame says, shown to the model, and the answer "
    "is turned back. The model itself is not in here, and its weights stay as they are. Nothing in these files is code."
)
TAGS = ("canonize", "equivariance", "invariance", "symmetry", "canonicalization")
# What CommonMark, its tables, links without brackets, HTML and formulas begin with. Dots of numbers stay readable.
_PUNCTUATION = re.compile(r"([\\`*_{}\[\]<>#|~!&:@/$]|\.(?=[^\W\d]))")


def card(
    symmetry: Symmetry,
    frame: Any,
    audits: Sequence[Audit],
    *,
    source: str,
    licence: str | None,
    base_model: str | None,
) -> ModelCard:
    """The card, with its metadata.

    Args:
        symmetry: the claim.
        frame: how poses are chosen.
        audits: in the order in which they are to stand; may be none.
        source: what `from_pretrained` is to be given, a repository's name or a folder.
        licence: for the metadata; left out where None.
        base_model: name of the model that the frame was trained beside, likewise.
    """
    data = ModelCardData(
        library_name="canonize",
        tags=[*TAGS, f"group:{words.clean(symmetry.group, 60)}"],
        license=licence,
        base_model=base_model,
    )
    return ModelCard(f"---\n{data.to_yaml()}\n---\n\n{MARK}\n\n{_text(symmetry, frame, audits, source)}\n")


def escaped(text: object, limit: int = 300) -> str:
    """The text on one line, in which no character means anything to Markdown or HTML."""
    return _PUNCTUATION.sub(r"\\\1", words.clean(text, limit)).replace("\\<", "&lt;").replace("\\>", "&gt;")


def _text(symmetry: Symmetry, frame: Any, audits: Sequence[Audit], source: str) -> str:
    nothing = "No audit was stored with it. The last line above makes one with inputs of yours."
    parts = [f"# {escaped(type(frame).__name__)} for {escaped(symmetry.group, 60)}", _ABOUT, "## The symmetry"]
    parts.append(
        f"- group: {escaped(symmetry.group)}\n"
        f"- inputs move as: {escaped(symmetry.inputs)}\n"
        f"- outputs move as: {escaped(symmetry.outputs)}\n"
        f"- poses are chosen by: {escaped(_frame(frame))}"
    )
    parts += ["## How to use it", "    pip install 'canonize[hub]'", _code(source)]
    parts += ["## What was measured", _table(audits) if audits else nothing]
    parts += ["## What it costs", _cost(frame, audits), f"Written by canonize {escaped(__version__)}."]
    return "\n\n".join(parts)


def _code(source: str) -> str:
    """Python that runs where `model` and `inputs` are known."""
    return (
        "```python\n"
        "from canonize import audit, symmetrize\n"
        "from canonize.integrations.hub import Canonizer\n\n"
        f"symmetry, frame = Canonizer.from_pretrained({source!a})\n"
        "upright = symmetrize(model, symmetry, frame)  # model: yours, called with inputs that move as above\n"
        "print(audit(upright, symmetry, inputs))  # inputs: some of your own\n"
        "```"
    )


def _frame(frame: Any) -> str:
    parts = [type(part).__name__ for part in frame.children()] if isinstance(frame, nn.Module) else []
    return f"{type(frame).__name__} with {', '.join(parts)}" if parts else repr(frame)


def _table(audits: Sequence[Audit]) -> str:
    rows = [["", *(escaped(one.name, 80) for one in audits)]]
    rows.append(["verdict", *(f"{words.MARKS[one.verdict]} {one.verdict}" for one in audits)])
    rows += [[escaped(fact.label), *map(escaped, fact.values)] for fact in facts.comparison(audits)]
    lines = [f"| {' | '.join(row)} |" for row in rows]
    lines.insert(1, "|---" * len(rows[0]) + "|")
    reasons = [f"- {escaped(one.name, 80)}: {escaped(one.reason)}" for one in audits]
    return "\n".join([*lines, "", *reasons])


def _cost(frame: Any, audits: Sequence[Audit]) -> str:
    numbers = sum(part.numel() for part in frame.parameters()) if isinstance(frame, nn.Module) else 0
    told = f"The frame has {numbers:,} numbers. " if numbers else "The frame has no weights. "
    known = [one for one in audits if one.cost is not None]
    if not known:
        return told + "What it costs beside a model, `audit` tells: time and memory of a call are in its table."
    machine = escaped(", ".join(f"{name} {value}" for name, value in known[-1].versions.items()))
    return f"{told}Passes, time and memory of a call are in the table, measured with {machine}."
