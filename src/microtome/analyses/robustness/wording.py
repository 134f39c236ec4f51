"""Key numbers, headline, panels and caveats of a finding on robustness."""

from math import isfinite, isnan

import numpy as np
import xarray as xr

from microtome.finding import Finding
from microtome.images.corruptions.sweeps import SWEEPS
from microtome.instruments.untrained_twins import twins_text
from microtome.key_numbers import FRACTION, KeyNumber
from microtome.panels import Curve, Grid, Heat, Panel, Table
from microtome.prose import plural

LEAST, MOST = 2, 6  # key numbers
FEW = 100  # images; below, a calibration error is mostly chance


def measured_name(finding: Finding) -> str:
    """Which array says how well the network answers: "accuracy", "agreement" where nobody knows what is right, "" without answers."""
    if not isnan(float(finding["overall_right"][0])) or isfinite(float(finding["clean"][0])):
        return "accuracy"
    return "agreement" if _any_known(finding) else ""


def _any_known(finding: Finding) -> bool:
    names = [name for name in finding.arrays if name.split("/")[0] == "agreement"]
    return any(bool(np.isfinite(finding[name].values).any()) for name in names)


def robustness_key_numbers(finding: Finding) -> list[KeyNumber]:
    """Answers first, then drift and calibration."""
    numbers, name, twins = list[KeyNumber](), measured_name(finding), twins_text(finding.facts["twins"])
    count = plural(finding["accuracy"].size, "condition")
    if name and finding["accuracy"].size:
        which, baseline, baseline_name = ("same", float(finding["overall_twin_same"][0]), twins)
        if name == "accuracy":
            which, baseline, baseline_name = ("right", float(finding["clean"].sel(measure="accuracy")), "clean images")
        value, low, high = (float(part) for part in finding[f"overall_{which}"].values)
        numbers.append(KeyNumber(name=f"{name} under corruption", value=value, low=low, high=high, has_interval=True, unit=FRACTION,
                                 baseline=baseline, baseline_name=baseline_name, better="higher", at=count))  # fmt: skip
        by_corruption = finding[name].mean("severity")
        worst = str(by_corruption.idxmin("corruption").item())
        numbers.append(KeyNumber(name=f"{name} under the worst corruption", value=float(by_corruption.min()), unit=FRACTION,
                                 better="higher", at=worst))  # fmt: skip
    numbers += _reference_numbers(finding) if name == "accuracy" else []
    numbers += _drift_numbers(finding, twins)
    if name == "accuracy" and finding["calibration"].size:
        value, low, high = (float(part) for part in finding["overall_calibration"].values)
        numbers.append(KeyNumber(name="calibration error under corruption", value=value, low=low, high=high, has_interval=True,
                                 unit=FRACTION, baseline=float(finding["clean"].sel(measure="calibration error")),
                                 baseline_name="clean images", better="lower", at=count))  # fmt: skip
    numbers += _sweep_numbers(finding, name)
    if len(numbers) < LEAST:
        numbers.append(KeyNumber(name="images", value=int(finding.facts["images"])))
    return numbers[:MOST]


def _reference_numbers(finding: Finding) -> list[KeyNumber]:
    """The mean corruption errors, where all five severities of a corruption were measured."""
    if "corruption_error" not in finding or not np.isfinite(finding["corruption_error"].values).any():
        return []
    at = plural(finding["corruption_error"].size, "corruption")
    return [
        KeyNumber(name=name, value=float(finding[values].mean()), unit=FRACTION, better="lower", at=at)
        for name, values in (("mCE", "corruption_error"), ("relative mCE", "relative_error"))
    ]


def _drift_numbers(finding: Finding, twins: str) -> list[KeyNumber]:
    """The drift of the last layer under the corruptions measured."""
    if "drift" not in finding or not finding["drift"].size:
        return []
    twin = float(finding["twin_drift"].values[-1].mean())
    value, low, high = (float(part) for part in finding["overall_drift"].values)
    return [KeyNumber(name="drift of the last layer", value=value, low=low, high=high, has_interval=True, unit=FRACTION,
                      baseline=twin, baseline_name=twins, better="lower",
                      at=str(finding["drift"].layer.values[-1]))]  # fmt: skip


def _sweep_numbers(finding: Finding, name: str) -> list[KeyNumber]:
    """The lowest value of each sweep, with the amount where it is; without answers none."""
    numbers: list[KeyNumber] = []
    for sweep in SWEEPS:
        if name and f"{name}/{sweep}" in finding:
            curve = finding[f"{name}/{sweep}"]
            numbers.append(KeyNumber(name=f"lowest {name}, {sweep.replace('_', ' ')}", value=float(curve.min()), unit=FRACTION,
                                     baseline=_neutral(curve, sweep), baseline_name="clean images", better="higher",
                                     at=f"factor {float(curve.idxmin('amount')):g}"))  # fmt: skip
    return numbers


def _neutral(curve: xr.DataArray, sweep: str) -> float:
    return float(curve.sel(amount=SWEEPS[sweep][0]))


