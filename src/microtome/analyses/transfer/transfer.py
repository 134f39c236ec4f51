"""LogME, GBC, other transferability scores and cross-validated probes of each layer.

LogME, GBC, PARC, H-score, TransRate, LEEP and NCE predict how well a backbone will serve the classes of the images, without training it,
from one forward pass. Each layer's features are averaged over
positions. LogME is the exact evidence, also where there are fewer images than features, where the popular routine is wrong. GBC is taken
on 64 principal axes, the H-score with shrunk covariance. LEEP and NCE need a network with classes of its own. k-NN, ridge and (if asked)
logistic probes answer every image by images of the other folds. A class of one image is left out; a probe takes classes with an image in
every fold.

Intervals of the scores are those of a jackknife over ten groups of images. The bootstrap, which repeats images, misses these scores
nearly always (docs/coverage.md).

Source: LogME, You et al. 2021, arXiv:2102.11005; GBC, Pándy et al. 2022, arXiv:2111.12780; PARC, Bolya et al. 2021, arXiv:2111.06977;
regularised H-score, Ibrahim et al. 2021, arXiv:2110.06893; TransRate, Huang et al. 2022, arXiv:2106.09362; LEEP, Nguyen et al. 2020,
arXiv:2002.12462; NCE, Tran et al. 2019, arXiv:1908.08142; jackknife, Tukey 1958. Averaging over positions, the axes of GBC and
all features for PARC are our choices.
"""

from collections.abc import Sequence
from math import nan
from typing import Any, final

import numpy as np
import torch

from microtome.analyses.transfer import wording
from microtome.analyses.transfer.scoring import (
    LEAST,
    PROBES,
    SCORES,
    SOURCE_SCORES,
    layer_scores,
    probe_accuracies,
    source_scores,
)
from microtome.analysis import BatchValues, Census, Measurement, option, shown_to_twins
from microtome.errors import Unmeasurable
from microtome.finding import Finding, array
from microtome.images import Images
from microtome.instruments.class_matching import why_no_head
from microtome.instruments.pooled_features import pool_once
from microtome.instruments.untrained_twins import TWINS, over_twins, reason_for_no_verdict, stack_twins, verdicts
from microtome.key_numbers import FRACTION, KeyNumber
from microtome.numerics.statistics.intervals import UNKNOWN_INTERVAL, Interval
from microtome.panels import Curve, Panel, Table
from microtome.scan import Batch
from microtome.specimen import Specimen
from microtome.tally import Bundle, Rows
from microtome.workload import Workload

Values = np.ndarray[Any, Any]
SECONDS_PER_SCORE = 2.2e-9  # on the reference machine, for each image³ of a layer: 22 eigendecompositions, 10 of each twin's


