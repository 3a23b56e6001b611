"""Numbers of small cases, in a process of its own: `reproduce_case.py first|last SHIFT` imports in one order or the other, and
adds SHIFT to the seed of each draw."""

from __future__ import annotations

import hashlib
import json
import random
import sys

if sys.argv[1] == "last":
    # Whatever is imported earlier may take names, numbers of classes or draws before canonize does.
    import canonize.forms
    import canonize.nn
    import canonize.report
    import canonize.testing  # the order is the point

import torch

import canonize
from canonize import (
    SE,
    Best,
    C,
    Graph,
    Image,
    Point,
    S,
    Scalar,
    Symmetry,
    Weighted,
    adapt,
    audit,
    canonical_hash,
    nn,
    symmetrize,
)
from canonize.report import to_html, to_json


def drawn(seed: int) -> torch.Generator:
    """A generator of this seed."""
    return torch.Generator().manual_seed(seed + int(sys.argv[2]))


def digest(*parts: object) -> str:
    """A hash of tensors bit for bit, and of words."""
    found = hashlib.sha256()
    for part in parts:
        found.update(
            part.detach().contiguous().numpy().tobytes() if isinstance(part, torch.Tensor) else str(part).encode()
        )
    return found.hexdigest()


def main() -> None:
    """Print one line of JSON, the same in every process."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 3)).eval()
    state, other = torch.get_rng_state(), random.getstate()
    images = torch.rand(24, 1, 8, 8, generator=drawn(1))
    turns = Symmetry(C(4), inputs=Image(), outputs=Scalar())
    upright = symmetrize(model, turns, Best(nn.Scorer(1, width=2, depth=1, generator=drawn(2))))
    log = adapt(upright, images, epochs=2, batch_size=8, generator=drawn(3), progress=False)
    found = audit(model, turns, images, cost=False, generator=drawn(4))
    cloud = torch.rand(3, 5, 3, generator=drawn(5), dtype=torch.float64)
    energy = symmetrize(lambda x: x.sin().sum((1, 2)), Symmetry(SE(3), Point(), Scalar()), Weighted())
    graph = Graph([[0, 1, 2, 3], [1, 2, 3, 0]], nodes=["C", "N", "C", ("O", 1.5)])
    told = {
        "weights": digest(*(part for _, part in sorted(upright.frame.state_dict().items()))),
        "losses": list(log.losses),
        "audit": digest(to_json(found)),
        "errors": digest(found.errors),
        "page": digest(to_html(found, date=None)),
        "answers": digest(upright(images), energy(cloud)),
        "graph": canonical_hash(graph, S()),
        "image": canonical_hash((images[0] * 255).to(torch.uint8), C(4)),
        "version": canonize.__version__,
    }
    # Every draw was from a generator of its own. Checks of types at run time would draw from `random`; there are none here.
    assert torch.equal(state, torch.get_rng_state())
    assert other == random.getstate()
    print(json.dumps(told))


if __name__ == "__main__":
    main()
