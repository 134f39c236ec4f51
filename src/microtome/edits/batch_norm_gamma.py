"""Moves batch-norm scales into the next weights, or zeroes them at branch ends.

`policy=unit`: where nothing but rectifiers, pools and the like stands between a norm and the weights that read it, each unit's |γ| goes
into those weights and leaves 1 or -1 behind (β is divided by it, too). The function stays, in training as in evaluation; a γ of 0
stays. Which norms these are is told by a gradient at random weights, not by names: all that are internal by scale invariance (8 of 20 in
ResNet-18, 33 of 53 in ResNet-50), and others whose scale can be read off the next weights. What is left over, at branch ends, on
shortcuts and on the stream, is where decaying γ is a choice of its own. Use it before reading or pruning weights (a small γ before
large weights hides which units matter), or before training on with decay on weights only: the decay then sees the whole product.

`policy=zero`: γ and β of the last norm of every residual branch become 0, so that blocks begin as the identity: the end that weight
decay on these γ draws towards. The function is not preserved: it is for weights that are trained from here.

Either way the training setting is `microtome.param_groups(net, weight_decay)`: γ decays at branch ends and where it is internal, not on
shortcuts or on the stream. Of the paper's four guidelines we had the abstract only: classes by invariance, and this advice, are ours.

Source: Kim et al. 2024, arXiv:2205.07260 (which γ to decay); Goyal et al. 2017, arXiv:1706.02677, sec. 5.1 (γ of 0 at branch ends); that
the scale can be moved exactly, and how it is found: ours.
"""

from typing import Literal, final

import torch
from torch import nn

from microtome.edit import Edit, Preservation, option
from microtome.errors import SpecimenError
from microtome.instruments.norm_roles import norm_roles
from microtome.instruments.scale_invariance import scale_invariance
from microtome.instruments.scale_readers import move_scales, scale_readers
from microtome.prose import plural
from microtome.specimen import Specimen


@final
class BatchNormGamma(Edit):
    """Scales of batch norms: in the next weights, or zero at branch ends."""

    title = "Scales of batch norms by policy"

    policy: Literal["unit", "zero"] = option(
        "unit", "unit: |γ| moves into the weights that read it; zero: γ = 0 at branch ends"
    )

    def refusal(self, specimen: Specimen) -> str:
        norms = [part for part in specimen.net.modules() if isinstance(part, nn.modules.batchnorm._BatchNorm)]  # pyright: ignore[reportPrivateUsage]
        if not norms:
            return "it has no batch norm"
        try:
            chosen = list(scale_readers(specimen)) if self.policy == "unit" else _branch_end_norms(specimen)
        except SpecimenError as error:
            return str(error)
        if not chosen:
            return (
                "no batch norm is read by weights through rectifiers and pools alone"
                if self.policy == "unit"
                else "no residual branch ends with a batch norm"
            )
        values = torch.cat([_norm_scale(specimen.net, path).abs() for path in chosen])
        if self.policy == "unit" and bool(((values == 1) | (values == 0)).all()):
            return f"all {plural(len(values), 'scale')} that could be moved are 1, -1 or 0 already"
        return ""

    def operate(self, net: nn.Module, specimen: Specimen) -> str:
        settings = "decay what is left by microtome.param_groups(net, weight_decay)"
        if self.policy == "zero":
            ends = _branch_end_norms(specimen)
            with torch.no_grad():
                for path in ends:
                    for parameter in net.get_submodule(path).parameters(recurse=False):
                        parameter.zero_()
            return f"set γ and β of the {plural(len(ends), 'norm')} that end a residual branch to 0; {settings}"
        readers = scale_readers(specimen)
        count = move_scales(net, readers)
        norms = sum(isinstance(part, nn.modules.batchnorm._BatchNorm) for part in net.modules())  # pyright: ignore[reportPrivateUsage]
        return (
            f"moved the scales of {plural(count, 'unit')} of {len(readers)} of {norms} batch norms into the "
            f"weights that read them; {settings}"
        )

    def preserves(self, specimen: Specimen) -> Preservation:
        if self.policy == "zero":
            return Preservation("no", "residual branches give nothing until they are trained")
        return Preservation("exactly", "what a unit is multiplied by passes rectifiers and pools as a factor")


def _branch_end_norms(specimen: Specimen) -> list[str]:
    """The batch norms with a scale that end a residual branch."""
    roles = norm_roles(specimen, scale_invariance(specimen.net, specimen.recipe))
    kind = nn.modules.batchnorm._BatchNorm  # pyright: ignore[reportPrivateUsage]
    return [path for path, role in roles.items() if role == "branch end" and isinstance(specimen.net.get_submodule(path), kind)]


def _norm_scale(net: nn.Module, path: str) -> torch.Tensor:
    return net.get_submodule(path).get_parameter("weight").detach().flatten()
