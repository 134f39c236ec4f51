"""The network inside wrappers: parallel, averaged, compiled, or a training module that only holds it.

The rule is written down in docs/opening.md, under "Wrappers".
"""

from types import FunctionType
from typing import Any

from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from microtome.errors import SpecimenError
from microtome.specimen.copying import copy_network, inner_network
from microtome.specimen.library_code import is_library_class, is_library_function
from microtome.specimen.rebinding import outside_names

EMPTY_FORWARDS = ("lightning.", "pytorch_lightning.")  # whose forward only says that there is none


def unwrap(net: nn.Module) -> tuple[nn.Module, list[str]]:
    """The network inside its wrappers, and notes about them; `net` itself is never changed.

    Raises SpecimenError where a module has no forward and holds several networks, or runs one that is not part of it.
    """
    notes: list[str] = []
    while True:
        inner, why = _inside(net)
        if inner is None:
            break
        notes.append(f"It is wrapped in {type(net).__name__}; the network inside is used, because {why}.")
        net = inner
    refuse_outside_networks(net)
    wrapped = [path for path, module in net.named_modules() if path and inner_network(module) is not None]
    if wrapped:
        notes.append(f"In a copy the wrapper '{wrapped[0]}' is replaced by what is inside, because hooks on it never fire.")
    compiled = [path for path, module in net.named_modules() if getattr(module, "_compiled_call_impl", None) is not None]
    if compiled:
        notes.append("It is compiled in place; a copy that is not compiled is used, because hooks in it never fire.")
    if wrapped or compiled:
        net = copy_network(net)
    return net, notes


def _inside(net: nn.Module) -> tuple[nn.Module | None, str]:
    """The network that a wrapper holds, and why it is used instead; None where `net` is a network itself."""
    inner = inner_network(net)
    if inner is not None:
        return inner, "hooks on the wrapper never fire"
    if isinstance(net, AveragedModel) or type(net).__module__ == "timm.utils.model_ema":
        return _child(net, "module"), "it holds the averaged weights"
    if _has_forward(net):
        return None, ""
    parts = [(name, child) for name, child in net.named_children() if next(child.parameters(), None) is not None]
    if len(parts) == 1:
        return parts[0][1], f"the wrapper has no forward of its own and holds only '{parts[0][0]}'"
    if not parts:
        raise SpecimenError(f"{type(net).__name__} has no forward and holds no network, so there is nothing to measure.")
    names = ", ".join(f"'{name}' ({type(child).__name__})" for name, child in parts)
    raise SpecimenError(
        f"{type(net).__name__} has no forward of its own and holds {len(parts)} networks: {names}; hand over one of them, for "
        f"example its attribute '{parts[0][0]}'."
    )


def _child(net: nn.Module, name: str) -> nn.Module | None:
    child: Any = getattr(net, name, None)
    return child if isinstance(child, nn.Module) else None


def _has_forward(net: nn.Module) -> bool:
    """Whether somebody wrote a forward for this module."""
    forward: Any = vars(net).get("forward") or type(net).forward
    home = str(getattr(forward, "__module__", ""))
    return getattr(forward, "__name__", "") != "_forward_unimplemented" and not home.startswith(EMPTY_FORWARDS)


def refuse_outside_networks(net: nn.Module) -> None:
    """Raises SpecimenError where the code of a class uses weights that are not its module's own: a copy would use them too."""
    seen: set[type] = set()
    for path, module in net.named_modules():
        for kind in type(module).__mro__:
            if is_library_class(kind) or kind is object:
                break
            if kind in seen:  # as in every other block of that class
                continue
            seen.add(kind)
            for function in vars(kind).values():
                if not isinstance(function, FunctionType) or is_library_function(function) or function.__name__ == "__init__":
                    continue
                for name, value in outside_names(function):
                    if _has_weights(value):
                        raise SpecimenError(
                            f"{function.__qualname__} of '{path or type(net).__name__}' uses '{name}' ({type(value).__name__}), a "
                            "variable outside the module, so a copy or an untrained twin would still run the original; make it a part, "
                            f"self.{name} = {name}, and use that."
                        )


def _has_weights(value: Any) -> bool:
    if isinstance(value, nn.Module):
        return next(value.parameters(), None) is not None
    return isinstance(value, nn.Parameter) or (isinstance(value, Tensor) and value.requires_grad)
