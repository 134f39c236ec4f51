"""The resume state: everything comes back as it was, and what belongs to another training is refused."""

from pathlib import Path

import pytest
import torch
from torch import nn

from microtome.errors import CheckpointError
from microtome.training.state import RunProgress, load_state, save_state


def pair() -> tuple[nn.Module, torch.optim.Optimizer]:
    net = nn.Linear(3, 2)
    return net, torch.optim.AdamW(net.parameters(), lr=0.1)


def test_network_optimiser_and_progress_come_back(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net, optimiser = pair()
    net(torch.ones(1, 3)).sum().backward()
    optimiser.step()
    progress = RunProgress(epoch=2, step=5, loss_sum=1 / 3, curves=[{"epoch": 1, "loss": 0.1 + 0.2}])
    save_state(tmp_path / "state.pt", "key", net, [optimiser], progress)
    other, fresh = pair()
    assert load_state(tmp_path / "state.pt", "key", other, [fresh]) == progress
    assert all(torch.equal(other.state_dict()[name], value) for name, value in net.state_dict().items())
    ours, theirs = optimiser.state_dict()["state"][0], fresh.state_dict()["state"][0]
    assert all(torch.equal(theirs[name], ours[name]) for name in ours)


def test_without_a_file_it_starts_and_a_strange_one_is_refused(tmp_path: Path) -> None:
    net, optimiser = pair()
    path = tmp_path / "state.pt"
    assert load_state(path, "key", net, [optimiser]) == RunProgress()
    save_state(path, "key", net, [optimiser], RunProgress())
    with pytest.raises(CheckpointError, match="another recipe, or of images that have changed"):
        load_state(path, "other", net, [optimiser])
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(CheckpointError, match="is damaged"):
        load_state(path, "key", net, [optimiser])
