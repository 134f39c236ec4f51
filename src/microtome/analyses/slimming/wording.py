"""What a finding of `slimming` says: key numbers, headline, panels and caveats."""

from collections.abc import Sequence
from math import nan

import numpy as np

from microtome.analyses.slimming.arrays import VERDICTS
from microtome.finding import Finding
from microtome.key_numbers import FRACTION, KeyNumber, format_value
from microtome.panels import Panel, Scatter, Table
from microtome.prose import count_of, name_list, plural

PENULTIMATE = "loss without the last but one block"
SMALLEST = "smallest loss of one block"
CHOSEN = "loss without the blocks of the search"
REPAIRS = {
    "none": "no repair",
    "norms": "statistics of the norms estimated again",
    "linear": "a linear map in the place of each removed block",
    "fine-tune": "a short fine-tune",
}


def slimming_key_numbers(finding: Finding) -> Sequence[KeyNumber]:
    """The last but one block against the best one, what the search came to, and how far block influence can be trusted."""
    name, repair = chosen_candidate(finding)
    within = _single(finding) & (finding["verdict"].values[:, 0] == VERDICTS[0])
    correlation, low, high = (float(finding[f"correlation{end}"].values[0]) for end in ("", "_low", "_high"))
    searched = [
        _loss_number(finding, CHOSEN, name, repair),
        KeyNumber(
            name="latency without the blocks of the search", value=_at(finding, "latency", name), unit=FRACTION,
            low=_at(finding, "latency_low", name), high=_at(finding, "latency_high", name), has_interval=True, better="lower",
            at=_removed_text(finding, name),
        ),
    ]  # fmt: skip
    return [
        _loss_number(finding, PENULTIMATE, str(finding.facts["penultimate"])),
        _loss_number(finding, SMALLEST, best_block(finding)),
        KeyNumber(name="blocks shown to cost no more than the budget alone", value=int(within.sum()), better="higher"),
        *(searched if name else []),
        KeyNumber(
            name="rank correlation of block influence with the loss", value=correlation, low=low, high=high,
            has_interval=bool(np.isfinite(correlation)), better="higher",
        ),
    ]  # fmt: skip


def slimming_headline(finding: Finding) -> str:
    """The answer to the study's question: the last but one block against the block that is cheapest to remove."""
    penultimate, best = str(finding.facts["penultimate"]), finding.key(SMALLEST)
    if not best.at:
        return f"None of the {len(finding.facts['blocks'])} blocks can be removed with nothing in its place."
    least = _points(best.value)
    if penultimate == best.at:
        return f"The last but one block, {penultimate}, costs least to remove: {least} of accuracy."
    loss = finding.key(PENULTIMATE).value
    if np.isnan(loss):
        return f"The last but one block cannot be removed; removing {best.at} costs least, {least} of accuracy."
    return f"Removing the last but one block costs {_points(loss)} of accuracy; removing {best.at} costs {least}."


def slimming_panels(finding: Finding) -> Sequence[Panel]:
    """The study's question, losses beside savings, all candidates, repairs, and the predictors."""
    return [
        Table(
            title="Is the last but one block the right one to remove?", rows="measure",
            columns=("study_block", "study_loss", "study_low", "study_high", "study_parameters", "study_latency"),
            note="Accuracy lost against the full network, with a 95% interval; the search with its own repair, the others with none.",
        ),
        Scatter(
            title="Accuracy lost against latency", x="latency", y="plain_loss", low="plain_low", high="plain_high", group="kind",
            note="No repair. Lower left is better. A cut is compared with a probe at the network's end.",
        ),
        Scatter(
            title="Accuracy against latency: depth and width", x="latency", y="front_accuracy", group="front_kind",
            note=f"The full network: {format_value(float(finding.facts['full']), FRACTION)} "
            "at latency 1. On the front: no other network here is as good in "
                 "accuracy, latency, parameters and memory and better in one. Accuracy after the most thorough repair.",
        ),
        Table(
            title="Every smaller network", rows="candidate",
            columns=("kind", "from_end", "removed", "parameters_saved", "operations_saved", "memory_saved", "latency", "latency_low",
                     "latency_high", "plain_loss", "plain_low", "plain_high", "front_accuracy", "front_repair", "on_front"),
        ),
        Table(title="Accuracy lost after each repair", rows="candidate", columns=("loss",),
              note="Columns: " + "; ".join(f"{name}: {REPAIRS[name]}" for name in map(str, finding["loss"].repair.values)) + "."),
        Table(title="Accuracy after each repair", rows="candidate", columns=("accuracy",)),
        Table(title="Against the budget", rows="candidate", columns=("verdict",),
              note="Within: the whole 95% interval of the loss is at most the budget. Undecided is neither."),
        Table(
            title="Do the cheap measures predict the loss?", rows="measure",
            columns=("correlation", "correlation_low", "correlation_high", "pairs"),
            note="Rank correlation over the blocks removed alone, without repair; unknown for fewer than 6 blocks.",
        ),
    ]  # fmt: skip


