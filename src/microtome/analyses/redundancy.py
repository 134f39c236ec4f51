"""Which blocks change nearly nothing, each against its untrained twin: a ranking of candidates for removal, not a verdict.

For every block that keeps its shape: block influence (one minus the cosine between what enters and what leaves), angular distance,
and the debiased CKA between the two; and for neighbours with kernels of the same shape, how far their weight distributions lie
apart. Random networks of the same architecture can look just as redundant, so every number stands beside those of untrained twins.

Source: block influence, Men et al. 2024, arXiv:2403.03853, eq. 1; angular distance, Gromov et al. 2024, arXiv:2403.17887; debiased
CKA, Nguyen et al. 2021, arXiv:2010.15327; weight distance W1/σ and the comparison with the twin are ours.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, final

import numpy as np
import torch

from microtome.analysis import BatchValues, Census, Measurement
from microtome.errors import Unmeasurable
from microtome.finding import Finding, array
from microtome.images import Images
from microtome.instruments.untrained_twins import (
    TWIN_COUNT,
    VERDICTS,
    over_twins,
    reason_for_no_verdict,
    stacked,
    untrained_twins,
    verdicts,
)
from microtome.numerics.statistics.cka import centered_gram, cka, hsic_matrix
from microtome.numerics.statistics.distances import w1_over_sigma
from microtome.numerics.statistics.influence import influence_and_angle
from microtome.numerics.statistics.intervals import bootstrap_interval, nan_mean
from microtome.panels import Bars, Panel, Scatter, Table
from microtome.scan import Batch
from microtome.specimen import Block, Specimen
from microtome.tally import Bundle, Rows, Total

BELOW = VERDICTS[-1]


@final
class Redundancy(Census[Bundle]):
    """Blocks ranked by how little they do."""

    needs = "images"
    question = "slim"
    title = "Blocks that change little"
    revision = 2
    with_twin = True

    def layers_to_watch(self, specimen: Specimen) -> list[str]:
        blocks = _comparable_blocks(specimen)
        if not blocks:
            raise Unmeasurable(
                f"{specimen.name} has no block whose output has the shape of its input, so none could be taken out as it is."
            )
        return [name for block in blocks for name in (f"<{block.entry}", block.exit)]

    def empty_tally(self) -> Bundle:
        return Bundle({"rows": Rows(), "sums": Total()})

    def reduce(self, specimen: Specimen, name: str, value: torch.Tensor, seen: BatchValues) -> Any:
        if name.startswith("<"):  # cloned, since a residual branch may begin with an in-place activation
            return value.clone(), seen.once(centered_gram, name, value)
        block = next(block for block in _comparable_blocks(specimen) if block.exit == name)
        entry = seen[f"<{block.entry}"]
        seen[f"<{block.entry}"] = None
        if entry is None or entry[0].shape != value.shape:
            raise Unmeasurable(f"{block.name} was reached twice in one pass, so what entered it is not known.")
        before, after = (_positions(specimen, name, one) for one in (entry[0], value))
        return *influence_and_angle(before, after), (entry[1], seen.once(centered_gram, name, value))

    def add(self, specimen: Specimen, tally: Bundle, batch: Batch, seen: BatchValues, logits: torch.Tensor) -> None:
        rows, sums = tally.rows("rows"), tally.total("sums")
        told = [seen[block.exit] for block in _comparable_blocks(specimen)]
        rows.add(
            batch.index,
            {
                "influence": torch.stack([one[0] for one in told], 1).numpy(),
                "angle": torch.stack([one[1] for one in told], 1).numpy(),
            },
        )
        if len(batch.index) >= 4:
            sums.add(len(batch.index), {"hsic": torch.stack([hsic_matrix(torch.stack(one[2])) for one in told]).numpy()})

    def to_arrays(self, specimen: Specimen, images: Images, tally: Bundle, twins: Sequence[Bundle]) -> Measurement:
        blocks = _comparable_blocks(specimen)
        told = {"block": [block.name for block in blocks]}
        values = _means(tally) | {
            "weight_distance": _weight_distances(specimen, blocks),
            "parameters": np.array([block.parameters for block in blocks]),
        }
        intervals = [bootstrap_interval(one) for one in tally.rows("rows").column("influence").T]
        values |= {f"influence_{end}": np.array([getattr(one, end) for one in intervals]) for end in ("low", "high")}
        drawn = [_weight_distances(twin, _comparable_blocks(twin)) for twin in untrained_twins(specimen, images)]
        null = [_means(twin) | {"weight_distance": one} for twin, one in zip(twins, drawn, strict=True)]
        reason = reason_for_no_verdict(specimen, images)
        against = verdicts(values["influence_low"], values["influence_high"], stacked(null, "influence"), reason, ratio=True)
        rank = np.empty(len(blocks), dtype=np.int64)
        rank[np.argsort(values["influence"], kind="stable")] = np.arange(1, len(blocks) + 1)
        titles = {
            "influence": "block influence",
            "angle": "angular distance",
            "cka": "CKA in to out",
            "weight_distance": "W1/σ to the block before",
        }
        beside = [
            {
                f"twin_{name}": array(one, ("block",), "1", told, f"{titles[name]}, untrained twins")
                for name, one in twin.items()
            }
            for twin in null
        ]
        arrays = {name: array(one, ("block",), "1", told, titles.get(name, "")) for name, one in values.items()}
        passing = [f"{block.name}: {_shape_text(specimen, block)}" for block in specimen.blocks if not block.keeps_shape]
        found = arrays | over_twins(beside) | {
            "rank": array(rank, ("block",), "1", told, "rank (1: changes least)"),
            "verdict": array(
                against if specimen.trained is not False else ["untrained"] * len(blocks),
                ("block",), "text", told, "against the untrained twins",
            ),
            "not_judged": array(passing or ["none"], ("criterion",), "text", title="blocks that change the shape"),
            "exit": array([block.exit for block in blocks], ("block",), "text", told, "compared at"),
            "trained": array([specimen.trained is not False], ("criterion",), "1"),
        }  # fmt: skip
        return Measurement(found, {"no_verdict": reason})

    def panels(self, finding: Finding) -> Sequence[Panel]:
        return [
            Bars(
                title="How much each block changes", y=("influence",), x="block", low="influence_low", high="influence_high",
                null=("twin_influence",), note="0: what leaves points the way that what entered did. Grey: mean of the untrained twins.",
            ),
            Scatter(title="Little change against parameters saved", x="parameters", y="influence", low="influence_low",
                    high="influence_high", log="x", note="Candidates stand low and to the right."),
            Table(
                title="Candidates for removal", rows="block",
                columns=("rank", "influence", "twin_influence", "twin_influence_low", "twin_influence_high", "angle", "twin_angle", "cka",
                         "twin_cka", "weight_distance",
                         "twin_weight_distance", "parameters", "verdict"),
                note="Only removal proves that a block is not needed.",
            ),
        ]  # fmt: skip

    def headline(self, finding: Finding) -> str:
        found = finding.arrays
        first = int(np.argmin(found["rank"].values))
        name, value = found["rank"].block.values[first], found["influence"].values[first]
        low, high = found["influence_low"].values[first], found["influence_high"].values[first]
        least, most = (found[f"twin_influence_{end}"].values[first] for end in ("low", "high"))
        start = (
            f"{name} changes least: block influence {value:.3f} [{low:.3f}, {high:.3f}] ({TWIN_COUNT} untrained twins {least:.3f} to "
            f"{most:.3f}). "
        )
        if not bool(found["trained"].values[0]):
            return start + "The network is untrained, so this says nothing about what could be removed."
        if reason := finding.facts.get("no_verdict", ""):
            return start + f"No verdict: {reason}."
        less = found["verdict"].values == BELOW
        if not less.any():
            return start + "No block changes less than in all twins, so this is no evidence of redundancy."
        return start + (
            f"{int(less.sum())} of {len(less)} blocks change less than in all twins; only removal proves that one is not needed."
        )

    def caveats(self, finding: Finding) -> Sequence[str]:
        found = finding.arrays
        branched = [str(name) for name in found["exit"].values if str(name).endswith("]")]
        said = (
            [
                f"Of blocks with several branches the first is compared ({', '.join(branched[:3])}{' …' if len(branched) > 3 else ''})."
            ]
            if branched
            else []
        )
        return [
            *said,
            "Only removing a block and measuring the accuracy proves that it is not needed: a block can turn its input by a small angle "
            "and still be crucial.",
            "Residual networks bear the loss of one block far better than plain ones (Veit et al. 2016, arXiv:1605.06431).",
            f"Below all {TWIN_COUNT} twins: the interval lies under the smallest twin and under what Student's prediction interval (95%) "
            "leaves for one more set of random weights.",
            "The untrained twins' last norm of each residual branch is not set to zero where the network's recipe would do so: "
            "with zero, every block of an untrained network has influence 0.",
            f"Not judged, since they change the shape: {', '.join(found['not_judged'].values[:8])}"
            f"{' …' if len(found['not_judged']) > 8 else ''}.",
        ]


def _comparable_blocks(specimen: Specimen) -> list[Block]:
    return [block for block in specimen.blocks if block.keeps_shape]


def _shape_text(specimen: Specimen, block: Block) -> str:
    return "×".join(map(str, specimen.layer(block.exit).shape))


def _positions(specimen: Specimen, name: str, value: torch.Tensor) -> torch.Tensor:
    """`value` as (image, position, unit)."""
    if specimen.layer(name).layout == "nchw":
        return value.flatten(2).transpose(1, 2)
    return value.flatten(1, -2) if value.dim() > 2 else value[:, None]


def _means(tally: Bundle) -> dict[str, np.ndarray[Any, Any]]:
    """Means over images, and CKA from the sums, each (block,)."""
    rows, sums = tally.rows("rows"), tally.total("sums")
    influence = nan_mean(rows.column("influence").T)
    hsic = torch.from_numpy(sums["hsic"]) if "hsic" in sums else torch.full((len(influence), 2, 2), torch.nan).double()
    return {
        "influence": influence,
        "angle": nan_mean(rows.column("angle").T),
        "cka": np.array([cka(one, one.diagonal(), one.diagonal())[0, 1].item() for one in hsic]),
    }


def _weight_distances(specimen: Specimen, blocks: Sequence[Block]) -> np.ndarray[Any, Any]:
    """Mean W1/σ between a block's kernels and those of the same name and shape in the block before it; NaN where there are none."""
    kernels: list[dict[str, torch.Tensor]] = []
    for block in blocks:
        module = specimen.net.get_submodule(specimen.layer(block.entry).path)
        kernels.append({name: p.detach() for name, p in module.named_parameters() if p.dim() > 1})
    told = [np.nan]
    for before, after in pairwise(kernels):
        alike = [name for name, weight in after.items() if name in before and before[name].shape == weight.shape]
        pairs = [w1_over_sigma(*(one[name].flatten().float().cpu().numpy() for one in (before, after))) for name in alike]
        told.append(float(np.mean(pairs)) if pairs else np.nan)
    return np.array(told[: len(blocks)])
