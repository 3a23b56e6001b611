"""Damage done to whole files, the same each time: cut, claiming huge sizes, with other bytes, of another kind."""

from __future__ import annotations

import random
from collections.abc import Iterator

HUGE = (b"\xff" * 8, b"\xff\xff\xff\x7f", b"\x00" * 8, b"\x00\x00\x00\x80", b"\x80\x96\x98\x00\x00\x00\x00\x00")
WORDS = (b"99999999999999999999", b"-1", b"1e999", b"NaN", b"null", b"[" * 3000, b"{" * 3000, b"\xff\xfe\x00\xd8", b"")
DEEP = b"[" * 200_000
FOREIGN = (
    DEEP,
    DEEP + b"\n",
    b'{"a":' * 100_000,
    b"\0" * 4096,
    b"\xff" * 4096,
    b"PK\x05\x06" + b"\0" * 18,
    b"\n" * 100,
    b"{}",
    b"[]",
    b"null",
)


def cuts(whole: bytes) -> Iterator[bytes]:
    """The file cut off at lengths of each class."""
    n = len(whole)
    for length in sorted({0, 1, 2, 4, 7, 8, 9, 16, 64, n // 4, n // 2, 3 * n // 4, n - 22, n - 8, n - 2, n - 1}):
        if 0 <= length < n:
            yield whole[:length]


def damaged(whole: bytes, seed: int, count: int) -> Iterator[bytes]:
    """`count` files with one to four changes each, most of them near one of the two ends, where headers are."""
    draw = random.Random(seed)
    for _ in range(count):
        content = bytearray(whole)
        for _ in range(draw.randint(1, 4)):
            content = _changed(content, draw)
        yield bytes(content)


def _changed(content: bytearray, draw: random.Random) -> bytearray:
    n = len(content)
    near = min(n, draw.choice((16, 64, 256, 4096)))
    place = draw.randrange(near + 1)
    if draw.random() < 0.3:
        place = n - place
    what = draw.randrange(6)
    if what == 0 and n:
        content[min(place, n - 1)] = draw.randrange(256)
    elif what == 1:
        huge = draw.choice(HUGE)
        content[place : place + len(huge)] = huge
    elif what == 2:
        length = draw.randrange(1, 32)
        del content[place : place + length]
    elif what == 3:
        other = draw.randrange(n + 1)
        content[place:place] = content[other : other + draw.randrange(1, 256)]
    elif what == 4:
        # Numbers and words of text formats.
        digits = [at for at, byte in enumerate(content[: 4096 + 1]) if 48 <= byte <= 57]
        at = draw.choice(digits) if digits else place
        content[at : at + 1] = draw.choice(WORDS)
    elif n:
        content[min(place, n - 1)] ^= 1 << draw.randrange(8)
    return content
