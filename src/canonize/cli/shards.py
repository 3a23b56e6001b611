"""Samples of WebDataset shards: consecutive files of a .tar whose names agree up to the first dot are one sample."""

from __future__ import annotations

import json
import tarfile
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, final, overload

import torch
from torch import Tensor

from canonize.cli.data import KINDS as PICTURES
from canonize.cli.data import LARGEST
from canonize.cli.items import bytes_array, bytes_picture
from canonize.cli.listing import Item
from canonize.cli.reading import check_nodes, readable
from canonize.errors import SymmetryError, refuse
from canonize.forms import Cloud, Graph

POINTS, SPECIES, EDGES = "positions.npy", "species.npy", "edges"
WORDS = ("cls", "txt", "text", "transcript", "caption")


@final
@dataclass(frozen=True)
class Samples(Sequence[Item]):
    """The samples of one shard as items; only where each begins is kept.

    Attributes:
        file: the shard.
        name: of the file, relative to the folder.
        stamp: of the file.
        keys: what the names of a sample's files have in common.
        starts: the byte at which each sample begins.
        broken: where the shard is cut off, what was told; it is one more item, which is bad.
    """

    file: Path
    name: str
    stamp: tuple[int, int]
    keys: tuple[str, ...]
    starts: array[int]
    broken: str = ""

    def __len__(self) -> int:
        return len(self.keys) + bool(self.broken)

    def holds(self) -> str | None:
        """What the first sample is, by the names of its files: "images" or "points"; None for anything else."""
        try:
            main = _main(_members(self.file, self.stamp, self.starts[0], self.keys[0])) if self.keys else ()
        except (SymmetryError, tarfile.TarError, OSError, ValueError):
            return None
        if POINTS in main:
            return "points"
        return "images" if main and f".{main[0].rpartition('.')[2]}" in PICTURES else None

    @overload
    def __getitem__(self, place: int) -> Item: ...

    @overload
    def __getitem__(self, place: slice) -> Sequence[Item]: ...

    def __getitem__(self, place: int | slice) -> Item | Sequence[Item]:
        if isinstance(place, slice):
            return [self[each] for each in range(len(self))[place]]
        if place == len(self.keys):
            return Item(f"{self.name}, after {place} samples", self.stamp, partial(_raised, self.name, self.broken))
        parts = partial(_members, self.file, self.stamp, self.starts[place], self.keys[place])
        return Item(f"{self.name}:{self.keys[place]}", self.stamp, partial(_value, parts), partial(_beside, parts))


def samples_of(file: Path, name: str, stamp: tuple[int, int]) -> Samples:
    """The samples of a shard; only its headers are read.

    Raises:
        SymmetryError: no tar file, or a compressed one.
    """
    keys: list[str] = []
    starts = array("q")
    broken = ""
    try:
        with tarfile.open(file, "r:") as archive:
            try:
                for member in archive:
                    if member.isfile():
                        key = _split(member.name)[0]
                        if not keys or keys[-1] != key:
                            keys.append(key)
                            starts.append(member.offset)
                    # The list of members would grow with the shard.
                    archive.members.clear()  # type: ignore[attr-defined]  # not in the stubs
            except (tarfile.TarError, OSError, ValueError) as error:
                broken = f"{type(error).__name__}: {error}"
    except (tarfile.TarError, OSError, EOFError) as error:
        raise refuse(
            "this shard cannot be read",
            got=f"{file.name} ({type(error).__name__}: {error})",
            expected="an uncompressed .tar",
            fix="unpack .tar.gz with gunzip; copy a damaged file again",
        ) from error
    return Samples(file, name, stamp, tuple(keys), starts, broken)


def _split(name: str) -> tuple[str, str]:
    folder, slash, base = name.rpartition("/")
    key, _, extension = base.partition(".")
    return f"{folder}{slash}{key}", extension.lower()


