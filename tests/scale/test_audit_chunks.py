"""Audits in chunks: one audit of all samples, whatever the chunks, the processes, the kills and the bad samples."""

from __future__ import annotations

import dataclasses
import pickle
from collections.abc import Iterator, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

import pytest
import torch
from audit_jobs import Read, by_the_first, cnn, first_row, forgetful
from torch import Tensor

from canonize import (
    SE,
    SO,
    Audit,
    C,
    Image,
    O,
    Point,
    S,
    Scalar,
    Symmetry,
    SymmetryError,
    Vector,
    accuracy,
    audit,
    symmetrize,
)
from canonize.actions import Nodes
from canonize.audit.raw import Found, Raw, found_of
from canonize.scale import Chunk, Made, Samples, audit_chunks, audits, measuring
from canonize.scale import run as here
from canonize.scale.measuring import drawn

N = 23
G = torch.Generator().manual_seed(0)
X, Y = torch.rand(N, 2, 6, 6, generator=G), torch.randint(3, (N,), generator=G)
V = torch.randn(N, 3, generator=G)
FOUR = Symmetry(C(4), Image(), Scalar())
LINEAR = torch.nn.Linear(3, 3).eval()


@dataclasses.dataclass(frozen=True)
class Placed:
    """A group whose draws are those of an audit in chunks, for samples at these places."""

    group: Any
    places: tuple[int, ...] = tuple(range(N))

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self.group, name)

    def __repr__(self) -> str:
        return repr(self.group)

    def sample(
        self, shape: tuple[int, ...] = (), *, generator: Any = None, dtype: Any = None, device: Any = None
    ) -> Any:
        if len(shape) != 2 or shape[1] != len(self.places):
            return self.group.sample(shape, generator=generator, dtype=dtype, device=device)
        return drawn(self.group, shape[0], self.places, seed=0, dtype=dtype, device=device)


def same(one: Any, other: Any, path: str = "") -> None:
    """Equal bit for bit, through all fields; NaN is equal to nothing."""
    if isinstance(one, Tensor):
        assert torch.equal(one, other), path
    elif dataclasses.is_dataclass(one):
        assert type(one) is type(other), path
        for field in dataclasses.fields(one):
            same(getattr(one, field.name), getattr(other, field.name), f"{path}.{field.name}")
    elif isinstance(one, tuple | list):
        assert len(one) == len(other), path
        for number, pair in enumerate(zip(one, other, strict=True)):
            same(*pair, f"{path}[{number}]")
    else:
        assert one == other, path


CASES: dict[str, tuple[Any, Symmetry, Any, bool]] = {
    "cnn, C4": (cnn(), FOUR, X, True),
    "cnn, C8, resampled": (cnn(), Symmetry(C(8), Image(), Scalar()), X, True),
    "symmetrized": (symmetrize(cnn(), FOUR), FOUR, X, True),
    "neighbours": (by_the_first, FOUR, X, False),
    "SO2, drawn": (cnn(), Symmetry(SO(2), Image(), Scalar()), X, True),
    "O3, drawn": (LINEAR, Symmetry(O(3), Vector(), Vector()), V, False),
    "SE3, no law": (LINEAR, Symmetry(SE(3), Point(), Point()), V, False),
    "tiny beside large": (first_row, FOUR, X * torch.where(torch.arange(N) < 8, 1e-4, 1.0).reshape(-1, 1, 1, 1), False),
    "a forgotten field": (
        forgetful,
        Symmetry(SO(3), (Vector(), Scalar()), Scalar()),
        (V, V.flip(0)),
        False,
    ),
}


@cache
def whole(name: str) -> Audit:
    model, claim, inputs, labelled = CASES[name]
    claim = dataclasses.replace(claim, group=Placed(claim.group)) if "elements" not in dir(claim.group) else claim
    task = {"targets": Y, "metric": accuracy} if labelled else {}
    return audit(model, claim, inputs, cost=False, elements=6, batch_size=4, **task)


def pieces(name: str, chunk: int | None = None, **options: Any) -> Any:
    model, claim, inputs, labelled = CASES[name]
    read = Read(inputs, Y if labelled else None)
    settings = {"cost": False, "elements": 6, "batch_size": 4, "metric": accuracy if labelled else None}
    return audit_chunks(model, claim, read, N, chunk=chunk, **{**settings, **options})


@pytest.mark.parametrize("name", CASES)
def test_chunks_make_the_audit_of_all_at_once_bit_for_bit(name: str) -> None:
    expected = whole(name)
    for chunk in (4, 11, 1000):
        found = pieces(name, chunk)
        same(found.audit, expected)
        assert (found.bad, found.resumed) == ((), 0)
    assert expected.verdict in ("pass", "fail", "undecided")


