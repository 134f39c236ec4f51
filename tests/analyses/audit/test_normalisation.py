"""Normalisation: idle biases, decayed scales, and group norms with few values, by hand and by the closed form."""

import copy
from collections.abc import Callable

import pytest
import torch
from torch import nn

import microtome as mt
from audited_networks import clean, opened
from microtome.analyses.audit.normalisation import check_few_channels, check_idle_biases
from microtome.analyses.audit.rule import Fault, Subject
from microtome.analyses.audit.run import run_audit


def planted(change: Callable[[nn.Module], None]) -> nn.Module:
    net = copy.deepcopy(clean())
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        change(net)
    return net.eval()


@pytest.mark.parametrize(("groups", "said"), [(4, "2 times"), (2, ""), (8, "nothing or only a sign")])
def test_group_norms_on_vectors_follow_the_closed_form(groups: int, said: str) -> None:
    """(c − 2) / (c − 3): 2 for four values a group; nothing to say from eight on."""

    def put(net: nn.Module) -> None:
        net.drop = nn.GroupNorm(groups, 16)

    fault = check_few_channels(Subject(opened(planted(put))))
    assert (fault is None) == (not said)
    assert fault is None or said in fault.evidence


def test_scales_of_a_residual_network_by_role() -> None:
    fault = {o.rule.id: o for o in run_audit(mt.open("timm:resnet18", weights=None, recipe={"size": 64}))}["MT202"].fault
    assert fault is not None
    assert "of 20 norms 8 are internal" in fault.evidence
    assert "8 end a branch" in fault.evidence and "3 lie on a shortcut and 1 scale" in fault.evidence
    assert fault.layers == ("bn1", "layer2.0.downsample.1", "layer3.0.downsample.1", "layer4.0.downsample.1")


def test_biases_before_a_norm_are_counted() -> None:
    def biased(net: nn.Module) -> None:
        net.conv1 = nn.Conv2d(3, 8, 4, stride=2, padding=1)
        net.conv3 = nn.Conv2d(16, 16, 3, padding=1)

    fault = check_idle_biases(Subject(opened(planted(biased))))
    assert isinstance(fault, Fault) and fault.layers == ("conv1", "conv3")
    assert fault.evidence == "24 bias values of 2 layers without an effect on any output: conv1, conv3"
    assert check_idle_biases(Subject(opened(clean()))) is None


def test_the_closed_form_by_simulation() -> None:
    """Through a norm over one group of c normal values the power of a random gradient is multiplied by (c - 2) / (c - 3)."""
    generator = torch.Generator().manual_seed(0)
    for count in (6, 7):
        x = torch.randn(200_000, count, generator=generator, dtype=torch.float64).requires_grad_()
        upstream = torch.randn(x.shape, generator=generator, dtype=torch.float64)
        (slope,) = torch.autograd.grad((nn.functional.layer_norm(x, (count,)) * upstream).sum(), x)
        gain = float(slope.square().sum() / upstream.square().sum())
        assert gain == pytest.approx((count - 2) / (count - 3), rel=0.05)
