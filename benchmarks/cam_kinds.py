"""Every kind of class activation map against a bare forward pass, in CPU time and in memory; kinds that run passes against whole passes."""

from collections.abc import Callable

import torch
from torch import Tensor

import microtome
from benchmarks.gradcam import forward, wide
from benchmarks.timing import Disagreement, Plan, Result, interleaved, row
from microtome.instruments.attribution import attribution_maps, map_kind
from microtome.map_kinds import own_entries
from microtome.specimen import Specimen, replace_values
from microtome.specimen.live_memory import peak_live_bytes

TITLE = "Kinds of class activation map"
TIMED = (
    "Gradient kinds, CAM and Eigen-CAM: ResNet-50, layer4, 224 px, 8 normalised images and one class for each, up to raw maps, against "
    "a bare forward pass of the same working copy. Several layers and classes: four layers and two classes from one forward pass. "
    "Ablation-CAM: ResNet-18, layer4, 2 images, against whole passes with the unit removed, in batches of as many images. "
    "Memory: the most bytes that tensors hold at once, by arithmetic, the same on every machine."
)
MOST = 1.05  # times a forward pass, for gradient kinds
LEAST = 2.0  # times faster than whole passes
MOST_MEMORY = 1.2  # times what a forward pass holds
LAYERS = ["layer1", "layer2", "layer3", "layer4"]
BARE = "forward pass alone"


def run(plan: Plan) -> Result:
    """Rows for every kind that takes one pass, for several layers and classes, and for Ablation-CAM."""
    result = Result("cam_kinds", TITLE, TIMED)
    network, size, count = ("timm:resnet18", 96, 2) if plan.quick else ("timm:resnet50", 224, 8)
    worker, x, classes = _prepared(network, size, count, plan.device)
    contenders: dict[str, Callable[[], object]] = {BARE: lambda: forward(worker.net, x)}
    for name in own_entries():
        if map_kind(name).needs != "passes":
            contenders[name] = lambda name=name: _maps(worker, ["layer4"], x, [classes], name)
    contenders["hirescam, 4 layers, 2 classes"] = lambda: _maps(worker, LAYERS, x, [classes, (classes + 1) % 10], "hirescam")
    taken = interleaved(plan, contenders, 2 if plan.quick else plan.rounds)
    for name in contenders:
        if name != BARE:
            target = MOST if _is_of_a_layer(name) else None
            result.rows.append(row(f"{name} in forward passes", taken, name, BARE, target, inverse=True))
    bytes_held = {name: peak_live_bytes(call) for name, call in contenders.items()}
    for name, held in bytes_held.items():
        ratio = held / bytes_held[BARE]
        known = f"at most {MOST_MEMORY} wanted" if _is_of_a_layer(name) or name == BARE else "no target"
        result.notes.append(f"Memory of {name}: {held / 2**20:.0f} MiB, {ratio:.2f} of a forward pass ({known}).")
    result.details = {"seconds": taken, "bytes": bytes_held}
    _add_ablation(plan, result)
    return result


def _is_of_a_layer(name: str) -> bool:
    """Whether a contender is a kind of one layer: several layers, and pixels, whose gradient runs through the whole network, are not."""
    return "layers" not in name and name != BARE and not map_kind(name).on_input


def _add_ablation(plan: Plan, result: Result) -> None:
    worker, x, classes = _prepared("timm:resnet18", 64 if plan.quick else 224, 2, plan.device)
    calls: dict[str, Callable[[], Tensor]] = {
        "ablationcam": lambda: _maps(worker, ["layer4"], x, [classes], "ablationcam")[0]["layer4"],
        "whole passes": lambda: _whole_passes(worker, "layer4", x, classes, 32),
    }
    ours, loop = (call() for call in calls.values())
    apart = float((ours - loop).abs().max() / loop.abs().max())
    if not apart <= 1e-3:
        raise Disagreement(f"Ablation-CAM differs from whole passes by {apart:.2g} of its largest value.")
    taken = interleaved(plan, calls, 1 if plan.quick else max(3, plan.rounds // 3), warm=False)
    result.rows.append(row("Ablation-CAM, ResNet-18", taken, "ablationcam", "whole passes", LEAST))
    result.notes.append(f"Ablation-CAM agrees with whole passes to {apart:.1e} of its largest value.")


def _prepared(network: str, size: int, count: int, device: str) -> tuple[Specimen, Tensor, Tensor]:
    specimen = microtome.open(network, weights=None, zero_init_last=False, num_classes=10, recipe={"size": size})
    worker = specimen.on(device)
    x = wide(torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(0)).to(device))
    return worker, x, worker.run(x).argmax(1).clone()


def _maps(worker: Specimen, names: list[str], x: Tensor, classes: list[Tensor], kind: str) -> list[dict[str, Tensor]]:
    return attribution_maps(worker, names, x, lambda _: classes, map_kind(kind))[1]


def _whole_passes(worker: Specimen, name: str, x: Tensor, classes: Tensor, at_once: int) -> Tensor:
    """Ablation-CAM by whole passes, so many changed images in each."""
    kept: list[Tensor] = []

    def keep(_: str, value: Tensor) -> Tensor:
        kept.append(value.clone())
        return value

    with torch.no_grad(), replace_values(worker, name, keep):
        clean = worker.logits(x).gather(1, classes[:, None])
    maps, drops = kept[0], list[Tensor]()
    many = max(1, at_once // len(x))
    for start in range(0, maps.shape[1], many):
        units = range(start, min(start + many, maps.shape[1]))

        def without(_: str, value: Tensor, units: range = units) -> Tensor:
            changed = value.clone().unflatten(0, (len(units), len(x)))
            changed[torch.arange(len(units)), :, torch.tensor(list(units))] = 0.0
            return changed.flatten(0, 1)

        with torch.no_grad(), replace_values(worker, name, without):
            scores = worker.logits(wide(x.repeat(len(units), 1, 1, 1))).unflatten(0, (len(units), len(x)))
        drops.append(clean.T - scores.gather(2, classes[None, :, None].expand(len(units), -1, 1))[:, :, 0])
    return torch.einsum("iurc,ui->irc", maps, torch.cat(drops))
