"""Blocks ranked by how little they change their input, compared with untrained twins.

For every block whose output has the shape of its input: block influence (one minus the cosine between input and output), angular
distance, and the debiased CKA between the two; for neighbours with kernels of the same shape, the distance between their weight
distributions. Random networks of the same architecture can look just as redundant, so every number stands beside those of untrained
twins. The ranking lists candidates for removal; it is no verdict. CKA is over all pairs of images while their features take at most
512 MB; beyond, over the pairs within batches, which are random samples.

Source: block influence, Men et al. 2024, arXiv:2403.03853, eq. 1; angular distance, Gromov et al. 2024, arXiv:2403.17887; debiased
CKA, Nguyen et al. 2021, arXiv:2010.15327; weight distance W1/σ and the comparison with the twins are ours.
"""

from collections.abc import Sequence
from math import nan
from typing import Any, final

import numpy as np
import torch

from microtome.analysis import BatchValues, Census, Measurement
from microtome.errors import Unmeasurable
from microtome.finding import Finding, array
from microtome.images import Images
from microtome.instruments.block_changes import neighbour_weight_distances, position_rows
from microtome.instruments.image_pairs import MIN_COUNT, ImagePairs, all_pairs_fit, flat_features
from microtome.instruments.removal_evidence import trust_sentence
from microtome.instruments.untrained_twins import (
    VERDICTS,
    over_twins,
    range_text,
    reason_for_no_verdict,
    stack_twins,
    twin_count,
    untrained_twins,
    verdicts,
)
from microtome.key_numbers import FRACTION, KeyNumber
from microtome.numerics.statistics.cka import centered_gram, cka, hsic_matrix
from microtome.numerics.statistics.influence import influence_and_angle
from microtome.numerics.statistics.intervals import mean_interval, nan_mean
from microtome.panels import Bars, Panel, Scatter, Table
from microtome.prose import name_list
from microtome.scan import Batch
from microtome.specimen import Block, Specimen
from microtome.tally import Bundle, Rows, Total
from microtome.workload import Workload

BELOW = VERDICTS[-1]
IN_BATCHES = (
    "CKA compares only images of one batch, since the features of all do not fit into memory: batches are random samples, but another "
    "size of batch gives slightly other values."
)
TITLES = {
    "influence": "block influence",
    "angle": "angular distance",
    "cka": "CKA of input and output",
    "weight_distance": "W1/σ to the block before",
}


