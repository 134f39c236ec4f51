"""How each operation of torch moves and joins receptive fields, by its name; norms and moves are here, the rest next door."""

from dataclasses import replace
from typing import Any, cast

import torch
from torch import Tensor

from microtome.numerics.graph.dispatching import tensors_in
from microtome.numerics.receptive.reach import OpContext, Reach, Rule, join_parts, unknown_reach
from microtome.numerics.receptive.sliding import NOT_SEEN
from microtome.numerics.receptive.sums import attention, matrix_product, reduction, softmax
from microtome.numerics.receptive.windows import adaptive_pooling, convolution, padding, pooling, resizing, unfolding


def _layer_norm(context: OpContext) -> list[Reach]:
    x = cast(Tensor, context.args[0])
    shade = cast(Reach, context.shade(x))
    if len(context.args[1]) > 1:  # over rows and columns as well
        return _instance_norm(context)
    parts = tuple(part.amax(-1, keepdim=True) for part in shade.parts)
    return [replace(shade, parts=parts)] * len(context.made)


def _instance_norm(context: OpContext) -> list[Reach]:
    """Norms by the statistics of the image itself: treated as a gate."""
    shade = cast(Reach, context.shade(context.args[0]))
    several = context.where(context.args[0]).counts != (1, 1)
    return [replace(shade, gated=shade.gated or several)] * len(context.made)


def _batch_norm(context: OpContext) -> list[Reach]:
    shade = cast(Reach, context.shade(context.args[0]))
    training = len(context.args) > 5 and context.args[5] is True and "no_training" not in context.name
    return _instance_norm(context) if training else [shade] * len(context.made)


def _over_units(context: OpContext) -> list[Reach]:
    """Pooling over neighbouring units alone, as in local response normalisation: the extremes over those units, position by position."""
    kernel, stride = context.args[1], context.argument(2, "stride") or context.args[1]
    shade = cast(Reach, context.shade(context.args[0]))
    if list(kernel[1:]) != [1, 1] or set(stride) != {1} or any(context.argument(3, "padding", [0])):
        return unknown_reach(context)
    dim = context.made[0].dim() - 3
    parts = [part if part.shape[dim] == 1 else part.unfold(dim, int(kernel[0]), 1).amax(-1) for part in shade.parts]
    return [replace(shade, parts=tuple(parts))] * len(context.made)


def _apply_to_parts(context: OpContext) -> list[Reach]:
    """Views, joins, cuts and shuffles: done to the fields as they were done to the values."""
    listed = isinstance(context.args[0], list | tuple)
    results: list[list[Tensor]] = []
    for place in range(4):
        if listed:
            first: Any = [_full_parts(arg, context.shade(arg), place) for arg in context.args[0]]
        else:
            first = _full_parts(context.args[0], context.shade(context.args[0]), place)
        rest = [_to_cpu(arg) for arg in context.args[1:]]
        if context.name in ("view", "_unsafe_view", "reshape", "_reshape_alias"):
            value: Any = first.reshape(rest[0])
        else:
            value = context.func(first, *rest, **context.kwargs)
        results.append([_squeeze_constant(result) for result in tensors_in(value)])
    shade = join_parts(context, ())
    return [replace(shade, parts=tuple(result[number] for result in results)) for number in range(len(context.made))]


def _halved(context: OpContext) -> list[Reach]:
    """A gated linear unit: the first half along an axis times the second."""
    x, made = cast(Tensor, context.args[0]), context.made[0]
    shade, dim = cast(Reach, context.shade(x)), int(context.argument(1, "dim", -1)) % x.dim()
    side = int(made.shape[dim])
    parts = [
        part if part.shape[dim] == 1 else torch.maximum(part.narrow(dim, 0, side), part.narrow(dim, side, side))
        for part in shade.parts
    ]
    return [replace(shade, parts=tuple(parts))]


def _full_parts(tensor: Tensor, shade: Reach | None, place: int) -> Tensor:
    part = torch.full([1] * tensor.dim(), NOT_SEEN) if shade is None else shade.parts[place]
    return part.expand(tensor.shape)


def _to_cpu(value: Any) -> Any:
    """Indices on the CPU, where the fields are."""
    if isinstance(value, Tensor):
        return value.cpu()
    return (
        [_to_cpu(tensor) for tensor in value]
        if isinstance(value, list) and any(isinstance(v, Tensor) for v in value)
        else value
    )


