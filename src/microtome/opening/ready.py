"""A network made ready for measuring: lazy modules have their weights, everything is float32, and what cannot be measured is refused."""

import warnings
from collections.abc import Iterator
from typing import cast

import torch
from torch import nn
from torch.nn.modules.lazy import LazyModuleMixin
from torch.nn.parameter import is_lazy
from torch.utils._python_dispatch import is_traceable_wrapper_subclass

from microtome.errors import SpecimenError
from microtome.specimen.recipe import Recipe
from microtome.specimen.seeding import seed_generators

QUANTISED = ("torch.ao.nn.quantized", "torch.ao.nn.intrinsic.quantized", "torch.nn.quantized", "torch.nn.intrinsic.quantized")


def has_lazy_parts(net: nn.Module) -> bool:
    """Whether some parameter or buffer waits for a first pass to get its shape."""
    return any(is_lazy(value) for value in (*net.parameters(), *net.buffers()))


def give_lazy_parts_their_shape(net: nn.Module, recipe: Recipe, seed: int = 0) -> str:
    """Run the network once on zeros so that its lazy modules get shapes and weights, in place; what was done, as a note.

    Raises SpecimenError where that pass fails.
    """
    lazy = [
        path for path, module in net.named_modules() if isinstance(module, LazyModuleMixin) and _waits(cast(nn.Module, module))
    ]
    modes = {module: module.training for module in net.modules()}
    try:
        with seed_generators(seed), torch.inference_mode(False), torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            net.eval()(torch.zeros(2, recipe.channels, *recipe.size))
    except Exception as error:
        rows, cols = recipe.size
        raise SpecimenError(
            f"The lazy module '{lazy[0] if lazy else ''}' has no weights before a first pass, and a pass of {rows} x {cols} images with "
            f"{recipe.channels} channels failed ({type(error).__name__}: {_first_line(error)}); run the network once yourself, or give "
            "its input size as the recipe."
        ) from error
    finally:
        for module in net.modules():
            module.training = modes.get(module, False)
    if has_lazy_parts(net):
        raise SpecimenError(
            f"The lazy module '{_lazy_names(net)[0]}' has no weights, and a first pass does not reach it; run it once yourself."
        )
    return (
        f"{len(lazy)} lazy modules (first: {lazy[0]}) got their shapes from one pass of {recipe.size[0]} x {recipe.size[1]} images; their "
        f"weights are random unless they come from a file."
    )


def to_float32(net: nn.Module) -> str:
    """Change all floating-point parameters and buffers to float32, in place; a note that says so, empty where they were already."""
    kinds = other_precisions(net)
    if not kinds:
        return ""
    net.float()
    exact = "" if "float64" in kinds else ", which holds the same values"
    return f"Its parameters are {' and '.join(kinds)}; it is measured in float32{exact}."


def other_precisions(net: nn.Module) -> list[str]:
    """The floating-point types other than float32 among parameters and buffers."""
    kinds = {value.dtype for value in (*net.parameters(), *net.buffers()) if value.is_floating_point()}
    return sorted(str(kind).removeprefix("torch.") for kind in kinds - {torch.float32})


def refuse_unmeasurable(net: nn.Module) -> None:
    """Raises SpecimenError for quantised modules, and for tensors without values, naming the first of them."""
    for path, module in net.named_modules():
        home = type(module).__module__
        if home.startswith(QUANTISED) and ".reference" not in home and not home.endswith(".quantized.modules.utils"):
            raise SpecimenError(
                f"'{path or type(net).__name__}' is quantised ({home.rpartition('.')[2]}.{type(module).__name__}): its weights are packed "
                "whole numbers, through which no gradient passes; open the network as it was before quantisation."
            )
    for name, value in (*net.named_parameters(), *net.named_buffers()):
        if value.is_quantized or is_traceable_wrapper_subclass(value):
            kind = str(value.dtype).removeprefix("torch.") if value.is_quantized else type(value).__name__
            raise SpecimenError(
                f"'{name}' is a quantised or wrapped tensor ({kind}), which cannot be measured; open the network with plain tensors."
            )
        if value.is_meta:
            raise SpecimenError(
                f"'{name}' has no values: it is on the meta device; load weights (assign=True) or build the network on the CPU."
            )


def _waits(module: nn.Module) -> bool:
    return any(is_lazy(value) for value in (*module.parameters(recurse=False), *module.buffers(recurse=False)))


def _lazy_names(net: nn.Module) -> list[str]:
    def names() -> Iterator[str]:
        yield from (path for path, module in net.named_modules() if _waits(module))

    return list(names())


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:160].rstrip(".") if lines else "no message"
