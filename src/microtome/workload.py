"""What an analysis costs, in passes through the network, so that one pilot pass tells minutes before anything is measured."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Workload:
    """The work of one analysis of one network, as it declares it; a `Pilot` turns it into seconds.

    `forward` and `backward` count images through the network without gradients, and through it and back. `watched` is true where
    the forward passes are those of the shared scan. `twins` counts untrained twins that are made. `seconds` is arithmetic beside
    the network, on the reference machine (two cores of 2.5 GHz).
    """

    forward: float = 0.0
    backward: float = 0.0
    twins: int = 0
    seconds: float = 0.0
    watched: bool = False

    def __add__(self, other: "Workload") -> "Workload":
        return Workload(
            forward=self.forward + other.forward,
            backward=self.backward + other.backward,
            twins=max(self.twins, other.twins),  # the same twins serve all
            seconds=self.seconds + other.seconds,
            watched=self.watched and other.watched,
        )
