"""Adds coordinate channels to the input of convolutions (CoordConv).

Two channels say where each position lies, by row and by col, from -1 to 1. By default they go to the convolutions wider than 1 x 1 of
the last stage: all that give maps on the grid of the last one. The weights that read them start at zero, so the answers stay. Each
convolution gets 2 · kernel area · outputs more weights. Grouped and depthwise convolutions are left alone.

Source: Petrov et al. 2021, Weight Banding, distill.pub/2020/circuits/weight-banding, section "What affects banding" (before 5a and 5b);
CoordConv, Liu et al. 2018, arXiv:1807.03247. Beginning at zero is ours.
"""

from typing import ClassVar, cast, final

from torch import nn

from microtome.edit import Edit, Preservation, option, replace_module
from microtome.networks.coordinates import CoordinateConv2d
from microtome.prose import plural
from microtome.specimen import Specimen


@final
class CoordConv(Edit):
    """Coordinate channels for convolutions."""

    title = "Coordinate channels"
    lead: ClassVar[str] = "at"

    at: tuple[str, ...] = option((), "convolutions to widen: names, globs or aliases; those of the last stage by default")

    def refusal(self, specimen: Specimen) -> str:
        if self._targets(specimen):
            return ""
        where = f" among {', '.join(self.at)}" if self.at else " wider than 1 x 1 that gives a map"
        return f"it has no ordinary convolution without groups{where} that could read coordinates"

    def with_choices(self, specimen: Specimen) -> "CoordConv":
        return CoordConv(at=tuple(self._targets(specimen))) if self.at else self

    def operate(self, net: nn.Module, specimen: Specimen) -> str:
        paths = self._targets(specimen)
        for path in paths:
            replace_module(net, path, CoordinateConv2d(cast(nn.Conv2d, net.get_submodule(path))))
        listed = ", ".join(paths[:4]) + (", …" if len(paths) > 4 else "")
        return f"gave {plural(len(paths), 'convolution')} ({listed}) two coordinate channels"

    def preserves(self, specimen: Specimen) -> Preservation:
        return Preservation("exactly", "the weights that read coordinates start as zero, up to the order of sums")

    def _targets(self, specimen: Specimen) -> list[str]:
        """Paths of the convolutions that are widened, in execution order."""
        if self.at:
            paths = list(dict.fromkeys(specimen.layer(name).path for name in specimen.find(self.at)))
            return [path for path in paths if _is_plain(specimen.net.get_submodule(path))]
        wide = [
            layer
            for layer in specimen.layers
            if _is_plain(module := specimen.net.get_submodule(layer.path)) and max(cast(nn.Conv2d, module).kernel_size) > 1
        ]
        wide = [layer for layer in wide if layer.has_positions]
        return list(dict.fromkeys(layer.path for layer in wide if layer.grid == wide[-1].grid))


def _is_plain(module: nn.Module) -> bool:
    return type(module) is nn.Conv2d and module.groups == 1
