"""Localisation and accuracy by size and clutter: networks and masks whose scores can be written down, then the laws."""

import numpy as np
import pytest
import torch
from scipy.stats import binom
from torch import nn

import microtome as mt
from microtome import testing
from microtome.analyses.objects import Objects
from microtome.analyses.objects.arrays import CLUTTERS
from microtome.errors import Unmeasurable
from microtome.instruments.attribution import INPUT, map_kind, patch_effects
from microtome.map_kinds import layer_kind_names, pixel_kind_names
from microtome.numerics.maps.localisation import localisation_scores
from microtome.numerics.maps.strata import clutter_fraction, spread_over
from microtome.numerics.statistics.trends import relative_loss, relative_ranks, slope_interval
from microtome.scan import Pace

SIZE = 14  # px: each cell of the common 7 x 7 grid is 2 x 2 pixels
PLAIN = {"size": SIZE, "mean": (0.0,) * 3, "std": (1.0,) * 3, "crop": 1.0}


class Bright(nn.Module):
    """A map of the brightness (or one that is the same everywhere) whose mean speaks for class 0."""

    def __init__(self, even: bool = False) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 1, 1)
        self.head = nn.Linear(1, 2)
        with torch.no_grad():
            self.conv.weight.fill_(0.0 if even else 1 / 3)
            self.conv.bias.fill_(1.0 if even else 0.0)
            self.head.weight.copy_(torch.tensor([[1.0], [-1.0]]))
            self.head.bias.zero_()

    def forward(self, x):
        return self.head(self.conv(x).mean((2, 3)))