def _raised(name: str, why: str) -> Any:
    raise refuse("the shard is cut off", got=f"{name} ({why})", expected="an intact .tar", fix="copy the file again")


@lru_cache(1)
def _members(file: Path, stamp: tuple[int, int], start: int, key: str) -> dict[str, bytes]:
    """The files of a sample, by what follows the first dot of their names; read once for its value and what is beside."""
    found: dict[str, bytes] = {}
    with file.open("rb") as opened:
        opened.seek(start)
        with tarfile.open(fileobj=opened, mode="r:") as archive:
            for member in archive:
                own, extension = _split(member.name)
                if own != key:
                    break
                if not member.isfile():
                    continue
                if member.size > LARGEST:
                    raise refuse(
                        "a file of this shard is too large",
                        got=f"{member.name}, {member.size / 2**30:,.1f} GiB",
                        expected=f"at most {LARGEST / 2**30:g} GiB",
                        fix="split it",
                    )
                stream = archive.extractfile(member)
                assert stream is not None  # it is a file
                content = stream.read()
                if len(content) != member.size:
                    raise refuse(
                        "a file of this shard is cut off",
                        got=f"{member.name}: {len(content):,} bytes of {member.size:,}",
                        expected="an intact .tar",
                        fix="copy the file again",
                    )
                found[extension] = content
    return found


def _main(found: dict[str, bytes]) -> tuple[str, ...]:
    """The extensions of the files that make the value."""
    if POINTS in found:
        return (POINTS, SPECIES) if SPECIES in found else (POINTS,)
    for extension in found:
        if f".{extension.rpartition('.')[2]}" in PICTURES or extension.rpartition(".")[2] == "npy":
            return (extension,)
    return ("json",) if "json" in found else ()


def _value(parts: Any) -> Any:
    with _readable(parts):
        return _made(parts())


def _readable(parts: Any) -> Any:
    return readable(
        "a sample of a shard cannot be read", parts.args[-1], expected="an intact one", fix="write it again"
    )


def _made(found: dict[str, bytes]) -> Any:
    main = _main(found)
    if not main:
        raise refuse(
            "the sample holds no value",
            got=f"files {', '.join(found)}",
            expected=f"an image, .npy, {POINTS}, or .json with {EDGES}",
            fix="write it with one of these",
        )
    if main[0] == POINTS:
        points, *kinds = (torch.from_numpy(bytes_array(found[name])) for name in main)
        told = json.loads(found["json"]).get("kinds") if "json" in found else None
        return Cloud(points, kinds[0] if kinds else told) if kinds or told is not None else points
    if main[0] == "json":
        return _graph(json.loads(found["json"]))
    return decoded_member(main[0], found[main[0]])


def decoded_member(extension: str, content: bytes) -> Tensor:
    """The pixels of an image or the array of a .npy file."""
    if extension.rpartition(".")[2] == "npy":
        return torch.from_numpy(bytes_array(content))
    return bytes_picture(content)


def _graph(told: Any) -> Graph:
    if not isinstance(told, dict) or EDGES not in told:
        raise refuse(
            "the sample holds no value",
            got="a .json without edges",
            expected=f"a dict with {EDGES!r}: pairs of numbers of nodes",
            fix="write the edges into it",
        )
    edges = torch.tensor(told[EDGES], dtype=torch.int64).reshape(-1, 2).T
    check_nodes(edges, told.get("count"))
    return Graph(edges, told.get("nodes"), told.get("labels"), told.get("count"), bool(told.get("directed", False)))


def _beside(parts: Any) -> dict[str, Any]:
    """What is not the value, as text where it is text."""
    with _readable(parts):
        found = parts()
    main = _main(found)
    # The json of a graph is its value; beside other values it is metadata.
    return {
        extension: content.decode("utf-8", "replace") if extension in (*WORDS, "json") else content
        for extension, content in found.items()
        if extension not in main
    }
