"""How an element moves one kind of value."""

from canonize.actions.base import Action, lossless
from canonize.actions.detections import Boxes, Keypoints
from canonize.actions.disk import within_disk
from canonize.actions.each import Each
from canonize.actions.fields import Chain, Edges, Factor, Fields, Index, Numbering, Offsets, Rows
from canonize.actions.flips import Flipped
from canonize.actions.graphs import Nodes, Pairs
from canonize.actions.homogeneous import Homogeneous
from canonize.actions.images import Image, Mask, VectorImage, Volume
from canonize.actions.linear import Point, Scalar, Tensor, Vector
from canonize.actions.planar import Planar
from canonize.actions.trees import lossless_tree, move

__all__ = [
    "Action",
    "Boxes",
    "Chain",
    "Each",
    "Edges",
    "Factor",
    "Fields",
    "Flipped",
    "Homogeneous",
    "Image",
    "Index",
    "Keypoints",
    "Mask",
    "Nodes",
    "Numbering",
    "Offsets",
    "Pairs",
    "Planar",
    "Point",
    "Rows",
    "Scalar",
    "Tensor",
    "Vector",
    "VectorImage",
    "Volume",
    "lossless",
    "lossless_tree",
    "move",
    "within_disk",
]
