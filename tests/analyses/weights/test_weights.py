"""`weights` against hand-made layers, scipy, direct folding, and its own null."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

import microtome as mt
from microtome import testing
from microtome.analyses.weights.weights import Weights
from microtome.errors import Unmeasurable
from microtome.numerics.weights.norms import norms_after
from microtome.numerics.weights.pairs import match_roles, tensor_roles
from microtome.numerics.weights.tensors import describe_values, sample_values, sorted_quantiles, weight_tensors

DATA = Path(os.environ.get("MICROTOME_DATA", Path(__file__).parents[3] / "shared" / "data"))
RECIPE = {"size": 16, "mean": (0.5,) * 3, "std": (0.25,) * 3, "crop": 1.0}


def opened(net: nn.Module) -> mt.Specimen:
    return mt.open(net.eval(), recipe=RECIPE)


def seeded(make: Any, seed: int = 0) -> Any:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return make()


def plain(count: int = 3, units: int = 6) -> nn.Sequential:
    """Convolutions of one shape, each followed by a ReLU; a mean over positions and a linear head."""
    body = [part for _ in range(count) for part in (nn.Conv2d(units, units, 3, padding=1), nn.ReLU())]
    return nn.Sequential(
        nn.Conv2d(3, units, 3, padding=1), nn.ReLU(), *body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(units, 4)
    )


class Normed(nn.Module):
    """conv-bn (foldable), bn-relu-conv (not), conv-cat-bn (not), conv read twice before its bn (not)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.bn2, self.conv2 = nn.BatchNorm2d(4), nn.Conv2d(4, 4, 3, padding=1)
        self.bn3, self.conv3 = nn.BatchNorm2d(8), nn.Conv2d(8, 4, 1)
        self.bn4, self.inplace, self.conv4, self.bn5 = nn.BatchNorm2d(4), nn.ReLU(True), nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        a = torch.relu(self.bn1(self.conv1(x)))
        b = self.conv2(torch.relu(self.bn2(a)))
        c = self.conv3(torch.relu(self.bn3(torch.cat([a, b], 1))))
        d = self.bn4(self.inplace(c))  # conv3's tensor, but changed in place before the norm reads it
        e = self.conv4(d)
        return self.bn5(e) + e.relu().sum()


def test_statistics_of_weights_set_by_hand() -> None:
    net = plain(1, 2)
    with torch.no_grad():
        net[2].weight.copy_(torch.tensor([1.0, -1.0]).repeat(18).view(2, 2, 3, 3))
    found = Weights()(opened(net))
    told = found["statistic"].sel(layer="2")
    # ±1 in equal shares: mean 0, variance 1, fourth moment 1 so excess kurtosis -2; all 36 values, none near zero
    assert told.sel(measure="weights").item() == 36
    assert told.sel(measure="mean").item() == 0
    assert told.sel(measure="std").item() == 1
    assert told.sel(measure="excess kurtosis").item() == pytest.approx(-2)
    assert told.sel(measure="sparsity").item() == 0
    # rows of 18 alternating ±1, both equal: rank 1, so spectral norm = Frobenius norm = 6 and stable rank 1
    assert told.sel(measure="spectral norm").item() == pytest.approx(6)
    assert told.sel(measure="stable rank").item() == pytest.approx(1)
    assert told.sel(measure="unit norm, median").item() == pytest.approx(18**0.5)
    assert told.sel(measure="unit norm, spread").item() == pytest.approx(0)


def test_density_integrates_to_the_fraction_it_shows() -> None:
    found = Weights(bins=16)(opened(seeded(plain)))
    width = np.diff(found["value"].values, axis=1)[:, :1]
    share = (found["density"].values * width).sum(1)
    assert len(share) == len(weight_tensors(opened(seeded(plain)).net)) > 1
    for name, told in zip(found["density"].layer.values, share, strict=True):
        values = weight_tensors(opened(seeded(plain)).net)[str(name)].values.numpy().astype(float)
        inside = np.abs(values - values.mean()) <= 4 * values.std()
        assert told == pytest.approx(inside.mean(), abs=1e-6)


