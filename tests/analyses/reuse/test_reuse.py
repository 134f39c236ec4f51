"""Feature reuse: planted weights recovered, a slow twin by explicit slices, structures told apart, observations that can fail."""

import importlib
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import microtome as mt
from microtome import testing
from microtome._torchvision import timm, torchvision
from microtome.analyses.reuse.observations import OBSERVATIONS
from microtome.analyses.reuse.reading import network_inputs
from microtome.analyses.reuse.reuse import Reuse
from microtome.errors import Unmeasurable
from microtome.scan import Pace

RECIPE = {"size": 16, "mean": (0.5,) * 3, "std": (0.25,) * 3, "crop": 1.0}


class DenseNet(nn.Module):
    """Two dense blocks of `depth` layers of growth `k`, joined in forward.

    `bottleneck` puts a 1×1 before each 3×3, `normed` a norm after the stem.
    """

    def __init__(
        self, depth: int = 4, k: int = 3, first: int = 6, bottleneck: bool = False, prepend: bool = False, normed: bool = False
    ) -> None:
        super().__init__()
        self.depth, self.k, self.prepend = depth, k, prepend
        self.stem: nn.Module = nn.Conv2d(3, first, 3, padding=1)
        if normed:  # as in the DenseNet of the paper: a norm before the first block, and each layer's own after it
            self.stem = nn.Sequential(self.stem, nn.BatchNorm2d(first), nn.ReLU())
        self.parts = nn.ModuleDict()
        width = first
        for block in "ab":
            for layer in range(depth):
                inner: list[nn.Module] = [nn.BatchNorm2d(width), nn.ReLU()]
                if bottleneck:
                    inner += [nn.Conv2d(width, 2 * k, 1, bias=False), nn.BatchNorm2d(2 * k), nn.ReLU(inplace=True)]
                inner.append(nn.Conv2d(2 * k if bottleneck else width, k, 3, padding=1, bias=False))
                self.parts[f"{block}{layer}"] = nn.Sequential(*inner)
                width += k
            self.parts[f"norm_{block}"] = nn.BatchNorm2d(width)
            if block == "a":
                self.parts["between"] = nn.Conv2d(width, first, 1, bias=False)
                width = first
        self.head = nn.Linear(width, 5)

    def block(self, x: Tensor, name: str) -> Tensor:
        for layer in range(self.depth):
            new = self.parts[f"{name}{layer}"](x)
            x = torch.cat([new, x] if self.prepend else [x, new], 1)
        return torch.relu(self.parts[f"norm_{name}"](x))

    def forward(self, x: Tensor) -> Tensor:
        x = nn.functional.avg_pool2d(self.parts["between"](self.block(self.stem(x), "a")), 2)
        return self.head(self.block(x, "b").mean((2, 3)))


def made(**options: object) -> DenseNet:
    """A DenseNet with seeded weights and norms whose γ differ from channel to channel and are partly negative."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = DenseNet(**options)  # type: ignore[arg-type]
        for part in net.modules():
            if isinstance(part, nn.BatchNorm2d):
                nn.init.normal_(part.weight)
        return net.eval()


def opened(net: nn.Module) -> mt.Specimen:
    return mt.open(net, recipe=RECIPE)


def sliced(net: DenseNet, name: str, gamma: bool) -> np.ndarray:
    """One block's map by explicit offsets: the input is 6 wide, each layer 3; rows are the layers, then the reader after the block."""
    first, k, bottleneck = 6, net.k, len(net.parts["a0"]) > 3
    told = np.full((net.depth + 1, net.depth + 1), np.nan)
    for target in range(net.depth + 1):
        if target < net.depth:
            layer, norm = net.parts[f"{name}{target}"][2], net.parts[f"{name}{target}"][0]
            assert isinstance(layer, nn.Conv2d) and layer.kernel_size == ((1, 1) if bottleneck else (3, 3))
        else:
            layer, norm = (net.parts["between"] if name == "a" else net.head), net.parts[f"norm_{name}"]
        for source in range(target + 1):
            begin, end = (0, first) if source == 0 else (first + (source - 1) * k, first + source * k)
            if net.prepend:  # the newest lies first: the input begins after all layers so far
                width = first + k * target
                begin, end = width - end, width - begin
            total, seen = 0.0, 0
            for channel in range(begin, end):
                for weight in layer.weight.detach()[:, channel].flatten().tolist():
                    total += abs(weight) * (abs(float(norm.weight.detach()[channel])) if gamma else 1.0)
                    seen += 1
            told[target, source] = total / seen
    return told


