"""The networks for clouds, the clouds that they are measured on, and the laws as numbers."""

import torch

from canonize.nn import EGNN, DeepSets, VectorNeurons

DTYPES = [(torch.float32, 2e-5), (torch.float64, 1e-13)]

POINTERS = {
    "vectorneurons": lambda vectors=3, **kwargs: VectorNeurons(vectors, **{"channels": 8, **kwargs}),
    "deepsets": lambda vectors=3, **kwargs: DeepSets(vectors, **{"width": 12, **kwargs}),
    "egnn": lambda vectors=3, **kwargs: EGNN(vectors, **{"width": 12, "unit": None, **kwargs}),
}


def draws(*shape, dtype=torch.float64, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def turns(count, d, dtype=torch.float64, seed=0):
    """Orthogonal matrices (count, d, d), of both signs of the determinant."""
    found = torch.linalg.qr(draws(count, d, d, seed=seed))[0]
    found[::2, :, 0] *= -1
    return found.to(dtype)


def dense(batch=6, n=7, d=3, dtype=torch.float64, seed=0):
    """A batch of clouds with two features and one field a point."""
    points, numbers = draws(batch, n, d, dtype=dtype, seed=seed), draws(batch, n, 2, dtype=dtype, seed=seed + 1)
    return {"points": points, "features": numbers, "fields": draws(batch, n, 1, d, dtype=dtype, seed=seed + 2)}


def ragged(sizes, d=3, dtype=torch.float64, seed=0):
    """Clouds of these sizes as rows in a mixed order, with their index."""
    order = torch.randperm(sum(sizes), generator=torch.Generator().manual_seed(seed))
    index = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))[order]
    cloud = {name: value[0] for name, value in dense(1, sum(sizes), d, dtype, seed).items()}
    return {**cloud, "index": index, "batch": len(sizes)}


def each(cloud, of_samples):
    """A value of each sample for each of its points."""
    return of_samples[cloud["index"]] if "index" in cloud else of_samples[:, None]


def moved(cloud, g, shift):
    """The cloud with the element (g, shift) of its sample on points, and g on fields."""
    turn = each(cloud, g)
    points = (turn @ cloud["points"][..., None])[..., 0] + each(cloud, shift)
    return {**cloud, "points": points, "fields": cloud["fields"] @ turn.mT}


def said(net, cloud):
    """What a network says of a cloud."""
    return net(cloud["points"], **{name: value for name, value in cloud.items() if name != "points"})


@torch.no_grad()
def pointing_error(net, cloud, d, *, far=2.0):
    """The largest entry of v(h x) - h v(x) over the longest vector; each sample has its own h."""
    vectors = said(net, cloud)
    g, shift = turns(len(vectors), d, vectors.dtype), far * draws(len(vectors), d, dtype=vectors.dtype, seed=5)
    error = (said(net, moved(cloud, g, shift)) - vectors @ g.mT).abs().max() / vectors.norm(dim=-1).max()
    assert not error.isnan()
    return float(error)


@torch.no_grad()
def moving_error(net, cloud, d):
    """As `pointing_error`, for a network that returns points and numbers."""
    points, numbers = said(net, cloud)
    batch = cloud.get("batch", len(points))
    g, shift = turns(batch, d, points.dtype), 2 * draws(batch, d, dtype=points.dtype, seed=5)
    found, same = said(net, moved(cloud, g, shift))
    wanted = moved({**cloud, "points": points}, g, shift)["points"]
    error = torch.maximum((found - wanted).abs().max() / wanted.abs().max(), (same - numbers).abs().max())
    assert not error.isnan()
    return float(error)
