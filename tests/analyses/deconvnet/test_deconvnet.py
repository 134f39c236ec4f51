"""`deconvnet`: a spot that must come back where it is, the plain gradient where no rule is defined, and controls that can fail."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import microtome as mt
from microtome import testing
from microtome.analyses.deconvnet import Deconvnet
from microtome.analyses.patches import Patches
from microtome.errors import BadOption
from microtome.instruments.projection import project_units
from microtome.scan import Pace

BATCH = Pace(batch=16, device="cpu")
RECIPE = {"size": 16, "mean": (0.5,) * 3, "std": (1.0,) * 3, "crop": 1.0}


def spots() -> mt.Images:
    """Eight grey images of 16 px, each with one bright red pixel on the diagonal."""
    x = np.full((8, 16, 16, 3), 128, np.uint8)
    for place in range(8):
        x[place, 2 * place, 2 * place, 0] = 180 + 10 * place
    return mt.Images.tensors(x)


def spot_net() -> nn.Module:
    """One unit that responds to a red pixel and two with random weights, over two convolutions."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 3, 3, padding=1), nn.ReLU())
    with torch.no_grad():
        for conv in (net[0], net[2]):
            conv.weight[0].zero_()
            conv.weight[0, 0, 1, 1] = 1.0
    return net.eval()


def test_a_spot_comes_back_where_it_is() -> None:
    found = Deconvnet(at=("3",), k=3, numbers=(0,))(mt.open(spot_net(), recipe=RECIPE), spots(), BATCH)
    assert found["place/3"].sel(unit=0, axis="row").values.tolist() == [14, 12, 10]
    shown = found["projection/3"].sel(unit=0)
    assert shown.sizes == {"rank": 3, "row": 5, "col": 5, "rgb": 3}
    values = found["value/3"].sel(unit=0).values
    expected = np.zeros((3, 5, 5, 3), np.float32)
    expected[:, 2, 2, 0] = values  # the unit passes red by 1 · 1, and the signal starts with the activation
    np.testing.assert_allclose(shown.values, expected, atol=1e-7)
    pair = found["pair/3"].values
    assert pair[1, 0, 2, 2].tolist() == [248, 128, 128]  # red above in steps of 8, grey elsewhere
    assert (np.delete(pair[1, 0].reshape(-1, 3), 12, axis=0) == 128).all()


@pytest.mark.parametrize("rule", ["deconvnet", "guided", "gradient", "rectgrad"])
def test_projections_are_those_of_single_activations_cut_to_the_window(net: mt.Specimen, pics: mt.Images, rule: str) -> None:
    found = Deconvnet(at=("blocks.0",), k=3, units=2, rule=rule, quantile=0.9)(net, pics, BATCH)
    x = net.recipe.normalise(torch.from_numpy(np.asarray(pics.pixels(net.recipe))))
    window = 11  # stem 3 px with stride 2, then two 3 × 3 convolutions at jump 2: 3 + 4 + 4
    assert found["projection/blocks.0"].sizes["unit"] == 2
    for unit in found["projection/blocks.0"].unit.values:
        for rank in (1, 3):
            image, row, col = found["place/blocks.0"].sel(unit=unit, rank=rank).values.tolist()
            whole = project_units(
                net, "blocks.0", x[image : image + 1], torch.tensor([unit]), torch.tensor([16 * row + col]), rule, quantile=0.9
            ).pixels[0]
            padded = torch.nn.functional.pad(whole, (window,) * 4)
            top, left = 2 * row - window // 2 + window, 2 * col - window // 2 + window
            expected = padded[:, top : top + window, left : left + window].permute(1, 2, 0)
            shown = found["projection/blocks.0"].sel(unit=unit, rank=rank).values
            np.testing.assert_allclose(shown, expected.numpy(), rtol=1e-4, atol=1e-6)
            assert whole.abs().sum().item() == pytest.approx(float(np.abs(shown).sum()), rel=1e-4)  # nothing lies outside


