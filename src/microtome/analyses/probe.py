"""What a linear read-out of each layer knows about the classes: a cross-validated ridge probe on pooled features.

Each layer's features are averaged over positions (class and register tokens are averaged in), standardised, and read out by ridge
regression in closed form; every image is answered by a probe that was not fitted to it. A probe needs only labels, not a head with
the right classes, so it compares backbones on a task that none of them was trained for.

Source: probes, Alain & Bengio 2016, arXiv:1610.01644; layer by layer as in Zeiler & Fergus 2013, arXiv:1311.2901, table 7; ridge,
Hoerl & Kennard 1970. Closed-form ridge in place of a linear SVM is our choice.
"""

from collections.abc import Sequence
from typing import Any, final

import numpy as np
import torch

from microtome.analysis import Arrays, Census, few, option
from microtome.errors import Unmeasurable
from microtome.finding import array
from microtome.images import Images
from microtome.numerics.intervals import wilson
from microtome.numerics.probes import ridge_probe
from microtome.panels import Curve, Panel, Table
from microtome.scan import Batch
from microtome.specimen import Specimen
from microtome.tally import Bundle, Rows, Tally


@final
class Probe(Census):
    """Linear probe at every chosen layer."""

    needs = "labels"
    question = "choose"
    title = "What a linear probe reads out"
    with_twin = True

    at: tuple[str, ...] = option(("stages", "last"), "the layers to probe: names, globs or aliases")
    folds: int = option(5, "parts of the cross-validation", low=2, high=50)
    seed: int = option(0, "how images are dealt to the parts", low=0)

    def watched(self, specimen: Specimen) -> list[str]:
        return sorted(dict.fromkeys(specimen.find(self.at)), key=lambda name: specimen.layer(name).order)

    def tally(self) -> Tally:
        return Bundle({"rows": Rows()})

    def reduced(self, specimen: Specimen, name: str, value: torch.Tensor, seen: dict[str, Any]) -> Any:
        if specimen.layer(name).layout == "nchw":
            return value.double().mean(dim=tuple(range(2, value.dim()))).float().cpu().numpy()
        return (
            value.double().flatten(1, -2).mean(dim=1).float().cpu().numpy()
            if value.dim() > 2
            else value.float().cpu().numpy().copy()
        )

    def add(self, specimen: Specimen, tally: Tally, batch: Batch, seen: dict[str, Any], logits: torch.Tensor) -> None:
        rows = _rows(tally)
        labels = batch.labels if batch.labels is not None else np.full(len(batch.index), -1)
        rows.add(batch.index, {"labels": labels, **seen})

    def settle(self, specimen: Specimen, images: Images, tally: Tally, twin: Tally | None) -> Arrays:
        assert twin is not None
        names = self.watched(specimen)
        rows = _rows(tally)
        labels, known = rows.column("labels"), self._judged(rows)
        if not known.any():
            raise Unmeasurable(
                f"a probe with {self.folds} folds needs two classes of at least {self.folds} images each, so that every part holds "
                f"each class; here the largest class has {np.bincount(labels[labels >= 0], minlength=1).max()}."
            )
        correct = np.full((len(names), len(images)), np.nan)
        for place, name in enumerate(names):
            correct[place, rows.index[known]] = self._correct(rows, name, known)
        intervals = [wilson(int(np.nansum(row)), int(known.sum())) for row in correct]
        told = {"layer": names}
        shared = np.zeros(len(images), dtype=bool)
        shared[few(len(images))] = True
        twin_known = self._judged(_rows(twin))
        both = known & shared[rows.index]
        both[both] = _kept(labels[both], self.folds)
        same = [float(self._correct(rows, name, both).mean()) if both.any() else np.nan for name in names]
        baseline = [
            float(self._correct(_rows(twin), name, twin_known).mean()) if twin_known.any() else np.nan for name in names
        ]
        chance = np.bincount(labels[known]).max() / known.sum()
        return {
            "accuracy": array([one.value for one in intervals], ("layer",), "share", told, "probe accuracy"),
            "accuracy_low": array([one.low for one in intervals], ("layer",), "share", told),
            "accuracy_high": array([one.high for one in intervals], ("layer",), "share", told),
            "accuracy_few": array(same, ("layer",), "share", told, "on the twin's images"),
            "twin_accuracy": array(baseline, ("layer",), "share", told, "untrained twin"),
            "width": array([_rows(tally).column(name).shape[1] for name in names], ("layer",), "features", told, "features"),
            "correct": array(correct.astype(np.float32), ("layer", "image"), "1", told),
            "chance": array([chance], ("measure",), "share"),
            "count": array(
                [int(known.sum()), int(twin_known.sum())], ("source",), "images", {"source": ["network", "untrained twin"]}
            ),
            "left_out": array([int((labels >= 0).sum() - known.sum())], ("measure",), "images"),
        }

    def _judged(self, rows: Rows) -> np.ndarray[Any, Any]:
        """Which images (image,) are of a class that every part of the cross-validation can hold; none with fewer than two such."""
        labels = rows.column("labels")
        kept = labels >= 0
        kept[kept] = _kept(labels[kept], self.folds)
        return kept

    def _correct(self, rows: Rows, name: str, known: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """Right (True) or wrong for each known image, each answered by a probe not fitted to it."""
        features, labels = rows.column(name)[known], rows.column("labels")[known]
        if not np.isfinite(features).all():
            raise Unmeasurable(f"the features of {name} hold NaN or infinity, so no probe can be fitted there.")
        return ridge_probe(features.astype(np.float64), labels, self.folds, self.seed).correct

    def panels(self, found: Arrays) -> Sequence[Panel]:
        return [
            Curve(
                title="Probe accuracy by depth", y=("accuracy",), x="layer", low="accuracy_low", high="accuracy_high",
                null=("twin_accuracy",), note="A layer above the dashed line knows more about these classes than random weights do.",
            ),
            Table(
                title="Probe accuracy", rows="layer",
                columns=("accuracy", "accuracy_low", "accuracy_high", "accuracy_few", "twin_accuracy", "width"),
            ),
        ]  # fmt: skip

    def line(self, found: Arrays) -> str:
        best = int(np.argmax(found["accuracy"].values))
        low, high = found["accuracy_low"].values[best], found["accuracy_high"].values[best]
        count, twin_count = (int(one) for one in found["count"].values)
        same = (
            f" (the network {100 * found['accuracy_few'].values[best]:.1f} % on those {twin_count} images)"
            if twin_count < count
            else ""
        )
        return (
            f"Best read-out at {found['accuracy'].layer.values[best]}: {100 * found['accuracy'].values[best]:.1f} % "
            f"({100 * low:.1f}–{100 * high:.1f}) of {count} images; the untrained twin gives "
            f"{100 * found['twin_accuracy'].values[best]:.1f} % there{same}, "
            f"the most frequent class {100 * found['chance'].values[0]:.1f} %."
        )

    def caveats(self, found: Arrays) -> Sequence[str]:
        count, twin_count = (int(one) for one in found["count"].values)
        said = ["Features are averaged over positions; a head that uses positions can do better.",
                "The best layer was picked on the same images that scored it, so its accuracy is slightly too high."]  # fmt: skip
        if left := int(found["left_out"].values[0]):
            said.append(
                f"{left} images were left out: their classes have too few images for every part of the cross-validation."
            )
        if twin_count < count:
            said.append(
                f"The twin's probe was fitted on {twin_count} of the {count} images; 'on the twin's images' is the fair comparison."
            )
        return said


def _kept(labels: np.ndarray[Any, Any], folds: int) -> np.ndarray[Any, Any]:
    """Which labels (image,) occur at least `folds` times; none where fewer than two classes do."""
    frequent = np.bincount(labels)[labels] >= folds if len(labels) else np.zeros(0, dtype=bool)
    return frequent if len(np.unique(labels[frequent])) > 1 else np.zeros(len(labels), dtype=bool)


def _rows(tally: Tally) -> Rows:
    assert isinstance(tally, Bundle)
    rows = tally["rows"]
    assert isinstance(rows, Rows)
    return rows
