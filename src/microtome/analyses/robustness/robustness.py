"""Accuracy, calibration and features under 19 corruptions and sweeps of contrast, brightness and size.

The images are corrupted as the network sees them (after resizing and cropping), with noise that belongs to each image alone. Where the
network's outputs are the classes of the images its accuracy is measured, else how often it gives the answer of the clean image. Drift is
how far the features of a layer, averaged over positions, move: as a fraction of the distance between two different images. An untrained
network that always predicts one class keeps all its answers, so untrained twins are shown the same; each sees a part of the images.

The mean corruption error (mCE) divides the errors by those of AlexNet, corruption by corruption, where all five severities are measured.
These are not results on ImageNet-C: other images and our own code, whose differences are measured (docs/corruptions.md).

Source: corruptions, severities and mCE, Hendrycks & Dietterich 2019, arXiv:1903.12261; calibration error, Guo et al. 2017,
arXiv:1706.04599; sweeps of contrast and colour scale, after Kim et al. 2021, arXiv:2111.08413. Drift over the distance between images
is ours.
"""

from collections.abc import Sequence
from typing import Any, Literal, final

import numpy as np

from microtome.analyses.robustness.conditions import Condition, list_conditions
from microtome.analyses.robustness.examples import example_images
from microtome.analyses.robustness.summary import Views, overall_arrays, read_views, view_arrays
from microtome.analyses.robustness.viewing import Viewer, typical_distances
from microtome.analyses.robustness.wording import (
    robustness_caveats,
    robustness_headline,
    robustness_key_numbers,
    robustness_panels,
)
from microtome.analysis import Analysis, Measurement, option
from microtome.errors import BadOption, Unmeasurable
from microtome.finding import Finding
from microtome.images import Images
from microtome.images.corruptions import SEVERITIES
from microtome.instruments.class_matching import match_classes, why_no_head
from microtome.instruments.untrained_twins import turn_count, twins_in_turn
from microtome.key_numbers import KeyNumber
from microtome.panels import Panel
from microtome.scan import Batch, Pace, discard_tally, scan_batches
from microtome.specimen import Specimen
from microtome.tally import Rows
from microtome.workload import Workload

SECONDS_PER_VIEW = 2e-7  # for each pixel of an image, to corrupt it on the reference machine