def test_the_cases_show_what_they_are_to_show() -> None:
    assert whole("symmetrized").verdict == "pass"
    assert whole("neighbours").verdict == "fail"
    assert whole("cnn, C8, resampled").floor is not None
    assert whole("a forgotten field").forgotten is not None
    assert whole("SE3, no law").split is None
    assert len({row.label for row in whole("O3, drawn").rows}) > 6


def apiece(parts: Sequence[Raw], scale: float | None) -> Found:
    """Errors beside the typical answer of each chunk alone."""
    errors = torch.cat([found_of([part], scale).errors for part in parts], 1)
    return dataclasses.replace(found_of(parts, scale), errors=errors)


@pytest.mark.parametrize(
    ("name", "where", "what", "fault"),
    [
        ("tiny beside large", audits, "found_of", apiece),
        ("O3, drawn", measuring, "drawn", lambda g, m, p, **options: drawn(g, m, range(len(p)), **options)),
        ("neighbours", measuring.Plan, "numbers", lambda _, turn, members: torch.full_like(members, turn)),
    ],
    ids=["the scale of a chunk", "the draws of a chunk", "neighbours turned alike"],
)
def test_a_planted_fault_is_found(
    name: str, where: Any, what: str, fault: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = whole(name)
    monkeypatch.setattr(where, what, fault)
    found = pieces(name, 4).audit
    with pytest.raises(AssertionError):
        same(found.errors, expected.errors)


def elsewhere(job: Any, chunks: Sequence[Chunk]) -> Iterator[tuple[Chunk, Any]]:
    """As in other processes, the last chunk first."""
    measuring.ready.cache_clear()
    return here(pickle.loads(pickle.dumps(job)), chunks[::-1])


def test_neither_the_order_nor_the_process_counts(tmp_path: Path) -> None:
    expected = whole("cnn, C4")
    same(pieces("cnn, C4", 4, engine=elsewhere, resume=tmp_path / "kept").audit, expected)
    made = Made(partial(cnn, 0))
    found = audit_chunks(
        made, FOUR, Read(X, Y), N, metric=accuracy, cost=False, batch_size=4, elements=6, engine=elsewhere
    )
    same(found.audit, expected)


class TestBadSamples:
    @pytest.mark.parametrize("name", ["cnn, C4", "O3, drawn"])
    @pytest.mark.parametrize("bad", [(0,), (7, 8, 22), tuple(range(10))])
    def test_they_are_told_and_the_others_audited(self, name: str, bad: tuple[int, ...]) -> None:
        model, claim, inputs, _ = CASES[name]
        good = [place for place in range(N) if place not in bad]
        found = audit_chunks(model, claim, Read(inputs, bad=bad), N, cost=False, batch_size=4, chunk=8)
        assert found.bad == tuple((f"sample {place}", "torn") for place in bad)
        group = claim.group if name == "cnn, C4" else Placed(claim.group, tuple(good))
        expected = audit(model, dataclasses.replace(claim, group=group), inputs[good], cost=False, batch_size=4)
        assert torch.allclose(found.audit.errors, expected.errors, rtol=1e-4, atol=1e-6)
        assert found.audit.certificate == expected.certificate
        assert found.audit.verdict == expected.verdict
        assert [case.sample for case in found.audit.worst] == [good[case.sample] for case in expected.worst]
        for one, other in zip(found.audit.worst, expected.worst, strict=True):
            same((one.label, one.picture, one.turned_picture), (other.label, other.picture, other.turned_picture))

    def test_nothing_good_is_nothing_to_audit(self) -> None:
        with pytest.raises(SymmetryError, match=r"nothing to audit\n  got: +23 bad samples; the first: sample 0: torn"):
            audit_chunks(cnn(), FOUR, Read(X, bad=tuple(range(N))), N, cost=False)

    def test_a_chunk_without_labels_leaves_the_metric_out(self) -> None:
        found = audit_chunks(
            cnn(), FOUR, Read(X, Y, labelled=14), N, metric=accuracy, cost=False, batch_size=4, chunk=20
        )
        assert found.audit.metric is None
        expected = audit(cnn(), FOUR, X, cost=False, batch_size=4)
        same(found.audit, expected)


class TestResume:
    def test_what_is_there_is_not_measured_again(self, tmp_path: Path) -> None:
        expected, asked = pieces("cnn, C4", 4).audit, []

        def counted(job: Any, chunks: Sequence[Chunk], most: int) -> Iterator[tuple[Chunk, Any]]:
            for number, done in enumerate(here(job, chunks)):
                if number == most:
                    raise KeyboardInterrupt
                asked.append(done[0].number)
                yield done

        options = {"chunk": 4, "resume": tmp_path / "kept"}
        for most in (2, 0, 1):
            with pytest.raises(KeyboardInterrupt):
                pieces("cnn, C4", engine=partial(counted, most=most), **options)
        told: list[tuple[int, int]] = []
        found = pieces("cnn, C4", engine=partial(counted, most=9), progress=lambda *at: told.append(at), **options)
        same(found.audit, expected)
        assert (sorted(asked), found.resumed) == ([0, 1, 2, 3, 4, 5], 12)
        assert told == [(12, 23), (16, 23), (20, 23), (23, 23)]
        again = pieces("cnn, C4", engine=partial(counted, most=0), **options)
        same(again.audit, expected)
        assert again.resumed == N

    @pytest.mark.parametrize(
        ("other", "named"),
        [
            ({"seed": 1}, "seed"),
            ({"elements": 7}, "elements"),
            ({"settings": {"data": "b"}}, "data"),
            ({"metric": None}, "metric"),
        ],
    )
    def test_a_folder_of_other_settings_is_refused(self, tmp_path: Path, other: dict[str, Any], named: str) -> None:
        pieces("cnn, C4", 10, resume=tmp_path / "kept")
        with pytest.raises(SymmetryError, match=f"of other settings.*\n.*{named}: "):
            pieces("cnn, C4", 10, resume=tmp_path / "kept", **other)

    def test_other_weights_are_another_model(self, tmp_path: Path) -> None:
        audit_chunks(cnn(0), FOUR, Read(X), N, cost=False, resume=tmp_path / "kept")
        with pytest.raises(SymmetryError, match=r"of other settings.*\n.*model: "):
            audit_chunks(cnn(1), FOUR, Read(X), N, cost=False, resume=tmp_path / "kept")


class TestDraws:
    def test_they_depend_on_seed_and_place_alone(self) -> None:
        options = {"dtype": torch.float64, "device": torch.device("cpu")}
        all_of = drawn(SE(3), 4, range(9), seed=0, **options)
        some = drawn(SE(3), 4, [7, 2], seed=0, **options)
        assert torch.equal(some.linear, all_of.linear[:, [7, 2]])
        assert torch.equal(some.shift, all_of.shift[:, [7, 2]])
        assert not torch.equal(drawn(SE(3), 4, [2], seed=1, **options).shift, all_of.shift[:, [2]])
        assert len({float(x) for x in all_of.shift[..., 0].flatten()}) == 36


class TestWords:
    @pytest.mark.parametrize(
        ("options", "what"),
        [
            ({"count": 0}, "bad count"),
            ({"chunk": 0}, "bad chunk"),
            ({"elements": 1}, "bad elements"),
            ({"workers": 0}, "no workers"),
        ],
    )
    def test_bad_settings(self, options: dict[str, Any], what: str) -> None:
        count = options.pop("count", N)
        with pytest.raises(SymmetryError, match=what):
            audit_chunks(cnn(), FOUR, Read(X), count, cost=False, **options)

    def test_what_does_not_pickle_stays_here(self) -> None:
        with pytest.raises(SymmetryError, match="cannot be sent to other processes"):
            audit_chunks(lambda x: x.mean((1, 2, 3)), FOUR, Read(X), N, cost=False, workers=2)

    def test_a_model_of_chance_is_found_out(self) -> None:
        """Each process would audit another one."""

        with pytest.raises(SymmetryError, match="another one each time"):
            audit_chunks(Made(partial(cnn, None)), FOUR, Read(X), N, cost=False, engine=elsewhere)
        assert audit_chunks(Made(partial(cnn, 3)), FOUR, Read(X), N, cost=False, engine=elsewhere).audit.samples == N

    @pytest.mark.parametrize(
        ("claim", "inputs"),
        [(Symmetry(S(), Nodes(), Scalar()), torch.rand(9, 4, 2)), (Symmetry(O(3), (Vector(), None), Scalar()), (V, V))],
    )
    def test_claims_about_whole_batches_are_refused(self, claim: Symmetry, inputs: Any) -> None:
        with pytest.raises(SymmetryError, match="cannot be audited in chunks"):
            audit_chunks(lambda *x: x[0].sum(1), claim, Read(inputs), 9, cost=False)

    def test_data_that_change_are_told(self) -> None:
        torn: list[int] = []

        def read(places: Sequence[int]) -> Samples:
            torn.append(len(places))
            return Read(X, bad=(0,) if len(torn) > 2 else ())(places)

        with pytest.raises(SymmetryError, match="changed since they were measured"):
            audit_chunks(cnn(), FOUR, read, N, cost=False, chunk=16, batch_size=16)
