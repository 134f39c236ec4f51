"""Deeper, wider or attention: the family a network belongs to, by its name where it is known, else by its structure."""

import re
from collections import Counter
from typing import Literal

from torch import nn

from microtome.prose import plural
from microtome.specimen.blocks import Unit
from microtome.specimen.layers import is_weight, kind_of, weight_layers
from microtome.specimen.tracing import Mark, Trace

Family = Literal["deeper", "wider", "attention"]
FAMILIES: tuple[Family, ...] = ("deeper", "wider", "attention")
# the first pattern that matches decides: attention before width before depth (seresnext is known for its gates)
KNOWN_NAMES: tuple[tuple[Family, str], ...] = (
    (
        "attention",
        r"^(legacy_)?se(net|resnet|resnext|resnetaa)|^(skresn|ecaresnet|eca_|resnest|gcresn|lamhalobot|halonet|botnet|lambda)|cbam",
    ),
    (
        "attention",
        r"vit|deit|beit|^eva|swin|^cait|xcit|^pit|^tnt|twins|^pvt|^mvit|^coat|crossvit|levit|maxvit|coatnet|davit|focal|gcvit|nest",
    ),
    (
        "attention",
        r"efficientnet|mobilenetv?_?3|mobilenet_v3|mnasnet_se|semnasnet|regnet_?[yz]|efficientformer|edgenext|mobileone_s4|lcnet",
    ),
    ("wider", r"inception|googlenet|hrnet|resnext|wide_?resnet|squeezenet|(?<!m)nasnet|xception|res2ne|dpn|bit_.*x[2-4]$"),
    (
        "deeper",
        r"vgg|alexnet|resnet|densenet|convnext|darknet|cspnet|dla|regnet|mobilenet|shufflenet|repvgg|zfnet|banding|plain",
    ),
)


def network_family(name: str, trace: Trace, units: list[Unit], net: nn.Module) -> tuple[Family, str]:
    """(family, why) of a network: by its name, else by gates, self-attention and parallel branches in its blocks."""
    known = known_family(name)
    return known if known is not None else structural_family(trace, units, net)


def known_family(name: str) -> tuple[Family, str] | None:
    """(family, why) for a name of the literature, None for others; "timm:resnet50.a1_in1k" is read as resnet50."""
    source, _, rest = name.rpartition(":")
    if source not in ("timm", "torchvision", "microtome"):
        return None
    plain = rest.split(".")[0].split("(")[0].lower().removeprefix("mini_").removeprefix("tf_").removeprefix("gluon_")
    for family, pattern in KNOWN_NAMES:
        if re.search(pattern, plain):
            return family, f"{rest.split('.')[0]} is a network of the '{family}' kind in the literature"
    return None


def structural_family(trace: Trace, units: list[Unit], net: nn.Module) -> tuple[Family, str]:
    """(family, why) from what the network is made of."""
    named = {path for path, module in net.named_modules() if kind_of(module) == "attention"}
    attentions = len(named | set(trace.attention))
    gates = len(gate_paths(trace))
    if attentions or gates:
        what = f"{attentions} attention modules" if attentions else f"{gates} channel gates"
        return "attention", f"it has {what}"
    forked = [unit for unit in units if _has_branches(trace, unit)]
    if units and len(forked) >= len(units) / 2:
        return "wider", f"{len(forked)} of its {plural(len(units), 'block')} work in parallel branches"
    return "deeper", "it has neither attention, nor gates, nor parallel branches in most of its blocks"


def gate_paths(trace: Trace) -> list[str]:
    """Paths of channel gates: modules that give back the shape they took, and whose weights all work on pooled values."""
    paths: list[str] = []
    for call in trace.calls:
        if (
            is_weight(call.module)
            or not weight_layers(call.module)
            or len(call.outputs) != 1
            or call.inputs[:1] != call.outputs
        ):
            continue
        shape = call.outputs[0]
        if len(shape) != 4 or shape[2] * shape[3] == 1:
            continue
        inner = [other for other in trace.calls if other.path.startswith(call.path + ".") and is_weight(other.module)]
        if inner and all(len(o.outputs[0]) < 4 or o.outputs[0][2] * o.outputs[0][3] == 1 for o in inner):
            paths.append(call.path)
    return paths


def _has_branches(trace: Trace, unit: Unit) -> bool:
    """Whether a block has parallel branches: several outputs, three readers of one tensor, or two beside the shortcut."""
    if len(unit.exit.gives) > 1:
        return True
    readers: Counter[Mark] = Counter()
    for call in trace.calls:
        if call.path.startswith(unit.path + ".") and is_weight(call.module):
            readers.update(set(call.reads))
            weight = call.module
            groups = int(getattr(weight, "groups", 1))
            if 1 < groups < int(getattr(weight, "in_channels", groups)):  # aggregated transformations are branches
                return True
    entry = set(unit.entry.reads)
    return any(count > 2 or (count > 1 and mark not in entry) for mark, count in readers.items())
