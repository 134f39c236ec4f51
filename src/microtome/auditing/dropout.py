"""MT3xx: dropout. Measured on noise: what batch norms see with dropout on against off, and how a head's dropout is diluted."""

import copy
from typing import Any, cast

import torch
from torch import Tensor, nn

from microtome.auditing.rule import Fault, Rule, Subject
from microtome.specimen import Specimen
from microtome.specimen.tracing import Call
from microtome.specimen.twins import seeded
from microtome.specimen.watching import first_tensor, slow_attention

IMAGES = 16
SHIFTED = 0.9  # ratio of variances below which a batch norm counts as deceived; sampling leaves about 0.98
DILUTED = 0.5  # a head's dropout whose noise before pooling would be at most half as strong

Dropout = nn.Dropout | nn.Dropout1d | nn.Dropout2d | nn.Dropout3d


def before_norm(subject: Subject) -> Fault | None:
    """Dropout before batch norms: the variance that they learn in training is not the one they meet in evaluation."""
    drops = [call for call in subject.leaves if _drops(call)]
    last = max((call.begun for call in subject.leaves if isinstance(call.module, nn.modules.batchnorm._BatchNorm)), default=-1)  # pyright: ignore[reportPrivateUsage]
    early = [call for call in drops if call.begun < last]
    if not early:
        return None
    off = _variances(subject.specimen, ())
    ratios = {call.path: _ratios(off, _variances(subject.specimen, (call.path,))) for call in early}
    hit = {path: told for path, told in ratios.items() if min(told.values(), default=1.0) < SHIFTED}
    if not hit:
        return None
    worst = min(hit, key=lambda path: min(hit[path].values()))
    norm = min(hit[worst], key=lambda path: hit[worst][path])
    p = float(cast(Any, subject.specimen.net.get_submodule(worst)).p)
    return Fault(
        tuple(hit),
        f"with {worst} (p = {p:g}) the variance at {norm} in evaluation is {hit[worst][norm]:.2f} times that in training, on noise; "
        f"{len(hit)} dropouts shift some batch norm below {SHIFTED}",
        fix=(fix := _slot(subject.specimen, tuple(hit))),
        edit=f"dropout:p={p:g}" if fix.startswith("One") else "",
    )


def after_pooling(subject: Subject) -> Fault | None:
    """Dropout on pooled features: before pooling the same expectation comes with less noise."""
    for call in subject.leaves:
        if not _drops(call) or not call.inputs:
            continue
        shape = call.inputs[0]
        if len(shape) < 2 or any(side != 1 for side in shape[2:]):
            continue
        told = _dilution(subject.specimen, call, shape[1])
        if told is not None and told[0] < DILUTED:
            ratio, source, cells = told
            p = float(cast(Any, call.module).p)
            return Fault(
                (call.path,),
                f"{call.path} (p = {p:g}) follows the mean over the {cells} cells of {source}; before it the variance of the logits "
                f"would be {ratio:.3f} times as large, on noise",
                edit="head_dropout",
            )
    return None


def _drops(call: Call) -> bool:
    return isinstance(call.module, Dropout) and float(call.module.p) > 0


def _noise(specimen: Specimen, count: int) -> Tensor:
    x = torch.randn(count, specimen.recipe.channels, *specimen.recipe.size, generator=torch.Generator().manual_seed(1))
    first = next((p for p in specimen.net.parameters() if p.is_floating_point()), None)
    return x if first is None else x.to(first.device, first.dtype)


def _variances(specimen: Specimen, on: tuple[str, ...]) -> dict[str, float]:
    """Mean variance of what enters every batch norm, with the dropouts `on` at work."""
    trial = copy.deepcopy(specimen.net)
    trial.eval()
    found: dict[str, float] = {}

    def keeper(path: str) -> Any:
        def hook(_module: nn.Module, inputs: tuple[Any, ...]) -> None:
            x = first_tensor(inputs[0])
            if x is not None:
                found.setdefault(path, float(x.double().transpose(0, 1).flatten(1).var(1).mean()))

        return hook

    for path, module in trial.named_modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):  # pyright: ignore[reportPrivateUsage]
            module.register_forward_pre_hook(keeper(path))
        module.training = path in on
    with seeded(0), torch.no_grad(), slow_attention():
        trial(_noise(specimen, IMAGES))
    return found


