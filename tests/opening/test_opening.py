import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import microtome.networks as networks
from microtome.errors import BadOption, MicrotomeError, SpecimenError, UnknownName
from microtome.opening.opening import open as open_specimen
from microtome.specimen import Specimen, tap, watch

FACTORY = """
from torch import nn

def small(width=4, num_classes=3, bad=False):
    if bad:
        raise ValueError("bad was asked for")
    trunk = nn.Conv2d(3, width, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    return nn.Sequential(*trunk, nn.Linear(width, num_classes))

def wrong():
    return 7

ready = small(5)
text = "no network"
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "my_nets.py").write_text(FACTORY)
    (tmp_path / "broken_nets.py").write_text("import no_such_library\n")
    (tmp_path / "syntax_nets.py").write_text("def (:\n")
    monkeypatch.chdir(tmp_path)
    yield tmp_path  # type: ignore[misc]
    sys.modules.pop("my_nets", None)


def test_names_recipes_and_labels_of_libraries() -> None:
    net = open_specimen("timm:resnet18", weights=None)
    assert (net.name, net.weights, net.trained) == ("timm:resnet18", "untrained (seed 0)", False)
    # timm's configuration of resnet18.a1_in1k
    assert (net.recipe.size, net.recipe.crop, net.recipe.interpolation) == ((224, 224), 0.95, "bicubic")
    assert net.labels is not None
    assert net.wordnet is not None
    assert (len(net.labels), net.wordnet[0], net.labels[0][:5]) == (1000, "n01440764", "tench")
    other = open_specimen("torchvision:squeezenet1_1", weights=None)
    assert other.recipe.size == (224, 224)
    assert other.recipe.crop == pytest.approx(224 / 256)
    assert other.labels is not None
    assert other.wordnet is not None
    assert (other.labels[1], other.wordnet[1]) == ("goldfish", "n01443537")


def test_changed_heads_have_no_labels() -> None:
    assert open_specimen("timm:test_resnet", weights=None, num_classes=5).labels is None
    assert open_specimen("torchvision:squeezenet1_1", weights=None, num_classes=5).labels is None
    with_background = open_specimen("timm:test_resnet", weights=None, labels=["a", "b"])
    assert with_background.labels == ("a", "b")
    assert any("2 labels for 1000 outputs" in note for note in with_background.notes)


def test_bare_names_are_resolved_and_it_is_said() -> None:
    net = open_specimen("squeezenet1_1", weights=None)
    assert net.name == "torchvision:squeezenet1_1"
    assert any("was taken as torchvision:squeezenet1_1" in note for note in net.notes)
    own = open_specimen(networks.NAMES[0], weights=None)
    assert own.name == f"microtome:{networks.NAMES[0]}"


@pytest.mark.parametrize("name", networks.NAMES)
def test_own_networks(name: str) -> None:
    net = open_specimen(f"microtome:{name}", weights=None)
    assert (net.recipe.size, net.recipe.mean, net.recipe.std, net.recipe.crop) == (
        networks.SIZE,
        networks.MEAN,
        networks.STD,
        1.0,
    )
    assert net.family == networks.FAMILIES[name]
    assert net.outputs == 10
    assert len(net.blocks) >= 3
    for word in ("shallow", "middle", "deep", "last3"):
        assert net.find(word)


def test_untrained_weights_depend_on_the_seed_only() -> None:
    torch.manual_seed(1)
    first = open_specimen("timm:test_resnet", weights="none", seed=5)
    torch.manual_seed(2)
    state = torch.get_rng_state()
    again = open_specimen("timm:test_resnet", weights=None, seed=5)
    assert torch.equal(torch.get_rng_state(), state)
    assert first.digest() == again.digest()
    assert first.digest() != open_specimen("timm:test_resnet", weights=None, seed=6).digest()


def test_factories(folder: Path) -> None:
    before = list(sys.path)
    net = open_specimen("my_nets:small", recipe=16)
    assert (net.trained, net.outputs, net.name) == (None, 3, "my_nets:small")
    assert sys.path == before
    assert open_specimen("my_nets:small(width=6, num_classes=9)", recipe=16).outputs == 9
    assert open_specimen(f"{folder}/my_nets.py:small(width=6)", recipe=16, num_classes=2).outputs == 2
    assert open_specimen("my_nets:ready", recipe=16).layer("0").units == 5
    fresh = open_specimen("my_nets:small", weights=None, seed=3, recipe=16)
    assert (fresh.trained, fresh.weights) == (False, "untrained (seed 3)")
    assert fresh.digest() == open_specimen("my_nets:small", weights=None, seed=3, recipe=16).digest()
    assert open_specimen("torch.nn:Identity").net is not None


@pytest.mark.parametrize(
    ("what", "error", "message"),
    [
        ("my_nets:smal", UnknownName, "Did you mean 'small'"),
        ("my_net:small", UnknownName, "Did you mean 'my_nets'"),
        ("my_nets.py", BadOption, "which function"),
        ("gone.py:small", UnknownName, "There is no file"),
        ("my_nets:wrong", SpecimenError, "int, not an nn.Module"),
        ("my_nets:text", SpecimenError, "str"),
        ("my_nets:small(3)", BadOption, "key=value"),
        ("my_nets:small(width=)", BadOption, "cannot be read"),
        ("my_nets:small(width=print('x'))", BadOption, "cannot be read"),
        ("my_nets:small(depth=3)", BadOption, "depth"),
        ("my_nets:small(bad=True)", SpecimenError, "bad was asked for"),
        ("broken_nets:small", SpecimenError, "no_such_library"),
        ("syntax_nets:small", SpecimenError, "SyntaxError"),
        ("timm:", UnknownName, "names no network"),
        ("timm:resnet5O", UnknownName, "'resnet50'"),
        ("timm:resnet18.a9_in1k", UnknownName, "a1_in1k"),
        ("torchvision:resnet81", UnknownName, "resnet18"),
        ("microtome:mini_vg", UnknownName, "mini_vgg"),
        ("resnt50", UnknownName, "resnet50"),
    ],
)
def test_wrong_names_say_what_would_do(folder: Path, what: str, error: type[MicrotomeError], message: str) -> None:
    with pytest.raises(error) as caught:
        open_specimen(what, weights=None)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_options_are_checked(tiny: Callable[..., nn.Module]) -> None:
    with pytest.raises(BadOption, match="frobnicate"):
        open_specimen("timm:test_resnet", weights=None, frobnicate=1)
    with pytest.raises(BadOption, match="depth"):
        open_specimen(tiny(), depth=3)
    with pytest.raises(BadOption, match="twin"):
        open_specimen(tiny(), weights=None)
    with pytest.raises(UnknownName, match="'wider'"):
        open_specimen(tiny(), family="widr")
    with pytest.raises(BadOption, match="cpu"):
        open_specimen(tiny(), device="cuda:99")


def test_the_module_given_is_the_module_used_and_left_alone(tiny: Callable[..., nn.Module]) -> None:
    mine = tiny()
    mine.stem.requires_grad_(False)  # type: ignore[union-attr]
    mine(torch.randn(1, 3, 32, 32)).sum().backward()

    def facts() -> list[Any]:
        parameters = [
            (name, value.requires_grad, None if value.grad is None else value.grad.sum().item())
            for name, value in mine.named_parameters()
        ]
        modules = [(module.training, len(module._forward_hooks), len(module._forward_pre_hooks)) for module in mine.modules()]
        return [parameters, modules, {name: value.sum().item() for name, value in mine.state_dict().items()}]

    before = facts()
    net = open_specimen(mine, recipe=32)
    assert net.net is mine
    x = torch.randn(2, 3, 32, 32)
    with watch(net, "*"):
        net.net(x)
    with tap(net, "blocks.1, stem") as taps:
        taps.gradients(net.logits(x)[:, 0])
    assert facts() == before
    net.twin()
    assert facts() == before


def test_a_module_in_training_mode_is_copied(tiny: Callable[..., nn.Module]) -> None:
    mine = tiny().train()
    net = open_specimen(mine, recipe=32)
    assert net.net is not mine
    assert mine.training
    assert mine.blocks.training  # type: ignore[union-attr]
    assert not any(module.training for module in net.net.modules())
    assert any("training mode" in note for note in net.notes)
    partly = tiny()
    partly.head.train()  # type: ignore[union-attr]
    assert open_specimen(partly, recipe=32).net is not partly


def test_wrappers_whose_hooks_never_fire_are_opened(tiny: Callable[..., nn.Module]) -> None:
    mine = tiny()
    net = open_specimen(nn.DataParallel(mine).eval(), recipe=32)
    assert net.net is mine
    assert any("DataParallel" in note for note in net.notes)


def test_digest_sees_values_buffers_and_structure(tiny: Callable[..., nn.Module]) -> None:
    one = open_specimen(tiny(), recipe=32).digest()
    assert one == open_specimen(tiny(), recipe=64).digest()
    assert one != open_specimen(tiny(scales=(1.0, 1.0)), recipe=32).digest()
    changed = tiny()
    with torch.no_grad():
        changed.head.bias[3] += 1e-6  # type: ignore[union-attr, index]
    assert one != open_specimen(changed, recipe=32).digest()
    norm = nn.Sequential(nn.Conv2d(3, 2, 1), nn.BatchNorm2d(2)).eval()
    before = open_specimen(norm, recipe=8).digest()
    norm[1].running_mean.add_(1)  # type: ignore[union-attr, operator]
    assert before != open_specimen(norm, recipe=8).digest()
    relu, gelu = (nn.Sequential(nn.Conv2d(3, 2, 1), act).eval() for act in (nn.ReLU(), nn.GELU()))
    gelu.load_state_dict(relu.state_dict())
    assert open_specimen(relu, recipe=8).digest() != open_specimen(gelu, recipe=8).digest()
    strided = nn.Sequential(nn.Conv2d(3, 2, 1, stride=2), nn.ReLU()).eval()
    strided.load_state_dict(relu.state_dict())
    assert open_specimen(relu, recipe=8).digest() != open_specimen(strided, recipe=8).digest()


def test_moving_gives_a_copy(net: Specimen) -> None:
    moved = net.to("cpu")
    assert moved.net is not net.net
    assert moved.digest() == net.digest()
    with pytest.raises(BadOption, match="device"):
        net.to("nonsense")


def test_changed_networks_keep_recipe_and_labels(net: Specimen, tiny: Callable[..., nn.Module]) -> None:
    changed = net.with_net(tiny(scales=(1.0, 1.0)), name="Tiny without blocks.2", remarks=["One block was taken out."])
    assert len(changed.blocks) == 2
    assert changed.recipe == net.recipe
    assert "One block was taken out." in changed.notes
    assert len(net.blocks) == 3
    assert changed.twin(3).digest() != changed.digest()


def test_residual_branches_that_are_switched_off_are_noted() -> None:
    net = open_specimen("timm:resnet18", weights=None)
    assert any("8 of 20 norms" in note and "only the shortcuts pass" in note for note in net.notes)
    assert not any("shortcuts" in note for note in net.twin().notes)
    lively = open_specimen("timm:resnet18", weights=None, zero_init_last=False)
    assert not any("shortcuts" in note for note in lively.notes)


def test_run_has_no_gradients_and_logits_may(net: Specimen) -> None:
    x = torch.randn(2, 3, 32, 32)
    assert not net.run(x).requires_grad
    assert net.logits(x).requires_grad
    np.testing.assert_array_equal(net.run(x).numpy(), net.logits(x).detach().numpy())
