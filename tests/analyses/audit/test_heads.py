"""Positions, patch embeddings and gates: what follows the contrast, what is stuck, and what is saturated."""

import re

import pytest
import torch
from torch import nn

import microtome as mt
from microtome.analyses.audit.heads import check_colour_scale, check_saturated_gates, check_stuck_gates
from microtome.analyses.audit.rule import Fault, Subject
from microtome.analyses.audit.run import run_audit
from microtome.edits.prelayernorm import Prelayernorm


def test_the_colour_scale_of_a_patch_embedding_and_its_cure() -> None:
    plain = mt.open("timm:vit_tiny_patch16_224", weights=None, recipe={"size": 64}, img_size=64, depth=2)
    assert {o.rule.id for o in run_audit(plain) if o.fault} == {"MT401"}
    fault = {o.rule.id: o.fault for o in run_audit(plain)}["MT401"]
    assert fault is not None and fault.layers == ("patch_embed",) and fault.edit == "prelayernorm"
    assert {o.rule.id: o.fault for o in run_audit(Prelayernorm()(plain))}["MT401"] is None
    cured = mt.open("timm:vit_tiny_patch16_224", weights=None, recipe={"size": 64}, img_size=64, depth=2,
                    embed_norm_layer=nn.LayerNorm)  # fmt: skip
    with torch.no_grad():
        cured.net.patch_embed.proj.bias.zero_()
    assert {o.rule.id: o.fault for o in run_audit(cured)}["MT401"] is None
    with torch.no_grad():  # with a bias the norm alone does not help: the methods' own trap
        cured.net.patch_embed.proj.bias.normal_(generator=torch.Generator().manual_seed(0))
    fault = {o.rule.id: o.fault for o in run_audit(mt.open(cured.net, recipe={"size": 64}))}["MT401"]
    assert fault is not None and not fault.edit and "patch_embed.proj has a bias, which spoils it" in fault.fix


def test_a_gate_without_weights_is_stuck() -> None:
    net = mt.open("microtome:mini_seresnet")
    assert {o.rule.id: o.fault for o in run_audit(net)}["MT402"] is None
    gate = next(path for path, part in net.net.named_modules() if isinstance(part, nn.Conv2d | nn.Linear) and "fc2" in path)
    with torch.no_grad():
        net.net.get_submodule(gate).weight[:2] = 0
    fault = {o.rule.id: o.fault for o in run_audit(net)}["MT402"]
    assert fault is not None and fault.evidence.startswith("2 of ")


class Gated(nn.Module):
    """Six channels, each times a sigmoid of its mean over positions, scaled and shifted channel by channel."""

    def __init__(self, scale: list[float], shift: list[float]) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3, bias=False)
        self.excite = nn.Conv2d(6, 6, 1)
        self.head = nn.Linear(6, 3)
        with torch.no_grad():
            self.excite.weight.copy_(torch.diag(torch.tensor(scale))[..., None, None])
            self.excite.bias.copy_(torch.tensor(shift))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        return self.head((x * torch.sigmoid(self.excite(x.mean((2, 3), keepdim=True)))).mean((2, 3)))


def test_stuck_and_saturated_gates_are_counted_channel_by_channel() -> None:
    """Two do not move; of the others one stays below 0.001 and two above 0.999, where sigmoid(7) is 0.99909."""
    gated = Gated([0.0, 0.0, 0.1, 0.1, 0.1, 1.0], [0.0, 9.0, -9.0, 9.0, 9.0, 0.0])
    subject = Subject(mt.open(gated.eval(), recipe={"size": 16}))
    stuck, saturated = check_stuck_gates(subject), check_saturated_gates(subject)
    assert isinstance(stuck, Fault) and stuck.evidence.startswith("2 of 6 gates without a change over 8 images")
    assert isinstance(saturated, Fault) and saturated.evidence.startswith(
        "1 of 6 gates always below 0.001 and 2 always above 0.999"
    )
    free = Subject(mt.open(Gated([1.0] * 6, [0.0] * 6).eval(), recipe={"size": 16}))
    assert check_stuck_gates(free) is None and check_saturated_gates(free) is None


def test_the_share_of_positions_follows_the_contrast_by_arithmetic() -> None:
    """Patches x times 2, positions of power 1: at contrast c the share is 1 / (1 + 4 c²) on noise of power 1."""

    class Plain(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.project, self.head = nn.Conv2d(3, 3, 1, bias=False), nn.Linear(3, 2)
            self.positions = nn.Parameter(torch.ones(1, 4096, 3))
            with torch.no_grad():
                self.project.weight.copy_(2 * torch.eye(3)[..., None, None])

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head((self.project(x).flatten(2).transpose(1, 2) + self.positions).mean(1))

    found = check_colour_scale(Subject(mt.open(Plain().eval(), recipe={"size": 64})))
    assert found is not None and found.layers == ("project",)
    shares = [float(text) / 100 for text in re.findall(r"[0-9.]+(?=% /|% on)", found.evidence.partition(" is ")[2])]
    assert shares == pytest.approx([1 / (1 + 4 * c * c) for c in (1 / 4, 1, 4)], rel=0.03)
    assert "changes by 300.0% when contrast" in found.evidence
