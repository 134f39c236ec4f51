"""Positional power of tokens, attention distance of heads, and Gaussian fits of learned biases.

Three measurements of position in transformers. Positional power: the fraction of the power of a patch token, right after positions
were added, that comes from the position, when the colours of the (normalised) input are scaled: high contrast lowers it. The mean
attention distance of every head in px, beside that of uniform attention. And, where there are learned relative biases (Swin windows,
BEiT, timm's `rel_pos`), the best Gaussian for each head's. All compared with untrained twins, whose attention is nearly uniform.

The first two need images, so the analysis does; the bias is read from the weights alone.

Source: attention distance, Dosovitskiy et al. 2021, arXiv:2010.11929, fig. 7; Gaussian fit of biases, Kim et al. 2023,
arXiv:2305.04722; contrast against positions, Kim et al. 2021, arXiv:2111.08413 (abstract only): the measure of power is ours.
"""

from collections.abc import Sequence
from math import nan
from typing import Any, ClassVar, final

import numpy as np
import torch
from torch import Tensor

from microtome.analyses.position.biases import bias_arrays, twin_bias_arrays
from microtome.analysis import Analysis, Measurement, Needs, option
from microtome.errors import BadOption, Unmeasurable, weights_hint
from microtome.finding import Finding, array
from microtome.images import Images
from microtome.instruments.attention import (
    TokenGrid,
    all_attention_paths,
    allowed_pairs,
    position_embedding,
    token_grid,
    watch_attention,
)
from microtome.instruments.embedded_patches import embedded_patches
from microtome.instruments.untrained_twins import TWINS, over_twins, untrained_twins
from microtome.key_numbers import FRACTION, KeyNumber
from microtome.numerics.graph.attention import (
    attention_distances,
    cell_distances,
    grid_attention,
)
from microtome.panels import Curve, Grid, Panel, Question, Table
from microtome.prose import name_list
from microtome.scan import Batch, Pace, discard_tally, scan_batches
from microtome.specimen import Specimen
from microtome.specimen.layers import kind_of
from microtome.tally import Rows
from microtome.workload import Workload

MIN_GAUSSIAN_R2 = 0.7  # the R² above which the paper calls a bias Gaussian


