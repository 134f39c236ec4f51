"""Debiased CKA between the layers of two networks, beside untrained twins of both.

Two architectures, or two checkpoints of one: every layer of the first network is compared with every layer of the second, and the
best match is named for each, in both directions. Every network sees the images in its own preprocessing. CKA ignores rotation and
scale, so the networks need not have the same width, and the order of the images does not matter. As in `similarity`, the unbiased
HSIC gives no upward bias for few images; all pairs of images are compared while the features of both networks take at most 512 MB,
and from 64 images on each value has a 95% interval, Student's on a jackknife over images.

Layers of two untrained networks are similar too, since both keep much of the image. So untrained twins of both networks, drawn with
different seeds, are compared in the same way: what they give is due to the architectures alone. The best match of a twin is its own
best one, chosen among as many layers.

The second network is named by `to`: in the shell `microtome cross_similarity FIRST SECOND IMAGES`, or in a run of several networks
`microtome analyze FIRST SECOND IMAGES --set cross_similarity.to=SECOND`; in Python a name or an open specimen. Without it, this
analysis is skipped.

Source: linear CKA, Kornblith et al. 2019, arXiv:1905.00414 (sec. 6: layers that correspond across networks); unbiased HSIC, Song et
al. 2012; networks of different architecture, Raghu et al. 2021, arXiv:2108.08810; jackknife, Tukey 1958.
"""

from collections.abc import Sequence
from functools import cached_property
from math import nan
from typing import Any, ClassVar, final

import numpy as np

from microtome.analyses.cross_similarity.matches import match_arrays
from microtome.analyses.cross_similarity.paired_scan import LayerPair, compare_layers
from microtome.analysis import Analysis, Measurement, option, twin_indices
from microtome.errors import UnknownName, Unmeasurable, hint
from microtome.finding import Finding, array
from microtome.images import Images
from microtome.instruments.image_pairs import MIN_COUNT
from microtome.instruments.layer_cka import cka_caveats, reason_for_no_interval
from microtome.instruments.untrained_twins import (
    TWINS,
    VERDICTS,
    over_twins,
    reason_for_no_verdict,
    twin_count,
    untrained_twins,
)
from microtome.key_numbers import FRACTION, KeyNumber
from microtome.opening.opening import open as open_specimen
from microtome.panels import Curve, Heat, Panel, Question, Table
from microtome.prose import plural
from microtome.scan import Pace, discard_tally
from microtome.specimen import Specimen
from microtome.workload import Effort, Workload

LAST = "best match of the last layer"


