"""Where maps become vectors: networks built for it, in every form, and those with no such place."""

import pytest
import torch
from torch import Tensor, nn

import microtome as mt
from microtome.instruments.head_site import HeadSite, find_head_site
from microtome.networks.pooling import MapSize


class Functional(nn.Module):
    """Pools by a function."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.fc = nn.Conv2d(3, 4, 3), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.conv(x).mean((2, 3)))


def site_of(*layers: nn.Module, size: int = 6) -> HeadSite | str:
    return find_head_site(mt.open(nn.Sequential(*layers).eval(), recipe={"size": size}))


def test_pooled_heads() -> None:
    conv, fc = nn.Conv2d(3, 4, 3), nn.Linear(4, 2)
    mean = site_of(conv, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.5), fc)
    assert mean == HeadSite("1", "4", MapSize(4, 4, 4), True, True, False)
    assert site_of(conv, nn.AdaptiveMaxPool2d(1), nn.Flatten(), fc) == HeadSite("1", "3", MapSize(4, 4, 4), True, False, False)
    assert site_of(conv, nn.AvgPool2d(4), nn.Conv2d(4, 2, 1), nn.Flatten()) == HeadSite(
        "1", "2", MapSize(4, 4, 4), True, True, False
    )


def test_flat_heads() -> None:
    conv = nn.Conv2d(3, 4, 3)
    by_layer = site_of(conv, nn.MaxPool2d(2), nn.Flatten(), nn.Dropout(0.5), nn.Linear(16, 5), nn.ReLU(), nn.Linear(5, 2))
    assert by_layer == HeadSite("1", "4", MapSize(4, 2, 2), False, False, False)
    by_kernel = site_of(conv, nn.Conv2d(4, 5, 4), nn.Flatten(), nn.Linear(5, 2))
    assert by_kernel == HeadSite("0", "1", MapSize(4, 4, 4), False, False, False)


def test_weights_for_every_position_give_the_same_answers() -> None:
    x = torch.randn(3, 4, 5, 5, generator=torch.Generator().manual_seed(0))
    reader = nn.Linear(4, 2)
    site = HeadSite("pool", "fc", MapSize(4, 5, 5), True, True, True)
    every = site.place_weights(reader)
    torch.testing.assert_close(torch.einsum("iurc,ourc->io", x, every) + reader.bias, reader(x.mean((2, 3))))
    flat = HeadSite("pool", "fc", MapSize(4, 5, 5), False, False, False)
    wide = nn.Linear(100, 2)
    torch.testing.assert_close(torch.einsum("iurc,ourc->io", x, flat.place_weights(wide)) + wide.bias, wide(x.flatten(1)))


@pytest.mark.parametrize(
    ("layers", "reason"),
    [
        ([nn.Conv2d(3, 2, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()], "or pools class scores"),
        (
            [nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.LayerNorm(4), nn.Linear(4, 2)],
            "what its pooling 1 gives is changed",
        ),
        ([Functional()], "pools by a function"),
        ([nn.Conv2d(3, 2, 3)], "it gives maps"),
    ],
)
def test_networks_without_such_a_place(layers: list[nn.Module], reason: str) -> None:
    found = site_of(*layers)
    assert isinstance(found, str) and reason in found
