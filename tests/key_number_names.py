"""The names of all key numbers: for each analysis those it always gives, and those it gives only where they can be measured."""

import re

from microtome.finding import Finding

# The digits that belong to a quantity's own name; any other would come from what was measured.
FIXED = ("top-1", "top-5", "W1/σ", "3 σ", "95%", "above 0.9", "below 0.1")
NAMES: dict[str, tuple[str, ...]] = {
    "accuracy": ("top-1 accuracy", "worst class", "images"),
    "atrous": ("taps on the map", "rate over map side", "suggested rate", "convolutions with dead taps", "dilated convolutions"),
    "audit": ("findings", "errors", "warnings", "rules checked", "rules not checked"),
    "banding": (
        "banding index, maps", "banding index, raw weights", "banded units, maps", "strongest banding index, maps", "kernels measured",
    ),
    "cam": ("area of half the evidence", "rank correlation with random weights", "maps"),
    "compare": (
        "accuracy of the choice", "loss against the most accurate", "ranked first in bootstrap resamples", "images", "networks compared",
    ),
    "concepts": (
        "TCAV score", "TCAV score, random concepts", "alignment of gradient and concept", "accuracy of the concept vector",
        "above random concepts", "below random concepts",
    ),
    "correspondence": ("agreement beyond the control", "kappa", "Δ", "parts above every random position"),
    "cost": ("parameters", "multiply-adds", "latency of one image", "latency per image in a batch", "live memory"),
    "cross_similarity": (
        "best match of the last layer", "CKA of the last layers", "mean CKA of best matches",
        "best matches more similar than in all untrained twins", "images",
    ),
    "dead_pixels": ("weakest phase", "weakest phase, one untrained twin", "weakest phase, forecast", "layers with uneven strides"),
    "deconvnet": (
        "similarity to another unit", "similarity to random weights", "similarity to edges", "rectifiers", "units projected",
    ),
    "erf": ("Gaussian σ, rows", "Gaussian σ, columns", "R² of the Gaussian fit", "mass within 3 σ", "pixels that hold 95% of the field"),
    "evolution": (
        "rank correlation of depth and distance to the end", "strongest image changed in the last step", "checkpoints",
    ),
    "excitation": (
        "variance explained by the class, most", "variance explained at the first gate", "gates above 0.9", "gates below 0.1",
        "channels always open", "channels never open",
    ),
    "expanded_weights": ("expanded weights in the strongest channels", "weights in the strongest channels", "inside the crop"),
    "faithfulness": (
        "gain over the best baseline", "methods better than all baselines", "methods compared", "deletion area", "insertion area", "images",
    ),
    "features": ("dead units, worst layer", "zeros, most", "layers without negative values"),
    "frontend": (
        "dead filters", "energy above Nyquist", "energy above Nyquist, natural images", "middle over extremes", "faults", "filters",
    ),
    "invariance": ("largest change", "smallest change"),
    "objects": ("localisation lift", "lift of a centre blob", "energy-based pointing game", "images"),
    "occlusion": (
        "largest loss of probability", "positions where the label changes", "rank correlation with random weights",
    ),
    "patches": ("images shared by units", "images shared by units, chance", "units without a patch"),
    "position": ("attention distance", "attention distance, uniform attention"),
    "probe": ("best probe accuracy", "probe accuracy on the twins' images", "new head accuracy"),
    "receptive_field": ("layers that cover the whole image", "border layers", "layers"),
    "redundancy": (
        "smallest block influence", "blocks below all untrained twins", "angular distance", "CKA of input and output", "parameters",
        "blocks compared",
    ),
    "reuse": (
        "observations beyond all untrained twins", "observations that hold in both", "sources used by a layer",
        "sources used by a transition", "layers that read the transition least", "classifier weight, late over early third",
    ),
    "robustness": (),
    "similarity": (
        "smallest CKA of neighbouring layers", "mean CKA of neighbouring layers", "CKA of the first and the last layer",
        "neighbours more similar than in all untrained twins", "images",
    ),
    "slimming": (
        "loss without the last but one block", "smallest loss of one block", "blocks shown to cost no more than the budget alone",
        "rank correlation of block influence with the loss",
    ),
    "supervision": (
        "largest distance from the loss", "median distance from the loss", "mean path to the first layer",
        "gradient, first third over last third", "weight layers with a path", "images",
    ),
    "transfer": ("LogME", "LogME on the twins' images", "GBC", "ridge probe accuracy", "k-NN accuracy"),
    "weights": ("weight tensors with problems", "weight tensors"),
}  # fmt: skip
# Names that need something more: what it is.
SOMETIMES: dict[str, dict[str, str]] = {
    "accuracy": {"balanced accuracy": "imbalanced classes", "top-5 accuracy": "more than five classes"},
    "atrous": {"gradient on the star": "parallel branches"},
    "cam": {
        "rank correlation with the runner-up class": "classes", "rank correlation with the mean of the images shown": "embeddings",
        "energy-based pointing game": "masks", "object area": "masks",
    },
    "compare": {"latency over that of the most accurate": "networks timed in turn"},
    "dead_pixels": {"R² of gradient and change": "changed pixels"},
    "erf": {"theoretical receptive field": "a field with a border"},
    "evolution": {"largest mean distance to the end": "layers that change", "top-1 accuracy at the end": "classes"},
    "invariance": {"shift consistency": "a shift", "lowest probability": "classes"},
    "objects": {"top-1 accuracy": "classes", "accuracy on the smallest objects": "classes"},
    "occlusion": {
        "probability lost on the object": "masks", "probability lost elsewhere": "masks",
        "localisation lift": "masks", "images": "at most six key numbers",
    },
    "patches": {
        "class agreement": "classes", "class agreement, chance": "classes", "units above 95% of the twin's": "classes",
    },
    "position": {
        "positional power": "learnt positions", "positional power, highest contrast": "several contrasts",
        "heads with a Gaussian bias": "a bias by position",
    },
    "probe": {
        "best balanced probe accuracy": "imbalanced classes", "logistic probe accuracy": "an option",
        "layers above all untrained twins": "at most six key numbers", "images": "at most six key numbers",
    },
    "receptive_field": {
        "receptive field": "a field with a border", "receptive field, shortest path": "a field with a border",
        "stride": "a field with a border",
    },
    "robustness": {
        "accuracy under corruption": "classes", "accuracy under the worst corruption": "classes",
        "agreement under corruption": "no classes", "agreement under the worst corruption": "no classes",
        "mCE": "all five severities", "relative mCE": "all five severities",
        "calibration error under corruption": "classes", "drift of the last layer": "corruptions", "images": "fewer than two others",
        "lowest accuracy, contrast": "a sweep", "lowest accuracy, brightness": "a sweep", "lowest accuracy, colour scale": "a sweep",
        "lowest accuracy, size": "a sweep", "lowest agreement, contrast": "a sweep", "lowest agreement, brightness": "a sweep",
        "lowest agreement, colour scale": "a sweep", "lowest agreement, size": "a sweep",
    },
    "transfer": {"LEEP": "classes of its own"},
    "weights": {
        "W1/σ between neighbours": "two like tensors", "pairs further apart than in every twin": "two like tensors",
        "W1/σ, batch norm folded in": "batch norms",
    },
    "slimming": {
        "loss without the blocks of the search": "a search that removes blocks",
        "latency without the blocks of the search": "a search that removes blocks",
    },
}  # fmt: skip


def strange_names(finding: Finding) -> list[str]:
    """Key numbers of a finding that its analysis does not declare here, and those it always gives and this finding lacks."""
    names = [number.name for number in finding.key_numbers]
    always, sometimes = NAMES[finding.analysis], SOMETIMES.get(finding.analysis, {})
    unknown = [f"not declared: {name}" for name in names if name not in always and name not in sometimes]
    return unknown + [f"missing: {name}" for name in always if name not in names]


def varying_digits(name: str) -> str:
    """The digits of a name that are no part of a fixed quantity."""
    for fixed in FIXED:
        name = name.replace(fixed, "")
    return "".join(re.findall(r"[0-9]", name))