@final
class CrossSimilarity(Analysis):
    """CKA between all layers of two networks."""

    question: ClassVar[Question] = "understand"
    title: ClassVar[str] = "Similarity between two networks"
    rank: ClassVar[int] = 22
    effort: ClassVar[Effort] = "quick"
    revision: ClassVar[int] = 2  # 2: verdicts of positive values in both scales
    with_twin: ClassVar[bool] = True
    command: ClassVar[str] = "microtome.cli.pairing:with_second_network"

    to: str | Specimen = option("", "second network, by name; in Python a specimen as well")
    at: tuple[str, ...] = option(("blocks",), "layers to compare: names, globs or aliases")
    to_at: tuple[str, ...] = option((), "layers of the second network; empty: those that `at` names there")

    def __post_init__(self) -> None:
        if isinstance(self.to, Specimen):
            object.__setattr__(self, "second", self.to)  # where the cached property looks
            object.__setattr__(self, "to", self.to.name)
        super().__post_init__()

    @cached_property
    def second(self) -> Specimen:
        """The second network, opened when first needed."""
        return open_specimen(str(self.to))

    def refusal(self, specimen: Specimen, images: Images | None) -> str:
        if not self.to:
            return "it needs a second network; name it: " + hint(
                "microtome cross_similarity FIRST SECOND IMAGES, or in analyze --set cross_similarity.to=SECOND", "to='SECOND'"
            )
        if reason := Analysis.refusal(self, specimen, images):
            return reason
        if len(images or ()) < MIN_COUNT:
            return f"it needs at least {MIN_COUNT} images and was given {len(images or ())}"
        if (specimen.digest(), specimen.recipe) == (self.second.digest(), self.second.recipe):
            return (
                f"{self.to} is this network itself, with the same weights and recipe, so every layer would match itself; "
                "name another network or checkpoint"
            )
        return ""

    def extra_key(self) -> str:
        return f"{self.second.digest()} {self.second.recipe.json()}" if self.to else ""

    def workload(self, specimen: Specimen, images: Images | None) -> Workload:
        count = len(images or ())
        twins = specimen.twin_count * min(count, specimen.twin_images)
        return Workload(forward=2.0 * (count + twins), twins=2 * specimen.twin_count, seconds=1.0)

    def measure(self, specimen: Specimen, images: Images | None, pace: Pace) -> Measurement:
        assert images is not None  # `refusal` has refused before
        second = self.second.with_twins(specimen.twin_count).on(specimen.device)
        pace = pace.fit_to(second)
        layers = _layer_names(specimen, self.at), _layer_names(second, self.to_at or self.at)
        pair = compare_layers(
            (specimen, second), layers, images, pace, f"{specimen.name} and {second.name}", self._key(specimen, images, 0)
        )
        some = images.take(twin_indices(specimen, images))
        twins: list[LayerPair] = []
        others = untrained_twins(second, images, specimen.twin_count + 1)  # two checkpoints have the same twin under one seed
        for number, both in enumerate(zip(untrained_twins(specimen, images), others, strict=True), 1):
            what = f"untrained twins {number} of {specimen.twin_count}"
            twins.append(compare_layers(both, layers, some, pace, what, self._key(specimen, images, number)))
        for number in range(specimen.twin_count + 1):
            discard_tally(pace, self._key(specimen, images, number))
        unknown = ""
        if not np.isfinite(pair.cka.low).any() and np.isfinite(pair.cka.value).any():
            unknown = reason_for_no_interval(pair.count, pair.all_pairs)
        reason = reason_for_no_verdict(specimen, images) or reason_for_no_verdict(second, images) or unknown
        facts = {
            "second": _facts(second), "no_verdict": reason, "no_interval": unknown, "all_pairs": pair.all_pairs,
            "left_out": len(images) - pair.count,
        }  # fmt: skip
        return Measurement(_arrays(layers, pair, twins, reason), facts)

    def _key(self, specimen: Specimen, images: Images, number: int) -> list[str]:
        return [self.key(specimen, images, str(specimen.device)), str(number)]

    def key_numbers(self, finding: Finding) -> Sequence[KeyNumber]:
        cka, best, twin_best = finding["cka"], finding["best_cka"].values, finding["twin_best_cka"].values
        ends = [float(finding[name].values[-1, -1]) for name in ("cka", "cka_low", "cka_high", "twin_cka")]
        last, match = str(cka.layer.values[-1]), str(finding["best"].values[-1])
        low, high = (float(finding[name].values[-1]) for name in ("best_low", "best_high"))
        above = nan if finding.facts["no_verdict"] else float((finding["against_twins"].values == VERDICTS[1]).mean())
        return [
            KeyNumber(
                name=LAST, value=float(best[-1]), low=low, high=high, baseline=float(twin_best[-1]), baseline_name=TWINS,
                at=f"{last} → {match}" if match else last,
            ),
            KeyNumber(
                name="CKA of the last layers", value=ends[0], low=ends[1], high=ends[2], baseline=ends[3], baseline_name=TWINS,
                at=f"{last} → {cka.layer_.values[-1]}",
            ),
            KeyNumber(name="mean CKA of best matches", value=_mean(best), baseline=_mean(twin_best), baseline_name=TWINS),
            KeyNumber(name="best matches more similar than in all untrained twins", value=above, unit=FRACTION),
            KeyNumber(name="images", value=int(finding["count"][0])),
        ]  # fmt: skip

    def headline(self, finding: Finding) -> str:
        last, images = finding.key(LAST), plural(int(finding["count"][0]), "image")
        if np.isnan(last.value):
            return f"The last layer does not vary between these {images}, so it has no match."
        layer, match = last.at.split(" → ")
        twins = last.baseline_text or "unknown"
        second = finding.facts["second"]["name"]
        return f"{layer} is most similar to {match} of {second}: CKA {last.text} over {images}; untrained twins {twins}."

    def panels(self, finding: Finding) -> Sequence[Panel]:
        first, second = finding.specimen, str(finding.facts["second"]["name"])
        rows = f"Rows: layers of {first}; columns: layers of {second}."
        return [
            Heat(title="CKA between the layers of both", z="cka", low=0.0, high=1.0, note=f"{rows} 1: equal up to rotation and scale."),
            Heat(title="CKA of the untrained twins", z="twin_cka", low=0.0, high=1.0,
                 note=f"{rows} Random weights, mean of {twin_count(finding.origin)} pairs."),
            Curve(
                title="CKA of each layer with its best match", y=("best_cka",), x="layer", low="best_low", high="best_high",
                null=("twin_best_cka",), note=f"Layers of {first}. Dashed: the untrained twins with their own best matches.",
            ),
            Table(
                title=f"Best match in {second}", rows="layer",
                columns=("best", "best_cka", "best_low", "best_high", "twin_best_cka", "against_twins"),
                note=f"Rows: layers of {first}. The interval is that of the pair; it does not include the choice of the match.",
            ),
            Table(
                title=f"Best match in {first}", rows="layer_",
                columns=("back", "back_cka", "back_low", "back_high", "twin_back_cka", "back_against_twins"),
                note=f"Rows: layers of {second}.",
            ),
        ]  # fmt: skip

    def caveats(self, finding: Finding) -> Sequence[str]:
        facts, second = finding.facts, finding.facts["second"]
        caveats = [
            "CKA follows the strongest directions of the features and can be moved by a few outliers without any change of function "
            "(Davari et al. 2022, arXiv:2210.16156).",
            "A best match is the largest of several values on the same images, so it is slightly too high; so are those of the twins.",
        ]
        both = {finding.specimen: finding.trained, str(second["name"]): second["trained"]}
        untrained = [name for name, trained in both.items() if trained is False]
        if untrained:
            caveats.insert(0, f"The weights of {' and of '.join(untrained)} are untrained.")
        elif reason := facts["no_verdict"]:
            caveats.insert(0, f"No verdict: {reason}.")
        count, twins = (int(number) for number in finding["count"].values)
        if twins < count:
            caveats.append(
                f"Each pair of untrained twins saw {twins} of the {plural(count, 'image')}, of each class in proportion."
            )
        return [*caveats, *cka_caveats(facts)]


