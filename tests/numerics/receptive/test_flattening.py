"""Vectors that hold a flattened map are known by the reshape, not by their length."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from microtome.numerics.receptive.flattening import FlatMap, Flattening

WEIGHT = torch.ones(5, 3, 3, 3)


@pytest.mark.parametrize(
    ("way", "expected"),
    [
        ("flat", FlatMap(5, 4, 6)),
        ("flat and rectified", FlatMap(5, 4, 6)),
        ("units last", FlatMap(5, 4, 6, True)),
        ("pooled", None),
        ("mixed", None),
        ("the image itself", None),
    ],
)
def test_what_holds_a_map(way: str, expected: FlatMap | None) -> None:
    image = torch.randn(2, 3, 4, 6, generator=torch.Generator().manual_seed(0))
    mode = Flattening(image)

    def vector() -> Tensor:
        maps = F.conv2d(image, WEIGHT, padding=1)
        if way == "units last":
            return maps.permute(0, 2, 3, 1).reshape(2, -1)
        if way == "pooled":
            return maps.mean((2, 3))
        if way == "the image itself":
            return image.flatten(1)
        flat = maps.flatten(1)
        return flat.relu() + 1 if way == "flat and rectified" else flat @ torch.eye(120) if way == "mixed" else flat

    with torch.no_grad(), mode:
        made = vector()
        assert mode.of(made) == expected
