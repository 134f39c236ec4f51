"""Top-1, top-5 and balanced accuracy of the network's own head, overall and by class.

The head is scored only where its outputs are the classes of the images: matched by WordNet id, by name or, when the network does not
name its outputs, by order (a caveat then says so). Where they do not match, the analysis is skipped; use `probe` instead.

Where the largest class has more than 1.5 times the images of the smallest, balanced accuracy leads: the mean over the classes of the
fraction of their images that is right, so that a network gains nothing by predicting the frequent classes.

Source: top-1 and top-5 accuracy, Russakovsky et al. 2015, arXiv:1409.0575, sec. 4.1, interval: Clopper & Pearson 1934; balanced accuracy,
Brodersen et al. 2010, interval: Price & Bonett 2004.
"""

from collections.abc import Sequence
from math import nan
from typing import Any, final

import numpy as np
import torch

from microtome.analysis import Analysis, BatchValues, Census, Measurement
from microtome.errors import Unmeasurable
from microtome.finding import Finding, array
from microtome.images import Images
from microtome.instruments.class_matching import match_classes, why_no_scores
from microtome.key_numbers import FRACTION, KeyNumber, format_value
from microtome.numerics.statistics.balanced import MAX_IMBALANCE, balanced_accuracy, class_imbalance
from microtome.numerics.statistics.proportions import proportion_interval
from microtome.panels import Bars, Panel, Table
from microtome.prose import plural
from microtome.scan import Batch
from microtome.specimen import Specimen
from microtome.specimen.finiteness import finite_rows, where_broken
from microtome.tally import Rows

NO_ANSWER = -2  # in place of a class where the output is not finite
PLACE_BYTES = 200  # kept of the words that say where such values begin
NO_BETTER = (
    "Trained weights that are no better than the most frequent class: the recipe, the order of the outputs or the weights may "
    "not fit."
)
MEASURES = ("top-1", "top-5", "balanced", "chance")


