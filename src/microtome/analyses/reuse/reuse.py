"""Feature reuse in densely connected networks, from the weights between layers.

For every dense block the mean absolute weight between each source (the input of the block, each earlier layer) and each target (later
layers, the transition, the classifier), as stored and multiplied by the |γ| of the last norm in between: a norm before a layer may
undo any scale of its weights, so both are shown. Norms before that one do not count: its statistics divide their scale out. Sources
are found by following the channels through a forward pass, whatever the modules are called; with bottlenecks the 1×1 convolution is
what reads. Then the four observations of the paper are tested, each beside untrained twins: random weights read all sources alike.

Source: Huang et al. 2017, arXiv:1608.06993, section 5 and figure 5. The paper gives no numbers for its observations and
does not say how its colours were scaled: thresholds, scalings and |γ| are ours.
"""

from collections.abc import Sequence
from itertools import takewhile
from math import nan
from typing import Any, Literal, NamedTuple, final

import numpy as np

from microtome.analyses.reuse.observations import HOLDS, HOLDS_IN_BOTH, MAX_P, OBSERVATIONS, SPREAD_EVENNESS, observation_arrays
from microtome.analyses.reuse.reading import NetworkInputs, network_inputs
from microtome.analysis import Analysis, Measurement, option
from microtome.errors import SpecimenError, Unmeasurable, weights_hint
from microtome.finding import Finding, array
from microtome.images import Images
from microtome.instruments.untrained_twins import NOT_MEASURED, TWINS, twin_count, untrained_twins
from microtome.key_numbers import FRACTION, KeyNumber, format_value
from microtome.numerics.weights.dense_reuse import (
    DenseBlock,
    channel_strength,
    dense_blocks,
    observe_blocks,
    scale_matrices,
    source_evenness,
    source_row,
)
from microtome.panels import Curve, Heat, Panel, Table
from microtome.prose import agree, capitalise
from microtome.scan import Pace
from microtome.specimen import Specimen
from microtome.workload import Workload


class _BlockWeights(NamedTuple):
    """One block: its name, the names of targets and sources, weights as stored and times |γ|, each (target, source)."""

    name: str
    targets: list[str]
    sources: list[str]
    raw: np.ndarray[Any, Any]
    effective: np.ndarray[Any, Any]


