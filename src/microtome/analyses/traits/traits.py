"""Eight hypotheses on deeper, wider and attention networks, each with a verdict here.

The study names what families of backbones are good at from images and histograms of six networks. Here each of its claims is one
contrast with an effect, a 95% interval and a verdict: it supports the claim where the interval lies beyond the null on the claimed side,
contradicts it where it lies on the other, and is not significant where it holds the null. Not significant never means equal. The rules,
fixed before any measurement:

H1, area that holds 50% and 90% of the map's energy, wider minus deeper, over images that all of them classify correctly. H2, lift and
accuracy, deeper minus wider and either minus attention on small objects, wider minus deeper on large ones, and wider minus deeper in the
gain per doubling of the area. H3, relative loss of accuracy and lift from the third of the images with least clutter to that with most,
deeper and wider minus attention. H4 makes no claim that a number decides, so it has no verdict. H5, the median W1/σ between the last three
layers; H6, 1 - CKA between them and the influence of the last three blocks: less than in untrained twins for deeper and attention
networks, more for wider ones, and more in wider than in the others, each beside its own twins. H7 and H8 are decided by removing a block
alone; at most one point of accuracy lost counts as none.

A family is the mean of its networks here. Intervals are over images (paired: the same for both sides) or over untrained twins, never over
networks of a family, so every verdict is on these models, not on families. Each hypothesis keeps 95% over all of its claims, each table of
pairs over its pairs (Bonferroni). The row of a hypothesis shows the first of its claims that can be measured.

Source: Wu & Lee 2022, "Weight Distribution of Neural Networks in Computer Vision"; studentised bootstrap, Hall 1988; bounded means, Gaffke
2005; prediction of a further twin, Geisser 1993; the hypotheses' wording, measures and rules are ours.
"""

from collections.abc import Sequence
from typing import Any, final

import numpy as np
import xarray as xr

from microtome.analyses.traits.claims import HYPOTHESES, VERDICT_WORDS, Judgement, leading_claim
from microtome.analyses.traits.depth import describe_depth
from microtome.analyses.traits.image_claims import Borders, judge_families, judge_pairs
from microtome.analyses.traits.material import gather_study
from microtome.analyses.traits.remade_figures import figure_panels, remake_figures
from microtome.analyses.traits.removal import judge_removal
from microtome.analyses.traits.strengths import family_lines
from microtome.analyses.traits.twin_claims import judge_last_layers, judge_networks
from microtome.analyses.traits.wording import confounders, study_caveats
from microtome.analysis import Collation, Measurement, group_by_specimen, option
from microtome.errors import BadOption
from microtome.finding import Finding, array
from microtome.key_numbers import KeyNumber
from microtome.panels import Panel, Table
from microtome.prose import plural
from microtome.specimen.families import FAMILIES

COLUMNS = ("verdict", "effect", "low", "high", "unit", "n", "evidence", "models")


@final
class Traits(Collation):
    """What deeper, wider and attention networks are good at: eight hypotheses, tested."""

    needs = "findings"
    question = "choose"
    title = "Traits of the families"
    rank = 11
    effort = "quick"

    small: float = option(0.04, "area below which an object counts as small, fraction of the image", low=0.0, high=1.0)
    large: float = option(0.16, "area from which an object counts as large, fraction of the image", low=0.0, high=1.0)
    seed: int = option(0, "seed of the bootstrap over images", low=0)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.small > self.large:
            raise BadOption(
                f"traits: small objects end at {self.small:g} of the image and large ones begin at {self.large:g}; give a small that is "
                "at most large."
            )

    def collate(self, findings: Sequence[Finding]) -> Measurement:
        study = gather_study(group_by_specimen(findings, self.name()))
        borders = Borders(self.small, self.large, self.seed)
        families = [*judge_families(study, borders), *describe_depth(study), *judge_last_layers(study), *judge_removal(study)]
        families.sort(key=lambda each: each.hypothesis)
        pairs = [*judge_pairs(study, borders), *judge_networks(study)]
        pairs.sort(key=lambda each: each.hypothesis)
        drawn, missing = remake_figures(study.networks)
        arrays = _claim_arrays("", "claim", families) | _hypothesis_arrays(families) | _family_arrays(families) | drawn
        if pairs:
            arrays |= _claim_arrays("pair_", "pair", pairs)
        facts = {
            "networks": {network.name: network.family for network in study.networks},
            "left_out": study.left_out,
            "images": len(study.area),
            "confounders": confounders(study),
            "missing_figures": missing,
        }
        return Measurement(arrays, facts)

    def key_numbers(self, finding: Finding) -> Sequence[KeyNumber]:
        verdicts = finding["hypothesis_verdict"].values
        counts = [KeyNumber(name=f"hypotheses {_word(word)}", value=int((verdicts == word).sum())) for word in VERDICT_WORDS]
        return [
            *counts,
            KeyNumber(name="networks studied", value=len(finding.facts["networks"])),
            KeyNumber(name="images", value=finding.facts["images"]),
        ]

    def headline(self, finding: Finding) -> str:
        counts = [
            f"{number.value:.0f} {number.name.removeprefix('hypotheses ')}"
            for number in finding.key_numbers[: len(VERDICT_WORDS)]
        ]
        if not finding.facts["networks"]:
            return "None of the eight hypotheses can be measured: there is no trained network of a known family."
        networks = plural(len(finding.facts["networks"]), "model")
        return f"Eight hypotheses on {networks}, not on families: {', '.join(counts)}."

    def panels(self, finding: Finding) -> Sequence[Panel]:
        panels: list[Panel] = [Table(
            title="The eight hypotheses", rows="criterion",
            columns=("hypothesis", *(f"hypothesis_{name}" for name in COLUMNS[:6]), "supporting", "contradicting",
                     *(f"hypothesis_{name}" for name in COLUMNS[6:7])),
            note="The first claim of each that can be measured; two columns count all of its claims.",
        )]  # fmt: skip
        panels += [
            Table(title=f"Strengths and weaknesses: {family}", rows="finding", columns=(f"{family}_kind", f"{family}_sentence"))
            for family in FAMILIES
            if f"{family}_kind" in finding
        ]
        panels += figure_panels(finding, dict(finding.facts["networks"]))
        panels.append(Table(
            title="All claims", rows="claim", columns=(*COLUMNS[:6], "reason"), note="Intervals of one hypothesis hold together at 95%."
        ))  # fmt: skip
        if "pair_verdict" in finding:
            panels.append(Table(
                title="Network by network", rows="pair", columns=tuple(f"pair_{name}" for name in (*COLUMNS[:-1], "reason")),
                note="Intervals of one claim hold together over its pairs at 95%.",
            ))  # fmt: skip
        return panels

    def caveats(self, finding: Finding) -> Sequence[str]:
        return study_caveats(finding)