def _squeeze_constant(part: Tensor) -> Tensor:
    """The same with every axis along which nothing changes cut to length 1."""
    for dim in range(part.dim()):
        if part.shape[dim] > 1 and (part.stride(dim) == 0 or bool((part == part.narrow(dim, 0, 1)).all())):
            part = part.narrow(dim, 0, 1)
    return part


_MOVES = (
    "view", "_unsafe_view", "reshape", "_reshape_alias", "permute", "transpose", "t", "expand", "slice", "select",
    "unsqueeze", "squeeze", "cat", "stack", "roll", "flip", "clone", "alias", "detach", "index", "index_select", "gather",
    "split", "split_with_sizes", "unbind", "chunk", "narrow", "repeat", "repeat_interleave", "unfold", "pixel_shuffle",
    "pixel_unshuffle", "channel_shuffle", "native_channel_shuffle", "movedim", "take_along_dim", "rot90",
    "lift_fresh", "diagonal", "unsafe_split", "unsafe_chunk", "swapaxes", "flatten", "unflatten", "contiguous",
)  # fmt: skip
_REDUCTIONS = (
    "mean", "sum", "amax", "amin", "var", "std", "max", "min", "logsumexp", "norm", "linalg_vector_norm", "prod", "any",
    "all", "argmax", "argmin", "var_mean", "std_mean",
)  # fmt: skip
_ATTENTIONS = (
    "scaled_dot_product_attention", "_scaled_dot_product_attention_math", "_scaled_dot_product_flash_attention",
    "_scaled_dot_product_flash_attention_for_cpu", "_scaled_dot_product_efficient_attention",
    "_scaled_dot_product_cudnn_attention", "_scaled_dot_product_fused_attention_overrideable",
)  # fmt: skip
_UNKNOWN = (
    "cumsum", "sort", "topk", "grid_sampler_2d", "deform_conv2d", "_fft_r2c", "_fft_c2c", "_fft_c2r", "scatter",
    "scatter_add", "index_put", "cumprod", "col2im", "cummax", "cummin", "_cummax_helper", "_cummin_helper", "logcumsumexp",
    "kthvalue", "median", "nanmedian", "mode", "renorm", "scatter_reduce", "index_add", "masked_scatter", "put", "tril", "triu",
)  # fmt: skip
RULES: dict[str, Rule] = {
    **dict.fromkeys(_MOVES, _apply_to_parts),
    **dict.fromkeys(_REDUCTIONS, reduction),
    **dict.fromkeys(_ATTENTIONS, attention),
    **dict.fromkeys(_UNKNOWN, unknown_reach),
    **dict.fromkeys(("convolution", "_convolution", "cudnn_convolution", "mkldnn_convolution"), convolution),
    **dict.fromkeys(("max_pool2d_with_indices", "max_pool2d", "avg_pool2d"), pooling),
    **dict.fromkeys(("_adaptive_avg_pool2d", "adaptive_avg_pool2d", "adaptive_max_pool2d"), adaptive_pooling),
    **dict.fromkeys(
        ("upsample_nearest2d", "_upsample_nearest_exact2d", "upsample_bilinear2d", "upsample_bicubic2d",
         "_upsample_bilinear2d_aa", "_upsample_bicubic2d_aa", "_upsample_lanczos2d_aa"), resizing,
    ),
    **dict.fromkeys(("constant_pad_nd", "reflection_pad2d", "replication_pad2d"), padding),
    **dict.fromkeys(("mm", "bmm", "addmm", "baddbmm", "linear", "matmul"), matrix_product),
    **dict.fromkeys(("_softmax", "softmax", "_log_softmax", "log_softmax"), softmax),
    **dict.fromkeys(("native_group_norm", "_group_norm"), _instance_norm),
    **dict.fromkeys(
        ("native_batch_norm", "cudnn_batch_norm", "miopen_batch_norm", "_native_batch_norm_legit",
         "_native_batch_norm_legit_no_training", "_batch_norm_impl_index"), _batch_norm,
    ),
    "native_layer_norm": _layer_norm,
    "im2col": unfolding,
    "glu": _halved,
    "avg_pool3d": _over_units,
}  # fmt: skip
