"""What a linear read-out of each layer knows about the classes: a cross-validated ridge probe on pooled features.

Each layer's features are averaged over positions (class and register tokens are averaged in), standardised, and read out by ridge
regression in closed form, and by logistic regression if asked; every image is answered by a probe that was not fitted to it. A
probe needs only labels, not a head with the right classes, so it compares backbones on a task that none was trained for.
Transfer by training only a new head stands below: ridge on the frozen features of the last layer looked at, by the number of images
of each class that it learnt from, beside the untrained twin and chance.

Source: probes, Alain & Bengio 2016, arXiv:1610.01644; layer by layer as in Zeiler & Fergus 2013, arXiv:1311.2901, table 7, and new
heads as in their sec. 5.2; ridge, Hoerl & Kennard 1970; logistic regression, Cox 1958. Closed-form ridge in place of their linear SVM,
averaging over positions, and cross-validation in place of random splits are our choices.
"""

from collections.abc import Sequence
from typing import Any, final

import numpy as np
import torch

from microtome.analysis import Arrays, BatchValues, Census, option, twin_indices
from microtome.errors import Unmeasurable
from microtome.finding import Finding, array
from microtome.images import Images
from microtome.instruments.untrained_twins import over_twins, reason_for_no_verdict, stack_twins, verdicts
from microtome.numerics.probes.logistic import logistic_probe
from microtome.numerics.probes.ridge import learning_curve, ridge_probe, smallest_class
from microtome.numerics.statistics.intervals import Interval, wilson_interval
from microtome.numerics.statistics.positions import position_means
from microtome.panels import Curve, Panel, Table
from microtome.scan import Batch
from microtome.specimen import Specimen
from microtome.tally import Bundle, Rows

ImageFraction = tuple[Rows, np.ndarray[Any, Any]]  # features and labels of images, and which of them (image,) are meant


