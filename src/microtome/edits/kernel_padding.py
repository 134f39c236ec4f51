"""Pads kernels of strided layers with zeros until their stride divides them.

A 3 x 3 kernel at stride 2 becomes 4 x 4, 7 x 7 becomes 8 x 8, and the 1 x 1 of a strided shortcut 2 x 2: zeros at the bottom and the
right. The answers stay as they are: zeros read nothing. So do the weak pixels (`dead_pixels`) until the network is trained on and
the zeros become weights; the authors fine-tune. It costs parameters and operations, and in the authors' experiments it cost about a
point of accuracy on ordinary photographs while objects of a few pixels were learnt in half the epochs.

The input is padded by the same number of rows and columns before the kernel as it was, and by as many more behind as the kernel
grew, so that the padded layer is exact at every input size. (Keeping the old padding, as published, drops the last row wherever
(n + 2p - k) mod s is 0 for the old kernel: derived by us.) Dilated and transposed convolutions, and those with padding that depends
on the input ("same" of TensorFlow), are left alone.

`pools` also enlarges max pools (3 x 3 at stride 2 to 4 x 4). That changes the function: a maximum over more pixels is another one.

Source: Kim et al. 2021, "Dead Pixel Test Using Effective Receptive Field", arXiv:2108.13576, sec. 4 (kernel padding).
"""

from typing import final

from torch import nn

from microtome.edit import Edit, Preservation, option, replace_module
from microtome.networks.padded import PaddedConv2d, PaddedMaxPool2d
from microtome.numerics.receptive.evenness import even_kernel
from microtome.numerics.receptive.positions import as_pair
from microtome.prose import plural
from microtome.specimen import Specimen


@final
class KernelPadding(Edit):
    """Even kernels by zeros."""

    title = "Kernel padding"

    at: tuple[str, ...] = option((), "convolutions and pools to pad: names, globs or aliases; all by default")
    pools: bool = option(False, "enlarge max pools as well, which changes the function")

    def refusal(self, specimen: Specimen) -> str:
        if self._target_modules(specimen):
            return ""
        pools = not self.pools and any(isinstance(part, nn.MaxPool2d) and _is_uneven(part) for part in specimen.net.modules())
        more = " (its max pools do: pools=true enlarges them, which changes the function)" if pools else ""
        where = f" among {', '.join(self.at)}" if self.at else ""
        return f"no convolution{where} weights its pixels unevenly: the stride of each divides its kernel{more}"

    def with_choices(self, specimen: Specimen) -> "KernelPadding":
        return KernelPadding(at=tuple(self._target_modules(specimen)), pools=self.pools) if self.at else self

    def operate(self, net: nn.Module, specimen: Specimen) -> str:
        grown: dict[str, int] = {}
        for path in self._target_modules(specimen):
            module = net.get_submodule(path)
            kernel, stride = as_pair(module.kernel_size), as_pair(module.stride)
            larger = even_kernel(kernel[0], stride[0]), even_kernel(kernel[1], stride[1])
            if isinstance(module, nn.Conv2d):
                replace_module(net, path, PaddedConv2d.of(module, larger))
            elif isinstance(module, nn.MaxPool2d):
                replace_module(net, path, PaddedMaxPool2d.of(module, larger))
            what = "max pool " if isinstance(module, nn.MaxPool2d) else ""
            words = f"{what}{kernel[0]} x {kernel[1]} to {larger[0]} x {larger[1]}"
            grown[words] = grown.get(words, 0) + 1
        return f"padded {plural(sum(grown.values()), 'kernel')} ({', '.join(f'{count} of {words}' for words, count in grown.items())})"

    def preserves(self, specimen: Specimen) -> Preservation:
        if any(isinstance(specimen.net.get_submodule(path), nn.MaxPool2d) for path in self._target_modules(specimen)):
            return Preservation("no", "the maximum over a larger window is another one")
        return Preservation("exactly", "zeros at the end of a kernel read nothing, and the input is padded to match", 1e-4)

    def _target_modules(self, specimen: Specimen) -> list[str]:
        """Paths of the modules that are padded, in execution order."""
        names = specimen.find(self.at) if self.at else [layer.name for layer in specimen.layers]
        paths = dict.fromkeys(specimen.layer(name).path for name in names)
        return [path for path in paths if _is_paddable(specimen.net.get_submodule(path), self.pools)]


def _is_uneven(module: nn.Module) -> bool:
    kernel, stride = as_pair(module.kernel_size), as_pair(module.stride)
    return any(k % s for k, s in zip(kernel, stride, strict=True))


def _is_paddable(module: nn.Module, pools: bool) -> bool:
    if pools and type(module) is nn.MaxPool2d:
        return _is_uneven(module) and as_pair(module.dilation) == (1, 1) and not module.ceil_mode
    return (
        type(module) is nn.Conv2d and _is_uneven(module) and module.dilation == (1, 1) and not isinstance(module.padding, str)
    )