@final
class Redundancy(Census[Bundle]):
    """Blocks ranked by how little they change their input."""

    needs = "images"
    question = "slim"
    title = "Blocks that change little"
    rank = 9
    effort = "quick"
    revision = 6  # 6: influence in each twin
    with_twin = True

    def workload(self, specimen: Specimen, images: Images | None) -> Workload:
        return Workload(seconds=0.5 + 3e-9 * sum(p.numel() for p in specimen.net.parameters()) * (1 + specimen.twin_count))

    def layers_to_watch(self, specimen: Specimen) -> list[str]:
        blocks = _comparable_blocks(specimen)
        if not blocks:
            raise Unmeasurable(
                f"{specimen.name} has no block whose output has the shape of its input, so none could be removed as it is."
            )
        return [name for block in blocks for name in (f"<{block.entry}", block.exit)]

    def empty_tally(self) -> Bundle:
        return Bundle({"rows": Rows(), "pairs": ImagePairs(), "sums": Total()})

    def _compares_all_pairs(self, specimen: Specimen, seen: BatchValues) -> bool:
        exits = [block.exit for block in _comparable_blocks(specimen)]  # an input has the shape of its output
        return seen.once_a_batch(self, lambda: all_pairs_fit(specimen, [*exits, *exits], seen.total))

    def reduce(self, specimen: Specimen, name: str, value: torch.Tensor, seen: BatchValues) -> Any:
        of_images = flat_features if self._compares_all_pairs(specimen, seen) else centered_gram
        if name.startswith("<"):  # cloned, since a residual branch may begin with an in-place activation
            return value.clone(), seen.once(of_images, name, value)
        block = next(block for block in _comparable_blocks(specimen) if block.exit == name)
        entry = seen[f"<{block.entry}"]
        seen[f"<{block.entry}"] = None
        if entry is None or entry[0].shape != value.shape:
            raise Unmeasurable(f"{block.name} ran twice in one pass, so its input is not known.")
        before, after = (position_rows(specimen, name, output) for output in (entry[0], value))
        return *influence_and_angle(before, after), (entry[1], seen.once(of_images, name, value))

    def add(self, specimen: Specimen, tally: Bundle, batch: Batch, seen: BatchValues, logits: torch.Tensor) -> None:
        rows, sums, pairs = tally.rows("rows"), tally.total("sums"), tally["pairs"]
        assert isinstance(pairs, ImagePairs)
        blocks = _comparable_blocks(specimen)
        reduced = [seen[block.exit] for block in blocks]
        rows.add(
            batch.index,
            {
                "influence": torch.stack([influence for influence, _, _ in reduced], 1).numpy(),
                "angle": torch.stack([angle for _, angle, _ in reduced], 1).numpy(),
            },
        )
        if self._compares_all_pairs(specimen, seen):
            ends = {f"{end}{block.name}": features for block, (*_, both) in zip(blocks, reduced, strict=True)
                    for end, features in zip("<>", both, strict=True)}  # fmt: skip
            pairs.add(batch.rank, batch.total, ends)
        elif len(batch.index) >= MIN_COUNT:
            matrices = torch.stack([hsic_matrix(torch.stack(grams)) for *_, grams in reduced])
            sums.add(len(batch.index), {"hsic": len(batch.index) * matrices.numpy()})

    def to_arrays(self, specimen: Specimen, images: Images, tally: Bundle, twins: Sequence[Bundle]) -> Measurement:
        blocks = _comparable_blocks(specimen)
        coords = {"block": [block.name for block in blocks]}
        values = _means(tally, blocks) | {
            "weight_distance": neighbour_weight_distances(specimen, blocks),
            "parameters": np.array([block.parameters for block in blocks]),
        }
        order = images.content_order()  # so that the draws do not depend on the names of the files
        intervals = [mean_interval(each) for each in tally.rows("rows").column("influence")[order].T]
        values |= {f"influence_{end}": np.array([getattr(each, end) for each in intervals]) for end in ("low", "high")}
        distances = [neighbour_weight_distances(twin, _comparable_blocks(twin)) for twin in untrained_twins(specimen, images)]
        null = [_means(twin, blocks) | {"weight_distance": distance} for twin, distance in zip(twins, distances, strict=True)]
        reason, each_twin = reason_for_no_verdict(specimen, images), stack_twins(null, "influence")
        against = verdicts(values["influence_low"], values["influence_high"], each_twin, reason, ratio=True)
        if specimen.trained is False:
            against = ["untrained"] * len(blocks)
        rank = np.empty(len(blocks), dtype=np.int64)
        rank[np.argsort(values["influence"], kind="stable")] = np.arange(1, len(blocks) + 1)
        arrays = {name: array(value, ("block",), "1", coords, TITLES.get(name, "")) for name, value in values.items()}
        arrays |= over_twins([_twin_arrays(twin, coords) for twin in null]) | {
            "each_twin_influence": array(each_twin, ("twin", "block"), "1", coords, "block influence of each untrained twin"),
            "rank": array(rank, ("block",), "1", coords, "rank (1: changes least)"),
            "verdict": array(against, ("block",), "text", coords, "against the untrained twins"),
            "exit": array([block.exit for block in blocks], ("block",), "text", coords, "compared at"),
        }
        not_judged = [f"{block.name}: {_shape_text(specimen, block)}" for block in specimen.blocks if not block.keeps_shape]
        every = "hsic" not in tally.total("sums")
        return Measurement(arrays, {"no_verdict": reason, "not_judged": not_judged, "all_pairs": every})

    def key_numbers(self, finding: Finding) -> Sequence[KeyNumber]:
        first = str(finding["rank"].block.values[np.argmin(finding["rank"].values)])

        def of(name: str) -> float:
            return float(finding[name].sel(block=first))

        blocks, below = finding["verdict"].size, (finding["verdict"].values == BELOW).sum()
        judged = finding.trained is not False and not finding.facts["no_verdict"]
        return [
            KeyNumber(
                name="smallest block influence", value=of("influence"), low=of("influence_low"), high=of("influence_high"),
                has_interval=True, baseline=of("twin_influence"), baseline_name="untrained twins", at=first,
            ),
            KeyNumber(name="blocks below all untrained twins", value=below / blocks if judged else nan, unit=FRACTION),
            KeyNumber(name="angular distance", value=of("angle"), baseline=of("twin_angle"), baseline_name="untrained twins", at=first),
            KeyNumber(name="CKA of input and output", value=of("cka"), baseline=of("twin_cka"), baseline_name="untrained twins", at=first),
            KeyNumber(name="parameters", value=of("parameters"), at=first),
            KeyNumber(name="blocks compared", value=blocks),
        ]  # fmt: skip

    def headline(self, finding: Finding) -> str:
        influence = finding.key("smallest block influence")
        least, most = (float(finding[f"twin_influence_{end}"].sel(block=influence.at)) for end in ("low", "high"))
        twins = range_text(least, most, influence.baseline_missing)
        start = "Untrained weights: " if finding.trained is False else ""
        return f"{start}{influence.at} changes least, block influence {influence.text}; untrained twins {twins}."

    def panels(self, finding: Finding) -> Sequence[Panel]:
        return [
            Bars(
                title="Block influence", y=("influence",), x="block", low="influence_low", high="influence_high",
                null=("twin_influence",), note="0: output and input have the same direction. Grey: mean of the untrained twins.",
            ),
            Scatter(title="Block influence against parameters", x="parameters", y="influence", low="influence_low",
                    high="influence_high", log="x", note="Candidates for removal are at the lower right."),
            Table(
                title="Candidates for removal", rows="block",
                columns=("rank", "influence", "twin_influence", "twin_influence_low", "twin_influence_high", "angle", "twin_angle", "cka",
                         "twin_cka", "weight_distance",
                         "twin_weight_distance", "parameters", "verdict"),
                note="Only removal proves that a block is not needed.",
            ),
        ]  # fmt: skip

    def caveats(self, finding: Finding) -> Sequence[str]:
        branched = [str(name) for name in finding["exit"].values if str(name).endswith("]")]
        return [
            *_verdict_caveats(finding),
            *([] if finding.facts["all_pairs"] else [IN_BATCHES]),
            *([f"Of blocks with several branches the first is compared ({name_list(branched)})."] if branched else []),
            "Only removing a block and measuring the accuracy proves that it is not needed: a block can turn its input by a small angle "
            "and still be crucial. `microtome slimming` removes each.",
            *filter(None, [trust_sentence("block influence")]),
            "Residual networks tolerate the removal of a block far better than plain ones (Veit et al. 2016, arXiv:1605.06431).",
            f"Below all {twin_count(finding.origin)} twins: the interval lies below the smallest twin and below Student's 95% prediction "
            "interval for one "
            "more set of random weights.",
            "In the untrained twins the last norm of each residual branch is not set to zero where the network's recipe would do so: "
            "with zero, every block of an untrained network has influence 0.",
        ]


