"""Modules of libraries are drawn by their own initialisers, and what cannot be drawn anew is named."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from microtome._torchvision import timm, torchvision
from microtome.opening.opening import open as open_specimen

RECIPE = {"size": 16, "mean": 0.5, "std": 0.5, "crop": 1}


@pytest.mark.parametrize(
    ("what", "weight", "std"),
    [
        ("timm:vit_tiny_patch16_224", "blocks.0.mlp.fc1.weight", 0.02),
        ("timm:convnext_atto", "stages.0.blocks.0.mlp.fc1.weight", 0.02),
        ("timm:mobilenetv3_small_100", "conv_head.weight", np.sqrt(2 / 1024)),  # fan out, EfficientNet's initialiser
        ("torchvision:resnet18", "layer3.1.conv1.weight", np.sqrt(2 / (256 * 9))),  # He, fan out
        ("torchvision:densenet121", "features.denseblock3.denselayer1.conv1.weight", np.sqrt(2 / 256)),  # He, fan in
    ],
)
def test_modules_of_libraries_get_their_own_initialiser(what: str, weight: str, std: float) -> None:
    library, name = what.split(":")
    torch.manual_seed(0)
    made = (
        timm().create_model(name, num_classes=7) if library == "timm" else torchvision().models.get_model(name, num_classes=7)
    )
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape))
    twin = open_specimen(made.eval(), recipe={"size": 224}).twin()
    value = twin.net.get_parameter(weight)
    assert value.std().item() == pytest.approx(std, rel=0.05)
    assert twin.unchanged == ()


def test_what_cannot_be_drawn_anew_is_named() -> None:
    class Packed(nn.Module):
        def __init__(self, width: int) -> None:
            super().__init__()
            self.register_buffer("packed", torch.randint(-128, 127, (width, 3), dtype=torch.int8))
            self.head = nn.Linear(width, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(x.mean((2, 3)) @ self.packed.float().T)

    twin = open_specimen(Packed(32).eval(), recipe=RECIPE).twin()
    assert twin.unchanged == ("packed",)
    assert any(
        "1 tensor could not be drawn anew and is as in the original: packed (59.3% of the weights)" in one for one in twin.notes
    )
