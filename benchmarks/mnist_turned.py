"""Digits at any angle: a pretrained LeNet-5 behind frames trained without labels, and networks trained on turned digits."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from _bench import SEED, finish, progress, start, table
from _digits import Digits, add_data_option, digits, lenet
from _turned import GroupConvolutions, agreed, anew, cnn, fit, poses, principal, rotation, turned
from torch import Tensor, nn

from canonize import SO, Best, C, Image, Scalar, Scored, Symmetry, adapt, prior_loss, symmetrize, task_loss
from canonize.frames import Oriented, Search
from canonize.nn import GroupCNN, Scorer, Steerable

QUARTERS = (1, 2, 3)
BATCH = 50
GATE = 2.0  # chosen on the validation digits
SPREAD = 2.0  # temperature at which poses are drawn for the backbone


@dataclass(frozen=True)
class Sizes:
    """How much is trained: passes over the 6,000 digits."""

    scorer: int = 5
    network: int = 6
    backbone: int = 16
    rate: float = 3e-3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    add_data_option(parser)
    parser.add_argument(
        "--quick", action="store_true", help="a tenth of the digits, one epoch, to see that everything runs"
    )
    parser.add_argument(
        "--only", choices=("frozen", "scratch"), help="one of the two tables; in a file of --json the other one stays"
    )
    parser.add_argument("--seeds", type=int, default=1, help="runs of the second table (default: 1)")
    parser.add_argument("--validate", action="store_true", help="judge on the validation digits, to choose settings by")
    options = start(parser)
    data, sizes = digits(options.data, seed=SEED), Sizes()
    if options.quick:
        parts = (data.train, data.validation, data.test)
        data = Digits(*((images[::10], labels[::10]) for images, labels in parts))
        sizes = Sizes(scorer=1, network=1, backbone=1)
    judged = data.validation if options.validate else data.test
    result: dict[str, Any] = {"benchmark": "mnist_turned", "train": len(data.train[1]), "judged": len(judged[1])}
    if options.only != "scratch":
        result["frozen"] = frozen(lenet(options.data), data.train[0], judged, sizes)
        show_frozen(result["frozen"], len(judged[1]))
    if options.only != "frozen":
        result["scratch"] = scratch(data.train, judged, sizes, range(SEED, SEED + options.seeds))
        show_scratch(result["scratch"], len(judged[1]))
    if options.only and options.json and options.json.is_file():
        before = json.loads(options.json.read_text())
        result = {name: before[name] for name in ("frozen", "scratch") if name in before} | result
    finish(options, result)


def frozen(model: nn.Module, upright: Tensor, judged: tuple[Tensor, Tensor], sizes: Sizes) -> list[dict[str, Any]]:
    """The pretrained network as it is, and behind frames that saw upright digits and no labels; a row for each."""
    images, labels = judged
    shown = {"upright": images, "turned": turned(images, SEED + 1)}
    rows = []
    with steps("LeNet-5", 12) as done:
        rows.append(measured("plain", model, shown, labels, 0.0))
        done()
        torch.manual_seed(SEED)
        scorer = Scorer(1, disk=True)
        learned = learn(model, C(8), Best(scorer), upright, sizes.scorer, sizes.rate)
        done()
        for order in (4, 8, 16, 64):
            whole = symmetrize(model, claim(C(order)), Best(scorer))
            rows.append(measured(f"Best(Scorer), C({order})", whole, shown, labels, learned))
            done()
        gated = symmetrize(model, claim(C(64)), Best(scorer, gate=GATE))
        rows.append(measured(f"Best(Scorer, gate={GATE:g}), C(64)", gated, shown, labels, learned))
        done()
        whole = symmetrize(model, claim(SO(2)), Search(scorer, grid=16, beams=2, steps=8))
        rows.append(measured("Search(Scorer), SO(2)", whole, shown, labels, learned))
        done()
        torch.manual_seed(SEED)
        scorer = Scorer(1, disk=True)
        learned = learn(model, C(4), Best(scorer), upright, sizes.scorer, sizes.rate, turns=C(4))
        whole = symmetrize(model, claim(C(4)), Best(scorer))
        rows.append(measured("Best(Scorer), C(4), learned there", whole, shown, labels, learned))
        done()
        for order in (8, 16):
            torch.manual_seed(SEED)
            scored = Scored(GroupCNN(C(order), 1, width=4))
            learned = learn(model, C(order), scored, upright, sizes.network, 1e-2)
            rows.append(
                measured(
                    f"Scored(GroupCNN), C({order})", symmetrize(model, claim(C(order)), scored), shown, labels, learned
                )
            )
            done()
        torch.manual_seed(SEED)
        oriented = Oriented(Steerable(1, width=6, kernel=5, resolution=16))
        learned = learn(model, SO(2), oriented, upright, sizes.network, 1e-2)
        rows.append(
            measured("Oriented(Steerable), SO(2)", symmetrize(model, claim(SO(2)), oriented), shown, labels, learned)
        )
        done()
    return rows


def claim(group: Any) -> Symmetry:
    """The class does not depend on how the digit stands."""
    return Symmetry(group, Image(), Scalar())


def learn(
    model: Any, group: Any, frame: nn.Module, upright: Tensor, epochs: int, rate: float, turns: Any = None
) -> float:
    """Train a frame on upright digits turned by any angle, or by elements of a group `turns`; the seconds it took."""
    begin = time.perf_counter()
    whole = symmetrize(model, claim(group), frame)
    adapt(
        whole,
        upright,
        loss=partial(prior_loss, turns=turns or SO(2)),
        epochs=epochs,
        rate=rate,
        average=0.99,
        progress=False,
    )
    return time.perf_counter() - begin


@torch.inference_mode()
def measured(name: str, model: Any, shown: dict[str, Tensor], labels: Tensor, learned: float) -> dict[str, Any]:
    """Accuracy in %, also with 6 and 9 taken for one class, and whether quarter turns change any of the logits."""
    row: dict[str, Any] = {"name": name, "learning": learned}
    begin = time.perf_counter()
    for how, images in shown.items():
        found = logits(model, images).argmax(1)
        row[how] = 100 * float((found == labels).double().mean())
        row[f"{how}, 6 = 9"] = 100 * float((one_class(found) == one_class(labels)).double().mean())
    row["milliseconds"] = 1000 * (time.perf_counter() - begin) / (len(shown) * len(labels))
    some = shown["turned"][:500]
    first = logits(model, some)
    row["quarter turns"] = max(float((logits(model, some.rot90(k, (-2, -1))) - first).abs().max()) for k in QUARTERS)
    return row


def one_class(labels: Tensor) -> Tensor:
    """With 9 taken for 6: turned by half a turn, one is the other."""
    return torch.where(labels == 9, 6, labels)


def logits(model: Any, images: Tensor) -> Tensor:
    return torch.cat([model(some) for some in images.split(BATCH)])


def scratch(
    train: tuple[Tensor, Tensor], judged: tuple[Tensor, Tensor], sizes: Sizes, seeds: range
) -> list[dict[str, Any]]:
    """Networks that saw each digit at one angle; the errors of all seeds and the mean seconds, a row for each way."""
    rows: dict[str, dict[str, Any]] = {}
    with steps("from scratch", len(seeds) * len(WAYS)) as done:
        for seed in seeds:
            seen, shown = turned(train[0], 100 + seed), turned(judged[0], 200 + seed)
            for name, way in WAYS.items():
                torch.manual_seed(seed)
                begin = time.perf_counter()
                model = way(seen, train[1], sizes, seed)
                learned = time.perf_counter() - begin
                with torch.inference_mode():
                    wrong = 100 * float((logits(model, shown).argmax(1) != judged[1]).double().mean())
                row = rows.setdefault(name, {"name": name, "errors": [], "learning": []})
                row["errors"].append(wrong)
                row["learning"].append(learned)
                done()
    for row in rows.values():
        row["error"] = sum(row["errors"]) / len(row["errors"])
    return list(rows.values())


def plain(images: Tensor, labels: Tensor, sizes: Sizes, seed: int) -> Any:
    model = cnn()
    fit(model, images, labels, epochs=sizes.backbone, rate=sizes.rate, seed=seed)
    return model


def augmented(images: Tensor, labels: Tensor, sizes: Sizes, seed: int) -> Any:
    model = cnn()
    fit(model, images, labels, epochs=sizes.backbone, rate=sizes.rate, seed=seed, draw=anew)
    return model


def group_convolutions(images: Tensor, labels: Tensor, sizes: Sizes, seed: int) -> Any:
    model = GroupConvolutions()
    fit(model, images, labels, epochs=sizes.backbone, rate=sizes.rate, seed=seed)
    return model


def behind(frame: Any, group: Any, images: Tensor, labels: Tensor, sizes: Sizes, seed: int) -> Any:
    """A backbone trained on what a fixed frame shows it."""
    symmetry, model = claim(group), cnn()
    stood = Image()(symmetry.group.inverse(poses(frame, symmetry, images)), images)
    fit(model, stood, labels, epochs=sizes.backbone, rate=sizes.rate, seed=seed)
    return symmetrize(model, symmetry, frame).eval()


def by_hand(images: Tensor, labels: Tensor, sizes: Sizes, seed: int) -> Any:
    return behind(principal, SO(2), images, labels, sizes, seed)


def untrained(images: Tensor, labels: Tensor, sizes: Sizes, seed: int) -> Any:
    return behind(Best(Scorer(1, width=8, disk=True)).eval(), C(64), images, labels, sizes, seed)


def end_to_end(images: Tensor, labels: Tensor, sizes: Sizes, seed: int) -> Any:
    """Frame and backbone trained together on the task: straight through the choice among four poses."""
    whole = symmetrize(cnn(), claim(C(4)), Best(Scorer(1, width=8, disk=True)))
    adapt(
        whole,
        images,
        targets=labels,
        loss=task_loss,
        model=True,
        epochs=sizes.backbone,
        rate=sizes.rate,
        precision=torch.bfloat16,
        generator=torch.Generator().manual_seed(seed),
        progress=False,
    )
    return whole


def agreeing(images: Tensor, labels: Tensor, sizes: Sizes, seed: int) -> Any:
    """Digits of a class turned onto each other; a scorer learns these poses, by eight and at any angle; then the backbone.

    The backbone sees the poses that the scorer chooses among 64, drawn by their energies anew in each epoch, so that it
    knows where the scorer is unsure.
    """
    stood = Image()(rotation(-agreed(images, labels, each=2, seed=seed)), images)
    scorer, model = Scorer(1, disk=True), cnn()
    learn(model, C(8), Best(scorer), stood, sizes.scorer, sizes.rate)
    symmetry, frame = claim(C(64)), Best(scorer).eval()
    elements = symmetry.group.elements()
    with torch.no_grad():
        energies = torch.cat([frame.energies(symmetry, some) for some in images.split(BATCH)], 1)

    def draw(images: Tensor, generator: torch.Generator) -> Tensor:
        chosen = torch.multinomial((-energies / SPREAD).softmax(0).mT, 1, generator=generator)[:, 0]
        return Image()(elements[chosen].mT, images)

    fit(model, images, labels, epochs=sizes.backbone, rate=sizes.rate, seed=seed, draw=draw)
    return symmetrize(model, symmetry, frame).eval()


WAYS: dict[str, Callable[[Tensor, Tensor, Sizes, int], Any]] = {
    "CNN": plain,
    "CNN, turned anew in each epoch": augmented,
    "group convolutions, p4": group_convolutions,
    "principal axis": by_hand,
    "untrained frame, C(64)": untrained,
    "canonize, C(4), end to end": end_to_end,
    "canonize, C(64)": agreeing,
}


@contextmanager
def steps(what: str, total: int) -> Iterator[Callable[[], None]]:
    """A bar; what is yielded moves it on by one."""
    with progress() as bar:
        task = bar.add_task(what, total=total)
        yield lambda: bar.advance(task)


def show_frozen(rows: list[dict[str, Any]], images: int) -> None:
    columns = ("upright", "turned", "turned, 6 = 9")
    cells = [
        [
            row["name"],
            *(f"{row[column]:.2f}" for column in columns),
            "exact" if row["quarter turns"] == 0 else f"{row['quarter turns']:.1e}",
            f"{row['learning']:.0f}",
            f"{row['milliseconds']:.2f}",
        ]
        for row in rows
    ]
    title = f"Accuracy in % of a pretrained LeNet-5 on {images} digits, upright and at any angle"
    table(title, ["", *columns, "quarter turns", "learning, s", "ms a digit"], cells)


def show_scratch(rows: list[dict[str, Any]], images: int) -> None:
    cells = [
        [
            row["name"],
            f"{row['error']:.2f}",
            " ".join(f"{error:.2f}" for error in row["errors"]),
            f"{sum(row['learning']) / len(row['learning']):.0f}",
        ]
        for row in rows
    ]
    title = f"Errors in % on {images} turned digits, of networks trained on turned digits from scratch"
    table(title, ["", "error", "by seed", "learning, s"], cells)


if __name__ == "__main__":
    main()