def _verdict_caveats(finding: Finding) -> list[str]:
    """What the comparison with the twins does not show, and which blocks are not in it."""
    caveats: list[str] = []
    if finding.trained is False:
        caveats.append("The network is untrained, so this is no evidence for removing a block.")
    elif reason := finding.facts["no_verdict"]:
        caveats.append(f"No verdict: {reason}.")
    elif not (finding["verdict"].values == BELOW).any():
        caveats.append("No block changes its input less than in all untrained twins, so this is no evidence of redundancy.")
    if blocks := finding.facts["not_judged"]:
        caveats.append(f"Not judged, since they change the shape: {name_list(blocks, 8)}.")
    return caveats


def _twin_arrays(values: dict[str, np.ndarray[Any, Any]], coords: dict[str, Any]) -> dict[str, Any]:
    return {
        f"twin_{name}": array(value, ("block",), "1", coords, f"{TITLES[name]}, untrained twins")
        for name, value in values.items()
    }


def _comparable_blocks(specimen: Specimen) -> list[Block]:
    return [block for block in specimen.blocks if block.keeps_shape]


def _shape_text(specimen: Specimen, block: Block) -> str:
    return "×".join(map(str, specimen.layer(block.exit).shape))


def _means(tally: Bundle, blocks: Sequence[Block]) -> dict[str, np.ndarray[Any, Any]]:
    """Means over images, and CKA over all pairs of images or those within batches, each (block,)."""
    rows, sums, pairs = tally.rows("rows"), tally.total("sums"), tally["pairs"]
    assert isinstance(pairs, ImagePairs)
    influence = nan_mean(rows.column("influence").T)
    if pairs.count >= MIN_COUNT:
        hsic = torch.stack([hsic_matrix(pairs.grams([f"<{block.name}", f">{block.name}"])) for block in blocks])
    else:
        hsic = torch.from_numpy(sums["hsic"]) if "hsic" in sums else torch.full((len(blocks), 2, 2), torch.nan).double()
    return {
        "influence": influence,
        "angle": nan_mean(rows.column("angle").T),
        "cka": np.array([cka(matrix, matrix.diagonal(), matrix.diagonal())[0, 1].item() for matrix in hsic]),
    }
