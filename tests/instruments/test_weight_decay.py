"""Parameter groups: the oracle counts of internal norms, timm's own groups, and that decaying internal scales changes no function."""

import copy

import pytest
import torch

import microtome as mt
from microtome._torchvision import timm
from microtome.errors import BadOption, SpecimenError
from microtome.instruments.norm_roles import norm_roles
from microtome.instruments.scale_invariance import scale_invariance


@pytest.fixture(scope="module")
def tiny_resnet() -> mt.Specimen:
    return mt.open("microtome:mini_resnet", weights=None)


@pytest.mark.parametrize("name", ["timm:resnet18", "timm:vit_tiny_patch16_224"])
def test_the_policy_timm_gives_timms_groups(name: str) -> None:
    from timm.optim import param_groups_weight_decay  # noqa: TID251

    assert timm() is not None
    net = mt.open(name, weights=None).net
    skip = net.no_weight_decay() if hasattr(net, "no_weight_decay") else ()
    theirs = param_groups_weight_decay(net, 0.05, no_weight_decay_list=skip)
    ours = mt.param_groups(net, 0.05, "timm")
    for one, two in zip(theirs, ours, strict=True):
        assert one["weight_decay"] == two["weight_decay"]
        assert [id(p) for p in one["params"]] == [id(p) for p in two["params"]]


def test_groups_partition_and_move_exactly_the_scales_that_decay_is_for(tiny_resnet: mt.Specimen) -> None:
    told = norm_roles(tiny_resnet, scale_invariance(tiny_resnet.net, tiny_resnet.recipe))
    assert {role: sum(one == role for one in told.values()) for role in set(told.values())} == {
        "internal": 10, "branch end": 7, "shortcut": 4,
    }  # fmt: skip
    names = {id(p): name for name, p in tiny_resnet.net.named_parameters()}
    plain, decayed = mt.param_groups(tiny_resnet, 0.1)
    ids = [id(p) for group in (plain, decayed) for p in group["params"]]
    assert sorted(ids) == sorted(names)
    extra = {names[id(p)] for p in decayed["params"] if p.ndim == 1}
    wanted = {f"{path}.weight" for path, role in told.items() if role in ("internal", "branch end")}
    assert extra == wanted | {f"{path}.bias" for path, role in told.items() if role == "internal"}


def test_decaying_internal_scales_changes_no_output(tiny_resnet: mt.Specimen) -> None:
    """And decaying a shortcut's scale does: the two classes differ in what they are said to differ in."""
    told = norm_roles(tiny_resnet, scale_invariance(tiny_resnet.net, tiny_resnet.recipe))
    x = torch.randn(8, 3, 64, 64, generator=torch.Generator().manual_seed(0))

    def after(role: str) -> float:
        net = copy.deepcopy(tiny_resnet.net).train()
        with torch.no_grad():
            before = net(x)
            for path in (path for path, one in told.items() if one == role):
                net.get_submodule(path).weight *= 0.5
                net.get_submodule(path).bias *= 0.5
            return float((net(x) - before).abs().max() / before.std())

    assert after("internal") < 1e-2  # eps in the norms
    assert after("shortcut") > 0.1


def test_a_module_is_taken_as_it_is_and_left_as_it_was() -> None:
    net = mt.open("microtome:mini_resnet", weights=None).net.train()
    state = {name: value.clone() for name, value in net.state_dict().items()}
    groups = mt.param_groups(net, recipe={"size": 64})
    assert net.training
    assert all(torch.equal(value, state[name]) for name, value in net.state_dict().items())
    torch.optim.SGD(groups, lr=0.1)
    assert {id(p) for group in groups for p in group["params"]} == {id(p) for p in net.parameters()}
    every = mt.param_groups(net, policy="all", no_weight_decay_list={next(iter(state))})
    assert len(every[0]["params"]) == 1
    with pytest.raises(BadOption, match="no policy 'tim'.*'timm'"):
        mt.param_groups(net, policy="tim")  # type: ignore[arg-type]


def test_branches_inside_parallel_branches_are_found() -> None:
    """HRNet's residual blocks lie inside its parallel branches: counted in its code, 7 modules of blocks as named below."""
    net = mt.open("microtome:mini_hrnet", weights=None)
    told = norm_roles(net, scale_invariance(net.net, net.recipe))
    ends = [path for path, role in told.items() if role == "branch end"]
    blocks = [path for path, part in net.net.named_modules() if type(part).__name__ in ("BasicBlock", "Bottleneck")]
    assert len(ends) == len(blocks) == 12
    assert {path.rpartition(".")[0] for path in ends} == set(blocks)


def test_a_module_whose_train_gives_nothing_back_is_no_obstacle() -> None:
    """As in timm's EfficientFormer: `train` is overridden without a return, so `.eval()` is None."""

    class Silent(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv1, self.norm1 = torch.nn.Conv2d(3, 3, 3, padding=1), torch.nn.BatchNorm2d(3)
            self.conv2, self.norm2 = torch.nn.Conv2d(3, 3, 3, padding=1), torch.nn.BatchNorm2d(3)

        def train(self, mode: bool = True) -> None:  # type: ignore[override]
            super().train(mode)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + self.norm2(self.conv2(torch.relu(self.norm1(self.conv1(x)))))

    whole = torch.nn.Sequential(Silent(), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(3, 4))
    net = mt.open(whole, recipe={"size": 16})
    assert norm_roles(net, scale_invariance(net.net, net.recipe)) == {"0.norm1": "internal", "0.norm2": "branch end"}


@pytest.mark.parametrize("size", [64, (32, 96)])
def test_the_size_and_channels_that_a_network_declares_are_taken(size: int | tuple[int, int]) -> None:
    """timm's vision transformer of another image size, and a network for luminance: a drop-in needs no recipe for them."""
    create = timm().create_model
    vit = create("vit_tiny_patch16_224", pretrained=False, img_size=size, depth=1)
    plain = create("vit_tiny_patch16_224", pretrained=False, img_size=size, depth=1)
    wanted = mt.param_groups(plain, 0.05, recipe={"size": size})
    assert [len(group["params"]) for group in mt.param_groups(vit, 0.05)] == [len(group["params"]) for group in wanted]
    grey = mt.param_groups(create("resnet10t", pretrained=False, in_chans=1), 0.05)
    colour = mt.param_groups(create("resnet10t", pretrained=False), 0.05)
    assert [len(group["params"]) for group in grey] == [len(group["params"]) for group in colour]


def test_a_network_of_unknown_size_says_how_to_name_it() -> None:
    class Fixed(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.norm, self.head = (
                torch.nn.Conv2d(3, 4, 3, 2, 1),
                torch.nn.BatchNorm2d(4),
                torch.nn.Linear(4 * 20 * 20, 5),
            )

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(torch.relu(self.norm(self.conv(x))).flatten(1))

    said = r"did not run on an image of 224 x 224 px with 3 channels. Say what it takes, as in .*recipe=\{'size': 64.*policy='timm'"
    with pytest.raises(SpecimenError, match=said):
        mt.param_groups(Fixed(), 0.05)
    assert len(mt.param_groups(Fixed(), 0.05, recipe={"size": 40})) == 2
    assert len(mt.param_groups(Fixed(), 0.05, "timm")) == 2
