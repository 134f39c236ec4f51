"""Sets the rates of dilated convolutions to fit the map; weights and shapes stay.

Without `rates` they are set by the size of the map: parallel branches (atrous spatial pyramid pooling) share the largest rate whose
outermost tap reaches the border from the middle of the map, r_max · (1/n, 2/n, …, 1) with r_max = floor((M - 1) / 2) for 3 x 3; other
dilated convolutions come down to r_max where they are above it, and stay otherwise. `size` sets them for images of another size
than the network's own. With `rates` there is one for each convolution named by `at`, in the order in which they run, or one for each
branch of every group, or one for all.

A kernel that reads other positions computes another function, so nothing is preserved but shapes and weights: train the copy. Only a
branch whose rate stays answers as before, to the bit. Kernels dilated by two different rates keep their proportion: the larger one
is set. Padding that depends on the input (TensorFlow's "same") follows by itself.

Source: ours; see `atrous` for the rule and what is known of that of Kim et al. 2023, arXiv:2307.14179.
"""

from typing import cast, final

from torch import nn

from microtome.edit import Edit, Preservation, option
from microtome.instruments.dilated.branches import BranchGroup, branch_groups, suggested_rates
from microtome.instruments.dilated.convolutions import DilatedConv, dilated_convolutions, with_image_size
from microtome.networks.padded import set_padding
from microtome.prose import name_list, plural
from microtome.specimen import Specimen


@final
class AtrousRates(Edit):
    """Other dilation, the same maps."""

    title = "Atrous rates"

    at: tuple[str, ...] = option(
        (), "the dilated convolutions, or layers that hold them: names, globs or aliases; all by default"
    )
    rates: tuple[int, ...] = option((), "the rates, in the order in which the branches run; by the size of the map by default")
    size: int = option(0, "side of the image for which rates are set, px; 0: the network's own", low=0, high=8192)

    def refusal(self, specimen: Specimen) -> str:
        convs = dilated_convolutions(specimen)
        if not convs:
            return "none of its convolutions is dilated"
        chosen = self._target_convolutions(specimen, convs)
        if not chosen:
            return f"no dilated convolution among {', '.join(self.at)}; there are {name_list([conv.path for conv in convs])}"
        if any(rate < 1 for rate in self.rates):
            return f"rates are {', '.join(map(str, self.rates))}; a rate is 1 or more"
        wanted = self._new_rates(specimen, chosen)
        if isinstance(wanted, str):
            return wanted
        for conv in chosen:
            if reason := _no_padding_reason(conv, conv.scaled_rates(wanted[conv.path])):
                return reason
        if all(conv.scaled_rates(wanted[conv.path]) == conv.rate for conv in chosen):
            kept = name_list(list(dict.fromkeys(str(conv.main) for conv in chosen)))
            return f"its rates are what they would be set to ({kept}); name others: rates=…"
        return ""

    def with_choices(self, specimen: Specimen) -> "AtrousRates":
        chosen = self._target_convolutions(specimen, dilated_convolutions(specimen))
        wanted = self._new_rates(specimen, chosen)
        assert not isinstance(wanted, str)  # `unfit` has refused before
        changed = [conv for conv in chosen if conv.scaled_rates(wanted[conv.path]) != conv.rate]
        return AtrousRates(at=tuple(conv.path for conv in changed), rates=tuple(wanted[conv.path] for conv in changed), size=0)

    def operate(self, net: nn.Module, specimen: Specimen) -> str:
        chosen = self._target_convolutions(specimen, dilated_convolutions(specimen))
        wanted = self._new_rates(specimen, chosen)
        assert not isinstance(wanted, str)  # `unfit` has refused before
        changes: list[str] = []
        for dilated in chosen:
            conv = cast(nn.Conv2d, net.get_submodule(dilated.path))
            rate = dilated.scaled_rates(wanted[dilated.path])
            padding = _same_padding(dilated, rate)
            conv.dilation = rate
            set_padding(conv, padding)
            changes.append(f"{dilated.path} {_rate_text(dilated.rate)} to {_rate_text(rate)}")
        return f"set the rates of {plural(len(changes), 'convolution')} ({name_list(changes, 6)})"

    def preserves(self, specimen: Specimen) -> Preservation:
        return Preservation("no", "the weights stay, but read other positions, except in branches whose rate stays")

    def _target_convolutions(self, specimen: Specimen, convs: list[DilatedConv]) -> list[DilatedConv]:
        """The first call of each dilated convolution that is named, in execution order."""
        first = {conv.path: conv for conv in reversed(convs)}
        calls = [conv for conv in convs if first[conv.path] is conv]
        if not self.at:
            return calls
        named = {specimen.layer(name).path for name in specimen.find(self.at)}
        return [call for call in calls if any(call.path == path or call.path.startswith(f"{path}.") for path in named)]

    def _new_rates(self, specimen: Specimen, chosen: list[DilatedConv]) -> dict[str, int] | str:
        """Path -> main rate, or why the rates given do not fit."""
        if not self.rates:
            sized = with_image_size(specimen, self.size, self.name())
            convs = dilated_convolutions(sized)
            rates = suggested_rates(convs, branch_groups(sized, convs))
            return {conv.path: rates[conv.name] for conv in chosen}
        count = len(self.rates)
        if count in (1, len(chosen)):
            return dict(zip([conv.path for conv in chosen], self.rates * (len(chosen) if count == 1 else 1), strict=True))
        groups = [group for group in branch_groups(specimen, chosen) if len(group.members) == count]
        return (
            _rates_by_group(groups, self.rates)
            if _all_grouped(groups, chosen)
            else _misfit_reason(specimen, chosen, self.rates)
        )


