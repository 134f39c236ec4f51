"""Batch norms that can be folded into weights, found from a traced forward pass, and the folding."""

from collections.abc import Hashable, Mapping, Sequence
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from microtome.numerics.weights.folding import fold_norm


@runtime_checkable  # whatever checks types under test must be able to ask
class CallLike(Protocol):
    """One call of one module: marks distinguish tensor objects (and their in-place versions)."""

    @property
    def path(self) -> str: ...
    @property
    def module(self) -> nn.Module: ...
    @property
    def reads(self) -> Sequence[Hashable]: ...
    @property
    def gives(self) -> Sequence[Hashable]: ...


class BatchNormTerms(NamedTuple):
    """A batch norm with running statistics; `gamma` and `beta` are None where it has no scale of its own."""

    gamma: Tensor | None
    beta: Tensor | None
    mean: Tensor
    var: Tensor
    eps: float

    def into(self, values: Float[Tensor, "unit *inputs"]) -> Float[Tensor, "unit *inputs"]:
        """The weight of the one layer that does what layer and norm do together."""
        return fold_norm(values, None, self.gamma, self.beta, self.mean, self.var, self.eps)[0]

    def scale(self) -> Float[Tensor, " unit"]:
        """What each unit is multiplied with."""
        return self.into(torch.ones_like(self.mean))


def norm_of(module: nn.Module) -> BatchNormTerms | None:
    """The module as a batch norm, known by its running statistics (frozen variants share no class), or None."""
    mean, var = (getattr(module, name, None) for name in ("running_mean", "running_var"))
    if not isinstance(mean, Tensor) or not isinstance(var, Tensor):
        return None
    gamma, beta = (
        parameter.detach().to("cpu", torch.float32) if isinstance(parameter := getattr(module, name, None), Tensor) else None
        for name in ("weight", "bias")
    )
    return BatchNormTerms(
        gamma, beta, mean.to("cpu", torch.float32), var.to("cpu", torch.float32), float(getattr(module, "eps", 0.0))
    )


def norms_after(calls: Sequence[CallLike]) -> dict[str, str]:
    """Path of a weight layer -> path of the batch norm that may be folded into it.

    At every call the norm must read the very tensor that the layer gave, unchanged since, and nothing else may read it; neither
    may be shared with other layers. So a norm before a convolution or after a concatenation is never taken, nor one after a
    convolution that standardises its weights as it runs.
    """
    readers: dict[Hashable, list[CallLike]] = {}
    for call in calls:
        for mark in call.reads:
            readers.setdefault(mark, []).append(call)
    givers = {mark: call.path for call in calls if _is_foldable(call.module) for mark in call.gives}
    sources: dict[str, set[str]] = {}  # norm -> the layers it reads, "" for anything else
    after: dict[str, set[str]] = {}  # layer -> the norms that read it, "" for none or several readers
    for call in calls:
        if norm_of(call.module) is not None:
            sources.setdefault(call.path, set()).update(givers.get(mark, "") for mark in call.reads)
    for call in calls:
        if _is_foldable(call.module):
            after.setdefault(call.path, set()).update(_only_norm(readers.get(mark, []), sources) for mark in call.gives)
    return {
        path: norm for path, norms in after.items() for norm in norms if len(norms) == 1 and norm and sources[norm] == {path}
    }


def merge_norms(net: nn.Module, weights: Mapping[str, Tensor], norms: Mapping[str, str]) -> dict[str, Tensor]:
    """The weights named in `norms`, each with its norm folded in; units are their first axis."""
    made: dict[str, Tensor] = {}
    for name, path in norms.items():
        norm = norm_of(net.get_submodule(path))
        if norm is not None:
            made[name] = norm.into(weights[name])
    return made


def _only_norm(readers: Sequence[CallLike], norms: Mapping[str, set[str]]) -> str:
    """The one norm among the readers of a tensor, if all others are modules around it; else an empty text."""
    norms_read = {call.path for call in readers if call.path in norms}
    if len(norms_read) != 1:
        return ""
    (norm,) = norms_read
    return norm if all(call.path == norm or norm.startswith(call.path + ".") for call in readers) else ""


def _is_foldable(module: nn.Module) -> bool:
    kinds = (nn.modules.conv._ConvNd, nn.Linear)  # pyright: ignore[reportPrivateUsage]
    return isinstance(module, kinds) and "std" not in type(module).__name__.lower()
