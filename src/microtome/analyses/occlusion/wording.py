"""What the maps of an occlusion finding come to, in words."""

from collections.abc import Mapping

import numpy as np
import xarray as xr

from microtome.analyses.occlusion.arrays import MIN_IMAGES

NEGLIGIBLE_LOSS = 0.01  # of probability: less is not worth a map
OcclusionArrays = Mapping[str, xr.DataArray]


def headline_text(found: OcclusionArrays) -> str:
    count = found["image"].sizes["image"]
    changed, twin = (float(found[name].mean()) for name in ("changed", "twin_changed"))
    labels = f"the most probable label changes at {changed:.0%} of the positions (untrained twin {twin:.0%})"
    if "inside" not in found or np.isnan(found["inside"].sel(measure="probability")):
        worst = float((found["clean_probability"] - found["lowest"]).median())
        same = float(found["twin_correlation"].sel(measure="probability"))
        likeness = "" if np.isnan(same) else f", and the map's rank correlation with the twin's is {same:.2f}"
        return f"The worst position costs {percentage_points(worst)} of probability (median of {count} images); {labels}{likeness}."
    inside, outside, null_in, null_out = (
        float(found[name].sel(measure="probability")) for name in ("inside", "outside", "twin_inside", "twin_outside")
    )
    lift, null, wins, known = (float(found[name].sel(measure="probability")) for name in ("lift", "twin_lift", "wins", "known"))
    text = (
        f"A square on the object costs {percentage_points(inside)} of probability, elsewhere {percentage_points(outside)} (untrained twin "
        f"{percentage_points(null_in)} and {percentage_points(null_out)})"
    )
    if not np.isnan(lift):
        text += f"; lift of the loss {lift:+.2f}" + ("" if np.isnan(null) else f" against {null:+.2f} for the twin")
        text += f", larger in {wins:.0f} of {known:.0f} images"
    return f"{text}; {labels}."


def caveat_texts(found: OcclusionArrays) -> list[str]:
    side, stride = (int(one) for one in found["square"].values)
    said = {str(key): str(value) for key, value in zip(found["said"].criterion.values, found["said"].values, strict=True)}
    told = [
        f"The square has {side} px and goes {stride} px at a time; what it covers depends on that, and on its colour "
        f"({said['colour']}): an edge of its own is something new to the network."
    ]
    cut = [int(one) for one in found["last_side"].values]
    if min(cut) < side:
        told.append(
            f"The last square is cut by the picture's edge ({cut[0]} px down, {cut[1]} across); its own centre is given, but the overlay "
            "draws it where a whole one would be."
        )
    guessed = int((found["target_from"] == "predicted").sum())
    if guessed:
        told.append(
            f"In {guessed} of {found['image'].sizes['image']} images the class is the predicted one, "
            "since no label that the network knows was given or it was asked for."
        )
    if said["labels"].startswith("by order"):
        told.append(f"Outputs were matched to classes {said['labels']}.")
    if quiet := int((found["clean_probability"] - found["lowest"] < NEGLIGIBLE_LOSS).sum()):
        told.append(
            f"In {quiet} of {found['image'].sizes['image']} images no position costs a whole point of probability: their "
            "probability maps, each on its own scale, show next to nothing."
        )
    if "lift" in found:
        low = float(found["gain_low"].sel(measure="probability"))
        if np.isnan(low):
            told.append(f"Fewer than {MIN_IMAGES} images with masks: an illustration. For a claim: --count 50.")
        elif low <= 0:
            told.append("The lift is not above the untrained twin's beyond chance (paired bootstrap over images, 95 %).")
    if float(found["trained"]) == 0:
        told.append("These weights are untrained: the maps show the architecture, not knowledge.")
    return told


def percentage_points(value: float) -> str:
    return f"{100 * value:.1f} points"
