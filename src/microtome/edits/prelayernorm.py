"""Adds a layer norm to the patch embedding, for invariance to contrast.

`reading=tokens`: the projected patches are normalised before positions are added, z = LN(x E) + positions. The projection loses its bias,
for with a bias the answer depends on the scale of the input as it did before; the norm's own shift takes its place. Then the network
gives the same for s · x as for x, for every s > 0 (x is the normalised input, and the norm's epsilon is small beside it).
`bias=true` keeps the bias, for comparison. `reading=pixels`: the raw numbers of each patch are normalised before the projection, which
also takes a grey level common to all channels away; a bias does no harm there and stays.

The function is not preserved: train afterwards. In a short training from scratch of ours (docs/experiments_transformers.md) the
invariance was exact; what the norm costs at ordinary contrast, its few seeds could not tell.

We had the paper's abstract only; re-implementations disagree about where the norm stands. The abstract speaks of positions swamped by
the colour scale, which fits the first reading, our default.

Source: Kim et al. 2021, arXiv:2111.08413 (PreLayerNorm); that the projection must have no bias, and the second reading's invariances: ours.
"""

from typing import Any, Literal, cast, final

from torch import nn

from microtome.edit import Edit, Preservation, option, replace_module
from microtome.instruments.attention import attention_paths, patch_grid
from microtome.networks.patches import NormedPatches, NormedPixels
from microtome.specimen import Specimen
from microtome.specimen.anatomy import first_convolution


@final
class Prelayernorm(Edit):
    """Layer norm in the patch embedding."""

    title = "Layer norm before the positions"

    reading: Literal["tokens", "pixels"] = option("tokens", "input of the norm: projected patches, or raw pixels")
    bias: bool = option(False, "keep the projection's bias, which spoils the invariance of reading=tokens")

    def refusal(self, specimen: Specimen) -> str:
        if not attention_paths(specimen.net) or patch_grid(specimen) is None:
            return "it is no transformer whose first convolution cuts the image into patches"
        path = first_convolution(specimen)
        conv = cast(nn.Conv2d, specimen.net.get_submodule(path))
        if conv.groups != 1 or any(conv.padding) or set(conv.dilation) != {1}:
            return f"its patches ({path}) overlap, are padded or grouped"
        parent = specimen.net.get_submodule(path.rpartition(".")[0])
        norm: Any = getattr(parent, "norm", None)
        if isinstance(parent, NormedPatches | NormedPixels) or (self.reading == "tokens" and isinstance(norm, nn.LayerNorm)):
            return f"its patches are normalised already ({path.rpartition('.')[0]}.norm)"
        return ""

    def operate(self, net: nn.Module, specimen: Specimen) -> str:
        path = first_convolution(specimen)
        conv = cast(nn.Conv2d, net.get_submodule(path))
        if self.reading == "pixels":
            replace_module(net, path, NormedPixels(conv))
            return f"put a layer norm over the raw pixels of each patch before {path}"
        loses = conv.bias is not None and not self.bias
        if loses:
            conv.register_parameter("bias", None)
        replace_module(net, path, NormedPatches(conv))
        return f"put a layer norm after {path}, before the positions{', and took the bias of the projection' if loses else ''}"

    def preserves(self, specimen: Specimen) -> Preservation:
        return Preservation("no", "patches have another length from the start")
