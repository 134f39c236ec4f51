"""The scores of one layer, with their intervals: from features and labels, in one place for the network and its twins."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from microtome.errors import Unmeasurable
from microtome.numerics.probes.logistic import logistic_probe
from microtome.numerics.probes.nearest import nearest_probe
from microtome.numerics.probes.ridge import ridge_probe, stratified_folds
from microtome.numerics.statistics.intervals import Interval
from microtome.numerics.statistics.jackknife import GROUPS, jackknife_intervals
from microtome.numerics.statistics.proportions import proportion_interval
from microtome.numerics.transferability.agreement import feature_correlations, parc_of
from microtome.numerics.transferability.evidence import logme
from microtome.numerics.transferability.samples import code_labels, narrow_features, principal_coordinates
from microtome.numerics.transferability.separability import bhattacharyya_of, h_score_of, transrate_of
from microtome.numerics.transferability.source_classes import leep, nce

Values = np.ndarray[Any, Any]
SCORES = {  # in the order of the columns, and what they are called
    "logme": "LogME",
    "gbc": "GBC",
    "parc": "PARC",
    "h_score": "regularised H-score",
    "transrate": "TransRate",
}
PROBES = {"nearest": "k-NN", "ridge": "ridge probe", "logistic": "logistic probe"}
SOURCE_SCORES = ("LEEP", "NCE")
LEAST = 2  # images of a class; of one alone there is no other of its kind


def layer_scores(features: Values, labels: Values, seed: int = 0) -> dict[str, Interval]:
    """Every score of `SCORES`, with its interval, from features (image, feature) and labels (image,).

    Raises:
        Unmeasurable: features that are not finite.
    """
    coded = code_labels(features, labels)
    width = features.shape[1]
    narrow, correlations = narrow_features(features), feature_correlations(features)

    def scores(kept: Values) -> list[float]:
        some = np.unique(coded[kept], return_inverse=True)[1]
        coordinates = principal_coordinates(narrow[kept])
        return [
            logme(narrow[kept], some),
            bhattacharyya_of(coordinates, some),
            parc_of(correlations[np.ix_(kept, kept)], some),
            h_score_of(coordinates, some, width),
            transrate_of(coordinates, some),
        ]

    intervals = dict(zip(SCORES, _with_intervals(scores, coded, seed), strict=True))
    bounds = {"gbc": (-np.inf, 0.0), "parc": (-1.0, 1.0), "h_score": (0.0, float(coded.max()))}
    return {name: _within(interval, *bounds.get(name, (-np.inf, np.inf))) for name, interval in intervals.items()}


def source_scores(probabilities: Values, labels: Values, seed: int = 0) -> dict[str, Interval]:
    """LEEP and NCE with their intervals, from probabilities (image, source class) and labels (image,)."""

    def scores(kept: Values) -> list[float]:
        return [leep(probabilities[kept], labels[kept]), nce(probabilities[kept], labels[kept])]

    intervals = [_within(interval, -np.inf, 0.0) for interval in _with_intervals(scores, labels, seed)]
    return dict(zip(SOURCE_SCORES, intervals, strict=True))


def _within(interval: Interval, least: float, most: float) -> Interval:
    """The interval without what no score can be."""
    return Interval(interval.value, *(float(np.clip(end, least, most)) for end in interval[1:]))


def _with_intervals(scores: Callable[[Values], list[float]], labels: Values, seed: int) -> list[Interval]:
    """What `scores` gives for all images, with intervals of the grouped jackknife; `scores` takes the places of images."""
    whole = np.array(scores(np.arange(len(labels))))
    fold = stratified_folds(labels, min(GROUPS, len(labels)), seed)
    without = np.array([scores(np.flatnonzero(fold != group)) for group in np.unique(fold)])
    values, low, high = jackknife_intervals(whole, without)
    return [Interval(float(a), float(b), float(c)) for a, b, c in zip(values, low, high, strict=True)]


def probe_accuracies(
    features: Values, labels: Values, folds: int, seed: int, with_logistic: bool = False
) -> Mapping[str, tuple[Interval, str]]:
    """Cross-validated accuracy of each kind of probe with its interval, and why one is not known, else an empty text."""
    correlations = feature_correlations(features)
    ways: dict[str, Callable[[], Any]] = {
        "nearest": lambda: nearest_probe(correlations, labels, folds, seed),
        "ridge": lambda: ridge_probe(features, labels, folds, seed),
    }
    if with_logistic:
        ways["logistic"] = lambda: logistic_probe(features, labels, folds, seed)
    accuracies: dict[str, tuple[Interval, str]] = {}
    for name, fit in ways.items():
        try:
            correct = fit().correct
        except Unmeasurable as error:
            accuracies[name] = Interval(np.nan, np.nan, np.nan), str(error)
        else:
            accuracies[name] = proportion_interval(int(correct.sum()), len(correct)), ""
    return accuracies
