"""A module's own way to draw its first weights: its library's or class's initialiser, so that an untrained twin is its own.

torch's default draws a ViT's linear layers from another distribution than timm does, and every verdict against such a twin is one
about initialisers. Looked for, from the leaves up to the whole, the outermost last: `reset_parameters`; `init_weights` and
`_init_weights` (methods, or timm's functions); for architectures that draw in their constructors (torchvision's, some of timm's, and
classes that take no arguments) another network of that architecture.
"""

import inspect
import sys
from collections.abc import Callable, Iterator
from typing import Any, cast

import torch
from torch import nn

from microtome._torchvision import timm, torchvision

Initialiser = Callable[[], object]
FUNCTIONS = ("_init_weights", "efficientnet_init_weights", "_init_nest_weights", "_init_conv")  # of timm's model files
BUILT = frozenset(
    ("torch", "timm", "torchvision", "transformers")
)  # packages whose constructors nobody calls without arguments
OFF: dict[str, Any] = {
    "pretrained": False,
    "pretrained_backbone": False,
    "weights": None,
    "weights_backbone": None,
    "checkpoint": None,
    "checkpoint_path": "",
    "ckpt": None,
    "ckpt_path": None,
    "pretrained_path": None,
    "weights_path": None,
    "load_from": None,
}  # options that bring trained weights, and the value that brings none


def without_trained_weights(call: Callable[..., Any], options: dict[str, Any]) -> dict[str, Any]:
    """`options` with every one that would bring trained weights switched off, as far as `call` knows them."""
    try:
        known = inspect.signature(call).parameters
    except (TypeError, ValueError):  # built-in callables have none
        known = {}
    return options | {name: value for name, value in OFF.items() if name in known or name in options}


def initialise(net: nn.Module) -> list[str]:
    """Draw fresh weights in place from the global generators; the modules whose own initialiser failed, with the reason."""
    if _is_of_timm(net) and (donor := _another(net)) is not None:  # all that the constructor does, layer scales too
        _take(net, donor)
        return []
    failed: list[str] = []
    for path, module in reversed(list(net.named_modules())):  # a module comes after all that is inside it
        for draw in _resets(module):
            _attempt(draw, path, module, failed)
    for path, module in reversed(list(net.named_modules())):
        for draw in _own(module):
            _attempt(draw, path, module, failed)
    return failed


def _attempt(draw: Initialiser, path: str, module: nn.Module, failed: list[str]) -> None:
    try:
        draw()
    except Exception as error:  # noqa: BLE001  code of libraries and users: a module without a working initialiser is drawn otherwise
        failed.append(f"{path or type(module).__name__} ({type(error).__name__})")


def _resets(module: nn.Module) -> Iterator[Initialiser]:
    reset = getattr(module, "reset_parameters", None) or getattr(module, "_reset_parameters", None)
    if callable(reset) and not _needed(reset):
        yield cast(Initialiser, reset)
    for name, value in (("running_mean", 0.0), ("running_var", 1.0), ("bias", 0.0), ("weight", 1.0)):
        buffer = module._buffers.get(name)  # of norms that are frozen: their weights are buffers too
        if buffer is not None and "running_var" in module._buffers:
            yield lambda buffer=buffer, value=value: buffer.fill_(value)


def _own(module: nn.Module) -> Iterator[Initialiser]:
    """The initialiser that the class or its library has for everything inside the module; at most one."""
    if next(module.parameters(), None) is None:
        return
    whole = getattr(module, "init_weights", None)
    each = getattr(module, "_init_weights", None)
    if hasattr(module, "base_model_prefix") and callable(each):  # of transformers, whose `init_weights` skips what was loaded
        yield lambda: _everywhere(module, each)
    elif callable(whole) and not _needed(whole) and not hasattr(module, "init_cfg"):  # mm libraries load files there
        yield lambda: whole(**_live(whole))
    elif callable(each) and len(_needed(each)) == 1:
        yield lambda: _everywhere(module, each)
    elif _is_of_timm(module) and (function := _of_model_file(module)) is not None:
        yield lambda: _everywhere(module, function)
    elif (donor := _another(module)) is not None:
        yield lambda: _take(module, donor)


