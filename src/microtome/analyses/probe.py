"""Accuracy of cross-validated linear probes on the pooled features of each layer.

Each layer's features are averaged over positions (class and register tokens included), standardised, and classified by ridge
regression in closed form, and by logistic regression if asked; every image is classified by a probe that was not fitted to it. A probe
needs only labels, not a head with the right classes, so it compares backbones on a task that none was trained for. Transfer by
training only a new head is measured too: ridge regression on the frozen features of the last layer, by the number of training images
per class, beside the untrained twins and chance. Where the largest class has more than 1.5 times the images of the smallest, balanced
accuracy (the mean over the classes) leads.

Source: probes, Alain & Bengio 2016, arXiv:1610.01644; layer by layer as in Zeiler & Fergus 2013, arXiv:1311.2901, table 7, and new
heads as in their sec. 5.2; ridge, Hoerl & Kennard 1970; logistic regression, Cox 1958. Closed-form ridge in place of their linear SVM,
averaging over positions, and cross-validation in place of random splits are our choices.
"""

from collections.abc import Sequence
from math import nan
from typing import Any, final

import numpy as np
import torch

from microtome.analysis import BatchValues, Census, Measurement, option, shown_to_twins
from microtome.errors import Unmeasurable
from microtome.finding import Finding, array
from microtome.images import Images
from microtome.instruments.pooled_features import pool_once
from microtome.instruments.untrained_twins import VERDICTS, over_twins, reason_for_no_verdict, stack_twins, verdicts
from microtome.key_numbers import FRACTION, KeyNumber, format_value
from microtome.numerics.probes.logistic import logistic_probe
from microtome.numerics.probes.ridge import learning_curve, ridge_probe, smallest_class
from microtome.numerics.statistics.balanced import MAX_IMBALANCE, balanced_accuracy, class_imbalance
from microtome.numerics.statistics.intervals import Interval
from microtome.numerics.statistics.proportions import proportion_interval
from microtome.panels import Curve, Panel, Table
from microtome.prose import plural
from microtome.scan import Batch
from microtome.specimen import Specimen
from microtome.tally import Bundle, Rows

ImageFraction = tuple[Rows, np.ndarray[Any, Any]]  # features and labels of images, and which of them (image,) are used


BEST, ON_TWIN_IMAGES = "best probe accuracy", "probe accuracy on the twins' images"
BALANCED = "best balanced probe accuracy"