@final
class Accuracy(Census[Rows]):
    """Top-1, top-5 and balanced accuracy with intervals."""

    needs = "labels"
    question = "choose"
    title = "Accuracy"
    rank = 1
    effort = "quick"
    counts_broken = True
    revision = 3  # 2: balanced accuracy, exact intervals; 3: outputs that are not finite count as wrong

    def refusal(self, specimen: Specimen, images: Images | None) -> str:
        single = "it gives no single score for each class (a segmentation or detection network), so no image is right or wrong"
        reason = single if specimen.outputs is None else why_no_scores(specimen, images)
        return Analysis.refusal(self, specimen, images) or reason

    def layers_to_watch(self, specimen: Specimen) -> list[str]:
        return []

    def empty_tally(self) -> Rows:
        return Rows()

    def reduce(self, specimen: Specimen, name: str, value: torch.Tensor, seen: BatchValues) -> Any:
        raise AssertionError("accuracy watches no layer")

    def add(self, specimen: Specimen, tally: Rows, batch: Batch, seen: BatchValues, logits: torch.Tensor) -> None:
        logits = specimen.class_scores(logits)
        if logits.dim() != 2:
            raise Unmeasurable(f"{specimen.name} gives {tuple(logits.shape[1:])} for one image, not one score per class.")
        sound = finite_rows(logits)
        broken = "" if bool(sound.all()) else where_broken(specimen.net, batch.x[~sound])
        top = logits.topk(min(5, logits.shape[1]), dim=1).indices.cpu().numpy()
        sure = torch.softmax(logits.double(), dim=1).amax(dim=1).cpu().numpy()
        top[~sound.cpu().numpy()] = NO_ANSWER
        outputs = np.full(len(top), logits.shape[1], dtype=np.int64)
        where = np.array([broken.encode()[:PLACE_BYTES].ljust(PLACE_BYTES)] * len(top)).view(np.uint8).reshape(len(top), -1)
        tally.add(batch.index, {"top": top.astype(np.int64), "sure": sure, "outputs": outputs, "where": where})

    def to_arrays(self, specimen: Specimen, images: Images, tally: Rows, twins: Sequence[Rows]) -> Measurement:
        assert images.labels is not None and images.classes is not None
        answers = match_classes(specimen, images, 1 if specimen.outputs == 1 else int(tally.column("outputs")[0]))
        top, wanted = tally.column("top"), answers.targets(images.labels[tally.index])
        known = wanted >= 0
        first, five = (top[:, 0] == wanted)[known], (top == wanted[:, None]).any(axis=1)[known]
        labels = images.labels[tally.index][known]
        classes = [c for c in range(len(images.classes)) if (labels == c).any()]
        chance = np.bincount(labels).max() / len(labels)
        overall = [
            proportion_interval(int(first.sum()), len(first)),
            proportion_interval(int(five.sum()), len(five)),
            balanced_accuracy(first, labels),
            (chance, np.nan, np.nan),
        ]
        by_class = [proportion_interval(int(first[labels == c].sum()), int((labels == c).sum())) for c in classes]
        names = [images.classes[c] for c in classes]
        correct = np.full(len(images), np.nan)
        correct[tally.index[known]] = first
        label = np.full(len(images), -1, dtype=np.int64)
        label[tally.index[known]] = labels
        measures, by_name = {"measure": list(MEASURES)}, {"class": names}
        arrays = {
            "overall": array([each[0] for each in overall], ("measure",), "fraction", measures, "fraction of images"),
            "overall_low": array([each[1] for each in overall], ("measure",), "fraction", measures),
            "overall_high": array([each[2] for each in overall], ("measure",), "fraction", measures),
            "by_class": array([each.value for each in by_class], ("class",), "fraction", by_name, "top-1 accuracy"),
            "by_class_low": array([each.low for each in by_class], ("class",), "fraction", by_name),
            "by_class_high": array([each.high for each in by_class], ("class",), "fraction", by_name),
            "count": array([int((labels == c).sum()) for c in classes], ("class",), "images", by_name, "images"),
            "correct": array(correct, ("image",), "1", title="right (1) or wrong (0)"),
            "label": array(label, ("image",), "class number", title="class, -1 unknown"),
            "confidence": array(tally.column("sure"), ("image",), "probability", title="largest probability"),
        }
        facts: dict[str, Any] = {"matched": answers.how, "imbalance": class_imbalance(labels)}
        if lost := int((top[:, 0] == NO_ANSWER).sum()):
            place = bytes(tally.column("where")[int((top[:, 0] == NO_ANSWER).argmax())]).decode("utf-8", "ignore").strip()
            facts |= {"broken": lost, "where_broken": place}
        return Measurement(arrays, facts)

    def key_numbers(self, finding: Finding) -> Sequence[KeyNumber]:
        value, low, high = (finding[name] for name in ("overall", "overall_low", "overall_high"))
        chance = float(value.sel(measure="chance"))

        by_class = finding["by_class"]
        baselines = {"top-1": chance, "balanced": 1 / by_class.sizes["class"]}

        def top(measure: str) -> KeyNumber:
            at = {"measure": measure}
            return KeyNumber(
                name=f"{measure} accuracy", value=float(value.sel(at)), unit=FRACTION, low=float(low.sel(at)), high=float(high.sel(at)),
                has_interval=True,
                baseline=baselines.get(measure, nan), baseline_name="most frequent class", better="higher",
            )  # fmt: skip

        worst = by_class.isel({"class": int(np.argmin(by_class.values))})
        return [
            *([top("balanced")] if finding.facts["imbalance"] > MAX_IMBALANCE else []),
            top("top-1"),
            *([top("top-5")] if by_class.sizes["class"] > 5 else []),
            KeyNumber(name="worst class", value=float(worst), unit=FRACTION, better="higher", at=str(worst["class"].values)),
            KeyNumber(name="images", value=float(finding["count"].sum()), unit="1"),
        ]

    def headline(self, finding: Finding) -> str:
        top = finding.key("top-1 accuracy")
        count = int(finding["count"].sum())
        if finding.facts["imbalance"] > MAX_IMBALANCE:
            fair, times = finding.key("balanced accuracy"), format_value(finding.facts["imbalance"])
            return (
                f"Balanced accuracy {fair.text} on {plural(count, 'image')}, chance {fair.baseline_text}; "
                f"largest class {times} times the smallest."
            )
        return (
            f"Top-1 accuracy {top.text} on {plural(count, 'image')}; the most frequent class alone gives {top.baseline_text}."
        )

    def panels(self, finding: Finding) -> Sequence[Panel]:
        columns = ("by_class", "by_class_low", "by_class_high", "count")
        if finding["by_class"].sizes["class"] > 40:
            return [Table(title="Accuracy by class", columns=columns, rows="class")]
        return [
            Bars(title="Accuracy by class", y=("by_class",), x="class", low="by_class_low", high="by_class_high"),
            Table(title="Accuracy by class, as numbers", columns=columns, rows="class"),
        ]

    def caveats(self, finding: Finding) -> Sequence[str]:
        few = ["With five classes or fewer, top-5 accuracy is always 100%."] if finding["by_class"].sizes["class"] <= 5 else []
        uneven = [
            f"Top-1 accuracy, {finding.key('top-1 accuracy').text}, follows the frequent classes; balanced accuracy "
            "weighs all classes alike."
        ]
        lost = finding.facts.get("broken", 0)
        broken = (
            f"For {lost} of {finding['correct'].sizes['image']} images the output is not a number (NaN or infinity); they count as "
            f"wrong; {finding.facts.get('where_broken')}."
        )
        top = finding.key("top-1 accuracy")
        chance = finding.trained is True and top.low <= top.baseline
        return [
            *([broken] if lost else []),
            *([NO_BETTER] if chance else []),
            *(uneven if finding.facts["imbalance"] > MAX_IMBALANCE else []),
            f"Outputs were matched to the classes {finding.facts['matched']}.",
            *few,
            "Accuracy is too high on images the network was trained on; microtome cannot detect those.",
        ]
