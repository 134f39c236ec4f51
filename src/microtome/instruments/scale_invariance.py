"""Parameters that a network's function does not depend on, found from one gradient at random weights, not from names.

If scaling a norm's scale and shift together never changes the output, the derivative along that direction is zero everywhere
(Euler), and at random weights it is zero for no other reason. The same gradient tells biases that what follows removes.
"""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from microtome.errors import SpecimenError
from microtome.specimen import Recipe
from microtome.specimen.full_gradients import full_gradients
from microtome.specimen.layers import is_norm, is_weight
from microtome.specimen.outputs import slow_attention
from microtome.specimen.tracing import deep_tensors

IMAGES = 4  # with fewer, statistics over a batch of single positions would be degenerate
SIDE = 96  # px; structure does not depend on the size, and double precision is slow
PLAIN_LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)  # called as they are, so that a hook sees their outputs
ZERO_TOLERANCE = 1e-7  # fraction below which a sum that cancels counts as zero; rounding leaves about 1e-12


@dataclass(frozen=True)
class ScaleInvariance:
    """`scales`: norms whose scale and shift may be multiplied by a number without changing any output. `norms`: all norms with a
    scale that takes part. `biases`: layers whose bias changes no output. All by path, in the order of the network's modules.
    """

    norms: tuple[str, ...]
    scales: tuple[str, ...]
    biases: tuple[str, ...]


def scale_invariance(net: nn.Module, recipe: Recipe) -> ScaleInvariance:
    """The invariances of `net` in training mode (batch statistics), which is never touched: a copy in double precision is.

    Raises:
        SpecimenError: the copy does not run, or no gradient passes through it.
    """
    generator = torch.Generator().manual_seed(0)
    trial = prepare_trial(copy.deepcopy(net), generator)
    moved = _follow_outputs(trial)
    whole = trial_output(trial, recipe, generator)
    named = {name: value for name, value in trial.named_parameters() if value.requires_grad}
    try:
        gradients = torch.autograd.grad(whole, list(named.values()), allow_unused=True)
    except RuntimeError as error:
        raise SpecimenError(f"No gradient passes through the network: {str(error).splitlines()[0][:120]}") from error
    pairs: dict[int, Tensor | None] = {
        id(parameter): gradient for parameter, gradient in zip(named.values(), gradients, strict=True)
    }
    norms: list[str] = []
    scales: list[str] = []
    biases: list[str] = []
    for path, module in trial.named_modules():
        if is_norm(module):
            slope = _products(module, pairs)
            norms += [] if slope is None else [path]
            idle = slope is not None and abs(float(slope.sum())) <= ZERO_TOLERANCE * float(slope.abs().sum())
            scales += [path] if idle else []
        elif is_weight(module) and _is_idle(module, pairs, moved.get(module)):
            biases.append(path)
    return ScaleInvariance(tuple(norms), tuple(scales), tuple(biases))


def prepare_trial(trial: nn.Module, generator: torch.Generator) -> nn.Module:
    """`trial` itself in double precision with random weights, its batch norms in training mode, all norms without their epsilon."""
    trial = trial.cpu().requires_grad_(True)
    trial.eval()
    with torch.no_grad():
        scramble(trial, generator)  # before the cast: numbers in double precision take twice as long to draw
    trial = trial.double()
    for module in trial.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):  # pyright: ignore[reportPrivateUsage]
            module.training = True
        if is_norm(module) and isinstance(getattr(module, "eps", None), float):
            setattr(module, "eps", 1e-12)  # noqa: B010  # with it statistics do not scale exactly
    return trial