@final
class Probe(Census[Bundle]):
    """Linear probe at every chosen layer."""

    needs = "labels"
    question = "choose"
    title = "Linear probes"
    rank = 2
    effort = "quick"
    revision = 9  # 9: verdicts of positive values in both scales
    with_twin = True

    at: tuple[str, ...] = option(("stages", "last"), "layers to probe: names, globs or aliases")
    folds: int = option(5, "number of cross-validation folds", low=2, high=50)
    seed: int = option(0, "seed of the cross-validation split", low=0)
    logistic: bool = option(False, "logistic regression as well, on the same folds")
    per_class: tuple[int, ...] = option((), "training images per class for a new head; empty: up to four powers of two", low=1)

    def layers_to_watch(self, specimen: Specimen) -> list[str]:
        return specimen.distinct(self.at)

    def empty_tally(self) -> Bundle:
        return Bundle({"rows": Rows()})

    def reduce(self, specimen: Specimen, name: str, value: torch.Tensor, seen: BatchValues) -> Any:
        return pool_once(specimen, name, value, seen)

    def add(self, specimen: Specimen, tally: Bundle, batch: Batch, seen: BatchValues, logits: torch.Tensor) -> None:
        rows = tally.rows("rows")
        labels = batch.labels if batch.labels is not None else np.full(len(batch.index), -1)
        rows.add(batch.index, {"labels": labels, **seen})

    def to_arrays(self, specimen: Specimen, images: Images, tally: Bundle, twins: Sequence[Bundle]) -> Measurement:
        names = self.layers_to_watch(specimen)
        rows, nulls = tally.rows("rows"), [(twin.rows("rows"), self._judge_layer(twin.rows("rows"))) for twin in twins]
        reason = reason_for_no_verdict(specimen, images)
        labels, known = rows.column("labels"), self._judge_layer(rows)
        if not known.any():
            raise Unmeasurable(
                f"a probe with {self.folds} folds needs two classes of at least {self.folds} images each, "
                f"so that every fold holds "
                f"each class; here the largest class has {np.bincount(labels[labels >= 0], minlength=1).max()}."
            )
        both = known & shown_to_twins(specimen, images, rows.index)
        both[both] = _frequent_labels(labels[both], self.folds)
        correct, arrays = self._classifier(
            names, ridge_probe, (rows, known), (rows, both), nulls, "accuracy", "ridge regression", reason
        )
        if self.logistic:
            arrays |= self._classifier(
                names, logistic_probe, (rows, known), (rows, both), nulls, "logistic", "logistic regression", reason
            )[1]
        coords = {"layer": names}
        everywhere = np.full((len(names), len(images)), np.nan, dtype=np.float32)
        everywhere[:, rows.index[known]] = correct
        label = np.full(len(images), -1, dtype=np.int64)
        label[rows.index[known]] = labels[known]
        by_class = [balanced_accuracy(row, labels[known]) for row in correct]
        count, sources = [int(known.sum()), int(nulls[0][1].sum())], {"source": ["network", "untrained twin"]}
        arrays |= {
            "width": array([rows.column(name).shape[1] for name in names], ("layer",), "features", coords, "features"),
            "correct": array(everywhere, ("layer", "image"), "1", coords),
            "label": array(label, ("image",), "class number", title="class, -1 not used"),
            "balanced": array([each.value for each in by_class], ("layer",), FRACTION, coords, "balanced accuracy"),
            "balanced_low": array([each.low for each in by_class], ("layer",), FRACTION, coords),
            "balanced_high": array([each.high for each in by_class], ("layer",), FRACTION, coords),
            "chance": array([np.bincount(labels[known]).max() / known.sum()], ("measure",), FRACTION),
            "count": array(count, ("source",), "images", sources),
            **self._heads(names[-1], (rows, known), nulls),
        }
        facts = {
            "left_out": int((labels >= 0).sum() - known.sum()),
            "no_verdict": reason,
            "imbalance": class_imbalance(labels[known]),
        }
        return Measurement(arrays, facts | {"classes": len(np.unique(labels[known]))})

    def _classifier(
        self,
        names: Sequence[str],
        probe: Any,
        own: ImageFraction,
        some: ImageFraction,
        twins: Sequence[ImageFraction],
        word: str,
        title: str,
        reason: str,
    ) -> tuple[np.ndarray[Any, Any], dict[str, Any]]:
        """Right or wrong (layer, image) of one kind of probe, and its accuracies with intervals, beside the untrained twins'."""
        correct = np.stack([self._correct(probe, own, name) for name in names])
        intervals = [proportion_interval(int(row.sum()), len(row)) for row in correct]
        coords = {"layer": list(names)}
        few = [self._interval(probe, some, name) for name in names]
        twin_title = "untrained twins" if word == "accuracy" else f"{title}, untrained twins"
        null = [
            {
                f"twin_{word}": array(
                    [self._interval(probe, twin, name).value for name in names], ("layer",), FRACTION, coords, twin_title
                )
            }
            for twin in twins
        ]
        against = verdicts([each.low for each in few], [each.high for each in few], stack_twins(null, f"twin_{word}"), reason)
        arrays = {
            word: array([each.value for each in intervals], ("layer",), FRACTION, coords, title),
            f"{word}_low": array([each.low for each in intervals], ("layer",), FRACTION, coords),
            f"{word}_high": array([each.high for each in intervals], ("layer",), FRACTION, coords),
        }
        return correct, {
            **arrays,
            f"{word}_few": array([each.value for each in few], ("layer",), FRACTION, coords, "on the twins' images"),
            **over_twins(null),
            f"{word}_against_twins": array(against, ("layer",), "text", coords, "on the twins' images, against the twins"),
        }

    def _interval(self, probe: Any, part: ImageFraction, name: str) -> Interval:
        """Accuracy of one probe with its interval; NaN where no image can be used."""
        if not part[1].any():
            return Interval(np.nan, np.nan, np.nan)
        correct = self._correct(probe, part, name)
        return proportion_interval(int(correct.sum()), len(correct))

    def _heads(self, name: str, own: ImageFraction, twins: Sequence[ImageFraction]) -> dict[str, Any]:
        """A new head on the frozen features of the last layer, by the number of training images per class."""
        features, labels = self._features(own, name)
        most = smallest_class(labels, self.folds, self.seed)
        sizes = sorted(set(self.per_class)) or [2**power for power in range(most.bit_length())][-4:]
        correct = learning_curve(features, labels, sizes, self.folds, self.seed)
        intervals = [proportion_interval(int(row.sum()), len(row)) for row in correct]
        coords = {"amount": sizes}
        null = [
            {"twin_head": array(self._curve(name, twin, sizes), ("amount",), FRACTION, coords, "untrained twins")}
            for twin in twins
        ]
        chance = np.bincount(labels).max() / len(labels)
        return {
            "head": array([each.value for each in intervals], ("amount",), FRACTION, coords, f"new head on {name}"),
            "head_low": array([each.low for each in intervals], ("amount",), FRACTION, coords),
            "head_high": array([each.high for each in intervals], ("amount",), FRACTION, coords),
            **over_twins(null),
            "chance_head": array([chance] * len(sizes), ("amount",), FRACTION, coords, "most frequent class"),
        }

    def _curve(self, name: str, twin: ImageFraction, sizes: Sequence[int]) -> np.ndarray[Any, Any]:
        """Accuracy of a new head on an untrained twin (amount,); NaN where a class has too few images."""
        curve = np.full(len(sizes), np.nan)
        if twin[1].any():
            features, labels = self._features(twin, name)
            enough = [size <= smallest_class(labels, self.folds, self.seed) for size in sizes]
            known = [size for size, fits in zip(sizes, enough, strict=True) if fits]
            curve[enough] = learning_curve(features, labels, known, self.folds, self.seed).mean(axis=1)
        return curve

    def _judge_layer(self, rows: Rows) -> np.ndarray[Any, Any]:
        """Which images (image,) are of a class with an image for every fold; none where fewer than two classes have that."""
        labels = rows.column("labels")
        kept = labels >= 0
        kept[kept] = _frequent_labels(labels[kept], self.folds)
        return kept

    def _features(self, part: ImageFraction, name: str) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        """Features (image, feature) of a layer and labels (image,), of the images used."""
        rows, known = part
        features = rows.column(name)[known]
        if not np.isfinite(features).all():
            raise Unmeasurable(f"the features of {name} hold NaN or infinity, so no probe can be fitted there.")
        return features.astype(np.float64), rows.column("labels")[known]

    def _correct(self, probe: Any, part: ImageFraction, name: str) -> np.ndarray[Any, Any]:
        """Right (True) or wrong for each image used, each classified by a probe not fitted to it."""
        return probe(*self._features(part, name), self.folds, self.seed).correct

    def key_numbers(self, finding: Finding) -> Sequence[KeyNumber]:
        accuracy = finding["accuracy"]
        best = int(np.argmax(accuracy.values))
        layer = str(accuracy.layer.values[best])

        def at_best(name: str) -> float:
            return float(finding[name][best]) if name in finding else nan

        def accuracy_of(name: str, array_name: str, baseline: float, baseline_name: str) -> KeyNumber:
            low, high = (at_best(f"{array_name}_{end}") for end in ("low", "high"))
            return KeyNumber(
                name=name, value=at_best(array_name), unit=FRACTION, low=low, high=high, has_interval=True, baseline=baseline,
                baseline_name=baseline_name,
                better="higher", at=layer,
            )  # fmt: skip

        twins = "untrained twins"
        amount = int(finding["head"].amount[0])
        numbers = [
            accuracy_of(BEST, "accuracy", float(finding["chance"][0]), "most frequent class"),
            accuracy_of(ON_TWIN_IMAGES, "accuracy_few", at_best("twin_accuracy"), twins),
        ]
        numbers = self._balanced_numbers(finding) + numbers
        if "logistic" in finding:
            same_images = len(set(finding["count"].values.tolist())) == 1
            baseline = at_best("twin_logistic") if same_images else nan
            numbers.append(accuracy_of("logistic probe accuracy", "logistic", baseline, twins))
        above = finding["accuracy_against_twins"].values == VERDICTS[1]
        further = [
            KeyNumber(
                name="new head accuracy", value=float(finding["head"][0]), unit=FRACTION, low=float(finding["head_low"][0]),
                high=float(finding["head_high"][0]), has_interval=True,
                baseline=float(finding["twin_head"][0]), baseline_name=twins, better="higher",
                at=f"{plural(amount, 'image')} per class",
            ),
            KeyNumber(
                name="layers above all untrained twins", value=nan if finding.facts["no_verdict"] else float(above.mean()), unit=FRACTION,
                better="higher",
            ),
            KeyNumber(name="images", value=int(finding["count"][0])),
        ]  # fmt: skip
        return [*numbers, *further][:6]

    def _balanced_numbers(self, finding: Finding) -> list[KeyNumber]:
        """The best layer by balanced accuracy, where classes are imbalanced."""
        if finding.facts["imbalance"] <= MAX_IMBALANCE:
            return []
        best = int(np.argmax(finding["balanced"].values))
        value, low, high = (float(finding[f"balanced{end}"][best]) for end in ("", "_low", "_high"))
        return [
            KeyNumber(
                name=BALANCED, value=value, unit=FRACTION, low=low, high=high, baseline=1 / finding.facts["classes"],
                baseline_name="most frequent class", better="higher", at=str(finding["balanced"].layer.values[best]),
            )
        ]  # fmt: skip

    def headline(self, finding: Finding) -> str:
        best, fair = finding.key(BEST), finding.key(ON_TWIN_IMAGES)
        count, twin_count = (int(number) for number in finding["count"].values)
        start = f"Best linear probe: {best.text} at {best.at}"
        if finding.facts["imbalance"] > MAX_IMBALANCE:
            fair, times = finding.key(BALANCED), format_value(finding.facts["imbalance"])
            return (
                f"Best linear probe: balanced accuracy {fair.text} at {fair.at}, chance {fair.baseline_text} "
                f"(largest class {times} times the smallest)."
            )
        if np.isnan(fair.baseline):
            return f"{start}; the most frequent class alone gives {best.baseline_text}."
        fewer = f" on {twin_count} of the {plural(count, 'image')}" if twin_count < count else ""
        return f"{start}; untrained twins reach {fair.baseline_text}{fewer}."

    def panels(self, finding: Finding) -> Sequence[Panel]:
        columns = [
            "accuracy", "accuracy_low", "accuracy_high", "balanced", "accuracy_few", "twin_accuracy", "twin_accuracy_low",
            "twin_accuracy_high",
            "accuracy_against_twins",
        ]  # fmt: skip
        curves, nulls, both = ("accuracy",), ("twin_accuracy",), ""
        if "logistic" in finding:
            columns += ["logistic", "logistic_low", "logistic_high", "logistic_few", "twin_logistic"]
            curves, nulls = (*curves, "logistic"), (*nulls, "twin_logistic")
            both = " The shaded interval is that of ridge regression."
        return [
            Curve(
                title="Probe accuracy by depth", y=curves, x="layer", low="accuracy_low", high="accuracy_high", null=nulls,
                note="Dashed: the untrained twins." + both,
            ),
            Table(
                title="Probe accuracy by layer", rows="layer", columns=(*columns, "width"),
                note="95% exact intervals over images (Clopper-Pearson). Compare the twins with the column of their own images.",
            ),
            Curve(
                title="A new head on the frozen last layer", y=("head",), x="amount", low="head_low", high="head_high",
                null=("twin_head", "chance_head"), log="x",
                note="By training images per class. Grey: a new head on the untrained twins, and chance.",
            ),
        ]  # fmt: skip

    def caveats(self, finding: Finding) -> Sequence[str]:
        count, twin_count = (int(number) for number in finding["count"].values)
        caveats = [
            "Features are averaged over positions; a head that uses positions can do better.",
            "The best layer was chosen on the images that scored it, so its accuracy is slightly too high.",
            "A new head for classes that the network was trained on does not test transfer; other classes do.",
            "The intervals are over the test images; the variation over training images is not included.",
        ]
        if finding.trained is False:
            caveats.insert(0, "These weights are untrained.")
        elif finding.trained and (far := _best_far_from_last(finding)):
            caveats.insert(0, far)
        if reason := finding.facts["no_verdict"]:
            caveats.append(f"No verdict against the untrained twins: {reason}.")
        if number := finding.facts["left_out"]:
            caveats.append(f"{plural(number, 'image')} left out: their classes have fewer images than there are folds.")
        if finding.facts["imbalance"] > MAX_IMBALANCE:
            caveats.append(
                "The largest class has more than 1.5 times the images of the smallest, so balanced accuracy leads; the comparison with the "
                "untrained twins is of plain accuracy."
            )
        if twin_count < count:
            caveats.append(
                f"The twins' probes were fitted on {twin_count} of the {plural(count, 'image')}: compare them with "
                f"the network on those images "
                f"({finding.key(ON_TWIN_IMAGES).text})."
            )
        return caveats


def _frequent_labels(labels: np.ndarray[Any, Any], folds: int) -> np.ndarray[Any, Any]:
    """Which labels (image,) occur at least `folds` times; none where fewer than two classes do."""
    frequent = np.bincount(labels)[labels] >= folds if len(labels) else np.zeros(0, dtype=bool)
    return frequent if len(np.unique(labels[frequent])) > 1 else np.zeros(len(labels), dtype=bool)


def _best_far_from_last(finding: Finding) -> str:
    """A caveat where the best probe lies in the first half of the layers and is significantly better than the last one; else empty."""
    accuracy = finding["accuracy"]
    best = int(np.argmax(accuracy.values))
    behind = accuracy.sizes["layer"] - 1 - best
    if behind <= best or finding["accuracy_low"].values[best] <= finding["accuracy_high"].values[-1]:
        return ""
    return (
        f"The best probe lies {plural(behind, 'layer')} before the last, and trained networks usually read out best near the end: the "
        "input recipe may not fit the weights, or these classes are unlike those of the training."
    )
