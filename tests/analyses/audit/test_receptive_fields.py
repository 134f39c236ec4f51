"""What kernels read: positions that no window reads, uneven kernels, and border layers, by hand and by brute force."""

import pytest
import torch
from torch import nn

from audited_networks import clean, faults, opened
from microtome.analyses.audit.receptive_fields import check_uneven, check_unread
from microtome.analyses.audit.rule import Fault, Subject
from microtome.analyses.audit.run import RuleOutcome, run_audit
from microtome.key_numbers import FRACTION, format_value


def test_border_layers_begin_where_the_field_holds_the_picture() -> None:
    """Field before conv3 in the clean network: 1 + 3 + 3 · 2 = 10 px; so for pictures of at most 10 px it has nothing new."""
    assert "MT103" not in faults(clean(), size=16)
    assert set(faults_all_at(clean(), 8)) == {"MT103"}
    found = faults_all_at(clean(), 8)["MT103"].fault
    assert found is not None and found.layers == ("conv3",)
    assert "beyond 10 px" in found.evidence


def faults_all_at(net: nn.Module, size: int) -> dict[str, RuleOutcome]:
    return {one.rule.id: one for one in run_audit(opened(net, size=size)) if one.fault}


def read_by_gradient(conv: nn.Conv2d) -> float:
    """The share of positions in the middle of a large map that reach any output, by the gradient."""
    x = torch.randn(1, conv.in_channels, 64, 64).requires_grad_()
    (slope,) = torch.autograd.grad(conv(x).square().sum(), x)
    middle = slope[0].abs().sum(0)[20:44, 20:44]  # 24: a multiple of strides 1 to 4
    return float((middle > 0).double().mean())


@pytest.mark.parametrize("kernel", [1, 2, 3, (1, 3)])
@pytest.mark.parametrize("stride", [1, 2, 3, (2, 4)])
@pytest.mark.parametrize("dilation", [1, 2, 3])
def test_the_fraction_that_is_read_agrees_with_the_gradient(kernel, stride, dilation) -> None:
    conv = nn.Conv2d(3, 2, kernel, stride, dilation=dilation)
    with torch.no_grad():
        conv.weight.abs_().add_(0.1)
    wanted = read_by_gradient(conv)
    fault = check_unread(Subject(opened(nn.Sequential(conv, nn.Flatten()).eval(), size=40)))
    assert (fault is None) == (wanted == 1)
    assert fault is None or fault.evidence.endswith(f"0 reads {format_value(wanted, FRACTION)} of them")


def test_a_kernel_whose_stride_divides_it_reads_evenly_and_others_do_not() -> None:
    def net(kernel: int) -> nn.Module:
        return nn.Sequential(nn.Conv2d(3, 4, kernel, 2, kernel // 2 - 1 + kernel % 2), nn.Flatten(), nn.LazyLinear(2)).eval()

    def judged(kernel: int):
        made = net(kernel)
        made(torch.zeros(1, 3, 64, 64))
        return check_uneven(Subject(opened(made, size=64)))

    assert judged(4) is None
    fault = judged(3)
    assert isinstance(fault, Fault) and fault.layers == ("0",)
    # along one axis every second position is read by two windows, the others by one: 1 / 2 in each, 1 / 4 for both
    assert "weakest pixels count 25.0% of the strongest" in fault.evidence and fault.severity == "warning"
