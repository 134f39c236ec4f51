"""Makes average poolings maximum poolings and the reverse, of the same window and stride: in the transitions of a DenseNet, for example.

By default every pooling of another kind than `kind` that leaves more than one position; `at` names some. In a DenseNet `kind=max` so
changes the transitions, whose poolings are means, and leaves the stem, which takes a maximum already. `l2` is the root of the mean
square, which the weight-banding study's network pools by. Nothing is added or removed, and the answers change: train again.

Poolings that a forward method calls as a function, and those with gaps in their window (dilation), are left alone.

Source: average pooling in transitions, Huang et al. 2017, arXiv:1608.06993, sec. 3; that a maximum might do better there is a conjecture
of a seminar on it, to be tried; L2 pooling: Petrov et al. 2021, distill.pub/2020/circuits/weight-banding, figure 4.
"""

from typing import ClassVar, Literal, final

from torch import nn

from microtome.edit import Edit, Preservation, option, replace_module
from microtome.networks.pooling import L2Pool
from microtome.numerics.receptive.positions import as_pair
from microtome.prose import plural
from microtome.specimen import Specimen

WORDS = {"avg": "average", "max": "maximum", "l2": "L2"}


@final
class PoolingKind(Edit):
    """Average, maximum or L2 in place of another pooling."""

    title = "Another kind of pooling"
    lead: ClassVar[str] = "kind"

    kind: Literal["avg", "max", "l2"] = option("max", "what the poolings take of each window: mean, maximum, root mean square")
    at: tuple[str, ...] = option((), "poolings to change: names, globs or aliases; all of another kind by default")

    def refusal(self, specimen: Specimen) -> str:
        if self._targets(specimen):
            return ""
        kinds = sorted({WORDS[kind] for part in specimen.net.modules() if (kind := kind_of_pooling(part))})
        where = f" among {', '.join(self.at)}" if self.at else ""
        have = f"its poolings: {', '.join(kinds)}" if kinds else "no module of it pools by windows"
        return f"it has no pooling{where} to change into {WORDS[self.kind]} pooling ({have})"

    def with_choices(self, specimen: Specimen) -> "PoolingKind":
        return PoolingKind(kind=self.kind, at=tuple(self._targets(specimen))) if self.at else self

    def operate(self, net: nn.Module, specimen: Specimen) -> str:
        paths = self._targets(specimen)
        for path in paths:
            replace_module(net, path, _pooling_like(net.get_submodule(path), self.kind))
        listed = ", ".join(paths[:4]) + (", …" if len(paths) > 4 else "")
        return f"made {plural(len(paths), 'pooling')} ({listed}) {WORDS[self.kind]} poolings"

    def preserves(self, specimen: Specimen) -> Preservation:
        return Preservation("no", "mean, maximum and root mean square of a window differ")

    def _targets(self, specimen: Specimen) -> list[str]:
        """Paths of the poolings that are changed, in execution order."""
        names = specimen.find(self.at) if self.at else [layer.name for layer in specimen.layers if layer.has_positions]
        paths = dict.fromkeys(specimen.layer(name).path for name in names)
        return [path for path in paths if kind_of_pooling(specimen.net.get_submodule(path)) not in ("", self.kind)]


def kind_of_pooling(module: nn.Module) -> str:
    """avg, max or l2 of a pooling by windows that could be another; empty for anything else."""
    if type(module) is nn.AvgPool2d:
        return "avg" if module.divisor_override is None else ""
    if type(module) is nn.MaxPool2d:
        return "max" if as_pair(module.dilation) == (1, 1) and not module.return_indices else ""
    return "l2" if type(module) is L2Pool else ""


def _pooling_like(old: nn.Module, kind: str) -> nn.Module:
    """A pooling of that kind with the window, stride and padding of `old`; places of the padding do not count."""
    if isinstance(old, L2Pool):
        kernel, stride, padding, ceil = old.kernel, old.stride, old.padding, old.ceil
    else:
        assert isinstance(old, nn.AvgPool2d | nn.MaxPool2d)
        kernel, stride, padding, ceil = old.kernel_size, old.stride, old.padding, old.ceil_mode
    window, step, rim = as_pair(kernel), as_pair(stride), as_pair(padding)
    if kind == "avg":
        return nn.AvgPool2d(window, step, rim, ceil, count_include_pad=False)
    return nn.MaxPool2d(window, step, rim, ceil_mode=ceil) if kind == "max" else L2Pool(window, step, rim, ceil)
