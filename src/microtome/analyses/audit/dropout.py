"""MT3xx: dropout. Measured on noise: what batch norms see with dropout on against off, and how a head's dropout is diluted.

Dropout is found by what runs (`microtome.instruments.dropouts`): modules, functions that forward methods call, and that of attention.
"""

from collections.abc import Collection
from math import prod

import torch
from torch import Tensor, nn

from microtome.analyses.audit.rule import Fault, Rule, Subject
from microtome.instruments.dropouts import DropoutMode, DropoutSite, InputHook, Key, run_with_dropout
from microtome.key_numbers import format_value
from microtome.prose import name_list, plural
from microtome.specimen import Specimen
from microtome.specimen.layers import is_weight
from microtome.specimen.noise_images import noise_images

IMAGES = 16
VARIANCE_RATIO_LIMIT = 0.9  # ratio of variances below which a batch norm counts as deceived; sampling leaves about 0.98
AVERAGE_LABEL = "what is averaged behind"  # by a function: no module pools, before which an edit could put something
NOISE_RATIO_LIMIT = 0.5  # a head's dropout whose noise before pooling would be at most half as strong


def check_dropout_before_norm(subject: Subject) -> Fault | None:
    """Dropout before batch norms: the variance that they learn in training is not the one they meet in evaluation."""
    specimen, dropouts = subject.specimen, subject.dropouts
    norms = [path for path, part in specimen.net.named_modules() if isinstance(part, nn.modules.batchnorm._BatchNorm)]  # pyright: ignore[reportPrivateUsage]
    last = max((dropouts.begun.get(path, -1) for path in norms), default=-1)
    early = [site for site in dropouts.sites if site.begun <= last]
    if not early:
        return None
    off = norm_input_variances(specimen, early, ())
    ratios = {site.key: variance_shifts(off, norm_input_variances(specimen, early, (site.key,))) for site in early}
    hit = [site for site in early if min(ratios[site.key].values(), default=1.0) < VARIANCE_RATIO_LIMIT]
    if not hit:
        return None
    worst = min(hit, key=lambda site: min(ratios[site.key].values()))
    norm = min(ratios[worst.key], key=lambda path: ratios[worst.key][path])
    return Fault(
        tuple(dict.fromkeys(site.layer for site in hit)),
        f"with {worst.description} the variance at {norm} in evaluation is {format_value(ratios[worst.key][norm])} times that in training, "
        "on noise; "
        f"{plural(len(hit), 'dropout shifts', 'dropouts shift')} some batch norm below {VARIANCE_RATIO_LIMIT}",
        fix=(fix := _dropout_slot(specimen, hit)),
        edit=f"dropout:p={worst.p:g}" if fix.startswith("One") else "",
    )


def check_dropout_after_pooling(subject: Subject) -> Fault | None:
    """Dropout on pooled features: before pooling the same expectation comes with less noise."""
    for site in subject.dropouts.sites:
        if site.form == "attention" or len(site.shape) < 2 or prod(site.shape[2:]) != 1:
            continue
        dilution = _noise_dilution(subject.specimen, site)
        if dilution is not None and dilution[0] < NOISE_RATIO_LIMIT:
            ratio, source, cells = dilution
            return Fault(
                (site.layer,),
                f"{site.description} follows the mean over the {cells} positions of {source}; before it the variance of the logits "
                f"would be {format_value(ratio)} times as large, on noise",
                edit="" if source.startswith(AVERAGE_LABEL) else "head_dropout",
            )
    return None


def check_dropout_in_evaluation(subject: Subject) -> Fault | None:
    """Dropout that is at work in evaluation too."""
    hit = [site for site in subject.dropouts.sites if site.always]
    if not hit:
        return None
    return Fault(
        tuple(dict.fromkeys(site.layer for site in hit)),
        f"{plural(len(hit), 'dropout drops', 'dropouts drop')} in evaluation too, so that the same image gets another answer each time: "
        f"{name_list([site.description for site in hit])}",
    )


def norm_input_variances(specimen: Specimen, sites: Collection[DropoutSite], on: Collection[Key]) -> dict[str, float]:
    """Mean variance of what enters every batch norm on noise, with the dropouts `on` at work of the `sites`."""
    variances: dict[str, float] = {}

    def look(way: str, path: str, x: Tensor) -> None:
        if way == "in" and isinstance(specimen.net.get_submodule(path), nn.modules.batchnorm._BatchNorm):  # pyright: ignore[reportPrivateUsage]
            variances.setdefault(path, _mean_variance(x))

    _run_noise(specimen, sites, DropoutMode(on), look, specimen.recipe.equal_count(IMAGES, 2))
    return variances


