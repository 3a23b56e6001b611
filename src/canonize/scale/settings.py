"""What a run depends on: compared when a run goes on, and told in words where it differs."""

from __future__ import annotations

import hashlib
import json
import textwrap
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from typing import Any

WORDS = {
    "hashed": "hash",
    "std": "deviation",
    "stereo": "stereochemistry",
    "kind": "kind of values",
    "pose": "pose and margin",
    "shard": "samples in a file",
    "samples": "number of samples",
    "input": "input files",
    "grids": "axes of pixels of each input",
    "chunk": "samples in a chunk",
    "form": "version of canonical forms",
    "canonize": "version of canonize",
    "torch": "version of torch",
}
"""Names of settings that do not speak for themselves."""
_LONGEST = 160
"""Characters of one value in a message."""


def digested(content: bytes, told: str) -> dict[str, str]:
    """A setting that is too long to keep: its digest, by which it is compared, and words for people.

    Args:
        content: what the digest is taken of.
        told: what to show of it. The words may differ between runs that are the same.
    """
    return {"digest": hashlib.sha256(content).hexdigest()[:16], "told": told}


def files(listed: Sequence[tuple[str, tuple[int, int]]]) -> dict[str, str]:
    """The files of a data set as a setting: how many, their bytes, and when the last of them was changed (UTC).

    Args:
        listed: name and stamp, which is bytes and nanoseconds, of each.
    """
    size, changed = sum(stamp[0] for _, stamp in listed), max((stamp[1] for _, stamp in listed), default=0)
    names = ", ".join(name for name, _ in listed[:3]) + (", ..." if len(listed) > 3 else "")
    when = datetime.fromtimestamp(changed // 10**9, timezone.utc).strftime("%Y-%m-%d %H:%M:%S")
    count = "1 file" if len(listed) == 1 else f"{len(listed):,} files"
    return digested(json.dumps(listed).encode(), f"{count} ({names}), {size:,} bytes, last changed {when}")


def differing(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """The names of settings that are not the same; words beside a digest do not count, and what is missing is None."""
    return [name for name in {**then, **now} if _bare(then.get(name)) != _bare(now.get(name))]


def told_apart(then: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """Each setting that differs, with what it was and what it is, one a line as they stand in a message."""
    lines = []
    for name in differing(then, now):
        before: Any = then.get(name)
        after: Any = now.get(name)
        if _is_group(before) and _is_group(after):
            lines.append(told_apart(before, after))
            continue
        was, is_now = _told(before), _told(after)
        same = was == is_now
        was, is_now = _from_where_they_differ(was, is_now)
        changed = f"{was} then; the same now, with other content" if same else f"{was} then, {is_now} now"
        lines.append(f"{WORDS.get(name, name.replace('_', ' '))}: {changed}")
    return "\n            ".join(lines)


def _is_digested(value: Any) -> bool:
    return isinstance(value, Mapping) and set(value) == {"digest", "told"}


def _is_group(value: Any) -> bool:
    return isinstance(value, Mapping) and not _is_digested(value)


def _bare(value: Any) -> Any:
    return value["digest"] if _is_digested(value) else value


def _told(value: Any) -> str:
    if _is_digested(value):
        value = value["told"]
    if value is None or isinstance(value, bool):
        return {None: "not given", True: "on", False: "off"}[value]
    if isinstance(value, list | tuple):
        value = ", ".join(map(_told, value))
    return str(value)


def _from_where_they_differ(one: str, other: str) -> tuple[str, str]:
    """Both, short enough for a message; of long ones what they have in common at the beginning is left out."""
    start = 0
    if one != other and max(len(one), len(other)) > _LONGEST:
        pairs = enumerate(zip(one, other, strict=False))
        equal = next((place for place, (a, b) in pairs if a != b), min(len(one), len(other)))
        start = one.rfind(" ", 0, equal) + 1
    dots = "... " if start else ""
    first, second = (dots + textwrap.shorten(text[start:], _LONGEST, placeholder=" ...") for text in (one, other))
    return first, second
