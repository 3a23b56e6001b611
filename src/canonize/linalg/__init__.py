"""Batched kernels on small matrices, random draws, and hashes of contents."""

from canonize.linalg.content import content_key
from canonize.linalg.pool import shrink
from canonize.linalg.random import haar_orthogonal, uniform_integers
from canonize.linalg.small import inverse_small, is_signed_permutation, matmul

__all__ = [
    "content_key",
    "haar_orthogonal",
    "inverse_small",
    "is_signed_permutation",
    "matmul",
    "shrink",
    "uniform_integers",
]