def _word(verdict: str) -> str:
    """A verdict as the hypotheses have it: "supported", "not significant"."""
    return {"supports": "supported", "contradicts": "contradicted"}.get(verdict, verdict)


def _claim_arrays(prefix: str, dim: str, judgements: Sequence[Judgement]) -> dict[str, xr.DataArray]:
    """The columns of a table of claims; `prefix` begins the name of each."""
    coords = {dim: _distinct([each.statement for each in judgements])}
    return {f"{prefix}{name}": array(values, (dim,), unit, coords, title) for name, values, unit, title in _columns(judgements)}


def _columns(judgements: Sequence[Judgement]) -> list[tuple[str, Any, str, str]]:
    """Name, values, unit and title of each column."""

    def text(values: Sequence[str]) -> np.ndarray[Any, Any]:
        return np.array(list(values), dtype=object)

    return [
        ("verdict", text([each.verdict for each in judgements]), "text", "verdict"),
        ("effect", [each.interval.value for each in judgements], "see unit", "effect"),
        ("low", [each.interval.low for each in judgements], "see unit", "from"),
        ("high", [each.interval.high for each in judgements], "see unit", "to"),
        ("unit", text([each.unit for each in judgements]), "text", "unit"),
        ("n", [each.samples for each in judgements], "images or twins", "images or twins"),
        ("evidence", text([each.evidence for each in judgements]), "text", "finding of"),
        ("models", text([each.models for each in judgements]), "text", "models"),
        ("reason", text([each.reason for each in judgements]), "text", "why not measurable"),
    ]


def _hypothesis_arrays(judgements: Sequence[Judgement]) -> dict[str, xr.DataArray]:
    """The leading claim of each hypothesis, and how many of its claims support or contradict it."""
    of = {code: [each for each in judgements if each.hypothesis == code] for code in HYPOTHESES}
    leading = [leading_claim(own) for own in of.values()]
    coords = {"criterion": [f"{code}: {text}" for code, text in HYPOTHESES.items()]}
    claims = np.array([each.statement.partition(": ")[2] for each in leading], dtype=object)
    arrays = {"hypothesis": array(claims, ("criterion",), "text", coords, "decided by")}
    arrays |= {
        f"hypothesis_{name}": array(values, ("criterion",), unit, coords, title)
        for name, values, unit, title in _columns(leading)
    }
    for name, word in (("supporting", VERDICT_WORDS[0]), ("contradicting", VERDICT_WORDS[1])):
        counts = [sum(each.verdict == word for each in own) for own in of.values()]
        arrays[name] = array(counts, ("criterion",), "claims", coords, name)
    return arrays


def _family_arrays(judgements: Sequence[Judgement]) -> dict[str, xr.DataArray]:
    """The strengths and weaknesses of each family."""
    arrays: dict[str, xr.DataArray] = {}
    for family in FAMILIES:
        if lines := family_lines(judgements, family):
            coords = {"finding": _distinct([line.hypothesis for line in lines])}
            for name, values in (("kind", [line.kind for line in lines]), ("sentence", [line.sentence for line in lines])):
                arrays[f"{family}_{name}"] = array(np.array(values, dtype=object), ("finding",), "text", coords, name)
    return arrays


def _distinct(names: Sequence[str]) -> list[str]:
    """The names, with a number behind those that came before."""
    return [
        name if name not in names[:place] else f"{name} ({names[:place].count(name) + 1})" for place, name in enumerate(names)
    ]
