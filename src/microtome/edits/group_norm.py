"""Replaces batch norms by group norms, keeping scales and shifts.

Each layer gets the number of groups that divides its units and is nearest to `groups` by ratio (ties to fewer groups); 1 is layer
norm, as many as units instance norm. Several numbers are for as many layers of `at`, in that order; group norms that `at` names get
another number of groups. `microtome audit` suggests such lists (MT204), with the gain measured for every number of groups.

`least` keeps at least so many units in a group: with few, the backward pass multiplies the gradient (MT203). Few groups keep the
gradient's size over depth, many keep spatial detail: our closed form for one convolution from n_in to n_out units, group norm and
rectifier is (n_out / n_in) / (1 - G / (pi n_out)), which grows with the groups G.

Source: Wu & He 2018, "Group Normalization", arXiv:1803.08494; the closed form and the rounding are ours, not the formula of Kim et
al. 2023, arXiv:2302.03193, which we had not at hand.
"""

from math import log
from typing import Any, final

from torch import nn

from microtome.edit import Edit, Preservation, option, replace_module
from microtome.prose import plural
from microtome.specimen import Specimen


@final
class GroupNorm(Edit):
    """Group norms for batch norms."""

    title = "Group norm for batch norm"

    at: tuple[str, ...] = option((), "norms to replace: names, globs or aliases; all batch norms by default")
    groups: tuple[int, ...] = option(
        (32,),
        "how many groups, or the nearest number that divides the units; several: one for each layer of `at`",
        low=1,
        high=65536,
    )
    least: int = option(2, "fewest units per group, where a layer has as many", low=1, high=65536)

    def refusal(self, specimen: Specimen) -> str:
        chosen = self._target_norms(specimen)
        if not chosen:
            where = f" among {', '.join(self.at)}" if self.at else ""
            return f"there is no batch norm on maps{where} that runs"
        if len(self.groups) not in (1, len(chosen)):
            return (
                f"{len(self.groups)} numbers of groups are given for {plural(len(chosen), 'norm')}; give one, or one for each layer "
                "of at"
            )
        return "" if self.groups else "no number of groups is given; groups=32 is the default"

    def with_choices(self, specimen: Specimen) -> "GroupNorm":
        return GroupNorm(at=tuple(self._target_norms(specimen)), groups=self.groups, least=self.least) if self.at else self

    def operate(self, net: nn.Module, specimen: Specimen) -> str:
        made: dict[int, int] = {}
        regrouped = 0
        chosen = self._target_norms(specimen)
        wanted = self.groups if len(self.groups) > 1 else self.groups * len(chosen)
        for path, count in zip(chosen, wanted, strict=True):
            old: Any = net.get_submodule(path)
            given = isinstance(old, nn.GroupNorm)
            groups = nearest_groups(old.num_channels if given else old.num_features, count, self.least)
            if given:
                old.num_groups = groups
            else:
                replace_module(net, path, _to_group_norm(old, groups))
            regrouped += given
            made[groups] = made.get(groups, 0) + 1
        listed = ", ".join(f"{count} of {groups}" for groups, count in sorted(made.items()))
        replaced = len(chosen) - regrouped
        did = [f"put {replaced} group norms in place of batch norms"] if replaced else []
        did += [f"gave {regrouped} group norms other groups"] if regrouped else []
        return f"{' and '.join(did)} (groups: {listed})"

    def preserves(self, specimen: Specimen) -> Preservation:
        return Preservation("no", "statistics come from other values than before, so it has to be trained")

    def _target_norms(self, specimen: Specimen) -> list[str]:
        """The paths of batch norms, and of group norms where they are named, in the order of `at`."""
        names = [name for pattern in self.at for name in specimen.find(pattern)] or [layer.name for layer in specimen.layers]
        kinds = (nn.BatchNorm2d, nn.GroupNorm) if self.at else nn.BatchNorm2d
        paths = dict.fromkeys(specimen.layer(name).path for name in names)
        return [path for path in paths if isinstance(specimen.net.get_submodule(path), kinds)]


def nearest_groups(units: int, groups: int, least: int) -> int:
    """The divisor of `units` nearest to `groups` by ratio, with at least `least` units in a group where that can be."""
    fitting = [count for count in range(1, units + 1) if units % count == 0 and (units // count >= least or count == 1)]
    return min(fitting, key=lambda count: (abs(log(count / groups)), count))


def _to_group_norm(old: nn.BatchNorm2d, groups: int) -> nn.Module:
    """A group norm with the scale and shift of the batch norm, and with what else the module did: its dropout and activation."""
    new = nn.GroupNorm(groups, old.num_features, eps=old.eps, affine=old.affine)
    if old.affine:
        new.weight, new.bias = old.weight, old.bias
    more = [
        part for name in ("drop", "act") if (part := getattr(old, name, None)) is not None and not isinstance(part, nn.Identity)
    ]
    return nn.Sequential(new, *more) if more else new
