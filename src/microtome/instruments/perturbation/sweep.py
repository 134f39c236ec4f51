"""One plan carried out: windows group by group, laid into whole maps as soon as a batch of them is there."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from microtome.instruments.perturbation.cutting import CleanValues, UnitSums, cut_windows
from microtome.instruments.perturbation.patches import Patch, Response, flat_scores, paste_patches
from microtome.instruments.perturbation.planning import JobGroup, SweepPlan
from microtome.instruments.perturbation.tape import INPUT, Tape, memory_layout
from microtome.instruments.perturbation.windows import Box

UnitSumFunction = Callable[[Tensor, Tensor | None], Tensor]
ResponseCheck = Callable[[int, Response], bool]


class Sweep:
    """The responses to `patches` in the images `x` by that plan.

    `units` (image,) chooses the map of the watched layer that `summed` sums.
    """

    def __init__(
        self, tape: Tape, plan: SweepPlan, patches: Sequence[Patch], x: Tensor, units: Tensor | None, summed: UnitSumFunction
    ) -> None:
        images, at = np.unique([patch.image for patch in patches], return_inverse=True)
        self.tape, self.plan, self.patches, self.sum_units = tape, plan, patches, summed
        self.images = at.reshape(-1)  # of each patch, among those of `x` that have any
        self.x = x[torch.from_numpy(images)].contiguous(memory_format=memory_layout(x))
        self.units = None if units is None else units.cpu().numpy()[images]
        self.middle = len(patches) // 2
        self.scores: dict[int, Tensor] = {}
        self.sums: dict[int, Tensor] = {}
        self.early = [value for node in tape.nodes[: plan.cut] for value in node.gives if value in tape.watched.values()]

    def response(self, check: ResponseCheck | None = None) -> Response | None:
        """What came out, in order of the patches; None where `check` refused what the first batch gave for one of them."""
        with torch.inference_mode():
            self.clean = CleanValues(self.tape, self.plan.cut, self.x)
            for jobs in self._by_windows() if self.plan.cut else self._by_images():
                if check is not None:
                    job = self.middle if self.middle in jobs else int(jobs[0])
                    if not check(job, self._changed_maps([job])):
                        return None
                    if len(jobs) > 2:  # of another number than those that the tape was made from
                        check = None
            return self._changed_maps(range(len(self.patches)))

    def _changed_maps(self, jobs: Any) -> Response:
        sums = torch.stack([self.sums[int(job)] for job in jobs]) if self.sums else None
        return Response(torch.stack([self.scores[int(job)] for job in jobs]), sums)

    def _by_images(self) -> Any:
        for start in range(0, len(self.patches), self.plan.batch):
            jobs = np.arange(start, min(start + self.plan.batch, len(self.patches)))
            moved = [replace(self.patches[int(job)], image=int(self.images[job])) for job in jobs]
            yield self._finish(jobs, {INPUT: paste_patches(self.x, moved)})

    def _by_windows(self) -> Any:
        waiting: list[tuple[Any, dict[int, Tensor], dict[int, Box]]] = []
        for part in self._parts():
            if waiting and sum(len(jobs) for jobs, *_ in waiting) + len(part.jobs) > self.plan.batch:
                yield self._lay(waiting)
                waiting = []
            images = self.images[part.jobs]
            watched = None
            if self.early and self.units is not None:
                watched = UnitSums(self.early[0], self.units[images])
            alive, change = cut_windows(self.tape, self.plan.cut, part, images, self._first(part), self.clean, watched)
            if change is not None and watched is not None:
                whole = self.clean.values[watched.value].sum((2, 3), dtype=torch.float64)
                before = whole[torch.from_numpy(images), torch.from_numpy(watched.units)]
                self.sums |= dict(zip(part.jobs.tolist(), before + change, strict=True))
            waiting.append((part.jobs, alive, part.boxes))
        yield self._lay(waiting)

    def _parts(self) -> list[JobGroup]:
        """The groups in parts of one batch, that of the patch in the middle first: it is the one that is checked."""
        size = self.plan.batch
        parts = [group.part(start, start + size) for group in self.plan.groups for start in range(0, len(group.jobs), size)]
        return sorted(parts, key=lambda part: self.middle not in part.jobs)

    def _first(self, group: JobGroup) -> Tensor:
        """The windows of the images, the patches' pixels in them."""
        own = group.boxes[INPUT]
        made = self.clean.maps(INPUT).around(self.images[group.jobs], own.rows, own.cols, own.size).permute(0, 3, 1, 2)
        for place, job in enumerate(group.jobs):
            patch = self.patches[job]
            top, left = patch.top - own.rows[place], patch.left - own.cols[place]
            rows, cols = patch.pixels.shape[1:]
            made[place, :, top : top + rows, left : left + cols] = patch.pixels
        return made

    def _lay(self, waiting: Sequence[tuple[Any, dict[int, Tensor], dict[int, Box]]]) -> Any:
        """Run the rest of the network on whole maps in which the waiting windows were laid; which jobs they were."""
        known = {
            value: torch.cat(
                [self.clean.copies(value, self.images[jobs], alive[value], boxes[value]) for jobs, alive, boxes in waiting]
            )
            for value in waiting[0][1]
        }
        return self._finish(np.concatenate([jobs for jobs, *_ in waiting]), known)

    def _finish(self, jobs: Any, known: dict[int, Tensor]) -> Any:
        units = None if self.units is None else torch.from_numpy(self.units[self.images[jobs]])

        def look(_: str, value: Tensor) -> None:
            self.sums.update(zip(jobs.tolist(), self.sum_units(value, units), strict=True))

        scores = flat_scores(self.tape.run(known, self.plan.cut, len(jobs), None if units is None else look))
        self.scores |= dict(zip(jobs.tolist(), scores, strict=True))
        return jobs
