"""The sentences of `transfer`: its headline, and warnings where a score is known to mislead."""

from typing import Any

import numpy as np

from microtome.finding import Finding
from microtome.instruments.untrained_twins import VERDICTS
from microtome.key_numbers import format_value
from microtome.prose import name_list, plural

NEAR_BOUND = 0.95  # of the largest H-score: so near it, layers can hardly be told apart
SEPARATED = 1e-3  # of GBC: classes so far apart are told apart by any layer that has it
FEW = 10  # images of a class; below, variances of classes are hardly known


def class_count(sizes: np.ndarray[Any, Any]) -> str:
    """How many classes have an image, with the noun."""
    return plural(int((sizes > 0).sum()), "class", "classes")


def headline(finding: Finding) -> str:
    """One sentence: LogME at its best layer, against the twins on their images, or the probe where there are none."""
    best, few, ridge = (finding.key(name) for name in ("LogME", "LogME on the twins' images", "ridge probe accuracy"))
    start = f"LogME {format_value(best.value)} at {best.at}"
    if np.isfinite(few.baseline) and np.isfinite(few.value):
        count = int(finding["count"][1])
        return f"{start}; on {plural(count, 'image')} {format_value(few.value)}, untrained twins {few.baseline_text}."
    if np.isfinite(ridge.value):
        return f"{start}; a ridge probe there reaches {ridge.text}, the most frequent class {ridge.baseline_text}."
    return f"{start}, on {plural(int(finding['count'][0]), 'image')} of {plural(finding.facts['classes'], 'class', 'classes')}."


def caveats(finding: Finding) -> list[str]:
    """What limits the interpretation: what is always so, then what is so of these images and layers."""
    lines = [
        "Scores compare networks and layers on the same images only; none is an accuracy.",
        "Features are averaged over positions; a head that uses positions, or fine-tuning, can change the order.",
        "The best layer was chosen by the LogME of these images, so its numbers are slightly too high.",
    ]
    lines += _misleading_scores(finding)
    if finding.trained is False:
        lines.insert(0, "These weights are untrained.")
    if reason := finding.facts["no_verdict"]:
        lines.append(f"No verdict against the untrained twins: {reason}.")
    elif finding.trained and not (finding["against_twins"].values == VERDICTS[1]).any():
        lines.append("No layer's LogME is above that of all untrained twins: for these classes, training is not shown to help.")
    if number := finding.facts["left_out"]:
        lines.append(f"{plural(number, 'image')} left out: alone in their class, or beyond the largest number scored.")
    return lines


def _misleading_scores(finding: Finding) -> list[str]:
    """One sentence for each score that is known to mislead on features and labels such as these."""
    lines, count = list[str](), int(finding["count"][0])
    layers = finding["logme"].layer.values.astype(str)
    narrow = layers[finding["width"].values >= count]
    if len(narrow):
        lines.append(
            f"TransRate is misleading where there are no more images than features ({name_list(list(narrow))}): there it grows with the "
            "width of the layer."
        )
    bound = finding.facts["classes"] - 1
    high = layers[finding["h_score"].values >= NEAR_BOUND * bound]
    if len(high):
        lines.append(
            f"The H-score is near its largest value, {bound}, at {name_list(list(high))}: it does not separate such layers."
        )
    apart = layers[finding["gbc"].values > -SEPARATED]
    if len(apart):
        lines.append(f"GBC is near 0, its largest value, at {name_list(list(apart))}: it does not separate such layers.")
    if (smallest := finding.facts["smallest_class"]) < FEW:
        lines.append(f"GBC needs the variance of every class; the smallest here has {plural(smallest, 'image')}.")
    if np.isinf(finding["logme"].values).any():
        lines.append("LogME is unbounded where the labels are an exact linear function of the features.")
    if np.isfinite(finding["own_classes"].values).any() and finding.facts["source_classes"] <= finding.facts["classes"]:
        lines.append(
            f"LEEP and NCE compare only networks with many more classes than the task; this one has {finding.facts['source_classes']} "
            f"for {finding.facts['classes']}."
        )
    return lines + _disagreement(finding)


def _disagreement(finding: Finding) -> list[str]:
    """A sentence where the ridge probe is significantly better at another layer than the one that LogME puts first."""
    accuracy = finding["ridge"].values
    if not np.isfinite(accuracy).any():
        return []
    best, first = int(np.nanargmax(finding["logme"].values)), int(np.nanargmax(accuracy))
    if not finding["ridge_low"].values[first] > finding["ridge_high"].values[best]:
        return []
    layers = finding["ridge"].layer.values.astype(str)
    return [f"The ridge probe is better at {layers[first]} than at {layers[best]}, which LogME puts first: trust the probe."]
