"""Debiased CKA between layers of one network or of two: what is kept of each batch, and the matrix with its intervals.

All pairs of images are compared where the features of all fit into memory (`ImagePairs`); beyond, the pairs within batches.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from microtome.errors import option_name
from microtome.instruments.image_pairs import MIN_COUNT, ImagePairs
from microtome.numerics.statistics.cka import hsic_matrix
from microtome.numerics.statistics.cka_intervals import (
    MIN_GROUPS,
    MIN_IMAGES,
    CkaEstimate,
    all_pairs_cka,
    grouped_cka,
    row_products,
)
from microtome.scan import Batch
from microtome.tally import Bundle, Total

GROUPS = 20  # of batches, for the jackknife


def empty_cka_tally() -> Bundle:
    """An empty tally of one comparison."""
    return Bundle({"pairs": ImagePairs(), "sums": Total()})


def add_cka_batch(tally: Bundle, batch: Batch, values: Mapping[str, Any], names: Sequence[str], all_pairs: bool) -> None:
    """Add one batch: the `flat_features` of each layer where all pairs are compared, its `centered_gram` elsewhere.

    Beyond memory a batch of fewer than 4 images, which has no unbiased HSIC, is left out.
    """
    if all_pairs:
        pairs = tally["pairs"]
        assert isinstance(pairs, ImagePairs)
        pairs.add(batch.rank, batch.total, values)
    elif len(batch.index) >= MIN_COUNT:
        matrix = hsic_matrix(torch.stack([values[name] for name in names])).numpy()
        sums = np.zeros((GROUPS, *matrix.shape))
        sums[batch.number % GROUPS] = len(batch.index) * matrix
        tally.total("sums").add(len(batch.index), {"hsic": sums, "batches": np.eye(GROUPS)[batch.number % GROUPS]})


def estimate_cka(tally: Bundle, names: Sequence[str]) -> tuple[CkaEstimate, int]:
    """CKA (layer, layer_) in the order of `names` with its interval, and how many images it rests on.

    `names` must be those of every batch, in the same order, where only pairs within batches were compared.
    """
    pairs, sums = tally["pairs"], tally.total("sums")
    assert isinstance(pairs, ImagePairs)
    if pairs.count:
        grams = pairs.grams(names)
        products = row_products(grams, grams).numpy()
        own = np.einsum("aai->ai", products)
        return all_pairs_cka(products, own[:, None], own[None, :]), pairs.count
    groups = sums["hsic"][sums["batches"] > 0]
    own = np.einsum("gaa->ga", groups)
    return grouped_cka(groups, own[:, :, None], own[:, None, :], sums.count), sums.count


def compares_all_pairs(tally: Bundle) -> bool:
    """Whether a finished tally holds every pair of images."""
    return "hsic" not in tally.total("sums")


def reason_for_no_interval(count: int, all_pairs: bool) -> str:
    """Why CKA over `count` images has no interval, as a clause, where it has none."""
    if count < MIN_IMAGES:
        return f"fewer than {MIN_IMAGES} images, for which the interval of CKA is not known well enough"
    return (
        ""
        if all_pairs
        else f"fewer than {MIN_GROUPS} batches, so the interval of CKA is not known; take smaller ones ({option_name('batch')})"
    )


def cka_caveats(facts: Mapping[str, Any]) -> list[str]:
    """What the facts `no_interval`, `all_pairs` and `left_out` of a comparison mean for its reader, one sentence each."""
    caveats = [f"No interval: {facts['no_interval']}."] if facts["no_interval"] else []
    if not facts["all_pairs"]:
        caveats.append(
            "Only images of one batch were compared, since the features of all do not fit into memory: batches are random samples, "
            "but another size of batch gives slightly other values."
        )
    if left_out := facts["left_out"]:
        images = "1 image" if left_out == 1 else f"{left_out} images"
        caveats.append(f"{images} of the last batch left out: the unbiased estimate needs {MIN_COUNT}.")
    return caveats