@final
class Robustness(Analysis):
    """Answers and features under corruption."""

    needs = "images"
    question = "choose"
    title = "Robustness"
    rank = 38
    effort = "full"  # many passes for one question
    revision = 2  # 2: intervals of drift and calibration error
    with_twin = True

    at: tuple[str, ...] = option(("stages", "last"), "layers whose drift is measured: names, globs or aliases")
    corruptions: tuple[
        Literal[
            "gaussian_noise", "shot_noise", "impulse_noise", "defocus_blur", "glass_blur", "motion_blur", "zoom_blur", "snow", "frost",
            "fog", "brightness", "contrast", "elastic_transform", "pixelate", "jpeg_compression", "speckle_noise", "gaussian_blur",
            "spatter", "saturate",
        ],
        ...,
    ] = option(
        ("gaussian_noise", "defocus_blur", "fog", "contrast", "jpeg_compression"), "corruptions of the images",
        quick=("gaussian_noise", "defocus_blur", "contrast"),
        full=(
            "gaussian_noise", "shot_noise", "impulse_noise", "defocus_blur", "glass_blur", "motion_blur", "zoom_blur", "snow", "frost",
            "fog", "brightness", "contrast", "elastic_transform", "pixelate", "jpeg_compression", "speckle_noise", "gaussian_blur",
            "spatter", "saturate",
        ),
    )  # fmt: skip
    severities: tuple[int, ...] = option((1, 3, 5), "severities of each corruption, 1 to 5", quick=(3,), full=(1, 2, 3, 4, 5))
    sweeps: tuple[Literal["contrast", "brightness", "colour_scale", "size"], ...] = option(
        ("contrast", "colour_scale"),
        "continuous changes of the images",
        quick=(),
        full=("contrast", "brightness", "colour_scale", "size"),
    )
    count: int = option(20, "images measured, of each class in proportion", low=1, high=100_000, quick=8, full=200)
    seed: int = option(0, "seed of what is random in a corruption", low=0)

    def refusal(self, specimen: Specimen, images: Images | None) -> str:
        if not self.corruptions and (reason := why_no_head(specimen)):
            return f"{reason}, and drift is measured under corruptions: name one"
        if images is not None and images.source.channels not in (None, 3):
            return "corruptions are defined on 8-bit images, and these are numbers in bands"
        return Analysis.refusal(self, specimen, images)

    def workload(self, specimen: Specimen, images: Images | None) -> Workload:
        shown = min(self.count, len(images or ()))
        views = 1.0 + len(self._conditions())
        twins = min(specimen.twin_count, shown)
        own_and_twin = 2.0 if twins else 1.0  # every image is shown to one twin
        pixels = float(np.prod(specimen.recipe.size))
        work = own_and_twin * views * shown
        return Workload(forward=work + twins * shown, twins=twins, seconds=0.5 + SECONDS_PER_VIEW * pixels * work)

    def _conditions(self) -> list[Condition]:
        """What the images are shown under.

        Raises:
            BadOption: no condition is asked for, or a severity does not exist.
        """
        if wrong := [each for each in self.severities if each not in SEVERITIES]:
            raise BadOption(f"robustness: option severities is {wrong[0]}; it takes 1 to 5.")
        conditions = list_conditions(
            list(dict.fromkeys(self.corruptions)), sorted(set(self.severities)), list(dict.fromkeys(self.sweeps))
        )
        if not conditions:
            raise BadOption("robustness: options corruptions and sweeps are both empty; name one of either.")
        return conditions

    def measure(self, specimen: Specimen, images: Images | None, pace: Pace) -> Measurement:
        assert images is not None  # `refusal` has refused before
        conditions, layers = self._conditions(), specimen.distinct(self.at)
        chosen = images.sample(self.count)
        taken = images.take([place for place in images.content_order() if place in chosen])
        wanted, description, unmeasured = self._wanted(specimen, taken)
        rows = self._rows(specimen, taken, conditions, layers, pace, "corruptions")
        views = read_views(rows, layers, wanted)
        twin, twin_classes = self._twins(specimen, images, taken, conditions, layers, pace)
        arrays = view_arrays(views, twin, conditions, layers)
        arrays |= overall_arrays(views, twin, rows, conditions, layers)
        arrays |= example_images(specimen, taken, conditions, self.seed)
        facts = {
            "images": len(taken),
            "class": description,
            "twins": turn_count(specimen, len(taken)),
            "twin_classes": twin_classes,
            "unmeasured": unmeasured,
        }
        discard_tally(pace, self._key(specimen, taken, "corruptions"))
        return Measurement(arrays, facts)

    def _wanted(self, specimen: Specimen, images: Images) -> tuple[np.ndarray[Any, Any] | None, str, dict[str, str]]:
        """The right output of each image, in words how it is known, and why there is none."""
        if reason := why_no_head(specimen):
            return None, "", {"answers": reason}
        if images.labels is None or specimen.outputs is None:
            return None, "", {"accuracy": "the images have no labels"}
        try:
            match = match_classes(specimen, images, specimen.outputs)
        except Unmeasurable as error:
            return None, "", {"accuracy": str(error).rstrip(".")}
        return match.targets(images.labels), match.how, {}

    def _key(self, specimen: Specimen, images: Images, run: str) -> list[str]:
        return [self.key(specimen, images, str(specimen.device)), run]

    def _rows(
        self, specimen: Specimen, images: Images, conditions: Sequence[Condition], layers: Sequence[str], pace: Pace, run: str
    ) -> Rows:
        """One row for each image; kept while unfinished."""
        rows, viewer = Rows(), Viewer(specimen, conditions, layers, self.seed)

        def visit(batch: Batch) -> None:
            rows.add(batch.index, viewer.columns(images, batch))

        what = f"{specimen.name.removesuffix(' (untrained twin)')}: {run}"
        scan_batches(specimen, images, rows, pace, visit, what=what, key=self._key(specimen, images, run))
        return rows

    def _twins(
        self,
        specimen: Specimen,
        images: Images,
        taken: Images,
        conditions: Sequence[Condition],
        layers: Sequence[str],
        pace: Pace,
    ) -> tuple[Views | None, int]:
        """What the images' untrained twins did, in the order of the images, and how many classes a twin predicts at most.

        Every twin sees all clean images, since the distance between images is over all of them, and a part of the corrupted ones.
        """
        same = np.full((len(taken), 1 + len(conditions)), np.nan)
        drifts, weights, classes = list[Any](), list[int](), 0
        for number, twin, turn in twins_in_turn(specimen, images, len(taken)):
            run, part = f"corruptions of untrained twin {number + 1}", taken.take(turn)
            clean = self._rows(twin, taken, [], layers, pace, f"{run}, clean")
            rows = self._rows(twin, part, conditions, layers, pace, run)
            apart = typical_distances(clean, layers)
            own = read_views(rows, layers, None)
            same[turn] = own.same
            with np.errstate(divide="ignore", invalid="ignore"):
                drifts.append(rows.column("moved").mean(0) / apart)
            weights.append(len(turn))
            classes = max(classes, len(np.unique(clean.column("answer"))))
            for images_seen, name in ((taken, f"{run}, clean"), (part, run)):
                discard_tally(pace, self._key(twin, images_seen, name))
        if not drifts:
            return None, 0
        drift = np.average(np.stack(drifts), axis=0, weights=weights)
        return Views(
            np.full_like(same, np.nan), same, np.full_like(same, np.nan), np.where(np.isfinite(drift), drift, np.nan)
        ), classes

    def key_numbers(self, finding: Finding) -> Sequence[KeyNumber]:
        return robustness_key_numbers(finding)

    def headline(self, finding: Finding) -> str:
        return robustness_headline(finding)

    def panels(self, finding: Finding) -> Sequence[Panel]:
        return robustness_panels(finding)

    def caveats(self, finding: Finding) -> Sequence[str]:
        return robustness_caveats(finding)
