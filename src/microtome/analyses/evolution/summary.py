"""What checkpoints amount to: distances to the end and to the next, when a layer settles, jumps of the strongest image, accuracy.

The two limits were set while looking at one training of mini_vgg, and held for others since.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from scipy.stats import rankdata

from microtome.analyses.evolution.checkpoints import Checkpoint
from microtome.finding import array
from microtome.images import Images
from microtome.instruments.image_pairs import ImagePairs
from microtome.instruments.strongest_patches import nonzero_peaks
from microtome.numerics.statistics.drift import cka_drift, jump_rate, settling_point
from microtome.numerics.statistics.intervals import Interval, nan_mean
from microtome.numerics.statistics.proportions import proportion_interval
from microtome.numerics.statistics.twins import twin_range
from microtome.tally import Bundle, Top

SETTLED_FRACTION = 0.5  # of the untrained twin's distance to the end: what counts as settled, more than half way
MIN_DISTANCE = 0.25  # 1 − CKA: where the untrained twin is nearer to the end than this, there is hardly anything to settle
Values = np.ndarray[Any, Any]
CheckpointTallies = tuple[
    Top, Values
]  # of one checkpoint: every unit's strongest place, and which images are named rightly (NaN: unknown)


def gram_rows(tally: Bundle, name: str) -> tuple[Values, Values]:
    """Rows of a layer's U-centred Gram matrix (image, other), and the batch (image,) within which each was made."""
    pairs, rows = tally["pairs"], tally.rows("rows")
    assert isinstance(pairs, ImagePairs)
    if pairs.count:
        return pairs.grams([name])[0].numpy(), np.zeros(pairs.count, dtype=np.int64)
    return rows.column(name), rows.column("batch")


def cka_distance(first: Bundle, second: Bundle, name: str) -> Interval:
    """1 − CKA of one layer's features in two networks that saw the same images."""
    (own, batch), (other, _) = gram_rows(first, name), gram_rows(second, name)
    return cka_drift(own, other, batch)


def drift_arrays(
    names: Sequence[str],
    moments: Sequence[Checkpoint],
    to_end: Sequence[Sequence[Interval]],
    step: Sequence[Sequence[Interval]],
    null: Sequence[Sequence[float]],
) -> dict[str, Any]:
    """What lies between checkpoints, layer by layer; fractions are of the untrained twins' mean distance to the end."""
    ends, steps = np.array(to_end).transpose(2, 1, 0), np.array(step).transpose(2, 1, 0)
    twin, nearest, farthest = twin_range(np.array(null))
    share = ends[0] / np.where(twin >= MIN_DISTANCE, twin, np.nan)[:, None]
    travel = np.array([nan_mean(row) for row in share[:, :-1]])
    known = np.isfinite(travel)
    where = np.where(known, [settling_point(row, SETTLED_FRACTION) for row in share], -1)
    enough = int(known.sum()) > 2 and np.ptp(travel[known]) > 0
    rank = float(np.corrcoef(np.arange(int(known.sum())), rankdata(travel[known]))[0, 1]) if enough else float("nan")
    layers, at_all = {"layer": list(names)}, {"checkpoint": [moment.name for moment in moments]}
    ended, between = ("layer", "checkpoint"), ("layer", "pair")
    by_checkpoint, stepped = layers | at_all, layers | {"pair": _consecutive_names(moments)}
    at = np.array([moments[place].name if place >= 0 else "unknown" for place in where], dtype=object)
    return {
        "drift": array(ends[0], ended, "1 − CKA", by_checkpoint, "distance to the last checkpoint"),
        "drift_low": array(ends[1], ended, "1 − CKA", by_checkpoint),
        "drift_high": array(ends[2], ended, "1 − CKA", by_checkpoint),
        "twin_drift": array(twin, ("layer",), "1 − CKA", layers, "untrained twins to the last checkpoint"),
        "twin_drift_low": array(nearest, ("layer",), "1 − CKA", layers, "nearest untrained twin"),
        "twin_drift_high": array(farthest, ("layer",), "1 − CKA", layers, "farthest untrained twin"),
        "share": array(share, ended, "fraction of the twin's", by_checkpoint, "distance to the end"),
        "travel": array(travel, ("layer",), "fraction of the twin's", layers, "mean distance to the end before it"),
        "settled_at": array(where, ("layer",), "place among the checkpoints", layers),
        "settled": array(at, ("layer",), "text", layers, "settled at"),
        "depth_rank": array(rank, (), "1"),
        "step": array(steps[0], between, "1 − CKA", stepped, "distance to the next"),
        "step_low": array(steps[1], between, "1 − CKA", stepped),
        "step_high": array(steps[2], between, "1 − CKA", stepped),
    }


def jump_arrays(names: Sequence[str], moments: Sequence[Checkpoint], tallies: Sequence[CheckpointTallies]) -> dict[str, Any]:
    """The fraction of units whose strongest image is another one at the next checkpoint, and chance."""
    image = [[nonzero_peaks(top, name)[1][0] for top, _ in tallies] for name in names]
    both = np.array([[jump_rate(*pair) for pair in pairwise(row)] for row in image])
    layers = {"layer": list(names)}
    by_pair = layers | {"pair": _consecutive_names(moments)}
    return {
        "jump": array(both[:, :, 0], ("layer", "pair"), "fraction of units", by_pair, "another image"),
        "chance_jump": array(both[:, :, 1], ("layer", "pair"), "fraction of units", by_pair, "units paired by chance"),
        "last_jump": array(both[:, -1, 0], ("layer",), "fraction of units", layers, "jump in the last step"),
        "chance_last_jump": array(both[:, -1, 1], ("layer",), "fraction of units", layers, "by chance"),
    }


def accuracy_arrays(
    moments: Sequence[Checkpoint], tallies: Sequence[CheckpointTallies], answers: Values | None, images: Images
) -> dict[str, Any]:
    """Accuracy by checkpoint with its interval; nothing where the head does not name the images' classes."""
    if answers is None or not (answers >= 0).any():
        return {}
    scores = [proportion_interval(int(np.nansum(right)), int((~np.isnan(right)).sum())) for _, right in tallies]
    chance = np.bincount(answers[answers >= 0]).max() / (answers >= 0).sum()
    coords = {"checkpoint": [moment.name for moment in moments]}
    return {
        "accuracy": array([score.value for score in scores], ("checkpoint",), "fraction", coords, "accuracy"),
        "accuracy_low": array([score.low for score in scores], ("checkpoint",), "fraction", coords),
        "accuracy_high": array([score.high for score in scores], ("checkpoint",), "fraction", coords),
        "chance": array([chance] * len(moments), ("checkpoint",), "fraction", coords, "most frequent class"),
    }


def _consecutive_names(moments: Sequence[Checkpoint]) -> list[str]:
    return [f"{before.name} → {after.name}" for before, after in pairwise(moments)]
