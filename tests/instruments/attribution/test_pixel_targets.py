"""Targets and gradients of changed images: those of plain passes, in batches of any size, each image its own."""

import pytest
import torch

from map_networks import flattened, noise, opened
from microtome.instruments.attribution.pixel_targets import INPUT, PixelTargets, input_layer
from microtome.specimen import Specimen

CLASSES = torch.tensor([[1, 3, 0], [2, 2, 1]])  # (target, image)


def ask(scores):
    return [scores.gather(1, wanted[:, None])[:, 0] for wanted in CLASSES]


def fade(x, variants):
    """Each variant darker than the one before."""
    return torch.stack([x * (1 - variant / 4) for variant in variants])


def by_hand(net, x, count):
    """Targets (target, variant, image) and gradients, one pass for each number."""
    values, gradients = torch.zeros(2, count, 3), torch.zeros(2, count, *x.shape)
    for target, wanted in enumerate(CLASSES):
        for variant in range(count):
            for image in range(3):
                leaf = (x[image : image + 1] * (1 - variant / 4)).requires_grad_()
                value = net(leaf)[0, wanted[image]]
                (gradients[target, variant, image],) = torch.autograd.grad(value, leaf)[0]
                values[target, variant, image] = value.detach()
    return values, gradients


@pytest.mark.parametrize("memory", [None, 1.0])
def test_targets_and_gradients_are_those_of_plain_passes(memory):
    net, x = flattened(12, 12), noise(3)
    pixels = PixelTargets(opened(net), x, Specimen.logits, ask, memory)
    values, gradients = by_hand(net, x, 5)
    assert torch.allclose(pixels.values(5, fade), values, atol=1e-5)
    parts = list(pixels.gradients(5, fade))
    assert len(parts) == (5 if memory else 1)
    assert [number for part in parts for number in part.variants] == [0, 1, 2, 3, 4]
    assert torch.allclose(torch.cat([part.values for part in parts], 1), values, atol=1e-5)
    assert torch.allclose(torch.cat([part.gradients for part in parts], 1), gradients, atol=1e-5)


@pytest.mark.parametrize("numbers", [[0], [1], [2], [1, 2], [2, 0], [0, 1, 2]])
def test_some_images_have_their_own_targets_from_one_pass(numbers):
    net, x = flattened(12, 12), noise(3)
    specimen = opened(net)
    specimen.layers  # noqa: B018  # traced before
    part = PixelTargets(specimen, x, Specimen.logits, ask).for_images(numbers)
    values, gradients = by_hand(net, x, 4)
    passes = []
    handle = net.register_forward_hook(lambda *_: passes.append(1))
    given = part.of_variants(fade(x[numbers], range(4)).flatten(0, 1)).detach()
    handle.remove()
    assert torch.allclose(given, values[:, :, numbers], atol=1e-5)
    assert passes == [1]
    (own,) = part.gradients(4, fade)
    assert torch.allclose(own.gradients, gradients[:, :, numbers], atol=1e-5)


def test_the_memory_layout_of_the_images_is_kept():
    net, x = flattened(12, 12), noise(3).contiguous(memory_format=torch.channels_last)
    seen = []
    handle = net.register_forward_pre_hook(
        lambda _, given: seen.append(given[0].is_contiguous(memory_format=torch.channels_last))
    )
    pixels = PixelTargets(opened(net), x, Specimen.logits, ask)
    seen.clear()
    pixels.values(2, fade)
    list(pixels.gradients(2, fade))
    handle.remove()
    assert seen[-2:] == [True, True]  # before them the tracing of the network


def test_the_pixels_as_a_layer():
    layer = input_layer(noise(2, 9, 14))
    assert (layer.name, layer.grid, layer.units, layer.shape) == (INPUT, (9, 14), 3, (3, 9, 14))
    assert layer.has_positions
