"""Class maps enlarged by Gaussians at the units' true centres lie more on the object than bilinear ones.

Source: Kim et al. 2020, arXiv:2001.05153, abstract (more accurate maps); our Gaussian rule, not theirs, which is not published.
"""

from typing import final

import numpy as np
import torch

from microtome.images import Images
from microtome.instruments.receptive_fields import receptive_fields
from microtome.numerics.maps.gaussians import upsample_gaussian
from microtome.numerics.receptive.geometry import Axis, Where
from microtome.replicate.claim import Claim, Effect, Preset, RunContext
from microtome.replicate.effects import mean_effect, number_rows
from microtome.replicate.material import inputs_of, labels_of, small_network
from microtome.replicate.rules import Above
from microtome.specimen.watching import tap


@final
class AlignedMapsLocalise(Claim):
    """Energy on the object of the same map, enlarged in two ways."""

    study = "003"
    kind = "small networks"
    hypothesis = "The fraction of the map's energy on the object is larger with Gaussians of half a stride at the true centres."
    measure = "Energy on the object, Gaussian minus bilinear enlargement of the same Grad-CAM map, mean over scenes."
    rule = Above(0.0, "fraction")
    null = "Both put the same energy on the object."
    confounders = "Gaussians also blur differently; the shift of the true centres is the larger part at a large stride."
    prior = "Not known."
    mini = "mini_resnet's last block, true class, 300 fresh scenes (seed 6023); interval over scenes"
    full = "ResNet-50 on ImageNet validation images with boxes"

    def run(self, preset: Preset, context: RunContext) -> Effect:
        specimen, images = small_network("mini_resnet"), Images.scenes(300, seed=6023)
        layer, size = specimen.blocks[-1].exit, specimen.recipe.size
        field = receptive_fields(specimen, [layer])[layer]
        maps: list[torch.Tensor] = []
        truth = torch.from_numpy(labels_of(images))
        for place, x in enumerate(inputs_of(specimen, images)):
            with torch.enable_grad(), tap(specimen, [layer]) as taps:
                scores = specimen.answer(x).gather(1, truth[place * 50 : place * 50 + len(x), None])
                activation, slope = taps.gradients(scores)[layer]
            maps.append(torch.einsum("bc,bchw->bhw", slope.mean((2, 3)), activation).relu())
        heat, masks = torch.cat(maps), images.masks(specimen.recipe)
        stride = field.jump[0]
        axis = Axis(sum(field.rows(0)) / 2, float(stride), heat.shape[1])
        overlays = {
            "Gaussian": upsample_gaussian(heat, Where(axis, axis), size, (stride / 2, stride / 2)).numpy(),
            "bilinear": torch.nn.functional.interpolate(heat[:, None], size, mode="bilinear")[:, 0].double().numpy(),
        }
        usable = (heat.flatten(1).sum(1) > 0).numpy() & masks.any((1, 2))
        energy = {
            name: ((overlay * masks).sum((1, 2)) / overlay.sum((1, 2)).clip(1e-30))[usable]
            for name, overlay in overlays.items()
        }
        rows = number_rows({name: float(np.mean(values)) for name, values in energy.items()}, "fraction")
        return mean_effect(energy["Gaussian"] - energy["bilinear"], "scene", rows)
