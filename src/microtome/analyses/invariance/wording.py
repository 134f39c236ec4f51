"""Key numbers, headline, panels and caveats of a finding on invariance."""

from typing import Any, cast

import numpy as np

from microtome.analyses.invariance.examples import image_panels
from microtome.analyses.invariance.summary import identity_amount
from microtome.analyses.invariance.warps import WARPS, Warp
from microtome.finding import Finding
from microtome.instruments.untrained_twins import twins_text
from microtome.key_numbers import FRACTION, KeyNumber
from microtome.panels import Bars, Curve, Grid, Panel, Table
from microtome.prose import plural

BORDERS = {
    "reflect": "mirrored",
    "mean": "the mean colour",
    "wrap": "the opposite side of the image",
    "crop": "real, cut from a larger image",
}


def warp_key_numbers(finding: Finding) -> list[KeyNumber]:
    deepest = max(finding["change"].sizes["layer"] - 2, 0)  # the last layer before the output
    change, twin = finding["change"].values[:, deepest], finding["twin_change"].values[:, deepest]
    layer, warps = str(finding["change"].layer.values[deepest]), finding["change"].warp.values
    numbers: list[KeyNumber] = []
    twins = twins_text(finding.facts["twins"])
    if "consistency" in finding:
        value, low, high, twin_value = (
            float(finding[name].values[0])
            for name in ("consistency", "consistency_low", "consistency_high", "twin_consistency")
        )
        at = f"shifts up to {float(finding['small'].values[0]):g} px"
        numbers.append(KeyNumber(name="shift consistency", value=value, low=low, high=high, has_interval=True, unit=FRACTION,
                                 baseline=twin_value, baseline_name=twins, better="higher", at=at))  # fmt: skip
    known = np.flatnonzero(np.isfinite(change))
    for name, index in (("largest change", np.argmax), ("smallest change", np.argmin)):
        place = int(known[index(change[known])]) if len(known) else 0
        numbers.append(KeyNumber(name=name, value=float(change[place]), unit=FRACTION, baseline=float(twin[place]), baseline_name=twins,
                                 better="lower",
                                 at=f"{layer}, {_warp_text(str(warps[place]))}"))  # fmt: skip
    if lowest := _lowest_probability(finding):
        numbers.append(lowest)
    return numbers


def warp_headline(finding: Finding) -> str:
    largest = finding.key("largest change")
    if not np.isfinite(largest.value):
        layer = largest.at.split(", ")[0]
        count = int(finding.facts["images"])
        if count == 1:
            return f"With one image nothing can be compared: distances at {layer} are in units of those between images."
        return f"{layer} gives these {count} images the same features, so nothing can be compared."
    layer, warp = largest.at.split(", ")
    change, twins = largest.text, f"{largest.baseline_name} {largest.baseline_text or 'unknown'}"
    return f"{warp.capitalize()} moves {layer} most: {change} of the distance between images ({twins})."


def list_panels(finding: Finding) -> list[Panel]:
    note = "0: no change; 100%: as far apart as two different images. Mean over the amounts of each warp."
    panels: list[Panel] = [
        Curve(title="Change of each layer", y=("change",), x="layer", by="warp", note=note),
        Curve(title="Change of the untrained twins", y=("twin_change",), x="layer", by="warp", note=note),
        Grid(title="The first image, warped", z="picture", across="amount", down="warp", each=False,
             note=f"From the smallest to the largest amount; border: {BORDERS[finding.options['border']]}."),
    ]  # fmt: skip
    panels += image_panels(finding)
    for warp in map(str, finding["change"].warp.values):
        panels += _warp_panels(finding, warp)
    if "pooled" in finding:
        panels += [
            Bars(title="Strides: means of the units", y=("pooled",), x="layer", by="measure", null=("twin_pooled",),
                 question="repair", note="Row shifts. A larger change for half a stride than for a whole one is aliasing."),
            Bars(title="Strides: maps", y=("equivariance",), x="layer", by="measure",
                 null=("twin_equivariance",), note="Distance to the original maps shifted as far; 0 is equivariant."),
        ]  # fmt: skip
    if "consistency" in finding:
        columns = ("consistency", "consistency_low", "consistency_high", "twin_consistency", "small")
        panels.append(Table(title="Shift consistency", rows="warp", columns=columns, note=_distinct_predictions(finding)))
    return panels


