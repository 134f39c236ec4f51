"""The role of each normalisation layer: whether its scale can change the output, and its place in the block."""

from typing import Literal

from microtome.instruments.scale_invariance import ScaleInvariance
from microtome.specimen import Specimen
from microtome.specimen.residuals import branch_ends

Role = Literal["internal", "branch end", "shortcut", "free"]
ROLES: tuple[Role, ...] = ("internal", "branch end", "shortcut", "free")


def norm_roles(specimen: Specimen, invariance: ScaleInvariance) -> dict[str, Role]:
    """The role of every norm whose scale takes part.

    internal: scaling it changes no output. branch end: it is the last of a residual branch. shortcut: it lies on a shortcut.
    free: neither; its scale is one of the logits or of the stream.
    """
    ends = branch_ends(specimen)
    shortcuts = [shortcut for shortcut in ends.values() if shortcut]

    def role(path: str) -> Role:
        if path in invariance.scales:
            return "internal"
        if path in ends:
            return "branch end"
        on = any(path == shortcut or path.startswith(f"{shortcut}.") for shortcut in shortcuts)
        return "shortcut" if on else "free"

    return {path: role(path) for path in invariance.norms}
