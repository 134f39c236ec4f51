"""The engine of all perturbation methods: the response of a network to images in which a box of pixels was replaced.

Where it pays, only what the box can touch is computed in the early layers (`numerics.windows`), batch norms are folded and the rest
runs batched. That is exact but for rounding, and compared with the network itself before it is used; whatever cannot be cut so
(attention, gates that look at the whole image, operations not understood) runs whole, and a network that cannot be written down
at all runs as it is, in a plain loop.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from microtome.instruments.perturbation.patches import (
    Patch,
    Response,
    concatenate_responses,
    flat_scores,
    paste_patches,
    patch_spans,
)
from microtome.instruments.perturbation.planning import SweepPlan, cheapest_plan
from microtome.instruments.perturbation.recording import Each, Recording, RecordingFailed
from microtome.instruments.perturbation.sweep import Sweep
from microtome.instruments.perturbation.tape import Tape
from microtome.instruments.perturbation.windows import reachable_nodes
from microtome.specimen import Specimen, watch

BATCH = (4, 64)  # perturbed images in one forward pass of the plain loop, at least and at most
MAX_MAP_BYTES = (
    2**25
)  # bytes of the largest map of such a pass: beyond it each allocation comes from the system anew, and is slow
MAX_CLEAN_BYTES = 512e6  # bytes of clean maps kept at a time
MIN_PREPARED_COST = (
    1.5e8  # multiply-adds for each layer in all patches together: with fewer, preparing costs more than it saves
)
PREPARATION_PASSES = 5.0  # forward passes that preparing takes, and some to spare: what is saved has to be more
UNCUTTABLE = (nn.LayerNorm, nn.GroupNorm, nn.MultiheadAttention)  # what comes after one of these is computed whole
SCORE_TOLERANCE = 1e-5  # largest difference from the network itself, as a fraction of its largest score


class Perturber:
    """Answers of one network about boxes in the images `x` (image, rgb, row, col); `at` names a layer whose maps are summed.

    `count` says about how many patches will be asked about: for few of them, or a small network, nothing is prepared. `clean` is the
    response to the images themselves. `plan` says after `responses` what was cut; `why` says why the plain loop is used, and is
    empty where it is not.

    Raises:
        SpecimenError: the network gives no class scores.
    """

    def __init__(self, specimen: Specimen, x: Tensor, at: str = "", *, count: int) -> None:
        self.specimen, self.x, self.at = specimen, x, at
        self.plan: SweepPlan | None = None
        self.tape: Tape | None = None
        self.why = self._is_not_worthwhile(count)
        self._trusted: set[int] = set()
        self._recording: Recording | None = None
        responses: list[Response] = []
        if not self.why:
            try:
                responses.append(self._record())
            except RecordingFailed as error:
                self.why = str(error)
        responses += [self._run(part, None) for part in x[len(responses) :].split(self._batch()) if len(part)]
        self.clean = concatenate_responses(responses)

    def responses(self, patches: Sequence[Patch], units: Tensor | None = None) -> Response:
        """The response to each patch, in order; `units` (image,) chooses the map of the watched layer that is summed."""
        responses: list[Response] = []
        self._decide(patches)
        shares = self._shares(patches)
        for places in shares:
            part = [patches[place] for place in places]
            answer = self._cut(self.tape, part, units) if self.tape is not None else None
            responses.append(self._loop(part, units) if answer is None else answer)
        order = torch.tensor([place for places in shares for place in places]).argsort()
        answers = concatenate_responses(responses)
        return Response(answers.scores[order], None if answers.activity is None else answers.activity[order])

    def _is_not_worthwhile(self, count: int) -> str:
        """Why it would not pay to prepare anything, or an empty text."""
        layers = self.specimen.layers
        kernels = [layer for layer in layers if isinstance(self.specimen.net.get_submodule(layer.path), nn.Conv2d)]
        if len(kernels) < 2:
            return "it has no convolutions to cut between"
        cells = [(kernel.grid or (1, 1))[0] * (kernel.grid or (1, 1))[1] for kernel in kernels]
        costs = [kernel.parameters * many for kernel, many in zip(kernels, cells, strict=True)]
        if count * sum(costs) * self._grow_batch() < MIN_PREPARED_COST * len(layers):
            return "the network is small or the patches are few"
        end = min(
            (layer.order for layer in layers if isinstance(self.specimen.net.get_submodule(layer.path), UNCUTTABLE)),
            default=None,
        )
        early = sum(cost for kernel, cost in zip(kernels, costs, strict=True) if end is None or kernel.order < end)
        return "" if count * early >= PREPARATION_PASSES * sum(costs) else "too little can be left out"

    def _shares(self, patches: Sequence[Patch]) -> list[list[int]]:
        """Places of the patches that are worked on together: those of as many images as the clean maps leave room for."""
        images = sorted({patch.image for patch in patches})
        many = len(images)
        if self.tape is not None:
            each = sum(4.0 * float(np.prod(self.tape.shapes[value])) for value in self.tape.moving)
            many = max(1, int(MAX_CLEAN_BYTES // each))
        groups = [set(images[start : start + many]) for start in range(0, len(images), many)]
        return [[place for place, patch in enumerate(patches) if patch.image in group] for group in groups]

    def _record(self) -> Response:
        """The response to the first image, written down on the way."""
        sums: list[Tensor] = []
        self._recording = Recording(
            self._scores, self.x[:1], self._watching, lambda _, value: sums.append(self.sum_units(value, None))
        )
        return Response(flat_scores(self._recording.output), sums[0] if sums else None)

    def _decide(self, patches: Sequence[Patch]) -> None:
        """Make the tape, where the patches first asked about leave enough out to pay for it."""
        recording, self._recording = self._recording, None
        if recording is None:
            return
        try:
            plan = cheapest_plan(recording.draft, reachable_nodes(recording.draft), patch_spans(patches), parts=(4,))
            if len(patches) * (1 - 1 / plan.gain) >= PREPARATION_PASSES:
                self.tape = recording.tape()
            else:
                self.why = "too little can be left out"
        except RecordingFailed as error:
            self.why = str(error)

    def _cut(self, tape: Tape, patches: Sequence[Patch], units: Tensor | None) -> Response | None:
        """The responses by the cheapest plan, or None where they are not those of the network itself."""
        plan = cheapest_plan(tape, reachable_nodes(tape), patch_spans(patches))
        response = self._sweep(tape, plan, patches, units)
        if response is None:
            self.why, self.tape = "cut so, it gives other scores than the network itself", None
            return None
        self._trusted.add(plan.cut)
        self.plan = plan
        return response

    def _sweep(self, tape: Tape, plan: SweepPlan, patches: Sequence[Patch], units: Tensor | None) -> Response | None:
        """The responses by that plan; where it is new, None if the network itself gives another one."""

        def alike(job: int, tried: Response) -> bool:
            return _same_response(tried, self._loop([patches[job]], units), self.clean)

        sweep = Sweep(tape, plan, patches, self.x, units, self.sum_units)
        return sweep.response(None if plan.cut in self._trusted else alike)

    def _loop(self, patches: Sequence[Patch], units: Tensor | None) -> Response:
        """The responses by the plain loop."""
        responses: list[Response] = []
        size = self._batch()
        for start in range(0, len(patches), size):
            part = patches[start : start + size]
            chosen = None if units is None else units[[patch.image for patch in part]]
            responses.append(self._run(paste_patches(self.x, part), chosen))
        return concatenate_responses(responses)

    def _run(self, x: Tensor, units: Tensor | None) -> Response:
        sums: list[Tensor] = []

        def look(name: str, value: Tensor) -> None:
            sums.append(self.sum_units(value, units))

        with torch.no_grad(), self._watching(look):
            scores = self.specimen.logits(x)
        return Response(scores, sums[0] if sums else None)

    def sum_units(self, value: Tensor, units: Tensor | None) -> Tensor:
        """The sums over rows and cols of the watched layer's maps, (image, unit), or (image,) for one unit of each image."""
        maps = self.specimen.layer(self.specimen.find(self.at)[0]).maps(value)
        if units is None:
            return maps.sum((2, 3), dtype=torch.float64)
        at = torch.arange(len(maps), device=maps.device)
        return maps[at, units.to(maps.device)].sum((1, 2), dtype=torch.float64)

    def _scores(self, x: Tensor) -> Tensor:
        return self.specimen.logits(x)

    def _watching(self, each: Each) -> AbstractContextManager[Any]:
        return watch(self.specimen, [self.at] if self.at else [], each=each)

    def _batch(self) -> int:
        """Images in one pass of the plain loop: a power of two, so many that the largest map stays within `MAX_MAP_BYTES`."""
        largest = max(4 * float(np.prod(layer.shape)) for layer in self.specimen.layers)
        room = max(MAX_MAP_BYTES / (largest * self._grow_batch()), 1.0)
        return int(np.clip(2 ** int(np.log2(room)), *BATCH))

    def _grow_batch(self) -> float:
        """How many times more pixels the images have than the recipe's."""
        return self.x[0, 0].numel() / (self.specimen.recipe.size[0] * self.specimen.recipe.size[1])


def _same_response(tried: Response, known: Response, clean: Response) -> bool:
    """Whether one response is what the network itself gave."""
    same = _is_near(tried.scores[0], known.scores[0], clean.scores)
    if known.activity is None or tried.activity is None:
        return same and known.activity is tried.activity
    assert clean.activity is not None
    return same and _is_near(tried.activity[0], known.activity[0], clean.activity)


def _is_near(one: Tensor, other: Tensor, scale: Tensor) -> bool:
    return bool((one - other).abs().max() <= SCORE_TOLERANCE * max(float(scale.abs().max()), float(other.abs().max())))
