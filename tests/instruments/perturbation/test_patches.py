"""Patches pasted by hand, the rows and columns they cover, and responses put together."""

import torch

from microtome.instruments.perturbation.patches import (
    Patch,
    Response,
    concatenate_responses,
    flat_scores,
    paste_patches,
    patch_spans,
)

PATCHES = [Patch(1, 0, 2, torch.full((3, 2, 1), 5.0)), Patch(0, 3, 0, torch.full((3, 1, 4), 7.0))]


def test_each_image_gets_its_patch_and_nothing_else_changes() -> None:
    x = torch.rand(2, 3, 4, 4, generator=torch.Generator().manual_seed(0)).contiguous(memory_format=torch.channels_last)
    kept = x.clone()
    made = paste_patches(x, PATCHES)
    assert torch.equal(x, kept) and made.is_contiguous(memory_format=torch.channels_last)
    for image, patch in zip(made, PATCHES, strict=True):
        changed = (image != x[patch.image]).all(0).nonzero().tolist()
        assert changed == ([[0, 2], [1, 2]] if patch.image else [[3, 0], [3, 1], [3, 2], [3, 3]])
    assert float(made[0].max()) == 5 and float(made[1].max()) == 7


def test_spans_are_first_and_one_past_the_last() -> None:
    rows, cols = patch_spans(PATCHES)
    assert rows.tolist() == [[0, 2], [3, 4]] and cols.tolist() == [[2, 3], [0, 4]]


def test_responses_in_order_with_or_without_activity() -> None:
    one, two = Response(torch.ones(1, 2), torch.ones(1)), Response(torch.zeros(2, 2), torch.zeros(2))
    both = concatenate_responses([one, two])
    assert both.scores.tolist() == [[1, 1], [0, 0], [0, 0]]
    assert both.activity is not None and both.activity.tolist() == [1, 0, 0]
    assert concatenate_responses([Response(torch.ones(1, 2))]).activity is None
    assert flat_scores(torch.ones(2, 5, 1, 1)).shape == (2, 5)
