"""Networks that cut the gradient on its way: the module is named, wherever it lies and however it does so."""

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from microtome.analyses.cam import Cam
from microtome.analyses.dead_pixels import DeadPixels
from microtome.analyses.erf import Erf
from microtome.errors import Unmeasurable
from microtome.images import Images
from microtome.opening.opening import open as open_specimen
from microtome.scan import Pace
from microtome.specimen.gradient_cuts import gradient_cut

SMALL = {"size": 16, "crop": 1.0}
CUTS: dict[str, Callable[[Tensor], Tensor]] = {
    "detach": lambda x: x.detach(),
    "data": lambda x: x.data,
    "numpy": lambda x: torch.from_numpy(x.detach().numpy()),
    "round": lambda x: x.long().float(),
}


class Stage(nn.Module):
    def __init__(self, units: int, cut: Callable[[Tensor], Tensor] | None) -> None:
        super().__init__()
        self.first, self.second, self.cut = nn.Conv2d(units, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1), cut

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x).relu()
        return self.second(x if self.cut is None else self.cut(x)).relu()


class Staged(nn.Module):
    def __init__(self, place: int, count: int, cut: Callable[[Tensor], Tensor] | None) -> None:
        super().__init__()
        stages = [Stage(3 if at == 0 else 4, cut if at == place else None) for at in range(count)]
        self.stages, self.head = nn.Sequential(*stages), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.stages(x).mean((2, 3)))


class FrozenBackbone(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.backbone, self.head = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.backbone(x).mean((2, 3)).detach())


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 3), st.sampled_from(sorted(CUTS)), st.data())
def test_the_stage_that_cuts_is_named_with_the_modules_on_either_side(count: int, how: str, data: st.DataObject) -> None:
    place = data.draw(st.integers(0, count - 1))
    said = gradient_cut(Staged(place, count, CUTS[how]).eval(), torch.rand(1, 3, 8, 8))
    assert f"'stages.{place}' (Stage) cuts the gradient between" in said
    assert f"'stages.{place}.first' and 'stages.{place}.second'" in said
    assert f"(at=stages.{place}.second)" in said


def test_networks_that_cut_nothing_are_not_blamed() -> None:
    net = Staged(0, 2, None).eval()
    assert gradient_cut(net, torch.rand(1, 3, 8, 8)) == ""
    net.stages.requires_grad_(False)
    assert gradient_cut(net, torch.rand(1, 3, 8, 8)) == ""


def test_analyses_that_need_gradients_name_the_cut() -> None:
    specimen = open_specimen(FrozenBackbone().eval(), recipe=SMALL, labels=["a", "b", "c"])
    images = Images.tensors(torch.rand(4, 3, 16, 16))
    for analysis in (Cam(at=("backbone.1",)), DeadPixels()):
        with pytest.raises(Unmeasurable, match=r"The network's own forward \(FrozenBackbone\) cuts the gradient between"):
            analysis(specimen, images, Pace(batch=4, device="cpu"), twins=2)


def test_layers_before_the_cut_are_measured_and_those_behind_it_are_refused_by_name() -> None:
    specimen = open_specimen(Staged(0, 2, CUTS["detach"]).eval(), recipe=SMALL)
    images, pace = Images.tensors(torch.rand(4, 3, 16, 16)), Pace(batch=4, device="cpu")
    assert Erf(at=("stages.0.first",))(specimen, images, pace, twins=2).arrays
    with pytest.raises(
        Unmeasurable, match=r"no gradient by the image at stages.1.second: 'stages.0' \(Stage\) cuts the gradient"
    ):
        Erf(at=("stages.1.second",))(specimen, images, pace, twins=2)