@final
class Position(Analysis):
    """Positional power by contrast, attention distance by head, and Gaussian fits of learned biases."""

    needs: ClassVar[Needs] = "images"
    question: ClassVar[Question] = "understand"
    title: ClassVar[str] = "Positions and attention"
    rank: ClassVar[int] = 29
    revision: ClassVar[int] = 6  # 6: attention is found by what it computes, not by its class
    with_twin: ClassVar[bool] = True

    scales: tuple[float, ...] = option((0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0), "factors of the normalised colours")
    count: int = option(16, "number of images, evenly spaced", low=1, high=100_000, quick=4, full=64)

    def refusal(self, specimen: Specimen, images: Images | None) -> str:
        if not all_attention_paths(specimen):
            parts = [part for part in specimen.net.modules() if hasattr(part, "num_heads")]
            hidden = [type(part).__name__ for part in parts if kind_of(part) == "attention"]
            if hidden:
                return f"its attention ({hidden[0]}) has no map over positions that can be read"
            return "it has no attention over positions"
        return Analysis.refusal(self, specimen, images)

    def workload(self, specimen: Specimen, images: Images | None) -> Workload:
        shown = min(self.count, len(images or ()))
        return Workload(forward=shown * (1.0 + specimen.twin_count), twins=specimen.twin_count, seconds=0.5)

    def measure(self, specimen: Specimen, images: Images | None, pace: Pace) -> Measurement:
        assert images is not None  # `refusal` has refused before
        if not self.scales or min(self.scales) <= 0 or not np.isfinite(self.scales).all():
            raise BadOption(f"position: option scales is {self.scales}; it takes numbers above 0, as 0.25,1,4.")
        indices = np.unique(np.linspace(0, len(images) - 1, min(self.count, len(images))).round().astype(int))
        chosen = images.take(indices)
        tokens, uniform = _token_grids(specimen)
        own = self._rows(specimen, chosen, pace, tokens, "attention")
        arrays = _attention_arrays(tokens, uniform, own) | bias_arrays(specimen)
        if "content" in own:
            arrays |= self._positional_power(specimen, own, "")
        nulls: list[dict[str, Any]] = []
        for number, twin in enumerate(untrained_twins(specimen, images), 1):
            run = f"attention of untrained twin {number}"
            other = self._rows(twin, chosen, pace, tokens, run)
            nulls.append(_twin_attention_arrays(tokens, other) | twin_bias_arrays(twin))
            if "content" in own:
                nulls[-1] |= self._positional_power(twin, other, "twin_")
            discard_tally(pace, self._key(twin, chosen, run))
        arrays |= over_twins(nulls)
        left_out = [path for path in all_attention_paths(specimen) if path not in tokens]
        discard_tally(pace, self._key(specimen, chosen, "attention"))
        embedding = position_embedding(specimen)
        unseen = embedding.name if embedding is not None and "share" not in arrays else ""
        return Measurement(arrays, {"images": len(chosen), "left_out": left_out, "positions_not_added": unseen})

    def _key(self, specimen: Specimen, images: Images, run: str) -> list[str]:
        return [self.key(specimen, images, str(specimen.device)), run]

    def _rows(self, specimen: Specimen, images: Images, pace: Pace, tokens: dict[str, TokenGrid], run: str) -> Rows:
        """For every image: distances and attention to the grid by layer (image, head), powers (image, scale)."""
        rows = Rows()

        def visit(batch: Batch) -> None:
            apart: dict[str, Tensor] = {}
            kept: dict[str, Tensor] = {}

            def visit_maps(path: str, maps: Tensor) -> None:
                apart[path] = attention_distances(maps, distances[path])
                kept[path] = grid_attention(maps, len(distances[path]))

            with watch_attention(specimen.net, list(tokens), visit_maps):
                specimen.run(batch.x)
            count = len(batch.index)
            columns = {f"distance/{path}": _mean_by_image(values, count) for path, values in apart.items()}
            columns |= {f"kept/{path}": _mean_by_image(values, count) for path, values in kept.items()}
            rows.add(batch.index, columns | self._content(specimen, batch.x))

        distances = {path: cell_distances(each.grid, each.cell).to(specimen.device) for path, each in tokens.items()}
        scan_batches(specimen, images, rows, pace, visit, what=f"{specimen.name}: {run}", key=self._key(specimen, images, run))
        return rows

    def _content(self, specimen: Specimen, x: Tensor) -> dict[str, Any]:
        """Mean squared length of the patches' embeddings before positions are added, at every scale of the input (image, scale)."""
        embedding = position_embedding(specimen)
        if embedding is None:
            return {}
        powers: list[Tensor] = []
        for scale in self.scales:
            patches = embedded_patches(specimen.net, embedding.tensor, scale * x, *embedding.values.shape)
            if patches is None:
                return {}
            powers.append(patches.double().square().sum(2).mean(1))
        return {"content": torch.stack(powers, 1).cpu().numpy()}

    def _positional_power(self, specimen: Specimen, rows: Rows, prefix: str) -> dict[str, Any]:
        embedding = position_embedding(specimen)
        assert embedding is not None
        power = float(embedding.values.double().square().sum(1).mean())
        fraction = power / (power + rows.column("content").mean(0))
        title = TWINS if prefix else "positional power"
        return {f"{prefix}share": array(fraction, ("scale",), "fraction", {"scale": list(self.scales)}, title)}

    def key_numbers(self, finding: Finding) -> Sequence[KeyNumber]:
        mean, twin, uniform = (finding[name].values for name in ("mean_distance", "twin_mean_distance", "uniform_distance"))
        ratio = mean / uniform
        nearest = int(np.nanargmin(ratio)) if not np.isnan(ratio).all() else 0
        at = str(finding["mean_distance"].layer.values[nearest])
        numbers = [
            KeyNumber(
                name="attention distance",
                value=float(mean[nearest]),
                unit="px",
                baseline=float(twin[nearest]),
                baseline_name=TWINS,
                at=at,
            ),
            KeyNumber(name="attention distance, uniform attention", value=float(uniform[nearest]), unit="px", at=at),
        ]
        if "share" in finding:
            power, twin_power = finding["share"], finding["twin_share"]
            scales = [float(scale) for scale in power.scale.values]
            for scale in dict.fromkeys((min(scales, key=lambda scale: abs(np.log(scale))), max(scales))):
                value, baseline = (float(values.sel(scale=scale)) for values in (power, twin_power))
                name = "positional power" if len(numbers) == 2 else "positional power, highest contrast"
                numbers.append(
                    KeyNumber(
                        name=name, value=value, unit=FRACTION, baseline=baseline, baseline_name=TWINS, at=f"scale {scale:g}"
                    )
                )
        if "bias_r2_by_head" in finding:
            fraction, baseline = (_good_fits(finding[name].values) for name in ("bias_r2_by_head", "twin_bias_r2_by_head"))
            numbers.append(
                KeyNumber(
                    name="heads with a Gaussian bias", value=fraction, unit=FRACTION, baseline=baseline, baseline_name=TWINS
                )
            )
        return numbers

    def headline(self, finding: Finding) -> str:
        distance, uniform = finding.key_numbers[:2]
        start = "Untrained weights, most" if finding.trained is False else "Most"
        compared = f"uniform attention {uniform.text}, untrained twins {distance.baseline_text}"
        return f"{start} local layer {distance.at}: mean attention distance {distance.text} ({compared})."

    def panels(self, finding: Finding) -> Sequence[Panel]:
        shown: list[Panel] = []
        if finding["mean_distance"].sizes["layer"] > 1:
            shown.append(
                Curve(title="Mean attention distance by depth", y=("mean_distance",), x="layer", low="nearest_head",
                      high="farthest_head", null=("twin_mean_distance",),
                      note="In px; band: from the most local head to the most global. Dashed: the mean of the untrained twins.")
            )  # fmt: skip
        shown.append(
            Table(title="Attention distance by layer", rows="layer",
                  columns=("mean_distance", "nearest_head", "farthest_head", "uniform_distance", "twin_mean_distance",
                           "to_the_grid", "grid"))
        )  # fmt: skip
        if "share" in finding:
            shown.append(
                Curve(title="Positional power by contrast", y=("share",), x="scale", null=("twin_share",), log="x",
                      note="Fraction of a patch token's power once positions are added. Horizontal axis: factor of the normalised "
                      "colours.")
            )  # fmt: skip
        if "bias" in finding:
            shown += [
                Grid(title="Learned relative bias", z="bias", across="layer", scale="diverging",
                     note="Mean over heads, by offset from the query token (the middle). Layers with the largest windows."),
                Table(title="Gaussian fit of the learned bias", rows="layer",
                      columns=("bias_r2", "twin_bias_r2", "bias_sigma", "bias_height"),
                      note="Of the head with the median R². σ in positions; a negative height lowers attention to near tokens."),
            ]  # fmt: skip
        return shown

    def caveats(self, finding: Finding) -> Sequence[str]:
        lines = [
            "Distances are between centres of patches; attention to class and register tokens is left out and the rest normalised.",
            "Attention distance does not show what a head uses: the values it attends to are not weighted.",
        ]
        if "share" in finding:
            lines.append(
                "Power is the mean squared length of a token including its mean over units, which layer norm removes later."
            )
        if name := finding.facts["positions_not_added"]:
            lines.append(f"No sum of {name} with the embedded patches was seen, so positional power is not measured.")
        if bool(finding["windows"].values.any()):
            lines.append(
                "Window attention cannot exceed its window; windows at the border may hold padding, which counts as tokens."
            )
        if left_out := finding.facts["left_out"]:
            lines.append(f"Left out, since their tokens lie on no known grid: {name_list(left_out)}.")
        if "bias_r2_by_head" in finding:
            lines.append(
                f"A bias counts as Gaussian above R² {MIN_GAUSSIAN_R2}; the fit has a free constant and needs windows of 3 x 3."
            )
            if np.isnan(finding["bias_r2_by_head"].values).all():
                lines.append("No bias could be fitted: all are flat, or their windows too small.")
        return lines


