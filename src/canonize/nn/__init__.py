"""Small networks: a score of uprightness, energies over a group, equivariant vectors, forces; layers for sets and graphs."""

from canonize.nn.deepsets import DeepSets
from canonize.nn.egnn import EGNN
from canonize.nn.energy import EnergyForces
from canonize.nn.groupcnn import GroupCNN
from canonize.nn.scorer import Scorer
from canonize.nn.steerable import Steerable
from canonize.nn.tensorpowers import PermutationLinear, PermutationNet, diagrams
from canonize.nn.vectorneurons import VectorNeurons

__all__ = [
    "EGNN",
    "DeepSets",
    "EnergyForces",
    "GroupCNN",
    "PermutationLinear",
    "PermutationNet",
    "Scorer",
    "Steerable",
    "VectorNeurons",
    "diagrams",
]
