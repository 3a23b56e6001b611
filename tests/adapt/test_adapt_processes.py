"""Two processes on half-batches end as one process on whole ones."""

from __future__ import annotations

import os
import pickle
import re
import runpy
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from adapt_cases import CLAIM, plain, ramps
from adapt_pair import CASES, EXAMPLE, bootstrapped, memory, one_left_over, run
from torch import Tensor

from canonize import SymmetryError, adapt
from canonize.adapt.processes import Alone, Processes, check_processes, part

pytest.importorskip("accelerate", reason="accelerate is not installed: pip install 'canonize[accelerate]'")
pytest.importorskip("sklearn", reason="scikit-learn is not installed: pip install 'canonize[demo]'")

from canonize.integrations.accelerate import Accelerated

PATIENCE = 300  # seconds, on a machine that has much else to do


def talk(folder: Path) -> None:
    """Two gloo processes, which write to `folder` what they have to tell; a pair that hangs fails."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    script = str(Path(__file__).with_name("adapt_pair.py"))
    common = os.environ | {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1"}
    common |= {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
    started = [
        subprocess.Popen(
            [sys.executable, script, str(folder)],
            env=common | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for rank in range(2)
    ]
    try:
        told = [process.communicate(timeout=PATIENCE) for process in started]
    finally:
        for process in started:
            process.kill()
    for rank, (process, (printed, errors)) in enumerate(zip(started, told, strict=True)):
        assert process.returncode == 0, errors.decode()
        (folder / f"printed-{rank}.txt").write_bytes(printed)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, Any]]]:
    """What the two have told. Workers of one test run share them: whoever comes first starts them."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "pair"
    try:
        folder.mkdir()
    except FileExistsError:
        until = time.monotonic() + PATIENCE
        while not (folder / "over").exists() and time.monotonic() < until:
            time.sleep(0.1)
    else:
        try:
            talk(folder)
        finally:
            (folder / "over").touch()
    return folder, [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(2)]


def gap(one: dict[str, Tensor], other: dict[str, Tensor]) -> float:
    """The largest difference of any weight, infinite where one is not a number."""
    assert one.keys() == other.keys()
    gaps = [(one[name].double() - other[name].double()).abs().max() for name in one if one[name].numel()]
    return float(torch.stack(gaps).nan_to_num(nan=torch.inf).max())


def test_half_batches_end_as_whole_ones(pair: Any) -> None:
    folder, (first, second) = pair
    assert (first["count"], first["kind"]) == (2, "MULTI_CPU")
    for name, case in CASES.items():
        alone, both = run(case), first[name]
        assert gap(alone["weights"], both["weights"]) < 1e-12, name
        assert gap(both["weights"], second[name]["weights"]) == 0, name
        assert both["epochs"] == second[name]["epochs"]
        for ours, theirs in zip(alone["epochs"], both["epochs"], strict=True):
            assert [number is None for number in theirs] == [number is None for number in ours]
            numbers = [[number for number in row if number is not None] for row in (theirs, ours)]
            assert numbers[0] == pytest.approx(numbers[1], rel=1e-12, abs=0), name
        assert (both["best"], both["samples"]) == (alone["best"], alone["samples"])
        # The record is one record, with its seconds.
        assert both["told"] == second[name]["told"]
    # They have learned, and by far more than what they are compared to.
    assert gap(run(memory, epochs=1)["weights"], first["memory"]["weights"]) > 1e-3
    # A run of two is over for one as well.
    one = run(memory, checkpoint=folder / "memory.pt")
    assert gap(one["weights"], first["memory"]["weights"]) == 0
    assert one["epochs"] == first["memory"]["epochs"]
    assert sorted(path.name for path in folder.glob("*.partial")) == []


def test_means_in_the_place_of_sums_are_noticed(pair: Any) -> None:
    assert gap(run(memory)["weights"], pair[1][0]["fault"]["weights"]) > 1e-6


def test_an_interrupted_pair_goes_on(pair: Any) -> None:
    whole = run(one_left_over)
    for told in pair[1]:
        assert gap(whole["weights"], told["stopped"]["weights"]) < 1e-12
        assert [loss for loss, *_ in told["stopped"]["epochs"]] == pytest.approx(
            [loss for loss, *_ in whole["epochs"]], rel=1e-12
        )


def test_a_loader_that_accelerate_has_divided_is_not_divided_again(pair: Any) -> None:
    batches = list(ramps(32).double().split(8))
    alone = run(lambda: {"data": batches})
    for told in pair[1]:
        assert gap(alone["weights"], told["prepared"]["weights"]) < 1e-12
        assert told["prepared"]["samples"] == 32


def test_rounds_of_a_bootstrap_are_those_of_one_process(pair: Any) -> None:
    alone = bootstrapped()
    for told in pair[1]:
        assert gap(alone, told["bootstrap"]) < 1e-12


def test_all_start_from_the_weights_of_the_first(pair: Any) -> None:
    (one, _), (other, _) = (told["uneven"] for told in pair[1])
    assert gap(one, other) == 0


def test_each_draws_for_itself_and_learns_the_same(pair: Any) -> None:
    one, other = (told["drawn"] for told in pair[1])
    assert len(one) == len(other) == 2 * 3 * 4
    assert len({*one, *other}) == len(one) + len(other)
    assert gap(*(told["with draws"]["weights"] for told in pair[1])) == 0
    # Draws that change nothing of the loss leave the order of the samples alone.
    assert gap(run(memory)["weights"], pair[1][0]["with draws"]["weights"]) < 1e-12


