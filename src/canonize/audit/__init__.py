"""How far a model is from a claim, and what that costs."""

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

__all__ = [
    "Audit",
    "Certificate",
    "Cost",
    "ElementRow",
    "Forgotten",
    "Gallery",
    "Metric",
    "Quantiles",
    "Split",
    "WorstCase",
    "accuracy",
    "audit",
]
