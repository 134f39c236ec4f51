"""Where values that are not finite begin in a network: the first module that makes them of finite ones."""

from typing import Any

import torch
from torch import Tensor, nn

from microtome.specimen.output_choice import named_tensors


def finite_rows(values: Tensor) -> Tensor:
    """Whether all numbers of each image are finite (image,)."""
    return torch.isfinite(values).flatten(1).all(1) if values.dim() > 1 else torch.isfinite(values)


def where_broken(net: nn.Module, x: Tensor) -> str:
    """The place where values that are not finite begin, as the end of a sentence."""
    broken: list[tuple[str, nn.Module, bool]] = []
    names = dict(net.named_modules())

    def watch(path: str) -> Any:
        def hook(module: nn.Module, inputs: Any, output: Any) -> None:
            if not broken and not _all_finite(output):
                broken.append((path, module, _all_finite(inputs)))

        return hook

    handles = [module.register_forward_hook(watch(path)) for path, module in names.items() if path]
    try:
        with torch.inference_mode():
            net(x)
    finally:
        for handle in handles:
            handle.remove()
    if not broken:
        return f"they begin in the forward of {type(net).__name__} itself, after its last layer"
    path, module, sound = broken[0]
    own = [name for name, value in module.named_parameters(recurse=False) if not bool(torch.isfinite(value).all())]
    weights = f", whose {own[0]} holds values that are not finite" if own else ""
    return f"they begin {'in' if sound else 'before'} layer '{path}' ({type(module).__name__}){weights}"


def _all_finite(value: Any) -> bool:
    tensors = [each for each in named_tensors(value).values() if each.is_floating_point()]
    return all(bool(torch.isfinite(each).all()) for each in tensors)