def test_the_first_alone_tells_the_progress(pair: Any) -> None:
    assert [told["steps"] for told in pair[1]] == [list(range(1, 13)), []]


def test_an_error_in_one_is_an_error_in_both(pair: Any) -> None:
    first, second = pair[1]
    assert first["failed"][0] == second["failed"][1] == "ZeroDivisionError: planted"
    assert first["failed"][1] == second["failed"][0]
    assert first["failed"][1].startswith("SymmetryError: adapt: another process has failed")
    assert first["figure"] == "ZeroDivisionError: division by zero"
    assert "another process has failed\n  got:      ZeroDivisionError: division by zero" in second["figure"]
    for what, told in (("data", "other data"), ("seed", "other seed"), ("model", "other model")):
        assert "1 of 2 processes differ" in first[told]
        assert f"got:      other {what} in process 1" in second[told]
    assert first["junk"] == second["junk"]
    assert first["junk"].startswith("SymmetryError: adapt cannot read its checkpoint\n  got:      ")
    assert "junk.pt: " in first["junk"]
    for told in pair[1]:
        assert gap(told["after"]["weights"], told["memory"]["weights"]) == 0


def test_the_example_prints_once_what_one_process_prints(
    pair: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", [str(EXAMPLE), "--out", str(tmp_path / "example"), "--epochs", "1"])
    runpy.run_path(str(EXAMPLE), run_name="__main__")
    alone = capsys.readouterr().out
    first, second = ((pair[0] / f"printed-{rank}.txt").read_text() for rank in range(2))
    assert "1 processes; " in alone
    assert first.count("2 processes; ") == first.count(", pass") == 1
    assert second == ""
    losses, shares = (
        [float(re.search(pattern, told)[1]) for told in (alone, first)]  # type: ignore[index]
        for pattern in (r"\n +1 +(\S+)", r"over the turns (\S+),")
    )
    # In float32, after 19 steps.
    assert losses[1] == pytest.approx(losses[0], rel=1e-3)
    assert shares[1] == pytest.approx(shares[0], abs=1e-2)
    assert shares[0] > 0.5
    names = ["canonizer.safetensors", "checkpoint.pt", "config.json"]
    for folder in (pair[0], tmp_path):
        assert sorted(path.name for path in (folder / "example").iterdir()) == names


def test_one_of_several_who_knows_nobody_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from accelerate import Accelerator

    alone = Accelerator(cpu=True)
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(SymmetryError, match=r"one of several[\s\S]*WORLD_SIZE=2[\s\S]*Accelerator\(cpu=True\)"):
        Accelerated(alone)


class Third:
    """One of several, who hears nobody."""

    def __init__(self, rank: int, count: int) -> None:
        self.rank, self.count = rank, count
        inner = Alone()
        self.total, self.shared, self.divides = inner.total, inner.shared, inner.divides


@pytest.mark.parametrize("size", [1, 2, 7, 9])
@pytest.mark.parametrize("count", [1, 2, 3])
def test_parts_are_the_batch_in_order_and_of_nearly_one_size(size: int, count: int) -> None:
    x, labels = ramps(size), {"class": torch.arange(size)}
    parts = [part(Third(rank, count), CLAIM, x, labels) for rank in range(count)]
    sizes = [number for _, _, number in parts]
    assert sum(sizes) == size
    assert max(sizes) - min(sizes) <= 1
    assert torch.equal(torch.cat([some for some, _, number in parts if number]), x)
    assert torch.equal(torch.cat([told["class"] for _, told, number in parts if number]), labels["class"])


def test_targets_that_cannot_be_divided_are_told() -> None:
    for targets in ([{"boxes": torch.zeros(3, 4)}] * 4, torch.zeros(()), torch.zeros(3), "cat"):
        with pytest.raises(SymmetryError, match=r"cannot be divided[\s\S]*accelerator\.prepare\(loader\)"):
            part(Third(0, 2), CLAIM, ramps(4), targets)


def test_what_are_no_processes_is_told() -> None:
    from accelerate import Accelerator

    for wrong in (3, Accelerated, Accelerator(cpu=True)):
        with pytest.raises(SymmetryError, match=r"no processes[\s\S]*Accelerated\(accelerator\)"):
            adapt(plain(), ramps(8), epochs=1, processes=wrong)  # type: ignore[arg-type]
    for right in (Alone(), Accelerated()):
        check_processes(right)
    typed: Processes = Accelerated()
    assert (typed.rank, typed.count) == (0, 1)
    assert pickle.loads(pickle.dumps(Alone())) == Alone()


def test_an_accelerator_with_settings_of_its_own_is_refused() -> None:
    from accelerate import Accelerator

    with pytest.raises(SymmetryError, match=r"gradient_accumulation_steps=2[\s\S]*precision=torch\.bfloat16"):
        Accelerated(Accelerator(cpu=True, gradient_accumulation_steps=2))
    for wrong in (Accelerator, "cpu"):
        with pytest.raises(SymmetryError, match="takes an Accelerator"):
            Accelerated(wrong)  # type: ignore[arg-type]
