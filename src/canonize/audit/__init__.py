"""How far a model is from a claim, and what that costs."""

from canonize.audit.complexes import Boundary, Cochain, simplicial_claims
from canonize.audit.result import (
    Audit,
    Certificate,
    Cost,
    ElementRow,
    Forgotten,
    Gallery,
    Metric,
    Quantiles,
    Split,
    WorstCase,
)
from canonize.audit.run import accuracy, audit
from canonize.audit.simplices import Awareness, SimplicialAudit, audit_simplicial
from canonize.audit.stability import Stability, audit_stability

__all__ = [
    "Audit",
    "Awareness",
    "Boundary",
    "Certificate",
    "Cochain",
    "Cost",
    "ElementRow",
    "Forgotten",
    "Gallery",
    "Metric",
    "Quantiles",
    "SimplicialAudit",
    "Split",
    "Stability",
    "WorstCase",
    "accuracy",
    "audit",
    "audit_simplicial",
    "audit_stability",
    "simplicial_claims",
]
