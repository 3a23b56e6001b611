"""What each frame would cost on a model, before one is chosen."""

from canonize.explain.result import Choice, Explanation
from canonize.explain.run import explain

__all__ = ["Choice", "Explanation", "explain"]
