"""Squeeze-and-excitation gates by surgery: the law of edits, the paper's counts, timm's own SE network as the outside oracle."""

import copy

import pytest
import torch

import microtome as mt
from microtome import testing
from microtome._torchvision import timm
from microtome.errors import Uneditable
from microtome.networks.gates import SqueezeExciteGate
from microtome.numerics.graph.counts import count_multiply_adds

Gates = mt.edits.squeeze_excitation.SqueezeExcitation
CASES = [
    {},
    {"bias": False, "ratio": 4, "stages": (1, 4)},
    {"position": "pre", "excitation": "tanh"},
    {"position": "post", "start": "bias"},
    {"position": "identity", "squeeze": "max"},
    {"position": "inside", "excitation": "relu"},
    {"squeeze": "none", "start": "random"},
]


@pytest.fixture(scope="module")
def pics() -> mt.Images:
    return mt.Images.scenes(6)


@pytest.fixture(scope="module")
def mini() -> mt.Specimen:
    return mt.open("microtome:mini_resnet")


@pytest.fixture(scope="module")
def resnet50() -> mt.Specimen:
    return mt.open("timm:resnet50", weights=None, recipe={"size": 64})


@pytest.fixture(scope="module")
def resnet18() -> mt.Specimen:
    return mt.open("torchvision:resnet18", weights=None, recipe={"size": 32})


@pytest.mark.parametrize("options", CASES, ids=lambda said: ",".join(f"{k}={v}" for k, v in said.items()) or "plain")
def test_the_law_of_edits(options, mini, pics, tmp_path) -> None:
    edited = testing.check_edit(Gates(**options), mini, pics, tmp_path)
    gates = [part for part in edited.net.modules() if isinstance(part, SqueezeExciteGate)]
    assert len(gates) == (4 if "stages" in options else 7)  # stages of 1, 1, 2 and 3 blocks
    assert edited.family == "attention"


def test_gates_start_at_one_and_can_close(mini) -> None:
    # by hand: with all gates of one block shut, its branch gives nothing, and the block gives the ReLU of its shortcut
    edited = Gates(ratio=4)(mini)
    block = edited.net.layer4[2]  # type: ignore[index]
    x = torch.randn(2, 48, 8, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.equal(block(x), mini.net.layer4[2](x))  # type: ignore[index]
        block.se.fc2.bias.fill_(-100.0)
        assert torch.allclose(block(x), x.relu(), atol=1e-6)


# Hu et al. 2018: (2 / r) · Σ N C² on top of 25,557,032, without biases; with them Σ N (C + C / r) more, Σ N C = 15,104
@pytest.mark.parametrize(("ratio", "paper"), [(2, 45.7), (4, 35.7), (8, 30.7), (16, 28.1), (32, 26.9)])
def test_parameters_of_the_ratio_table(ratio: int, paper: float, resnet50) -> None:
    weights = 2 * 20_119_552 // ratio
    for bias, biases in ((False, 0), (True, 15_104 + 15_104 // ratio)):
        net = copy.deepcopy(resnet50.net)
        Gates(ratio=ratio, bias=bias).operate(net, resnet50)
        count = sum(p.numel() for p in net.parameters())
        assert count == 25_557_032 + weights + biases
        assert abs(count / 1e6 - paper) < 0.15


# the same paper, section 6.5: SE on one stage (its stages 2, 3, 4 are our 1, 2, 3), and the gate inside, after the 3 x 3; for
# pre the paper prints no count, so the number is ours alone
@pytest.mark.parametrize(
    ("options", "added", "paper"),
    [
        ({"stages": (1,)}, 24_576, 25.6),
        ({"stages": (2,)}, 131_072, 25.7),
        ({"stages": (3,)}, 786_432, 26.4),
        ({"position": "inside"}, 157_184, 25.8),
        ({"position": "pre"}, 1_991_168, 27.6),  # 64² + 2 · 256² + 256² + 3 · 512² + 512² + 5 · 1024² + 1024² + 2 · 2048², / 8
        ({"position": "identity"}, 2_514_944, 28.1),
        ({"position": "post"}, 2_514_944, 28.1),
    ],
    ids=str,
)
def test_parameters_of_the_variants(options, added: int, paper: float, resnet50) -> None:
    net = copy.deepcopy(resnet50.net)
    Gates(bias=False, **options).operate(net, resnet50)
    after = sum(p.numel() for p in net.parameters())
    assert after - 25_557_032 == added
    assert abs(after / 1e6 - paper) < 0.15


# section 7.1: without the squeeze 4.27 instead of 3.86 billion multiply-adds; 2 · C · C / 16 for each of the places
def test_multiply_adds_without_squeeze(resnet50) -> None:
    added = sum(n * 2 * c * c // 16 * side**2 for n, c, side in ((3, 256, 56), (4, 512, 28), (6, 1024, 14), (3, 2048, 7)))
    counts = []
    for squeeze in ("avg", "none"):
        net = copy.deepcopy(resnet50.net)
        Gates(bias=False, squeeze=squeeze).operate(net, resnet50)
        counts.append(count_multiply_adds(net.to("meta"), torch.zeros(1, 3, 224, 224, device="meta")))
    assert counts[1] - counts[0] == added - 2_514_944  # a gate with squeeze works on one place
    assert added / 1e9 == pytest.approx(4.27 - 3.86, abs=0.01)


def test_it_is_the_se_network_of_timm(resnet50) -> None:
    library = timm()
    theirs = library.create_model("seresnet50").eval()  # type: ignore[attr-defined]
    edited = Gates(start="random")(resnet50)
    assert edited.edits[-1].parameters[1] == 28_088_024 == sum(p.numel() for p in theirs.parameters())
    edited.net.load_state_dict(theirs.state_dict())  # every name and shape
    x = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(edited.net(x), theirs(x))


@pytest.mark.parametrize("position", ["standard", "pre", "post", "identity", "inside"])
def test_torchvision(position: str, resnet18) -> None:
    net = resnet18
    x = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    edited = Gates(position=position)(net)
    assert torch.equal(edited.run(x), net.run(x))
    assert sum(isinstance(part, SqueezeExciteGate) for part in edited.net.modules()) == 8


def test_what_it_does_not_fit(mini) -> None:
    for name, reason in (
        ("mini_vgg", "no residual blocks on maps"),
        ("mini_densenet", "no residual blocks on maps"),
        ("mini_deit", "no residual blocks on maps"),
        ("mini_seresnet", "7 of these blocks have channel gates already"),
    ):
        with pytest.raises(Uneditable, match=reason):
            Gates()(mt.open(f"microtome:{name}", weights=None))
    preactivated = mt.open("timm:resnetv2_50", weights=None, recipe={"size": 64})  # its `downsample` reads the normed map
    with pytest.raises(Uneditable, match=r"shortcut of stages\.0\.blocks\.1 has no module of its own"):
        Gates(position="identity")(preactivated)
    with pytest.raises(Uneditable, match="no stage 7 with residual blocks; its stages are 1, 2, 3, 4"):
        Gates(stages=(7,))(mini)
    with pytest.raises(Uneditable, match="without biases a tanh gate cannot begin at 1"):
        Gates(bias=False, excitation="tanh")(mini)
    with pytest.raises(Uneditable, match="start=bias is for sigmoid gates"):
        Gates(start="bias", excitation="relu")(mini)
