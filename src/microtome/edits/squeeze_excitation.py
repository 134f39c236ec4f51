"""Puts a squeeze-and-excitation gate into the residual blocks of a network.

A gate looks at the mean of every channel over the map and multiplies each channel by a number of its own. `position` says where:
`standard` at the end of the branch, before the addition; `pre` before the branch; `post` after the addition and its activation;
`identity` on the shortcut (after its projection, where there is one: our reading); `inside` directly after the branch's first
convolution wider than 1 x 1.

`start` says what the gates are before any training. `open`: every gate is exactly 1, so the network answers as before, to the bit
for sigmoid (its second layer is zero, and twice the sigmoid of 0 is 1; the factor 2 stays, so gates lie between 0 and 2) and for
ReLU (bias 1); for tanh (bias 1, divided by tanh 1) up to rounding. `bias`: the paper's own formula with the sigmoid's bias at 6, so
gates of 0.9975 at the start: nearly, not exactly, because no finite input makes a sigmoid 1, and a gate nearer to 1 learns more
slowly. `random`: as torch draws them: gates near one half, so the function is not preserved. In all of them the inner layer is drawn
in pairs of opposite sign, so that no gate begins with all of its ReLUs at zero, where it could not learn.

The gates add (2 / ratio) · Σ C² weights over the gated blocks of C channels, and (1 + 1 / ratio) · Σ C biases; the inner layer never
has fewer than 4 channels. The paper's ablations have no biases (`bias=false`), timm's networks have them.

Source: Hu et al. 2018, arXiv:1709.01507 (v4), sec. 3 and 6: positions 6.5, squeeze and excitation 6.2 and 6.3, stages 6.4. The
preserving starts are ours.
"""

import copy
from typing import Literal, final

import torch
from torch import nn

from microtome.edit import Edit, Preservation, option, replace_module
from microtome.networks.gates import SqueezeExciteGate
from microtome.prose import plural
from microtome.specimen import Specimen
from microtome.specimen.families import gate_paths
from microtome.specimen.residuals import Residual

BIAS = 6.0  # sigmoid(6) = 0.9975
TANH = 0.7615941559557649  # tanh(1)


