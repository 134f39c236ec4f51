"""What an analysis costs, in passes through the network, so that one pilot pass tells minutes before anything is measured."""

from dataclasses import dataclass
from typing import Literal, get_args

Effort = Literal["quick", "standard", "full"]
EFFORTS: tuple[Effort, ...] = get_args(Effort)


@dataclass(frozen=True)
class Workload:
    """The work of one analysis of one network, as it declares it; a `Pilot` turns it into seconds.

    `forward` and `backward` count images through the network without gradients, and through it and back. `twins` counts untrained
    twins that are made. `seconds` is arithmetic beside the network, on the reference machine (two cores of 2.5 GHz).
    """

    forward: float = 0.0
    backward: float = 0.0
    twins: int = 0
    seconds: float = 0.0
