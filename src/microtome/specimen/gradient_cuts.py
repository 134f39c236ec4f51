"""Where a network's own code cuts the gradient: the module in which a value that depends on the image with a gradient goes on without."""

from typing import Any

import torch
from torch import Tensor, nn

from microtome.specimen.full_gradients import freeze_parameters
from microtome.specimen.output_choice import named_tensors
from microtome.specimen.outputs import output_tensors


def gradient_cut(net: nn.Module, x: Tensor) -> str:
    """A sentence that names the module which cuts the gradient on its way from the image `x`, and the remedy; empty where none does.

    That is the innermost module that is given values with a gradient, and hands on floating-point values without one. A network whose
    output has a gradient by the image on some other way cuts nothing.
    """
    cuts: list[tuple[str, str]] = []
    steps: list[tuple[str, bool]] = []
    names = {module: path for path, module in net.named_modules()}

    def after(module: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any], output: Any) -> None:
        given = [*_floats(inputs), *_floats(tuple(named.values()))]
        came = [*_floats(output)]
        if not given or not came:
            return
        flows = any(value.requires_grad for value in came)
        if any(value.requires_grad for value in given) and not flows and not cuts:
            cuts.append((names[module], type(module).__name__))
        elif not cuts and next(module.children(), None) is None:
            steps.append((names[module], flows))

    with freeze_parameters(net):
        pixels = x.detach().clone().requires_grad_()
        handles = [module.register_forward_hook(after, with_kwargs=True) for module in net.modules()]
        try:
            output = net(pixels)
        finally:
            for handle in handles:
                handle.remove()
    if not cuts or any(value.requires_grad for value in named_tensors(output).values()):
        return ""
    path, kind = cuts[0]
    inside = [step for step in steps if not path or step[0].startswith(path + ".")]
    last = next((name for name, flows in reversed(inside) if flows), "")
    first = next((name for name, flows in inside if not flows), "")
    between = f" between '{last}' and '{first}'" if last and first else f" after '{last}'" if last else ""
    beyond = f", or measure layers behind it (at={first})" if first else ""
    whose = f"'{path}' ({kind})" if path else f"The network's own forward ({kind})"
    return (
        f"{whose} cuts the gradient{between} by detach, .data, NumPy or rounding, so none reaches the image from its output; take that out "
        f"of its forward for measuring{beyond}"
    )


def _floats(value: Any) -> list[Tensor]:
    return [each for each in output_tensors(value) if each.is_floating_point()]


def why_no_gradient(net: nn.Module, x: Tensor) -> str:
    """As `gradient_cut`, or that the output does not depend on the image."""
    with torch.inference_mode(False):
        return gradient_cut(net, x.clone()) or "the output does not depend on the image"
