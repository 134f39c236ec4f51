"""Scales of batch norms: which can be moved (oracle counts), that the function stays in either mode, and zero branch ends."""

import copy
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import microtome as mt
from microtome import testing
from microtome.edits.batch_norm_gamma import BatchNormGamma
from microtome.errors import Uneditable
from microtome.instruments.scale_invariance import scale_invariance
from microtome.instruments.scale_readers import scale_readers


@pytest.fixture(scope="module")
def pics() -> mt.Images:
    return mt.Images.scenes(8, seed=4, size=64)


def gammas(net: nn.Module) -> dict[str, Tensor]:
    return {path: part.weight.detach() for path, part in net.named_modules() if isinstance(part, nn.BatchNorm2d)}


@pytest.mark.parametrize("policy", ["unit", "zero"])
def test_the_law_of_edits(policy: str, pics: mt.Images, tmp_path: Path) -> None:
    edited = testing.check_edit(BatchNormGamma(policy=policy), mt.open("microtome:mini_resnet"), pics, tmp_path)  # type: ignore[arg-type]
    assert edited.edits[-1].preserves == ("exactly" if policy == "unit" else "no")
    assert "microtome.param_groups(net, weight_decay)" in edited.edits[-1].line


@pytest.mark.parametrize(
    ("name", "internal", "moved", "norms"),
    [("resnet18", 8, 8, 20), ("resnet50", 33, 33, 53), ("resnetv2_50", 28, 49, 49)],
)
def test_all_internal_scales_can_be_moved(name: str, internal: int, moved: int, norms: int) -> None:
    """Internal: 8 of 20, 33 of 53, 28 of 49. A pre-activation network's other norms are read by weights alone, too."""
    net = mt.open(f"timm:{name}", weights=None, recipe={"size": 64})
    found, told = scale_readers(net), scale_invariance(net.net, net.recipe)
    assert (len(told.scales), len(found), len(gammas(net.net))) == (internal, moved, norms)
    assert set(told.scales) <= set(found)
    if name == "resnet50":  # its stem is read by the first branch and by the projection beside it
        assert found["bn1"] == ("layer1.0.conv1", "layer1.0.downsample.0")


def test_the_slow_twin_agrees() -> None:
    """Each unit's scale and shift times a number of its own, the readers divided by it, in double precision: nothing changes; with one
    reader forgotten, it does."""
    net = mt.open("microtome:mini_resnet")
    found = scale_readers(net)
    x = torch.randn(2, 3, 64, 64, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert len(found) > 5 and all(found.values())
    for path, readers in found.items():
        for forgotten in (None, readers[0]):
            trial = copy.deepcopy(net.net).double()
            drawn = torch.rand(len(trial.get_submodule(path).weight), generator=torch.Generator().manual_seed(1))
            factor = 0.5 + drawn.double()
            with torch.no_grad():
                trial.get_submodule(path).weight.mul_(factor)
                trial.get_submodule(path).bias.mul_(factor)
                for reader in readers:
                    if reader != forgotten:
                        trial.get_submodule(reader).weight.div_(factor[:, None, None])
                gap = float((trial(x) - net.net.double()(x)).abs().max())
            assert (gap < 1e-9) == (forgotten is None)
    net.net.float()


def test_what_is_left_is_one_and_the_function_stays_in_training_too() -> None:
    net = mt.open("microtome:mini_resnet")
    edited = BatchNormGamma()(net)
    found, before, after = scale_readers(net), gammas(net.net), gammas(edited.net)
    for path in before:
        if path in found:
            assert torch.equal(after[path], before[path].sign())
        else:
            assert torch.equal(after[path], before[path])
    assert 0 < len(found) < len(before)
    x = torch.randn(8, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        one, two = (copy.deepcopy(each.net).train()(x) for each in (net, edited))
    assert float((one - two).abs().max()) < 1e-3 * float(one.std())


class Mixed(nn.Module):
    """A depthwise and a grouped convolution, a flattened map before a linear layer; one norm before a GELU, one before ReLU6."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.norm1 = nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8)
        self.deep, self.norm2 = nn.Conv2d(8, 8, 3, 2, 1, groups=8), nn.BatchNorm2d(8)
        self.wide, self.norm3 = nn.Conv2d(8, 12, 3, 2, 1, groups=2), nn.BatchNorm2d(12)
        self.turned, self.norm4 = nn.ConvTranspose2d(12, 8, 2, 2), nn.BatchNorm2d(8)
        self.conv5, self.norm5 = nn.Conv2d(8, 8, 1), nn.BatchNorm2d(8)
        self.conv6, self.norm6 = nn.Conv2d(8, 4, 1), nn.BatchNorm2d(4)
        self.head = nn.Linear(4 * 8 * 8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.norm1(self.conv1(x)))
        x = nn.functional.leaky_relu(self.norm2(self.deep(x)), 0.1)
        x = torch.relu(self.norm3(self.wide(x)))
        x = nn.functional.gelu(self.norm4(self.turned(x)))
        x = nn.functional.relu6(self.norm5(self.conv5(x)))
        x = nn.functional.max_pool2d(torch.relu(self.norm6(self.conv6(x))), 2)
        return self.head(x.flatten(1))


def test_grouped_transposed_and_flattened_readers_and_what_does_not_let_factors_pass(pics: mt.Images, tmp_path: Path) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = Mixed().eval()
        for part in net.modules():
            if isinstance(part, nn.BatchNorm2d):
                nn.init.uniform_(part.weight, 0.2, 3)
                nn.init.normal_(part.bias)
                nn.init.uniform_(part.running_var, 0.5, 2)  # type: ignore[arg-type]
        net.norm3.weight.data[2], net.norm1.weight.data[5] = 0.0, -0.7
    opened = mt.open(net, recipe={"size": 64})
    readers = {"norm1": ("deep",), "norm2": ("wide",), "norm3": ("turned",), "norm6": ("head",)}
    assert scale_readers(opened) == readers
    edited = BatchNormGamma()(opened)
    x = torch.randn(4, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(edited.run(x), opened.run(x), rtol=1e-4, atol=1e-5)
    assert edited.net.norm3.weight[2] == 0 and edited.net.norm1.weight[5] == -1
    assert "31 units of 4 of 6 batch norms" in edited.edits[-1].line  # 8 + 8 + 11 + 4: a scale of 0 stays
    with pytest.raises(Uneditable, match="32 scales that could be moved are 1, -1 or 0 already"):
        BatchNormGamma()(edited)


def test_zero_makes_every_block_the_identity() -> None:
    net = mt.open("microtome:mini_resnet")
    edited = BatchNormGamma(policy="zero")(net)
    ends = {path for path, value in gammas(edited.net).items() if not value.any()}
    assert ends == {block.end for block in net.residuals} and len(ends) == 7
    x = torch.rand(2, 24, 8, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        block = edited.net.layer3[1]
        wide = x.repeat(1, -(-block.conv1.in_channels // 24), 1, 1)[:, : block.conv1.in_channels]
        assert torch.equal(block(wide), wide)


def test_what_does_not_fit() -> None:
    with pytest.raises(Uneditable, match="no batch norm"):
        BatchNormGamma()(mt.open("microtome:mini_deit", weights=None))
    with pytest.raises(Uneditable, match="no residual branch ends with a batch norm"):
        BatchNormGamma(policy="zero")(mt.open("microtome:mini_vgg", weights=None))
