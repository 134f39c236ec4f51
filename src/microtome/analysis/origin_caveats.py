"""Caveats that follow from where a finding came from: its input, its channels, what was not measured, what has no interval."""

from collections.abc import Mapping
from typing import Any

from microtome import prose
from microtome.finding import Finding
from microtome.images.bands import describe_shown
from microtome.numerics.statistics.intervals import MIN_DIFFERENT, MIN_VALUES
from microtome.numerics.statistics.medians import MIN_RUNS

NAMED = 4  # layers that a caveat names one by one


def unknown_intervals(finding: Finding) -> list[str]:
    """A caveat that names the key numbers whose interval is not known, and what an interval takes."""
    names = list(dict.fromkeys(number.name for number in finding.key_numbers if number.interval_unknown))
    if not names:
        return []
    return [
        f"Interval unknown: {prose.name_list(names, NAMED)}. The interval of a mean takes {MIN_VALUES} values, {MIN_DIFFERENT} of them "
        f"unlike the commonest one; that of a median takes {MIN_RUNS}."
    ]


def about_channels(finding: Finding) -> list[str]:
    """Caveats where colours became luminance for the network, and where figures show some bands of the images."""
    images, recipe = finding.origin.get("images", {}), finding.origin.get("specimen", {}).get("recipe", {})
    lines: list[str] = []
    if images.get("channels") == 3 and recipe.get("channels") == 1:
        lines.append("The network takes one channel: it was given the luminance (ITU-R BT.601) of each image.")
    if images.get("channels") == 1 and recipe.get("channels") == 3:
        lines.append("The images have one channel and the network takes three: it was repeated.")
    if images.get("shown_bands") and images["channels"] > 1:
        lines.append(describe_shown(images["channels"], images["shown_bands"]))
    return lines


def doubts_about_input(source: Mapping[str, Any]) -> list[str]:
    """That answers depend on the batch; the suspicion, of analyses of labelled images, that the recipe does not fit the weights."""
    return [text for name in ("batch_dependence", "recipe_doubt") if (text := source.get(name))]


def not_measured(facts: Mapping[str, Any]) -> list[str]:
    """One caveat for each reason in the fact `unmeasured` (layer -> reason): what was asked for and is not in the finding."""
    reasons: dict[str, list[str]] = {}
    for name, reason in facts.get("unmeasured", {}).items():
        reasons.setdefault(str(reason), []).append(str(name))
    return [
        f"Not measured: {', '.join(names[:NAMED])}{f' and {len(names) - NAMED} more' if len(names) > NAMED else ''}, since {reason}."
        for reason, names in reasons.items()
    ]
