"""Units that give a constant: whether removing them changes the outputs, tried out against networks without them."""

import pytest
import torch
from torch import Tensor, nn

import microtome as mt
from microtome.analyses.audit import constants
from microtome.analyses.audit.constants import nonzero_effects
from microtome.analyses.audit.rule import Subject
from microtome.analyses.audit.run import RuleOutcome, run_audit

RECIPE = {"size": 32, "mean": (0.5,) * 3, "std": (0.25,) * 3, "crop": 1.0}


def opened(net: nn.Module, **more: object) -> mt.Specimen:
    return mt.open(net, recipe=RECIPE | more)


def faults_all(net: nn.Module) -> dict[str, RuleOutcome]:
    return {one.rule.id: one for one in run_audit(opened(net)) if one.fault}


@pytest.mark.parametrize(
    ("beta", "act", "reaches"),
    [(0.0, "relu", 0), (-0.5, "relu", 0), (0.5, "relu", 1), (-0.5, "identity", 1), (-0.5, "gelu", 1)],
)
@pytest.mark.parametrize("module", [True, False])
def test_a_dead_unit_is_removable_only_where_its_constant_does_not_survive(
    beta: float, act: str, reaches: int, module: bool
) -> None:
    """A zero kernel under a norm gives the norm's shift: nothing after a ReLU where it is negative, a constant where it is not.

    The oracle removes the unit: conv1 without output 3 and conv2 without the input that reads it.
    """
    work = {"relu": nn.ReLU(), "identity": nn.Identity(), "gelu": nn.GELU()}[act]

    class Net(nn.Module):
        def __init__(self, units: int = 8) -> None:
            super().__init__()
            self.conv1, self.norm = nn.Conv2d(3, units, 4, 2, 1, bias=False), nn.BatchNorm2d(units)
            self.conv2, self.head = nn.Conv2d(units, 8, 3, 1, 1, bias=False), nn.Linear(8, 4)
            if module:
                self.act = work

        def forward(self, x: Tensor) -> Tensor:
            x = self.norm(self.conv1(x))
            return self.head(self.conv2(self.act(x) if module else work(x)).mean((2, 3)))

    torch.manual_seed(0)
    net, without = Net().eval(), Net(7).eval()
    with torch.no_grad():
        net.conv1.weight[3] = 0
        net.norm.bias[3] = beta
    kept = [unit for unit in range(8) if unit != 3]
    state = net.state_dict()
    for name in ("conv1.weight", "norm.weight", "norm.bias", "norm.running_mean", "norm.running_var"):
        state[name] = state[name][kept]
    state["conv2.weight"] = state["conv2.weight"][:, kept]
    without.load_state_dict(state)
    x = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        assert torch.allclose(net(x), without(x), atol=1e-6) == (reaches == 0)
    fault = faults_all(net)["MT002"].fault
    assert fault is not None
    if reaches:
        assert fault.evidence.endswith("; 1 of them hands on a constant that reaches the outputs, most, 1, in conv1")
        assert "or removal changes the outputs" in fault.fix
    else:
        assert fault.evidence.endswith("; without them the outputs stay what they are")
        assert not fault.fix


def relu_between(bias: list[float]) -> nn.Module:
    """Four units with zero weights and these biases, a ReLU, and a layer that reads units 0 to 2 only."""
    net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(), nn.Conv2d(4, 2, 1, bias=False), nn.Flatten()).eval()
    with torch.no_grad():
        net[0].weight.zero_()
        net[0].bias.copy_(torch.tensor(bias))
        net[2].weight.copy_(torch.tensor([[1.0, 2, 3, 0], [0, 1, 0, 0]])[..., None, None])
    return net


@pytest.mark.parametrize(
    ("bias", "units", "count"),
    [
        ([1.0, -1.0, 1.0, 1.0], [0, 1, 2, 3], 2),  # 1 is rectified, nothing reads 3
        ([1.0, -1.0, 1.0, 1.0], [1, 3], 0),
        ([1.0, 1.0, 1.0, 1.0], [1], 1),
        ([1.0, 1.0, 1.0, 1.0], [], 0),
    ],
)
def test_constants_that_reach_the_outputs_are_counted(bias: list[float], units: list[int], count: int) -> None:
    subject = Subject(opened(relu_between(bias), size=4))
    assert nonzero_effects(subject, "0", units) == count


def test_many_units_are_tried_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    subject = Subject(opened(relu_between([1.0, -1.0, 1.0, 1.0]), size=4))
    monkeypatch.setattr(constants, "MOST", 3)
    assert nonzero_effects(subject, "0", [0, 1, 2]) == 2
    assert nonzero_effects(subject, "0", [0, 1, 2, 3]) == 4