def scramble(net: nn.Module, generator: torch.Generator) -> None:
    """Draw every parameter anew: kernels as He et al., scales around one, all the rest small; statistics are left alone."""
    for path, module in net.named_modules():
        for name, parameter in module.named_parameters(recurse=False):
            parameter.normal_(generator=generator)
            if parameter.ndim >= 2 and is_weight(module):
                parameter.mul_((2 / max(1, parameter[0].numel())) ** 0.5)
            elif name in ("weight", "gamma", "scale") or "gamma" in path:
                parameter.uniform_(0.5, 1.5, generator=generator)
            else:
                parameter.mul_(0.3)


def trial_output(trial: nn.Module, recipe: Recipe, generator: torch.Generator) -> Tensor:
    """One number that depends on all outputs, for an image of noise as small as the network takes.

    Raises:
        SpecimenError: it does not run, or no gradient passes.
    """
    sizes = [(min(SIDE, recipe.size[0]), min(SIDE, recipe.size[1])), recipe.size]
    for size in dict.fromkeys(sizes):
        x = torch.randn(IMAGES, recipe.channels, *size, generator=generator, dtype=torch.float64)
        try:
            with torch.enable_grad(), slow_attention(), full_gradients(trial):
                outputs = [
                    out for out in deep_tensors(_plain_tensor(trial(x))) if out.is_floating_point() and out.requires_grad
                ]
            break
        except (RuntimeError, ValueError, AssertionError, TypeError, IndexError) as error:
            if size == sizes[-1]:
                raise SpecimenError(
                    f"The network does not run in double precision ({str(error).strip().splitlines()[0][:120]})."
                ) from error
    else:
        raise AssertionError("the last size is tried")
    if not outputs:
        raise SpecimenError("No gradient passes through the network.")
    return torch.stack([(out * torch.randn(out.shape, generator=generator, dtype=out.dtype)).sum() for out in outputs]).sum()


def _plain_tensor(output: Any) -> Any:
    return list(output.values()) if isinstance(output, dict) else output


def _products(module: nn.Module, pairs: dict[int, Tensor | None]) -> Tensor | None:
    """Parameter times gradient for scale and shift of a norm; None where its scale takes no part."""
    parts: list[Tensor] = []
    for name in ("weight", "bias"):
        parameter = getattr(module, name, None)
        gradient = pairs.get(id(parameter))
        if isinstance(parameter, nn.Parameter) and gradient is not None:
            parts.append((parameter.detach() * gradient).flatten())
        elif name == "weight":
            return None
    products = torch.cat(parts)
    return products if bool(products.any()) else None


def _follow_outputs(trial: nn.Module) -> dict[nn.Module, list[float]]:
    """By layer the sums of |gradient| of its outputs, filled on the way back.

    These layers' weights take no gradient: it would be as large as they are, and tells no more than that the layer moves the output.
    """
    moved: dict[nn.Module, list[float]] = {}
    for module in trial.modules():
        weight, bias = (module._parameters.get(name) for name in ("weight", "bias"))
        if type(module) in PLAIN_LAYERS and weight is not None and bias is not None:
            weight.requires_grad_(False)
            module.register_forward_hook(_note_slope(moved.setdefault(module, [])))
    return moved


def _note_slope(sums: list[float]) -> Callable[[nn.Module, Any, Tensor], None]:
    """A hook that adds the sum of |gradient| of a layer's output to the list, when the gradient comes."""

    def follow(module: nn.Module, given: Any, output: Tensor) -> None:
        output.register_hook(lambda slope: sums.append(float(slope.abs().sum())))

    return follow


def _is_idle(module: nn.Module, pairs: dict[int, Tensor | None], moved: Sequence[float] | None) -> bool:
    """Whether a layer's bias moves nothing while its output does (`moved`; else, while its weight does)."""
    bias = pairs.get(id(getattr(module, "bias", None)))
    if moved is None:
        weight = pairs.get(id(getattr(module, "weight", None)))
        reference = 0.0 if weight is None else float(weight.abs().max())
    else:
        reference = sum(moved)
    return bias is not None and reference > 0 and float(bias.abs().max()) <= ZERO_TOLERANCE * reference
