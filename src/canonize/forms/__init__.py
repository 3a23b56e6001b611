"""Canonical forms and hashes: what is the same of all values in one orbit, and which values are duplicates."""

from canonize.forms.cloud import Cloud
from canonize.forms.duplicates import duplicates, linked
from canonize.forms.graph import Graph
from canonize.forms.hash import canonical_hash, canonical_hashes, canonical_keys, decided_by_hash, equivalent

__all__ = [
    "Cloud",
    "Graph",
    "canonical_hash",
    "canonical_hashes",
    "canonical_keys",
    "decided_by_hash",
    "duplicates",
    "equivalent",
    "linked",
]
