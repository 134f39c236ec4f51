"""What each patch adds to the target, by the weights of Shapley values.

Patches of a 7 x 7 grid are shown or grey (the mean of the input recipe) in 512 samples, drawn from a seed that follows from the image;
a linear model weighted by Shapley's kernel gives the effects, and each is spread evenly over the pixels of its patch. The effects sum
to the target's difference between image and grey.

Source: Lundberg & Lee 2017, arXiv:1705.07874, theorem 2; computed by captum.
"""

from collections.abc import Sequence
from typing import final

from torch import Tensor

from microtome.instruments.attribution.captum_methods import captum_methods
from microtome.instruments.attribution.grey_baseline import completeness_gaps
from microtome.instruments.attribution.kind_contract import LayerValues, PixelKind
from microtome.instruments.attribution.patch_effects import SAMPLES, patch_maps


@final
class KernelShap(PixelKind):
    """KernelSHAP."""

    title = "KernelSHAP"
    package = "captum"
    copies = SAMPLES // 3  # without gradients

    def maps(self, values: LayerValues) -> list[Tensor]:
        method = captum_methods(self.title).KernelShap
        return patch_maps(values, lambda forward, image, call: method(forward).attribute(image, **call))

    def gaps(self, values: LayerValues, maps: Sequence[Tensor]) -> Tensor | None:
        assert values.pixels is not None  # a kind of the pixels gets them
        return completeness_gaps(values.pixels, maps)
