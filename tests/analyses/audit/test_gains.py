"""Groups against the gradient's gain: what is measured in a network, what is suggested, and that the suggestion mends it."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import gelu

import microtome as mt
from microtome import testing
from microtome._torchvision import timm
from microtome.analyses.audit.audit import MAX_CURVES, Audit
from microtome.analyses.audit.gains import gain_curves
from microtome.analyses.audit.normalisation import check_uneven_gradient
from microtome.analyses.audit.rule import Subject
from microtome.analyses.audit.run import run_audit
from microtome.edit import apply_edits, parse
from microtome.edits.group_norm import GroupNorm


class Stack(nn.Module):
    """Convolutions of equal width with group norms, rectified by a module, a function, a method in place, and not at all."""

    def __init__(self, groups: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 4, 4)
        self.convs = nn.ModuleList(nn.Conv2d(16, 16, 3, padding=1, bias=False) for _ in range(4))
        self.norms = nn.ModuleList(nn.GroupNorm(groups, 16) for _ in range(5))
        self.act, self.head = nn.ReLU(), nn.Linear(16, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norms[4](torch.relu(self.stem(x)))  # reads no layer's output
        x = self.act(self.norms[0](self.convs[0](x)))
        x = torch.relu(self.norms[1](self.convs[1](x)))
        x = self.norms[2](self.convs[2](x)).relu_()
        x = self.norms[3](self.convs[3](x))
        return self.head(gelu(x).mean((2, 3)))


def stack(groups: int) -> mt.Specimen:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return mt.open(Stack(groups).eval(), recipe={"size": 64})


def test_every_spelling_of_an_activation_is_followed() -> None:
    """Rectified half-normal maps: pi / (pi - 1) with a group for each unit, about 1 with one; GELU halves less, so its gain differs."""
    found, others = gain_curves(stack(16))
    assert [one.layer for one in found] == ["norms.0", "norms.1", "norms.2", "norms.3"]
    assert others == ["norms.4"]
    for one in found[1:3]:
        assert one.gains[16] / one.gains[1] == pytest.approx(torch.pi / (torch.pi - 1), rel=0.12)
        assert one.gains[1] == pytest.approx(1.0, abs=0.05) and one.best <= 2
    assert 1.1 < found[3].gains[16] < 1.6  # its values are cut by a GELU
    assert set(found[0].gains) == {1, 2, 4, 8, 16}


def test_an_activation_inside_the_norms_own_module_counts_as_well() -> None:
    timm()
    from timm.layers import GroupNormAct  # noqa: TID251

    def made(norm: nn.Module, act: nn.Module) -> mt.Specimen:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            net = nn.Sequential(
                nn.Conv2d(3, 16, 3, padding=1), norm, act, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 4)
            )
        return mt.open(net.eval(), recipe={"size": 32})

    one, _ = gain_curves(made(GroupNormAct(16, 8), nn.Identity()))
    two, _ = gain_curves(made(nn.GroupNorm(8, 16), nn.ReLU()))
    three, _ = gain_curves(made(nn.GroupNorm(8, 16), nn.Identity()))
    assert one[0].gains == pytest.approx(two[0].gains)
    assert three[0].gains[8] > 1.5 * two[0].gains[8]  # nothing is rectified


def test_what_is_suggested_mends_it_and_says_the_gains_of_both() -> None:
    net = stack(16)
    fault = check_uneven_gradient(Subject(net))
    assert fault is not None
    worst = next(one for one in fault.gains if one.layer in fault.evidence)
    assert f"is multiplied by {worst.gains[16]:.3g} with 16 groups, with 2 groups by {worst.gains[2]:.3g}" in fault.evidence
    assert "1 more reads no layer's output but a sum, a norm or the like, so there is no gain of a layer" in fault.evidence
    mended = apply_edits(net, [parse(fault.edit)])
    assert mended.net.norms[2].num_groups == worst.best == 2 and mended.net.norms[4].num_groups == 16
    left = check_uneven_gradient(Subject(mended))  # the last norm gets something else now, so it may be told again
    assert {"norms.1", "norms.2"} <= set(fault.layers)
    assert left is None or left.layers == ("norms.3",)


def test_norms_that_only_read_sums_are_not_called_sound() -> None:
    class Sums(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.norm, self.head = nn.Conv2d(3, 16, 3), nn.GroupNorm(16, 16), nn.Conv2d(16, 4, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(torch.relu(self.norm(self.stem(x) + 1))).mean((2, 3))

    net = mt.open(Sums().eval(), recipe={"size": 16})
    assert check_uneven_gradient(Subject(net)) == (
        "no group norm reads a layer's output (norm): the gain is that of a layer, its norm and its activation"
    )


def test_the_edit_of_muted_layers_leaves_them_alone() -> None:
    (one,) = [one for one in run_audit(stack(16), ["MT204:norms.1"]) if one.rule.id == "MT204"]
    assert one.fault is not None and "norms.1" not in one.fault.layers
    assert "norms.1" not in one.fault.edit and one.fault.edit.startswith("group_norm:at=norms.")


def test_the_network_is_as_it_was_and_the_curves_are_in_the_finding(tmp_path) -> None:
    net = GroupNorm(groups=8)(mt.open("microtome:mini_resnet", weights=None))
    finding = testing.check(Audit(), net, None, tmp_path)
    assert 1 <= finding["gain"].sizes["layer"] <= MAX_CURVES and finding["gain_now"].size > 2
    assert finding["gain"].notnull().all()
    now, best = finding["gain_now"].values, finding["gain_best"].values
    assert (abs(torch.tensor(best).log()) < abs(torch.tensor(now).log())).all()
    assert [panel.title for panel in finding.panels][-3:] == [
        "Gradient gain by number of groups", "Groups of each layer", "All rules",
    ]  # fmt: skip
    one = str(finding["gain"].coords["layer"].values[0])
    at = {"layer": one}
    row = finding["gain"].sel(at)
    assert float(row.sel(amount=int(finding["groups_now"].sel(at)))) == float(finding["gain_now"].sel(at))
