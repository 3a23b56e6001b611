"""Energies that come from a model: of tensors, of arrays, and what is said where the model takes the other."""

import copy
import pickle

import numpy as np
import pytest
import torch

from canonize import Best, C, Confidence, Image, LogSumExp, Scalar, Symmetry, SymmetryError, audit, symmetrize
from test_errors import refused

CLAIM = Symmetry(C(4), Image(), Scalar())
WEIGHT = np.random.default_rng(0).normal(size=(16, 3))
ENERGIES = [Confidence, LogSumExp]


def of_arrays(x):
    """Logits of NumPy arrays; numpy refuses to multiply a tensor in this order."""
    return np.einsum("bp,pc->bc", np.reshape(x, (x.shape[0], 16), order="C"), WEIGHT)


def of_tensors(x):
    return x.flatten(1) @ torch.from_numpy(WEIGHT)


def images(count=5):
    return torch.rand(count, 1, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("energy", ENERGIES)
def test_a_model_of_arrays_gives_the_energies_of_its_twin_of_tensors(energy):
    x = images()
    wanted = energy(of_tensors)(x)
    assert torch.allclose(energy(of_arrays, arrays=True)(x), wanted, rtol=1e-12, atol=0)
    best = symmetrize(of_arrays, CLAIM, Best(energy(of_arrays, arrays=True)))
    twin = symmetrize(of_tensors, CLAIM, Best(energy(of_tensors)))
    found = best(x.numpy())
    assert isinstance(found, np.ndarray)
    assert np.allclose(found, twin(x).numpy(), rtol=1e-12, atol=0)
    assert audit(best, CLAIM, images(96).numpy(), cost=False).verdict == "pass"


@pytest.mark.parametrize("energy", ENERGIES)
def test_a_model_of_arrays_that_is_handed_tensors_is_told_what_to_do(energy, unchecked):
    def fails(x):
        return x.astype("float32").reshape(len(x), 16) @ WEIGHT

    refused(lambda: symmetrize(fails, CLAIM, Best(energy(fails)))(images().numpy()), "arrays=True")
    # The twins: what is said inside comes out as it was, and a module's own error too.
    refused(lambda: energy(lambda x: symmetrize(3, CLAIM))(images()), "symmetrize needs a model first")
    with pytest.raises(RuntimeError, match="shapes") as caught:
        energy(torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3, 3).double()))(images())
    assert not isinstance(caught.value, SymmetryError)


@pytest.mark.parametrize("energy", ENERGIES)
def test_it_pickles_and_compares(energy):
    one = energy(of_arrays, arrays=True)
    assert pickle.loads(pickle.dumps(one)) == copy.deepcopy(one) == one != energy(of_arrays)
