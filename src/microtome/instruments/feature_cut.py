"""A network that ends at an inner layer and gives maps, or the scores of a new head: it stops there, and what came after is gone.

The class of the network stays a base class of its new one, and all names of modules and weights stay what they were. The forward pass of
the original runs until the last wanted layer has given its output; nothing after it is computed.

Source: a feature extractor with strides and channels as timm's `features_only` gives; the cut at any layer is ours.
"""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.fx.experimental.proxy_tensor import get_proxy_mode

from microtome.errors import Uneditable
from microtome.specimen import Layer
from microtome.specimen.outputs import output_tensors

HEAD = "cut_head"  # the new classifier, where one is asked for


class _Reached(Exception):  # not an error: the pass has come to its end
    """The last wanted layer has given its output."""


@dataclass(frozen=True)
class CutInfo:
    """What the maps are, one entry for each in execution order, under the names that timm's `feature_info` uses."""

    names: tuple[str, ...]
    widths: tuple[int, ...]
    strides: tuple[float, ...]
    fields: tuple[float, ...]  # px, the longer side of the theoretical receptive field; infinite where it is the whole image

    def channels(self) -> list[int]:
        """Channels of each map."""
        return list(self.widths)

    def reduction(self) -> list[float]:
        """Stride of each map in px of the input."""
        return list(self.strides)

    def module_name(self) -> list[str]:
        """Layer of each map."""
        return list(self.names)


def cut_at(net: nn.Module, layers: Sequence[Layer], info: CutInfo, example: Tensor, classes: int = 0) -> None:
    """Change `net` in place so that it ends at the last of `layers` (in execution order) and gives their maps (image, unit, row, col).

    One layer gives a tensor, several a list. With `classes` it gives scores instead: a linear layer on the last map's mean over
    positions, with first weights from torch's generator. Modules that never run any more are removed.

    Raises:
        Uneditable: the network does not run without them, or one of the layers never runs.
    """
    begun, ended = _begun_modules(net, layers, example)
    later = [
        path
        for path, module in net.named_modules()
        if path and path not in begun and not _holds(path, begun) and not _within(path, ended) and _callable(module)
    ]
    later = [path for path in later if any(True for _ in net.get_submodule(path).parameters())]  # others may only be asked for
    later = [path for path in later if not any(path.startswith(f"{other}.") for other in later)]
    net.__class__ = _cut_class(type(net))
    cut = cast(Any, net)
    cut.cut_layers, cut.cut_info, cut.feature_info = tuple(layers), info, info
    if classes:
        net.add_module(HEAD, nn.Linear(layers[-1].units, classes))
    _drop_modules(net, later, example)


def pooled_map(layer: Layer, value: Tensor) -> Tensor:
    """The mean over positions (image, unit) of a layer's output as it is watched; of all tokens where they lie on no grid."""
    if layer.layout == "tokens" and layer.grid is None:
        return value.mean(1)
    return layer.maps(value).mean((2, 3))


@functools.cache
def _cut_class(base: type[nn.Module]) -> type[nn.Module]:
    """A class like `base` whose forward pass stops at `cut_layers`."""

    class Cut(base):  # type: ignore[misc, valid-type]
        @functools.wraps(base.forward)  # with its signature, which torch.export reads
        def forward(self, *args: Any, **kwargs: Any) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
            """The maps of the chosen layers, or the scores of the new head."""
            return _stopped_pass(self, lambda: base.forward(self, *args, **kwargs))

    Cut.__name__ = Cut.__qualname__ = f"Cut{base.__name__}"
    return cast(type[nn.Module], Cut)


def _stopped_pass(net: Any, run: Any) -> Any:
    values = _watched_values(net, net.cut_layers, run)
    shown = [layer.maps(value) for layer, value in zip(net.cut_layers, values, strict=True)] if not hasattr(net, HEAD) else []
    if hasattr(net, HEAD):
        return getattr(net, HEAD)(pooled_map(net.cut_layers[-1], values[-1]))
    return shown[0] if len(shown) == 1 else shown


