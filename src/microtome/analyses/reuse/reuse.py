"""How a densely connected network reuses features: how strongly each layer reads each earlier one, in every dense block.

For every dense block the mean absolute weight between each source (the block's input, each earlier layer) and each target
(later layers, the transition, the classifier), as stored and multiplied with the |γ| of the last norm in between: a norm before
a layer may undo any scale of its weights, so both are shown. Norms before that one do not count: what they scale, its
statistics divide out. Who reads whom is found by following the channels through a forward pass, whatever the modules are
called; with bottlenecks the 1×1 convolution is what reads. Then the four observations of the paper are put to the test, each
beside the untrained twin: random weights read all sources alike.

Source: Huang et al. 2017, arXiv:1608.06993, section 5 and figure 5. The paper gives no numbers to its observations and does not
say how its colours were scaled: thresholds and scalings are ours, |γ| is ours too.
"""

import math
from collections.abc import Sequence
from itertools import takewhile
from typing import Any, Literal, NamedTuple, final

import numpy as np

from microtome.analyses.reuse.reading import NetworkInputs, network_inputs
from microtome.analysis import Analysis, Arrays, option
from microtome.errors import SpecimenError, Unmeasurable
from microtome.finding import Finding, array
from microtome.images import Images
from microtome.numerics.weights.dense_reuse import (
    DenseBlock,
    Observations,
    channel_strength,
    dense_blocks,
    observe_blocks,
    scale_matrices,
    source_evenness,
    source_row,
)
from microtome.panels import Curve, Heat, Panel, Table
from microtome.scan import Pace
from microtome.specimen import Specimen

OBSERVATIONS = (
    "1. layers use all earlier ones of their block",
    "2. transitions use the whole block before them",
    "3. layers of later blocks read the transition's output least",
    "4. the classifier leans to late layers",
)
SPREAD_EVENNESS = 0.5  # of its sources, by entropy: a layer that uses more counts as spread over all (observations 1 and 2)
CONSISTENT_FRACTION = 2 / 3  # of the layers: "consistently" in observation 3
MAX_P = 0.05  # p of the rank correlation in observation 4


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
    revision = 3  # 3: the last norm before a reader counts, not all norms on the way

    scaling: Literal["none", "target", "global"] = option(
        "none", "how the maps are scaled: not, each target by its largest weight, all by the largest of the network"
    )

    def refusal(self, specimen: Specimen, images: Images | None) -> str:
        try:
            found = network_inputs(specimen)
        except SpecimenError as error:
            return str(error)
        if dense_blocks(found.calls, found.parents):
            return ""
        return (
            "it has no dense block: nowhere does one layer after another read, side by side, what all the layers before it gave"
        )

    def measure(self, specimen: Specimen, images: Images | None, pace: Pace) -> Arrays:
        found = network_inputs(specimen)
        blocks = dense_blocks(found.calls, found.parents)
        own, twin = _block_weights(specimen, blocks), _block_weights(specimen.working_twin(None), blocks)
        head = next((place for place, call in enumerate(found.calls) if call.path == specimen.head), None)
        told = [
            observe_blocks(blocks, rows, head)
            for rows in ([one.raw for one in own], [one.effective for one in own], [one.raw for one in twin])
        ]
        arrays: dict[str, Any] = {}
        for prefix, part, maps in (("reuse", "raw", own), ("effective", "effective", own), ("twin_reuse", "raw", twin)):
            for one, values in zip(
                maps, scale_matrices({m.name: getattr(m, part) for m in maps}, self.scaling).items(), strict=True
            ):
                unit = "weight units" if self.scaling == "none" else "1"
                names = {"target": one.targets, "source": one.sources}
                arrays[f"{prefix}/{one.name}"] = array(values[1], ("target", "source"), unit, names, "mean |weight|")
        return arrays | _evenness_arrays(found, blocks, own, twin) | _observation_arrays(told, specimen.trained)

    def panels(self, finding: Finding) -> Sequence[Panel]:
        found = finding.arrays
        shown: list[Panel] = [
            Table(title="Four observations of the paper", rows="criterion", columns=("verdict", "seen", "untrained")),
            Table(title="The four observations with |γ|", rows="criterion", columns=("verdict_effective", "seen_effective"),
                  note="Every input channel's weights times the scale of the norm before them."),
        ]  # fmt: skip
        scale = {
            "none": "Not scaled.",
            "target": "Each row by its largest value.",
            "global": "By the largest value of the network.",
        }
        for name in found:
            kind, _, block = name.partition("/")
            if kind == "reuse":
                note = "Down: who reads. Across: what is read, the block's input first. " + scale[self.scaling]
                shown.append(Heat(title=f"{block}: mean |weight|", z=name, low=0.0, note=note))
                shown.append(
                    Heat(
                        title=f"{block}: mean |weight| times |γ|",
                        z=f"effective/{block}",
                        low=0.0,
                        note="The same with the norm's scale.",
                    )
                )
        shown.append(
            Curve(title="Share of its sources that each layer uses", y=("evenness", "evenness_effective"), x="layer",
                  null=("twin_evenness",), note="By entropy: 1 where all sources are read alike. Dashed: the untrained twin.")
        )  # fmt: skip
        return shown

    def headline(self, finding: Finding) -> str:
        found = finding.arrays
        blocks = sum(name.startswith("reuse/") for name in found)
        verdicts = [str(one) for one in found["verdict"].values]
        seen = [str(one) for one in found["seen"].values]
        start = f"{blocks} dense block{'s' if blocks > 1 else ''}, {found['evenness'].sizes['layer']} layers that read them. "
        if not bool(found["trained"].values[0]):
            return start + "The network is untrained, so its weights say nothing of reuse."
        learnt = [number for number, one in enumerate(verdicts) if one == "holds"]
        told = "; ".join(f"{OBSERVATIONS[number][3:]} ({seen[number]})" for number in learnt)
        also = sum(one.startswith("holds, ") for one in verdicts)
        return (
            start
            + f"Of the paper's four observations {len(learnt)} hold{'s' if len(learnt) == 1 else ''} beyond what random weights give"
            + (f": {told}" if told else "")
            + (f"; {also} hold{'s' if also == 1 else ''} in the untrained twin as well." if also else ".")
        )

    def caveats(self, finding: Finding) -> Sequence[str]:
        found = finding.arrays
        said = [
            "A small weight is no proof of little use: a norm before a layer, or the scale of the features where there is none, may "
            "undo it. Times |γ| is nearer to what the layer receives, but norms see each channel alone.",
            "Random weights read all sources alike, so spread-out weights (observations 1 and 2) are what training starts from.",
            f"Our thresholds: more than {SPREAD_EVENNESS:.0%} of the sources by entropy (1, 2); least of all in at least two thirds of the "
            f"layers (3); a rising rank correlation with p < {MAX_P} (4).",
            "Observation 3 has been reported not to replicate (issue 53 of liuzhuang13/DenseNet).",
        ]
        if bool(found["normless"].values[0]):
            said.append("No norm with a scale stands between the sources and their readers, so both maps are the same.")
        return said


