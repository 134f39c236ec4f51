"""Windows of the first part of a network against the same windows cut out of whole maps, computed again for every image."""

import numpy as np
import pytest
import torch

from microtome.instruments.perturbation.cutting import CleanValues, UnitSums, cut_windows
from microtome.instruments.perturbation.patches import Patch, paste_patches, patch_spans
from microtome.instruments.perturbation.planning import cheapest_plan, living_values
from microtome.instruments.perturbation.tape import INPUT, run_node, without_overwriting
from microtome.instruments.perturbation.windows import reachable_nodes
from taped_networks import small, taped

X = torch.randn(2, 3, 16, 20, generator=torch.Generator().manual_seed(0)).contiguous(memory_format=torch.channels_last)
TAPE = taped(small(), X[:1], "3")


def patches() -> list[Patch]:
    """At corners, over the middle, of one pixel and of half the image."""
    corners = [(0, 0, 0, 3, 4), (1, 13, 16, 3, 4), (0, 7, 9, 1, 1), (1, 0, 15, 9, 5), (1, 4, 0, 8, 20)]
    drawn = torch.Generator().manual_seed(1)
    return [Patch(image, top, left, torch.randn(3, rows, cols, generator=drawn)) for image, top, left, rows, cols in corners]


def whole_values(x: torch.Tensor, cut: int) -> dict[int, torch.Tensor]:
    values = {INPUT: x}
    for node in TAPE.nodes[:cut]:
        values[node.gives[0]] = run_node(without_overwriting(node), values, len(x))[0]
    return values


@pytest.mark.parametrize("cut", range(1, reachable_nodes(TAPE) + 1))
def test_windows_are_those_of_whole_maps(cut: int) -> None:
    asked = patches()
    with torch.inference_mode():
        pasted, clean = paste_patches(X, asked), CleanValues(TAPE, cut, X)
        wanted = whole_values(pasted, cut)
        images = np.array([one.image for one in asked])
        for group in cheapest_plan(TAPE, cut, patch_spans(asked), cut).groups:
            own = group.boxes[INPUT]
            first = torch.stack([
                pasted[job, :, row : row + own.size[0], col : col + own.size[1]]
                for job, row, col in zip(group.jobs, own.rows, own.cols, strict=True)
            ])  # fmt: skip
            found, _ = cut_windows(TAPE, cut, group, images[group.jobs], first, clean, None)
            assert set(found) == set(living_values(TAPE, cut)) and found
            for value, window in found.items():
                box = group.boxes[value]
                for place, job in enumerate(group.jobs):
                    row, col = int(box.rows[place]), int(box.cols[place])
                    part = wanted[value][job, :, row : row + box.size[0], col : col + box.size[1]]
                    assert torch.allclose(window[place], part, atol=1e-5)
                laid = clean.copies(value, images[group.jobs], window, box)
                assert torch.allclose(laid, wanted[value][group.jobs], atol=1e-5)  # outside the window nothing has changed


def test_the_watched_sum_changes_by_the_difference_of_whole_maps() -> None:
    cut, asked = reachable_nodes(TAPE), patches()
    watched = TAPE.watched["3"]
    with torch.inference_mode():
        pasted, clean = paste_patches(X, asked), CleanValues(TAPE, cut, X)
        images, units = np.array([one.image for one in asked]), np.array([0, 3, 1, 2, 3])
        before, after = whole_values(X, cut)[watched].sum((2, 3)), whole_values(pasted, cut)[watched].sum((2, 3))
        for group in cheapest_plan(TAPE, cut, patch_spans(asked), cut).groups:
            own = group.boxes[INPUT]
            first = torch.stack([
                pasted[job, :, row : row + own.size[0], col : col + own.size[1]]
                for job, row, col in zip(group.jobs, own.rows, own.cols, strict=True)
            ])  # fmt: skip
            sums = UnitSums(watched, units[group.jobs])
            _, change = cut_windows(TAPE, cut, group, images[group.jobs], first, clean, sums)
            assert change is not None
            for place, job in enumerate(group.jobs):
                gap = float(after[job, units[job]] - before[images[job], units[job]])
                assert float(change[place]) == pytest.approx(gap, abs=1e-4)
