"""Key numbers, headline and caveats of a finding on objects."""

from typing import TypedDict

import numpy as np

from microtome.analyses.objects.arrays import MIN_IMAGES
from microtome.errors import option_name
from microtome.finding import Finding
from microtome.instruments.faithfulness.trust import WARNING
from microtome.instruments.untrained_twins import NO_VERDICT, VERDICTS, twins_text
from microtome.key_numbers import FRACTION, KeyNumber

UNUSUAL_BASELINES = {
    "unmarked": "have no mask or box",
    "cropped": "do not show their object after cropping",
    "empty": "have an empty map, since all evidence is against the class, and have no lift",
    "tiny": "have an object below 1% of the image and count only over all images",
}


class _Ends(TypedDict):
    """The ends of a 95% interval."""

    low: float
    high: float
    has_interval: bool


def object_key_numbers(finding: Finding) -> list[KeyNumber]:
    value, low, high = (finding[name] for name in ("overall", "overall_low", "overall_high"))
    layer = finding.facts["layer"]

    def of(measure: str) -> float:
        return float(value.sel(measure=measure))

    def ends(measure: str, factor: float = 1.0) -> _Ends:
        return {
            "low": factor * float(low.sel(measure=measure)),
            "high": factor * float(high.sel(measure=measure)),
            "has_interval": True,
        }

    numbers = [
        KeyNumber(
            name="localisation lift", value=100 * of("lift"), unit="points", **ends("lift", 100),
            baseline=100 * of("twin_lift"), baseline_name=twins_text(finding.facts["twins"]), better="higher", at=layer,
        ),
        KeyNumber(
            name="lift of a centre blob", value=100 * of("centre_lift"), unit="points", **ends("centre_lift", 100),
        ),
        KeyNumber(
            name="energy-based pointing game", value=of("ebpg"), unit=FRACTION, **ends("ebpg"),
            baseline=of("area"), baseline_name="an even map", better="higher", at=layer,
        ),
    ]  # fmt: skip
    if not np.isnan(of("accuracy")):
        numbers.append(
            KeyNumber(name="top-1 accuracy", value=of("accuracy"), unit=FRACTION, **ends("accuracy"), better="higher")
        )
        numbers += _smallest_objects(finding)
    return [*numbers, KeyNumber(name="images", value=finding.facts["images"], unit="1")]


def object_headline(finding: Finding) -> str:
    lift = finding.key("localisation lift")
    if np.isnan(lift.value):
        return f"The maps at {lift.at} have no localisation lift over {finding.facts['images']} images."
    twins = f"{lift.baseline_name} {lift.baseline_text or 'unknown'}"
    if finding.facts["trust"]["warning"]:
        return f"{WARNING} Localisation lift at {lift.at}: {lift.text}; {twins}."
    return f"Localisation lift (evidence on the object minus its area) at {lift.at}: {lift.text}; {twins}."


def object_caveats(finding: Finding) -> list[str]:
    facts = finding.facts
    caveats = ["One network does not represent its family: compare at least two of each before blaming width or depth."]
    if facts["labels"].startswith("by order"):
        caveats.append(f"Outputs were matched to classes {facts['labels']}.")
    if not facts["labels"]:
        caveats.append(
            "The network's outputs are not the images' classes: no accuracy, and the maps are of the predicted class."
        )
    if facts["boxes"] in ("box", "mixed"):
        caveats.append("Boxes stand for objects: background inside a box counts as object.")
    if facts["correct_count"] < MIN_IMAGES:
        caveats.append(f"Coverage is over all images, since fewer than {MIN_IMAGES} are known to be classified correctly.")
    caveats += _sparse_bins(finding)
    caveats += _sizes_below_centre(finding)
    caveats += _lift_against_twins(finding)
    caveats += [f"{number} images {text}." for name, text in UNUSUAL_BASELINES.items() if (number := facts[name])]
    rows, cols = facts["map_grid"]
    common = finding.options["grid"]
    if min(rows, cols) < common:
        caveats.append(
            f"The map has {rows} × {cols} positions, coarser than the common grid of {common} × {common}: "
            f"to compare with finer networks, measure all with {option_name('grid')} {min(rows, cols)}."
        )
    if finding.trained is False:
        caveats.append("These weights are untrained.")
    return caveats


def _lift_against_twins(finding: Finding) -> list[str]:
    """A caveat where the lift is not shown to be above that of all untrained twins."""
    against = str(finding["lift_against_twins"].item()) if "lift_against_twins" in finding else NO_VERDICT
    if finding.trained is False or against in (NO_VERDICT, VERDICTS[1]):
        return []
    return [f"The lift over all images is {against}: it is not shown to be due to training."]


def _smallest_objects(finding: Finding) -> list[KeyNumber]:
    """Accuracy in the smallest size bin that has a number, beside that in the largest; nothing with fewer than two bins."""
    value, low, high = (finding[f"accuracy_by_size{end}"] for end in ("", "_low", "_high"))
    known = np.flatnonzero(~np.isnan(value.values))
    if len(known) < 2:
        return []
    first, last = int(known[0]), int(known[-1])
    sizes = value.coords["size"].values
    return [
        KeyNumber(
            name="accuracy on the smallest objects", value=float(value[first]), unit=FRACTION, low=float(low[first]),
            high=float(high[first]), has_interval=True, baseline=float(value[last]), baseline_name=f"objects of {sizes[last]} of the image",
            better="higher", at=str(sizes[first]),
        )
    ]  # fmt: skip


def _sizes_below_centre(finding: Finding) -> list[str]:
    """The sizes at which the network's lift is not above that of a blob in the centre of the image."""
    lift, blob = finding["lift_by_size_low"], finding["centre_lift_by_size"]
    known = finding["lift_by_size"].notnull()
    above = lift > blob  # false where the interval is unknown
    sizes = [str(size) for size in lift.coords["size"].values if bool(known.sel(size=size)) and not bool(above.sel(size=size))]
    return (
        [f"At object sizes of {', '.join(sizes)} the lift is not significantly above that of a blob in the centre."]
        if sizes
        else []
    )


def _sparse_bins(finding: Finding) -> list[str]:
    """A caveat on the bins that have too few images for a number."""
    count = finding["count"]
    sparse = [
        f"{size}, {clutter}"
        for size in count.coords["size"].values
        for clutter in count.coords["clutter"].values
        if int(count.sel(size=size, clutter=clutter)) < MIN_IMAGES
    ]
    if not sparse:
        return []
    shown = "; ".join(sparse[:4]) + ("; …" if len(sparse) > 4 else "")
    return [f"{len(sparse)} of {count.size} bins have fewer than {MIN_IMAGES} images and no number ({shown})."]
