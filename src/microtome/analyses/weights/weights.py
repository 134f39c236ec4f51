"""Weight distributions by layer, and distances between neighbours, compared with untrained twins.

Every weight tensor with two or more axes gets a histogram, moments, sparsity, spectral norm and stable rank. Tensors of the
same role in consecutive blocks (`conv2` with `conv2`, `attn.qkv` with `attn.qkv`, branch by branch) are compared by
Wasserstein-1 in standard deviations, by Wasserstein-1 of the shapes alone, by Kolmogorov-Smirnov and by Jensen-Shannon: as stored,
and with the batch norm folded in where a norm is the only consumer of a layer's output. Untrained networks have nearly equal
neighbours too, so each distance is given beside that of untrained twins. Broken weights and weights of 8-bit origin are listed.

Source: W1 = integral of |F_a - F_b|, Vallender 1974; Jensen-Shannon, Lin 1991, eq. 4.1; stable rank, Rudelson & Vershynin 2007,
arXiv:math/0503442; the comparison with untrained twins is ours.
"""

from collections.abc import Mapping, Sequence
from typing import Any, final

import numpy as np
from torch import Tensor

from microtome.analyses.weights.health import HEALTH_MEASURES, health_measures, weight_problems
from microtome.analyses.weights.pairing import Pairing, ordered_weights, pair_weights
from microtome.analyses.weights.wording import distance_key_numbers, distance_panels, network_caveats
from microtome.analysis import Analysis, Measurement, option
from microtome.finding import Finding, array
from microtome.images import Images
from microtome.instruments.untrained_twins import reason_for_no_verdict, untrained_twins, verdicts
from microtome.key_numbers import KeyNumber
from microtome.numerics.weights.norms import merge_norms, norm_of, norms_after
from microtome.numerics.weights.pairs import DISTANCES, TensorPair, largest_roles, pair_distances
from microtome.numerics.weights.tensors import (
    HISTOGRAM_STDS,
    QUANTILES,
    STATISTICS,
    describe_values,
    value_density,
    weight_tensors,
)
from microtome.panels import Curve, Hist, Panel, Table
from microtome.prose import agree, capitalise, count_of
from microtome.scan import Pace
from microtome.specimen import Specimen
from microtome.workload import Workload

MAX_HISTOGRAMS = 12  # in one figure


