"""`patches` against all activations held in memory, an image planted where it must be found, and the untrained twin."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import microtome as mt
from microtome import testing
from microtome.analyses.patches import Patches
from microtome.analysis import Measurement
from microtome.errors import BadOption
from microtome.scan import Pace

RECIPE = {"size": 32, "mean": (0.5,) * 3, "std": (0.25,) * 3, "crop": 1.0}
BATCH = Pace(batch=16, device="cpu")


def by_hook(specimen: mt.Specimen, pics: mt.Images, path: str) -> torch.Tensor:
    """What the module at `path` gives for all images, batch by batch as the scan does, taken by a hook of our own."""
    kept: list[torch.Tensor] = []
    handle = specimen.net.get_submodule(path).register_forward_hook(lambda _m, _i, out: kept.append(out.detach().clone()))
    x = specimen.recipe.normalise(torch.from_numpy(np.asarray(pics.pixels(specimen.recipe, range(len(pics))))))
    with torch.no_grad():
        for part in x.split(16):
            specimen.net(part)
    handle.remove()
    return torch.cat(kept)


@pytest.mark.parametrize("per_image", [1, 3])
def test_same_as_sorting_all_activations_in_memory(net: mt.Specimen, pics: mt.Images, per_image: int) -> None:
    found = Patches(at=("blocks.1",), k=5, per_image=per_image)(net, pics, BATCH)
    every = by_hook(net.on("cpu"), pics, "blocks.1").numpy()
    for unit in range(every.shape[1]):
        rows = [
            (-value, image, cell)
            for image in range(len(pics))
            for cell in np.argsort(-every[image, unit].ravel(), kind="stable")[:per_image]
            for value in [every[image, unit].ravel()[cell]]
        ]
        rows.sort()
        place = found["place/blocks.1"].sel(unit=unit)
        assert found["value/blocks.1"].sel(unit=unit).values.tolist() == [-value for value, _, _ in rows[:5]]
        assert place.sel(axis="image").values.tolist() == [image for _, image, _ in rows[:5]]
        assert (place.sel(axis="row") * 16 + place.sel(axis="col")).values.tolist() == [cell for _, _, cell in rows[:5]]


def spot_net(broken: bool) -> nn.Module:
    """Unit 0 responds to red pixels, unit 1 never, unit 2 with NaN if `broken`; receptive fields of 3 px, then 5 px."""
    first, second = nn.Conv2d(3, 3, 3, padding=1), nn.Conv2d(3, 3, 3, stride=2, padding=1)
    with torch.no_grad():
        for conv in (first, second):
            conv.weight.zero_()
            conv.bias.zero_()
        first.weight[0, 0, 1, 1] = 1.0
        second.weight[0, 0, 1, 1] = 1.0
        first.bias[1] = -1.0
        first.weight[2] = float("nan") if broken else 0.0
    return nn.Sequential(first, nn.ReLU(), second, nn.ReLU()).eval()


def spots() -> mt.Images:
    """Eight grey images of 16 px, each with one red pixel, brighter from image to image."""
    x = np.full((8, 16, 16, 3), 128, np.uint8)
    for place in range(8):
        x[place, 2 * place, 14 - 2 * place] = (160 + 10 * place, 128, 128)
    return mt.Images.tensors(x)


def test_a_planted_spot_is_found_and_cut_out_at_its_centre() -> None:
    recipe = {"size": 16, "mean": (128 / 255,) * 3, "std": (1.0,) * 3, "crop": 1.0}
    found = Patches(at=("1", "3"), k=3, units=2)(mt.open(spot_net(False), recipe=recipe), spots(), Pace(batch=4, device="cpu"))
    for name, stride, size in (("1", 1, 3), ("3", 2, 5)):
        place = found[f"place/{name}"].sel(unit=0)
        assert place.sel(axis="image").values.tolist() == [7, 6, 5]
        assert (place.sel(axis="row") * stride).values.tolist() == [14, 12, 10]
        assert (place.sel(axis="col") * stride).values.tolist() == [0, 2, 4]
        crop = found[f"crop/{name}"].sel(unit=0).values
        assert crop.shape[1:3] == (size, size)
        half = size // 2
        assert crop[:, half, half].tolist() == [[230, 128, 128], [220, 128, 128], [210, 128, 128]]
        assert (np.delete(crop.reshape(3, -1, 3), half * size + half, axis=1) == 128).all()  # the rim is mean colour, too
    assert found["box/3"].sel(unit=0, rank=1).values.tolist() == [12, 17, -2, 3]  # leaves the image on the left and below


def test_units_that_never_respond_have_no_patch() -> None:
    recipe = {"size": 16, "mean": (128 / 255,) * 3, "std": (1.0,) * 3, "crop": 1.0}
    found = Patches(at=("1",), k=3)(mt.open(spot_net(True), recipe=recipe), spots(), Pace(batch=4, device="cpu"))
    assert (found["place/1"].sel(unit=[1, 2]) == -1).all()
    assert np.isnan(found["value/1"].sel(unit=[1, 2])).all()
    assert found["silent"].item() == pytest.approx(2 / 3)
    assert found["crop/1"].unit.values[0] == 0  # units that fire are shown first
    assert found.key("units without a patch").value == pytest.approx(2 / 3)
    assert found.headline.startswith("At 1, 66.7% of the units have no patch, too many for a comparison")
    assert any("66.7% of the units" in one for one in found.caveats)


def test_equal_values_go_to_the_first_image_and_are_named(pics: mt.Images) -> None:
    net = nn.Sequential(nn.Conv2d(3, 2, 1), nn.ReLU6())
    with torch.no_grad():
        net[0].weight.zero_()
        net[0].bias[:] = torch.tensor([9.0, 1.0])
    found = Patches(at=("1",), k=4)(mt.open(net, recipe=RECIPE), pics, BATCH)
    assert found["place/1"].sel(unit=0).values.tolist() == [[0, 0, 0], [1, 0, 0], [2, 0, 0], [3, 0, 0]]
    assert any("the order of the images decides" in one for one in found.caveats)


def test_units_that_know_a_class_are_told_from_random_ones(pics: mt.Images) -> None:
    """A colour that shows the label: two images of a unit that responds to it share a class; of random filters by chance."""
    labels = np.arange(39) % 3
    x = np.random.default_rng(0).integers(0, 120, (39, 8, 8, 3), np.uint8)
    for place, label in enumerate(labels):
        x[place, 2:4, 2:4, label] += 120
    net = nn.Sequential(nn.Conv2d(3, 3, 1), nn.ReLU())
    with torch.no_grad():
        net[0].weight[:] = torch.eye(3)[:, :, None, None]
    specimen = mt.open(net.eval(), recipe={"size": 8, "mean": (0.0,) * 3, "std": (1.0,) * 3, "crop": 1.0})
    found = Patches(at=("1",), k=6, sort="selective")(specimen, mt.Images.tensors(x, labels=labels), BATCH)
    assert found["agreement/1"].values.tolist() == [1.0] * 3
    assert found["agreement"].item() == 1.0
    assert found["shared"].item() == 0.0
    assert found["chance_agreement"].item() == pytest.approx(3 * 13 * 12 / (39 * 38))
    agreement, chance = found.key("class agreement"), found.key("class agreement, chance")
    assert (agreement.value, agreement.baseline, chance.value) == (
        1, found["twin_agreement"].item(), found["chance_agreement"].item(),
    )  # fmt: skip
    assert agreement.baseline < 1
    assert found.headline.startswith("At 1, 100% of pairs of a unit's strongest images share a class (untrained twins ")


def test_an_untrained_network_is_no_finding(pics: mt.Images) -> None:
    plain = mt.open("microtome:mini_resnet", weights=None)
    found = Patches(at=("deep",))(plain, mt.Images.scenes(60, seed=3), Pace(batch=30, device="cpu"))
    assert found["agreement"].item() == pytest.approx(found["chance_agreement"].item(), abs=0.06)
    assert found.headline.startswith("Untrained weights, ")
    assert any(line.endswith(" are not clearly more specific than random filters.") for line in found.caveats)


def test_tokens_and_vectors_show_the_whole_image(pics: mt.Images) -> None:
    specimen = mt.open("timm:deit_tiny_patch16_224", weights=None, recipe={"size": 64}, img_size=64)
    found = Patches(at=("blocks.5", "fc_norm"), k=2, units=1, size=64)(
        specimen, pics.take(range(6)), Pace(batch=6, device="cpu")
    )
    place = found["place/blocks.5"]
    assert place.sel(axis="row").max() <= 3  # 16 patches without the class token
    assert found["crop/blocks.5"].sizes == {"unit": 1, "rank": 2, "row": 64, "col": 64, "rgb": 3}
    row, col = (int(place.isel(rank=0).sel(unit=0, axis=axis)) for axis in ("row", "col"))
    frame: Any = found["crop/blocks.5"].values[0, 0]
    assert (frame[16 * row, 16 * col : 16 * col + 16] == 255).all()
    assert found["place/fc_norm"].sel(axis=["row", "col"]).max() == 0


def test_numbers_choose_units_and_wrong_ones_are_refused(net: mt.Specimen, pics: mt.Images) -> None:
    found = Patches(at=("stem",), numbers=(6, 2), k=2)(net, pics, BATCH)
    assert found["crop/stem"].unit.values.tolist() == [6, 2]
    with pytest.raises(BadOption, match="no unit 8; its units are 0 to 7"):
        Patches(at=("stem",), numbers=(8,))(net, pics, BATCH)


def test_common_suite(net: mt.Specimen, pics: mt.Images, tmp_path: Path) -> None:
    testing.check(Patches(), net, pics, tmp_path)


def test_shards_merge_to_the_bit(net: mt.Specimen, pics: mt.Images) -> None:
    measured = Patches().measure(net.on("cpu"), pics, Pace(batch=8, device="cpu"))
    assert isinstance(measured, Measurement)
    whole = measured.arrays
    testing.check_equal(whole, testing.merge_shards(Patches(), net, pics), "merged")
    testing.check_equal(whole, testing.merge_shards(Patches(), net, pics, parts=3), "merged")
