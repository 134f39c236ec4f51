"""Channel gates: values against the network's own, planted class dependence, structures told apart, and what can go wrong."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

import microtome as mt
from gated_networks import Gated, made
from microtome import testing
from microtome.analyses.excitation import ALL_CLASSES, Excitation
from microtome.errors import UnknownName, Unmeasurable
from microtome.scan import Pace

RECIPE = {"size": 16, "mean": (0.0,) * 3, "std": (1.0,) * 3, "crop": 1.0}
PACE = Pace(batch=8, device="cpu")


def coloured(count: int = 24, classes: int = 3) -> mt.Images:
    """Noise images of 16 px whose mean colour is the class: red, green, blue."""
    draw = torch.Generator().manual_seed(0)
    labels = torch.arange(count) % classes
    x = 0.3 * torch.rand(count, 3, 16, 16, generator=draw)
    x[torch.arange(count), labels] += 0.6
    return mt.Images.tensors(x, labels=labels.numpy(), classes=["red", "green", "blue"][:classes])


def test_gates_by_class_against_the_networks_own() -> None:
    net, pics = made(), coloured()
    specimen = mt.open(net, recipe=RECIPE)
    found = Excitation()(specimen, pics, PACE)
    x = specimen.recipe.normalise(torch.from_numpy(pics.pixels(specimen.recipe)))
    with torch.no_grad():
        gate = net.gate(x).double().numpy()
    assert pics.labels is not None
    name = found["mean"].layer.values[0]
    for label, colour in enumerate(["red", "green", "blue"]):
        mine = gate[pics.labels == label]
        np.testing.assert_allclose(found[f"gate/{name}"].sel({"class": colour}).values, mine.mean(0), rtol=1e-5)
        np.testing.assert_allclose(
            found[f"within_high/{name}"].values[0] - found[f"within/{name}"].values[0], gate[pics.labels == 0].std(0), rtol=1e-3, atol=1e-6
        )  # fmt: skip
    np.testing.assert_allclose(found[f"curve/{name}"].sel({"class": ALL_CLASSES}).values, gate.mean(0), rtol=1e-5)
    np.testing.assert_allclose(found[f"image_gate/{name}"].values, gate[:8], rtol=1e-5)
    assert found["form"].values[0] == "sigmoid"


def test_a_planted_class_gate_explains_all_and_a_blind_one_nothing() -> None:
    """One network squeezes the mean colour, which is the class; one is blind to the image but for a little noise."""
    net = made()
    net.stem.weight.data.zero_()
    net.stem.bias.data.zero_()
    for unit in range(3):
        net.stem.weight.data[unit, unit, 1, 1] = 1.0  # the unit is the colour
    net.excite.weight.data = 8 * torch.eye(4)
    net.excite.bias.data.fill_(-4.0)
    found = Excitation()(mt.open(net, recipe=RECIPE), coloured(), PACE)
    assert found["beyond_chance"].values[0] > 0.98 and found["still"].values[0] == 1
    assert found.key_numbers[0].at == "excite"
    assert found.key_numbers[0].value == found["beyond_chance"].values[0]
    shuffled = coloured()
    labels = np.random.default_rng(3).permutation(np.asarray(shuffled.labels))
    x = torch.from_numpy(shuffled.pixels(mt.open(net, recipe=RECIPE).recipe)).permute(0, 3, 1, 2).float() / 255
    found = Excitation()(mt.open(net, recipe=RECIPE), mt.Images.tensors(x, labels=labels, classes=["a", "b", "c"]), PACE)
    assert abs(found["beyond_chance"].values[0]) < 0.2  # the plain share would be about 2/23 above nothing


def test_always_and_never_open() -> None:
    net = made()
    net.excite.weight.data.zero_()
    net.excite.bias.data = torch.tensor([9.0, -9.0, 0.0, 9.0])
    found = Excitation()(mt.open(net, recipe=RECIPE), coloured(), PACE)
    assert (found["always_open"].item(), found["never_open"].item(), found["still"].item()) == (2, 1, 4)
    assert (found["open"].item(), found["shut"].item()) == (0.5, 0.25)
    assert np.isnan(found["between_class"].item()) and "never vary" in found.headline


def test_one_class_and_too_few_images() -> None:
    net = mt.open(made(), recipe=RECIPE)
    single = Excitation()(net, coloured(8, classes=1), PACE)
    assert "of one class" in single.headline and np.isnan(single["beyond_chance"].item())
    assert not any("variance" in panel.title for panel in single.panels)
    alone = Excitation()(net, coloured(3), PACE)  # one image of each class
    assert np.isnan(alone["beyond_chance"].item()) and "images are too few" in alone.headline


def test_broken_weights_and_names() -> None:
    net = made()
    with pytest.raises(UnknownName, match=r"no class 'rad'.*'red'"):
        Excitation(classes=("rad",))(mt.open(net, recipe=RECIPE), coloured(), PACE)
    with pytest.raises(UnknownName, match="No layer is called"):
        Excitation(at=("layer9",))(mt.open(net, recipe=RECIPE), coloured(), PACE)
    net.excite.weight.data[0] = float("nan")
    with pytest.raises(Unmeasurable, match="not finite"):
        Excitation()(mt.open(net, recipe=RECIPE), coloured(), PACE)


def test_a_factor_beyond_one_is_said() -> None:
    class Doubled(Gated):
        def forward(self, x: Tensor) -> Tensor:
            maps = self.stem(x)
            return self.head((maps * (2 * torch.tanh(self.excite(maps.mean((2, 3)))))[:, :, None, None]).mean((2, 3)))

    found = Excitation()(mt.open(Doubled().eval(), recipe=RECIPE), coloured(), PACE)
    assert found["form"].values[0] == "tanh + mul"
    assert any("Not confined to 0 to 1" in one for one in found.caveats)


@pytest.mark.parametrize("name", ["mini_vgg", "mini_resnet", "mini_densenet", "mini_inception", "mini_hrnet", "mini_deit"])
def test_networks_without_gates_are_skipped(name: str, pics: mt.Images) -> None:
    assert "no gate" in Excitation().refusal(mt.open(f"microtome:{name}", weights=None), pics)


def test_labels_are_needed() -> None:
    net = mt.open(made(), recipe=RECIPE)
    assert "labelled" in Excitation().refusal(net, mt.Images.tensors(torch.rand(4, 3, 16, 16)))


def test_an_untrained_network_is_no_finding(pics: mt.Images) -> None:
    found = Excitation()(mt.open("microtome:mini_seresnet", weights=None, zero_init_last=False), pics, PACE)
    assert "These weights are untrained." in found.caveats
    gap = found["beyond_chance"].values - found["twin_beyond_chance"].values
    assert np.nanmax(gap) < 0.3  # trained weights reach .7 where untrained ones give 0


def test_switched_off_branches_have_still_gates(pics: mt.Images) -> None:
    """timm sets the last norm of every untrained branch to zero, so what is squeezed is zero for every image."""
    found = Excitation()(mt.open("microtome:mini_seresnet", weights=None), pics, PACE)
    assert found["still"].values.tolist() == found["width"].values.tolist()
    assert "never vary" in found.headline
    assert "These weights are untrained." in found.caveats


def test_trained_gates_tell_classes_apart_with_depth() -> None:
    found = Excitation()(
        mt.open("microtome:mini_seresnet"), mt.Images.scenes(80, seed=7, size=64), Pace(batch=40, device="cpu")
    )
    beyond, twin = found["beyond_chance"].values, found["twin_beyond_chance"].values
    assert beyond[-1] > 0.4 > 0.2 > beyond[0] and beyond[-1] > twin[-1] + 0.3
    assert [name for name in found.arrays if name.startswith("curve/")] == [
        f"curve/layer{stage}.se" for stage in ("1.0", "2.0", "3.1", "4.2")
    ]


def test_common_suite(pics: mt.Images, tmp_path: Path) -> None:
    finding = testing.check(Excitation(), mt.open("microtome:mini_seresnet"), pics, tmp_path)
    assert finding["gate/layer1.0.se"].dims == ("class", "unit")


def test_shards_merge(pics: mt.Images) -> None:
    net = mt.open(made(), recipe=RECIPE)
    whole = Excitation().measure(net.on("cpu"), coloured(), PACE).arrays
    merged = testing.merge_shards(Excitation(), net, coloured())
    np.testing.assert_allclose(merged["between_class"].values, whole["between_class"].values, rtol=1e-12)
    np.testing.assert_array_equal(merged["image_gate/excite"].values, whole["image_gate/excite"].values)
