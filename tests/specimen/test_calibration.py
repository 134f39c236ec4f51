"""Running statistics of a twin's norms: what torch itself estimates in training, by every kind of norm, and nothing else changed."""

import copy
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

import microtome as mt
from microtome._torchvision import torchvision
from microtome.opening.opening import open as open_specimen
from microtome.specimen.calibration import CALIBRATION_IMAGES, calibrate, estimate_statistics, has_statistics, saw_no_image
from microtome.testing import fingerprint

RECIPE = {"size": 16, "mean": 0.5, "std": 0.5, "crop": 1}


class Norms(nn.Module):
    """Batch norms over maps and vectors, one of them called twice, an instance norm, and dropout."""

    def __init__(self, width: int = 6) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, width, 3), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = nn.Conv2d(width, width, 3, padding=1), nn.BatchNorm2d(width, affine=False)
        self.inner = nn.Sequential(nn.InstanceNorm2d(width, track_running_stats=True), nn.Dropout(0.0))
        self.head = nn.Sequential(nn.Linear(width, width), nn.BatchNorm1d(width), nn.Linear(width, 3))

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.bn1(self.conv1(x)))
        x = torch.relu(self.bn2(self.conv2(x)))
        x = torch.relu(self.bn2(self.conv2(x)))
        return self.head(self.inner(x).mean((2, 3)))


def inputs(batches: int = 1) -> list[Tensor]:
    draw = torch.Generator().manual_seed(0)
    return [torch.randn(8, 3, 16, 16, generator=draw) * (1 + batch) + batch for batch in range(batches)]