def robustness_headline(finding: Finding) -> str:
    """One sentence: what corruption costs, and which corruption costs most."""
    name, numbers = measured_name(finding), {number.name: number for number in finding.key_numbers}
    overall, worst = numbers.get(f"{name} under corruption"), numbers.get(f"{name} under the worst corruption")
    if overall and worst:
        lowest = f"lowest under {worst.at.replace('_', ' ')}: {worst.text}"
        if name == "accuracy":
            return f"Accuracy {overall.text} under corruption, {overall.baseline_text} on clean images; {lowest}."
        return f"The answer stays the same in {overall.text} of corrupted views ({_baseline(overall)})."
    first = finding.key_numbers[0] if finding.key_numbers else None
    if first is None:
        return f"Nothing of {plural(finding.facts['images'], 'image')} could be measured under these changes."
    if first.name.startswith("lowest"):
        return f"{first.name.capitalize()}: {first.text} at {first.at}, {first.baseline_text} on clean images."
    return f"Corruption moves {first.at} by {first.text} of the distance between images ({_baseline(first)})."


def _baseline(number: KeyNumber) -> str:
    return f"{number.baseline_name} {number.baseline_text or 'unknown'}"


def robustness_panels(finding: Finding) -> list[Panel]:
    """Curves by severity, then tables, drift by layer, sweeps and the first image."""
    panels, name = list[Panel](), measured_name(finding)
    corrupted = bool(finding["accuracy"].size)
    if corrupted and name:
        panels.append(Curve(title=f"{name.capitalize()} by severity", y=(name,), x="severity", by="corruption",
                            note="Severities of Hendrycks & Dietterich; images and code are not those of ImageNet-C."))  # fmt: skip
        columns = ("accuracy", "agreement", "twin_agreement", "calibration")
        for column in columns:
            if name == "accuracy" or "agreement" in column:
                title = f"By corruption and severity: {finding[column].attrs.get('title', column)}"
                panels.append(Table(title=title, rows="corruption", columns=(column,)))
        if "corruption_error" in finding and np.isfinite(finding["corruption_error"].values).any():
            panels.append(Table(title="Errors over those of AlexNet", rows="corruption", columns=("corruption_error", "relative_error"),
                                note="AlexNet on ImageNet-C; below 100% is better than AlexNet there."))  # fmt: skip
    if "drift" in finding and finding["drift"].size:
        panels += [
            Heat(title="Drift of each layer", z="drift", low=0.0,
                 note="Mean over severities; 100%: as far as between two different images."),
            Heat(title="Drift of the untrained twins", z="twin_drift", low=0.0),
        ]  # fmt: skip
    for sweep in SWEEPS:
        panels += _sweep_panels(finding, name, sweep)
    if "pictures" in finding:
        panels.append(Grid(title="The first image, corrupted", z="pictures", across="severity", down="corruption", each=False))
    return panels


def _sweep_panels(finding: Finding, name: str, sweep: str) -> list[Panel]:
    """The curve of one sweep, and what it does to the first image."""
    panels, title = list[Panel](), sweep.replace("_", " ")
    if name and f"{name}/{sweep}" in finding:
        curves = dict.fromkeys((f"{name}/{sweep}", f"agreement/{sweep}"))
        panels.append(
            Curve(
                title=f"{name.capitalize()} by {title}", y=tuple(curves), x="amount", null=(f"twin_agreement/{sweep}",),
                log="" if SWEEPS[sweep][0] == 0 else "x", note="Grey: how often untrained twins keep their answer.",
            )
        )  # fmt: skip
    if f"pictures/{sweep}" in finding:
        panels.append(Grid(title=f"The first image by {title}", z=f"pictures/{sweep}", across="amount", each=False))
    return panels


def robustness_caveats(finding: Finding) -> list[str]:
    """What limits the interpretation, one sentence each."""
    lines = [
        "These are not results on ImageNet-C: other images, and corruptions by our own code at the size that the network sees."
    ]
    name, few = measured_name(finding), finding.facts["images"]
    if name == "accuracy":
        lines.append(f"Outputs were matched to the classes {finding.facts['class']}.")
        if few < FEW:
            lines.append(
                f"The calibration error of {plural(few, 'image')} is too large: bins of few images are right by chance."
            )
    if name == "agreement":
        lines.append("Keeping an answer is not being right: a network that always predicts one class keeps all of them.")
    if finding.facts["twin_classes"] == 1:
        lines.append("Each untrained twin predicts one class for all images, so it keeps its answer whatever happens.")
    if "corruption_error" in finding and name == "accuracy":
        if np.isfinite(finding["corruption_error"].values).any():
            lines.append(
                "mCE divides by AlexNet's errors on ImageNet-C; on other classes it is a weighting of corruptions, no comparison."
            )
        else:
            lines.append("mCE is not given: it needs all five severities of a corruption.")
    if finding.facts["twins"] == 1:
        lines.append("One untrained twin only, since there is one image or one was asked for.")
    if finding.trained is False:
        lines.insert(0, "These weights are untrained.")
    return lines
