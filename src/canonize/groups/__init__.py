"""What symmetries exist: finite groups of matrices, rotations and rigid motions, permutations, and products of them."""

from canonize.groups.base import Group, Rigid, identity, order
from canonize.groups.continuous import SE, SO, E, O, Translation
from canonize.groups.finite import C, D, FiniteMatrixGroup, Generated, Icosahedral, Octahedral, generated_by
from canonize.groups.flips import Flips
from canonize.groups.permutation import GeneratedPermutations, S, permutations_by
from canonize.groups.product import Product
from canonize.groups.scaling import Scaling

__all__ = [
    "SE",
    "SO",
    "C",
    "D",
    "E",
    "FiniteMatrixGroup",
    "Flips",
    "Generated",
    "GeneratedPermutations",
    "Group",
    "Icosahedral",
    "O",
    "Octahedral",
    "Product",
    "Rigid",
    "S",
    "Scaling",
    "Translation",
    "generated_by",
    "identity",
    "order",
    "permutations_by",
]
