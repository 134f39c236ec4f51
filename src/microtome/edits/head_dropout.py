"""Puts the dropout of a head before its pooling, which lowers its noise.

Behind the mean over positions a dropped unit is gone whole; before it each position is dropped by itself. For features that are not
negative the variance of the logits is never larger so, and about pi / N of it for N positions with rectified normal features. So the
noise is weaker, and `p` wants to be tuned again. In evaluation dropout does nothing, wherever it is: the answers stay to the bit.

The pooling has to be a module, and no weights may lie between it and the dropout. Dropout that a forward method calls as a function
goes out by setting the number it reads (timm: `drop_rate`) to 0; where no one number of that module is that probability, the edit refuses.

Source: Kim et al. 2023, "How to Use Dropout Correctly on Residual Networks with Batch Normalization", arXiv:2302.06112; the ratio by
our formula (`microtome audit`, MT302).
"""

import copy
from typing import final

from torch import nn

from microtome.edit import Edit, Preservation, option, replace_module
from microtome.instruments.dropouts import DropoutSite, find_dropouts, remove_dropout
from microtome.instruments.head_site import last_pooling
from microtome.specimen import Specimen
from microtome.specimen.layers import is_weight


@final
class HeadDropout(Edit):
    """Dropout before the pooling of the head."""

    title = "Head dropout before pooling"

    p: float = option(0.0, "dropout probability; 0: that of the dropout that is moved", low=0.0, high=0.99)

    def refusal(self, specimen: Specimen) -> str:
        if specimen.outputs is None:
            return "it gives maps, not one score for each class, so what it pools does not lead to a head"
        if last_pooling(specimen) is None:
            return "no module pools its maps to one position before the head, so there is no place before it"
        dropouts = _dropouts(specimen)
        if not self.p and not dropouts:
            return "it has no dropout with p above 0 between pooling and head; p=0.2 puts one before the pooling"
        deaf = [site.description for site in dropouts if not remove_dropout(copy.deepcopy(specimen.net), site)]
        return f"{deaf[0]} cannot be removed from outside; change its code" if deaf else ""

    def operate(self, net: nn.Module, specimen: Specimen) -> str:
        pool = last_pooling(specimen)
        assert pool is not None  # `unfit` has refused before
        moved = _dropouts(specimen)
        p = self.p or moved[0].p
        gone = [remove_dropout(net, site) for site in moved]
        replace_module(net, pool.path, nn.Sequential(nn.Dropout(p), net.get_submodule(pool.path)))
        took = f" in place of {', '.join(gone)}" if gone else ""
        return f"put dropout (p = {p:g}) before {pool.path}{took}"

    def preserves(self, specimen: Specimen) -> Preservation:
        return Preservation(
            "exactly", "dropout does nothing in evaluation, and with mean pooling the expected logits stay in training", 0.0
        )


def _dropouts(specimen: Specimen) -> list[DropoutSite]:
    """The dropouts behind the pooling, up to the next weights."""
    pool = last_pooling(specimen)
    if pool is None:
        return []
    dropouts = find_dropouts(specimen.net, specimen.recipe)
    start = dropouts.begun.get(pool.path, 0)
    weights = [begun for path, begun in dropouts.begun.items() if begun > start and is_weight(specimen.net.get_submodule(path))]
    return [
        site for site in dropouts.sites if site.form != "attention" and start < site.begun <= min(weights, default=site.begun)
    ]
