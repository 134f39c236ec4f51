"""`invariance` on networks whose answer is known: equivariant by construction, aliasing by construction, symmetric kernels."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import microtome as mt
from microtome import testing
from microtome.analyses.invariance.invariance import Invariance
from microtome.errors import BadOption
from microtome.scan import Pace

RECIPE = {"size": 32, "mean": (0.5,) * 3, "std": (0.25,) * 3, "crop": 1.0}
PACE = Pace(batch=8, device="cpu")


def seeded(make: Any) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        return make().eval()


def circular(stride: int = 1) -> nn.Module:
    """A network on a torus: moving the picture by its stride moves its maps, and leaves their means."""
    settings: dict[str, Any] = {"kernel_size": 3, "padding": 1, "padding_mode": "circular"}
    return seeded(
        lambda: nn.Sequential(
            nn.Conv2d(3, 6, stride=stride, **settings),
            nn.ReLU(),
            nn.Conv2d(6, 8, **settings),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(8, 10),
        )
    )


def test_a_network_on_a_torus_is_equivariant_inside_and_invariant_at_the_end(pics: mt.Images) -> None:
    asked = Invariance(at=("0", "3", "4"), warps=("row_shift", "col_shift"), shifts=("-3:8:1",), border="wrap")
    found = asked(mt.open(circular(), recipe=RECIPE), pics, PACE)
    for warp in ("row_shift", "col_shift"):
        told = found[f"distance/{warp}"]
        assert told.amount.values.tolist() == list(range(-3, 9))
        assert told.sel(amount=0).values.tolist() == [0, 0, 0, 0]
        assert told.sel(layer=["4", "output"]).values.max() < 1e-5
        assert told.sel(layer=["0", "3"]).drop_sel(amount=0).values.min() > 0.05  # the maps themselves do move
        assert found[f"probability/{warp}"].values.std() < 1e-6
    assert found["consistency"].values.tolist() == [1, 1]
    assert found["stride"].to_series().to_dict() == {"0": 1, "3": 1}
    assert found["equivariance"].sel(measure="one stride").values.max() < 1e-5
    assert found["pooled"].values.max() < 1e-5


def test_strides_alias_and_blurring_before_them_helps(pics: mt.Images) -> None:
    """The mean of every second pixel changes with the shift; the mean of means of pairs is the mean of all, wherever they begin."""

    def pooled(before: nn.Module) -> Any:
        net = seeded(lambda: nn.Sequential(before, nn.Conv2d(3, 4, 1, bias=False)))
        found = Invariance(at=("1",), warps=("row_shift",), shifts=("1", "2"), border="wrap")(
            mt.open(net, recipe=RECIPE), pics, PACE
        )
        assert found["stride"].values.tolist() == [2]
        assert found["equivariance"].sel(measure="one stride").item() < 1e-6
        return found["pooled"].sel(layer="1")

    plain, blurred = pooled(nn.AvgPool2d(1, 2)), pooled(nn.AvgPool2d(2, 2))
    assert plain.sel(measure="one stride").item() < 1e-6
    assert plain.sel(measure="1 px").item() > 0.005
    assert blurred.values.max() < 1e-6


def test_whole_strides_of_a_strided_network(pics: mt.Images) -> None:
    net: Any = circular(stride=4)
    asked = Invariance(at=("1",), warps=("row_shift",), shifts=("4",), border="wrap", count=len(pics))
    found = asked(mt.open(net, recipe=RECIPE), pics, PACE)
    recipe = mt.open(net, recipe=RECIPE).recipe
    x = recipe.normalise(torch.from_numpy(pics.pixels(recipe)))
    with torch.no_grad():
        still, half = (net[1](net[0](one)).mean((2, 3)) for one in (x, x.roll(2, 2)))
    by_hand = [float((half[i] - still[i]).norm() / still[i].norm()) for i in range(len(x))]
    pooled = found["pooled"].sel(layer="1", measure="half a stride").item()
    assert pooled == pytest.approx(np.mean(by_hand), rel=1e-4)
    # 1, 2 and 4 px are measured for the strides though only 4 was asked for
    assert found["distance/row_shift"].amount.values.tolist() == [0, 4]
    told = found["equivariance"].sel(layer="1")
    assert told.sel(measure="one stride").item() < 1e-5 < 0.05 < told.sel(measure="1 px").item()
    assert found["distance/row_shift"].sel(layer="output", amount=4).item() < 1e-5
    assert np.isnan(found["aliasing"].item()) or found["aliasing"].item() > 1e3


def test_a_symmetric_kernel_does_not_see_a_mirror_image(pics: mt.Images) -> None:
    net: Any = circular()
    with torch.no_grad():
        for conv in (net[0], net[2]):
            conv.weight.copy_((conv.weight + conv.weight.flip(3)) / 2)
    found = Invariance(at=("3",), warps=("flip",))(mt.open(net, recipe=RECIPE), pics, PACE)
    told = found["distance/flip"].sel(layer="output")
    assert told.sel(amount="left and right").item() < 1e-5 < told.sel(amount="top and bottom").item()
    assert found["distance/flip"].sel(layer="3", amount="left and right").item() > 0.05  # the maps are mirrored, not the same


def test_pictures_are_followed_one_by_one(net: mt.Specimen, pics: mt.Images) -> None:
    asked = Invariance(at=("stem", "blocks"), warps=("row_shift", "rotation", "flip"), shifts=("0:8:2",), count=8)
    found = asked(net, pics, PACE)
    # 8 of 40 in content order; five of those 8, evenly: the places 0, 2, 4 (3.5 to even), 5, 7
    chosen = [one for one in pics.content_order() if one in pics.sample(8)]
    shown = [chosen[one] for one in (0, 2, 4, 5, 7)]
    names = [pics.names[one] for one in shown]
    assert found["pictures/row_shift"].image.values.tolist() == names
    assert {name for name in found.arrays if name.startswith("pictures/")} == {"pictures/row_shift", "pictures/rotation"}
    assert found["followed"].values.tolist() == ["stem", "blocks.2"]
    pixels = pics.pixels(net.recipe, shown)
    tiles = found["pictures/row_shift"]
    assert tiles.amount.values.tolist() == [0, 2, 4, 6, 8]
    assert np.array_equal(tiles.sel(amount=0).values, pixels)  # 32 px: not made smaller
    assert np.array_equal(tiles.sel(amount=6).values[:, 6:], pixels[:, :-6])
    # the mean over all eight is the one told by layer
    for end, layer in (("shallow", "stem"), ("deep", "blocks.2")):
        np.testing.assert_allclose(found[f"mean_{end}/rotation"], found["distance/rotation"].sel(layer=layer), rtol=1e-6)
        assert found[f"each_{end}/rotation"].sel(amount=0).values.tolist() == [0] * 5
    titles = [panel.title for panel in found.panels]
    assert {"Images by row shift", "Image by image: distance at blocks.2 by rotation",
            "Image by image: probability by row shift"} <= set(titles)  # fmt: skip


def test_crops_come_from_the_picture_where_the_recipe_leaves_room(tiny: Any) -> None:
    """A recipe that cuts 32 of 40 px has 4 px to move in: the unmoved crop is what the network always sees, nothing enlarged."""
    specimen = mt.open(tiny(), recipe={**RECIPE, "crop": 0.8})
    pics = mt.Images.scenes(6, seed=2, size=48)
    asked = Invariance(at=("stem",), warps=("crop_shift",), count=6)
    plan = asked._plan(specimen, pics)
    assert plan.amounts["crop_shift"] == (0, 1, 2, 4)
    larger, enlarged = asked._larger(specimen.recipe, plan, True)
    assert larger.size == (40, 40)
    assert enlarged == 1
    inner = pics.pixels(larger)[:, 4:36, 4:36]
    assert np.array_equal(inner, pics.pixels(specimen.recipe))
    found = asked(specimen, pics, PACE)
    assert found.facts["enlarged"] == {}
    x = specimen.recipe.normalise(torch.from_numpy(pics.pixels(larger)))
    with torch.no_grad():
        moved, still = (specimen.net.stem(x[:, :, at : at + 32, at : at + 32]) for at in (6, 4))
    gaps = ((moved - still).flatten(1).norm(dim=1) / still.flatten(1).norm(dim=1)).mean().item()
    assert found["distance/crop_shift"].sel(layer="stem", amount=2).item() == pytest.approx(gaps, rel=1e-4)


def test_a_border_cut_from_a_larger_picture_is_said(net: mt.Specimen, pics: mt.Images) -> None:
    found = Invariance(at=("stem",), warps=("row_shift",), shifts=("-4", "4"), border="crop")(net, pics, PACE)
    assert found.facts["enlarged"] == {"border": pytest.approx(40 / 32)}
    assert any("enlarged 1.25 times" in one for one in found.caveats)


def test_unlabelled_images_are_asked_for_the_predicted_class(net: mt.Specimen, pics: mt.Images) -> None:
    bare = replace(pics, labels=None, classes=None)
    found = Invariance(at=("stem",), warps=("scale",), scales=("1.5",), count=6)(net, bare, PACE)
    assert "predicted" in found.facts["class"]
    x = net.recipe.normalise(torch.from_numpy(bare.pixels(net.recipe, bare.sample(6))))
    best = net.run(x).softmax(1).max(1).values.mean().item()
    assert found["probability/scale"].sel(amount=1).item() == pytest.approx(best, rel=1e-4)
    lowest = found.key("lowest probability")
    assert lowest.baseline == found["probability/scale"].sel(amount=1).item()
    assert lowest.value == found["probability/scale"].min().item()


def test_one_number_for_each_picture_is_an_output_too(pics: mt.Images) -> None:
    flat = seeded(lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 1)))
    bare = nn.Sequential(*flat, nn.Flatten(0))  # (image,) instead of (image, 1)
    asked = Invariance(at=("0",), warps=("rotation",))
    one, same = (asked(mt.open(net, recipe=RECIPE), pics, PACE)["distance/rotation"].values for net in (bare, flat))
    assert one[-1].max() > 0 and np.array_equal(one, same)


def test_networks_without_scores_still_have_distances(pics: mt.Images) -> None:
    maps = mt.open(seeded(lambda: nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU())), recipe=RECIPE)
    found = Invariance(at=("0",), warps=("rotation",))(maps, pics, PACE)
    assert "probability" not in found.arrays
    assert np.isfinite(found["change"].values).all()
    assert "no class scores" in " ".join(found.caveats)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"shifts": ("a",)}, "first:last:step"),
        ({"shifts": ("1:2",)}, "first:last:step"),
        ({"shifts": ("0:1:0.0001",)}, "at most 200 steps"),
        ({"shifts": ("17",)}, "here it takes -16 to 16"),
        ({"scales": ("0",)}, "here it takes 0.1 to 10"),
        ({"scales": ("1",)}, "option scales names nothing that changes"),
        ({"warps": ()}, "option warps names nothing"),
        ({"warps": ("shear",)}, "shear"),
    ],
)
def test_wrong_options_are_told(net: mt.Specimen, pics: mt.Images, options: Any, said: str) -> None:
    with pytest.raises(BadOption, match=said):
        Invariance(at=("stem",), **options)(net, pics, PACE)


def test_common_suite(net: mt.Specimen, pics: mt.Images, tmp_path: Path) -> None:
    found = testing.check(Invariance(at=("stem", "blocks"), count=20), net, pics, tmp_path)
    assert set(found["distance"].dims) == {"warp", "amount", "layer"}
    assert len(json.dumps(found.headline)) < 500


def test_shards_merge_to_the_whole(net: mt.Specimen, pics: mt.Images) -> None:
    asked = Invariance(at=("stem",), warps=("row_shift", "crop_shift"), count=40)
    plan = asked._plan(net, pics)
    whole, one, two = (asked._rows(net, pics, plan, replace(PACE, shard=shard), "warps") for shard in ((0, 1), (0, 2), (1, 2)))
    one.merge(two)
    for name in ("distance", "pooled", "misfit", "chance", "answer"):
        np.testing.assert_array_equal(one.column(name), whole.column(name))


def test_untrained_networks_are_told_apart_by_their_twin(pics: mt.Images) -> None:
    found = Invariance(warps=("row_shift",))(mt.open("microtome:mini_resnet", weights=None, recipe={"size": 32}), pics, PACE)
    assert "These weights are untrained." in found.caveats
    # random weights of one architecture move alike: within the interval over images
    own, twin = (found[name].sel(warp="row_shift", layer="layer1").item() for name in ("change", "twin_change"))
    assert abs(own - twin) < 0.25


def test_distance_between_images_is_over_all_pairs_in_any_order_and_batch(
    net: mt.Specimen, pics: mt.Images, monkeypatch: pytest.MonkeyPatch
) -> None:
    """20 images, more than one chunk of 8: every pair by NumPy; the same from shuffled images and other batches."""
    asked = Invariance(at=("stem",), warps=("row_shift",), shifts=("2",), count=20)
    twenty = pics.take(range(20))
    found = asked(net, twenty, Pace(batch=8, device="cpu"))
    x = net.recipe.normalise(torch.from_numpy(twenty.pixels(net.recipe)))
    inner: Any = net.net
    with torch.no_grad():
        flat = {"stem": inner.stem(x).flatten(1).double().numpy(), "output": inner(x).double().numpy()}
    for name, values in flat.items():
        gaps = np.linalg.norm(values[:, None] - values[None], axis=2).sum(1) / 19 / np.linalg.norm(values, axis=1)
        assert found["apart"].sel(layer=name).item() == pytest.approx(gaps.mean(), rel=1e-5)
    shuffled = asked(net, twenty.take(np.random.default_rng(0).permutation(20)), Pace(batch=5, device="cpu"))
    for name in ("apart", "twin_apart", "change", "change_low", "change_high", "twin_change", "distance", "consistency_low"):
        np.testing.assert_allclose(shuffled[name].values, found[name].values, rtol=1e-5, atol=1e-9)
    monkeypatch.setattr("microtome.analyses.invariance.views.REFERENCE_BYTES", 0)
    some = asked(net, twenty, PACE)  # each image against the first 8 in the order by content
    values = flat["stem"][twenty.content_order()]
    gaps = np.linalg.norm(values[:, None] - values[None, :8], axis=2).sum(1) / np.where(np.arange(20) < 8, 7, 8)
    assert some["apart"].sel(layer="stem").item() == pytest.approx((gaps / np.linalg.norm(values, axis=1)).mean(), rel=1e-5)
    assert any("that of each to 8 of them" in line for line in some.caveats)