def _good_fits(r2: np.ndarray[Any, Any]) -> float:
    """The fraction of the fitted heads with an R² above `MIN_GAUSSIAN_R2`; NaN where no head was fitted."""
    known = ~np.isnan(r2)
    return float((r2[known] > MIN_GAUSSIAN_R2).mean()) if known.any() else nan


def _token_grids(specimen: Specimen) -> tuple[dict[str, TokenGrid], dict[str, float]]:
    """By path, in the order they run: the tokens of every attention on a known grid, and the distance of uniform attention, px.

    Uniform attention goes to all that the network's masks allow: in shifted windows that is less than the window.
    """
    counts: dict[str, int] = {}

    def note(path: str, maps: Tensor) -> None:
        if maps.shape[-2] == maps.shape[-1]:
            counts[path] = maps.shape[-1]

    like = next(specimen.net.parameters())
    x = torch.zeros(1, specimen.recipe.channels, *specimen.recipe.size, device=like.device, dtype=like.dtype)
    with watch_attention(specimen.net, all_attention_paths(specimen), note):
        specimen.run(x)
    grids = {path: token_grid(specimen, path, count) for path, count in counts.items()}
    known = {path: tokens for path, tokens in grids.items() if tokens is not None}
    if not known:
        raise Unmeasurable(f"no attention of {specimen.name} lies on a known grid, so distances cannot be measured.")
    uniform = {
        path: float(
            attention_distances(allowed_pairs(specimen.net, path, counts[path]), cell_distances(each.grid, each.cell)).mean()
        )
        for path, each in known.items()
    }
    return known, uniform


