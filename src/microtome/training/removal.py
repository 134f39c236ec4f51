"""A network with some of its blocks taken out, each replaced by the identity."""

from collections.abc import Sequence

from torch import nn

from microtome import networks
from microtome.edit import put
from microtome.errors import Uneditable
from microtome.specimen import Specimen
from microtome.specimen import open as open_specimen
from microtome.specimen.blocks import Unit


def removable(net: nn.Module) -> list[str]:
    """The names of the blocks of a mini network whose output has the shape of their input, in execution order."""
    return [block.name for block in _opened(net).blocks if block.keeps_shape]


def without(net: nn.Module, blocks: Sequence[str]) -> nn.Module:
    """`net` itself, after the named blocks were replaced in place by the identity; what is left keeps its weights.

    A block of a plain network is a convolution with the norm and activation that follow it.

    Raises:
        UnknownName: a name that is no block.
        Uneditable: a block that changes the shape of what goes through it, so that nothing could stand in for it.
    """
    specimen = _opened(net)
    paths: list[str] = []
    for name in blocks:
        block = specimen.block(name)
        if not block.keeps_shape:
            can = [one.name for one in specimen.blocks if one.keeps_shape]
            raise Uneditable(
                f"'{name}' cannot be taken out: what leaves it has another shape than what enters it; "
                f"{', '.join(can) if can else 'no block'} of this network can."
            )
        paths += _members(specimen, specimen.anatomy.units[specimen.blocks.index(block)])
    for path in dict.fromkeys(paths):
        put(net, path, nn.Identity())
    return net


def _opened(net: nn.Module) -> Specimen:
    """The network as a specimen; it is traced in eval mode and left in the mode that it was in."""
    training = net.training
    specimen = open_specimen(net.eval(), recipe={"size": networks.SIZE})
    assert specimen.blocks  # traced now, while it is in eval mode
    net.train(training)
    return specimen


def _members(specimen: Specimen, unit: Unit) -> list[str]:
    """The paths of the modules that make up a block: one, or those from a convolution to the last that follows it."""
    if unit.entry is unit.exit:
        return [unit.path]
    calls = specimen.anatomy.found.calls
    inside = [call.path for call in calls if unit.entry.order <= call.order <= unit.exit.order]
    return [path for path in inside if not any(path.startswith(f"{other}.") for other in inside)]
