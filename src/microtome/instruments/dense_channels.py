"""Who reads the channels that a block adds to a concatenation, and readers made narrower where those channels go.

A dense layer gives new channels that are stacked onto the earlier ones. Without it every norm, convolution and linear layer that read
the stack reads fewer channels: their weights for the others stay as they are.

Source: connectivity of Huang et al. 2017, arXiv:1608.06993, eq. 2; taking layers out of it is ours.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor, nn

from microtome.errors import Uneditable
from microtome.numerics.graph.channels import Channels
from microtome.specimen.outputs import output_tensors, slow_attention
from microtome.specimen.tracing import deep_tensors


@dataclass(frozen=True)
class AddedChannels:
    """The channels that one block adds: it gives `way` only those ("new"), or the stack with them ("stack").

    `readers` maps the path of a module to the places of its input that hold them; `alone` names one that reads nothing else.
    """

    way: Literal["new", "stack"]
    readers: dict[str, list[int]] = field(default_factory=dict[str, list[int]])
    alone: str = ""


def added_channels(net: nn.Module, x: Tensor, paths: Sequence[str]) -> dict[str, AddedChannels]:
    """The blocks at `paths` whose output is concatenated with earlier maps, with all that reads it; other blocks are left out."""
    sources: dict[int, str] = {}
    known: dict[str, AddedChannels] = {}

    def after(path: str) -> Any:
        def hook(_module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
            given = output_tensors(output)
            if len(given) != 1 or given[0].dim() != 4:
                return
            before = {run.source for part in deep_tensors(inputs) if (known_part := mode.of(part)) for run in known_part.runs}
            stream = mode.of(given[0])
            inside = {run.source for run in stream.runs} if stream else set[int]()
            if stream and inside & before and inside - before:
                new, known[path] = inside - before, AddedChannels("stack")
            else:
                new, known[path] = {mode.declare(given[0], frozenset(before))}, AddedChannels("new")
            sources.update(dict.fromkeys(new, path))

        return hook

    def before(path: str) -> Any:
        def hook(_module: nn.Module, inputs: tuple[Any, ...]) -> None:
            stream = mode.of(inputs[0]) if inputs and isinstance(inputs[0], Tensor) else None
            if stream is None:
                return
            place, owners = 0, {sources.get(run.source, "") for run in stream.runs}
            for run in stream.runs:
                width = run.width * run.cells
                if (owner := sources.get(run.source)) is not None and not path.startswith(f"{owner}."):
                    if len(owners) == 1:
                        object.__setattr__(known[owner], "alone", path)
                    known[owner].readers.setdefault(path, []).extend(range(place, place + width))
                place += width

        return hook

    handles: list[Any] = []
    mode = Channels(x)
    try:
        for path, module in net.named_modules():
            if path in paths:
                handles.append(module.register_forward_hook(after(path)))
            if path and any(True for _ in module.parameters(recurse=False)):
                handles.append(module.register_forward_pre_hook(before(path)))
        with torch.no_grad(), slow_attention(), mode:
            net(x)
    finally:
        for handle in handles:
            handle.remove()
    return {path: added for path, added in known.items() if added.readers and not added.alone}


def narrow_readers(net: nn.Module, removed: Mapping[str, Sequence[int]]) -> None:
    """Take the given places of their inputs from the modules at these paths, in place.

    Raises:
        Uneditable: a module that cannot read fewer channels.
    """
    for path, places in removed.items():
        module = net.get_submodule(path)
        width = _input_width(module, path)
        keep = torch.ones(width, dtype=torch.bool)
        keep[list(places)] = False
        if not bool(keep.any()):
            raise Uneditable(f"'{path}' would have nothing left to read.")
        _narrow(module, keep.nonzero().flatten())


def unreadable_reason(net: nn.Module, paths: Sequence[str]) -> str:
    """Why one of these modules cannot read fewer channels, or an empty text."""
    for path in paths:
        try:
            _input_width(net.get_submodule(path), path)
        except Uneditable as error:
            return str(error).rstrip(".")
    return ""


def _input_width(module: nn.Module, path: str) -> int:
    if isinstance(module, nn.modules.batchnorm._BatchNorm):  # pyright: ignore[reportPrivateUsage]
        return module.num_features
    if isinstance(module, nn.Linear):
        return module.in_features
    if isinstance(module, nn.Conv2d) and module.groups == 1:
        return module.in_channels
    raise Uneditable(f"'{path}' ({type(module).__name__}) reads these channels and cannot be made narrower.")


def _narrow(module: Any, keep: Tensor) -> None:
    if isinstance(module, nn.Conv2d | nn.Linear):
        module.weight = nn.Parameter(module.weight.detach()[:, keep.to(module.weight.device)], module.weight.requires_grad)
        setattr(module, "in_channels" if isinstance(module, nn.Conv2d) else "in_features", len(keep))
        return
    for name in ("weight", "bias"):
        value = getattr(module, name)
        if value is not None:
            setattr(module, name, nn.Parameter(value.detach()[keep.to(value.device)], value.requires_grad))
    for name in ("running_mean", "running_var"):
        value = getattr(module, name)
        if value is not None:
            setattr(module, name, value[keep.to(value.device)].clone())
    module.num_features = len(keep)
