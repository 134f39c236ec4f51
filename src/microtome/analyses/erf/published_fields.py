"""Published widths of effective receptive fields, for comparison.

Source: Kim et al. 2021, "Dead Pixel Test Using Effective Receptive Field", arXiv:2108.13576: torchvision's networks with their first
ImageNet weights (IMAGENET1K_V1, identified by their top-5 accuracies), 224 px, 1,000 validation images, the middle position of the
last map (counted from 1: 4, 4 of 7 x 7), mean over units, positive part; a Gaussian with free centre by least squares. There x runs
along columns.
"""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class PublishedField:
    """One row: the layer, the theoretical field (px), σ along rows and columns (px), R² of the fit."""

    layer: str
    theory: int
    sigma: tuple[float, float]
    r2: float


SIZE = (224, 224)
WEIGHTS = "IMAGENET1K_V1"
PUBLISHED: dict[str, PublishedField] = {
    "resnet18": PublishedField("layer4", 435, (73.7, 76.5), 0.908),
    "resnet34": PublishedField("layer4", 899, (97.2, 96.1), 0.785),
    "resnet50": PublishedField("layer4", 427, (62.2, 64.8), 0.945),
    "resnet101": PublishedField("layer4", 971, (60.7, 60.1), 0.937),
    "resnet152": PublishedField("layer4", 1451, (58.7, 60.6), 0.930),
    "resnext50_32x4d": PublishedField("layer4", 427, (67.7, 70.9), 0.908),
    "wide_resnet50_2": PublishedField("layer4", 427, (60.7, 58.4), 0.954),
    "wide_resnet101_2": PublishedField("layer4", 971, (59.9, 56.9), 0.944),
    "resnext101_32x8d": PublishedField("layer4", 971, (77.0, 77.7), 0.889),
}


def published_row(name: str) -> tuple[str, PublishedField] | None:
    """The row for a network by its name in torchvision or timm ("timm:resnet50.tv_in1k"), with the row's own name; None for others."""
    library, _, rest = name.partition(":")
    stem = rest.partition(".")[0]
    return (stem, PUBLISHED[stem]) if library in ("torchvision", "timm") and stem in PUBLISHED else None


def has_published_weights(name: str, weights: str) -> bool:
    """Whether a network that `published_row` knows has the weights measured there, judged by the names."""
    library, _, rest = name.partition(":")
    return (
        WEIGHTS in weights
        if library == "torchvision"
        else rest.partition(".")[2] == "tv_in1k" and weights.startswith("pretrained")
    )


def compare_with_published(name: str, weights: str, there: Sequence[float], here: Sequence[float]) -> str:
    """The published σ (row, col) beside the measured one; `weights` is "same" or "other"."""
    why = (
        "the same weights, other images"
        if weights == "same"
        else "those were ImageNet weights, not these, so they need not agree"
    )
    return (
        f"Published σ of {name} (Kim et al. 2021, torchvision's first ImageNet weights, 1,000 validation images): "
        f"{there[0]:.1f} x {there[1]:.1f} px; here {here[0]:.1f} x {here[1]:.1f} px: {why}."
    )