def _ratios(off: dict[str, float], on: dict[str, float]) -> dict[str, float]:
    return {path: off[path] / on[path] for path in off if path in on and on[path] > 0}


def _slot(specimen: Specimen, dropouts: tuple[str, ...]) -> str:
    """Where dropout belongs in these blocks: after the last norm and before the last weights, if there is such a place."""
    for block in specimen.residuals:
        if any(path.startswith(f"{block.block}.") for path in dropouts):
            end = specimen.net.get_submodule(block.end)
            if isinstance(end, nn.modules.conv._ConvNd | nn.Linear):  # pyright: ignore[reportPrivateUsage]
                return f"One dropout for each branch, right before its last weights ({block.end}), after the last norm."
            return "These blocks end with a norm, so no place in them is right: drop the dropout there, or use it in the head only."
    return "Move it behind the last batch norm."


def _dilution(specimen: Specimen, drop: Call, units: int) -> tuple[float, str, int] | None:
    """(variance before pooling / after, the layer that is pooled, its cells), or None where the dropout's input is no mean of a map."""
    trial = copy.deepcopy(specimen.net)
    trial.eval()
    maps: dict[str, Tensor] = {}
    entered: list[Tensor] = []

    def keep(path: str) -> Any:
        def hook(_module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
            for name, value in ((f"the input of {path}", inputs[0] if inputs else None), (path, output)):
                tensor = first_tensor(value)
                cells = None if tensor is None else _cells(tensor, units)
                if cells is not None:
                    maps[name] = cells

        return hook

    for path, module in trial.named_modules():
        if path and path != drop.path:
            module.register_forward_hook(keep(path))
    trial.get_submodule(drop.path).register_forward_pre_hook(lambda _module, inputs: entered.append(inputs[0].flatten(1)))
    with torch.no_grad(), slow_attention():
        trial(_noise(specimen, 4))
    for path, cells in reversed(maps.items()):  # windows are no images, so they may be more
        if (
            entered
            and len(cells) == len(entered[0])
            and cells.shape[1] > 1
            and torch.allclose(cells.mean(1), entered[0], rtol=1e-3, atol=1e-5)
        ):
            weight = _readers(specimen, units).to(cells)
            after = (weight * cells.mean(1).square()).sum()
            before = (weight * cells.square().mean(1) / cells.shape[1]).sum()
            return (float(before / after), path, int(cells.shape[1])) if float(after) > 0 else None
    return None


def _cells(value: Tensor, units: int) -> Tensor | None:
    """A map as (image, cell, unit) where it has so many units, in any of the usual layouts."""
    if value.ndim == 4 and value.shape[1] == units:
        return value.flatten(2).transpose(1, 2).clone()
    if value.ndim >= 3 and value.shape[-1] == units:
        return value.flatten(1, -2).clone()
    return None


def _readers(specimen: Specimen, units: int) -> Tensor:
    """The summed squares of the head's weights by feature, or ones where the head reads something else."""
    weight = getattr(specimen.net.get_submodule(specimen.head), "weight", None) if specimen.head else None
    if isinstance(weight, Tensor) and weight.ndim == 2 and weight.shape[1] == units:
        return weight.detach().square().sum(0)
    return torch.ones(units)


RULES = (
    Rule(
        id="MT301",
        title="Dropout before batch norm",
        severity="warning",
        check=before_norm,
        reason=(
            "Dropout raises the variance in training only, so the running variance that the norm uses in "
            "evaluation is too large."
        ),
        source="Kim et al. 2023, arXiv:2302.06112; Li et al. 2019, arXiv:1801.05134.",
        cost="Evaluation stays; training differs.",
        fix="One dropout for each residual branch, after its last norm and before its last weights.",
    ),
    Rule(
        id="MT302",
        title="Head dropout after pooling",
        severity="note",
        check=after_pooling,
        reason=(
            "For features that are not negative, dropout before the mean over positions keeps the expected logits "
            "and adds less noise."
        ),
        source="Kim et al. 2023, arXiv:2302.06112; the ratio by our formula.",
        cost="Evaluation stays; p wants to be tuned again, for the noise is weaker.",
        fix="Put the dropout before the pooling.",
    ),
)
