"""How poses are chosen from an input."""

from canonize.frames.average import Average, Sampled
from canonize.frames.base import Frame, Poses
from canonize.frames.best import Best
from canonize.frames.default import default_frame
from canonize.frames.energies import Confidence, LogSumExp
from canonize.frames.oriented import Oriented
from canonize.frames.scored import Scored
from canonize.frames.search import Search
from canonize.frames.sized import Sized
from canonize.frames.sort import Sorted

__all__ = [
    "Average",
    "Best",
    "Confidence",
    "Frame",
    "LogSumExp",
    "Oriented",
    "Poses",
    "Sampled",
    "Scored",
    "Search",
    "Sized",
    "Sorted",
    "default_frame",
]
