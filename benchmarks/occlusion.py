"""Occlusion of one image at 224 px by a square of 32 px, 16 px at a time, against captum."""

import copy
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

import microtome
from benchmarks.gradcam import wide
from benchmarks.timing import INSTALL, Disagreement, Plan, Result, interleaved, row
from microtome.instruments.perturbation.patches import Patch
from microtome.instruments.perturbation.perturber import Perturber
from microtome.instruments.perturbation.tape import memory_layout
from microtome.numerics.maps.occluders import occluder_starts

TITLE = "Occlusion, 224 px, square 32 px, stride 16 px"
TIMED = (
    "From one normalised image to the score of one class at each of 169 positions. Ours: `perturbing.Perturber` from nothing, as the "
    "occlusion analysis calls it for each batch of images: writing the network down, planning, comparing with the network itself "
    "and the uncovered image are in it. captum: `Occlusion(net).attribute(...)` under no_grad, on its own copy of the network, "
    "with the `perturbations_per_eval` in which the network was fastest just before on 16 images. Limit: how many times fewer "
    "multiply-adds would do, were only what each position can reach computed again (receptive-field arithmetic)."
)
SIZE, STRIDE, SIDE = 32, 16, 224
LIMIT = 1e-4  # largest difference of the drop from captum's, as a fraction of the largest score
EVALS = (1, 4, 16)
OURS, PEER = "microtome", "captum"
WIDE = f"{PEER} on a channels-last copy"


@dataclass(frozen=True)
class Case:
    name: str
    network: str
    options: dict[str, Any]
    target: float


CASES = (
    Case("ResNet-50", "timm:resnet50", {"zero_init_last": False}, 2.5),
    Case("VGG-19", "torchvision:vgg19", {}, 5.0),
)


def run(plan: Plan) -> Result:
    """Rows against captum as documented and on a channels-last copy, for each network."""
    result = Result("occlusion", TITLE, TIMED)
    for case in CASES:
        _case(case, plan, result)
    return result


def _case(case: Case, plan: Plan, result: Result) -> None:
    specimen = microtome.open(case.network, weights=None, **case.options)
    assert len(specimen.layers) > 0  # traced here, timed for nobody
    worker = specimen.on(plan.device)
    stride = SIZE if plan.quick else STRIDE
    x = torch.randn(1, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0)).to(plan.device)
    target = int(worker.run(wide(x)).argmax())
    what = f"{case.name}, {len(occluder_starts(SIDE, SIZE, stride)) ** 2} positions"
    engines: list[Perturber] = []
    contenders: dict[str, Callable[[], object]] = {
        OURS: lambda: engines.append(ours(worker, wide(x), stride)[1]),
    }
    if importlib.util.find_spec("captum") is None:
        result.notes.append(f"{PEER} is left out, since it is not installed. Install the peers: {INSTALL}")
    else:
        for name, net, seen in ((PEER, copy.deepcopy(specimen.net).to(plan.device), x), (WIDE, worker.net, wide(x))):
            evals = _tuned(plan, net, seen)
            contenders[name] = lambda net=net, seen=seen, evals=evals: theirs(net, seen, target, stride, evals)
            result.details[f"{what}: perturbations_per_eval of {name}"] = evals
        apart = _checked(case, worker, x, target, stride)
        result.notes.append(f"{what}: the map agrees with {PEER}'s, largest difference {apart:.1e} of the largest score.")
    taken = interleaved(plan, contenders, 1 if plan.quick else max(1, plan.rounds // 4), warm=False)
    made = engines[-1].plan
    assert made is not None
    for name in contenders:
        if name != OURS:
            whole = f"Occlusion, {what}, limit {made.limit:.2f}"
            result.rows.append(row(whole, taken, OURS, name, case.target if name == PEER else None))
    ratios = (
        ", ".join(f"{sum(taken[peer]) / sum(taken[OURS]):.2f} against {peer}" for peer in contenders if peer != OURS) or "none"
    )
    result.notes.append(
        f"{what}: with what can't have changed left out, {made.limit:.2f} times fewer multiply-adds would do (receptive-field "
        f"arithmetic, each position by itself); the plan, which groups positions, takes {made.saved:.2f} times fewer. Measured ratio: "
        f"{ratios}. Norms folded, sums and ReLUs joined to convolutions and the memory layout add "
        "to it; preparation (about three forward passes) takes from it."
    )
    result.details[f"{what}: seconds"] = taken


def ours(worker: microtome.Specimen, x: Tensor, stride: int) -> tuple[Tensor, Perturber]:
    """The scores (position, class), and the engine that gave them."""
    places = occluder_starts(SIDE, SIZE, stride)
    square = torch.zeros(3, SIZE, SIZE, device=x.device)
    patches = [Patch(0, int(r), int(c), square) for r in places for c in places]
    engine = Perturber(worker, x, count=len(patches))
    return engine.responses(patches).scores, engine


def theirs(net: nn.Module, x: Tensor, target: int, stride: int, evals: int) -> Tensor:
    from captum.attr import Occlusion

    with torch.no_grad():
        return Occlusion(net).attribute(
            x, (3, SIZE, SIZE), (3, stride, stride), baselines=0, target=target, perturbations_per_eval=evals
        )


def _tuned(plan: Plan, net: nn.Module, x: Tensor) -> int:
    """The batch in which the network is fastest, which is all that captum leaves to choose."""

    def passes(batch: int) -> None:
        pictures = torch.cat([x] * batch).contiguous(memory_format=memory_layout(x))
        with torch.no_grad():
            for _ in range(max(EVALS) // batch):
                net(pictures)

    taken = interleaved(plan, {str(count): lambda evaluations=count: passes(evaluations) for count in EVALS}, 1, warm=False)
    return min(EVALS, key=lambda count: min(taken[str(count)]))


def _checked(case: Case, worker: microtome.Specimen, x: Tensor, target: int, stride: int) -> float:
    """The largest difference from captum's map where squares lie side by side, so that it averages over one position only.

    Raises:
        Disagreement: it is above LIMIT.
    """
    places = occluder_starts(SIDE, SIZE, SIZE)
    response, engine = ours(worker, wide(x), SIZE)
    scale = float(engine.clean.scores.abs().max())
    drop = (engine.clean.scores[0, target] - response[:, target]).reshape(len(places), len(places))
    known = theirs(worker.net, wide(x), target, SIZE, 1)[0, 0, ::SIZE, ::SIZE]
    apart = float((drop - known).abs().max()) / scale
    if not apart <= LIMIT:
        raise Disagreement(
            f"Occlusion maps of {case.name} differ by up to {apart:.2g} of the largest score (allowed: {LIMIT:.0e})."
        )
    if not float(known.abs().max()) > 0:
        raise Disagreement(f"Covering changes nothing in {case.name}, so the maps cannot be compared.")
    return apart