@final
class Weights(Analysis):
    """Histograms, moments and spectra of all weights, and distances between neighbours."""

    needs = "weights"
    question = "slim"
    title = "Weight distributions"
    rank = 6
    effort = "quick"
    revision = 5  # 5: W1/σ of each twin
    with_twin = True

    at: tuple[str, ...] = option(("last3",), "layers whose neighbours are compared: names, globs or aliases")
    bins: int = option(64, "bins of each histogram", low=4, high=1024)
    fold: bool = option(True, "also compare the kernels with their batch norm folded in")
    seed: int = option(1, "seed of the first untrained twin", low=0)

    def workload(self, specimen: Specimen, images: Images | None) -> Workload:
        values = sum(p.numel() for p in specimen.net.parameters())
        return Workload(twins=specimen.twin_count, seconds=0.5 + values * (4.4e-8 + 2e-9 * specimen.twin_count))

    def measure(self, specimen: Specimen, images: Images | None, pace: Pace) -> Measurement:
        own, dtypes = ordered_weights(specimen)
        norms = {name: path for name, path in norms_after(specimen.anatomy.trace.calls).items() if name in own}
        pairing = pair_weights(specimen, own, self.at)
        twin_distances: list[Any] = []
        arrays: dict[str, Any] = {}
        for number, twin in enumerate(untrained_twins(specimen, None, self.seed)):
            weights = {name: stored.values for name, stored in weight_tensors(twin.net).items()}
            twin_distances.append(pair_distances(weights, pairing.pairs))
            if number == 0:
                arrays |= self._distributions("twin_", {name: weights[name] for name in own})
                if self.fold and norms:
                    folded = [pair_distances(merge_norms(twin.net, weights, norms), pairing.pairs)]
                    arrays |= _distance_arrays("twin_folded_", pairing.pairs, folded)
        arrays |= self._distributions("", own) | _layer_arrays(specimen, own, dtypes, norms, pairing)
        distances = pair_distances(own, pairing.pairs)
        arrays |= _distance_arrays("", pairing.pairs, [distances])
        arrays |= _distance_arrays("twin_", pairing.pairs, twin_distances) | _each_twin(pairing.pairs, twin_distances)
        reason = reason_for_no_verdict(specimen, None)
        arrays["against_twins"] = _against_twins(pairing.pairs, distances, twin_distances, reason)
        if self.fold and norms:
            kernels = merge_norms(specimen.net, own, norms)
            arrays["folded_statistic"] = _layer_statistics({name: kernels.get(name) for name in own})
            arrays |= _distance_arrays("folded_", pairing.pairs, [pair_distances(kernels, pairing.pairs)])
        missing = dict.fromkeys(pairing.empty, "it has no weights")
        return Measurement(arrays, {"groups": list(pairing.groups), "without_partner": pairing.alone, "unmeasured": missing})

    def _distributions(self, prefix: str, weights: Mapping[str, Tensor]) -> dict[str, Any]:
        """Histograms and statistics of every tensor; what the curves show also as arrays of their own."""
        histograms = [value_density(values, self.bins) for values in weights.values()]
        layers = {"layer": list(weights)}
        statistic = _layer_statistics(weights)
        curves = {"std": "weight units", "excess kurtosis": "1", "stable rank": "1"}
        return {
            f"{prefix}density": array([each[0] for each in histograms], ("layer", "bin"), "fraction per weight unit", layers),
            f"{prefix}value": array([each[1] for each in histograms], ("layer", "bin"), "weight units", layers),
            f"{prefix}statistic": statistic,
        } | {
            prefix + measure.replace(" ", "_"): array(statistic.sel(measure=measure).values, ("layer",), unit, layers, measure)
            for measure, unit in curves.items()
        }

    def key_numbers(self, finding: Finding) -> Sequence[KeyNumber]:
        problems = finding["ailing"].size if "ailing" in finding else 0
        return [
            *distance_key_numbers(finding),
            KeyNumber(name="weight tensors with problems", value=problems, better="lower"),
            KeyNumber(name="weight tensors", value=finding["density"].sizes["layer"]),
        ]

    def headline(self, finding: Finding) -> str:
        leading = finding.key_numbers[0]
        if leading.name == "weight tensors with problems":
            count, total = int(leading.value), finding["density"].sizes["layer"]
            subject = count_of(count, total, "weight tensor")
            start = f"{capitalise(subject)} {agree(count, 'has', 'have')} problems"
            return f"{start}; no two neighbouring tensors could be compared."
        start = "Untrained: neighbouring" if finding.trained is False else "Neighbouring"
        return (
            f"{start} weights differ by W1/σ {leading.text}, the median over pairs (untrained twins {leading.baseline_text})."
        )

    def panels(self, finding: Finding) -> Sequence[Panel]:
        compared = _histogram_layers(finding)
        shown: list[Panel] = []
        if compared:
            shown.append(
                Hist(
                    title="Weights of the compared layers", density="density", value="value", null="twin_density",
                    null_value="twin_value", only=compared, note="Outline: an untrained twin.",
                )
            )  # fmt: skip
        if finding["distance"].sizes["pair"]:
            shown += distance_panels(finding)
        shown += [
            Curve(title="Standard deviation of the weights by depth", y=("std",), x="layer", null=("twin_std",), log="y"),
            Curve(title="Excess kurtosis by depth", y=("excess_kurtosis",), x="layer", null=("twin_excess_kurtosis",),
                  note="0 for a Gaussian, -1.2 for a uniform distribution, large where few weights are strong."),
            Curve(title="Stable rank by depth", y=("stable_rank",), x="layer", null=("twin_stable_rank",), log="y",
                  note="Squared Frobenius norm over squared spectral norm."),
            Table(title="All weight tensors", rows="layer", columns=("statistic",)),
        ]  # fmt: skip
        if "ailing" in finding:
            shown.append(Table(title="Weights with problems", rows="layer", columns=("ailing",), question="repair"))
        return shown

    def caveats(self, finding: Finding) -> Sequence[str]:
        return [
            "Neighbours in untrained networks have nearly equal histograms too: similar weights are no evidence of redundancy.",
            "Only removing a block and measuring the accuracy shows whether it can be removed.",
            f"Distances of tensors with more than {QUANTILES:,} weights are between that many evenly spaced quantiles.",
            "Jensen-Shannon is in bits, over 64 bins of equal probability.",
            f"Histograms reach {HISTOGRAM_STDS:.0f} standard deviations to either side of the mean; densities are fractions of all "
            "weights of a tensor.",
            *network_caveats(finding),
        ]


def _layer_statistics(weights: Mapping[str, Tensor | None]) -> Any:
    rows = [dict.fromkeys(STATISTICS, np.nan) if values is None else describe_values(values) for values in weights.values()]
    values = np.array([[row[measure] for measure in STATISTICS] for row in rows])
    return array(values, ("layer", "measure"), "see measure", {"layer": list(weights), "measure": list(STATISTICS)})