def _all_grouped(groups: list[BranchGroup], chosen: list[DilatedConv]) -> bool:
    return sum(len(group.members) for group in groups) == len(chosen)


def _rates_by_group(groups: list[BranchGroup], rates: tuple[int, ...]) -> dict[str, int]:
    return {member.path: rate for group in groups for member, rate in zip(group.members, rates, strict=True)}


def _misfit_reason(specimen: Specimen, chosen: list[DilatedConv], rates: tuple[int, ...]) -> str:
    groups = branch_groups(specimen, chosen)
    near = f"; name one group of branches, as at={groups[0].title}" if groups and len(groups[0].members) == len(rates) else ""
    paths = name_list([conv.path for conv in chosen])
    return f"{plural(len(rates), 'rate')} for {plural(len(chosen), 'convolution')} ({paths}): give one for each, or one for all{near}"


def _same_padding(dilated: DilatedConv, rate: tuple[int, int]) -> tuple[int, int] | None:
    """The padding (rows, cols) with which `rate` gives a map of the same size; None where the module pads by itself."""
    conv = cast(nn.Conv2d, dilated.call.module)
    if isinstance(conv.padding, str) or tuple(conv.padding) != dilated.before:
        return None
    more = [(k - 1) * (new - old) for k, new, old in zip(dilated.kernel, rate, dilated.rate, strict=True)]
    return conv.padding[0] + more[0] // 2, conv.padding[1] + more[1] // 2


def _no_padding_reason(dilated: DilatedConv, rate: tuple[int, int]) -> str:
    """Why no padding keeps the map of a convolution as large as it is, or an empty text."""
    conv = cast(nn.Conv2d, dilated.call.module)
    if conv.padding == "valid":
        return f"{dilated.path} does not pad (padding='valid'), so another rate gives a map of another size"
    if dilated.before is None:
        return f"the padding of {dilated.path} is unknown, so the size of its map cannot be kept"
    padding = _same_padding(dilated, rate)
    if padding is None:
        return ""
    if min(padding) < 0:
        return f"{dilated.path} pads too little for rate {_rate_text(rate)}: its map would grow; give {_rate_text(dilated.rate)} or more"
    if any((k - 1) * (new - old) % 2 for k, new, old in zip(dilated.kernel, rate, dilated.rate, strict=True)):
        return f"{dilated.path} has an even kernel: equal padding on both sides cannot keep the size of its map at rate {_rate_text(rate)}"
    return ""


def _rate_text(rate: tuple[int, int]) -> str:
    return str(rate[0]) if rate[0] == rate[1] else f"{rate[0]} x {rate[1]}"