def _watched_values(net: nn.Module, layers: Sequence[Layer], run: Any) -> list[Tensor]:
    """What the layers give while `run` runs, which ends once the last of them has given its output."""
    kept: dict[str, Tensor] = {}
    counts: dict[str, int] = {}

    def look(path: str) -> Any:
        def hook(_module: nn.Module, _inputs: Any, output: Any) -> None:
            number = counts.get(path, 0)
            counts[path] = number + 1
            for layer in layers:
                if layer.path == path and (layer.call is None or layer.call == number):
                    value = output_tensors(output)[layer.branch or 0]
                    kept[layer.name] = (value if layer.arrangement is None else layer.arrangement.arrange(value)).clone()
            if len(kept) == len(layers):
                raise _Reached

        return hook

    handles = [
        net.get_submodule(path).register_forward_hook(look(path)) for path in dict.fromkeys(layer.path for layer in layers)
    ]
    depth = len(_export_stack())
    try:
        run()
    except _Reached:
        while len(_export_stack()) > depth:  # the modules that were left before their ends
            _export_stack().popitem()
    finally:
        for handle in handles:
            handle.remove()
    if missing := [layer.name for layer in layers if layer.name not in kept]:
        raise Uneditable(f"'{missing[0]}' never ran, so the network cannot end there.")
    return [kept[layer.name] for layer in layers]


def _export_stack() -> dict[str, Any]:
    """The modules that `torch.export` is inside of, by path, as it counts them; empty where nothing is exported."""
    tracer = getattr(get_proxy_mode(), "tracer", None) if torch.compiler.is_exporting() else None
    return getattr(tracer, "module_stack", {})


def _begun_modules(net: nn.Module, layers: Sequence[Layer], example: Tensor) -> tuple[set[str], set[str]]:
    """The paths of the modules that begin before the last of the layers has given its output, and of those that end by then.

    What a module that ended has not called it may have read: attention reads the weights of its last layer.
    """
    begun, ended = set[str](), set[str]()
    handles: list[Any] = []
    for path, module in net.named_modules():
        if path:
            handles.append(module.register_forward_pre_hook(lambda *_, path=path: begun.add(path)))
            handles.append(module.register_forward_hook(lambda *_, path=path: ended.add(path)))
    try:
        with torch.no_grad():
            _watched_values(net, layers, lambda: net(example))
    finally:
        for handle in handles:
            handle.remove()
    return begun, ended


def _holds(path: str, begun: set[str]) -> bool:
    return any(other.startswith(f"{path}.") for other in begun)


def _within(path: str, ended: set[str]) -> bool:
    parts = path.split(".")
    return any(".".join(parts[:count]) in ended for count in range(1, len(parts)))


def _callable(module: nn.Module) -> bool:
    return not isinstance(module, nn.ParameterList | nn.ParameterDict)


def _drop_modules(net: nn.Module, paths: Sequence[str], example: Tensor) -> None:
    """Take out modules that never run; each that the forward pass asks for all the same becomes an identity."""
    gone = [path for path in paths if path != HEAD]
    homes = {path: net.get_submodule(path.rpartition(".")[0]) for path in gone}
    before = {home: dict(home._modules) for home in homes.values()}
    for path, home in homes.items():
        del home._modules[path.rpartition(".")[2]]
    if _runs(net, example):
        return
    for home, modules in before.items():  # in their old order
        home._modules.clear()
        home._modules.update(modules)
    for path, home in homes.items():
        home._modules[path.rpartition(".")[2]] = nn.Identity()
    if not _runs(net, example):
        raise Uneditable("the network does not run without the modules after the cut.")


def _runs(net: nn.Module, example: Tensor) -> bool:
    try:
        with torch.no_grad():
            net(example)
    except (
        RuntimeError,
        AttributeError,
        IndexError,
        KeyError,
        TypeError,
        ValueError,
    ):  # whatever asks for a module that is gone
        return False
    return True