def test_distances_agree_with_scipy() -> None:
    net = seeded(plain)
    found = Weights(at=("2", "4"))(opened(net))
    one, two = (net[place].weight.detach().double().flatten().numpy() for place in (2, 4))
    told = found["distance"].isel(pair=0)
    assert list(found["distance"].pair.values) == ["2 → 4"]
    expected = stats.wasserstein_distance(one, two)
    assert told.sel(measure="W1").item() == pytest.approx(expected, rel=1e-6)
    assert told.sel(measure="W1/σ").item() == pytest.approx(expected / ((one.var() + two.var()) / 2) ** 0.5, rel=1e-6)
    assert told.sel(measure="shape-only W1").item() == pytest.approx(
        stats.wasserstein_distance(one / one.std(), two / two.std()), rel=1e-5
    )
    assert told.sel(measure="KS").item() == pytest.approx(stats.ks_2samp(one, two).statistic, abs=1e-12)


def test_equal_layers_are_at_no_distance_and_scaling_leaves_the_shape() -> None:
    net = seeded(plain)
    with torch.no_grad():
        net[4].weight.copy_(net[2].weight)
        net[6].weight.copy_(3 * net[2].weight)
    found = Weights(at=("2", "4", "6"))(opened(net))
    same, scaled = found["distance"].isel(pair=0), found["distance"].isel(pair=1)
    assert np.abs(same.values).max() == 0
    # W1(w, 3w) = mean |sorted w - sorted 3w| = 2 mean |w|
    assert scaled.sel(measure="W1").item() == pytest.approx(2 * float(net[2].weight.detach().abs().mean()), rel=1e-5)
    assert scaled.sel(measure="shape-only W1").item() == pytest.approx(0, abs=1e-6)


def test_only_norms_that_read_the_very_output_are_folded() -> None:
    specimen = opened(seeded(Normed))
    assert norms_after(specimen.anatomy.trace.calls) == {"conv1": "bn1"} | {"conv4": "bn5"}


def test_a_norm_shared_by_two_layers_or_a_layer_used_twice_is_not_folded() -> None:
    class Shared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two, self.bn = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4)
            self.three, self.first, self.second = nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4), nn.BatchNorm2d(4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.bn(self.two(self.bn(self.one(x))))
            return self.second(self.three(self.first(self.three(x))))

    assert norms_after(opened(Shared()).anatomy.trace.calls) == {}


def test_folding_is_the_kernel_times_gamma_over_sigma() -> None:
    def make() -> nn.Module:
        return nn.Sequential(
            *(part for _ in range(3) for part in (nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3), nn.ReLU()))
        )

    net = seeded(make)
    with torch.no_grad():
        for place in (1, 4, 7):
            net[place].weight.copy_(torch.tensor([0.5, 2.0, 3.0]) * place)
            net[place].running_var.copy_(torch.tensor([1.0, 4.0, 9.0]))
    found = Weights(at=("0", "3"))(opened(net))
    kernels = [
        (net[place].weight * (net[place + 1].weight / (net[place + 1].running_var + 1e-5).sqrt()).view(-1, 1, 1, 1)).detach()
        for place in (0, 3)
    ]
    expected = stats.wasserstein_distance(*(one.double().flatten().numpy() for one in kernels))
    assert found["folded_distance"].sel(measure="W1").item() == pytest.approx(expected, rel=1e-5)
    assert found["folded_statistic"].sel(layer="3", measure="std").item() == pytest.approx(
        float(kernels[1].std(correction=0)), rel=1e-5
    )
    assert "folded_distance" not in Weights(at=("0", "3"), fold=False)(opened(net)).arrays


def test_roles_are_paired_by_name_and_then_by_nearest_name_of_the_same_kernel() -> None:
    names = ["a.branch1x1", "a.branch3x3_2", "a.pool", "b.branch1x1", "b.branch3x3dbl_2", "b.branch7x7"]
    shapes = dict(zip(names, [(4, 4, 1, 1), (4, 4, 3, 3), (4, 4, 1, 1), (8, 4, 1, 1), (4, 4, 3, 3), (4, 4, 7, 7)], strict=True))
    pairs, alone = match_roles(tensor_roles(names[:3], "a"), tensor_roles(names[3:], "b"), shapes)
    assert [(pair.first, pair.second, pair.kind) for pair in pairs] == [
        ("a.branch1x1", "b.branch1x1", "same role, other shape"),
        ("a.branch3x3_2", "b.branch3x3dbl_2", "nearest name"),
    ]
    assert alone == ["a.pool", "b.branch7x7"]


