"""Changes kernel size and stride of the first convolution, keeping weights where possible.

`weights=crop` keeps the middle of a larger kernel, or puts zeros around a smaller one; `resample` stretches the kernel to the new
size (bilinearly) and divides it by what its area grew, so that smooth images are answered as before. The padding grows or shrinks
with the kernel, so that every position stays centred on its pixel; where there is no padding left to take away, the map grows instead.

A larger kernel with zeros around the old one at the same stride preserves the function up to rounding. Everything else does not: a
smaller kernel loses its rim, another stride gives all that follows another grid, which networks whose last layers count places
(fully connected layers on maps, learnt positions) cannot take: the edit is refused there, unless `after=remake` draws the layers
that meet another number of inputs anew, for training from scratch.

Source: Zeiler & Fergus 2014, arXiv:1311.2901, sec. 4.1, who went from 11 x 11 / 4 to 7 x 7 / 2 and trained anew; keeping weights is ours.
"""

from typing import Literal, cast, final

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, pad

from microtome.edit import Edit, Preservation, option
from microtome.instruments.remaking import remake_layers
from microtome.networks.padded import set_padding
from microtome.specimen import Specimen
from microtome.specimen.anatomy import first_convolution
from microtome.specimen.tracing import example_input


@final
class FrontEnd(Edit):
    """Kernel and stride of the first convolution."""

    title = "Another front end"

    kernel: int = option(0, "side of the new kernel, px; 0: unchanged", low=0, high=64)
    stride: int = option(0, "new stride, px; 0: unchanged", low=0, high=64)
    weights: Literal["crop", "resample"] = option(
        "crop", "new weights: the middle of the old kernel, or the old kernel resampled"
    )
    after: Literal["keep", "remake"] = option(
        "keep", "layers that meet another number of inputs: refused, or drawn anew for training from scratch"
    )

    def refusal(self, specimen: Specimen) -> str:
        path = first_convolution(specimen)
        if not path:
            return "it has no convolution, so there is no front end of this kind"
        conv = _convolution_at(specimen.net, path)
        old, step = conv.kernel_size, conv.stride
        if old[0] != old[1] or step[0] != step[1]:
            return f"its first convolution {path} is not square ({old[0]} x {old[1]}, stride {step[0]} x {step[1]})"
        side, stride = self._new_geometry(conv)
        if (side, stride) == (old[0], step[0]):
            return f"{path} is {old[0]} x {old[0]} / {step[0]} already; name another kernel or stride"
        if side % 2 != old[0] % 2:
            near = f"{side - 1} or {side + 1}" if side > 1 else str(side + 1)
            return f"a kernel of {side} has its middle elsewhere than one of {old[0]}; take {near}"
        if conv.padding == "same" and stride > 1:
            return f"{path} pads by the rule 'same', which torch has for stride 1 only"
        return ""

    def operate(self, net: nn.Module, specimen: Specimen) -> str:
        path = first_convolution(specimen)
        conv = _convolution_at(net, path)
        old, step = conv.kernel_size[0], conv.stride[0]
        side, stride = self._new_geometry(conv)
        conv.weight = nn.Parameter(self._kernel(conv.weight.detach(), side), conv.weight.requires_grad)
        conv.kernel_size, conv.stride = (side, side), (stride, stride)
        if not isinstance(conv.padding, str):
            more = [(side - old) // 2 * each for each in conv.dilation]
            set_padding(conv, (max(0, conv.padding[0] + more[0]), max(0, conv.padding[1] + more[1])))
        did = f"made the first convolution {path} {side} x {side} / {stride}, which was {old} x {old} / {step}"
        if self.after == "remake":
            generator = torch.Generator().manual_seed(torch.initial_seed())
            if remade := remake_layers(net, example_input(net, specimen.recipe), generator):
                did += f", and made {', '.join(remade)} anew"
        return did

    def preserves(self, specimen: Specimen) -> Preservation:
        conv = _convolution_at(specimen.net, first_convolution(specimen))
        side, stride = self._new_geometry(conv)
        if stride != conv.stride[0]:
            return Preservation("no", "another stride gives another grid")
        if side < conv.kernel_size[0]:
            return Preservation("no", "the rim of the kernel is gone" if self.weights == "crop" else "the kernel was resampled")
        if self.weights == "resample":
            return Preservation("no", "the kernel was resampled")
        return Preservation("exactly", "the new weights around the old kernel are zero, up to rounding")

    def _new_geometry(self, conv: nn.Conv2d) -> tuple[int, int]:
        """Side and stride of the new kernel."""
        return self.kernel or conv.kernel_size[0], self.stride or conv.stride[0]

    def _kernel(self, weight: Tensor, side: int) -> Tensor:
        old = weight.shape[-1]
        if self.weights == "resample" and side != old:
            return interpolate(weight, size=(side, side), mode="bilinear", antialias=side < old) * (old / side) ** 2
        rim = (side - old) // 2
        return pad(weight, (rim, rim, rim, rim)).clone(memory_format=torch.preserve_format)


def _convolution_at(net: nn.Module, path: str) -> nn.Conv2d:
    return cast(nn.Conv2d, net.get_submodule(path))
