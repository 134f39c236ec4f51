"""The engine under every method that perturbs: what a network says of pictures in which a box of pixels was replaced."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from microtome.specimen import Specimen, watch

BATCH = 64  # perturbed pictures in one forward pass, at most
BUDGET = 64e6  # bytes of input in one forward pass, at most


@dataclass(frozen=True, eq=False)
class Patch:
    """A box whose pixels are replaced: in which picture, its upper left corner, and what stands there instead.

    `pixels` is (rgb, row, col), normalised as the network wants its input; a mask is the box around it with old and new pixels
    mixed. The box lies inside the picture.
    """

    image: int
    top: int
    left: int
    pixels: Tensor


@dataclass(frozen=True, eq=False)
class Response:
    """What the network gave: `scores` (image, class), and of the watched layer the sum over rows and cols of each map.

    `activity` is (image, unit) float64 for whole pictures, (patch,) of one chosen map for patches, None where nothing was watched.
    """

    scores: Tensor
    activity: Tensor | None = None


class Perturber:
    """Answers of one network about boxes in the pictures `x` (image, rgb, row, col); `at` names a layer whose maps are summed.

    `clean` is the response to the pictures themselves.
    """

    def __init__(self, specimen: Specimen, x: Tensor, at: str = "") -> None:
        self.specimen, self.x, self.at = specimen, x, at
        found = [self._run(part, None) for part in x.split(self._batch())]
        sums = [one.activity for one in found if one.activity is not None]
        self.clean = Response(torch.cat([one.scores for one in found]), torch.cat(sums) if sums else None)

    def responses(self, patches: Sequence[Patch], units: Tensor | None = None) -> Response:
        """The response to each patch; `units` (image,) chooses the map of the watched layer that is summed."""
        scores: list[Tensor] = []
        sums: list[Tensor] = []
        size = self._batch()
        for start in range(0, len(patches), size):
            part = patches[start : start + size]
            chosen = None if units is None else units[[one.image for one in part]]
            found = self._run(pasted(self.x, part), chosen)
            scores.append(found.scores)
            if found.activity is not None:
                sums.append(found.activity)
        return Response(torch.cat(scores), torch.cat(sums) if sums else None)

    def _run(self, x: Tensor, units: Tensor | None) -> Response:
        sums: list[Tensor] = []

        def look(name: str, value: Tensor) -> None:
            maps = self.specimen.layer(name).maps(value)
            if units is not None:
                maps = maps[torch.arange(len(maps), device=maps.device), units.to(maps.device)][:, None]
            sums.append(maps.sum((2, 3), dtype=torch.float64))

        with torch.no_grad(), watch(self.specimen, [self.at] if self.at else [], each=look):
            scores = self.specimen.logits(x)
        activity = None if not sums else sums[0] if units is None else sums[0][:, 0]
        return Response(scores, activity)

    def _batch(self) -> int:
        return max(1, min(BATCH, int(BUDGET // (self.x[0].numel() * self.x.element_size()))))


def pasted(x: Tensor, patches: Sequence[Patch]) -> Tensor:
    """The pictures (patch, rgb, row, col) with one patch each, in the memory layout of `x`."""
    made = x[[one.image for one in patches]]
    for place, one in enumerate(patches):
        rows, cols = one.pixels.shape[1:]
        made[place, :, one.top : one.top + rows, one.left : one.left + cols] = one.pixels
    layout = torch.channels_last if x.is_contiguous(memory_format=torch.channels_last) else torch.contiguous_format
    return made.contiguous(memory_format=layout)


__all__ = ["Patch", "Perturber", "Response", "pasted"]
