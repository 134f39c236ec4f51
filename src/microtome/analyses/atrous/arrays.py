"""The arrays of a finding on dilated convolutions: a row for each, and the field of a group of branches beside its star."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from microtome.finding import array
from microtome.instruments.dilated.branches import BranchGroup, suggested_rates
from microtome.instruments.dilated.convolutions import DilatedConv
from microtome.numerics.receptive.dilations import dilate_mask

AXES = ["row", "col"]
OUTLINE = 6  # px for each position of the star's outline


def branch_arrays(convolutions: Sequence[DilatedConv], groups: Sequence[BranchGroup]) -> dict[str, Any]:
    """The columns of each dilated convolution, from shapes alone."""
    group = {conv.name: each.title for each in groups for conv in each.members}
    best = suggested_rates(convolutions, groups)
    names = {"branch": [conv.name for conv in convolutions]}
    both = names | {"axis": AXES}

    def each(values: Sequence[Any], unit: str, title: str) -> Any:
        texts = unit == "text"
        return array(np.array(values, dtype=object if texts else None), ("branch",), unit, names, title)

    def pairs(values: Sequence[Any], unit: str, title: str) -> Any:
        return array(np.array(values), ("branch", "axis"), unit, both, title)

    return {
        "valid": each([conv.valid for conv in convolutions], "fraction of taps", "taps on the map"),
        "whole": each([conv.whole for conv in convolutions], "fraction of positions", "positions with all taps"),
        "alive": each([conv.alive for conv in convolutions], "fraction of taps", "taps that ever read"),
        "dead": each([bool(conv.dead) for conv in convolutions], "yes or no", "one tap along an axis"),
        "ratio": each([conv.ratio for conv in convolutions], "1", "rate / side"),
        "suggested": each([best[conv.name] for conv in convolutions], "positions", "suggested"),
        "most": each([conv.most for conv in convolutions], "positions", "r_max"),
        "group": each([group.get(conv.name, "") for conv in convolutions], "text", "parallel branches of"),
        "rate": pairs([conv.rate for conv in convolutions], "positions", "rate"),
        "kernel": pairs([conv.kernel for conv in convolutions], "taps", "kernel"),
        "side": pairs([conv.side for conv in convolutions], "positions", "side"),
        "jump": pairs([conv.jump for conv in convolutions], "px", "output stride"),
        "view": pairs([conv.view for conv in convolutions], "positions", "field of view"),
        "view_px": pairs([np.multiply(conv.view, conv.jump) for conv in convolutions], "px", "field of view"),
        "seen": pairs([conv.field_of_view for conv in convolutions], "px", "with the layers before"),
        "reads": each(
            [f"{pair_text(conv.kernel, ' x ')} at rate {pair_text(conv.rate)}" for conv in convolutions], "text", "kernel"
        ),
        "map": each(
            [f"{pair_text(conv.side, ' x ')} positions, stride {pair_text(conv.jump)} px" for conv in convolutions],
            "text",
            "map",
        ),
        "sees": each(
            [
                f"{pair_text(conv.view)} positions, {pair_text(np.multiply(conv.view, conv.jump))} px; "
                f"{pair_text(conv.field_of_view)} px in all"
                for conv in convolutions
            ],
            "text",
            "field of view",
        ),
        "remark": each([_remark(conv, group.get(conv.name, "")) for conv in convolutions], "text", "remark"),
    }


def _remark(conv: DilatedConv, group: str) -> str:
    remarks = [f"branch of {group}"] if group else []
    if conv.readings is None:
        remarks.append("padding not known")
    elif conv.dead:
        axes = "" if len(conv.dead) == len(conv.axes) else " along rows" if conv.dead == (0,) else " along columns"
        remarks.append(f"dead: one tap{axes} remains")
    elif conv.whole == 0:
        remarks.append("no position has all taps on the map")
    if conv.edges != "zeros" and conv.before != (0, 0):
        remarks.append(f"beyond the map it reads {conv.edges} padding")
    return "; ".join(remarks)


def overlay_arrays(
    title: str, fields: np.ndarray[Any, Any], shape: np.ndarray[Any, Any], specimens: dict[str, list[str]]
) -> dict[str, Any]:
    """Both fields (fractions of their sum) and their square roots, the star as an image and as an outline."""
    image = {"image": [title]}
    dims = ("image", "specimen", "row", "col")
    base = np.where(shape[..., None], 200, 60).repeat(3, -1).astype(np.uint8)[None]
    wide = max(shape.shape) // 32  # on large maps, so that the field is visible inside the outline
    outline = np.kron(dilate_mask(shape, wide), np.ones((OUTLINE, OUTLINE), dtype=bool))[None]
    return {
        f"field/{title}": array(fields.astype(np.float32)[None], dims, "fraction of the sum", image | specimens),
        f"shown/{title}": array(
            np.sqrt(fields).astype(np.float32)[None], dims, "square root of the fraction", image | specimens
        ),
        f"base/{title}": array(base, ("image", "row", "col", "rgb"), "colour", image),
        f"star/{title}": array(outline, ("image", "row", "col"), "yes or no", image, "star of taps"),
    }


def relative_field(field: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The field as fractions of its sum; zeros stay zeros."""
    total = float(field.sum())
    return field / total if total > 0 else np.zeros_like(field)


def pair_text(pair: Any, always: str = "") -> str:
    """Rows and columns as one number where they are equal, unless `always` is the separator to use."""
    rows, cols = ("?" if np.isnan(value) else "all" if np.isinf(value) else f"{value:.4g}" for value in pair)
    return rows if rows == cols and not always else f"{rows}{always or ' x '}{cols}"
