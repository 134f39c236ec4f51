"""Projections of one layer's activations, and how similar they are to those of another unit, of random weights, and to edges."""

from collections.abc import Sequence
from math import nan
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F

from microtome.finding import array
from microtome.images import Images
from microtome.instruments.projection import BATCH, BackwardTrace, project_units, shown_channels, unruled_layers
from microtome.instruments.strongest_patches import PatchWindow, crop_patch, grid_position, shrunk_size
from microtome.instruments.untrained_twins import split_turns, turn_count, twins_in_turn
from microtome.numerics.maps.heat import partial_rank_correlation
from microtome.numerics.maps.strata import edge_strength
from microtome.numerics.statistics.intervals import nan_mean
from microtome.numerics.statistics.twins import TwinRange, twin_range
from microtome.specimen import Specimen

COMPARED_RANKS = 2  # strongest activations of each unit whose projections are compared with the controls
CONTROLS = ("another unit", "random weights", "edges of the image")
SIGNED_CONTROLS = ("signed unit", "signed random")
Rule = Literal["deconvnet", "guided", "gradient", "rectgrad"]
Turn = tuple[int, Specimen, np.ndarray[Any, Any]]  # number, untrained twin, the rows that it is shown


class ProjectionMaker:
    """Makes the projections of one layer, chunk by chunk, and collects their similarity to the controls."""

    def __init__(
        self, specimen: Specimen, images: Images, name: str, window: PatchWindow, rule: Rule, quantile: float, size: int
    ) -> None:
        self.specimen, self.images, self.name, self.window = specimen, images, name, window
        self.rule: Rule = rule
        self.quantile, self.size = quantile, size
        self.trace = BackwardTrace()
        self.twins = 0
        self._similarities: dict[str, list[float]] = {name: [] for name in (*CONTROLS, *SIGNED_CONTROLS)}

    def project(self, units: Any, image: Any, cell: Any) -> Any:
        """Projections float32 (unit, rank, row, col, rgb) of the activations (rank, unit); NaN where there is none."""
        rows, cols = shrunk_size(self.window.size, self.size)
        projections = np.full((image.shape[1], image.shape[0], rows, cols, 3), np.nan, np.float32)
        slots = np.argwhere(image.T >= 0)  # (index of the unit, rank)
        for compared in (True, False):
            some = slots[(slots[:, 1] < COMPARED_RANKS) == compared]
            self.twins = turn_count(self.specimen, len(some)) if compared else self.twins
            for start in range(0, len(some), BATCH):
                index = np.arange(start, min(start + BATCH, len(some)))
                turns = list(twins_in_turn(self.specimen, self.images, len(some), index)) if compared else []
                self._chunk(projections, some[index], units, image, cell, compared, turns)
        return projections

    def _chunk(
        self, projections: Any, slots: Any, units: Any, image: Any, cell: Any, compared: bool, turns: Sequence[Turn]
    ) -> None:
        indices, ranks = slots.T
        pixels = self.images.pixels(self.specimen.recipe, image[ranks, indices])
        inputs = self.images.inputs(self.specimen.recipe, image[ranks, indices])
        x = self.specimen.recipe.normalise(torch.from_numpy(inputs).to(self.specimen.device))
        unit, cells = torch.from_numpy(units[indices]), torch.from_numpy(cell[ranks, indices])
        own = project_units(self.specimen, self.name, x, unit, cells, self.rule, quantile=self.quantile, rival=compared)
        self.trace = own.passage
        cut_out = [self._crop(pixels, int(at)) for pixels, at in zip(own.pixels, cells, strict=True)]
        size = projections.shape[2:4]
        for (index, rank), crop in zip(slots, cut_out, strict=True):
            shown = shown_channels(crop.permute(2, 0, 1), self.images)
            small = F.interpolate(shown[None], size=size, mode="area")[0]
            projections[index, rank] = small.permute(1, 2, 0).numpy()
        if compared:
            random = torch.full_like(own.pixels, torch.nan)
            for _, twin, rows in turns:
                part = project_units(
                    twin, self.name, x[rows], unit[rows], cells[rows], self.rule, quantile=self.quantile, even=True
                )
                random[rows] = part.pixels
            assert own.other is not None
            edges = torch.from_numpy(edge_strength(pixels))[:, None].expand(-1, x.shape[1], -1, -1)
            for index, at in enumerate(cells):
                controls = [self._crop(values, int(at)) for values in (own.other[index], random[index], edges[index])]
                self._compare(cut_out[index], controls, self._distances(int(at)))

    def _crop(self, pixels: torch.Tensor, at: int) -> torch.Tensor:
        """The window of a position cut out of `pixels` (channel, row, col), as (row, col, channel); zero outside the image."""
        row, col = grid_position(self.window, np.array(at))
        return torch.from_numpy(crop_patch(pixels.permute(1, 2, 0).numpy(), self.window, int(row), int(col), (0,)))

    def _distances(self, at: int) -> torch.Tensor:
        """The distance of each pixel of a window from its centre, px (row, col); NaN outside the image."""
        row, col = grid_position(self.window, np.array(at))
        down, across = self.window.centre(int(row), int(col))
        rows, cols = self.window.picture
        distance = np.hypot(np.arange(rows)[:, None] - down, np.arange(cols)[None] - across)
        return torch.from_numpy(crop_patch(distance[..., None], self.window, int(row), int(col), (np.nan,)))[..., 0]

    def _compare(self, own: torch.Tensor, controls: Sequence[torch.Tensor], distance: torch.Tensor) -> None:
        inside = ~distance.isnan()
        mine, *others = (values[inside].double() for values in (own, *controls))
        sizes = [values.abs().sum(1) for values in (mine, *others)]
        for name, size in zip(CONTROLS, sizes[1:], strict=True):
            known = bool(size.isfinite().all())  # not where there is no untrained twin
            correlation = partial_rank_correlation(sizes[0], size, distance[inside]) if known else nan
            self._similarities[name].append(float(correlation))
        for name, other in zip(SIGNED_CONTROLS, others, strict=False):
            norms = mine.norm() * other.norm()
            self._similarities[name].append(float((mine * other).sum() / norms) if norms > 0 else float("nan"))

    def control_similarity(self) -> dict[str, float]:
        """Mean similarity by control; NaN where nothing could be compared."""
        known = {name: [value for value in values if np.isfinite(value)] for name, values in self._similarities.items()}
        return {name: float(np.mean(values)) if values else nan for name, values in known.items()}

    def twin_similarity(self) -> TwinRange:
        """The similarity to random weights: mean over the untrained twins, smallest and largest of one."""
        turns = split_turns(np.array(self._similarities["random weights"]), self.twins)
        return twin_range([nan_mean(turn) for turn in turns] or [np.array(nan)])


