"""What the distances between neighbouring weights amount to, as a sentence that never takes likeness for redundancy."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float

from microtome.numerics.arrays import Array

SIMILAR_DISTANCE = 0.1  # W1/σ below which two histograms are called similar


def comparison_text(
    groups: Sequence[str], told: Mapping[str, Float[Array, " pair"]], *, like: bool, trained: str, twins: int
) -> str:
    """One sentence over W1/σ of the pairs.

    `told` holds "" (this network), "twin", "spread" and "largest" of the twins, and where a norm was folded in "folded" and
    "twin folded". `like`: the pairs are of one role and shape. `trained`: "trained", "untrained" or "unknown".
    """
    own, count = told[""], len(told[""])
    middle = float(np.median(own))
    where = " → ".join(groups) if len(groups) <= 3 else f"{groups[0]} … {groups[-1]} ({len(groups)} layers)"
    pairs = f"{count} pair{'s' * (count > 1)} {'of the same role and shape' if like else 'of unlike shape or role'}"
    among = f" (median; {own.min():.2g} to {own.max():.2g})" if count > 1 else ""
    start = (
        f"{where}: {pairs} differ{'s' * (count == 1)} by W1/σ {middle:.2g}{among}, untrained twins by "
        f"{np.median(told['twin']):.2g} ± {np.median(told['spread']):.1g} ({twins} seeds)"
    )
    if "folded" in told and np.isfinite(told["folded"]).any():
        start += (
            f"; with batch norm folded in by {np.nanmedian(told['folded']):.2g} (twin {np.nanmedian(told['twin folded']):.2g})"
        )
    return start + _verdict_text(trained, int((own > told["largest"]).sum()), count, middle)


def no_comparison_text(groups: Sequence[str]) -> str:
    """The sentence where nothing could be compared."""
    if len(groups) < 2:
        return "Fewer than two layers with weights were chosen, so there is no distance to tell."
    return f"No two neighbours of {', '.join(groups[:3])} hold finite weights of one role, so there is no distance to tell."


def _verdict_text(trained: str, over: int, count: int, middle: float) -> str:
    if trained == "untrained":
        return ". These weights are untrained: this is what chance gives, and it says nothing about what could be removed."
    if not over:
        told = (
            "; no pair is further apart than in the twins: likeness comes with the architecture and is no sign of redundancy."
        )
    elif middle < SIMILAR_DISTANCE:
        told = (
            f"; {over} of {count} are further apart than in every twin: the histograms are similar all the same, which says "
            "little about redundancy; only removal proves it."
        )
    else:
        told = (
            f"; {over} of {count} are further apart than in every twin: the histograms differ, which does not prove that each "
            "is needed; only removal tells."
        )
    return told + (" Nobody said whether these weights are trained." if trained == "unknown" else "")
