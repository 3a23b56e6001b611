"""How poses are chosen from an input."""

from canonize.frames.average import Average, Sampled
from canonize.frames.base import Frame, Poses
from canonize.frames.best import Best
from canonize.frames.default import default_frame
from canonize.frames.energies import Confidence, LogSumExp
from canonize.frames.learned import Learned
from canonize.frames.oriented import Oriented
from canonize.frames.pca import PCA
from canonize.frames.polar import Polar
from canonize.frames.scored import Scored
from canonize.frames.search import Search
from canonize.frames.sized import Sized
from canonize.frames.sort import Sorted
from canonize.frames.weighted import Weighted

__all__ = [
    "PCA",
    "Average",
    "Best",
    "Confidence",
    "Frame",
    "Learned",
    "LogSumExp",
    "Oriented",
    "Polar",
    "Poses",
    "Sampled",
    "Scored",
    "Search",
    "Sized",
    "Sorted",
    "Weighted",
    "default_frame",
]