@final
class Reuse(Analysis):
    """Heat maps of feature reuse, and the paper's four observations."""

    needs = "weights"
    question = "understand"
    title = "Feature reuse"
    rank = 27
    revision = 4  # 4: several untrained twins
    with_twin = True

    scaling: Literal["none", "target", "global"] = option(
        "none", "scaling of the maps: none, each target by its largest weight, or all by the largest of the network"
    )

    def refusal(self, specimen: Specimen, images: Images | None) -> str:
        try:
            inputs = network_inputs(specimen)
        except SpecimenError as error:
            return str(error)
        if dense_blocks(inputs.calls, inputs.parents):
            return ""
        return (
            "it has no dense block: no sequence of layers each of which reads the concatenated outputs of all layers before it"
        )

    def workload(self, specimen: Specimen, images: Images | None) -> Workload:
        return Workload(twins=specimen.twin_count, seconds=0.5)

    def measure(self, specimen: Specimen, images: Images | None, pace: Pace) -> Measurement:
        inputs = network_inputs(specimen)
        blocks = dense_blocks(inputs.calls, inputs.parents)
        own = _block_weights(specimen, blocks)
        twins = [_block_weights(each, blocks) for each in untrained_twins(specimen, None)]
        head = next((place for place, call in enumerate(inputs.calls) if call.path == specimen.head), None)
        mean = [_mean_weights(versions) for versions in zip(*twins, strict=True)]
        raw, effective = (
            observe_blocks(blocks, [getattr(block, part) for block in own], head) for part in ("raw", "effective")
        )
        untrained = [observe_blocks(blocks, [block.raw for block in each], head) for each in twins]
        arrays: dict[str, Any] = {}
        unit = "weight units" if self.scaling == "none" else "1"
        for prefix, part, maps in (("reuse", "raw", own), ("effective", "effective", own), ("twin_reuse", "raw", mean)):
            scaled = scale_matrices({block.name: getattr(block, part) for block in maps}, self.scaling)
            for block, values in zip(maps, scaled.values(), strict=True):
                names = {"target": block.targets, "source": block.sources}
                arrays[f"{prefix}/{block.name}"] = array(values, ("target", "source"), unit, names, "mean |weight|")
        arrays |= _evenness_arrays(inputs, blocks, own, mean) | observation_arrays(
            raw, effective, untrained if specimen.twin_count else []
        )
        normless = all(bool((inputs.calls[target].gain == 1).all()) for block in blocks for target in block.targets)
        return Measurement(arrays, {"dense_blocks": [block.name for block in own], "normless": normless})

    def key_numbers(self, finding: Finding) -> Sequence[KeyNumber]:
        verdicts = [str(verdict) for verdict in finding["verdict"].values]
        rows = {name: finding[name].values for name in ("measured", "measured_untrained")}
        compared = twin_count(finding.origin) > 0

        def observed(index: int, name: str, unit: str = FRACTION) -> KeyNumber:
            value, twin = (float(rows[name][index]) for name in rows)
            return KeyNumber(name=name, value=value, unit=unit, baseline=twin, baseline_name=TWINS)

        return [
            KeyNumber(name="observations beyond all untrained twins", value=verdicts.count(HOLDS) if compared else nan),
            KeyNumber(
                name="observations that hold in both",
                value=verdicts.count(HOLDS_IN_BOTH) if compared else nan,
                missing=NOT_MEASURED,
            ),
            observed(0, "sources used by a layer"),
            observed(1, "sources used by a transition"),
            observed(2, "layers that read the transition least"),
            observed(3, "classifier weight, late over early third", "1"),
        ]

    def headline(self, finding: Finding) -> str:
        beyond, both = (finding.key(f"observations {which}") for which in ("beyond all untrained twins", "that hold in both"))
        start = "Untrained weights: " if finding.trained is False else ""
        if np.isnan(beyond.value):
            held = int((finding["verdict"].values == HOLDS).sum())
            verb = agree(held, "holds", "hold")
            words = f"{start}{held or 'none'} of the paper's {len(OBSERVATIONS)} observations on feature reuse {verb}"
            return f"{capitalise(words)}; untrained twins not measured."
        verb = agree(int(beyond.value), "holds", "hold")
        words = f"{start}{beyond.text if beyond.value else 'none'} of the paper's {len(OBSERVATIONS)} observations on feature reuse {verb}"
        return f"{capitalise(words)} beyond all untrained twins, {both.text if both.value else 'none'} in both."

    def panels(self, finding: Finding) -> Sequence[Panel]:
        panels: list[Panel] = [
            Table(title="Four observations of the paper", rows="criterion", columns=("verdict", "seen", "untrained")),
            Table(title="The four observations with |γ|", rows="criterion", columns=("verdict_effective", "seen_effective"),
                  note="The weights of every input channel times the scale of the last norm before them."),
        ]  # fmt: skip
        scale = {
            "none": "Not scaled.",
            "target": "Each row divided by its largest value.",
            "global": "Divided by the largest value of the network.",
        }
        note = "Rows: targets. Columns: sources, the block's input first. " + scale[self.scaling]
        for name in finding.arrays:
            kind, _, block = name.partition("/")
            if kind != "reuse":
                continue
            panels.append(Heat(title=f"{block}: mean |weight|", z=name, low=0.0, note=note))
            with_scale = f"effective/{block}"
            panels.append(
                Heat(title=f"{block}: mean |weight| times |γ|", z=with_scale, low=0.0, note="Including the norm's scale.")
            )
        panels.append(
            Curve(title="Fraction of its sources that each layer uses", y=("evenness", "evenness_effective"), x="layer",
                  null=("twin_evenness",), note="By entropy: 1 where all sources are read alike. Dashed: the mean of the untrained twins.")
        )  # fmt: skip
        return panels

    def caveats(self, finding: Finding) -> Sequence[str]:
        caveats = [
            "A small weight does not prove little use: a norm before the layer, or the scale of the features, may undo it.",
            "Weights times |γ| are nearer to what the layer receives, but a norm sees each channel alone.",
            "Random weights read all sources alike, so spread-out weights (observations 1 and 2) are what training starts from.",
            f"Thresholds are ours: more than {format_value(SPREAD_EVENNESS, FRACTION)} of the sources by entropy (1, 2); least of all "
            f"in at least two thirds of the layers (3); a rising rank correlation with p < {MAX_P} (4).",
            "Observation 3 has been reported not to replicate (issue 53 of liuzhuang13/DenseNet).",
        ]
        if finding.facts["normless"]:
            caveats.append("No norm with a scale stands between the sources and their targets, so both maps are the same.")
        return caveats


