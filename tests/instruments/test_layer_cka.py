"""CKA of layers from batches: the same from all pairs and from one batch that holds all images."""

from typing import Any

import numpy as np
import pytest
import torch

from microtome.instruments.image_pairs import BatchFeatures
from microtome.instruments.layer_cka import (
    add_cka_batch,
    cka_caveats,
    compares_all_pairs,
    empty_cka_tally,
    estimate_cka,
    reason_for_no_interval,
)
from microtome.numerics.statistics.cka import centered_gram
from microtome.scan import Batch
from microtome.tally import Bundle


def filled(features: dict[str, np.ndarray], size: int, all_pairs: bool) -> Bundle:
    tally = empty_cka_tally()
    total = len(features["a"])
    for number, start in enumerate(range(0, total, size)):
        index = np.arange(start, min(start + size, total))
        part = {name: values[index] for name, values in features.items()}
        whole: dict[str, Any] = {name: BatchFeatures(each) for name, each in part.items()}
        grams: dict[str, Any] = {name: centered_gram(torch.from_numpy(each)) for name, each in part.items()}
        values = whole if all_pairs else grams
        images = range(total)  # only their number counts here
        batch = Batch(number, index, index, torch.empty(0), np.empty(0), None, images)  # type: ignore[arg-type]
        add_cka_batch(tally, batch, values, ["a", "b"], all_pairs)
    return tally


def features(count: int) -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    first = random.normal(size=(count, 6))
    return {"a": first, "b": first @ random.normal(size=(6, 4)) + random.normal(size=(count, 4))}


def test_one_batch_of_all_images_is_all_pairs() -> None:
    values = features(30)
    (every, count), (batch, same) = (
        estimate_cka(filled(values, size, pairs), ["a", "b"]) for size, pairs in ((7, True), (30, False))
    )
    assert count == same == 30
    np.testing.assert_allclose(every.value, batch.value, atol=1e-12)
    np.testing.assert_allclose(np.diagonal(every.value), 1.0, atol=1e-12)


def test_what_a_tally_holds_is_said() -> None:
    values = features(22)
    pairs, batches = filled(values, 5, True), filled(values, 5, False)
    assert compares_all_pairs(pairs) and not compares_all_pairs(batches)
    assert estimate_cka(batches, ["a", "b"])[1] == 20  # the last 2 have no unbiased HSIC
    facts = {"no_interval": reason_for_no_interval(20, False), "all_pairs": False, "left_out": 2}
    caveats = cka_caveats(facts)
    assert caveats[0].startswith("No interval: fewer than 64 images") and caveats[2].startswith("2 images of the last batch")
    assert cka_caveats({"no_interval": "", "all_pairs": True, "left_out": 0}) == []
    assert reason_for_no_interval(64, True) == "" and "fewer than 3 batches" in reason_for_no_interval(64, False)


@pytest.mark.parametrize("all_pairs", [True, False])
def test_names_choose_the_order(all_pairs: bool) -> None:
    tally = filled(features(24), 12, all_pairs)
    if all_pairs:
        there, back = (estimate_cka(tally, names)[0].value for names in (["a", "b"], ["b", "a"]))
        np.testing.assert_allclose(there, back[::-1, ::-1], atol=1e-12)
    assert estimate_cka(tally, ["a", "b"])[0].value.shape == (2, 2)