def warp_caveats(finding: Finding) -> list[str]:
    lines = [
        f"The border is {BORDERS[finding.options['border']]}; what enters there changes the features as well.",
        "Scaling, rotations and fractional-pixel shifts are bilinear, which blurs; that is part of the distance.",
        "Means over amounts depend on the amounts: compare networks on the same ones.",
        "For half a stride, equivariance is measured against linearly interpolated maps, which no feature map follows exactly.",
    ]
    for name, factor in finding.facts["enlarged"].items():
        what = "crops" if name == "crop" else "all other warps"
        lines.append(f"To make room for {what}, the image was enlarged {factor:.2f} times: only its middle is visible.")
    if (held := finding.facts["references"]) < finding.facts["images"]:
        lines.append(
            f"The distance between images is that of each to {held} of them, chosen by content: all do not fit into memory."
        )
    if (note := _distinct_predictions(finding)) and "consistency" in finding:
        lines.append(note)
    lines.append("More accurate networks are also more consistent (Zhang 2019): compare those of similar accuracy.")
    if "consistency" not in finding:
        lines.append("The network gives no class scores, so only distances are reported.")
    if finding.trained is False:
        lines.append("These weights are untrained.")
    return lines


def _warp_panels(finding: Finding, warp: str) -> list[Panel]:
    """Distance, and probability of the class, over the amounts of one warp."""
    if warp == "flip":
        return [Bars(title="Distance by flip", y=("distance/flip",), x="layer", by="amount", null=("twin_distance/flip",))]
    unit = WARPS[cast(Warp, warp)][0]
    panels: list[Panel] = [
        Curve(title=f"Distance by {_warp_text(warp)}", note=f"Amount: {unit}.", y=(f"distance/{warp}",), x="amount", by="layer")
    ]
    if f"probability/{warp}" in finding:
        panels.append(
            Curve(
                title=f"Probability by {_warp_text(warp)}", note=f"Of {finding.facts['class']}; amount: {unit}.", x="amount",
                y=(f"probability/{warp}",), low=f"probability_low/{warp}", high=f"probability_high/{warp}",
            )
        )  # fmt: skip
    return panels


def _lowest_probability(finding: Finding) -> KeyNumber | None:
    """The lowest mean probability of the class under any warp, beside that of the unwarped images; None where none is known."""
    curves = {name.split("/")[1]: curve for name, curve in finding.arrays.items() if name.startswith("probability/")}
    curves = {warp: curve for warp, curve in curves.items() if np.isfinite(curve.values).all()}
    if not curves:
        return None
    warp = min(curves, key=lambda name: float(curves[name].min()))
    values, amounts = curves[warp].values, curves[warp].amount.values
    unwarped = values[list(finding["amount_value"].sel(warp=warp).values).index(identity_amount(warp))]
    unit = "" if warp == "flip" else WARPS[cast(Warp, warp)][0].split()[0]
    return KeyNumber(
        name="lowest probability", value=float(values.min()), baseline=float(unwarped), baseline_name="unwarped", better="higher",
        at=f"{_warp_text(warp)} {_amount_text(amounts[values.argmin()])} {unit}".rstrip(),
    )  # fmt: skip


def _warp_text(warp: str) -> str:
    return warp.replace("_", " ")


def _amount_text(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _distinct_predictions(finding: Finding) -> str:
    if "answers" not in finding:
        return ""
    own, twins = finding["answers"].values
    compared = "" if np.isnan(twins) else f", an untrained twin at most {int(twins)}"
    return (
        f"The network predicts {plural(int(own), 'different class', 'different classes')}{compared}: "
        "a network that always predicts one class is consistent."
    )
