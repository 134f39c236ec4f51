"""Contrast by hand; without any change nothing is lost, and an image without content loses what is above chance."""

import pytest
import torch

from microtome.replicate.cifar_robustness import enhance_contrast, relative_losses
from shared_data import CONTEXT, needs_data


def test_contrast_is_about_the_mean_colour_and_stays_an_image() -> None:
    x = torch.tensor([[[[0.4, 0.6]], [[0.0, 1.0]], [[0.5, 0.5]]]])
    changed = enhance_contrast(2.0)(x)
    assert torch.allclose(changed, torch.tensor([[[[0.3, 0.7]], [[0.0, 1.0]], [[0.5, 0.5]]]]))
    assert torch.allclose(enhance_contrast(1.0)(x), x)


@needs_data
def test_losses_of_no_change_and_of_nothing_left() -> None:
    none = relative_losses(CONTEXT, {"none": lambda x: x}, 60)
    assert none.value == 0 and all(text == "0%" for _, text in none.rows)
    grey = relative_losses(CONTEXT, {"grey": lambda x: x * 0 + 0.5}, 60)
    assert all(float(text.rstrip("%")) > 70 for _, text in grey.rows)  # one class of ten is left
    assert grey.value == pytest.approx(0, abs=0.2)
