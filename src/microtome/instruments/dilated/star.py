"""The gradient of the middle position of joined branches by their input map, and the star of their taps on that map.

The star is the middle and eight points for each rate of 3 x 3 branches, on eight rays; points beyond the map are left out.

Source: ours.
"""

import torch
from torch import Tensor

from microtome.instruments.dilated.branches import BranchGroup
from microtome.instruments.input_gradients import mean_over_units, middle_cell
from microtome.numerics.arrays import Array
from microtome.numerics.receptive.dilations import star_points
from microtome.specimen import Specimen, tap


def star_mask(group: BranchGroup) -> Array:
    """The positions (row, col) of the map that the branches read for the middle position of their output, and the one it is centred on."""
    at = middle_cell(group.members[0].positions)
    return star_points(group.members[0].side, [member.places(at) for member in group.members])


def star_gradient(specimen: Specimen, group: BranchGroup, x: Tensor) -> Tensor:
    """The gradient (image, unit, row, col) of the middle position's mean over units by the map that the branches read, for inputs `x`.

    The middle position is that of the joined branches where a module joins them, else the sum over the branches' own convolutions.
    """
    ends = [group.holder] if group.holder else [member.name for member in group.members]
    at = mean_over_units(middle_cell(group.members[0].positions))
    fronts = [group.holder] if group.holder else group.begins
    with tap(specimen, list(dict.fromkeys([*(f"<{name}" for name in fronts), *ends]))) as taps:
        specimen.net(x)
        slopes = taps.gradients(torch.stack([at(taps.activations[name]).sum() for name in ends]))
    if group.holder:
        return slopes[f"<{group.holder}"][1]
    gradients = [slopes[f"<{name}"][1] for name in group.begins]
    cut = [  # padding put on before a convolution that begins its branch is no map
        slope[:, :, slice(*member.cells[0]), slice(*member.cells[1])] if name == member.name else slope
        for slope, name, member in zip(gradients, group.begins, group.members, strict=True)
    ]
    return torch.stack(cut).sum(0)
