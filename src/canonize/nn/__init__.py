"""Small networks that frames are made of: a score of uprightness, energies over a group, equivariant vectors."""

from canonize.nn.groupcnn import GroupCNN
from canonize.nn.scorer import Scorer
from canonize.nn.steerable import Steerable

__all__ = ["GroupCNN", "Scorer", "Steerable"]
