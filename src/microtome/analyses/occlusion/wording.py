"""Key numbers, headline and caveats of an occlusion finding."""

from math import isnan

from microtome.errors import option_hint
from microtome.finding import Finding
from microtome.instruments.untrained_twins import NO_VERDICT, VERDICTS, twins_text
from microtome.key_numbers import FRACTION, KeyNumber
from microtome.numerics.statistics.intervals import MIN_VALUES
from microtome.prose import plural

NEGLIGIBLE_LOSS = 0.01  # of probability: below this the map shows next to nothing


def list_key_numbers(finding: Finding) -> list[KeyNumber]:
    """The loss of probability on the object and elsewhere where masks are known, the largest loss, and changes of the label."""
    twins = twins_text(finding.facts["twins"])
    numbers = [
        KeyNumber(
            name="largest loss of probability", value=_largest_loss(finding, ""), unit="points", baseline=_largest_loss(finding, "twin_"),
            baseline_name=twins,
        ),
        KeyNumber(
            name="positions where the label changes", value=float(finding["changed"].mean()), unit=FRACTION,
            baseline=float(finding["twin_changed"].mean()), baseline_name=twins,
        ),
        KeyNumber(
            name="rank correlation with random weights", better="lower",
            value=float(finding["twin_correlation"].sel(measure="probability")),
        ),
        KeyNumber(name="images", value=finding["image"].sizes["image"]),
    ]  # fmt: skip
    return [*_object_numbers(finding), *numbers][:6]


def _largest_loss(finding: Finding, prefix: str) -> float:
    """The loss of probability at the worst position, median over images, in percentage points."""
    lost = finding[f"{prefix}lost"].sel(measure="probability")
    return 100 * float(lost.max(("row", "col")).median())


def _object_numbers(finding: Finding) -> list[KeyNumber]:
    """Losses on the object and elsewhere, and the localisation of the loss; nothing without masks."""
    if "inside" not in finding or isnan(float(finding["inside"].sel(measure="probability"))):
        return []

    def points(name: str) -> float:
        return 100 * float(finding[name].sel(measure="probability"))

    twins = twins_text(finding.facts["twins"])
    return [
        KeyNumber(
            name="probability lost on the object", value=points("inside"), unit="points", baseline=points("twin_inside"),
            baseline_name=twins, better="higher",
        ),
        KeyNumber(
            name="probability lost elsewhere", value=points("outside"), unit="points", baseline=points("twin_outside"), baseline_name=twins,
        ),
        KeyNumber(
            name="localisation lift", value=points("lift"), unit="points", low=points("lift_low"), high=points("lift_high"),
            has_interval=True, baseline=points("twin_lift"), baseline_name=twins, better="higher",
        ),
    ]  # fmt: skip


def write_headline(finding: Finding) -> str:
    if finding.key_numbers[0].name == "probability lost on the object":
        inside, outside = finding.key("probability lost on the object"), finding.key("probability lost elsewhere")
        twin = f" ({inside.baseline_name} {inside.baseline_text})" if inside.baseline_text else ""
        return f"Occluding the object costs {inside.text} of class probability{twin}, elsewhere {outside.text}."
    largest, images = finding.key("largest loss of probability"), finding.key("images")
    return (
        f"The worst occluder position costs {largest.text} of probability "
        f"(median of {images.text} images; {largest.baseline_name} {largest.baseline_text})."
    )


def list_caveats(finding: Finding) -> list[str]:
    facts, count = finding.facts, finding["image"].sizes["image"]
    caveats = [
        f"Occluder {facts['side_px']} px, stride {facts['stride_px']} px: the maps depend on both and on the fill "
        f"({finding.options['colour']}), whose edges are new to the network."
    ]
    cut = [int(side) for side in finding["last_side"].values]
    if min(cut) < facts["side_px"]:
        caveats.append(f"The last occluder is cut by the edge of the image: it covers {cut[0]} px down and {cut[1]} px across.")
    if predicted := int((finding["target_from"] == "predicted").sum()):
        caveats.append(f"In {predicted} of {plural(count, 'image')} the target is the predicted class.")
    if facts["labels"].startswith("by order"):
        caveats.append(f"Outputs were matched to classes {facts['labels']}.")
    if quiet := int((finding["clean_probability"] - finding["lowest"] < NEGLIGIBLE_LOSS).sum()):
        caveats.append(
            f"In {quiet} of {plural(count, 'image')} no position costs 1 point of probability: their probability "
            f"maps, each on its own scale, "
            "show next to nothing."
        )
    if "lift" in finding:
        verdict = str(finding["lift_against_twins"].sel(measure="probability").item())
        if int(finding["known"].sel(measure="probability")) < MIN_VALUES:
            caveats.append(
                f"Fewer than {MIN_VALUES} images with masks: an illustration; for intervals set {option_hint('count', 50)}."
            )
        elif finding.trained is not False and verdict not in (NO_VERDICT, VERDICTS[1]):
            caveats.append(f"The localisation lift is {verdict}: it is not shown to be due to training.")
    if finding.trained is False:
        caveats.append("These weights are untrained: the maps show the architecture, not what was learnt.")
    return caveats
