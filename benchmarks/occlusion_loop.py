"""Occlusion by the engine against the plain loop over the same network, for networks of many kinds: it must never be slower."""

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

import microtome
from benchmarks.timing import Disagreement, Plan, Result, interleaved, row
from microtome.instruments.perturbation.patches import Patch, paste_patches, patch_spans
from microtome.instruments.perturbation.perturber import Perturber
from microtome.instruments.perturbation.planning import cheapest_plan
from microtome.instruments.perturbation.recording import Recording, RecordingFailed
from microtome.instruments.perturbation.windows import reachable_nodes
from microtome.numerics.maps.occluders import occluder_starts
from microtome.specimen import watch

LOOP = "our plain loop at its best batch"
BATCHES = (2, 4, 8, 16, 32, 64)
TUNED = {224: 16, 64: 64}  # images of that side, to find the best batch
CLOSE = 1e-5  # largest difference of a score, as a fraction of the largest
LEAST = 0.97  # of the loop's speed: not slower, within the noise of one round


@dataclass(frozen=True)
class Case:
    name: str
    network: str
    options: dict[str, Any] = field(default_factory=dict[str, Any])
    side: int = 224
    across: int = 7  # positions of the square along each side


CASES = (
    Case("VGG-19", "torchvision:vgg19"),
    Case("ResNet-50", "timm:resnet50", {"zero_init_last": False}),
    Case("DenseNet-121", "timm:densenet121"),
    Case("EfficientNet-B0", "timm:efficientnet_b0"),
    Case("MobileNetV3 small", "timm:mobilenetv3_small_100"),
    Case("ConvNeXt atto", "timm:convnext_atto"),
    Case("ViT tiny", "timm:vit_tiny_patch16_224"),
    Case("Swin tiny", "timm:swin_tiny_patch4_window7_224"),
    Case("mini_vgg", "microtome:mini_vgg", side=64, across=15),
    Case("mini_resnet", "microtome:mini_resnet", side=64, across=15),
    Case("mini_densenet", "microtome:mini_densenet", side=64, across=15),
)


TITLE = "Occlusion never slower than a loop: networks of many kinds"
TIMED = (
    "From one normalised image to all scores at each position of a square, a seventh of the side. Ours: `perturbing.Perturber` from "
    "nothing, as the occlusion analysis calls it. The plain loop is the same network over batches of covered images, of the size that "
    "was fastest just before, and once the uncovered one. Where nothing is gained the engine runs such a loop itself; 3 % below 1 "
    "count as noise. Limit: how many times fewer multiply-adds would do, were only what each position can reach computed again."
)
ENOUGH = 15.0  # seconds of the loop in all rounds of a network together


def run(plan: Plan) -> Result:
    """A row for each network, with what the arithmetic allows."""
    result = Result("occlusion_loop", TITLE, TIMED)
    for case in CASES:
        _case(case, plan, result)
    return result


def _case(case: Case, plan: Plan, result: Result) -> None:
    specimen = microtome.open(case.network, weights=None, **case.options)
    assert len(specimen.layers) > 0  # traced here, timed for nobody
    worker = specimen.on(plan.device)
    x = torch.randn(1, 3, case.side, case.side, generator=torch.Generator().manual_seed(0)).to(plan.device)
    x = x.contiguous(memory_format=torch.channels_last)
    size = case.side // 7
    places = occluder_starts(case.side, size, -(-(case.side - size) // (case.across - 1)))
    patches = [
        Patch(0, int(r), int(c), torch.zeros(3, min(size, case.side - int(r)), min(size, case.side - int(c)), device=x.device))
        for r in places
        for c in places
    ]
    some = patches[: TUNED[case.side]]
    batches = [size for size in BATCHES if size <= len(some)]
    looped(worker, x, some[:2], 2)
    tried = interleaved(
        plan, {str(batch): lambda chunk=batch: looped(worker, x, some, chunk) for batch in batches}, 1, warm=False
    )
    best = min(batches, key=lambda size: min(tried[str(size)]))
    engines: list[Perturber] = []

    def ours() -> Tensor:
        engines.append(Perturber(worker, x, count=len(patches)))
        return engines[-1].responses(patches).scores

    known, response = looped(worker, x, patches, best), ours()
    apart = float((known - response).abs().max() / known.abs().max())
    if not apart <= CLOSE:
        raise Disagreement(f"Occlusion of {case.name} differs from the plain loop's by {apart:.2g} of the largest score.")
    contenders = {"microtome": ours, LOOP: lambda: looped(worker, x, patches, best)}
    whole = min(tried[str(best)]) * len(patches) / len(some)
    taken = interleaved(plan, contenders, 1 if plan.quick else int(min(max(2, ENOUGH // whole), 15)), warm=False)
    what = f"Occlusion, {case.name}, {case.side} px, {len(patches)} positions, limit {limit(worker, x, patches):.2f}"
    result.rows.append(row(what, taken, "microtome", LOOP, LEAST))
    how = engines[-1].why
    how_run = f"it runs the plain loop, since {how}" if how else "the engine cuts it"
    result.notes.append(
        f"{case.name}: {how_run}; scores lie {apart:.1e} of the largest apart; the loop's best batch is {best}."
    )
    result.details[f"{case.name} against the loop: seconds"] = taken


def looped(worker: microtome.Specimen, x: Tensor, patches: list[Patch], batch: int) -> Tensor:
    """The scores (position, class) by the plain loop, and the uncovered image's before them."""
    worker.logits(x)
    with torch.no_grad():
        parts = [patches[start : start + batch] for start in range(0, len(patches), batch)]
        return torch.cat([worker.logits(paste_patches(x, part)) for part in parts])


def limit(worker: microtome.Specimen, x: Tensor, patches: list[Patch]) -> float:
    """How many times fewer multiply-adds would do, by receptive-field arithmetic; 1 where nothing can be left out."""
    try:
        tape = Recording(worker.net, x, lambda each: watch(worker, [], each=each), lambda *_: None).draft
    except RecordingFailed:
        return 1.0
    return cheapest_plan(tape, reachable_nodes(tape), patch_spans(patches)).limit
