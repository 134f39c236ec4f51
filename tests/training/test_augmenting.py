"""Augmentation: moved pixels by hand, masks that move along, mixup with the known fraction, and what does not fit."""

import numpy as np
import pytest
import torch

from microtome.errors import BadOption
from microtome.specimen import Recipe
from microtome.training.augmenting import Augmenter
from microtome.training.recipe import Augmentation

FRAMING = Recipe(size=(8, 8), mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25), crop=1.0)
PLAIN = torch.contiguous_format
LABELS = torch.tensor([0, 1, 2, 3])
PIXELS = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (4, 8, 8, 3), dtype=np.uint8))


def augmenter(segments: bool = False, **choice: object) -> Augmenter:
    given: dict[str, object] = {"flip": False, "shift": 0, **choice}
    return Augmenter(Augmentation(**given), FRAMING, 4, segments=segments, channels=3)  # type: ignore[arg-type]


def test_without_changes_images_are_only_normalised() -> None:
    x, labels = augmenter()(PIXELS, LABELS, PLAIN)
    assert torch.equal(labels, LABELS)
    assert torch.allclose(x, ((PIXELS / 255 - 0.5) / 0.25).permute(0, 3, 1, 2), atol=1e-6)


def test_each_image_is_mirrored_or_not_and_shifted_with_its_border() -> None:
    change = augmenter(flip=True, shift=2)
    pixels = PIXELS.repeat(16, 1, 1, 1)
    torch.manual_seed(0)
    moved, _ = change._move(pixels, None)
    seen = set()
    for before, after in zip(pixels.numpy(), moved.numpy(), strict=True):
        found = [
            (flip, down, over)
            for flip in (False, True)
            for down in range(-2, 3)
            for over in range(-2, 3)
            if np.array_equal(after, shifted(before, flip, down, over))
        ]
        assert len(found) == 1
        seen.add(found[0])
    assert {flip for flip, _, _ in seen} == {False, True}
    assert len(seen) > 20  # of 50


def shifted(image: np.ndarray, flip: bool, down: int, over: int) -> np.ndarray:
    """Mirrored, padded with the border, and cut."""
    padded = np.pad(image[:, ::-1] if flip else image, ((2, 2), (2, 2), (0, 0)), mode="edge")
    return padded[2 + down : 10 + down, 2 + over : 10 + over]


def test_masks_move_with_their_images() -> None:
    mask = (PIXELS[..., 0] > 127).long()
    pixels = mask[..., None].expand(-1, -1, -1, 3).to(torch.uint8) * 255
    torch.manual_seed(1)
    x, moved = augmenter(segments=True, flip=True, shift=3)(pixels, mask, PLAIN)
    assert torch.equal((x[:, 0] > 0).long(), moved)
    halves = torch.zeros(4, 8, 8, dtype=torch.long)
    halves[:, :, 4:] = 1
    bright = halves[..., None].expand(-1, -1, -1, 3).to(torch.uint8) * 255
    x, cropped = augmenter(segments=True, crop_scale=(0.3, 0.6))(bright, halves, PLAIN)
    assert x.shape == (4, 3, 8, 8)
    wrong = (x[:, 0] > 0).long() != cropped
    assert int(wrong.sum(-1).max()) <= 1  # the column on the edge, by the two ways of resizing
    assert 0 < int(cropped.sum()) < cropped.numel()


def test_mixup_mixes_each_image_with_its_neighbour_by_the_fraction_in_its_target() -> None:
    change = augmenter(mixup=0.4)
    torch.manual_seed(3)
    x, targets = change(PIXELS, LABELS, PLAIN)
    plain, _ = augmenter()(PIXELS, LABELS, PLAIN)
    fraction = float(targets[0, 0])
    assert 0 < fraction < 1
    expected = fraction * plain + (1 - fraction) * plain.roll(1, 0)
    assert torch.allclose(x, expected, atol=1e-6)
    hot = torch.eye(4)
    assert torch.allclose(targets, fraction * hot + (1 - fraction) * hot.roll(1, 0), atol=1e-6)


def test_cutmix_fractions_are_those_of_the_pixels() -> None:
    torch.manual_seed(5)
    x, targets = augmenter(cutmix=1.0)(PIXELS, LABELS, PLAIN)
    plain, _ = augmenter()(PIXELS, LABELS, PLAIN)
    own = (x == plain).all(1).float().mean((1, 2))
    assert torch.allclose(targets.diagonal(), own, atol=1e-6)
    assert float(own[0]) < 1


def test_erasing_with_certainty_sets_a_rectangle_to_the_mean() -> None:
    torch.manual_seed(2)
    x, _ = augmenter(erase=1.0)(PIXELS, LABELS, PLAIN)
    plain, _ = augmenter()(PIXELS, LABELS, PLAIN)
    for before, after in zip(plain, x, strict=True):
        changed = (before != after).any(0)
        rows, cols = torch.where(changed)
        assert changed.any()
        assert (after[:, rows.min() : rows.max() + 1, cols.min() : cols.max() + 1] == 0).all()  # 0 is the mean, normalised


def test_randaugment_gives_images_of_the_same_form_and_the_global_generator_decides() -> None:
    change = augmenter(randaugment=True, crop_scale=(0.5, 1.0))
    torch.manual_seed(7)
    first, _ = change(PIXELS, LABELS, PLAIN)
    torch.manual_seed(7)
    again, _ = change(PIXELS, LABELS, PLAIN)
    assert first.shape == (4, 3, 8, 8)
    assert torch.equal(first, again)


def test_what_moves_images_without_their_masks_is_refused() -> None:
    for name, value in (("randaugment", True), ("mixup", 0.2), ("cutmix", 0.2)):
        with pytest.raises(BadOption, match="change images and not their masks"):
            augmenter(segments=True, **{name: value})
    with pytest.raises(BadOption, match="the images have 5"):
        Augmenter(Augmentation(randaugment=True), FRAMING, 4, segments=False, channels=5)
