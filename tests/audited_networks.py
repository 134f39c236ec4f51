"""A network that the audit finds nothing wrong with, and which rules find a fault in a network."""

import torch
from torch import Tensor, nn

import microtome as mt
from microtome.analyses.audit.run import RuleOutcome, run_audit

RECIPE = {"size": 32, "mean": (0.5,) * 3, "std": (0.25,) * 3, "crop": 1.0}


class Clean(nn.Module):
    """Convolutions whose stride divides their kernel, norms after bias-free convolutions, no shortcut, no dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.norm1 = nn.Conv2d(3, 8, 4, stride=2, padding=1, bias=False), nn.BatchNorm2d(8)
        self.slot = nn.Identity()
        self.conv2, self.norm2 = nn.Conv2d(8, 16, 4, stride=2, padding=1, bias=False), nn.BatchNorm2d(16)
        self.conv3, self.norm3 = nn.Conv2d(16, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16)
        self.pool, self.drop, self.head = nn.AdaptiveAvgPool2d(1), nn.Identity(), nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.norm1(self.conv1(x)))
        x = torch.relu(self.norm2(self.conv2(self.slot(x))))
        x = torch.relu(self.norm3(self.conv3(x)))
        return self.head(self.drop(self.pool(x).flatten(1)))


def clean() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Clean().eval()


def opened(net: nn.Module, **more: object) -> mt.Specimen:
    return mt.open(net, recipe=RECIPE | more)


def faults(net: nn.Module, **more: object) -> dict[str, RuleOutcome]:
    outcomes = run_audit(opened(net, **more))
    assert not [one for one in outcomes if one.unchecked and one.rule.id != "MT004"], outcomes
    return {one.rule.id: one for one in outcomes if one.fault}
