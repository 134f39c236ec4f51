"""Which blocks change nearly nothing, each against its untrained twin: a ranking of candidates for removal, not a verdict.

For every block that keeps its shape: block influence (one minus the cosine between what enters and what leaves), angular distance,
and the debiased CKA between the two; and for neighbours with kernels of the same shape, how far their weight distributions lie
apart. Random networks of the same architecture can look just as redundant, so every number stands beside the untrained twin's.

Source: block influence, Men et al. 2024, arXiv:2403.03853, eq. 1; angular distance, Gromov et al. 2024, arXiv:2403.17887; debiased
CKA, Nguyen et al. 2021, arXiv:2010.15327; weight distance W1/σ and the comparison with the twin are ours.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, final

import numpy as np
import torch

from microtome.analysis import Arrays, BatchValues, Census
from microtome.errors import Unmeasurable
from microtome.finding import Finding, array
from microtome.images import Images
from microtome.numerics.statistics.cka import centered_gram, cka, hsic_matrix
from microtome.numerics.statistics.distances import w1_over_sigma
from microtome.numerics.statistics.influence import influence_and_angle
from microtome.numerics.statistics.intervals import bootstrap_interval
from microtome.panels import Bars, Panel, Scatter, Table
from microtome.scan import Batch
from microtome.specimen import Block, Specimen
from microtome.tally import Bundle, Rows, Total


@final
class Redundancy(Census[Bundle]):
    """Blocks ranked by how little they do."""

    needs = "images"
    question = "slim"
    title = "Blocks that change little"
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

    def to_arrays(self, specimen: Specimen, images: Images, tally: Bundle, twin: Bundle | None) -> Arrays:
        assert twin is not None
        blocks = _comparable_blocks(specimen)
        told = {"block": [block.name for block in blocks]}
        values: dict[str, np.ndarray[Any, Any]] = {}
        for prefix, source in (("", tally), ("twin_", twin)):
            values |= {f"{prefix}{name}": one for name, one in _summary_arrays(source).items()}
        other = specimen.working_twin()
        values["weight_distance"] = _weight_distances(specimen, blocks)
        values["twin_weight_distance"] = _weight_distances(other, _comparable_blocks(other))
        values["parameters"] = np.array([block.parameters for block in blocks])
        less = values["influence_high"] < values["twin_influence_low"]
        order = np.lexsort((values["influence"], ~less))
        rank = np.empty(len(blocks), dtype=np.int64)
        rank[order] = np.arange(1, len(blocks) + 1)
        titles = {
            "influence": "block influence",
            "angle": "angular distance",
            "cka": "CKA in to out",
            "weight_distance": "W1/σ to the block before",
        }
        titles |= {f"twin_{name}": f"{title}, untrained twin" for name, title in titles.items()}
        arrays = {name: array(one, ("block",), "1", told, titles.get(name, "")) for name, one in values.items()}
        passing = [f"{block.name}: {_shape_text(specimen, block)}" for block in specimen.blocks if not block.keeps_shape]
        return arrays | {
            "rank": array(rank, ("block",), "1", told, "rank (1: changes least)"),
            "verdict": array(
                [_verdict_text(bool(one), specimen.trained) for one in less], ("block",), "text", told, "against the twin"
            ),
            "not_judged": array(passing or ["none"], ("criterion",), "text", title="blocks that change the shape"),
            "exit": array([block.exit for block in blocks], ("block",), "text", told, "compared at"),
            "trained": array([specimen.trained is not False], ("criterion",), "1"),
        }

    def panels(self, finding: Finding) -> Sequence[Panel]:
        return [
            Bars(
                title="How much each block changes", y=("influence",), x="block", low="influence_low", high="influence_high",
                null=("twin_influence",), note="0: what leaves points the way that what entered did. Grey: the untrained twin.",
            ),
            Scatter(title="Little change against parameters saved", x="parameters", y="influence", low="influence_low",
                    high="influence_high", log="x", note="Candidates stand low and to the right."),
            Table(
                title="Candidates for removal", rows="block",
                columns=("rank", "influence", "twin_influence", "angle", "twin_angle", "cka", "twin_cka", "weight_distance",
                         "twin_weight_distance", "parameters", "verdict"),
                note="Only removal proves that a block is not needed.",
            ),
        ]  # fmt: skip

    def headline(self, finding: Finding) -> str:
        found = finding.arrays
        first = int(np.argmin(found["rank"].values))
        name, value = found["rank"].block.values[first], found["influence"].values[first]
        low, high = found["influence_low"].values[first], found["influence_high"].values[first]
        less = int((found["influence_high"].values < found["twin_influence_low"].values).sum())
        start = (
            f"{name} changes least: block influence {value:.3f} ({low:.3f}–{high:.3f}; untrained twin "
            f"{found['twin_influence'].values[first]:.3f}). "
        )
        if not bool(found["trained"].values[0]):
            return start + "The network is untrained, so this says nothing about what could be removed."
        return start + (
            f"{less} of {len(found['rank'])} blocks change less than random weights make them; only removal proves that one is not needed."
            if less
            else "No block changes less than random weights make it, so this is no evidence of redundancy."
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
            "The untrained twin's last norm of each residual branch is not set to zero where the network's recipe would do so: "
            "with zero, every block of an untrained network has influence 0.",
            f"Not judged, since they change the shape: {', '.join(found['not_judged'].values[:8])}"
            f"{' …' if len(found['not_judged']) > 8 else ''}.",
        ]


def _comparable_blocks(specimen: Specimen) -> list[Block]:
    return [block for block in specimen.blocks if block.keeps_shape]


def _shape_text(specimen: Specimen, block: Block) -> str:
    return "×".join(map(str, specimen.layer(block.exit).shape))


def _verdict_text(less: bool, trained: bool | None) -> str:
    if trained is False:
        return "untrained"
    return "changes less than random weights" if less else "no less than random weights"


def _positions(specimen: Specimen, name: str, value: torch.Tensor) -> torch.Tensor:
    """`value` as (image, position, unit)."""
    if specimen.layer(name).layout == "nchw":
        return value.flatten(2).transpose(1, 2)
    return value.flatten(1, -2) if value.dim() > 2 else value[:, None]


def _summary_arrays(tally: Bundle) -> dict[str, np.ndarray[Any, Any]]:
    """Means over images with bootstrap intervals, and CKA from the sums, each (block,)."""
    rows, sums = tally.rows("rows"), tally.total("sums")
    influence = [bootstrap_interval(one) for one in rows.column("influence").T]
    hsic = torch.from_numpy(sums["hsic"]) if "hsic" in sums else torch.full((len(influence), 2, 2), torch.nan).double()
    return {
        "influence": np.array([one.value for one in influence]),
        "influence_low": np.array([one.low for one in influence]),
        "influence_high": np.array([one.high for one in influence]),
        "angle": np.nanmean(rows.column("angle"), axis=0),
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