@pytest.mark.parametrize("bottleneck", [False, True])
@pytest.mark.parametrize("prepend", [False, True])
@pytest.mark.parametrize("normed", [False, True])
def test_every_map_against_explicit_slices(bottleneck: bool, prepend: bool, normed: bool) -> None:
    net = made(bottleneck=bottleneck, prepend=prepend, normed=normed)
    found = Reuse()(opened(net))
    names = [name for name in found.arrays if name.startswith("reuse/")]
    assert len(names) == 2
    for array, block in zip(names, "ab", strict=True):
        np.testing.assert_allclose(found[array].values, sliced(net, block, gamma=False), rtol=1e-6)
        effective = found[array.replace("reuse/", "effective/")].values
        np.testing.assert_allclose(effective, sliced(net, block, gamma=True), rtol=1e-6)
    inner = ["a0", "a1", "a2", "a3"]
    assert found[names[0]].source.values.tolist() == ["input", *inner]
    assert found[names[0]].target.values.tolist() == [*inner, "parts.between"]
    assert found[names[1]].target.values[-1] == "head"


def test_a_norm_before_the_block_does_not_count() -> None:
    """Its scale times 7 changes nothing of what the layers receive once their norms' statistics follow, and nothing that is told."""
    plain, scaled = made(normed=True), made(normed=True)
    stem = scaled.stem[1]  # type: ignore[index]
    with torch.no_grad():
        stem.weight.mul_(7)
        stem.bias.mul_(7)
    x = torch.randn(8, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    first, second = (net.train().parts["a0"](net.stem(x)) for net in (plain, scaled))
    torch.testing.assert_close(first, second, rtol=1e-3, atol=1e-3)
    maps = [Reuse()(opened(net.eval())) for net in (plain, scaled)]
    for name in maps[0].arrays:
        if name.startswith("effective/"):
            np.testing.assert_array_equal(maps[0][name].values, maps[1][name].values)


def planted(net: DenseNet, pattern: np.ndarray) -> None:
    """Give |w| = pattern[target, source] with signs that alternate to both blocks, γ = 1."""
    for part in net.modules():
        if isinstance(part, nn.BatchNorm2d):
            nn.init.ones_(part.weight)
    for name in "ab":
        readers = [net.parts[f"{name}{layer}"][2] for layer in range(net.depth)]
        readers.append(net.parts["between"] if name == "a" else net.head)
        for target, layer in enumerate(readers):
            for source in range(target + 1):
                begin, end = (0, 6) if source == 0 else (6 + (source - 1) * net.k, 6 + source * net.k)
                part = layer.weight.data[:, begin:end]
                signs = torch.arange(part.numel()).remainder(2).mul(2).sub(1).view(part.shape)
                layer.weight.data[:, begin:end] = signs * float(pattern[target, source])


def test_a_planted_pattern_is_recovered_exactly() -> None:
    net = made()
    pattern = np.tril(2.0 ** -np.random.default_rng(0).integers(0, 8, (5, 5)))
    planted(net, pattern)
    found = Reuse()(opened(net))
    want = np.where(np.tri(5) > 0, pattern, np.nan)
    for name in ("reuse/parts.a0.2", "reuse/parts.b0.2", "effective/parts.a0.2", "effective/parts.b0.2"):
        np.testing.assert_array_equal(found[name].values, want)


def test_what_the_paper_saw_holds_and_what_it_did_not_see_does_not() -> None:
    seen = np.tile(np.arange(1.0, 6.0), (5, 1))  # the input least, the last layers most
    net = made()
    planted(net, seen)
    found = Reuse()(opened(net))
    assert found["verdict"].values.tolist() == ["holds, also in untrained twins"] * 2 + ["holds", "holds"]
    planted(net, seen[:, ::-1].copy())
    found = Reuse()(opened(net))
    assert found["verdict"].values.tolist()[2:] == ["does not hold", "does not hold"]
    planted(net, np.eye(5) + 1e-6)  # every layer reads its neighbour alone
    assert Reuse()(opened(net))["verdict"].values.tolist()[:2] == ["does not hold", "does not hold"]


def test_equal_weights_are_no_finding() -> None:
    net = made()
    planted(net, np.ones((5, 5)))
    found = Reuse()(opened(net))
    assert found["evenness"].values == pytest.approx(1.0)
    assert found["verdict"].values.tolist()[2:] == ["does not hold", "does not hold"]
    assert found.key("observations beyond all untrained twins").value == 0
    assert found.key("observations that hold in both").value == 2
    assert found.key("sources used by a layer").value == pytest.approx(1.0)


def test_an_untrained_network_says_nothing() -> None:
    found = Reuse()(mt.open("microtome:mini_densenet", weights=None))
    assert found.headline.startswith("Untrained weights: none of")
    assert found.key("observations beyond all untrained twins").value == 0
    assert "holds" not in found["verdict"].values


def test_scaling_changes_the_maps_and_not_the_verdicts() -> None:
    specimen = opened(made())
    plain, rows, whole = (Reuse(scaling=one)(specimen) for one in ("none", "target", "global"))
    names = [name for name in plain.arrays if name.startswith("reuse/")]
    for name in names:
        values = plain[name].values
        np.testing.assert_allclose(rows[name].values, values / np.nanmax(values, axis=1, keepdims=True))
    assert max(float(whole[name].max()) for name in names) == 1.0
    assert rows["verdict"].values.tolist() == plain["verdict"].values.tolist()


def test_known_layouts_agree() -> None:
    """timm's DenseNet and torchvision's, of one configuration with one set of weights, have the same maps."""
    timm(), torchvision()
    sizes = {"growth_rate": 4, "block_config": (2, 3), "bn_size": 2, "num_classes": 7}
    one = importlib.import_module("timm.models.densenet").DenseNet(**sizes)
    other = importlib.import_module("torchvision.models.densenet").DenseNet(**sizes, num_init_features=8)
    other.load_state_dict(one.state_dict())
    left, right = (Reuse()(mt.open(net, recipe={"size": 64})) for net in (one, other))
    shown = ["reuse/features.denseblock1", "reuse/features.denseblock2"]
    assert [name for name in left.arrays if name.startswith("reuse/")] == shown
    for name in shown:
        np.testing.assert_array_equal(left[name].values, right[name].values)
    assert left[shown[1]].source.values.tolist() == ["input", "denselayer1", "denselayer2", "denselayer3"]
    assert left[shown[0]].target.values.tolist() == ["denselayer1", "denselayer2", "transition1.conv"]


class Ghost(nn.Module):
    """Concatenations that are no dense block: with one's own input, once; over branches; from an encoder."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.cheap = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.left, self.right = nn.Conv2d(8, 4, 1), nn.Conv2d(8, 4, 3, padding=1)
        self.deep, self.up = nn.Conv2d(8, 4, 3, padding=1), nn.Conv2d(12, 4, 1)
        self.head = nn.Linear(4, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = torch.cat([x, self.cheap(x)], 1)
        x = torch.cat([self.left(x), self.right(x)], 1)
        deep = nn.functional.interpolate(self.deep(nn.functional.max_pool2d(x, 2)), scale_factor=2)
        return self.head(self.up(torch.cat([x, deep], 1)).mean((2, 3)))


def test_other_concatenations_are_not_dense() -> None:
    specimen = opened(Ghost().eval())
    assert max(len(call.runs) for call in network_inputs(specimen).calls) == 3  # they are followed, all the same
    with pytest.raises(Unmeasurable, match="no dense block"):
        Reuse()(specimen)


@pytest.mark.parametrize("name", ["mini_vgg", "mini_resnet", "mini_inception", "mini_hrnet", "mini_deit"])
def test_networks_without_dense_blocks_are_skipped(name: str) -> None:
    assert "no dense block" in Reuse().refusal(mt.open(f"microtome:{name}", weights=None), None)


def test_zero_and_broken_weights() -> None:
    net = made()
    net.parts["b2"][2].weight.data.zero_()
    found = Reuse(scaling="target")(opened(net))
    second = [name for name in found.arrays if name.startswith("reuse/")][1]
    assert np.isnan(found[second].values[2]).all() and "nan" not in found.headline
    net.parts["a1"][0].weight.data[1] = float("nan")
    with pytest.raises(Unmeasurable, match=r"norm before parts\.a1\.2 hold NaN"):
        Reuse()(opened(net))
    for part in net.modules():
        if isinstance(part, nn.Conv2d | nn.Linear):
            nn.init.zeros_(part.weight)
        if isinstance(part, nn.BatchNorm2d):
            nn.init.ones_(part.weight)
    with pytest.raises(Unmeasurable, match="are zero"):
        Reuse()(opened(net))


def test_without_norms_both_maps_are_one() -> None:
    net = made()
    for path, part in list(net.named_modules()):
        if isinstance(part, nn.BatchNorm2d):
            net.set_submodule(path, nn.Identity())
    found = Reuse()(opened(net))
    np.testing.assert_array_equal(found["evenness"].values, found["evenness_effective"].values)
    assert found.facts["normless"] and any("No norm" in one for one in found.caveats)


def test_the_working_copy_gives_the_same(tmp_path: Path) -> None:
    """Channels-last memory changes the operations that run (views of pooled maps), and nothing else."""
    specimen = mt.open("microtome:mini_densenet")
    worker = Reuse().measure(specimen.on("cpu"), None, Pace(device="cpu"))
    plain = Reuse().measure(specimen, None, Pace(device="cpu"))
    testing.check_equal(plain.arrays, worker.arrays, "reuse on the working copy")
    assert worker.arrays["measured"].sel(criterion=OBSERVATIONS[3]).item() > 1  # the classifier is found behind its pool


def test_common_suite(tmp_path: Path) -> None:
    finding = testing.check(Reuse(), mt.open("microtome:mini_densenet"), None, tmp_path)
    assert finding["reuse/features.denseblock1"].dims == ("target", "source")
