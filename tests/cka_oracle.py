"""Debiased linear CKA of two whole sets of features, from the pieces that the package sums over batches."""

import torch
from torch import Tensor

from microtome.numerics.statistics.cka import cka, gram_matrix, hsic_matrix, u_centered


def debiased_cka(first: Tensor, second: Tensor) -> Tensor:
    """1 for equal features, about 0 for unrelated ones."""
    sums = hsic_matrix(torch.stack([u_centered(gram_matrix(one)) for one in (first, second)]))
    return cka(sums, sums.diagonal(), sums.diagonal())[0, 1]


def hsic1(first: Tensor, second: Tensor) -> float:
    """The unbiased Hilbert-Schmidt independence criterion of two Gram matrices that are not centred."""
    return float(hsic_matrix(u_centered(first)[None], u_centered(second)[None]))
