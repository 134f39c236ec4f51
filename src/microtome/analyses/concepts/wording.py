"""The key numbers, the sentence, the figures and the caveats of `concepts`."""

import numpy as np

from microtome.analyses.concepts.arrays import ABOVE, BELOW
from microtome.finding import Finding
from microtome.instruments.untrained_twins import NO_VERDICT
from microtome.key_numbers import FRACTION, KeyNumber, format_value
from microtome.panels import Bars, Panel, Table
from microtome.prose import count_of, name_list, plural

FEW = 20  # examples or class images
SCORE, RANDOM_SCORE, ALIGNMENT = "TCAV score", "TCAV score, random concepts", "alignment of gradient and concept"
ACCURACY = "accuracy of the concept vector"


def clearest(finding: Finding) -> tuple[int, int]:
    """Concept and layer of the key numbers: a verdict of above or below first, then the smallest p value."""
    p = np.nan_to_num(finding["p"].values, nan=2.0)
    rank = p + 4.0 * ~np.isin(finding["verdict"].values.astype(str), [ABOVE, BELOW])
    row, col = np.unravel_index(int(np.argmin(rank)), rank.shape)
    return int(row), int(col)


def concept_numbers(finding: Finding) -> list[KeyNumber]:
    """The numbers of the clearest concept and layer, and how many layers stand apart from random concepts."""
    at = clearest(finding)
    place = f"{finding['score'].concept.values[at[0]]}, {finding['score'].layer.values[at[1]]}"

    def value(name: str) -> float:
        return float(finding[name].values[at])

    twins = "untrained twins"
    verdicts = finding["verdict"].values.astype(str)
    unknown = bool((verdicts == NO_VERDICT).all())
    return [
        KeyNumber(
            name=SCORE, value=value("score"), unit=FRACTION, low=value("score_low"), high=value("score_high"), has_interval=True,
            baseline=value("twin_score"), baseline_name=twins, at=place,
        ),
        KeyNumber(name=RANDOM_SCORE, value=value("random_score"), unit=FRACTION, at=place),
        KeyNumber(
            name=ALIGNMENT, value=value("alignment"), unit="cosine", low=value("alignment_low"), high=value("alignment_high"),
            has_interval=True, baseline=value("random_alignment"), baseline_name="random concepts", at=place,
        ),
        KeyNumber(
            name=ACCURACY, value=value("accuracy"), unit=FRACTION, baseline=value("random_accuracy"), baseline_name="random concepts",
            at=place,
        ),
        KeyNumber(name="above random concepts", value=np.nan if unknown else float((verdicts == ABOVE).mean()), unit=FRACTION),
        KeyNumber(name="below random concepts", value=np.nan if unknown else float((verdicts == BELOW).mean()), unit=FRACTION),
    ]  # fmt: skip


def concept_headline(finding: Finding) -> str:
    """One sentence: the clearest concept and layer, against random concepts."""
    row, col = clearest(finding)
    verdicts = finding["verdict"].values.astype(str)
    concept, layer = (str(finding["score"].coords[dim].values[at]) for dim, at in (("concept", row), ("layer", col)))
    score, random = (format_value(float(finding[name].values[row, col]), FRACTION) for name in ("score", "random_score"))
    numbers = f"TCAV score {score}, random concepts {random}"
    verdict = verdicts[row, col]
    if verdict in (ABOVE, BELOW):
        verb = "raises" if verdict == ABOVE else "lowers"
        return f"The concept '{concept}' {verb} the class score at {layer}: {numbers}."
    if (verdicts == NO_VERDICT).all():
        return f"No concept vector is better than a random one, so no verdict; {numbers}."
    return f"No concept is distinguishable from random concepts; '{concept}' at {layer}: {numbers}."


def concept_panels() -> list[Panel]:
    """Scores and alignments with their intervals, and tables of verdicts, p values, random concepts and twins."""
    note = "Interval: over counterpart sets. Grey: random concepts."
    paper = "Its scores share the examples, so random images are often called significant; no verdict rests on it."
    return [
        Bars(
            title="Alignment of gradient and concept", y=("alignment",), x="layer", by="concept", low="alignment_low",
            high="alignment_high", null=("random_alignment",), note=note,
        ),
        Bars(
            title="TCAV score", y=("score",), x="layer", by="concept", low="score_low", high="score_high",
            null=("random_score",), note=note,
        ),
        Bars(
            title="Accuracy of the concept vector", y=("accuracy",), x="layer", by="concept", null=("random_accuracy",),
            note="On the half of the images that it was not fitted to. Grey: random concepts.",
        ),
        Table(title="Verdicts", rows="concept", columns=("verdict",)),
        Table(title="p of the alignment, Holm", rows="concept", columns=("p_adjusted",)),
        Table(title="p of the score, test of the paper", rows="concept", columns=("paper_p",), note=paper),
        Table(title="TCAV score, untrained twins", rows="concept", columns=("twin_score",)),
        Table(title="Alignment, untrained twins", rows="concept", columns=("twin_alignment",)),
    ]  # fmt: skip


def concept_caveats(finding: Finding) -> list[str]:
    """What limits the interpretation: what is always so, then what is so of these images and layers."""
    facts = finding.facts
    lines = [
        "A vector holds all in which the examples differ from the other images, their source and background too.",
        "The key numbers are those of the clearest of all concepts and layers.",
        "Intervals are over counterpart sets: other examples of the concept, or other images of the class, would add to them.",
    ]
    if finding.trained is False:
        lines.insert(0, "These weights are untrained.")
    if not facts["labels"]:
        lines.append("The images of a class are those predicted as it, since no label could be matched.")
    if facts["pooled"]:
        lines.append(f"Averaged over positions, since too wide to be flattened: {name_list(list(facts['pooled']))}.")
    verdicts = finding["verdict"].values.astype(str)
    if missing := int((verdicts == NO_VERDICT).sum()):
        many = count_of(missing, verdicts.size, "concept vector")
        lines.append(
            f"No verdict for {many}: no better than random ones on images that they were not fitted to, or random ones do not vary."
        )
    small = [
        f"{name} ({number})" for key in ("examples", "class_images") for name, number in facts[key].items() if number < FEW
    ]
    if small:
        lines.append(
            f"Fewer than {plural(FEW, 'image')}, so little is distinguishable from random concepts: {name_list(small)}."
        )
    for title, size in facts["pool"].items():
        own = facts["examples"].get(title) or facts["examples"].get(title.partition(" for ")[0], 0)
        if size < 4 * own:
            lines.append(f"Counterparts of {title} are drawn from only {plural(size, 'image')}, so they overlap much.")
    return lines
