"""Networks ready to be trained: a head of the right size, first weights by seed, published weights where they fit, edits, sizes."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

import microtome as mt
from microtome.errors import BadOption
from microtome.training.network import freeze_all_but, open_network, open_trained, predicts_pixels, train_mode
from microtome.training.recipe import NetworkChoice


def test_the_head_has_an_output_for_each_class_and_the_seed_draws_the_weights() -> None:
    one, same, other = (open_network(NetworkChoice(name="mini_resnet"), 7, seed, 32) for seed in (0, 0, 1))
    assert (one.outputs, one.recipe.size, one.recipe.crop) == (7, (32, 32), 1.0)
    assert one.digest() == same.digest() != other.digest()
    assert open_network(NetworkChoice(name="tiny_trainables:conv_net", classes=9), 7, 0, 16).outputs == 9


def test_layers_that_edits_bring_are_drawn_by_the_seed_too() -> None:
    choice = NetworkChoice(name="mini_resnet", edits=("squeeze_excitation:ratio=8,start=random",))
    one, other = (open_network(choice, 10, seed, 32).net for seed in (0, 1))
    gates = [
        name for name, _ in one.named_parameters() if name not in dict(mt.open("mini_resnet", None).net.named_parameters())
    ]
    assert gates
    differ = [not torch.equal(one.get_parameter(name), other.get_parameter(name)) for name in gates if name.endswith("weight")]
    assert any(differ)


def test_published_weights_are_taken_where_they_fit_and_the_head_is_fresh() -> None:
    shipped = mt.open("mini_vgg")
    specimen = open_network(NetworkChoice(name="mini_vgg", weights="default"), 4, 0)
    state, own = shipped.net.state_dict(), specimen.net.state_dict()
    changed = [name for name in own if state[name].shape != own[name].shape]
    assert changed == [f"{shipped.head}.weight", f"{shipped.head}.bias"]
    assert all(torch.equal(own[name], state[name]) for name in own if name not in changed)
    assert specimen.recipe == shipped.recipe


def test_a_factory_without_the_option_must_fit_by_itself() -> None:
    assert open_network(NetworkChoice(name="tiny_trainables:fixed_net"), 3, 0, 16).outputs == 3
    with pytest.raises(BadOption, match=r"gives 3 outputs, and 5 are wanted"):
        open_network(NetworkChoice(name="tiny_trainables:fixed_net"), 5, 0, 16)
    with pytest.raises(BadOption, match=r"network.classes is 2, and the images have 5"):
        open_network(NetworkChoice(name="mini_vgg", classes=2), 5, 0)


def test_a_size_that_the_network_cannot_take_is_one_sentence() -> None:
    with pytest.raises(BadOption) as raised:
        open_network(NetworkChoice(name="timm:vit_tiny_patch16_224"), 3, 0, 64)
    assert "does not take images of 64 x 64 px: it runs on 224 x 224 px; give that as data.size, or the option" in str(
        raised.value
    )
    assert "\n" not in str(raised.value)


def test_networks_for_pixels_are_known() -> None:
    assert predicts_pixels(NetworkChoice(name="tiny_trainables:map_net"), 0, 16)
    assert not predicts_pixels(NetworkChoice(name="tiny_trainables:conv_net"), 0, 16)


def test_a_frozen_network_trains_its_head_alone() -> None:
    net = open_network(NetworkChoice(name="tiny_trainables:conv_net"), 3, 0, 16).net
    freeze_all_but(net, "8")
    train_mode(net, "8")
    assert [name for name, parameter in net.named_parameters() if parameter.requires_grad] == ["8.weight", "8.bias"]
    assert [name for name, part in net.named_children() if part.training] == ["8"]  # norms keep their statistics
    train_mode(net, None)
    assert all(part.training for part in net.modules())


def test_a_file_is_opened_by_itself_or_by_the_name_of_its_network(tmp_path: Path) -> None:
    for name, size in (("mini_resnet", 32), ("tiny_trainables:conv_net", 16)):
        specimen = replace(open_network(NetworkChoice(name=name), 5, 0, size), names=(tuple("abcde"), None))
        path = specimen.save(tmp_path / "a.safetensors")
        again = open_trained(NetworkChoice(name=name), {"num_classes": 5}, path)
        assert again.digest() == specimen.digest()
        assert (again.recipe, again.labels) == (specimen.recipe, tuple("abcde"))
