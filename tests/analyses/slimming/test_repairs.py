"""Repairs: least squares against NumPy, norms after the block alone, a fine-tune that comes nearer to the full network."""

import numpy as np
import pytest
import torch
from torch import nn

import microtome as mt
from microtome.analyses.slimming.candidates import Slimmer, SmallerNetwork
from microtome.analyses.slimming.repairs import estimate_norms, fine_tune, fit_linear
from microtome.instruments.prefix_runs import PrefixRuns
from microtome.networks.stand_ins import LinearBlock
from microtome.specimen import watch


@pytest.fixture(scope="module")
def slimmer() -> Slimmer:
    return Slimmer.of(mt.open("microtome:mini_resnet"))


@pytest.fixture(scope="module")
def batches() -> list[torch.Tensor]:
    net, images = mt.open("microtome:mini_resnet"), mt.Images.scenes(48)
    return list(net.recipe.normalise(torch.from_numpy(images.inputs(net.recipe, range(48)))).split(20))


def prepared(slimmer: Slimmer, block: str, batches: list[torch.Tensor]) -> tuple[SmallerNetwork, PrefixRuns, list]:
    candidate = SmallerNetwork("block", block, (block,))
    units = [unit for unit in slimmer.specimen.anatomy.units if unit.path == block]
    runs = PrefixRuns(slimmer.specimen, slimmer.specimen.net, batches)
    runs.advance(units[0])
    return candidate, runs, units


@pytest.mark.parametrize("block", ["layer4.1", "layer2.0"])
def test_the_linear_map_is_numpys_least_squares(slimmer: Slimmer, batches, block: str) -> None:
    candidate, runs, units = prepared(slimmer, block, batches)
    net = slimmer.network(candidate, linear=True)
    fit_linear(net, slimmer.specimen, runs, units)
    with torch.no_grad(), watch(slimmer.specimen, [f"<{block}", block]) as seen:
        slimmer.specimen.net(torch.cat(batches))
    given, wanted = seen[f"<{block}"], seen[block]
    given = nn.functional.adaptive_avg_pool2d(given, wanted.shape[2:])
    x = given.movedim(1, -1).flatten(0, 2).double().numpy()
    y = wanted.movedim(1, -1).flatten(0, 2).double().numpy()
    solution = np.linalg.lstsq(np.c_[x, np.ones(len(x))], y, rcond=None)[0]
    layer = net.get_submodule(block).maps[0]  # type: ignore[union-attr, index]
    assert isinstance(net.get_submodule(block), LinearBlock)
    predicted = x @ layer.weight.detach()[:, :, 0, 0].double().numpy().T + layer.bias.detach().double().numpy()
    np.testing.assert_allclose(predicted, np.c_[x, np.ones(len(x))] @ solution, atol=2e-3)


def test_only_norms_after_the_block_change(slimmer: Slimmer, batches) -> None:
    candidate, runs, units = prepared(slimmer, "layer4.1", batches)
    net = slimmer.network(candidate)
    estimate_norms(net, runs, units[0])
    before = dict(slimmer.specimen.net.named_buffers())
    changed = {name for name, buffer in net.named_buffers() if not torch.equal(buffer, before[name])}
    assert changed
    assert all(name.startswith("layer4.2.") for name in changed)


def test_a_fine_tune_comes_nearer_to_the_full_network(slimmer: Slimmer, batches) -> None:
    candidate, _, _ = prepared(slimmer, "layer3.1", batches)
    net = slimmer.network(candidate, own_weights=True)
    x = torch.cat(batches)
    wanted = slimmer.specimen.run(x).softmax(1)

    def distance() -> float:
        with torch.no_grad():
            return float(nn.functional.cross_entropy(net(x), wanted))

    before = distance()
    fine_tune(net, slimmer.specimen, batches, 12)
    assert distance() < 0.7 * before
    assert all(parameter.grad is None for parameter in net.parameters())


@pytest.mark.parametrize("train_norms", [False, True])
def test_norms_move_in_a_fine_tune_only_when_asked(train_norms: bool, slimmer: Slimmer, batches) -> None:
    net = slimmer.network(SmallerNetwork("block", "layer3.1", ("layer3.1",)), own_weights=True)
    before = {name: buffer.clone() for name, buffer in net.named_buffers() if name.endswith("running_mean")}
    fine_tune(net, slimmer.specimen, batches, 1, train_norms=train_norms)
    buffers = dict(net.named_buffers())
    assert all(torch.equal(buffers[name], value) is not train_norms for name, value in before.items())
    assert not any(module.training for module in net.modules())
