"""Dense wiring: a chain of modules in which later ones read earlier maps as well as the last.

Source: x_l = H_l([x_0 … x_{l-1}]), Huang et al. 2017, arXiv:1608.06993, eq. 2; applied to networks that were built as chains, it is ours.
"""

from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn

from microtome.networks.widening import WidenedConv2d


class Shelf:
    """The earlier maps of one forward pass, from the chain that makes them to the convolutions that read them; empty otherwise."""

    def __init__(self) -> None:
        self.maps: dict[str, Tensor] = {}


class WideConv2d(WidenedConv2d):
    """A convolution that stacks earlier maps behind its input; the weights that read them start at zero.

    Its weight is (unit, own inputs, then those of `sources` in their order; row, col).
    """

    def __init__(self, narrow: nn.Conv2d, sources: Sequence[str], more: int, shelf: Shelf) -> None:
        super().__init__(narrow, more)
        self.sources = tuple(sources)
        self.shelf = shelf

    def forward(self, input: Tensor) -> Tensor:
        """The map (image, unit, row, col) of what comes in and of the shelf's maps; alone, outside its chain, of what comes in."""
        if self.shelf.maps:
            earlier = [self.shelf.maps[name] for name in self.sources]
        else:
            earlier = [input.new_zeros(len(input), self.in_channels - input.shape[1], *input.shape[2:])]
        return super().forward(torch.cat([input, *earlier], 1))


class Projection(nn.Conv2d):
    """A 1 x 1 convolution without bias that starts at zero, on the device and in the dtype of `like`."""

    def __init__(self, inputs: int, outputs: int, like: Tensor) -> None:
        super().__init__(inputs, outputs, 1, bias=False, device=like.device, dtype=like.dtype)
        nn.init.zeros_(self.weight)


class DenseSequential(nn.Sequential):
    """A sequence that keeps the maps that later members read, and adds projections of them where requested.

    `kept` names the maps: "name" is what a member gives, "<name" what enters it. `added` says for a member which kept maps are
    added to its input, each through a 1 x 1 convolution of its own in `projections`.
    """

    def __init__(
        self,
        members: nn.Sequential,
        kept: Iterable[str],
        shelf: Shelf,
        added: Mapping[str, Mapping[str, Projection]],
    ) -> None:
        super().__init__()
        for name, member in members.named_children():
            self.add_module(name, member)
        self.order = tuple(name for name, _ in members.named_children())
        self.kept, self.shelf = frozenset(kept), shelf
        self.added = {name: tuple(sources) for name, sources in added.items()}
        if added:
            named = {
                _projection_name(reader, source): conv for reader, sources in added.items() for source, conv in sources.items()
            }
            self.projections = nn.ModuleDict(named)

    def forward(self, input: Tensor) -> Tensor:
        """What the last member gives."""
        x = input
        try:
            for name in self.order:
                for source in self.added.get(name, ()):
                    x = x + self.projections[_projection_name(name, source)](self.shelf.maps[source])
                if f"<{name}" in self.kept:
                    self.shelf.maps[f"<{name}"] = x
                x = self.get_submodule(name)(x)
                if name in self.kept:
                    self.shelf.maps[name] = x
        finally:
            self.shelf.maps.clear()
        return x


def _projection_name(reader: str, source: str) -> str:
    """The name of the projection from one map to one member."""
    return f"{reader}_from_{source.replace('<', 'input_of_')}"


__all__ = ["DenseSequential", "Projection", "Shelf", "WideConv2d"]
