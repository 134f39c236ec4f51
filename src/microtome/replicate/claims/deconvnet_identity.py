"""The deconvnet is a backward pass in which only the rule at the rectifiers differs from the gradient's.

Source: Zeiler & Fergus 2013, arXiv:1311.2901, sec. 2.1; as a gradient with another rule: Mahendran & Vedaldi, ECCV 2016.
"""

from typing import final

import torch
from torch import nn
from torch.nn import functional

from microtome.instruments.projection import project_units
from microtome.opening.opening import open as open_specimen
from microtome.replicate.claim import Claim, Effect, Preset, RunContext
from microtome.replicate.rules import Below

SIDE = 32


@final
class DeconvnetIdentity(Claim):
    """Unpooling, rectifying and transposed filtering against autograd."""

    study = "002"
    kind = "no training"
    hypothesis = "Both give the same projection for every unit."
    measure = (
        "Largest difference of the two projections over the largest value, 16 units of a three-layer network with 2 × 2 "
        "pools; exact."
    )
    rule = Below(1e-5)
    null = "They differ by more than rounding."
    confounders = "With overlapping pools they agree only if switches that several windows share are added up."
    prior = "Known: our notes found 1e-7 on other weights."
    mini = "random weights, noise images of 32 px"
    full = "the same"
    runs_full = True

    def run(self, preset: Preset, context: RunContext) -> Effect:
        generator = torch.Generator().manual_seed(17)
        convs = [nn.Conv2d(ins, outs, 3, padding=1) for ins, outs in ((3, 8), (8, 12), (12, 16))]
        for conv in convs:
            conv.weight.data = torch.randn(conv.weight.shape, generator=generator) / 5
            conv.bias = nn.Parameter(torch.randn(conv.out_channels, generator=generator) / 5)
        layers = [part for conv in convs for part in (conv, nn.ReLU(), nn.MaxPool2d(2))]
        net = nn.Sequential(*layers, nn.Flatten(), nn.Linear(16 * 16, 2)).eval()
        specimen = open_specimen(net, recipe={"size": SIDE, "crop": 1.0})
        x = torch.randn(1, 3, SIDE, SIDE, generator=generator)
        with torch.no_grad():
            values, switches, sizes = x, list[torch.Tensor](), list[torch.Size]()
            for conv in convs:
                active = conv(values).relu()
                sizes.append(active.shape)
                values, places = functional.max_pool2d(active, 2, return_indices=True)
                switches.append(places)
            units = torch.arange(16)
            cells = values.flatten(2).argmax(2)[0]
            signal = torch.zeros(16, *values.shape[1:]).flatten(2)
            signal[units, units, cells] = values.flatten(2)[0, units, cells]
            signal = signal.view(16, *values.shape[1:])
            for conv, places, size in reversed(list(zip(convs, switches, sizes, strict=True))):
                unpooled = functional.max_unpool2d(signal, places.expand_as(signal), (2, 2), output_size=(16, *size[1:]))
                signal = functional.conv_transpose2d(unpooled.relu(), conv.weight, padding=1)
        result = project_units(specimen, "8", x.expand(16, -1, -1, -1), units, cells, "deconvnet")
        return Effect.exact(float((result.pixels - signal).abs().max() / signal.abs().max()))
