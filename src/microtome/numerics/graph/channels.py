"""Following channels through the operations of a network: which layers' outputs lie side by side in a concatenated tensor.

Nothing is attached to the network: the operations themselves are seen as they run, so a concatenation is found wherever it is
written, in a module of its own or in the middle of a forward method.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from microtome.numerics.graph.dispatching import Dispatching, tensors_in

CHANNELWISE = frozenset(
    ("_adaptive_avg_pool2d", "_fused_dropout", "_to_copy", "_upsample_nearest_exact2d", "adaptive_max_pool2d", "alias", "amax",
     "avg_pool2d", "clone", "constant_pad_nd", "contiguous", "detach", "lift_fresh", "max_pool2d", "max_pool2d_with_indices",
     "mean", "native_dropout", "reflection_pad2d", "replication_pad2d", "squeeze", "unsqueeze", "upsample_bicubic2d",
     "upsample_bilinear2d", "upsample_nearest2d")
)  # fmt: skip
NORMS = frozenset(
    ("_batch_norm_no_update", "_native_batch_norm_legit_no_training", "cudnn_batch_norm", "miopen_batch_norm",
     "native_batch_norm", "native_group_norm")
)  # fmt: skip
RESHAPES = frozenset(("view", "_unsafe_view", "reshape", "_reshape_alias", "flatten"))


class ChannelRun(NamedTuple):
    """`width` channels of what `source` gave, from its channel `start` on, each in `cells` places of the channel axis."""

    source: int
    start: int
    width: int
    cells: int = 1


class ChannelStream(NamedTuple):
    """What lies along axis 1 of a tensor, in order, and how large the last norm made each channel: |γ|, or 1 (channel,)."""

    runs: tuple[ChannelRun, ...]
    gain: Tensor


class Channels(Dispatching):
    """While this is entered, `of(tensor)` gives the sources of the channels along axis 1 of any tensor computed from `picture`.

    A tensor computed by anything else than pointwise operations, norms, pools, cuts and concatenations is a source of its own,
    numbered from 0 (the image) in order of execution; `declare` makes one of a tensor by hand. `parents` are the sources that
    a source was computed from. Use it under `torch.no_grad` and ask while the tensor lives, that is inside a hook.
    """

    def __init__(self, picture: Tensor) -> None:
        super().__init__()
        self.parents: list[frozenset[int]] = []
        self._known = cast("dict[Tensor, ChannelStream]", WeakTensorKeyDictionary())
        self.declare(picture, frozenset())

    def of(self, tensor: Tensor) -> ChannelStream | None:
        """Whose channels the tensor holds, or None where it does not descend from the image."""
        return self._known.get(tensor)

    def declare(self, tensor: Tensor, parents: frozenset[int]) -> int:
        """The number of the new source that `tensor` is from now on."""
        self.parents.append(parents)
        width = tensor.shape[1] if tensor.dim() > 1 else 1
        self._known[tensor] = ChannelStream(
            (ChannelRun(len(self.parents) - 1, 0, width),), torch.ones(width, dtype=torch.float64)
        )
        return len(self.parents) - 1

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        value = func(*args, **(kwargs or {}))
        given = [tensor for tensor in tensors_in((args, kwargs or {})) if tensor in self._known]
        if given:
            before = frozenset(run.source for tensor in given for run in self._known[tensor].runs)
            for made in tensors_in(value):
                stream = self._follow(func, args, kwargs or {}, given, made)
                if stream is None:
                    self.declare(made, before)
                else:
                    self._known[made] = stream
        return value

    def _follow(
        self, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any], given: list[Tensor], made: Tensor
    ) -> ChannelStream | None:
        """What `made` holds, where the operation `func` leaves channels apart from each other; else None."""
        name = func.overloadpacket.__name__
        whole = self._known[given[0]]
        if name in ("cat", "concat"):
            return self._join(cast(Sequence[Tensor], args[0]), _argument_position(args, kwargs, made))
        if name in ("slice", "narrow", "split", "split_with_sizes", "chunk"):
            return self._cut(name, args, kwargs, given[0], made)
        if name == "as_strided_" and made is given[0] and made.shape[1:2] == (_total_width(whole.runs),):
            return whole  # pooling to one position in channels-last memory renames the strides of sides of length 1
        if name in RESHAPES:
            return _reshape_stream(whole, given[0], made)
        if name in NORMS:
            scale = args[1] if name != "native_group_norm" else (args[1] if len(args) > 1 else None)
            if made.shape != given[0].shape:
                return whole  # the statistics that come along; nobody reads them
            groups = int(args[6]) if name == "native_group_norm" else len(whole.gain)
            return ChannelStream(whole.runs, _normed(whole.gain, groups, cast("Tensor | None", scale)))
        pointwise = torch.Tag.pointwise in func.tags
        if not pointwise and (name.rstrip("_") not in CHANNELWISE or _over_channels(name, args)):
            return None
        return self._main(given, made)

    def _main(self, given: list[Tensor], made: Tensor) -> ChannelStream | None:
        """The stream of the largest operand: a gate of one position leaves the map's channels what they are; a sum of two does not."""
        most = max(tensor.numel() for tensor in given)
        streams = [self._known[tensor] for tensor in given if tensor.numel() == most]
        fits = made.dim() > 1 and made.shape[1] == _total_width(streams[0].runs)
        alike = all(stream.runs == streams[0].runs for stream in streams)
        return streams[0] if fits and alike else None

    def _join(self, parts: Sequence[Tensor], axis: int) -> ChannelStream | None:
        streams = [self._known.get(part) for part in parts]
        if axis != 1 or any(stream is None for stream in streams):
            return None
        known = [stream for stream in streams if stream is not None]
        return ChannelStream(
            _merge_runs([run for stream in known for run in stream.runs]), torch.cat([stream.gain for stream in known])
        )

    def _cut(
        self, name: str, args: Sequence[Any], kwargs: Mapping[str, Any], whole: Tensor, made: Tensor
    ) -> ChannelStream | None:
        stream = self._known[whole]
        if made.dim() == whole.dim() and made.shape[1:2] == whole.shape[1:2]:
            return stream  # cut along another axis
        if name != "slice" or made.dim() != whole.dim():
            return self._part(stream, whole, made)
        start, step = int(args[2] or 0) if len(args) > 2 else 0, int(args[4]) if len(args) > 4 else 1
        if step != 1:
            return None
        return _slice_stream(stream, start + whole.shape[1] if start < 0 else start, made.shape[1])

    def _part(self, stream: ChannelStream, whole: Tensor, made: Tensor) -> ChannelStream | None:
        """The part of `stream` that a view of `whole` shows, found from where the view begins in memory."""
        if made.dim() != whole.dim() or made.untyped_storage().data_ptr() != whole.untyped_storage().data_ptr():
            return None
        return _slice_stream(stream, (made.storage_offset() - whole.storage_offset()) // whole.stride(1), made.shape[1])


def _normed(gain: Tensor, groups: int, scale: Tensor | None) -> Tensor:
    """The gains after a norm: |γ| times what its statistics leave of the gains before.

    Statistics of one channel divide out whatever scale it came with; those of a group leave ratios within the group.
    """
    each = gain.unflatten(0, (groups, -1))
    left = (each / each.square().mean(1, keepdim=True).sqrt()).nan_to_num(nan=0.0).flatten()
    return left if scale is None else left * scale.detach().abs().double().cpu()


def _over_channels(name: str, args: Sequence[Any]) -> bool:
    """Whether a mean or maximum is taken over the channels too."""
    if name not in ("mean", "amax"):
        return False
    axes = [args[1]] if len(args) > 1 and isinstance(args[1], int) else list(args[1] or ()) if len(args) > 1 else []
    dims = cast(Tensor, args[0]).dim()
    return not axes or any(int(axis) % dims in (0, 1) for axis in axes)


def _argument_position(args: Sequence[Any], kwargs: Mapping[str, Any], made: Tensor) -> int:
    return int(args[1] if len(args) > 1 else kwargs.get("dim", 0)) % made.dim()


def _total_width(runs: Sequence[ChannelRun]) -> int:
    return sum(run.width * run.cells for run in runs)


def _merge_runs(runs: Sequence[ChannelRun]) -> tuple[ChannelRun, ...]:
    """Runs where neighbours that continue each other are one."""
    merged: list[ChannelRun] = []
    for run in runs:
        last = merged[-1] if merged else None
        if last and (last.source, last.start + last.width, last.cells) == (run.source, run.start, run.cells):
            merged[-1] = ChannelRun(last.source, last.start, last.width + run.width, last.cells)
        else:
            merged.append(run)
    return tuple(merged)


def _slice_stream(stream: ChannelStream, start: int, count: int) -> ChannelStream | None:
    """The part of a stream from place `start` on; None where the cut goes through the positions of one channel."""
    kept: list[ChannelRun] = []
    place = 0
    for run in stream.runs:
        low, high = max(start - place, 0), min(start + count - place, run.width * run.cells)
        if low < high:
            if low % run.cells or high % run.cells:
                return None
            kept.append(ChannelRun(run.source, run.start + low // run.cells, (high - low) // run.cells, run.cells))
        place += run.width * run.cells
    return ChannelStream(tuple(kept), stream.gain[start : start + count])


def _reshape_stream(stream: ChannelStream, before: Tensor, after: Tensor) -> ChannelStream | None:
    """The stream after a reshape that keeps channels in order: the same width, or rows and columns moved into the channel axis."""
    if after.dim() < 2 or before.dim() < 2 or after.shape[0] != before.shape[0]:
        return None
    cells, rest = divmod(after.shape[1], before.shape[1])
    if rest or cells < 1 or (cells > 1 and after.dim() > 2):
        return None
    runs = tuple(ChannelRun(run.source, run.start, run.width, run.cells * cells) for run in stream.runs)
    return ChannelStream(runs, stream.gain.repeat_interleave(cells))