def squares(sides=(2, 4, 6, 10), count=12):
    """White squares on black, aligned to the grid: images (image, 3, row, col) and their masks, `count` of each side."""
    images, masks = [], []
    for side in sides:
        for place in range(count):
            mask = torch.zeros(SIZE, SIZE, dtype=torch.bool)
            at = 2 * (place % ((SIZE - side) // 2 + 1))
            mask[at : at + side, :side] = True
            masks.append(mask)
            images.append(mask.float().expand(3, -1, -1))
    return torch.stack(images), torch.stack(masks)


def measured(net, wrong=0, **options):
    """The finding over the squares; the last `wrong` images of each size have the label that the network does not give."""
    x, masks = squares()
    labels = np.zeros(len(x), dtype=np.int64)
    labels[np.arange(len(labels)) % 12 >= 12 - wrong] = 1
    images = mt.Images.tensors(x, labels=labels, classes=["bright", "dark"], masks=masks)
    specimen = mt.open(net, recipe=PLAIN, labels=["bright", "dark"])
    return Objects(**{"at": "conv"} | options)(specimen, images)


def test_a_network_that_sees_exactly_the_object():
    found = measured(Bright())
    areas = np.array([4, 16, 36, 100]) / SIZE**2  # 2.0, 8.2, 18.4 and 51.0 %: one size in each bin
    assert found["lift_by_size"].values == pytest.approx(1 - areas)
    assert np.isnan(found["lift_by_size_low"].values).all()  # the same lift on every image says nothing of how it varies
    overall = {str(name): float(found["overall"].sel(measure=name)) for name in found["overall"].measure.values}
    assert overall["lift"] == pytest.approx(1 - areas.mean())
    assert (overall["ebpg"], overall["pointing_game"], overall["iou"], overall["accuracy"]) == pytest.approx((1, 1, 1, 1))
    assert overall["coverage50"] == pytest.approx(np.median(areas) / 2)
    assert found["count_by_size"].values.tolist() == [12] * 4
    assert found.key("images").value == 48
    lift = found.key("localisation lift")
    assert (lift.value, lift.unit, lift.at) == (pytest.approx(100 * (1 - areas.mean())), "points", "conv")
    assert found.key("energy-based pointing game").baseline == pytest.approx(areas.mean())


@pytest.mark.parametrize("kind", layer_kind_names())
def test_every_kind_finds_the_object_of_a_network_that_sees_exactly_it(kind):
    """All kinds give a map in proportion to brightness here; Gaussians reach over the edges of the object."""
    finding = measured(Bright(), kind=kind)
    assert finding.facts["kind"] == map_kind(kind).title
    assert finding.panels[0].note.startswith(f"{map_kind(kind).title}. Grey:")
    areas = np.array([4, 16, 36, 100]) / SIZE**2
    lift = finding["lift_by_size"].values
    if kind == "gaussian":
        assert (lift > 0.1).all() and (lift < 1 - areas).all()
    else:
        assert lift == pytest.approx(1 - areas, abs=1e-6)
    assert any("does not depend on the class" in caveat for caveat in finding.caveats) == (kind == "eigencam")


@pytest.mark.parametrize("kind", pixel_kind_names())
def test_every_kind_of_the_pixels_is_scored_without_a_layer(kind, monkeypatch):
    """The score is the mean brightness: what a pixel adds to it is its brightness, and its gradient is the same everywhere."""
    monkeypatch.setattr(patch_effects, "SAMPLES", 96)
    finding = measured(Bright(), kind=kind, at="deep")
    areas = np.array([4, 16, 36, 100]) / SIZE**2
    assert finding.facts["layer"] == INPUT and finding.facts["map_grid"] == [SIZE, SIZE]
    tolerance = {"kernelshap": 0.01, "lime": 0.3}.get(kind, 1e-4)  # few samples; the penalty of lime spreads small objects
    assert finding["lift_by_size"].values == pytest.approx(1 - areas if map_kind(kind).signed else 0 * areas, abs=tolerance)
    assert any("has no sign" in caveat for caveat in finding.caveats) == (not map_kind(kind).signed)
    with pytest.raises(Unmeasurable, match=r"maps the pixels, not a layer: leave out at \(conv given\)"):
        measured(Bright(), kind=kind)


def test_an_even_map_has_no_lift_at_any_size():
    found = measured(Bright(even=True))
    assert found["lift_by_size"].values == pytest.approx([0.0] * 4, abs=1e-12)
    assert float(found["overall"].sel(measure="lift")) == pytest.approx(0.0, abs=1e-12)
    assert any("not significantly above that of a blob" in one for one in found.caveats)
    assert float(found["overall"].sel(measure="ebpg")) == pytest.approx(float(found["overall"].sel(measure="area")))


def test_accuracy_counts_and_their_intervals():
    found = measured(Bright(), wrong=3, target="predicted")
    assert found["accuracy_by_size"].values == pytest.approx([0.75] * 4)
    # Clopper and Pearson's ends for 9 of 12: there 9 or more, and 9 or fewer, have a probability of 2.5%
    low, high = (found[f"accuracy_by_size_{end}"].values for end in ("low", "high"))
    assert binom.sf(8, 12, low) == pytest.approx([0.025] * 4) and binom.cdf(9, 12, high) == pytest.approx([0.025] * 4)
    assert float(found["overall"].sel(measure="accuracy")) == pytest.approx(0.75)
    assert float(found["slope"].sel(pair="accuracy by size")) == pytest.approx(0.0, abs=1e-12)
    assert found.facts["correct_count"] == 36
    smallest = found.key("accuracy on the smallest objects")
    assert (smallest.value, smallest.baseline, smallest.at) == (pytest.approx(0.75), pytest.approx(0.75), "1%–4%")
    assert smallest.low == low[0]


def test_the_class_of_the_label_is_asked_where_the_network_errs():
    by_label = measured(Bright(), wrong=12)  # the label speaks against brightness: nothing is for it
    assert by_label.facts["empty"] == 48
    assert np.isnan(by_label["lift_by_size"].values).all()
    assert any("48 images have an empty map" in one for one in by_label.caveats)


def test_bins_with_few_images_have_no_number():
    x, masks = squares(count=12)
    keep = np.r_[0:12, 12:21]  # nine of the second size
    images = mt.Images.tensors(x[keep], labels=[0] * 21, classes=["bright", "dark"], masks=masks[keep])
    found = Objects(at="conv")(mt.open(Bright(), recipe=PLAIN, labels=["bright", "dark"]), images)
    assert np.isnan(found["lift_by_size"].values).tolist() == [False, True, True, True]
    assert np.isnan(found["accuracy"].values[:, :]).sum() >= 9
    assert any("fewer than 10 images" in one for one in found.caveats)


def test_unknown_classes_leave_localisation():
    x, masks = squares()
    images = mt.Images.tensors(x, labels=[0] * 48, classes=["cat", "dog", "emu"], masks=masks)
    found = Objects(at="conv")(mt.open(Bright(), recipe=PLAIN, labels=["bright", "dark"]), images)
    assert np.isnan(found["accuracy"].values).all()
    assert float(found["overall"].sel(measure="lift")) > 0.7
    assert any("no accuracy" in one for one in found.caveats)
    assert "top-1 accuracy" not in [number.name for number in found.key_numbers]
    assert found.facts["labels"] == "" and found.facts["target"] == "predicted"


def test_images_without_masks_are_refused(net):
    with pytest.raises(Unmeasurable, match="masks"):
        Objects()(net, mt.Images.tensors(torch.rand(4, 3, 32, 32)))


def test_scenes_use_their_own_clutter_in_thirds(net, pics):
    found = Objects()(net, pics)
    assert found["lift"].dims == ("size", "clutter")
    assert tuple(found["lift"].coords["clutter"].values) == CLUTTERS
    assert found["count_by_clutter"].values.tolist() == [14, 13, 13]
    assert found["each_clutter"].values == pytest.approx(pics.facts("clutter"))
    coverage, wider = found["each_coverage50"].values, found["each_coverage90"].values
    assert 0 < np.nanmin(coverage) < np.nanmedian(coverage) <= 0.5
    assert np.isnan(coverage).mean() < 0.2 and ((coverage < wider) | np.isnan(coverage)).all()  # an empty map covers nothing
    assert found["clutter_border"].values == pytest.approx(np.quantile(pics.facts("clutter"), [1 / 3, 2 / 3]))


def test_an_untrained_network_knows_nothing(tiny):
    """Random weights: the lift's interval holds zero, or what there is falls short of a blob in the middle."""
    specimen = mt.open(tiny(seed=3), recipe={"size": 32})
    found = Objects(at="blocks.2", target="predicted")(specimen, mt.Images.scenes(80, seed=1, size=32))
    lift, low, high = (float(found[name].sel(measure="lift")) for name in ("overall", "overall_low", "overall_high"))
    assert low <= lift <= high
    assert low - 0.03 < 0 < high + 0.03
    assert lift < float(found["overall"].sel(measure="centre_lift"))


def test_law(net, pics, tmp_path):
    found = testing.check(Objects(at="blocks.1"), net, pics, tmp_path)
    assert found.facts["labels"].startswith("by order")


def test_the_kept_rows_go_away_when_done(net, pics, tmp_path):
    Objects(at="blocks.1")(net, pics, Pace(batch=8, keep=tmp_path, every=0.0))
    assert list(tmp_path.glob("*.safetensors")) == []


def test_scores_of_an_empty_map_or_mask_are_unknown():
    heat = torch.stack([torch.zeros(7, 7), torch.ones(7, 7)])
    masks = torch.stack([torch.ones(14, 14), torch.zeros(14, 14)]).bool()
    found = localisation_scores(heat, masks, 1.0)
    for name in ("ebpg", "centre_ebpg", "pointing_game", "iou", "coverage50", "coverage90"):
        assert found[name][1].isnan().all()  # no mask
        assert found[name][0].isnan().all() or name == "centre_ebpg"  # no heat; the blob has some
    assert found["area"].tolist() == [1, 0]


def test_trends_by_hand():
    x = np.arange(20.0)
    found = slope_interval(3 * x + 1, x)
    assert found == pytest.approx((3, np.nan, np.nan), nan_ok=True)  # nothing varies about the line
    assert np.isnan(slope_interval(x[:9], x[:9]).value)
    assert np.isnan(slope_interval(x, np.ones(20)).value)
    values = np.r_[np.full(10, 0.8), np.full(10, 0.6)]
    ends = np.arange(20) < 10, np.arange(20) >= 10
    assert relative_loss(values, *ends).value == pytest.approx(0.25)
    assert np.isnan(relative_loss(-values, *ends).value)
    assert relative_ranks(np.array([5.0, 1, np.nan, 5, 9])).tolist()[:2] == pytest.approx([1 / 3, 0])


def test_clutter_is_the_share_of_edges_outside_the_mask():
    image = np.zeros((2, 6, 6, 3), np.uint8)
    image[0, :, 3:] = 255  # one vertical edge, seen by the two columns beside it
    masks = np.zeros((2, 6, 6), bool)
    assert clutter_fraction(image, masks).tolist() == pytest.approx([1 / 3, 0])
    masks[0, :, 2:4] = True
    assert clutter_fraction(image, masks).tolist() == [0, 0]


def test_a_choice_shows_every_size_plain_and_cluttered():
    size, clutter = np.arange(60.0), np.tile([0.0, 1.0], 30)
    chosen = spread_over(size, clutter, 6)
    assert (chosen // 20).tolist() == [0, 0, 1, 1, 2, 2]
    assert clutter[chosen].tolist() == [0, 1] * 3
    assert (spread_over(size, clutter, 3) // 20).tolist() == [0, 1, 2]
    assert sorted(spread_over(size[:4], clutter[:4], 9).tolist()) == [0, 1, 2, 3]


def test_twins_answer_the_same_in_any_order_of_the_files():
    net, scenes = mt.open("microtome:mini_resnet"), mt.Images.scenes(30, seed=4)
    found = Objects()(net, scenes)
    shuffled = Objects()(net, scenes.take(np.random.default_rng(1).permutation(30)))
    for name in ("twin_lift", "twin_lift_low", "twin_lift_high"):
        assert float(found[name]) == pytest.approx(float(shuffled[name]), abs=1e-6)
    assert float(found["twin_lift_low"]) < float(found["twin_lift_high"])