def _layer_names(network: Specimen, patterns: Sequence[str]) -> list[str]:
    """The layers that the patterns name, in execution order. Raises UnknownName, with the network's name."""
    try:
        return network.find(patterns)
    except UnknownName as error:
        raise UnknownName(f"{network.name}: {error}") from None
    except Unmeasurable as error:
        raise Unmeasurable(f"{network.name}: {error}") from None


def _facts(second: Specimen) -> dict[str, Any]:
    """What a finding about another network records of the second one."""
    return {name: second.json()[name] for name in ("name", "weights", "trained", "digest", "recipe", "opened_as", "notes")}


def _arrays(layers: tuple[list[str], list[str]], pair: LayerPair, twins: Sequence[LayerPair], reason: str) -> dict[str, Any]:
    both = {"layer": layers[0], "layer_": layers[1]}
    dims = ("layer", "layer_")
    null = [{"twin_cka": array(twin.cka.value, dims, "1", both, "CKA of the untrained twins")} for twin in twins]
    return {
        "cka": array(pair.cka.value, dims, "1", both, "CKA"),
        "cka_error": array(pair.cka.error, dims, "1", both, "standard error"),
        "cka_low": array(pair.cka.low, dims, "1", both),
        "cka_high": array(pair.cka.high, dims, "1", both),
        **over_twins(null),
        **match_arrays(layers, pair.cka, [twin.cka.value for twin in twins], reason),
        "count": array([pair.count, twins[0].count], ("source",), "images", {"source": ["networks", "untrained twins"]}),
    }


def _mean(values: np.ndarray[Any, Any]) -> float:
    return float(np.nanmean(values)) if np.isfinite(values).any() else nan
