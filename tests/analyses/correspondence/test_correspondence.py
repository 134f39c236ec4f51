"""Correspondence: a network whose features are known, the finding on scenes, marks by hand, the laws."""

import numpy as np
import pytest
import torch
from torch import nn

import microtome as mt
from microtome import testing
from microtome.analyses.correspondence.correspondence import Correspondence
from microtome.errors import UnknownName, Unmeasurable

PLAIN = {"size": 16, "mean": (0.0,) * 3, "std": (1.0,) * 3, "crop": 1.0}


class Colours(nn.Module):
    """Features: mean red, green, blue, and grey minus each."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 1, bias=False)
        self.head = nn.Linear(6, 2)
        with torch.no_grad():
            self.conv.weight.copy_(torch.cat([torch.eye(3), -torch.eye(3)])[:, :, None, None])

    def forward(self, x):
        return self.head(self.conv(x).mean((2, 3)))


def coloured(count=6):
    """White squares of 4 px on pictures whose upper half is black and whose lower half is of random colours, and their masks."""
    drawn = torch.Generator().manual_seed(0)
    x, masks = torch.zeros(count, 3, 16, 16), torch.zeros(count, 16, 16, dtype=torch.bool)
    for i in range(count):
        x[i, :, 8:] = torch.randint(0, 2, (3, 1, 1), generator=drawn).float()
        row, col = i % 4, 2 * i
        x[i, :, row : row + 4, col : col + 4] = 1
        masks[i, row : row + 4, col : col + 4] = True
    return x, masks


def test_by_hand():
    """Greying a white square darkens every colour in every picture: no sign differs. Elsewhere it may darken or lighten each."""
    x, masks = coloured()
    pics = mt.Images.tensors(x, labels=[0] * 6, classes=["square"], masks=masks)
    found = Correspondence(at="conv", count=6, repeats=8)(mt.open(Colours(), recipe=PLAIN), pics)
    own = found["delta"].sel(layer="conv")
    assert own.values.tolist() == [0, 0, 0]
    assert (found["random"].sel(layer="conv").values > 0.1).all()
    assert (found["kappa"].values == 1).all()
    assert (found["random_kappa"].values < 0.9).all()
    assert found["table"].sel(part_="object", layer="conv").item() == "0.000 ± 0.000"
    assert found["examples"].dims == ("part", "image", "row", "col", "rgb")
    share = 16 * (1 - 128 / 255) / 256  # of each colour's mean
    whole = x.mean((2, 3)).norm(dim=1).numpy()
    wanted = (share * 3**0.5 / whole).mean()
    assert float(found["strength"].sel(layer="conv", part="object")) == pytest.approx(wanted, rel=1e-4)


def test_every_place_of_the_maps_counts_where_pictures_are_aligned():
    x, masks = coloured(3)
    masks[:] = masks[0]
    x[:, :, 0:4, 0:4] = 1
    pics = mt.Images.tensors(x, labels=[0] * 3, classes=["square"], masks=masks)
    found = Correspondence(at="conv", kind="map", parts="object")(mt.open(Colours(), recipe=PLAIN), pics)
    assert float(found["delta"].mean()) == 0  # 16 places of 6 features move alike, the others not at all
    assert 0 < float(found["random"].mean()) <= 2 * 16 / 256
    assert not any("means over each map" in one for one in found.caveats)


def test_maps_are_taken_before_they_are_overwritten_in_place():
    x, masks = coloured()
    pics = mt.Images.tensors(x, labels=[0] * 6, classes=["square"], masks=masks)

    def found(inplace):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            net = nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(inplace), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 2))
        return Correspondence(at="0", kind="map", repeats=2)(mt.open(net, recipe=PLAIN), pics)

    apart, over = found(False), found(True)
    for name in ("delta", "random", "matched", "kappa", "strength"):
        assert np.array_equal(apart[name].values, over[name].values), name


def test_parts_of_scenes_correspond_in_a_trained_network_and_not_in_its_twin():
    found = Correspondence(at="deep")(mt.open("microtome:mini_inception"), mt.Images.scenes(60, seed=3))
    own, elsewhere, twin, null = (
        float(found[name].mean()) for name in ("kappa", "random_kappa", "twin_kappa", "twin_random_kappa")
    )
    assert own - elsewhere > 0.1
    assert own - elsewhere > 2 * (twin - null)
    assert float(found["delta"].mean()) < float(found["matched"].mean()) < 0.7
    beyond = found.key("agreement beyond the control")
    assert beyond.value == pytest.approx(own - elsewhere)
    assert beyond.baseline == pytest.approx(twin - null)
    assert "features more alike" in found.headline
    assert found.facts["twins"] == 5 and beyond.baseline_name == "untrained twins"
    assert found["agreement_against_twins"].item() == "above all twins"
    assert not any("not shown to be due to training" in line for line in found.caveats)


def test_bad_input_is_refused(net, pics):
    with pytest.raises(UnknownName, match="no part 'uper'.*Did you mean 'upper'"):
        Correspondence(parts="uper")(net, pics)
    with pytest.raises(UnknownName, match="no class"):
        Correspondence(classes="discs")(net, pics)
    with pytest.raises(Unmeasurable, match="No class has 3 images"):
        Correspondence()(net, pics.take([0, 1]))


def test_law(net, pics, tmp_path):
    found = testing.check(Correspondence(at="blocks.0,blocks.2", repeats=2), net, pics, tmp_path)
    assert found["delta"].dims == ("layer", "part")