def slimming_caveats(finding: Finding) -> Sequence[str]:
    """What limits the interpretation."""
    facts, images = finding.facts, finding.facts["images"]
    head = (
        "the network's own head" if facts["by_head"] else "a linear probe on what the head reads, since its classes are others"
    )
    refused = list(facts["refused"])
    singles = int((_single(finding) & np.isfinite(finding["plain_loss"].values)).sum())
    return [
        f"Accuracy is that of {head}, on {plural(images['reported'], 'image')}; {_other_images(images)}.",
        *([f"Not removed with nothing in its place, since what follows would not fit: {name_list(refused, 8)}."] if refused else []),
        *([f"Not pruned: {'; '.join(facts['widths_refused'])}."] if facts["widths_refused"] else []),
        *(["Channels are pruned by magnitude, without training other than the repairs."]
          if (finding["kind"].values == "width").any() else []),
        "The Pareto front compares estimates; it does not show that its members differ.",
        *([f"{plural(singles, 'block')} removed alone are not enough to say how well cheap measures predict the loss."]
          if singles < 6 else []),
        *([_search_text(finding)] if facts["search"] != "none" else []),
        "Intervals are of one candidate each: of many candidates, the smallest loss is likely to look smaller than it is.",
        "An interval that holds 0 does not show that nothing is lost.",
        *([f"The whole network ran for some candidates: {facts['whole_passes'][0]}."] if facts["whole_passes"] else []),
        "Latency holds for this machine; every network was timed once in each round, in turn.",
    ]  # fmt: skip


def _other_images(images: dict[str, int]) -> str:
    if judged := images.get("judged", 0):
        return f"{images['chosen']} others served to repair by, and {judged} to choose by"
    return f"{images['chosen']} others served to repair and to choose by"


def best_block(finding: Finding) -> str:
    """The single block whose removal loses least without repair; empty where none can be removed."""
    single = _single(finding) & np.isfinite(finding["plain_loss"].values)
    if not single.any():
        return ""
    losses = np.where(single, finding["plain_loss"].values, np.inf)
    return str(finding["plain_loss"].candidate.values[int(np.argmin(losses))])


def chosen_candidate(finding: Finding) -> tuple[str, str]:
    """The candidate that the search came to and the repair it was chosen with; empty where the search removed nothing."""
    facts = finding.facts
    return (str(facts["chosen_candidate"]), str(facts["search_repair"])) if facts["chosen_set"] else ("", "none")


def _points(loss: float) -> str:
    """A loss of accuracy in percentage points."""
    number = f"{100 * loss:.1f}".removeprefix("-") if abs(loss) < 0.0005 else f"{100 * loss:.1f}"
    return f"{number} points"


def _search_text(finding: Finding) -> str:
    facts = finding.facts
    count = count_of(len(facts["chosen_set"]), len(facts["blocks"]), "block")
    return (
        f"The {facts['search']} search removed {count} and ended because {facts['ended']}; it judged with "
        f"{REPAIRS[facts['search_repair']]}."
    )


def _single(finding: Finding) -> np.ndarray:
    return finding["kind"].values == "block"


def _at(finding: Finding, name: str, candidate: str, repair: str = "") -> float:
    """A value of one candidate, NaN where it is none of the finding's."""
    values = finding[name]
    if candidate not in set(map(str, values.candidate.values)):
        return nan
    place = {"candidate": candidate, **({"repair": repair} if repair else {})}
    return float(values.sel(place))


def _loss_number(finding: Finding, name: str, candidate: str, repair: str = "none") -> KeyNumber:
    value, low, high = (_at(finding, array, candidate, repair) for array in ("loss", "loss_low", "loss_high"))
    known = bool(np.isfinite(value))
    place = candidate if known and "+" not in candidate else _removed_text(finding, candidate) if known else ""
    return KeyNumber(name=name, value=value, low=low, high=high, has_interval=known, unit=FRACTION, better="lower", at=place)


def _removed_text(finding: Finding, candidate: str) -> str:
    count = _at(finding, "removed", candidate)
    return "" if np.isnan(count) else f"{plural(int(count), 'block')} removed"
