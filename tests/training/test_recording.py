"""Recording during a plain loop: what is due, the network left alone, one growing report, and findings over the checkpoints."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch.nn import functional

import microtome as mt
from microtome.errors import BadOption, UnknownName
from microtome.finding import Finding
from microtome.training.recording import record
from tiny_trainables import conv_net

IMAGES = mt.Images.scenes(12, size=16)
RECIPE = {"size": 16, "crop": 1.0}


def test_powers_of_two_or_every_so_many_epochs_are_due(tmp_path: Path) -> None:
    net = conv_net()
    powers, second = (record(net, IMAGES, every=every, out=tmp_path) for every in ("powers", 2))  # type: ignore[arg-type]
    assert [epoch for epoch in range(18) if powers.due(epoch)] == [0, 1, 2, 4, 8, 16]
    assert [epoch for epoch in range(7) if second.due(epoch)] == [0, 2, 4, 6]
    assert powers.step(3) == []
    assert not list(tmp_path.iterdir())


def test_a_plain_loop_is_recorded_and_left_alone(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = conv_net()
    optimiser = torch.optim.SGD(net.parameters(), lr=0.1)
    recorder = record(
        net.train(), IMAGES, every=1, analyses=["weights", "evolution"], out=tmp_path, recipe=RECIPE, name="mine", twins=0, device="cpu",
        settings={"evolution": {"at": "0,3"}},
    )  # fmt: skip
    weights: list[dict[str, torch.Tensor]] = []
    for epoch in range(3):
        weights.append({name: value.clone() for name, value in net.state_dict().items()})
        state, numbers = torch.get_rng_state(), np.random.get_state()[1].copy()  # type: ignore[union-attr]
        with torch.no_grad():
            findings = recorder.step(epoch)
        assert [finding.analysis for finding in findings] == ["weights", "evolution"][: 1 + (epoch > 0)]
        assert torch.equal(torch.get_rng_state(), state)
        assert np.array_equal(np.random.get_state()[1], numbers)
        assert all(part.training for part in net.modules())
        assert not any(part._forward_hooks for part in net.modules())
        functional.cross_entropy(net(torch.randn(8, 3, 16, 16)), torch.arange(8)).backward()
        optimiser.step()
    for epoch, expected in enumerate(weights):
        kept = load_file(tmp_path / "checkpoints" / f"epoch-{epoch:04d}.safetensors")
        assert all(torch.equal(kept[name], value) for name, value in expected.items())
    assert {place.parent.parent.parent.name for place in tmp_path.glob("*/weights/*/finding.json")} == {
        "mine-at-epoch-0000", "mine-at-epoch-0001", "mine-at-epoch-0002",
    }  # fmt: skip
    evolution = findings[-1]
    assert isinstance(evolution, Finding)
    assert any(array.sizes.get("checkpoint") == 3 for array in evolution.arrays.values())
    page = (tmp_path / "report.html").read_text()
    assert all(f"mine at epoch {epoch:04d}" in page for epoch in range(3))


def test_wrong_calls_are_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(BadOption, match="every is 0"):
        record(conv_net(), IMAGES, every=0, out=tmp_path)
    with pytest.raises(BadOption, match=r"takes the nn.Module"):
        record("timm:resnet18", IMAGES, out=tmp_path)  # type: ignore[arg-type]
    with pytest.raises(UnknownName, match="Did you mean 'evolution'"):
        record(conv_net(), IMAGES, analyses=["evolutoin"], out=tmp_path)