def _distance_arrays(prefix: str, pairs: Sequence[TensorPair], seeds: Sequence[Any]) -> dict[str, Any]:
    """Distances of the pairs, for twins their mean over the seeds, standard deviation, and largest."""
    stacked = np.array(seeds).reshape(len(seeds), len(pairs), len(DISTANCES))
    names = [f"{pair.first} → {pair.second}" for pair in pairs]
    both = {"pair": names, "measure": list(DISTANCES.values())}
    parts = {"distance": stacked.mean(0)}
    if len(seeds) > 1:
        parts |= {"spread": stacked.std(0, ddof=1), "largest": stacked.max(0)}
    unit = "W1 in weight units, JS in bits, the others pure numbers"
    arrays = {prefix + name: array(values, ("pair", "measure"), unit, both) for name, values in parts.items()}
    for index, name in enumerate(DISTANCES):
        if name in ("w1_over_sigma", "w1_shape"):
            title = f"{'untrained ' if 'twin' in prefix else ''}{DISTANCES[name]}{', folded' if 'folded' in prefix else ''}"
            arrays[prefix + name] = array(parts["distance"][:, index], ("pair",), "standard deviations", {"pair": names}, title)
    return arrays


def _against_twins(pairs: Sequence[TensorPair], own: Any, twins: Sequence[Any], reason: str) -> Any:
    """The side of all untrained twins on which W1/σ of each pair lies."""
    index = list(DISTANCES).index("w1_over_sigma")
    sides = verdicts(own[:, index], own[:, index], [each[:, index] for each in twins], reason, ratio=True)
    names = {"pair": [f"{pair.first} → {pair.second}" for pair in pairs]}
    return array(sides[: len(pairs)], ("pair",), "text", names, "W1/σ against the untrained twins")


def _each_twin(pairs: Sequence[TensorPair], twins: Sequence[Any]) -> dict[str, Any]:
    """W1/σ of every pair in every twin."""
    stacked = np.array(twins).reshape(len(twins), len(pairs), len(DISTANCES))[..., list(DISTANCES).index("w1_over_sigma")]
    names = {"pair": [f"{pair.first} → {pair.second}" for pair in pairs]}
    title = "W1/σ of each untrained twin"
    return {"each_twin_w1_over_sigma": array(stacked, ("twin", "pair"), "standard deviations", names, title)}


def _layer_arrays(
    specimen: Specimen, weights: Mapping[str, Tensor], dtypes: list[str], norms: Mapping[str, str], pairing: Pairing
) -> dict[str, Any]:
    """Health of every tensor, and what the comparison consists of."""
    layers = {"layer": list(weights)}
    pairs = {"pair": [f"{pair.first} → {pair.second}" for pair in pairing.pairs]}
    by_layer = {
        name: health_measures(values, norm_of(specimen.net.get_submodule(norms[name])) if name in norms else None)
        for name, values in weights.items()
    }
    problems = {
        name: "; ".join(weight_problems(measures, len(weights[name]), specimen.trained)) for name, measures in by_layer.items()
    }
    problems = {name: text for name, text in problems.items() if text}
    values = np.array([[measures[measure] for measure in HEALTH_MEASURES] for measures in by_layer.values()])
    members = {name for inside in pairing.groups.values() for name in inside}
    unit = "fractions of units, counts, yes 1 or no 0"
    arrays = {
        "health": array(values, ("layer", "measure"), unit, layers | {"measure": list(HEALTH_MEASURES)}),
        "dtype": array(dtypes, ("layer",), "text", layers, "stored as"),
        "norm": array([norms.get(name, "") for name in weights], ("layer",), "text", layers, "batch norm after it"),
        "compared": array([name in members for name in weights], ("layer",), "yes or no", layers),
        "role": array([pair.role for pair in pairing.pairs], ("pair",), "text", pairs, "role"),
        "match": array([pair.kind for pair in pairing.pairs], ("pair",), "text", pairs, "matched by"),
    }
    if problems:
        arrays["ailing"] = array(list(problems.values()), ("layer",), "text", {"layer": list(problems)}, "problem")
    return arrays


def _histogram_layers(finding: Finding) -> tuple[str, ...]:
    """Up to `MAX_HISTOGRAMS` compared tensors: all, or whole roles, those with most weights first."""
    layers = [str(name) for name in finding["compared"].layer.values[finding["compared"].values]]
    counts = finding["statistic"].sel(measure="weights").values
    sizes = dict(zip(map(str, finding["density"].layer.values), counts, strict=True))
    families: dict[str, list[str]] = {}
    for role, pair in zip(finding["role"].values, finding["role"].pair.values, strict=True):
        families.setdefault(str(role), []).extend(str(pair).split(" → "))
    return largest_roles(layers, list(families.values()), sizes, MAX_HISTOGRAMS)
