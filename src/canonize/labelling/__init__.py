"""Canonical orders of graphs: small graphs by an engine, large ones by colour refinement first."""

from canonize.labelling.graphs import Graphs
from canonize.labelling.orbits import edge_orbits, pair_orbits
from canonize.labelling.result import Labelling
from canonize.labelling.run import label, relabelled

__all__ = ["Graphs", "Labelling", "edge_orbits", "label", "pair_orbits", "relabelled"]
