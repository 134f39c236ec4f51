from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from microtome.opening.opening import open as open_specimen
from microtome.specimen import Specimen
from microtome.specimen.families import gate_paths, known_family


@pytest.mark.parametrize(
    ("family", "names"),
    [
        # the study: deeper = VGG, ResNet; wider = Inception, HRNet; attention = SENet, DeiT; the others after their papers
        (
            "deeper",
            "timm:vgg19 timm:resnet50.a1_in1k torchvision:densenet121 timm:convnext_tiny torchvision:alexnet timm:regnetx_002",
        ),
        (
            "wider",
            "timm:inception_v3 torchvision:googlenet timm:hrnet_w18 timm:resnext50_32x4d torchvision:wide_resnet50_2 "
            "torchvision:squeezenet1_1",
        ),
        (
            "attention",
            "timm:seresnet50 timm:legacy_senet154 timm:deit_small_patch16_224 timm:swin_tiny_patch4_window7_224 "
            "torchvision:vit_b_16 timm:tf_efficientnet_b0 "
            "timm:efficientnet_b0 timm:mobilenetv3_large_100 timm:regnety_002 timm:ecaresnet50d timm:seresnext50_32x4d",
        ),
    ],
)
def test_families_by_name(family: str, names: str) -> None:
    for name in names.split():
        known = known_family(name)
        assert known is not None
        assert known[0] == family, name


def test_names_of_ones_own_say_nothing() -> None:
    assert known_family("my.package:resnet") is None
    assert known_family("Tiny") is None


class Gate(nn.Module):
    def __init__(self, units: int) -> None:
        super().__init__()
        self.down, self.up = nn.Conv2d(units, 2, 1), nn.Conv2d(2, units, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.up(self.down(x.mean((2, 3), keepdim=True)).relu()).sigmoid()


class Forked(nn.Module):
    def __init__(self, units: int) -> None:
        super().__init__()
        self.a, self.b, self.c = (nn.Conv2d(units, units, size, padding=size // 2) for size in (1, 3, 5))

    def forward(self, x: Tensor) -> Tensor:
        return self.a(x) + self.b(x) + self.c(x)


def test_families_by_structure(net: Specimen) -> None:
    assert net.family == "deeper"
    gate = open_specimen(nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), Gate(8), nn.Conv2d(8, 8, 3)).eval(), recipe=16)
    assert gate.family == "attention"
    assert "gate" in gate.family_reason
    assert gate_paths(gate.anatomy.trace) == ["2"]
    forked = open_specimen(nn.Sequential(nn.Conv2d(3, 8, 3), Forked(8), Forked(8)).eval(), recipe=16)
    assert forked.family == "wider"
    assert "2 of its 2 blocks" in forked.family_reason


def test_structure_agrees_with_the_literature(opened: Callable[..., Specimen]) -> None:
    from microtome.specimen.families import structural_family

    size = (64, 64)
    for what, shape in (
        ("timm:resnet50", size), ("timm:vgg19", (64, 96)), ("timm:densenet121", size), ("timm:convnext_tiny", size),
        ("timm:inception_v3", (139, 139)), ("timm:hrnet_w18", size), ("torchvision:googlenet", size),
        ("torchvision:squeezenet1_1", size),
        ("timm:seresnet50", size), ("timm:deit_tiny_patch16_224", None), ("timm:swin_tiny_patch4_window7_224", None),
        ("timm:efficientnet_b0", size), ("timm:mobilenetv3_large_100", size), ("timm:regnety_002", size),
    ):  # fmt: skip
        net = opened(what, shape)
        assert structural_family(net.anatomy.trace, net.anatomy.units, net.net)[0] == net.family, what


def test_a_family_can_be_given(tiny: Callable[..., nn.Module]) -> None:
    net = open_specimen(tiny(), recipe=32, family="wider")
    assert (net.family, net.family_reason) == ("wider", "as given")
    assert net.twin().family == "wider"
    assert net.run(torch.zeros(1, 3, 32, 32)).shape == (1, 10)
