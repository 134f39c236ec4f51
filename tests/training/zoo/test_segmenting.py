"""Learning a class for every pixel: targets move with their pixels, the loss falls, and judging agrees with a count by hand."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from microtome.errors import BadOption
from microtome.training.zoo.data import SceneSeries, scene_series
from microtome.training.zoo.judging import load_network, pixel_scores
from microtome.training.zoo.loop import Motion, _training_batch, train_zoo_network
from microtome.training.zoo.recipes import ZooRecipe

SMALL = ZooRecipe(network="mini_deeplab", epochs=2, count=16, batch=8, warmup=0.0, halved=0.0, precision="32-true")


@pytest.fixture(scope="module")
def few() -> SceneSeries:
    return scene_series(16, seed=77, masks=True)


def test_targets_move_with_their_pixels(few: SceneSeries) -> None:
    assert few.targets is not None
    marked = replace(few, pixels=np.repeat(few.targets[..., None] * 20, 3, -1).astype(np.uint8))
    x, wanted = _training_batch(marked, np.arange(16), SMALL, torch.Generator().manual_seed(4))
    assert wanted.shape == (16, 64, 64)
    assert wanted.dtype == torch.int64
    # -2 is black: only what was painted lies above it, whatever its colour was multiplied by (0.9 to 1.1)
    assert torch.equal(x[:, 0] > -1.9, wanted > 0)
    still = torch.from_numpy(few.targets)
    assert not torch.equal(wanted, still.long())


def test_a_motion_by_hand() -> None:
    values = torch.arange(6).reshape(1, 2, 3)  # rows 0 1 2 and 3 4 5
    assert Motion(torch.tensor([False]), 1, 0)(values).tolist() == [[[3, 4, 5], [3, 4, 5]]]
    assert Motion(torch.tensor([True]), 0, -1)(values).tolist() == [[[2, 2, 1], [5, 5, 4]]]


def test_the_loss_falls_on_a_handful_of_masks(few: SceneSeries, tmp_path: Path) -> None:
    losses: list[float] = []
    plan = replace(SMALL, epochs=12, lr=1e-2, smoothing=0.0, options={"rates": (1, 3), "units": (24,)})
    path = train_zoo_network(plan, tmp_path, data=few, progress=lambda event: losses.append(event["loss"]))
    assert losses[0] > 1.2  # eleven classes: an answer without knowledge costs log 11 = 2.40, and most pixels are background
    assert losses[-1] < 0.6 * losses[0]
    assert path.name == "mini_deeplab.safetensors"
    assert plan.json()["options"] == {"rates": [1, 3], "units": [24]}
    assert "options" not in SMALL.json()


def test_a_stopped_run_resumes_bit_for_bit(few: SceneSeries, tmp_path: Path) -> None:
    whole = train_zoo_network(SMALL, tmp_path / "whole", data=few)
    train_zoo_network(SMALL, tmp_path / "parts", data=few, stop_after=1)
    assert train_zoo_network(SMALL, tmp_path / "parts", data=few).read_bytes() == whole.read_bytes()
    assert load_network("mini_deeplab", whole)(torch.zeros(1, 3, 64, 64)).shape == (1, 11, 64, 64)


def test_without_targets_nothing_is_learnt_or_judged(few: SceneSeries, tmp_path: Path) -> None:
    for plan, data in ((SMALL, replace(few, targets=None)), (replace(SMALL, halved=0.5), few)):
        with pytest.raises(BadOption, match="needs scenes with targets"):
            train_zoo_network(plan, tmp_path, data=data)
    with pytest.raises(BadOption, match="have no class for their pixels"):
        pixel_scores(nn.Identity(), replace(few, targets=None))