@final
class Transfer(Census[Bundle]):
    """Transferability scores and probes at every chosen layer."""

    needs = "labels"
    question = "choose"
    title = "Transferability"
    rank = 12
    effort = "standard"
    with_twin = True

    at: tuple[str, ...] = option(("stages", "last"), "layers to score: names, globs or aliases")
    count: int = option(1000, "largest number of images scored, of each class in proportion", low=20, quick=300, full=4000)
    folds: int = option(5, "number of cross-validation folds of the probes", low=2, high=50)
    logistic: bool = option(False, "logistic regression as well, on the same folds", full=True)
    seed: int = option(0, "seed of the folds and of the groups of the jackknife", low=0)

    def workload(self, specimen: Specimen, images: Images | None) -> Workload:
        count = min(len(images), self.count) if images is not None else 0
        return Workload(seconds=0.5 + len(self.layers_to_watch(specimen)) * (SECONDS_PER_SCORE * count**3 + 0.4))

    def layers_to_watch(self, specimen: Specimen) -> list[str]:
        return specimen.distinct(self.at)

    def empty_tally(self) -> Bundle:
        return Bundle({"rows": Rows()})

    def reduce(self, specimen: Specimen, name: str, value: torch.Tensor, seen: BatchValues) -> Any:
        return pool_once(specimen, name, value, seen)

    def add(self, specimen: Specimen, tally: Bundle, batch: Batch, seen: BatchValues, logits: torch.Tensor) -> None:
        labels = batch.labels if batch.labels is not None else np.full(len(batch.index), -1)
        columns = {"labels": labels, **{f"at/{name}": value for name, value in seen.items()}}
        if not why_no_head(specimen):
            scores = specimen.class_scores(logits).detach().double()
            columns["source"] = torch.softmax(scores, dim=1).float().cpu().numpy()
        tally.rows("rows").add(batch.index, columns)

    def to_arrays(self, specimen: Specimen, images: Images, tally: Bundle, twins: Sequence[Bundle]) -> Measurement:
        names, rows = self.layers_to_watch(specimen), tally.rows("rows")
        known = self._scored(images, rows)
        labels = rows.column("labels")[known]
        coords, reason = {"layer": names}, reason_for_no_verdict(specimen, images)
        scored = [self._layer(rows, known, name) for name in names]
        arrays = self._columns(names, scored)
        both = known & shown_to_twins(specimen, images, rows.index)
        both[both] = _repeated_labels(rows.column("labels")[both])
        few = [self._evidence(rows, both, name) for name in names]
        null = [self._twin(twin.rows("rows"), names) for twin in twins]
        against = verdicts([each.low for each in few], [each.high for each in few], stack_twins(null, "twin_logme"), reason)
        arrays |= {
            "logme_few": array([each.value for each in few], ("layer",), "nats", coords, "LogME on the twins' images"),
            "logme_few_low": array([each.low for each in few], ("layer",), "nats", coords),
            "logme_few_high": array([each.high for each in few], ("layer",), "nats", coords),
            **over_twins(null),
            "against_twins": array(against, ("layer",), "text", coords, "LogME on the twins' images, against the twins"),
        }
        source, unmeasured = self._source(specimen, rows, known)
        measures, ends = {"measure": list(SOURCE_SCORES)}, [source[name] for name in SOURCE_SCORES]
        for end in ("value", "low", "high"):
            title = "log probability through the network's own classes" if end == "value" else ""
            suffix = "" if end == "value" else f"_{end}"
            arrays[f"own_classes{suffix}"] = array([getattr(each, end) for each in ends], ("measure",), "nats", measures, title)
        widths = [rows.column(f"at/{name}").shape[1] for name in names]
        chance = np.bincount(labels).max() / len(labels)
        arrays |= {
            "width": array(widths, ("layer",), "features", coords, "features"),
            "chance": array([chance] * len(names), ("layer",), FRACTION, coords, "most frequent class"),
            "count": array([int(known.sum()), int(both.sum())], ("source",), "images",
                           {"source": ["network", "untrained twin"]}),
        }  # fmt: skip
        of_layers = {name: text for layer in scored for name, (_, text) in layer[1].items() if text}
        sizes = np.bincount(labels)
        facts = {
            "classes": len(np.unique(labels)),
            "smallest_class": int(sizes[sizes > 0].min()),
            "left_out": int((rows.column("labels") >= 0).sum() - known.sum()),
            "source_classes": int(specimen.classes or 0),
            "no_verdict": reason,
            "unmeasured": unmeasured | {PROBES[name]: text for name, text in of_layers.items()},
        }
        return Measurement(arrays, facts)

    def _scored(self, images: Images, rows: Rows) -> Values:
        """Which rows (row,) are scored: at most `count`, of each class in proportion, of classes with two images or more.

        Raises:
            Unmeasurable: fewer than two such classes.
        """
        labels = rows.column("labels")
        chosen = np.zeros(len(images), dtype=bool)
        chosen[images.sample(self.count)] = True
        known = chosen[rows.index] & (labels >= 0)
        known[known] = _repeated_labels(labels[known])
        if not known.any():
            sizes = np.bincount(labels[labels >= 0], minlength=1)
            raise Unmeasurable(
                f"scores of transferability need two classes of at least {LEAST} images each; here there are "
                f"{wording.class_count(sizes)}, the largest with {sizes.max()}."
            )
        return known

    def _layer(self, rows: Rows, known: Values, name: str) -> tuple[dict[str, Interval], dict[str, tuple[Interval, str]]]:
        """Scores and probe accuracies of one layer."""
        features, labels = _features(rows, known, name), rows.column("labels")[known]
        frequent = _repeated_labels(labels, self.folds)
        if frequent.any():
            probes = dict(probe_accuracies(features[frequent], labels[frequent], self.folds, self.seed, self.logistic))
        else:
            text = f"fewer than two classes have {self.folds} images, one for every fold"
            kinds = PROBES if self.logistic else [kind for kind in PROBES if kind != "logistic"]
            probes = dict.fromkeys(kinds, (UNKNOWN_INTERVAL, text))
        return layer_scores(features, labels, self.seed), probes

    def _columns(self, names: Sequence[str], scored: Sequence[Any]) -> dict[str, Any]:
        """The arrays of all scores and probes, each (layer,), with their intervals."""
        coords, arrays = {"layer": list(names)}, dict[str, Any]()
        for name, title in SCORES.items():
            unit = "nats" if name in ("logme", "transrate") else "1"
            for end in Interval._fields:
                values = [getattr(scores[name], end) for scores, _ in scored]
                label = title if end == "value" else ""
                arrays[_array_name(name, end)] = array(values, ("layer",), unit, coords, label)
        for name in scored[0][1]:
            for end in Interval._fields:
                values = [getattr(probes[name][0], end) for _, probes in scored]
                label = PROBES[name] if end == "value" else ""
                arrays[_array_name(name, end)] = array(values, ("layer",), FRACTION, coords, label)
        return arrays

    def _evidence(self, rows: Rows, known: Values, name: str) -> Interval:
        """LogME of one layer with its interval; not numbers where fewer than two classes have two images."""
        if not known.any():
            return UNKNOWN_INTERVAL
        return layer_scores(_features(rows, known, name), rows.column("labels")[known], self.seed)["logme"]

    def _twin(self, rows: Rows, names: Sequence[str]) -> dict[str, Any]:
        """LogME of an untrained twin's layers."""
        known = _repeated_labels(rows.column("labels"))
        values = [self._evidence(rows, known, name).value for name in names]
        return {"twin_logme": array(values, ("layer",), "nats", {"layer": list(names)}, TWINS)}

    def _source(self, specimen: Specimen, rows: Rows, known: Values) -> tuple[dict[str, Interval], dict[str, str]]:
        """LEEP and NCE, and why they are not known."""
        unknown: dict[str, Interval] = dict.fromkeys(SOURCE_SCORES, UNKNOWN_INTERVAL)
        reason = why_no_head(specimen)
        if not reason and specimen.trained is False:
            reason = "its weights are untrained, so it has learnt no classes"
        if reason:
            return unknown, {" and ".join(SOURCE_SCORES): reason}
        return source_scores(rows.column("source")[known], rows.column("labels")[known], self.seed), {}

    def key_numbers(self, finding: Finding) -> Sequence[KeyNumber]:
        best = int(np.nanargmax(finding["logme"].values))
        layer = str(finding["logme"].layer.values[best])

        def number(name: str, array_name: str, unit: str = "1", baseline: float = nan, baseline_name: str = TWINS) -> KeyNumber:
            value, low, high = (float(finding[_array_name(array_name, end)][best]) for end in Interval._fields)
            return KeyNumber(
                name=name, value=value, unit=unit, low=low, high=high, has_interval=True, baseline=baseline,
                baseline_name=baseline_name, better="higher", at=layer,
            )  # fmt: skip

        chance = float(finding["chance"][best])
        numbers = [
            number("LogME", "logme"),
            number("LogME on the twins' images", "logme_few", baseline=float(finding["twin_logme"][best])),
            number("GBC", "gbc"),
            number("ridge probe accuracy", "ridge", FRACTION, chance, "most frequent class"),
            number("k-NN accuracy", "nearest", FRACTION, chance, "most frequent class"),
        ]
        leep = finding["own_classes"].sel(measure="LEEP")
        if np.isfinite(leep.item()):
            low, high = (float(finding[f"own_classes_{end}"].sel(measure="LEEP")) for end in ("low", "high"))
            numbers.append(KeyNumber(name="LEEP", value=leep.item(), low=low, high=high, has_interval=True, better="higher",
                                     at="its own classes"))  # fmt: skip
        return numbers

    def headline(self, finding: Finding) -> str:
        return wording.headline(finding)

    def panels(self, finding: Finding) -> Sequence[Panel]:
        probes = tuple(name for name in PROBES if name in finding)
        intervals = {name: (f"{name}_low", f"{name}_high") for name in ("logme", *probes)}
        columns = (*(part for name, ends in intervals.items() for part in (name, *ends)), "gbc", "parc", "h_score", "transrate")
        return [
            Curve(
                title="LogME by depth", y=("logme",), x="layer", low="logme_low", high="logme_high",
                note="Log evidence for each image, higher is better. Shaded: 95% interval (jackknife).",
            ),
            Curve(
                title="Probe accuracy on the same features", y=probes, x="layer", low=f"{probes[0]}_low", high=f"{probes[0]}_high",
                null=("chance",), note="Cross-validated. Shaded: the interval of the first. Grey: the most frequent class.",
            ),
            Table(
                title="All scores by layer", rows="layer", columns=(*columns, "width"),
                note="Higher is better for every score; different scores have different scales.",
            ),
            Curve(
                title="LogME beside random weights", y=("logme_few",), x="layer", low="logme_few_low", high="logme_few_high",
                null=("twin_logme",), note="Both on the images that the untrained twins saw; LogME depends on the number of images.",
            ),
            Table(title="Through the network's own classes", rows="measure",
                  columns=("own_classes", "own_classes_low", "own_classes_high")),
        ]  # fmt: skip

    def caveats(self, finding: Finding) -> Sequence[str]:
        return wording.caveats(finding)


def _array_name(name: str, end: str) -> str:
    return name if end == "value" else f"{name}_{end}"


def _features(rows: Rows, known: Values, name: str) -> Values:
    """Features (image, feature) of a layer, of the images used."""
    features = rows.column(f"at/{name}")[known]
    if not np.isfinite(features).all():
        raise Unmeasurable(f"the features of {name} hold NaN or infinity, so they cannot be scored.")
    return features.astype(np.float64)


def _repeated_labels(labels: Values, least: int = LEAST) -> Values:
    """Which labels (image,) are known and occur at least `least` times; none where fewer than two classes do."""
    known = labels >= 0
    if not known.any():
        return known
    frequent = known & (np.bincount(labels[known], minlength=labels.max() + 1)[np.maximum(labels, 0)] >= least)
    return frequent if len(np.unique(labels[frequent])) > 1 else np.zeros(len(labels), dtype=bool)
