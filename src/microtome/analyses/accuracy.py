"""How often the network's own head is right on these images, over all and by class.

The head is scored only where its outputs are the images' classes: matched by wordnet id, by name or, when the network does not say
what its outputs mean, by order (which is then said). Where they do not match the answer is refused; the probe answers instead.

Source: top-1 and top-5 accuracy, Russakovsky et al. 2015, arXiv:1409.0575, sec. 4.1; interval: Wilson 1927.
"""

from collections.abc import Sequence
from typing import Any, final

import numpy as np
import torch

from microtome.analysis import Analysis, Arrays, Census
from microtome.errors import Unmeasurable
from microtome.finding import array
from microtome.images import Images
from microtome.instruments.class_matching import matched
from microtome.numerics.statistics.intervals import wilson
from microtome.panels import Bars, Panel, Table
from microtome.scan import Batch
from microtome.specimen import Specimen
from microtome.tally import Rows, Tally

MEASURES = ("top-1", "top-5", "chance")


@final
class Accuracy(Census):
    """Top-1 and top-5 accuracy with intervals."""

    needs = "labels"
    question = "choose"
    title = "Accuracy of the network's own head"

    def unfit(self, specimen: Specimen, images: Images | None) -> str:
        single = "it gives no single score for each class (a segmentation or detection network), so no image is right or wrong"
        return Analysis.unfit(self, specimen, images) or ("" if specimen.outputs is not None else single)

    def watched(self, specimen: Specimen) -> list[str]:
        return []

    def tally(self) -> Tally:
        return Rows()

    def reduced(self, specimen: Specimen, name: str, value: torch.Tensor, seen: dict[str, Any]) -> Any:
        raise AssertionError("accuracy watches no layer")

    def add(self, specimen: Specimen, tally: Tally, batch: Batch, seen: dict[str, Any], logits: torch.Tensor) -> None:
        assert isinstance(tally, Rows)
        if logits.dim() != 2:
            raise Unmeasurable(f"{specimen.name} gives {tuple(logits.shape[1:])} for one image, not one score per class.")
        top = logits.topk(min(5, logits.shape[1]), dim=1).indices.cpu().numpy()
        sure = torch.softmax(logits.double(), dim=1).amax(dim=1).cpu().numpy()
        outputs = np.full(len(top), logits.shape[1], dtype=np.int64)
        tally.add(batch.index, {"top": top.astype(np.int64), "sure": sure, "outputs": outputs})

    def settle(self, specimen: Specimen, images: Images, tally: Tally, twin: Tally | None) -> Arrays:
        assert isinstance(tally, Rows) and images.labels is not None and images.classes is not None
        answers = matched(specimen, images, int(tally.column("outputs")[0]))
        top, wanted = tally.column("top"), answers.wanted(images.labels[tally.index])
        known = wanted >= 0
        first, five = (top[:, 0] == wanted)[known], (top == wanted[:, None]).any(axis=1)[known]
        labels = images.labels[tally.index][known]
        classes = [c for c in range(len(images.classes)) if (labels == c).any()]
        chance = np.bincount(labels).max() / len(labels)
        overall = [wilson(int(first.sum()), len(first)), wilson(int(five.sum()), len(five)), (chance, np.nan, np.nan)]
        by_class = [wilson(int(first[labels == c].sum()), int((labels == c).sum())) for c in classes]
        names = [images.classes[c] for c in classes]
        correct = np.full(len(images), np.nan)
        correct[tally.index[known]] = first
        told = {"measure": list(MEASURES)}
        return {
            "overall": array([one[0] for one in overall], ("measure",), "share", told, "share of images"),
            "overall_low": array([one[1] for one in overall], ("measure",), "share", told),
            "overall_high": array([one[2] for one in overall], ("measure",), "share", told),
            "by_class": array([one.value for one in by_class], ("class",), "share", {"class": names}, "top-1"),
            "by_class_low": array([one.low for one in by_class], ("class",), "share", {"class": names}),
            "by_class_high": array([one.high for one in by_class], ("class",), "share", {"class": names}),
            "count": array([int((labels == c).sum()) for c in classes], ("class",), "images", {"class": names}, "images"),
            "correct": array(correct, ("image",), "1", title="right (1) or wrong (0)"),
            "confidence": array(tally.column("sure"), ("image",), "probability", title="largest probability"),
            "matched": array([answers.how], ("criterion",), "text", title="outputs matched to classes"),
        }

    def panels(self, found: Arrays) -> Sequence[Panel]:
        columns = ("by_class", "by_class_low", "by_class_high", "count")
        if found["by_class"].sizes["class"] > 40:
            return [Table(title="Accuracy by class", columns=columns, rows="class")]
        return [
            Bars(title="Accuracy by class", y=("by_class",), x="class", low="by_class_low", high="by_class_high"),
            Table(title="Accuracy by class, as numbers", columns=columns, rows="class"),
        ]

    def line(self, found: Arrays) -> str:
        top, low, high = (found[name].sel(measure="top-1").item() for name in ("overall", "overall_low", "overall_high"))
        right = int(np.nansum(found["correct"].values))
        count = int((~np.isnan(found["correct"].values)).sum())
        five = found["overall"].sel(measure="top-5").item()
        chance = found["overall"].sel(measure="chance").item()
        return (
            f"Right on {right} of {count} images: top-1 {100 * top:.1f} % (95 % interval {100 * low:.1f}–{100 * high:.1f}), "
            f"top-5 {100 * five:.1f} %; always naming the most frequent class gives {100 * chance:.1f} %."
        )

    def caveats(self, found: Arrays) -> Sequence[str]:
        said = [f"The network's outputs were matched to the classes {found['matched'].values[0]}."]
        if found["by_class"].sizes["class"] < 5:
            said.append("With fewer than five classes top-5 is always right.")
        return [
            *said,
            "Images that the network was trained on make this number too high; microtome cannot see which those are.",
        ]
