"""Who can build a network: libraries, our own, and functions of the user, with their options and what is wrong with them."""

import sys
from pathlib import Path

import pytest
import torch

from microtome.errors import BadOption, MicrotomeError, SpecimenError, UnknownName
from microtome.opening import factories
from microtome.opening.opening import open as open_specimen

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
        ("my_nets.py", BadOption, "name the function in it"),
        ("gone.py:small", UnknownName, "There is no file"),
        ("my_nets:wrong", SpecimenError, "int, not an nn.Module"),
        ("my_nets:text", SpecimenError, "str"),
        ("my_nets:small(3)", BadOption, "key=value"),
        ("my_nets:small(width=)", BadOption, "cannot be read"),
        ("my_nets:small(width=print('x'))", BadOption, "not a plain value"),
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


def test_a_factory_says_how_to_build_it_again_from_another_folder(folder: Path) -> None:
    made = factories.code_factory("my_nets.py:small(width=6)", {"num_classes": 2})
    assert made.json() == {"what": f"{folder}/my_nets.py:small(width=6)", "options": {"width": 6, "num_classes": 2}}
    assert factories.code_factory("my_nets:small", {}).json() == {"what": "my_nets:small", "options": {}}
    assert (made.accepts("bad"), made.accepts("colour")) == (True, False)
    assert made.with_options(width=7, bad=True).options == {"width": 7, "num_classes": 2, "bad": True}
    assert (made.draws_from_seed, factories.own_factory("mini_vgg", {}).draws_from_seed) == (False, True)


def test_a_fresh_network_has_its_residual_branches_switched_on() -> None:
    """timm starts the last norm of each block at zero unless told otherwise."""
    factory = factories.timm_factory("resnet18", {})
    assert factory.without_weights().options.get("pretrained", False) is False
    fresh = factory.fresh(3)
    assert [float(fresh.get_submodule(f"layer{i}.0.bn2").weight.detach().mean()) for i in (1, 4)] == [1.0, 1.0]
    assert float(factory.without_weights().build(3).get_submodule("layer1.0.bn2").weight.detach().mean()) == 0.0