@final
class SqueezeExcitation(Edit):
    """Channel gates in residual blocks."""

    title = "Squeeze-and-excitation gates"

    ratio: int = option(16, "by how much the gate's inner layer is narrower than the map", low=1, high=4096)
    position: Literal["standard", "pre", "post", "identity", "inside"] = option("standard", "where in a block the gate stands")
    squeeze: Literal["avg", "max", "none"] = option("avg", "what the gate sees of a channel: its mean, its maximum, all of it")
    excitation: Literal["sigmoid", "tanh", "relu"] = option("sigmoid", "the function that makes a gate of a number")
    stages: tuple[int, ...] = option((), "stages whose blocks are gated, from 1; all by default")
    bias: bool = option(True, "whether the gate's two layers have biases")
    start: Literal["open", "bias", "random"] = option("open", "gates before training: exactly 1, nearly 1, or random")

    def refusal(self, specimen: Specimen) -> str:
        residuals = specimen.residuals
        if not residuals:
            return (
                "it has no residual blocks on maps (no block adds a shortcut to a branch of convolutions); gates stand beside "
                "a shortcut, as in timm:resnet50 or torchvision:resnet18"
            )
        chosen = self._target_blocks(specimen)
        inside = [
            block.block for path in gate_paths(specimen.anatomy.trace) for block in chosen if path.startswith(f"{block.block}.")
        ]
        if inside:
            return f"{len(set(inside))} of these blocks have channel gates already (first: {inside[0]})"
        known = sorted({block.stage + 1 for block in residuals})
        if missing := [stage for stage in self.stages if stage not in known]:
            return f"it has no stage {missing[0]} with residual blocks; its stages are {', '.join(map(str, known))}"
        if self.start != "random" and not self.bias and (self.excitation, self.start) != ("sigmoid", "open"):
            return f"without biases a {self.excitation} gate cannot begin at 1; take bias=true, or start=random"
        if self.start == "bias" and self.excitation != "sigmoid":
            return "start=bias is for sigmoid gates, which no other start opens with the paper's own formula; take start=open"
        if self.position == "identity":
            hidden = [b.block for b in chosen if b.shortcut is None and not _has_empty_downsample(specimen, b)]
            if hidden:
                return f"the shortcut of {hidden[0]} has no module of its own that could hold a gate (an unused `downsample`)"
        if self.position == "inside" and any(block.spatial is None for block in chosen):
            return "one of its blocks has no convolution wider than 1 x 1, so there is no place for a gate inside"
        return ""

    def operate(self, net: nn.Module, specimen: Specimen) -> str:
        chosen = self._target_blocks(specimen)
        for block in chosen:
            self._insert_gate(net, block)
        where = {
            "standard": "at the end of the branches",
            "pre": "before the branches",
            "post": "after the additions",
            "identity": "on the shortcuts",
            "inside": "after the first wide convolutions of the branches",
        }[self.position]
        stages = f" of stage {', '.join(map(str, self.stages))}" if self.stages else ""
        return f"put {plural(len(chosen), 'gate')} (ratio {self.ratio}, {self.excitation}) {where}{stages}"

    def preserves(self, specimen: Specimen) -> Preservation:
        if self.start == "random":
            return Preservation("no", "the gates are random at the start, so every gated map is scaled")
        if self.start == "bias":
            return Preservation("approximately", "every gate is 0.9975 at the start, and no finite bias makes a sigmoid 1", 0.1)
        if self.excitation == "sigmoid":
            return Preservation("exactly", "every gate is 2 · sigmoid(0) = 1 at the start", 0.0)
        if self.excitation == "relu":
            return Preservation("exactly", "every gate is ReLU(1) = 1 at the start", 0.0)
        return Preservation("exactly", "every gate is tanh(1) / tanh(1) = 1 at the start, up to rounding")

    def _target_blocks(self, specimen: Specimen) -> list[Residual]:
        return [block for block in specimen.residuals if not self.stages or block.stage + 1 in self.stages]

    def _insert_gate(self, net: nn.Module, block: Residual) -> None:
        """Insert one gate into one block."""
        units = {"pre": block.inputs, "inside": block.inner}.get(self.position, block.units)
        gate = self._build_gate(units)
        module = net.get_submodule(block.block)
        if self.position == "standard":
            if type(module).__module__ == "timm.models.resnet" and getattr(module, "se", 0) is None:
                module.se = gate  # the place that timm keeps for it, so that names are those of its own SE networks
            else:
                replace_module(net, block.end, _sequential(layer=net.get_submodule(block.end), se=gate))
        elif self.position == "pre":
            replace_module(net, block.start, _sequential(se=gate, layer=net.get_submodule(block.start)))
        elif self.position == "post":
            replace_module(net, block.block, _sequential(layer=module, se=gate))
        elif self.position == "inside":
            assert block.spatial is not None  # `unfit` has refused before
            replace_module(net, block.spatial, _sequential(layer=net.get_submodule(block.spatial), se=gate))
        elif block.shortcut is not None:
            replace_module(net, block.shortcut, _sequential(layer=net.get_submodule(block.shortcut), se=gate))
        else:
            module.downsample = gate

    def _build_gate(self, units: int) -> SqueezeExciteGate:
        opens = self.start == "open"
        factor = {"sigmoid": 2.0, "tanh": 1 / TANH, "relu": 1.0}[self.excitation] if opens else 1.0
        gate = SqueezeExciteGate(units, self.ratio, self.squeeze, self.excitation, self.bias, factor)
        gate.mirror()
        if self.start != "random":
            gate.set_constant(BIAS if self.start == "bias" else 0.0 if self.excitation == "sigmoid" else 1.0)
        return gate


def _has_empty_downsample(specimen: Specimen, block: Residual) -> bool:
    """Whether a block keeps an empty place `downsample` through which its shortcut, and nothing else, would pass."""
    module = specimen.net.get_submodule(block.block)
    if getattr(module, "downsample", 0) is not None:
        return False
    trial = copy.deepcopy(module).eval()
    like = next(module.parameters())
    x = torch.randn(1, block.inputs, 8, 8, generator=torch.Generator().manual_seed(0)).to(like.device, like.dtype)
    passed = _Recorder()
    with torch.no_grad():
        before = trial(x.clone())
        trial.downsample = passed
        return bool(torch.equal(trial(x.clone()), before)) and passed.seen is not None and torch.equal(passed.seen, x)


class _Recorder(nn.Module):
    """Gives what it takes, and remembers it."""

    seen: torch.Tensor | None = None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The same."""
        self.seen = x.clone()
        return x


def _sequential(**parts: nn.Module) -> nn.Sequential:
    """The parts one after another, under their own names."""
    chain = nn.Sequential()
    for name, part in parts.items():
        chain.add_module(name, part)
    return chain
