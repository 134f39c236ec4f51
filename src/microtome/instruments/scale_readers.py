"""Weights that receive the output of a batch norm through positively homogeneous functions, found from one gradient.

If a unit's (γ, β) can be multiplied by any v > 0 and the weights that read the unit divided by it without changing any output, then
γ ∂f/∂γ + β ∂f/∂β equals the sum of W ∂f/∂W over those weights, unit by unit (Euler). At random weights that holds for no other reason.
Rectifiers, max and average pools, dropout and flattening let factors pass; GELU, SiLU, clipping at six and sums with other units do not.

Source: ours, after the test of scale invariance in `microtome.instruments.scale_invariance`.
"""

import copy
from itertools import combinations
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from microtome.errors import SpecimenError
from microtome.instruments.scale_invariance import prepare_trial, trial_output
from microtome.specimen import Recipe, Specimen
from microtome.specimen.layers import is_weight

TRIAL_SCALE = 8.0  # scales are drawn so large that clipping activations (ReLU6) are seen to clip
SUM_TOLERANCE = 1e-6  # fraction of the largest value up to which two sums are equal; rounding leaves about 1e-12
MAX_CANDIDATES = 12  # layers that come next are asked; what reads a norm is among them
MAX_READERS = 3  # layers that read one norm at most


def scale_readers(specimen: Specimen) -> dict[str, tuple[str, ...]]:
    """Path of a batch norm -> the paths of all weights that read it, for the norms whose scale can be moved there exactly.

    Asked once for each specimen: it depends on structure alone.

    Raises:
        SpecimenError: no gradient passes through the network.
    """
    if specimen not in _CACHE:
        _CACHE[specimen] = _find_readers(specimen)
    return _CACHE[specimen]


_CACHE: WeakKeyDictionary[Specimen, dict[str, tuple[str, ...]]] = WeakKeyDictionary()


def _find_readers(specimen: Specimen) -> dict[str, tuple[str, ...]]:
    scales, weights = _gradient_products(specimen.net, specimen.recipe)
    begun = {call.path: call.begun for call in reversed(specimen.anatomy.trace.calls)}
    order = sorted((path for path in weights if path in begun), key=lambda path: begun[path])
    readers: dict[str, tuple[str, ...]] = {}
    for path, wanted in scales.items():
        later = [other for other in order if begun[other] > begun.get(path, -1) and len(weights[other]) % len(wanted) == 0]
        parts = {other: weights[other].reshape(len(wanted), -1).sum(1) for other in later[:MAX_CANDIDATES]}
        hit = _smallest_sum(wanted, parts)
        if hit:
            readers[path] = hit
    return readers


def move_scales(net: nn.Module, readers: dict[str, tuple[str, ...]]) -> int:
    """How many units had a scale other than 0, 1 and -1; it is 1 or -1 now, and in the weights that read the unit instead."""
    count = 0
    with torch.no_grad():
        for path, others in readers.items():
            norm = net.get_submodule(path)
            assert isinstance(norm, nn.modules.batchnorm._BatchNorm)  # pyright: ignore[reportPrivateUsage]
            size = norm.weight.abs()
            factor = torch.where(size > 0, size, torch.ones_like(size))
            count += int((factor != 1).sum())
            norm.weight.div_(factor)
            if isinstance(norm.bias, Tensor):
                norm.bias.div_(factor)
            for other in others:
                _scale_inputs(net.get_submodule(other), factor)
    return count


def _gradient_products(net: nn.Module, recipe: Recipe) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Parameter times gradient: of each batch norm's scale and shift by unit, of each layer's weights summed by input."""
    generator = torch.Generator().manual_seed(0)
    trial = prepare_trial(copy.deepcopy(net), generator)
    norms = _batch_norms(trial)
    with torch.no_grad():
        for part in norms.values():
            part.weight.mul_(TRIAL_SCALE)
            part.momentum = 1.0
    trial_output(trial, recipe, generator)  # now running statistics are those of noise
    trial.eval()  # with those of the batch, a norm behind a depthwise convolution would hide what its units are multiplied by
    layers = {path: part for path, part in trial.named_modules() if is_weight(part) and isinstance(part.weight, nn.Parameter)}
    named: dict[int, nn.Parameter] = {
        id(p): p for part in [*norms.values(), *layers.values()] for p in part.parameters(recurse=False)
    }
    result = trial_output(trial, recipe, generator)
    try:
        slopes = torch.autograd.grad(result, list(named.values()), allow_unused=True)
    except RuntimeError as error:
        raise SpecimenError(f"No gradient passes through the network: {str(error).splitlines()[0][:120]}") from error
    pairs = {
        key: parameter.detach() * slope
        for (key, parameter), slope in zip(named.items(), slopes, strict=True)
        if slope is not None
    }
    scales: dict[str, Tensor] = {}
    for path, part in norms.items():
        own = [pairs[id(p)] for p in (part.weight, part.bias) if id(p) in pairs]
        if own and bool(torch.stack(own).any()):
            scales[path] = torch.stack(own).sum(0)
    return scales, {path: _by_input(part, pairs[id(part.weight)]) for path, part in layers.items() if id(part.weight) in pairs}


def _batch_norms(net: nn.Module) -> dict[str, nn.modules.batchnorm._BatchNorm]:  # pyright: ignore[reportPrivateUsage]
    """The batch norms with a scale, by path."""
    kind = nn.modules.batchnorm._BatchNorm  # pyright: ignore[reportPrivateUsage]
    return {
        path: part for path, part in net.named_modules() if isinstance(part, kind) and isinstance(part.weight, nn.Parameter)
    }


def _by_input(layer: nn.Module, product: Tensor) -> Tensor:
    """The sum of something shaped as the layer's weights, for each of its inputs."""
    if isinstance(layer, nn.modules.conv._ConvTransposeNd):  # pyright: ignore[reportPrivateUsage]
        return product.flatten(1).sum(1)
    groups = getattr(layer, "groups", 1)
    shaped = product.reshape(groups, product.shape[0] // groups, product.shape[1], -1)
    return shaped.sum((1, 3)).flatten()


def _scale_inputs(layer: nn.Module, factor: Tensor) -> None:
    """Multiply the weights that read each unit by its factor, in place."""
    weight = layer.weight
    assert isinstance(weight, Tensor)
    if isinstance(layer, nn.modules.conv._ConvTransposeNd):  # pyright: ignore[reportPrivateUsage]
        weight.mul_(factor.reshape(-1, *[1] * (weight.ndim - 1)))
        return
    groups = getattr(layer, "groups", 1)
    inputs = factor.repeat_interleave(groups * weight.shape[1] // len(factor))  # flattened maps: unit by unit
    shaped = weight.view(groups, weight.shape[0] // groups, weight.shape[1], -1)
    shaped.mul_(inputs.reshape(groups, 1, -1, 1))


def _smallest_sum(wanted: Tensor, parts: dict[str, Tensor]) -> tuple[str, ...]:
    """The fewest of the parts that add up to what is wanted; empty where none do."""
    for count in range(1, MAX_READERS + 1):
        for names in combinations(parts, count):
            gap = wanted - torch.stack([parts[name] for name in names]).sum(0)
            if float(gap.abs().max()) <= SUM_TOLERANCE * float(wanted.abs().max()):
                return names
    return ()