@final
class Probe(Census[Bundle]):
    """Linear probe at every chosen layer."""

    needs = "labels"
    question = "choose"
    title = "What a linear probe reads out"
    revision = 5
    with_twin = True

    at: tuple[str, ...] = option(("stages", "last"), "the layers to probe: names, globs or aliases")
    folds: int = option(5, "parts of the cross-validation", low=2, high=50)
    seed: int = option(0, "how images are dealt to the parts", low=0)
    logistic: bool = option(False, "a logistic probe beside the ridge probe, on the same parts")
    per_class: tuple[int, ...] = option(
        (), "images of each class that a new head learns from; empty: up to four powers of two", low=1
    )

    def layers_to_watch(self, specimen: Specimen) -> list[str]:
        return specimen.distinct(self.at)

    def empty_tally(self) -> Bundle:
        return Bundle({"rows": Rows()})

    def reduce(self, specimen: Specimen, name: str, value: torch.Tensor, seen: BatchValues) -> Any:
        if value.dim() < 3:
            return value.float().cpu().numpy().copy()
        units_first = specimen.layer(name).layout == "nchw"
        return position_means(value.flatten(2) if units_first else value.flatten(1, -2).transpose(1, 2)).float().numpy()

    def add(self, specimen: Specimen, tally: Bundle, batch: Batch, seen: BatchValues, logits: torch.Tensor) -> None:
        rows = tally.rows("rows")
        labels = batch.labels if batch.labels is not None else np.full(len(batch.index), -1)
        rows.add(batch.index, {"labels": labels, **seen})

    def to_arrays(self, specimen: Specimen, images: Images, tally: Bundle, twins: Sequence[Bundle]) -> Arrays:
        names = self.layers_to_watch(specimen)
        rows, nulls = tally.rows("rows"), [(one := twin.rows("rows"), self._judge_layer(one)) for twin in twins]
        reason = reason_for_no_verdict(specimen, images)
        labels, known = rows.column("labels"), self._judge_layer(rows)
        if not known.any():
            raise Unmeasurable(
                f"a probe with {self.folds} folds needs two classes of at least {self.folds} images each, so that every part holds "
                f"each class; here the largest class has {np.bincount(labels[labels >= 0], minlength=1).max()}."
            )
        shared = np.zeros(len(images), dtype=bool)
        shared[twin_indices(len(images))] = True
        both = known & shared[rows.index]
        both[both] = _frequent_labels(labels[both], self.folds)
        correct, arrays = self._classifier(
            names, ridge_probe, (rows, known), (rows, both), nulls, "accuracy", "ridge regression", reason
        )
        if self.logistic:
            arrays |= self._classifier(
                names, logistic_probe, (rows, known), (rows, both), nulls, "logistic", "logistic regression", reason
            )[1]
        told = {"layer": names}
        everywhere = np.full((len(names), len(images)), np.nan, dtype=np.float32)
        everywhere[:, rows.index[known]] = correct
        return {
            **arrays,
            "width": array([rows.column(name).shape[1] for name in names], ("layer",), "features", told, "features"),
            "correct": array(everywhere, ("layer", "image"), "1", told),
            "chance": array([np.bincount(labels[known]).max() / known.sum()], ("measure",), "share"),
            "count": array(
                [int(known.sum()), int(nulls[0][1].sum())], ("source",), "images", {"source": ["network", "untrained twin"]}
            ),
            "left_out": array([int((labels >= 0).sum() - known.sum())], ("measure",), "images"),
            **self._heads(names[-1], (rows, known), nulls),
        }

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
        intervals = [wilson_interval(int(row.sum()), len(row)) for row in correct]
        told = {"layer": list(names)}
        few = [self._interval(probe, some, name) for name in names]
        words = "untrained twins" if word == "accuracy" else f"{title}, untrained twins"
        null = [
            {
                f"twin_{word}": array(
                    [self._interval(probe, twin, name).value for name in names], ("layer",), "share", told, words
                )
            }
            for twin in twins
        ]
        against = verdicts([one.low for one in few], [one.high for one in few], stack_twins(null, f"twin_{word}"), reason)
        arrays = {
            word: array([one.value for one in intervals], ("layer",), "share", told, title),
            f"{word}_low": array([one.low for one in intervals], ("layer",), "share", told),
            f"{word}_high": array([one.high for one in intervals], ("layer",), "share", told),
        }
        return correct, {
            **arrays,
            f"{word}_few": array([one.value for one in few], ("layer",), "share", told, "on the twins' images"),
            **over_twins(null),
            f"{word}_against_twins": array(against, ("layer",), "text", told, "on the twins' images, against the twins"),
        }

    def _interval(self, probe: Any, part: ImageFraction, name: str) -> Interval:
        """Accuracy of one probe with its interval; not numbers where no image can be judged."""
        if not part[1].any():
            return Interval(np.nan, np.nan, np.nan)
        correct = self._correct(probe, part, name)
        return wilson_interval(int(correct.sum()), len(correct))

    def _heads(self, name: str, own: ImageFraction, twins: Sequence[ImageFraction]) -> dict[str, Any]:
        """A new head on the frozen features of the last layer, by how many images of each class it learnt from."""
        features, labels = self._features(own, name)
        most = smallest_class(labels, self.folds, self.seed)
        sizes = sorted(set(self.per_class)) or [2**power for power in range(most.bit_length())][-4:]
        correct = learning_curve(features, labels, sizes, self.folds, self.seed)
        intervals = [wilson_interval(int(row.sum()), len(row)) for row in correct]
        told = {"amount": sizes}
        null = [
            {"twin_head": array(self._curve(name, twin, sizes), ("amount",), "share", told, "untrained twins")}
            for twin in twins
        ]
        chance = np.bincount(labels).max() / len(labels)
        return {
            "head": array([one.value for one in intervals], ("amount",), "share", told, f"new head on {name}"),
            "head_low": array([one.low for one in intervals], ("amount",), "share", told),
            "head_high": array([one.high for one in intervals], ("amount",), "share", told),
            **over_twins(null),
            "chance_head": array([chance] * len(sizes), ("amount",), "share", told, "most frequent class"),
        }

    def _curve(self, name: str, twin: ImageFraction, sizes: Sequence[int]) -> np.ndarray[Any, Any]:
        """Accuracy of a new head on an untrained twin (amount,); not a number where too few images of a class are there."""
        curve = np.full(len(sizes), np.nan)
        if twin[1].any():
            features, labels = self._features(twin, name)
            enough = [size <= smallest_class(labels, self.folds, self.seed) for size in sizes]
            known = [size for size, there in zip(sizes, enough, strict=True) if there]
            curve[enough] = learning_curve(features, labels, known, self.folds, self.seed).mean(axis=1)
        return curve

    def _judge_layer(self, rows: Rows) -> np.ndarray[Any, Any]:
        """Which images (image,) are of a class that every part of the cross-validation can hold; none with fewer than two such."""
        labels = rows.column("labels")
        kept = labels >= 0
        kept[kept] = _frequent_labels(labels[kept], self.folds)
        return kept

    def _features(self, part: ImageFraction, name: str) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        """Features (image, feature) of a layer and labels (image,), of the part's images."""
        rows, known = part
        features = rows.column(name)[known]
        if not np.isfinite(features).all():
            raise Unmeasurable(f"the features of {name} hold NaN or infinity, so no probe can be fitted there.")
        return features.astype(np.float64), rows.column("labels")[known]

    def _correct(self, probe: Any, part: ImageFraction, name: str) -> np.ndarray[Any, Any]:
        """Right (True) or wrong for each image of the part, each answered by a probe not fitted to it."""
        return probe(*self._features(part, name), self.folds, self.seed).correct

    def panels(self, finding: Finding) -> Sequence[Panel]:
        found = finding.arrays
        columns = [
            "accuracy",
            "accuracy_low",
            "accuracy_high",
            "accuracy_few",
            "twin_accuracy",
            "twin_accuracy_low",
            "twin_accuracy_high",
            "accuracy_against_twins",
        ]
        curves, nulls, both = ("accuracy",), ("twin_accuracy",), ""
        if "logistic" in found:
            columns += ["logistic", "logistic_low", "logistic_high", "logistic_few", "twin_logistic"]
            curves, nulls = (*curves, "logistic"), (*nulls, "twin_logistic")
            both = " The shaded interval is that of ridge."
        return [
            Curve(
                title="Probe accuracy by depth", y=curves, x="layer", low="accuracy_low", high="accuracy_high", null=nulls,
                note="A layer above the dashed line knows more about these classes than random weights do." + both,
            ),
            Table(
                title="Probe accuracy, layer by layer", rows="layer", columns=(*columns, "width"),
                note="95 % Wilson intervals over images. Compare the twins with the column of their own images.",
            ),
            Curve(
                title="A new head on the frozen last layer", y=("head",), x="amount", low="head_low", high="head_high",
                null=("twin_head", "chance_head"), log="x",
                note="By images of each class that the head learnt from. Grey: the untrained twins' features, and chance.",
            ),
        ]  # fmt: skip

    def headline(self, finding: Finding) -> str:
        found = finding.arrays
        best = int(np.argmax(found["accuracy"].values))
        low, high = found["accuracy_low"].values[best], found["accuracy_high"].values[best]
        count, twin_count = (int(one) for one in found["count"].values)
        same = (
            f" (the network {100 * found['accuracy_few'].values[best]:.1f} % on those {twin_count} images)"
            if twin_count < count
            else ""
        )
        by_softmax = f" (logistic {100 * found['logistic'].values[best]:.1f} %)" if "logistic" in found else ""
        twin = found["twin_accuracy"].values[best]
        null = (
            f"the untrained twins give {100 * twin:.1f} % there{same}"
            if np.isfinite(twin)
            else "of the untrained twins too little is known"
        )
        amount, score, twin_score = (float(one[0]) for one in (found["head"].amount, found["head"], found["twin_head"]))
        beside = f" (untrained twins {100 * twin_score:.1f} %)" if np.isfinite(twin_score) else ""
        head = f"with {amount:.0f} image{'s' * (amount > 1)} a class a new head gets {100 * score:.1f} %{beside}"
        return (
            f"Best read-out at {found['accuracy'].layer.values[best]}: {100 * found['accuracy'].values[best]:.1f} % "
            f"({100 * low:.1f}–{100 * high:.1f}) of {count} images{by_softmax}; {null}, "
            f"the most frequent class {100 * found['chance'].values[0]:.1f} %; {head}."
        )

    def caveats(self, finding: Finding) -> Sequence[str]:
        found = finding.arrays
        count, twin_count = (int(one) for one in found["count"].values)
        said = ["Features are averaged over positions; a head that uses positions can do better.",
                "The best layer was picked on the same images that scored it, so its accuracy is slightly too high.",
                "A new head for classes that the network was trained on is no test of transfer; other classes are.",
                "The intervals are over the images answered; that a new head would learn from other images is not in them."]  # fmt: skip
        if left := int(found["left_out"].values[0]):
            said.append(
                f"{left} images were left out: their classes have too few images for every part of the cross-validation."
            )
        if twin_count < count:
            said.append(
                f"The twins' probes were fitted on {twin_count} of the {count} images; 'on the twins' images' is the fair comparison."
            )
        return said


def _frequent_labels(labels: np.ndarray[Any, Any], folds: int) -> np.ndarray[Any, Any]:
    """Which labels (image,) occur at least `folds` times; none where fewer than two classes do."""
    frequent = np.bincount(labels)[labels] >= folds if len(labels) else np.zeros(0, dtype=bool)
    return frequent if len(np.unique(labels[frequent])) > 1 else np.zeros(len(labels), dtype=bool)
