"""How the weights of each layer are distributed, and how far neighbours of the same role lie apart, against untrained twins.

Every weight tensor with two or more axes gets a histogram, moments, sparsity, spectral norm and stable rank. Tensors of the
same role in consecutive blocks (`conv2` with `conv2`, `attn.qkv` with `attn.qkv`, branch by branch) are compared by
Wasserstein-1 in standard deviations, by Wasserstein-1 of the shapes alone, by Kolmogorov-Smirnov and Jensen-Shannon: as stored,
and with the batch norm folded in where a norm is the only reader of a layer's very output. Untrained networks have nearly equal
neighbours too, so each number stands beside that of untrained twins. What is broken or of 8-bit origin is listed for repair.

Source: W1 = integral of |F_a - F_b|, Vallender 1974; Jensen-Shannon, Lin 1991, eq. 4.1; stable rank, Rudelson & Vershynin 2007,
arXiv:math/0503442; the comparison with untrained twins is ours.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple, final

import numpy as np
from torch import Tensor

from microtome.analyses.weights.health import HEALTH, ailments, health
from microtome.analyses.weights.wording import comparison, no_comparison
from microtome.analysis import Analysis, Arrays, Measurement, option
from microtome.errors import Unmeasurable
from microtome.finding import Finding, array
from microtome.images import Images
from microtome.numerics.weights.norms import merged, norm_of, norms_after
from microtome.numerics.weights.pairs import (
    DISTANCES,
    LIKE,
    Match,
    distances,
    largest_roles,
    matches,
    neighbours,
    outermost,
    roles,
)
from microtome.numerics.weights.tensors import LIMIT, QUANTILES, STATISTICS, density, described, in_order, weight_tensors
from microtome.panels import Bars, Curve, Hist, Panel, Table
from microtome.scan import Pace
from microtome.specimen import Specimen

TWINS = 3
BASELINE = 1  # the seed of the twin that other analyses measure
DRAWN = 12  # histograms in the picture
DEFAULT = ("last3",)


class _Pairing(NamedTuple):
    """Which tensors are compared: the groups they come from, the pairs, what found no partner, and chosen layers without weights."""

    groups: dict[str, list[str]]
    pairs: list[Match]
    alone: list[str]
    empty: tuple[str, ...] = ()


@final
class Weights(Analysis):
    """Histograms, moments and spectra of all weights; distances between neighbours, trained and untrained."""

    needs = "weights"
    question = "slim"
    title = "Weight distributions"
    revision = 3

    at: tuple[str, ...] = option(("last3",), "the layers whose neighbours are compared: names, globs or aliases")
    bins: int = option(64, "bins of each histogram", low=4, high=1024)
    fold: bool = option(True, "compare the kernels with their batch norm folded in as well")
    seed: int = option(0, "seed of the first of three untrained twins", low=0)

    def measure(self, specimen: Specimen, images: Images | None, pace: Pace) -> Measurement:
        own, dtypes = _ordered(specimen)
        norms = {name: path for name, path in norms_after(specimen.anatomy.found.calls).items() if name in own}
        pairing = _pairing(specimen, own, self.at)
        raw: list[Any] = []
        arrays: dict[str, Any] = {}
        # the one that other analyses ask for comes last, so that it is at hand for them
        for number in sorted(range(TWINS), key=lambda number: self.seed + number == BASELINE):
            kept = self.seed + number == BASELINE
            twin = specimen.working_twin(BASELINE) if kept else specimen.twin(self.seed + number)
            other = {name: stored.values for name, stored in weight_tensors(twin.net).items()}
            raw.append(distances(other, pairing.pairs))
            if number == 0:
                arrays |= self._described("twin_", {name: other[name] for name in own})
                if self.fold and norms:
                    arrays |= _apart("twin_folded_", pairing.pairs, [distances(merged(twin.net, other, norms), pairing.pairs)])
        arrays |= self._described("", own) | _facts(specimen, own, dtypes, norms, pairing)
        arrays |= _apart("", pairing.pairs, [distances(own, pairing.pairs)]) | _apart("twin_", pairing.pairs, raw)
        if self.fold and norms:
            kernels = merged(specimen.net, own, norms)
            arrays["folded_statistic"] = _statistic({name: kernels.get(name) for name in own})
            arrays |= _apart("folded_", pairing.pairs, [distances(kernels, pairing.pairs)])
        return Measurement(arrays, {"unmeasured": dict.fromkeys(pairing.empty, "it has no weights")})

    def _described(self, prefix: str, weights: Mapping[str, Tensor]) -> dict[str, Any]:
        """Histograms and statistics of every tensor; what the curves show also as arrays of their own."""
        shown = [density(values, self.bins) for values in weights.values()]
        told = {"layer": list(weights)}
        statistic = _statistic(weights)
        curves = {"std": "weight units", "excess kurtosis": "1", "stable rank": "1"}
        return {
            f"{prefix}density": array([one[0] for one in shown], ("layer", "bin"), "share per weight unit", told),
            f"{prefix}value": array([one[1] for one in shown], ("layer", "bin"), "weight units", told),
            f"{prefix}statistic": statistic,
        } | {
            prefix + measure.replace(" ", "_"): array(statistic.sel(measure=measure).values, ("layer",), unit, told, measure)
            for measure, unit in curves.items()
        }

    def panels(self, finding: Finding) -> Sequence[Panel]:
        found = finding.arrays
        drawn = _drawn(found)
        shown: list[Panel] = []
        if drawn:
            shown.append(
                Hist(
                    title="Weights of the compared layers", density="density", value="value", null="twin_density",
                    null_value="twin_value", only=drawn, note="Outline: the untrained twin.",
                )
            )  # fmt: skip
        if found["distance"].sizes["pair"]:
            shown += _distance_panels(found)
        shown += [
            Curve(title="Spread of the weights over depth", y=("std",), x="layer", null=("twin_std",), log="y"),
            Curve(title="Tails over depth", y=("excess_kurtosis",), x="layer", null=("twin_excess_kurtosis",),
                  note="Excess kurtosis: 0 for a Gaussian, -1.2 for an even distribution, large where few weights are strong."),
            Curve(title="Stable rank over depth", y=("stable_rank",), x="layer", null=("twin_stable_rank",), log="y",
                  note="Squared Frobenius norm over squared spectral norm: how many directions share the weight."),
            Table(title="All weight tensors", rows="layer", columns=("statistic",)),
        ]  # fmt: skip
        if "ailing" in found:
            shown.append(Table(title="Weights to repair or explain", rows="layer", columns=("ailing",), question="repair"))
        return shown

    def headline(self, finding: Finding) -> str:
        found = finding.arrays
        total = found["density"].sizes["layer"]
        if "ailing" in found:
            worst = found["ailing"]
            first = f"{worst.layer.values[0]}: {worst.values[0]}"
            end = f"{worst.size} of {total} weight tensors want repair or explanation ({first})."
        else:
            end = f"In {total} weight tensors no unit is zero, constant or not finite, and none is of 8-bit origin."
        return f"{_comparison(found)} {end}"

    def caveats(self, finding: Finding) -> Sequence[str]:
        found = finding.arrays
        return [
            "Neighbours in untrained networks have nearly equal histograms too: alike weights are no evidence that a block can "
            "go. Only removing it and measuring the accuracy proves that.",
            f"Of tensors with more than {QUANTILES:,} weights the distances are between that many evenly spaced quantiles. "
            "JS is in bits, over 64 bins of equal share.",
            f"Histograms reach {LIMIT:.0f} standard deviations to either side of the mean; densities are shares of all "
            "weights. Tensors are never pooled.",
            *_particulars(found),
        ]


def _ordered(specimen: Specimen) -> tuple[dict[str, Tensor], list[str]]:
    """All weight tensors by name in execution order (what never runs comes last), and the dtypes they are stored in."""
    stored = weight_tensors(specimen.net)
    if not stored:
        raise Unmeasurable(
            f"{specimen.name} has no weight tensor of two or more axes that can be read (packed integer modules hide theirs); "
            "open the network as it was before quantisation."
        )
    orders: dict[str, int] = {}
    for layer in specimen.layers:
        orders.setdefault(layer.path, layer.order)

    names = in_order(stored, orders, frozenset(name for name, _ in specimen.net.named_children()))
    return {name: stored[name].values for name in names}, [stored[name].dtype for name in names]


def _pairing(specimen: Specimen, weights: Mapping[str, Tensor], at: tuple[str, ...]) -> _Pairing:
    """The tensors in each chosen layer or block, and the pairs of like role between consecutive ones."""
    if at == DEFAULT and "last3" not in specimen.aliases:  # no convolutions, no blocks: the last three weights stand in
        chosen = list(weights)[-3:]
        return _Pairing({name: [name] for name in chosen}, neighbours(chosen), [])
    blocks = {block.exit.partition("[")[0]: block for block in specimen.blocks}
    groups: dict[str, list[str]] = {}
    for name in specimen.find(at):
        layer = specimen.layer(name)
        block = blocks.get(name.partition("[")[0]) or blocks.get(layer.path)
        if block is None:
            paths = {layer.path}
        else:
            first = min(one.order for one in specimen.layers if one.path.startswith(specimen.layer(block.entry).path))
            last = specimen.layer(block.exit).order
            paths = {one.path for one in specimen.layers[first : last + 1]} if block.entry != block.exit else {block.name}
        inside = [one for one in weights if any(one == path or one.startswith(path + ".") for path in paths)]
        groups[block.name if block else layer.path] = inside
    filled, empty = outermost(groups), tuple(name for name, inside in groups.items() if not inside)
    if all(inside == [name] for name, inside in filled.items()) and not all(name in blocks for name in specimen.find(at)):
        return _Pairing(filled, neighbours(list(filled)), [], empty)
    shapes = {name: tuple(values.shape) for name, values in weights.items()}
    known = [roles(inside, name) for name, inside in filled.items()]
    found = [matches(one, two, shapes) for one, two in pairwise(known)]
    pairs = [pair for paired, _ in found for pair in paired]
    partnered = {name for pair in pairs for name in (pair.first, pair.second)}
    alone = [name for _, left in found for name in left if name not in partnered]
    return _Pairing(filled, pairs, list(dict.fromkeys(alone)), empty)


def _statistic(weights: Mapping[str, Tensor | None]) -> Any:
    rows = [dict.fromkeys(STATISTICS, np.nan) if values is None else described(values) for values in weights.values()]
    values = np.array([[row[measure] for measure in STATISTICS] for row in rows])
    return array(values, ("layer", "measure"), "as each measure says", {"layer": list(weights), "measure": list(STATISTICS)})


def _apart(prefix: str, pairs: Sequence[Match], told: Sequence[Any]) -> dict[str, Any]:
    """Distances of the pairs, for twins their mean over the seeds, standard deviation, and largest."""
    stacked = np.array(told).reshape(len(told), len(pairs), len(DISTANCES))
    names = [f"{pair.first} → {pair.second}" for pair in pairs]
    both = {"pair": names, "measure": list(DISTANCES.values())}
    parts = {"distance": stacked.mean(0)}
    if len(told) > 1:
        parts |= {"spread": stacked.std(0, ddof=1), "largest": stacked.max(0)}
    unit = "W1 in weight units, JS in bits, the rest pure numbers"
    arrays = {prefix + name: array(values, ("pair", "measure"), unit, both) for name, values in parts.items()}
    for place, name in enumerate(DISTANCES):
        if name in ("w1_over_sigma", "w1_shape"):
            title = f"{'untrained ' if 'twin' in prefix else ''}{DISTANCES[name]}{', folded' if 'folded' in prefix else ''}"
            arrays[prefix + name] = array(parts["distance"][:, place], ("pair",), "standard deviations", {"pair": names}, title)
    return arrays


def _facts(
    specimen: Specimen, weights: Mapping[str, Tensor], dtypes: list[str], norms: Mapping[str, str], pairing: _Pairing
) -> dict[str, Any]:
    """Health of every tensor, and what the comparison is made of."""
    layers = {"layer": list(weights)}
    pairs = {"pair": [f"{pair.first} → {pair.second}" for pair in pairing.pairs]}
    told = {
        name: health(values, norm_of(specimen.net.get_submodule(norms[name])) if name in norms else None)
        for name, values in weights.items()
    }
    said = {name: "; ".join(ailments(one, len(weights[name]), specimen.trained)) for name, one in told.items()}
    said = {name: text for name, text in said.items() if text}
    values = np.array([[one[measure] for measure in HEALTH] for one in told.values()])
    trained = {True: "trained", False: "untrained", None: "unknown"}[specimen.trained]
    members = {name for inside in pairing.groups.values() for name in inside}
    arrays = {
        "health": array(
            values, ("layer", "measure"), "shares of units, counts, yes 1 or no 0", layers | {"measure": list(HEALTH)}
        ),
        "dtype": array(dtypes, ("layer",), "text", layers, "stored as"),
        "norm": array([norms.get(name, "") for name in weights], ("layer",), "text", layers, "batch norm after it"),
        "compared": array([name in members for name in weights], ("layer",), "yes or no", layers),
        "role": array([pair.role for pair in pairing.pairs], ("pair",), "text", pairs, "role"),
        "match": array([pair.kind for pair in pairing.pairs], ("pair",), "text", pairs, "why these two"),
        "group": array(list(pairing.groups), ("block",), "text"),
        "alone": array(pairing.alone, ("target",), "text", title="without a partner of its role"),
        "trained": array([trained], ("specimen",), "text", {"specimen": [specimen.name]}),
    }
    return arrays | (
        {"ailing": array(list(said.values()), ("layer",), "text", {"layer": list(said)}, "what is odd")} if said else {}
    )


def _drawn(found: Arrays) -> tuple[str, ...]:
    """Up to `DRAWN` compared tensors: all, or whole roles, those with most weights first."""
    layers = [str(name) for name in found["compared"].layer.values[found["compared"].values]]
    sizes = dict(zip(map(str, found["density"].layer.values), found["statistic"].sel(measure="weights").values, strict=True))
    families: dict[str, list[str]] = {}
    for role, pair in zip(found["role"].values, found["role"].pair.values, strict=True):
        families.setdefault(str(role), []).extend(str(pair).split(" → "))
    return largest_roles(layers, list(families.values()), sizes, DRAWN)


def _distance_panels(found: Arrays) -> list[Panel]:
    shown: list[Panel] = [
        Bars(
            title="Distance between neighbours", y=("w1_over_sigma", "w1_shape"), x="pair",
            null=("twin_w1_over_sigma", "twin_w1_shape"),
            note="In standard deviations; grey: mean of three untrained twins.",
        )
    ]  # fmt: skip
    columns = ["role", "match", "distance", "twin_w1_over_sigma", "twin_w1_shape"]
    if "folded_distance" in found and bool(np.isfinite(found["folded_w1_over_sigma"].values).any()):
        columns += ["folded_w1_over_sigma", "folded_w1_shape"]
        shown.append(
            Bars(
                title="Distance between neighbours, batch norm folded in", x="pair",
                y=("folded_w1_over_sigma", "folded_w1_shape"),
                null=("twin_folded_w1_over_sigma", "twin_folded_w1_shape"), note="Pairs without a norm to fold have no bar.",
            )
        )  # fmt: skip
    return [*shown, Table(title="Pairs that were compared", rows="pair", columns=tuple(columns))]


def _comparison(found: Arrays) -> str:
    """What the distances between neighbours amount to, told from the pairs of one role and shape where there are any."""
    groups = [str(name) for name in found["group"].values]
    usable = np.isfinite(found["w1_over_sigma"].values)
    like = usable & (found["match"].values == LIKE)
    chosen = like if like.any() else usable
    if not chosen.any():
        return no_comparison(groups)
    measured = {"": "distance", "twin": "twin_distance", "spread": "twin_spread", "largest": "twin_largest"}
    measured |= {"folded": "folded_distance", "twin folded": "twin_folded_distance"}
    told = {short: found[name].sel(measure="W1/σ").values[chosen] for short, name in measured.items() if name in found}
    return comparison(groups, told, like=bool(like.any()), trained=str(found["trained"].values[0]), twins=TWINS)


def _particulars(found: Arrays) -> list[str]:
    """Caveats that hold for this network only."""
    told: list[str] = []
    whole, read = (found["statistic"].sel(measure=measure) for measure in ("weights", "weights read"))
    for name in found["density"].layer.values[(read < whole).values]:
        told.append(
            f"Of {name} {int(read.sel(layer=name)):,} of {int(whole.sel(layer=name)):,} weights, evenly spread, were read for "
            "moments and distances."
        )
    near = [
        str(pair)
        for pair, kind in zip(found["match"].pair.values, found["match"].values, strict=True)
        if kind == "nearest name"
    ]
    if near:
        told.append(f"{len(near)} pairs are of different roles, matched by kernel size and nearest name: {_some(near)}.")
    if found["alone"].size:
        told.append(f"Without a partner of their role, so not compared: {_some(found['alone'].values.tolist())}.")
    if "folded_distance" in found:
        told.append(
            "The twins' batch norms have seen no images (mean 0, variance 1), so folding them in changes next to nothing."
        )
    else:
        told.append("No batch norm was folded in: none reads the very output of a weight layer, or folding was not asked for.")
    odd = [
        f"{name} ({dtype})"
        for name, dtype in zip(found["dtype"].layer.values, found["dtype"].values, strict=True)
        if dtype != "float32"
    ]
    if odd:
        told.append(f"Not stored as float32 but read as such, whole numbers without their scales: {_some(odd)}.")
    return told


def _some(names: Sequence[Any]) -> str:
    return ", ".join(map(str, names[:6])) + (f" and {len(names) - 6} more" if len(names) > 6 else "")
