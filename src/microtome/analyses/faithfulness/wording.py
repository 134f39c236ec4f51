"""Key numbers, headline, panels and caveats of a finding of `faithfulness`."""

from typing import Literal

import numpy as np

from microtome.errors import option_hint
from microtome.finding import Finding
from microtome.instruments.faithfulness.ranking import BETTER
from microtome.instruments.untrained_twins import twins_text
from microtome.key_numbers import KeyNumber, format_value
from microtome.numerics.statistics.medians import MIN_RUNS
from microtome.panels import Bars, Curve, Panel, Table
from microtome.prose import agree, count_of, name_list, plural

LEAD = "gain over the best baseline"
MAX_CORRELATION = 0.5  # with the map of a network drawn anew, above which a method is named
COLUMNS = (
    "gain", "gain_low", "gain_high", "verdict", "beside_best", "deletion", "insertion", "road", "drop", "increase", "sensitivity", "swap",
    "randomised", "pointing", "lift",
)  # fmt: skip


def best_title(finding: Finding) -> str:
    """The title of the best method."""
    return str(finding.facts["titles"][finding.facts["best"]])


def baseline_title(finding: Finding) -> str:
    """The title of the best baseline, in a sentence."""
    return str(finding.facts["titles"][finding.facts["baseline"]]).lower()


def faithfulness_key_numbers(finding: Finding) -> list[KeyNumber]:
    """The gain of the best method, how many methods beat all baselines, and the areas of the best."""
    best, baseline = best_title(finding), str(finding.facts["titles"][finding.facts["baseline"]])
    gain, low, high = (100 * float(finding[name].sel({"method": best})) for name in ("gain", "gain_low", "gain_high"))
    twin = finding["twin_gain"].values
    known = twin[~np.isnan(twin)]

    def area(kind: str, better: Literal["higher", "lower"]) -> KeyNumber:
        own, other = (float(finding[kind].sel({"method": title})) for title in (best, baseline))
        return KeyNumber(name=f"{kind} area", value=own, baseline=other, baseline_name=baseline.lower(), better=better, at=best)

    return [
        KeyNumber(
            name=LEAD, value=gain, low=low, high=high, has_interval=True, unit="points", at=best, better="higher",
            baseline=100 * float(np.median(known)) if len(known) else np.nan, baseline_name=twins_text(finding.facts["twins"]),
        ),
        KeyNumber(name="methods better than all baselines", value=_winners(finding), better="higher"),
        KeyNumber(name="methods compared", value=len(finding.facts["standings"])),
        area("deletion", "lower"),
        area("insertion", "higher"),
        KeyNumber(name="images", value=finding["score_by_image"].sizes["image"]),
    ]  # fmt: skip


def _winners(finding: Finding) -> int:
    return sum(standing["verdict"] == BETTER for standing in finding.facts["standings"].values())


def faithfulness_headline(finding: Finding) -> str:
    gain, best, count = finding.key(LEAD), best_title(finding), len(finding.facts["standings"])
    winners = count_of(_winners(finding), count, "method")
    if np.isnan(gain.low):
        return f"{best} gains most over the {baseline_title(finding)}: {gain.text}; too few images for a verdict."
    verb = agree(_winners(finding), "beats", "beat")
    return f"{best} is most faithful, {gain.text} above the {baseline_title(finding)}; {winners} {verb} all baselines."


def faithfulness_panels(finding: Finding) -> list[Panel]:
    own = f"Median over images; bars: the order statistics that enclose it in 95% of samples. Baseline: the {baseline_title(finding)}."
    columns = tuple(name for name in COLUMNS if name in finding)
    return [
        Bars(title="Gain over the best baseline", note=own, y=("gain",), x="method", low="gain_low", high="gain_high"),
        Table(title="Ranking of the methods", rows="method", columns=columns),
        Curve(
            title="Deletion", y=("deletion_curve",), x="fraction", by="method",
            note="Probability of the class as the hottest patches are removed. Lower is better.",
        ),
        Curve(
            title="Insertion", y=("insertion_curve",), x="fraction", by="method",
            note="Probability of the class as the hottest patches come back. Higher is better.",
        ),
        Curve(
            title="Weights drawn anew from the head downwards", y=("cascade",), x="stage", by="method",
            note="Rank correlation with the map of the trained network. A map that stays does not depend on what was learnt.",
        ),
        Table(title="Low end of the gain over each baseline", rows="method", columns=("least_gain",)),
    ]  # fmt: skip


def faithfulness_caveats(finding: Finding) -> list[str]:
    facts, caveats = finding.facts, list[str]()
    images = finding["score_by_image"].sizes["image"]
    if images < MIN_RUNS:
        caveats.append(f"{plural(images, 'image')} give no verdict; {MIN_RUNS} are needed: {option_hint('count', 12)}.")
    warned = [str(facts["titles"][name]) for name, standing in facts["standings"].items() if standing["warns"]]
    if warned:
        caveats.append(f"In the median no better than a baseline, so their maps carry a warning: {name_list(warned, 20)}.")
    kept = [
        str(facts["titles"][name])
        for name in facts["standings"]
        if float(finding["randomised"].sel({"method": facts["titles"][name]})) > MAX_CORRELATION
    ]
    if kept:
        caveats.append(
            f"Hardly changed by weights drawn anew (rank correlation above {format_value(MAX_CORRELATION)}): {name_list(kept, 20)}."
        )
    caveats.append(
        f"Removed pixels are replaced by {FILLS[finding.options['colour']]}, in patches of {facts['patch_px']} px; another fill can give "
        "another order of close methods."
    )
    caveats.append("The interval of the best method does not pay for its choice among several.")
    return caveats


FILLS = {"blur": "the blurred image", "mean": "the mean colour of the image", "grey": "mid-grey"}