@pytest.mark.parametrize("batches", [1, 3])
def test_as_torch_estimates_them_in_training(batches: int) -> None:
    """The oracle is torch: training mode with a cumulative average (momentum None), one pass.

    The instance norm comes last: in training it normalises each image by its own statistics, in evaluation by the running ones.
    """
    torch.manual_seed(0)
    net = Norms().eval()
    expected = copy.deepcopy(net).train()
    for module in expected.modules():
        if hasattr(module, "momentum"):
            module.momentum = None if isinstance(module, nn.modules.batchnorm._BatchNorm) else module.momentum
    means, spreads = [], []
    with torch.no_grad():
        for x in inputs(batches):
            expected.inner[0].momentum = 1.0
            expected(x)
            means.append(expected.inner[0].running_mean.clone())
            spreads.append(expected.inner[0].running_var.clone())
    assert estimate_statistics(net, inputs(batches)) == 4
    for name, value in net.named_buffers():
        if "running" in name and not name.startswith(("inner", "head")):
            torch.testing.assert_close(value, expected.get_buffer(name), rtol=1e-4, atol=1e-5, msg=name)
    torch.testing.assert_close(net.inner[0].running_mean, torch.stack(means).mean(0), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(net.inner[0].running_var, torch.stack(spreads).mean(0), rtol=1e-4, atol=1e-5)


def test_after_it_a_batch_is_normalised() -> None:
    """With statistics of this very batch every unit that leaves a norm without weights has mean 0 and variance (n − 1)/n."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5, affine=False, eps=0)).eval()
    (x,) = inputs()
    estimate_statistics(net, [x])
    out = net(x).detach().movedim(1, 0).flatten(1)
    torch.testing.assert_close(out.mean(1), torch.zeros(5), atol=1e-5, rtol=0)
    count = out.shape[1]
    torch.testing.assert_close(out.var(1, correction=0), torch.full((5,), (count - 1) / count), atol=1e-4, rtol=0)


def test_frozen_norms_are_estimated_too() -> None:
    frozen = torchvision().ops.FrozenBatchNorm2d(3)
    frozen.running_mean.fill_(7.0)
    net = nn.Sequential(frozen, nn.Flatten(), nn.Linear(768, 2)).eval()
    (x,) = inputs()
    assert estimate_statistics(net, [x]) == 1
    torch.testing.assert_close(frozen.running_mean, x.mean((0, 2, 3)))
    torch.testing.assert_close(frozen.running_var, x.var((0, 2, 3)))


def test_a_twin_is_calibrated_on_the_images_and_says_so(pics: mt.Images) -> None:
    torch.manual_seed(0)
    net = Norms().eval()
    nn.init.uniform_(net.bn1.running_var, 0.5, 2.0)
    specimen = open_specimen(net, recipe=RECIPE)
    before = fingerprint(net)
    plain, twin, again = specimen.twin(1), specimen.twin(1, pics), specimen.twin(1, pics)
    assert fingerprint(net) == before
    assert twin.digest() == again.digest() != plain.digest()
    assert any(f"4 norm layers were estimated on {CALIBRATION_IMAGES} images, without labels" in note for note in twin.notes)
    for name, value in twin.net.named_parameters():
        assert torch.equal(value, plain.net.get_parameter(name))
    chosen = pics.sample(CALIBRATION_IMAGES).tolist()
    values = twin.net.conv1(torch.stack([specimen.recipe.tensor(pics[place].picture) for place in chosen])).detach()
    torch.testing.assert_close(twin.net.bn1.running_mean, values.mean((0, 2, 3)), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(twin.net.bn1.running_var, values.var((0, 2, 3)), rtol=1e-4, atol=1e-5)
    assert specimen.working_twin(pics).digest() == twin.digest()
    assert specimen.working_twin(pics) is specimen.working_twin(pics, 1)
    assert specimen.working_twin(pics.take(range(8))).digest() != twin.digest()
    assert not any(module._forward_pre_hooks for module in twin.net.modules())
    assert not any(module.training for module in twin.net.modules())


def test_large_images_come_in_several_batches(pics: mt.Images) -> None:
    """Of 500 px, 6 images have the pixels of 32 of 224 px: a batch. Eight are taken at least; every batch counts alike."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 2, 1, 8), nn.BatchNorm2d(2), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 2)).eval()
    specimen = open_specimen(net, recipe={"size": 500, "crop": 1})
    seen: list[int] = []
    net.register_forward_pre_hook(lambda _, args: seen.append(len(args[0])))
    calibrate(net, specimen.recipe, pics)
    assert seen == [6, 2]


def test_beside_a_network_that_saw_no_image_twins_see_none(pics: mt.Images) -> None:
    """Against twins with statistics a network just made would look unlike random weights; a trained one with folded norms has twins."""
    torch.manual_seed(0)
    fresh = open_specimen(Norms().eval(), recipe=RECIPE)
    assert saw_no_image(fresh.net)
    twin = fresh.twin(1, pics)
    assert twin.digest() == fresh.twin(1).digest() and fresh.working_twin(pics) is fresh.working_twin(None)
    assert any("never saw an image, so its twin's are left as they were made" in note for note in twin.notes)
    folded = replace(fresh, trained=True)
    assert folded.twin(1, pics).digest() != twin.digest()
    shifted = copy.deepcopy(fresh.net)
    shifted.bn1.bias.data[0] = 0.1
    assert not saw_no_image(shifted)


def test_networks_without_statistics_are_left_alone(net: mt.Specimen, pics: mt.Images) -> None:
    assert not has_statistics(net.net)
    assert net.twin(1, pics).digest() == net.twin(1).digest()
    assert net.working_twin(pics) is net.working_twin(None)
    assert calibrate(net.net, net.recipe, pics) == ""


def test_findings_say_how_their_twins_were_made(pics: mt.Images) -> None:
    from microtome.analyses.features import Features

    net = Norms().eval()
    nn.init.uniform_(net.bn1.running_var, 0.5, 2.0)
    found = Features(at=("bn1",))(open_specimen(net, recipe=RECIPE), pics)
    notes = found.origin["twins"]["notes"]
    assert any("4 norm layers were estimated on 32 images" in note for note in notes)
    assert found.origin["twins"]["unchanged"] == 0.0
    assert not any("no evidence" in one for one in found.caveats)
