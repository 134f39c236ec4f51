"""The 5 × 5 kernels of the trained BVLC GoogLeNet, one branch in each of its nine modules."""

from torch import Tensor, nn

from microtome.replicate.claim import RunContext
from microtome.replicate.material import trained_network


def branch_kernels(context: RunContext) -> dict[str, Tensor]:
    """The kernels (unit, channel, row, col) of the 5 × 5 branch by module, in execution order."""
    net = trained_network(context, "googlenet_bvlc").net
    convs = {name: part for name, part in net.named_modules() if isinstance(part, nn.Conv2d) and part.kernel_size == (5, 5)}
    return {name.partition(".")[0]: conv.weight.detach() for name, conv in convs.items()}