def test_an_untrained_network_gets_no_verdict_of_redundancy() -> None:
    specimen = mt.open("timm:resnet18", weights=None, recipe={"size": 64})
    found = Weights()(specimen)
    assert found.headline.startswith("Untrained: ")
    assert "redundan" not in found.headline
    assert "These weights are untrained: the distances are what chance gives." in found.caveats
    distance = found.key("W1/σ between neighbours")
    assert distance.value < 0.02 and distance.baseline < 0.02
    assert [str(pair).split(" → ")[0].rpartition(".")[2] for pair in found["distance"].pair.values] == [
        str(pair).rpartition(".")[2] for pair in found["distance"].pair.values
    ]
    # the untrained network is one more draw of its twins: far below a tenth of a standard deviation, like them
    like = found["match"].values == "same role, same shape"
    assert (found["w1_over_sigma"].values[like] < 0.02).all()
    assert (found["twin_w1_over_sigma"].values[like] < 0.02).all()
    np.testing.assert_allclose(
        found["each_twin_w1_over_sigma"].mean("twin").values, found["twin_w1_over_sigma"].values, rtol=1e-12
    )
    assert found["each_twin_w1_over_sigma"].sizes["twin"] == 5
    assert found["norm"].sel(layer="layer4.1.conv2").item() == "layer4.1.bn2"


def test_training_that_sets_neighbours_apart_is_told_from_chance() -> None:
    net = seeded(lambda: plain(3, 32))
    with torch.no_grad():
        net[6].weight.mul_(2)
    found = Weights()(opened(net))
    assert found.trained is None
    assert "It is not known whether these weights are trained." in found.caveats
    far = found["distance"].sel(pair="4 → 6", measure="W1/σ").item()
    assert far > found["twin_largest"].sel(pair="4 → 6", measure="W1/σ").item()
    pairs = found["distance"].sel(measure="W1/σ").values
    assert found.key("W1/σ between neighbours").value == np.median(pairs)
    over = (pairs > found["twin_largest"].sel(measure="W1/σ").values).sum()
    assert found.key("pairs further apart than in every twin").value == over / 2 > 0


def test_broken_weights_are_reported_and_never_averaged_away() -> None:
    net = seeded(lambda: plain(3, 8))
    with torch.no_grad():
        net[2].weight[0, 0, 0, 0] = float("nan")
        net[4].weight.fill_(0.25)
        net[6].weight[3:5] = 0
    found = Weights()(opened(net))
    health = found["health"]
    assert health.sel(layer="2", measure="not finite").item() == 1
    assert health.sel(layer="4", measure="constant units").item() == 1
    assert health.sel(layer="6", measure="zero units").item() == 2 / 8
    assert np.isnan(found["statistic"].sel(layer="2", measure="std").item())
    assert np.isnan(found["density"].sel(layer="2").values).all()
    assert np.isnan(found["distance"].sel(pair="2 → 4").values).all()
    assert set(found["ailing"].layer.values) == {"2", "4", "6"}
    assert found.key("weight tensors with problems").value == 3
    assert any(line.startswith("3 weight tensors with problems, the first being 2: ") for line in found.caveats)
    alone = Weights(at=("6",))(opened(net))
    assert alone.headline == "3 of 5 weight tensors have problems; no two neighbouring tensors could be compared."
    assert any(panel.question == "repair" for panel in found.panels)


def test_a_healthy_network_has_no_repair_table() -> None:
    found = Weights()(opened(seeded(plain)))
    assert "ailing" not in found.arrays
    assert all(panel.question != "repair" for panel in found.panels)
    assert found.key("weight tensors with problems").value == 0
    assert found.key("weight tensors").value == 5


def test_one_unit_layers_linear_nets_and_half_precision_are_read() -> None:
    net = seeded(lambda: nn.Sequential(nn.Flatten(), nn.Linear(768, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 1)))
    found = Weights()(opened(net.to(torch.bfloat16)))
    assert found["density"].sizes["layer"] == 3
    assert any("bfloat16" in note for note in found.origin["specimen"]["notes"])
    assert found["health"].sel(measure="on an 8-bit lattice").max().item() == 0  # bfloat16 is no lattice