def _mean_variance(x: Tensor) -> float:
    """The mean over units of their variance over images and positions, without a copy."""
    return float(torch.var(x, dim=[0, *range(2, x.ndim)]).double().mean())


def variance_shifts(off: dict[str, float], on: dict[str, float]) -> dict[str, float]:
    """Variance without dropout over that with it, by path."""
    return {path: off[path] / on[path] for path in off if path in on and on[path] > 0}


def _run_noise(specimen: Specimen, sites: Collection[DropoutSite], mode: DropoutMode, look: InputHook, count: int) -> None:
    """One run at the recipe's size, with the modules that drop in training mode."""
    run_with_dropout(
        specimen.net, noise_images(specimen.net, specimen.recipe, count, seed=1), {site.path for site in sites}, mode, look
    )


def _dropout_slot(specimen: Specimen, sites: Collection[DropoutSite]) -> str:
    """Where dropout belongs in these blocks: after the last norm and before the last weights, if there is such a place."""
    for block in specimen.residuals:
        if any(f"{site.path}.".startswith(f"{block.block}.") for site in sites):
            if is_weight(specimen.net.get_submodule(block.end)):
                return f"One dropout for each branch, right before its last weights ({block.end}), after the last norm."
            return "These blocks end with a norm, so no place in them is right: drop the dropout there, or use it in the head only."
    return "Move it behind the last batch norm."


def _noise_dilution(specimen: Specimen, site: DropoutSite) -> tuple[float, str, int] | None:
    """(variance before pooling / after, the layer that is pooled, its positions), or None where the dropout's input is no mean of a map."""
    units = site.shape[1]
    maps: dict[str, Tensor] = {}
    entered: list[Tensor] = []

    def dropped(key: Key, x: Tensor) -> None:
        if key == site.key:
            entered.append(x.flatten(1).clone())

    def look(way: str, path: str, x: Tensor) -> None:
        cells = _token_map(x, units) if path != site.path and not entered else None
        if cells is not None:
            maps[f"the input of {path}" if way == "in" else path] = cells

    def averaged(layer: str, x: Tensor) -> None:
        cells = _token_map(x, units) if not entered else None
        if cells is not None:
            maps.setdefault(f"{AVERAGE_LABEL} {layer}", cells)

    _run_noise(specimen, [site], DropoutMode(dropped=dropped, averaged=averaged), look, 4)
    named = [item for item in reversed(maps.items()) if not item[0].startswith(AVERAGE_LABEL)]
    for path, cells in [*named, *maps.items()]:  # windows are no images, so they may be more
        if (
            entered
            and len(cells) == len(entered[0])
            and cells.shape[1] > 1
            and torch.allclose(cells.mean(1), entered[0], rtol=1e-3, atol=1e-5)
        ):
            weight = _head_weight_energy(specimen, units).to(cells)
            after = (weight * cells.mean(1).square()).sum()
            before = (weight * cells.square().mean(1) / cells.shape[1]).sum()
            return (float(before / after), path, int(cells.shape[1])) if float(after) > 0 else None
    return None


def _token_map(value: Tensor, units: int) -> Tensor | None:
    """A map as (image, position, unit) where it has so many units, in any of the usual layouts."""
    if value.ndim == 4 and value.shape[1] == units:
        return value.flatten(2).transpose(1, 2).clone()
    if value.ndim >= 3 and value.shape[-1] == units:
        return value.flatten(1, -2).clone()
    return None


def _head_weight_energy(specimen: Specimen, units: int) -> Tensor:
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
        check=check_dropout_before_norm,
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
        check=check_dropout_after_pooling,
        reason=(
            "For features that are not negative, dropout before the mean over positions keeps the expected logits "
            "and adds less noise."
        ),
        source="Kim et al. 2023, arXiv:2302.06112; the ratio by our formula.",
        cost="Evaluation stays; p wants to be tuned again, for the noise is weaker.",
        fix="Put the dropout before the pooling.",
    ),
    Rule(
        id="MT303",
        title="Dropout in evaluation",
        severity="warning",
        check=check_dropout_in_evaluation,
        reason="Functions drop by default, also in evaluation: answers then hang on chance, and accuracy is that of a noisy network.",
        source="torch.nn.functional.dropout, whose training=True is the default; the test is ours.",
        cost="Evaluation changes, to what was meant; training stays.",
        fix="Pass training=self.training, or use a module. For Monte Carlo dropout this is meant: ignore MT303.",
    ),
)