def _needed(function: Callable[..., Any]) -> list[str]:
    """The names of arguments that a call must give."""
    try:
        known = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return ["?"]
    return [each.name for each in known if each.default is each.empty and each.kind in (0, 1, 3)]


def _live(function: Callable[..., Any]) -> dict[str, Any]:
    """The option that leaves residual branches switched on, where there is one."""
    return {"zero_init_last": False} if "zero_init_last" in inspect.signature(function).parameters else {}


def _everywhere(module: nn.Module, function: Callable[..., Any]) -> None:
    """Apply an initialiser of single modules to every module inside, with its name where it wants one."""
    known = inspect.signature(function).parameters
    named = next((name for name in ("name", "n") if name in known), None)
    if "model" in known:  # timm's for EfficientNets goes through the network itself
        function(module)
        return
    for path, part in reversed(list(module.named_modules())):
        part.__dict__.pop("_is_hf_initialized", None)
        function(part, **({named: path} if named else {}), **_live(function))


def _is_of_timm(module: nn.Module) -> bool:
    return type(module).__module__.startswith("timm.") and hasattr(module, "pretrained_cfg")


def _of_model_file(module: nn.Module) -> Callable[..., Any] | None:
    source = sys.modules[type(module).__module__]
    return next((function for name in FUNCTIONS if callable(function := getattr(source, name, None))), None)


def _another(module: nn.Module) -> nn.Module | None:
    """Another network of the same architecture, freshly drawn; None if no way to build one is known."""
    library = type(module).__module__.partition(".")[0]
    if library == "torchvision":
        return next((fresh for build in _torchvision_builders(module) if (fresh := _built(module, build)) is not None), None)
    if _is_of_timm(module):
        name = str(dict(getattr(module, "pretrained_cfg", None) or {}).get("architecture", ""))
        known = cast(Any, timm())
        if not known.is_model(name):
            return None
        live = _built(module, lambda **more: known.create_model(name, zero_init_last=False, **more))
        return live if live is not None else _built(module, lambda **more: known.create_model(name, **more))
    if library in BUILT or _needed(type(module)):
        return None
    return _built(module, lambda **_: type(module)(**without_trained_weights(type(module), {})))


def _torchvision_builders(module: nn.Module) -> Iterator[Callable[..., nn.Module]]:
    models: Any = torchvision().models
    for name in models.list_models():
        builder = models.get_model_builder(name)
        made = inspect.signature(builder).return_annotation
        if builder.__module__ == type(module).__module__ and made in (type(module), type(module).__name__):
            yield lambda builder=builder, **more: builder(**without_trained_weights(builder, {}), **more)


def _built(module: nn.Module, build: Callable[..., nn.Module]) -> nn.Module | None:
    """What `build` gives, if it has the names and shapes of `module`, with as many classes if need be."""
    wanted = _shapes(module)
    heads = {shape[0] for shape in list(wanted.values())[-2:] if shape}
    for more in ({}, *({"num_classes": count} for count in sorted(heads))):
        try:
            with torch.device("meta"):
                fits = _shapes(build(**more)) == wanted
            if fits:
                return build(**more)
        except Exception:  # noqa: BLE001  not every architecture takes the option, or can be built without memory
            continue
    return None


def _shapes(net: nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(value.shape) for name, value in net.named_parameters()}


def _take(module: nn.Module, donor: nn.Module) -> None:
    own = dict(module.named_parameters()) | dict(module.named_buffers())
    for name, value in (*donor.named_parameters(), *donor.named_buffers()):
        if name in own and own[name].shape == value.shape:
            own[name].copy_(value)
