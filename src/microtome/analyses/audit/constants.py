"""Units that give the same value to every input: whether that value reaches the output, so that removing them changes something.

Tried out, not argued: behind the norms and activations that directly follow it the unit's value is set to zero, which is what is left
once a unit and the inputs that read it are removed, and the outputs are compared.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from microtome.analyses.audit.rule import Subject
from microtome.specimen import watch
from microtome.specimen.layers import is_norm, kind_of
from microtome.specimen.noise_images import noise_images
from microtome.specimen.tracing import Call

SAME = 1e-6  # a change of the outputs below this fraction of their largest value is rounding
MOST = 64  # units of a layer that are tried one by one


def nonzero_effects(subject: Subject, path: str, units: Sequence[int]) -> int:
    """How many of the constant `units` of the layer at `path` cannot be removed without changing the outputs for some input.

    Beyond `MOST` units they are tried all at once, and all count where that changes something.
    """
    if not units or not _changes(subject, path, units):
        return 0
    if len(units) > MOST:
        return len(units)
    return sum(_changes(subject, path, [unit]) for unit in units)


def _changes(subject: Subject, path: str, units: Sequence[int]) -> bool:
    specimen = subject.specimen
    x = noise_images(specimen.net, specimen.recipe, 2)
    ends = [_end(subject, call) for call in subject.calls if call.path == path]
    names = [layer.name for layer in specimen.layers for end in ends if (layer.path, layer.call or 0) == (end.path, end.index)]
    last = isinstance(ends[0].module, nn.Linear | nn.LayerNorm) or kind_of(_module(subject, path)) == "linear"

    def silence(_name: str, value: Tensor) -> None:
        value.movedim(-1 if last else 1, 0)[list(units)] = 0

    with torch.no_grad():
        before = specimen.answer(x).clone()
        with watch(specimen, names, each=silence):
            after = specimen.answer(x)
    return float((after - before).abs().max()) > SAME * max(float(before.abs().max()), 1e-12)


def _end(subject: Subject, call: Call) -> Call:
    """The last of the norms and activations that directly follow a layer; the layer itself where none does."""
    leaves = [each for each in subject.calls if next(each.module.children(), None) is None or is_norm(each.module)]
    last = call
    for following in leaves[leaves.index(call) + 1 :]:
        if kind_of(following.module) not in ("norm", "act") or not set(last.gives) & set(following.reads):
            break
        last = following
    return last


def _module(subject: Subject, path: str) -> nn.Module:
    return subject.specimen.net.get_submodule(path)
