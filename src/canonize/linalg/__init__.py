"""Batched kernels on small matrices, random draws, and hashes of contents."""

from canonize.linalg.axes import direction, last_axis, left_over, principal_axes
from canonize.linalg.content import content_key
from canonize.linalg.hilbert import hilbert_index
from canonize.linalg.jacobi import jacobi_eigen
from canonize.linalg.polar import polar
from canonize.linalg.pool import shrink
from canonize.linalg.random import haar_orthogonal, uniform_integers
from canonize.linalg.shares import fading_shares
from canonize.linalg.small import dot, inverse_small, is_signed_permutation, matmul

__all__ = [
    "content_key",
    "direction",
    "dot",
    "fading_shares",
    "haar_orthogonal",
    "hilbert_index",
    "inverse_small",
    "is_signed_permutation",
    "jacobi_eigen",
    "last_axis",
    "left_over",
    "matmul",
    "polar",
    "principal_axes",
    "shrink",
    "uniform_integers",
]