def test_the_same_activations_as_patches_shows(net: mt.Specimen, pics: mt.Images) -> None:
    found, patches = (kind(at=("blocks.1",), k=4, units=3)(net, pics, BATCH) for kind in (Deconvnet, Patches))
    assert found["value/blocks.1"].unit.values.tolist() == patches["crop/blocks.1"].unit.values.tolist()
    np.testing.assert_array_equal(found["pair/blocks.1"].values[0::2], patches["crop/blocks.1"].values)


def test_an_untrained_network_s_projections_are_not_its_own(pics: mt.Images) -> None:
    """Few weights between the pixels and the layer: what comes back is the image's, whichever unit is projected."""
    plain = mt.open("microtome:mini_vgg", weights=None)
    found = Deconvnet(at=("deep",), k=2, units=3)(plain, mt.Images.scenes(20, seed=3), BATCH)
    gradient = Deconvnet(at=("deep",), k=2, units=3, rule="gradient")(plain, mt.Images.scenes(20, seed=3), BATCH)
    assert found["likeness"].sel(measure="another unit").item() > 0.5
    assert gradient["signed_likeness"].values[0, 0] < found["signed_likeness"].values[0, 0]
    unit = found.key("similarity to another unit")
    assert unit.value == found["likeness"].sel(measure="another unit").item() and unit.at == found["likeness"].layer.item()
    assert found.headline.startswith("Untrained weights: projections of ")
    assert any(line.startswith(f"Projections of {unit.at} are not specific to the unit") for line in found.caveats)


def test_where_no_rule_is_defined_the_gradient_is_called_so() -> None:
    tokens = mt.open("microtome:mini_deit")
    found = Deconvnet(at=("blocks.1",), k=2, units=1)(tokens, mt.Images.scenes(6, seed=1), BATCH)
    assert found.caveats[0] == "At blocks.1: Plain gradient (deconvnet was asked for, but there are 0 rectifiers)."
    assert found.key("rectifiers").value == 0
    assert any("2 GELU, 4 layer norm, 2 softmax" in one for one in found.caveats)
    plain = Deconvnet(at=("blocks.1",), k=2, units=1, rule="gradient")(tokens, mt.Images.scenes(6, seed=1), BATCH)
    np.testing.assert_array_equal(plain["projection/blocks.1"].values, found["projection/blocks.1"].values)


def test_wrong_units_are_refused(net: mt.Specimen, pics: mt.Images) -> None:
    with pytest.raises(BadOption, match="no unit 8; its units are 0 to 7"):
        Deconvnet(at=("stem",), numbers=(8,))(net, pics, BATCH)


def test_common_suite(net: mt.Specimen, pics: mt.Images, tmp_path: Path) -> None:
    finding = testing.check(Deconvnet(k=4), net, pics, tmp_path)
    assert any("Nie et al. 2018" in one for one in finding.caveats)


def test_shards_merge_to_the_bit(net: mt.Specimen, pics: mt.Images) -> None:
    whole = Deconvnet(k=3, units=2).measure(net.on("cpu"), pics, Pace(batch=8, device="cpu"))
    testing.check_equal(whole, testing.merge_shards(Deconvnet(k=3, units=2), net, pics), "merged")


def test_activations_below_zero_are_named(pics: mt.Images) -> None:
    """A convolution with a large negative bias gives nothing but negative values; with a large positive one none."""
    for bias, below in ((-50.0, True), (50.0, False)):
        torch.manual_seed(0)
        net = torch.nn.Sequential(
            torch.nn.Conv2d(3, 4, 3, padding=1), torch.nn.ReLU(), torch.nn.Conv2d(4, 4, 3, padding=1)
        ).eval()
        with torch.no_grad():
            net[2].bias.fill_(bias)
        found = Deconvnet(at=("2",), k=2, units=2)(mt.open(net, recipe={"size": 16, "crop": 1.0}), pics.take(range(4)))
        assert any("of 2 are below zero: their projections start with their size" in text for text in found.caveats) == below
