"""Projections against controls: each compared activation in one twin, in turn, and what is known without twins."""

import numpy as np
import pytest
import torch

import microtome as mt
from microtome.analyses.deconvnet.projections import ProjectionMaker, control_arrays
from microtome.instruments.strongest_patches import patch_windows
from microtome.numerics.statistics.twins import twin_range

UNITS = np.array([0, 1])
IMAGES = np.array([[0, 3], [1, 2], [2, 5]])  # (rank, unit): two ranks are compared, the third is not
CELLS = np.array([[5, 9], [7, 6], [10, 11]])


def made(net: mt.Specimen, pics: mt.Images, twins: int) -> ProjectionMaker:
    specimen = net.with_twins(twins)
    maker = ProjectionMaker(specimen, pics, "blocks.1", patch_windows(net, ["blocks.1"])["blocks.1"], "guided", 0.98, 64)
    maker.project(UNITS, IMAGES, CELLS)
    return maker


def test_activations_are_compared_in_one_twin_each(net: mt.Specimen, pics: mt.Images) -> None:
    """Four compared activations, (unit 0, rank 1), (0, 2), (1, 1), (1, 2), and two twins: the first and third are of the first twin."""
    maker = made(net, pics, 2)
    assert maker.twins == 2
    values = maker._similarities["random weights"]
    assert len(values) == 4
    each = [np.mean(values[0::2]), np.mean(values[1::2])]
    expected = twin_range(np.array(each))
    assert [float(end) for end in maker.twin_similarity()] == pytest.approx([float(end) for end in expected])
    swapped = made(net, pics, 4)._similarities["random weights"]
    assert swapped[:2] == values[:2] and swapped[2:] != values[2:]  # twins 1 and 2 of both, then 3 and 4
    arrays = control_arrays(["blocks.1"], [maker])
    assert arrays["random_low"].item() == pytest.approx(min(each)) and arrays["random_high"].item() == pytest.approx(max(each))
    assert arrays["likeness"].sel(measure="random weights").item() == pytest.approx(np.mean(values))


def test_pixels_outside_the_image_are_not_compared(net: mt.Specimen, pics: mt.Images) -> None:
    maker = made(net, pics, 2)
    rows, cols = maker.window.size
    distance = maker._distances(0)  # the upper left position: its window reaches beyond the image
    assert distance.shape == (rows, cols) and bool(torch.isnan(distance[0, 0])) and not bool(torch.isnan(distance).all())
