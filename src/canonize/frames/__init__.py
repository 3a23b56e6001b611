"""How poses are chosen from an input."""

from canonize.frames.average import Average, Sampled
from canonize.frames.base import Frame, Poses
from canonize.frames.best import Best
from canonize.frames.canonical import CanonicalOrder
from canonize.frames.centred import Centred
from canonize.frames.default import default_frame
from canonize.frames.directions import Directions, directions
from canonize.frames.eigenspaces import Eigenspace, Eigenvectors
from canonize.frames.eigenvectors import CanonicalEigenvectors
from canonize.frames.energies import Confidence, LogSumExp
from canonize.frames.flips import SignRule, first_clear, skewness, total
from canonize.frames.learned import Learned
from canonize.frames.nested import Nested
from canonize.frames.oriented import Oriented
from canonize.frames.pca import PCA
from canonize.frames.polar import Polar
from canonize.frames.scored import Scored
from canonize.frames.search import Search
from canonize.frames.sized import Sized
from canonize.frames.sort import Sorted
from canonize.frames.weighted import Weighted
from canonize.frames.weighted_order import WeightedOrder

__all__ = [
    "PCA",
    "Average",
    "Best",
    "CanonicalEigenvectors",
    "CanonicalOrder",
    "Centred",
    "Confidence",
    "Directions",
    "Eigenspace",
    "Eigenvectors",
    "Frame",
    "Learned",
    "LogSumExp",
    "Nested",
    "Oriented",
    "Polar",
    "Poses",
    "Sampled",
    "Scored",
    "Search",
    "SignRule",
    "Sized",
    "Sorted",
    "Weighted",
    "WeightedOrder",
    "default_frame",
    "directions",
    "first_clear",
    "skewness",
    "total",
]
