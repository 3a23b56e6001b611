"""How often the pose of a turned scan is another one than that of the upright scan, by the margin: the playground's remark."""

from __future__ import annotations

import argparse

import torch
from _bench import SEED, finish, progress, start, table

from canonize.cli import demo
from canonize.cli import playground as command
from canonize.playground import positions
from canonize.playground.page import NARROW
from canonize.playground.scene import turned

BELOW = (NARROW / 4, NARROW / 2, NARROW, 2 * NARROW, 4 * NARROW, 8 * NARROW)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scans", type=int, default=200, help="that the networks were not trained on (default: 200)")
    options = start(parser)
    with progress() as bar:
        task = bar.add_task("training", total=None)
        kind = command.digit_kind(SEED, lambda what, done, total: bar.update(task, completed=done, total=total))
        behind = kind.claims["C(24): best pose"].behind
        # The same draw as of the training: what comes after it was not trained on.
        scans, _ = demo.digits(torch.Generator().manual_seed(SEED))
        held = command._enlarged(scans)[-500:][: options.scans]
        turns = positions.turns(positions.ANGLES)
        margins, kept = [], []
        upright = torch.empty(0)
        with torch.no_grad():
            for turn in bar.track(turns, description="turning"):
                g = turn.expand(len(held), 2, 2)
                poses = behind.poses(*turned(behind, (held,), g))
                # Where the scan as it was given would stand.
                found = g.mT @ poses.elements[0]
                upright = found if not len(upright) else upright
                margins.append(poses.margin)
                kept.append((found - upright).abs().amax((1, 2)) < 1e-3)
    margin, other = torch.stack(margins[1:]), ~torch.stack(kept[1:])
    rows = []
    for bound in BELOW:
        low = margin < bound
        rows.append(
            {
                "margin": bound,
                "below": float(low.double().mean()),
                "other_below": float(other[low].double().mean()),
                "other_above": float(other[~low].double().mean()),
            }
        )
    table(
        f"{other.numel():,} turned scans; other poses than upright: {float(other.double().mean()):.1%}",
        ["margin below", "scans", "other poses among them", "other poses above"],
        [[f"{r['margin']:g}", *(f"{r[k]:.1%}" for k in ("below", "other_below", "other_above"))] for r in rows],
    )
    finish(options, {"benchmark": "margins", "scans": len(held), "turns": len(turns) - 1, "rows": rows})


if __name__ == "__main__":
    main()