def _mean_by_image(values: Tensor, images: int) -> np.ndarray[Any, Any]:
    """Values (image × window, head) as means over each image's windows (image, head)."""
    return values.reshape(images, -1, values.shape[-1]).mean(1).cpu().numpy()


def _by_head(tokens: dict[str, TokenGrid], rows: Rows, kind: str) -> np.ndarray[Any, Any]:
    """A mean over images (layer, head), NaN where a layer has fewer heads than others."""
    heads = max(rows.column(f"{kind}/{path}").shape[1] for path in tokens)
    by_layer = np.full((len(tokens), heads), np.nan)
    for index, path in enumerate(tokens):
        mean = rows.column(f"{kind}/{path}").mean(0)
        by_layer[index, : len(mean)] = mean
    return by_layer


def _twin_attention_arrays(tokens: dict[str, TokenGrid], other: Rows) -> dict[str, Any]:
    """The attention distances of an untrained twin, by head and by layer."""
    distance, layers = _by_head(tokens, other, "distance"), {"layer": list(tokens)}
    return {
        "twin_attention_distance": array(distance, ("layer", "head"), "px", layers, TWINS),
        "twin_mean_distance": array(np.nanmean(distance, 1), ("layer",), "px", layers, TWINS),
    }


def _attention_arrays(tokens: dict[str, TokenGrid], uniform: dict[str, float], own: Rows) -> dict[str, Any]:
    distance, kept = _by_head(tokens, own, "distance"), _by_head(tokens, own, "kept")
    if np.isnan(distance).all(1).any():
        bad = list(tokens)[int(np.isnan(distance).all(1).argmax())]
        raise Unmeasurable(
            f"the attention of {bad} is not finite, or goes to no patch; {weights_hint()} lists layers with NaN."
        )
    layers = {"layer": list(tokens)}
    return {
        "attention_distance": array(distance, ("layer", "head"), "px", layers, "mean attention distance"),
        "mean_distance": array(np.nanmean(distance, 1), ("layer",), "px", layers, "mean attention distance"),
        "nearest_head": array(np.nanmin(distance, 1), ("layer",), "px", layers, "most local head"),
        "farthest_head": array(np.nanmax(distance, 1), ("layer",), "px", layers, "most global head"),
        "uniform_distance": array([uniform[path] for path in tokens], ("layer",), "px", layers, "uniform attention"),
        "to_the_grid": array(np.nanmean(kept, 1), ("layer",), "fraction", layers, "attention to the grid"),
        "grid": array([f"{each.grid[0]} x {each.grid[1]}" for each in tokens.values()], ("layer",), "text", layers, "grid"),
        "windows": array([each.windows for each in tokens.values()], ("layer",), "yes or no", layers),
    }