def _block_weights(specimen: Specimen, blocks: Sequence[DenseBlock]) -> list[_BlockWeights]:
    """Every block's weights, with the norms of this very specimen.

    Raises:
        Unmeasurable: weights or scales are not finite, or all weights are zero.
    """
    found = network_inputs(specimen)
    homes = [_block_home(found, block) for block in blocks]
    maps: list[_BlockWeights] = []
    for block, home in zip(blocks, homes, strict=True):
        rows = [_target_row(specimen, found, block, place) for place in block.targets]
        first = found.makers[block.sources[1].source]
        name = first if not home or homes.count(home) > 1 else ".".join(home)
        targets, sources = _part_names(found, block, home)
        maps.append(
            _BlockWeights(name, targets, sources, np.stack([one for one, _ in rows]), np.stack([one for _, one in rows]))
        )
    if not any(np.nansum(one.raw) > 0 for one in maps):
        raise Unmeasurable(f"all weights of the dense blocks of {specimen.name} are zero, so nothing is read.")
    return maps


def _target_row(
    specimen: Specimen, found: NetworkInputs, block: DenseBlock, place: int
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """What one target reads of each source: as stored, and times |γ|."""
    call = found.calls[place]
    gain = call.gain.numpy()
    weights = channel_strength(specimen.net.get_submodule(call.path), len(gain))
    for what, values in ((f"the weights of {call.path}", weights), (f"the norm before {call.path}", gain)):
        if not np.isfinite(values).all():
            raise Unmeasurable(
                f"{what} hold NaN or infinity, so feature reuse cannot be told; `microtome weights` lists such layers."
            )
    return source_row(weights, call.runs, block.sources), source_row(weights * gain, call.runs, block.sources)


def _block_home(found: NetworkInputs, block: DenseBlock) -> list[str]:
    """The path of the module that holds all layers of the block, part by part; empty where that is the network."""
    makers = [found.makers[run.source].split(".") for run in block.sources[1:]]
    depth = min(len(one) - 1 for one in makers)
    steps = zip(*(one[:depth] for one in makers), strict=True)
    return [parts[0] for parts in takewhile(lambda parts: len(set(parts)) == 1, steps)]


def _part_names(found: NetworkInputs, block: DenseBlock, home: list[str]) -> tuple[list[str], list[str]]:
    """What the targets and the sources of a block are called: paths relative to `home`, or to what is around it."""
    makers = [found.makers[run.source].split(".") for run in block.sources[1:]]
    sources = ["input", *_short_names([one[len(home) :] for one in makers])]
    for place, run in enumerate(block.sources):
        if sources.count(sources[place]) > 1:
            sources[place] += f"[{run.start}:{run.start + run.width}]"
    paths = [found.calls[place].name.split(".") for place in block.targets]
    short = _short_names(
        [one[len(home) :] if one[: len(home)] == home else one for one, inner in zip(paths, block.inner, strict=True) if inner]
    )
    within, around = iter(short), home[:-1]
    targets = [
        next(within) if inner else ".".join(one[len(around) :] if one[: len(around)] == around else one)
        for one, inner in zip(paths, block.inner, strict=True)
    ]
    return targets, sources


def _short_names(paths: list[list[str]]) -> list[str]:
    """Dotted paths, without their last part where all end alike."""
    alike = len({one[-1] for one in paths}) == 1 and all(len(one) > 1 for one in paths)
    return [".".join(one[:-1] if alike else one) for one in paths]


def _evenness_arrays(
    found: NetworkInputs, blocks: Sequence[DenseBlock], own: Sequence[_BlockWeights], twin: Sequence[_BlockWeights]
) -> dict[str, Any]:
    """Evenness of every layer that reads at least two sources."""
    kept = [
        (block, place, found.calls[target].name)
        for block, one in enumerate(blocks)
        for place, target in enumerate(one.targets)
        if len(found.calls[target].runs) > 1
    ]
    told = {"layer": [name for _, _, name in kept]}
    rows = {"evenness": [one.raw for one in own], "evenness_effective": [one.effective for one in own],
            "twin_evenness": [one.raw for one in twin]}  # fmt: skip
    titles = {"evenness": "as stored", "evenness_effective": "times |γ|", "twin_evenness": "untrained twin"}
    arrays = {
        name: array(
            [source_evenness(matrices[block][place]) for block, place, _ in kept], ("layer",), "share", told, titles[name]
        )
        for name, matrices in rows.items()
    }
    plain = all(bool((found.calls[target].gain == 1).all()) for one in blocks for target in one.targets)
    return arrays | {"normless": array([plain], ("measure",), "1")}


def _observation_arrays(told: Sequence[Observations], trained: bool | None) -> dict[str, Any]:
    """The observations as words and numbers: as stored, times |γ|, untrained."""
    own, effective, twin = told
    names = {"criterion": list(OBSERVATIONS)}
    numbers = {"measured": own, "measured_effective": effective, "measured_untrained": twin}
    texts = {
        "verdict": (
            "as stored",
            [_verdict_text(one, other) for one, other in zip(_observations_hold(own), _observations_hold(twin), strict=True)],
        ),
        "seen": ("seen", _observation_texts(own)),
        "verdict_effective": (
            "with |γ|",
            [_verdict_text(*both) for both in zip(_observations_hold(effective), _observations_hold(twin), strict=True)],
        ),
        "seen_effective": ("seen with |γ|", _observation_texts(effective)),
        "untrained": ("untrained twin", _observation_texts(twin)),
    }
    return (
        {name: array(values, ("criterion",), "text", names, title) for name, (title, values) in texts.items()}
        | {name: array(_observation_numbers(one), ("criterion",), "1", names) for name, one in numbers.items()}
        | {"trained": array([trained is not False], ("measure",), "1")}
    )


def _observation_numbers(told: Observations) -> list[float]:
    share = told.least / told.layers if told.layers else math.nan
    return [told.evenness, told.transitions, share, told.lean.ratio]


def _observations_hold(told: Observations) -> list[bool | None]:
    """Whether each observation holds; None where there is no place for it."""
    even, across, share, late = _observation_numbers(told)
    return [
        None if math.isnan(even) else even > SPREAD_EVENNESS,
        None if math.isnan(across) else across > SPREAD_EVENNESS,
        None if math.isnan(share) else share >= CONSISTENT_FRACTION,
        None if math.isnan(late) else told.lean.p < MAX_P and late > 1,
    ]


def _verdict_text(holds: bool | None, untrained: bool | None) -> str:
    if holds is None:
        return "has no place here"
    return ("holds, as it does untrained" if untrained else "holds") if holds else "does not hold"


def _observation_texts(told: Observations) -> list[str]:
    even, across, share, late = _observation_numbers(told)
    p = "no trend" if math.isnan(told.lean.p) else f"rank correlation {told.lean.correlation:.2f}, p = {told.lean.p:.2g}"
    return [
        "–"
        if math.isnan(even)
        else f"{even:.0%} of the sources; the least read gets {told.faint:.2f} of the mean weight (medians)",
        "–"
        if math.isnan(across)
        else f"{across:.0%} of the sources; the least read gets {told.transitions_faint:.2f} of the mean weight (smallest)",
        "–"
        if math.isnan(share)
        else f"{told.least} of {told.layers} layers; {told.ratio:.2f} of the mean weight on the others",
        "–" if math.isnan(late) else f"late third {late:.2f} × early third; {p}",
    ]