def control_arrays(names: Sequence[str], makers: Sequence[ProjectionMaker]) -> dict[str, Any]:
    """How similar the projections of each layer are to the controls, and the operations that its signal passed."""
    layers = {"layer": list(names)}
    traces, similarities = [maker.trace for maker in makers], [maker.control_similarity() for maker in makers]
    random = [maker.twin_similarity() for maker in makers]
    likeness = [[similarity[control] for control in CONTROLS] for similarity in similarities]
    signed = [[similarity[control] for control in SIGNED_CONTROLS] for similarity in similarities]
    return {
        "likeness": array(np.array(likeness), ("layer", "measure"), "rank correlation", layers | {"measure": list(CONTROLS)}),
        "signed_likeness": array(
            np.array(signed), ("layer", "measure"), "cosine", layers | {"measure": list(CONTROLS[:2])}, "cosine with"
        ),
        "random_low": array(
            [float(of_layer.low) for of_layer in random],
            ("layer",),
            "rank correlation",
            layers,
            "smallest of the untrained twins",
        ),
        "random_high": array(
            [float(of_layer.high) for of_layer in random],
            ("layer",),
            "rank correlation",
            layers,
            "largest of the untrained twins",
        ),
        "rectifiers": array([trace.rectifiers for trace in traces], ("layer",), "operations", layers, "rectifiers"),
        "gates": array([trace.gates for trace in traces], ("layer",), "operations", layers, "gates and divisors held constant"),
        "curved": array(np.array(unruled_layers(traces), dtype=object), ("layer",), "text", layers, "differentiated"),
    }
