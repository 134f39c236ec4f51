"""The engine under every method that perturbs: what a network says of pictures in which a box of pixels was replaced.

Where it pays, only what the box can touch is computed in the early layers (`numerics.windows`), batch norms are folded and the rest
runs batched. That is exact but for rounding, and compared with the network itself before it is used; whatever cannot be cut so
(attention, gates that look at the whole picture, operations not understood) runs whole, and a network that cannot be written down
at all runs as it is, in a plain loop.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from microtome.errors import SpecimenError
from microtome.numerics.cutting import Clean, Plan, Sums, planned, windows
from microtome.numerics.occluders import blurred
from microtome.numerics.recording import Each, Unrecorded, recorded
from microtome.numerics.tape import INPUT, Tape, layout
from microtome.numerics.windows import Box, Spans, reachable
from microtome.specimen import Specimen, first_tensor, watch

BATCH = 64  # perturbed pictures in one forward pass of the plain loop, at most
BUDGET = 64e6  # bytes of input in one such pass, at most
KEPT = 512e6  # bytes of clean maps kept at a time
PREPARED = 1.5e8  # multiply-adds for each layer in all patches together: with fewer, preparing costs more than it saves
PASSES = 5.0  # forward passes that preparing takes: what is saved has to be more
FOLDED = 1.1  # how many times faster a network is whose norms are folded, at least
CLOSE = 1e-5  # largest difference from the network itself, as a share of its largest score


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

    `count` says about how many patches will be asked about: for few of them, or a small network, nothing is prepared. `clean` is the
    response to the pictures themselves. `plan` says after `responses` what was cut; `why` says why the plain loop is used, and is
    empty where it is not.

    Raises:
        SpecimenError: the network gives no class scores.
    """

    def __init__(self, specimen: Specimen, x: Tensor, at: str = "", *, count: int) -> None:
        self.specimen, self.x, self.at = specimen, x, at
        self.plan: Plan | None = None
        self.tape: Tape | None = None
        self.why = self._unpaid(count)
        self._trusted: set[int] = set()
        found: list[Response] = []
        if not self.why:
            try:
                found.append(self._record())
            except Unrecorded as error:
                self.why = str(error)
        found += [self._run(part, None) for part in x[len(found) :].split(self._batch()) if len(part)]
        self.clean = _joined(found)

    def responses(self, patches: Sequence[Patch], units: Tensor | None = None) -> Response:
        """The response to each patch, in order; `units` (image,) chooses the map of the watched layer that is summed."""
        found: list[Response] = []
        shares = self._shares(patches)
        for places in shares:
            part = [patches[place] for place in places]
            answer = self._cut(self.tape, part, units) if self.tape is not None else None
            found.append(self._looped(part, units) if answer is None else answer)
        order = torch.tensor([place for places in shares for place in places]).argsort()
        joined = _joined(found)
        return Response(joined.scores[order], None if joined.activity is None else joined.activity[order])

    def _unpaid(self, count: int) -> str:
        """Why it would not pay to prepare anything, or an empty text."""
        layers = self.specimen.layers
        kernels = [one for one in layers if isinstance(self.specimen.net.get_submodule(one.path), nn.Conv2d)]
        if len(kernels) < 2:
            return "it has no convolutions to cut between"
        cells = [(one.grid or (1, 1))[0] * (one.grid or (1, 1))[1] for one in kernels]
        whole = sum(one.parameters * many for one, many in zip(kernels, cells, strict=True))
        grown = self.x[0, 0].numel() / (self.specimen.recipe.size[0] * self.specimen.recipe.size[1])
        return "" if count * whole * grown >= PREPARED * len(layers) else "the network is small or the patches are few"

    def _shares(self, patches: Sequence[Patch]) -> list[list[int]]:
        """Places of the patches that are worked on together: those of as many pictures as the clean maps leave room for."""
        images = sorted({one.image for one in patches})
        many = len(images)
        if self.tape is not None:
            each = sum(4.0 * float(np.prod(self.tape.shapes[value])) for value in self.tape.moving)
            many = max(1, int(KEPT // each))
        groups = [set(images[start : start + many]) for start in range(0, len(images), many)]
        return [[place for place, one in enumerate(patches) if one.image in group] for group in groups]

    def _record(self) -> Response:
        """The response to the first picture, written down on the way."""
        sums: list[Tensor] = []
        self.tape, scores = recorded(
            self._scores, self.x[:1], self._watching, lambda _, value: sums.append(self.summed(value, None))
        )
        return Response(_flat(scores), sums[0] if sums else None)

    def _cut(self, tape: Tape, patches: Sequence[Patch], units: Tensor | None) -> Response | None:
        """The responses by the cheapest plan, or None where they are not those of the network itself."""
        plan = planned(tape, reachable(tape), _spans(patches))
        gain = plan.saved * (FOLDED if tape.folded else 1.0)
        if not self._trusted and len(patches) * (1 - 1 / gain) < PASSES:
            self.why, self.tape = "too little can be left out", None
            return None
        if plan.cut not in self._trusted:
            # of three: their number is neither of those that the tape was made from
            some = [patches[place] for place in (0, len(patches) // 2, -1)]
            small = planned(tape, plan.cut, _spans(some), plan.cut)
            tried, known = self._swept(tape, small, some, units), self._looped(some[1:2], units)
            if not _alike(tried, known, self.clean):
                self.why, self.tape, self.plan = "cut so, it gives other scores than the network itself", None, None
                return None
            self._trusted.add(plan.cut)
        self.plan = plan
        return self._swept(tape, plan, patches, units)

    def _swept(self, tape: Tape, plan: Plan, patches: Sequence[Patch], units: Tensor | None) -> Response:
        """The responses to the patches, in order, by that plan."""
        images, at = np.unique([one.image for one in patches], return_inverse=True)
        x = self.x[torch.from_numpy(images)].contiguous(memory_format=layout(self.x))
        which = at.reshape(-1)
        chosen = None if units is None else units.cpu().numpy()[images]
        with torch.inference_mode():
            return _Sweep(self, tape, plan, patches, which, x, chosen).response()

    def _looped(self, patches: Sequence[Patch], units: Tensor | None) -> Response:
        """The responses by the plain loop."""
        found: list[Response] = []
        size = self._batch()
        for start in range(0, len(patches), size):
            part = patches[start : start + size]
            chosen = None if units is None else units[[one.image for one in part]]
            found.append(self._run(pasted(self.x, part), chosen))
        return _joined(found)

    def _run(self, x: Tensor, units: Tensor | None) -> Response:
        sums: list[Tensor] = []

        def look(name: str, value: Tensor) -> None:
            sums.append(self.summed(value, units))

        with torch.no_grad(), self._watching(look):
            scores = self.specimen.logits(x)
        return Response(scores, sums[0] if sums else None)

    def summed(self, value: Tensor, units: Tensor | None) -> Tensor:
        """The sums over rows and cols of the watched layer's maps, (image, unit), or (image,) for one unit of each image."""
        maps = self.specimen.layer(self.specimen.find(self.at)[0]).maps(value)
        if units is None:
            return maps.sum((2, 3), dtype=torch.float64)
        at = torch.arange(len(maps), device=maps.device)
        return maps[at, units.to(maps.device)].sum((1, 2), dtype=torch.float64)

    def _scores(self, x: Tensor) -> Tensor:
        scores = first_tensor(self.specimen.net(x))
        if scores is None:
            raise SpecimenError(f"{self.specimen.name} gives no tensor, so there are no class scores.")
        return scores

    def _watching(self, each: Each) -> AbstractContextManager[Any]:
        return watch(self.specimen, [self.at] if self.at else [], each=each)

    def _batch(self) -> int:
        return max(1, min(BATCH, int(BUDGET // (self.x[0].numel() * self.x.element_size()))))


class _Sweep:
    """One plan carried out: windows group by group, laid into whole maps as soon as a batch of them is there."""

    def __init__(
        self, owner: Perturber, tape: Tape, plan: Plan, patches: Sequence[Patch], images: Any, x: Tensor, units: Any
    ) -> None:
        self.owner, self.tape, self.plan, self.patches, self.images, self.x = owner, tape, plan, patches, images, x
        self.units = units  # of each picture
        self.scores: dict[int, Tensor] = {}
        self.sums: dict[int, Tensor] = {}
        self.clean = Clean(tape, plan.cut, x)
        self.early = [value for node in tape.nodes[: plan.cut] for value in node.gives if value in tape.watched.values()]

    def response(self) -> Response:
        if self.plan.cut:
            self._by_windows()
        else:
            for start in range(0, len(self.patches), self.plan.batch):
                jobs = np.arange(start, min(start + self.plan.batch, len(self.patches)))
                moved = [replace(self.patches[int(job)], image=int(self.images[job])) for job in jobs]
                self._finish(jobs, {INPUT: pasted(self.x, moved)})
        places = range(len(self.patches))
        sums = torch.stack([self.sums[place] for place in places]) if self.sums else None
        return Response(torch.stack([self.scores[place] for place in places]), sums)

    def _by_windows(self) -> None:
        waiting: list[tuple[Any, dict[int, Tensor], dict[int, Box]]] = []
        for group in self.plan.groups:
            for start in range(0, len(group.jobs), self.plan.batch):
                part = group.part(start, start + self.plan.batch)
                if waiting and sum(len(jobs) for jobs, *_ in waiting) + len(part.jobs) > self.plan.batch:
                    self._lay(waiting)
                    waiting = []
                images = self.images[part.jobs]
                watched = None
                if self.early and self.units is not None:
                    watched = Sums(self.early[0], self.units[images])
                alive, change = windows(self.tape, self.plan.cut, part, images, self._first(part), self.clean, watched)
                if change is not None and watched is not None:
                    whole = self.clean.values[watched.value].sum((2, 3), dtype=torch.float64)
                    before = whole[torch.from_numpy(images), torch.from_numpy(watched.units)]
                    self.sums |= dict(zip(part.jobs.tolist(), before + change, strict=True))
                waiting.append((part.jobs, alive, part.boxes))
        self._lay(waiting)

    def _first(self, group: Any) -> Tensor:
        """The windows of the pictures, the patches' pixels in them."""
        own = group.boxes[INPUT]
        made = self.clean.maps(INPUT).around(self.images[group.jobs], own.rows, own.cols, own.size).permute(0, 3, 1, 2)
        for place, job in enumerate(group.jobs):
            patch = self.patches[job]
            top, left = patch.top - own.rows[place], patch.left - own.cols[place]
            rows, cols = patch.pixels.shape[1:]
            made[place, :, top : top + rows, left : left + cols] = patch.pixels
        return made

    def _lay(self, waiting: Sequence[tuple[Any, dict[int, Tensor], dict[int, Box]]]) -> None:
        """Run the rest of the network on whole maps in which the waiting windows were laid."""
        known = {
            value: torch.cat(
                [self.clean.copies(value, self.images[jobs], alive[value], boxes[value]) for jobs, alive, boxes in waiting]
            )
            for value in waiting[0][1]
        }
        self._finish(np.concatenate([jobs for jobs, *_ in waiting]), known)

    def _finish(self, jobs: Any, known: dict[int, Tensor]) -> None:
        def look(_: str, value: Tensor) -> None:
            units = torch.from_numpy(self.units[self.images[jobs]])
            self.sums.update(zip(jobs.tolist(), self.owner.summed(value, units), strict=True))

        scores = self.tape.run(known, self.plan.cut, len(jobs), look if self.units is not None else None)
        scores = _flat(scores)
        self.scores |= dict(zip(jobs.tolist(), scores, strict=True))


def _flat(scores: Tensor) -> Tensor:
    """(image, class), where some networks give (image, class, 1, 1)."""
    return scores.flatten(1) if scores.ndim > 2 else scores


def pasted(x: Tensor, patches: Sequence[Patch]) -> Tensor:
    """The pictures (patch, rgb, row, col) with one patch each, in the memory layout of `x`."""
    made = x[[one.image for one in patches]]
    for place, one in enumerate(patches):
        rows, cols = one.pixels.shape[1:]
        made[place, :, one.top : one.top + rows, one.left : one.left + cols] = one.pixels
    return made.contiguous(memory_format=layout(x))


def filled(specimen: Specimen, x: Tensor, colour: str, size: int) -> Tensor:
    """What covers the pictures `x`, as pictures of their shape: mid-"grey", each one's "mean" colour, or itself under a "blur".

    The blur's standard deviation is a third of `size` px, the side of what covers.
    """
    if colour == "blur":
        return blurred(x, size / 3)
    if colour == "mean":
        return x.mean((2, 3), keepdim=True).expand_as(x)
    grey = torch.full((1, *x.shape[2:], 3), 128, dtype=torch.uint8, device=x.device)
    return specimen.recipe.normalised(grey).expand_as(x)


def _spans(patches: Sequence[Patch]) -> tuple[Spans, Spans]:
    """Rows and cols that each patch covers (patch, side)."""
    rows = np.array([(one.top, one.top + one.pixels.shape[1]) for one in patches])
    cols = np.array([(one.left, one.left + one.pixels.shape[2]) for one in patches])
    return rows, cols


def _joined(parts: Sequence[Response]) -> Response:
    sums = [one.activity for one in parts if one.activity is not None]
    return Response(torch.cat([one.scores for one in parts]), torch.cat(sums) if sums else None)


def _alike(tried: Response, known: Response, clean: Response) -> bool:
    """Whether the second of three responses is what the network itself gave."""
    same = _near(tried.scores[1], known.scores[0], clean.scores)
    if known.activity is None or tried.activity is None:
        return same and known.activity is tried.activity
    assert clean.activity is not None
    return same and _near(tried.activity[1], known.activity[0], clean.activity)


def _near(one: Tensor, other: Tensor, scale: Tensor) -> bool:
    return bool((one - other).abs().max() <= CLOSE * max(float(scale.abs().max()), float(other.abs().max())))


__all__ = ["Patch", "Perturber", "Response", "filled", "pasted"]
