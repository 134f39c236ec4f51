"""The mini zoo: sizes, shapes, registry, and cards that agree with the weights beside them."""

import json
from itertools import pairwise

import numpy as np
import pytest
import torch
from safetensors import safe_open
from torch import nn

from microtome import networks
from microtome.errors import UnknownName
from microtome.images.scenes import CLASSES
from microtome.training.zoo.data import SceneSeries, scene_series
from microtome.training.zoo.judging import AREAS, accuracy_interval, load_network, multiply_adds, predict_classes
from microtome.training.zoo.recipes import RECIPES


@pytest.fixture(scope="module")
def unseen() -> SceneSeries:
    return scene_series(300, seed=3_000_017)  # neither the seed that networks learn from nor the one their cards are made on


@pytest.mark.parametrize("name", networks.NAMES)
def test_small_enough_to_ship_and_shaped_for_scenes(name: str) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = networks.build(name).eval()
    assert sum(one.numel() for one in net.parameters()) <= 480_000
    assert networks.weights_file(name).stat().st_size <= 2_000_000
    assert multiply_adds(net) <= 21_000_000
    assert net(torch.zeros(2, 3, *networks.SIZE)).shape == (2, len(CLASSES))


@pytest.mark.parametrize("name", networks.NAMES)
def test_the_shipped_weights_know_unseen_scenes(name: str, unseen: SceneSeries) -> None:
    right = float((predict_classes(load_network(name, networks.weights_file(name)), unseen) == unseen.labels).mean())
    assert right >= 0.80
    low, high = networks.weights_card(name)["interval"]
    spread = 3 * np.sqrt(0.8 * 0.2 / 300)  # three standard deviations of a share of 300 at its widest here
    assert low - spread <= right <= high + spread


@pytest.mark.parametrize("name", networks.NAMES)
def test_the_card_agrees_with_the_file_and_with_itself(name: str) -> None:
    card = networks.weights_card(name)
    net = networks.build(name)
    assert card["name"] == name
    assert card["family"] == networks.FAMILIES[name]
    assert card["parameters"] == sum(one.numel() for one in net.parameters())
    assert card["macs"] == multiply_adds(net)
    assert card["accuracy"] >= 0.85
    assert card["accuracy"] == card["right"] / card["judged"]
    assert card["interval"] == pytest.approx(accuracy_interval(card["right"], card["judged"]))
    assert [one["area"] for one in card["by_area"]] == [list(pair) for pair in pairwise(AREAS)]
    assert sum(one["count"] for one in card["by_area"]) == card["judged"] >= 2_000
    assert sum(one["right"] for one in card["by_area"]) == card["right"]
    assert card["scenes"]["learn_seed"] != card["scenes"]["judge_seed"]
    assert name in card["command"]
    assert card["recipe"] == RECIPES[name].json()
    with safe_open(networks.weights_file(name), "pt") as file:
        assert json.loads(file.metadata()["recipe"]) == card["recipe"]


@pytest.mark.parametrize("name", networks.NAMES)
def test_weights_are_float32_and_finite(name: str) -> None:
    tensors = load_network(name, networks.weights_file(name)).state_dict()
    assert len(tensors) > 10
    for tensor in tensors.values():
        assert tensor.dtype in (torch.float32, torch.int64)
        assert torch.isfinite(tensor).all()


def test_the_same_seed_builds_the_same_network() -> None:
    nets = []
    for _ in range(2):
        with torch.random.fork_rng():
            torch.manual_seed(4)
            nets.append(networks.build("mini_resnet").state_dict())
    assert nets[0].keys() == nets[1].keys() and len(nets[0]) > 10
    assert all(torch.equal(nets[0][key], nets[1][key]) for key in nets[0])


def test_options_reach_the_factory() -> None:
    assert networks.build("mini_vgg", num_classes=3)(torch.zeros(2, 3, 64, 64)).shape == (2, 3)
    last = networks.build("mini_resnet", zero_init_last=False).get_submodule("layer4.1.bn2")
    assert float(last.weight.detach().min()) == 1.0


def test_an_unknown_network_names_the_nearest() -> None:
    for ask in (networks.build, networks.weights_card, networks.weights_file):
        with pytest.raises(UnknownName, match="Did you mean 'mini_densenet'"):
            ask("mini_densnet")


@pytest.mark.parametrize(
    ("name", "blocks"),
    [
        ("mini_resnet", ("layer4.0", "layer4.1", "layer4.2")),
        ("mini_seresnet", ("layer4.0", "layer4.1", "layer4.2")),
        ("mini_inception", ("Mixed_7a", "Mixed_7b", "Mixed_7c")),
        ("mini_hrnet", ("stage3.0", "stage3.1", "stage3.2")),
        ("mini_deit", ("blocks.3", "blocks.4", "blocks.5")),
        ("mini_vgg", ("features.17", "features.20", "features.23")),
        ("mini_densenet", ("features.denseblock3.denselayer4", "features.denseblock3.denselayer6")),
    ],
)
def test_the_last_stage_has_blocks_to_compare(name: str, blocks: tuple[str, ...]) -> None:
    net = networks.build(name)
    assert all(isinstance(net.get_submodule(one), nn.Module) for one in blocks)


def test_a_shape_keeping_block_can_be_taken_out() -> None:
    net = networks.build("mini_inception")
    net.Mixed_7b = nn.Identity()
    assert net(torch.zeros(2, 3, 64, 64)).shape == (2, 10)


def test_only_the_gated_network_has_gates() -> None:
    gates = {
        name: [path for path, _ in networks.build(name).named_modules() if path.endswith(".se")] for name in networks.NAMES
    }
    assert len(gates.pop("mini_seresnet")) == 7  # one in each of 1 + 1 + 2 + 3 blocks
    assert not any(gates.values())