def test_dequantised_weights_are_known_by_their_lattice() -> None:
    net = seeded(lambda: plain(3, 16))
    with torch.no_grad():
        step = net[4].weight.abs().max() / 127
        net[4].weight.copy_((net[4].weight / step).round() * step)
    found = Weights()(opened(net))
    assert list(found["ailing"].layer.values) == ["4"]
    assert "8-bit origin" in found["ailing"].item()


def test_a_network_without_readable_weights_is_refused_in_a_sentence() -> None:
    with pytest.raises(Unmeasurable, match="no weight tensor of two or more axes"):
        Weights()(opened(nn.Sequential(nn.AvgPool2d(2), nn.ReLU())))


def test_units_come_first_and_shared_weights_once() -> None:
    up = nn.ConvTranspose2d(4, 6, 3, groups=2)
    told = weight_tensors(nn.Sequential(up))["0"].values
    assert tuple(told.shape) == (6, 2, 3, 3)
    # unit 4 is the second of group 1; its first input is input 2 of the layer
    assert torch.equal(told[4, 0], up.weight[2, 1])
    linear = nn.Linear(4, 4)
    assert list(weight_tensors(nn.Sequential(linear, linear))) == ["0"]
    assert tuple(weight_tensors(nn.Sequential(nn.Conv2d(4, 1, 3)))["0"].values.shape) == (1, 4, 3, 3)  # one unit, not four


def test_large_tensors_are_thinned_evenly_and_the_same_every_time() -> None:
    values = torch.arange(600.0).view(20, 30)
    thin = sample_values(values, most=100)
    assert torch.equal(thin, values.flatten()[::7])  # 6 = 600/100 shares a factor with 20 and 30; 7 does not
    assert np.array_equal(
        sorted_quantiles(values, most=6), [50, 150, 250, 350, 450, 550]
    )  # middles of six equal shares of 0…599


def test_quantiles_of_what_occurs_often_and_of_what_is_not_a_number() -> None:
    values = torch.randn(30_000, generator=torch.Generator().manual_seed(0))
    most = 1000
    values[::3] = 0.0
    assert np.count_nonzero(sorted_quantiles(values, most) == 0) == pytest.approx(most / 3, abs=1)
    for odd in (torch.nan, torch.inf, -torch.inf):
        values[1] = odd
        assert np.isnan(sorted_quantiles(values, most)).all()


@pytest.mark.parametrize(("rows", "cols"), [(300, 400), (400, 300), (1030, 1100)])  # Gram of rows, of inputs, none
@pytest.mark.parametrize("scale", [1.0, 1e-18, 1e15])  # squares and their sums of squares pass the ends of float32
def test_the_top_singular_value_of_a_large_weight_is_that_of_the_full_decomposition(rows: int, cols: int, scale: float) -> None:
    weight = torch.randn(rows, cols, generator=torch.Generator().manual_seed(0)) * scale
    exact = torch.linalg.svdvals(weight.double())
    found = describe_values(weight)
    norm, rank = found["spectral norm"], found["stable rank"]
    assert norm == pytest.approx(float(exact[0]), rel=1e-4)
    assert rank == pytest.approx(float((exact**2).sum() / exact[0] ** 2), rel=2e-4)


@pytest.mark.skipif(not DATA.exists(), reason=f"real networks are not at {DATA} (set MICROTOME_DATA)")
def test_the_8_bit_origin_of_a_real_network_is_found() -> None:
    file = DATA / "safetensors" / "mobilenetv2_100_tfquant.safetensors"
    found = Weights()(mt.open("timm:mobilenetv2_100", weights=file, pad_type="same"))
    health = found["health"]
    # MANIFEST.json: uint8 weights dequantised, batch norm folded (identity and bias)
    assert (health.sel(measure="on an 8-bit lattice").values > 0).mean() > 0.9
    assert (health.sel(measure="placeholder norm").values[found["norm"].values != ""] == 1).all()


def test_common_suite(net: mt.Specimen, tmp_path: Path) -> None:
    testing.check(Weights(), net, None, tmp_path)