def _block_weights(specimen: Specimen, blocks: Sequence[DenseBlock]) -> list[_BlockWeights]:
    """Every block's weights, with the norms of this very specimen.

    Raises:
        Unmeasurable: weights or scales are not finite, or all weights are zero.
    """
    inputs = network_inputs(specimen)
    homes = [_block_home(inputs, block) for block in blocks]
    maps: list[_BlockWeights] = []
    for block, home in zip(blocks, homes, strict=True):
        rows = [_target_row(specimen, inputs, block, place) for place in block.targets]
        first = inputs.makers[block.sources[1].source]
        name = first if not home or homes.count(home) > 1 else ".".join(home)
        targets, sources = _part_names(inputs, block, home)
        maps.append(
            _BlockWeights(name, targets, sources, np.stack([raw for raw, _ in rows]), np.stack([scaled for _, scaled in rows]))
        )
    if not any(np.nansum(block.raw) > 0 for block in maps):
        raise Unmeasurable(f"all weights of the dense blocks of {specimen.name} are zero, so no source is read.")
    return maps


def _target_row(
    specimen: Specimen, inputs: NetworkInputs, block: DenseBlock, place: int
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """The weights of one target on each source: as stored, and times |γ|."""
    call = inputs.calls[place]
    gain = call.gain.numpy()
    weights = channel_strength(specimen.net.get_submodule(call.path), len(gain))
    for what, values in ((f"the weights of {call.path}", weights), (f"the norm before {call.path}", gain)):
        if not np.isfinite(values).all():
            raise Unmeasurable(
                f"{what} hold NaN or infinity, so feature reuse cannot be measured; {weights_hint()} lists such layers."
            )
    return source_row(weights, call.runs, block.sources), source_row(weights * gain, call.runs, block.sources)


def _block_home(inputs: NetworkInputs, block: DenseBlock) -> list[str]:
    """The path of the module that holds all layers of the block, part by part; empty where that is the network."""
    makers = [inputs.makers[run.source].split(".") for run in block.sources[1:]]
    depth = min(len(path) - 1 for path in makers)
    steps = zip(*(path[:depth] for path in makers), strict=True)
    return [parts[0] for parts in takewhile(lambda parts: len(set(parts)) == 1, steps)]


def _part_names(inputs: NetworkInputs, block: DenseBlock, home: list[str]) -> tuple[list[str], list[str]]:
    """The names of the targets and sources of a block: paths relative to `home`, or to the module around it."""
    makers = [inputs.makers[run.source].split(".") for run in block.sources[1:]]
    sources = ["input", *_short_names([path[len(home) :] for path in makers])]
    for place, run in enumerate(block.sources):
        if sources.count(sources[place]) > 1:
            sources[place] += f"[{run.start}:{run.start + run.width}]"
    paths = [inputs.calls[place].name.split(".") for place in block.targets]
    short = _short_names(
        [
            path[len(home) :] if path[: len(home)] == home else path
            for path, inner in zip(paths, block.inner, strict=True)
            if inner
        ]
    )
    within, around = iter(short), home[:-1]
    targets = [
        next(within) if inner else ".".join(path[len(around) :] if path[: len(around)] == around else path)
        for path, inner in zip(paths, block.inner, strict=True)
    ]
    return targets, sources


def _short_names(paths: list[list[str]]) -> list[str]:
    """Dotted paths, without their last part where it is the same in all."""
    same_end = len({path[-1] for path in paths}) == 1 and all(len(path) > 1 for path in paths)
    return [".".join(path[:-1] if same_end else path) for path in paths]


def _evenness_arrays(
    inputs: NetworkInputs, blocks: Sequence[DenseBlock], own: Sequence[_BlockWeights], twin: Sequence[_BlockWeights]
) -> dict[str, Any]:
    """Evenness of every layer that reads at least two sources."""
    layers = [
        (number, place, inputs.calls[target].name)
        for number, block in enumerate(blocks)
        for place, target in enumerate(block.targets)
        if len(inputs.calls[target].runs) > 1
    ]
    coords = {"layer": [name for _, _, name in layers]}
    maps = {"evenness": [block.raw for block in own], "evenness_effective": [block.effective for block in own],
            "twin_evenness": [block.raw for block in twin]}  # fmt: skip
    titles = {"evenness": "as stored", "evenness_effective": "times |γ|", "twin_evenness": "untrained twins"}
    return {
        name: array(
            [source_evenness(rows[number][place]) for number, place, _ in layers], ("layer",), FRACTION, coords, titles[name]
        )
        for name, rows in maps.items()
    }


def _mean_weights(versions: Sequence[_BlockWeights]) -> _BlockWeights:
    """One block's weights, mean over the untrained twins."""
    means = {part: np.mean([getattr(each, part) for each in versions], axis=0) for part in ("raw", "effective")}
    return versions[0]._replace(**means)
