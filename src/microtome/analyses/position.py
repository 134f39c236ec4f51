"""How much of a transformer's tokens is position, how far its heads look, and whether its learned biases are Gaussian.

Three things about places. The share of positional power: of what a patch token is right after the positions were added, the part
that is position, when the colours of the (normalised) input are scaled: at high contrast positions drown. The mean attention
distance of every head in px, beside what even attention would give. And, where there are learned relative biases (Swin windows,
BEiT, timm's `rel_pos`), the Gaussian nearest to each head's. All beside the untrained twin, whose attention is nearly even.

The first two need pictures, so the analysis does; the bias is read from the weights alone.

Source: attention distance, Dosovitskiy et al. 2021, arXiv:2010.11929, fig. 7; Gaussian fit of biases, Kim et al. 2023,
arXiv:2305.04722; that positions drown in contrast, Kim et al. 2021, arXiv:2111.08413, of which we had the abstract only: the share is ours.
"""

from collections.abc import Sequence
from typing import Any, ClassVar, final

import numpy as np
import torch
from torch import Tensor

from microtome.analysis import Analysis, Arrays, Needs, option
from microtome.errors import BadOption, Unmeasurable
from microtome.finding import Finding, array
from microtome.images import Images
from microtome.instruments.attention import (
    Tokens,
    allowed_pairs,
    attending,
    attention_paths,
    positions,
    relative_bias,
    tokens_of,
)
from microtome.instruments.embedded_patches import embedded_patches
from microtome.numerics.graph.attention import Hill, attention_distances, cell_distances, hill, offsets, to_the_grid
from microtome.panels import Curve, Grid, Panel, Question, Table
from microtome.scan import Batch, Pace, discard_tally, scan_batches
from microtome.specimen import Specimen
from microtome.specimen.layers import kind_of
from microtome.tally import Rows

GOOD = 0.7  # the R² above which the paper calls a bias Gaussian


@final
class Position(Analysis):
    """Positional power over contrast, attention distance by head, learned biases against a Gaussian."""

    needs: ClassVar[Needs] = "images"
    question: ClassVar[Question] = "understand"
    title: ClassVar[str] = "Positions and attention"
    revision: ClassVar[int] = 2  # 2: patches are taken where the positions are added to them

    scales: tuple[float, ...] = option((0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0), "what the normalised colours are multiplied by")
    count: int = option(16, "how many images, evenly from the set", low=1, high=100_000)

    def refusal(self, specimen: Specimen, images: Images | None) -> str:
        if not attention_paths(specimen.net):
            among = [part for part in specimen.net.modules() if hasattr(part, "num_heads")]
            hidden = [type(part).__name__ for part in among if kind_of(part) == "attention"]
            if hidden:
                return f"its attention ({hidden[0]}) has no map over positions that could be seen"
            return "it has no attention over positions"
        return Analysis.refusal(self, specimen, images)

    def measure(self, specimen: Specimen, images: Images | None, pace: Pace) -> Arrays:
        assert images is not None  # `unfit` has refused before
        if not self.scales or min(self.scales) <= 0 or not np.isfinite(self.scales).all():
            raise BadOption(f"position: option scales is {self.scales}; it takes numbers above 0, as 0.25,1,4.")
        evenly = np.unique(np.linspace(0, len(images) - 1, min(self.count, len(images))).round().astype(int))
        taken = images.take(evenly)
        twin = specimen.working_twin()
        tokens, even = _grids(specimen)
        own = self._rows(specimen, taken, pace, tokens, "attention")
        other = self._rows(twin, taken, pace, tokens, "attention of the untrained twin")
        found = _attention(tokens, even, own, other)
        if "content" in own and "content" in other:
            found |= self._share(specimen, own, "") | self._share(twin, other, "twin_")
        found |= _biases(specimen, twin)
        place = positions(specimen)
        if place is not None and "share" not in found:
            found["positions_unseen"] = array([place.name], ("criterion",), "text", title="positions whose sum was not seen")
        skipped = [path for path in attention_paths(specimen.net) if path not in tokens]
        found |= {
            "left_out": array(skipped or ["none"], ("criterion",), "text", title="attention on no known grid"),
            "count": array(len(taken), (), "images"),
            "trained": array(float("nan") if specimen.trained is None else float(specimen.trained), (), "1"),
        }
        for one, run in ((specimen, "attention"), (twin, "attention of the untrained twin")):
            discard_tally(pace, self._key(one, taken, run))
        return found

    def _key(self, specimen: Specimen, images: Images, run: str) -> list[str]:
        return [self.key(specimen, images, str(specimen.device)), run]

    def _rows(self, specimen: Specimen, images: Images, pace: Pace, tokens: dict[str, Tokens], run: str) -> Rows:
        """What every image gave: distances and attention to the grid by layer (image, head), powers (image, scale)."""
        rows = Rows()

        def visit(batch: Batch) -> None:
            seen: dict[str, Tensor] = {}
            kept: dict[str, Tensor] = {}

            def look(path: str, maps: Tensor) -> None:
                seen[path] = attention_distances(maps, distances[path])
                kept[path] = to_the_grid(maps, len(distances[path]))

            with attending(specimen.net, list(tokens), look):
                specimen.run(batch.x)
            count = len(batch.index)
            columns = {f"distance/{path}": _by_image(values, count) for path, values in seen.items()}
            columns |= {f"kept/{path}": _by_image(values, count) for path, values in kept.items()}
            rows.add(batch.index, columns | self._content(specimen, batch.x))

        distances = {path: cell_distances(one.grid, one.cell).to(specimen.device) for path, one in tokens.items()}
        scan_batches(specimen, images, rows, pace, visit, what=f"{specimen.name}: {run}", key=self._key(specimen, images, run))
        return rows

    def _content(self, specimen: Specimen, x: Tensor) -> dict[str, Any]:
        """Mean squared length of the patches' embeddings before positions are added, at every scale of the input (image, scale)."""
        place = positions(specimen)
        if place is None:
            return {}
        powers: list[Tensor] = []
        for scale in self.scales:
            given = embedded_patches(specimen.net, place.tensor, scale * x, *place.values.shape)
            if given is None:
                return {}
            powers.append(given.double().square().sum(2).mean(1))
        return {"content": torch.stack(powers, 1).cpu().numpy()}

    def _share(self, specimen: Specimen, rows: Rows, prefix: str) -> dict[str, Any]:
        place = positions(specimen)
        assert place is not None
        power = float(place.values.double().square().sum(1).mean())
        share = power / (power + rows.column("content").mean(0))
        told, title = {"scale": list(self.scales)}, "untrained twin" if prefix else "share of positional power"
        return {f"{prefix}share": array(share, ("scale",), "share", told, title)}

    def panels(self, finding: Finding) -> Sequence[Panel]:
        found = finding.arrays
        shown: list[Panel] = []
        if found["mean_distance"].sizes["layer"] > 1:
            shown.append(
                Curve(title="Mean attention distance over depth", y=("mean_distance",), x="layer", low="nearest_head",
                      high="farthest_head", null=("twin_mean_distance",),
                      note="In px; band: from the nearest-sighted head to the farthest. Dashed: the untrained twin, nearly even attention.")
            )  # fmt: skip
        shown.append(
            Table(title="Attention distance by layer", rows="layer",
                  columns=("mean_distance", "nearest_head", "farthest_head", "uniform_distance", "twin_mean_distance",
                           "to_the_grid", "grid"))
        )  # fmt: skip
        if "share" in found:
            shown.append(
                Curve(title="Share of positional power over contrast", y=("share",), x="scale", null=("twin_share",), log="x",
                      note="Of a patch token's power once positions are added. Across: what the normalised colours are multiplied by.")
            )  # fmt: skip
        if "bias" in found:
            shown += [
                Grid(title="Learned relative bias", z="bias", across="layer", scale="diverging",
                     note="Mean over heads, by offset from the token that asks (the middle). Layers with the largest windows."),
                Table(title="Learned bias against a Gaussian", rows="layer",
                      columns=("bias_r2", "twin_bias_r2", "bias_sigma", "bias_height"),
                      note="Of the head with the median R². Sigma in cells; the height is negative where near tokens are shunned."),
            ]  # fmt: skip
        return shown

    def headline(self, finding: Finding) -> str:
        found = finding.arrays
        mean, twin, even = (found[name].values for name in ("mean_distance", "twin_mean_distance", "uniform_distance"))
        names = found["mean_distance"].layer.values
        ratio = mean / even
        near = int(np.nanargmin(ratio)) if not np.isnan(ratio).all() else 0
        said = [
            f"{names[near]} looks nearest: {mean[near]:.1f} px on average, where even attention gives {even[near]:.1f} and the "
            f"untrained twin {twin[near]:.1f}"
        ]
        if "share" in found:
            share = found["share"]
            first, last = min(share.scale.values, key=lambda scale: abs(np.log(scale))), share.scale.values.max()
            own = f"positions are {_percent(share.sel(scale=first))} of the tokens' power"
            twins = [_percent(found["twin_share"].sel(scale=scale)) for scale in (first, last)]
            more = f", {_percent(share.sel(scale=last))} at {last:g} times the contrast (untrained twin {twins[1]})"
            said.append(f"{own} (untrained twin {twins[0]}){more if last != first else ''}")
        if "bias_r2_by_head" in found:
            fits, others = (found[name].values for name in ("bias_r2_by_head", "twin_bias_r2_by_head"))
            known = ~np.isnan(fits)
            said.append(
                f"a Gaussian explains more than {100 * GOOD:.0f} % of the learned bias in {int((fits > GOOD).sum())} of "
                f"{int(known.sum())} heads (untrained twin {int((others > GOOD).sum())})"
                if known.any()
                else f"the learned biases of its {fits.shape[0]} layers are flat, or their windows too small for a fit"
            )
        end = " The network is untrained." if float(found["trained"]) == 0 else ""
        return "; ".join(said) + "." + end

    def caveats(self, finding: Finding) -> Sequence[str]:
        found = finding.arrays
        said = [
            "Distances are between centres of patches; attention to class and register tokens is left out, and what remains is made "
            "to sum to one ('to the grid' says how much remains).",
            "How far a head looks does not show what it uses: the values it fetches are not weighed here.",
        ]
        if "share" in found:
            said.append(
                "Power is the mean squared length of a token, its mean over units included; layer norm removes that mean later. "
                "Scaling is of the normalised input, about the recipe's mean colour."
            )
        if "positions_unseen" in found:
            said.append(
                f"{found['positions_unseen'].values[0]} holds positions, but no sum of them with the embedded patches was seen: their "
                "share of the power is not measured."
            )
        if bool(found["windows"].values.any()):
            said.append(
                "Window attention cannot look past its window; windows at the border may hold padding, which counts as tokens."
            )
        if str(found["left_out"].values[0]) != "none":
            names = ", ".join(map(str, found["left_out"].values[:3]))
            said.append(f"Left out, since their tokens lie on no grid that is known: {names}.")
        if "bias_r2_by_head" in found:
            said.append("The fit has a free constant, which softmax does not see; over windows below 3 x 3 it is not made.")
        return said


def _grids(specimen: Specimen) -> tuple[dict[str, Tokens], dict[str, float]]:
    """By path, in the order they run: the tokens of every attention on a known grid, and how far even attention would look, in px.

    Even attention goes to all that the network's masks allow: in shifted windows that is less than the window.
    """
    counts: dict[str, int] = {}

    def note(path: str, maps: Tensor) -> None:
        if maps.shape[-2] == maps.shape[-1]:
            counts[path] = maps.shape[-1]

    like = next(specimen.net.parameters())
    x = torch.zeros(1, specimen.recipe.channels, *specimen.recipe.size, device=like.device, dtype=like.dtype)
    with attending(specimen.net, attention_paths(specimen.net), note):
        specimen.run(x)
    placed = {path: tokens_of(specimen, path, count) for path, count in counts.items()}
    known = {path: tokens for path, tokens in placed.items() if tokens is not None}
    if not known:
        raise Unmeasurable(
            f"no attention of {specimen.name} lies on a grid that is known, so nothing can be said of distances."
        )
    even = {
        path: float(
            attention_distances(allowed_pairs(specimen.net, path, counts[path]), cell_distances(one.grid, one.cell)).mean()
        )
        for path, one in known.items()
    }
    return known, even


def _by_image(values: Tensor, images: int) -> np.ndarray[Any, Any]:
    """Values (image × window, head) as means over each image's windows (image, head)."""
    return values.reshape(images, -1, values.shape[-1]).mean(1).cpu().numpy()


def _attention(tokens: dict[str, Tokens], even: dict[str, float], own: Rows, other: Rows) -> dict[str, Any]:
    heads = max(own.column(f"distance/{path}").shape[1] for path in tokens)

    def table(rows: Rows, kind: str) -> np.ndarray[Any, Any]:
        filled = np.full((len(tokens), heads), np.nan)
        for place, path in enumerate(tokens):
            mean = rows.column(f"{kind}/{path}").mean(0)
            filled[place, : len(mean)] = mean
        return filled

    distance, twin, kept = table(own, "distance"), table(other, "distance"), table(own, "kept")
    if np.isnan(distance).all(1).any():
        bad = list(tokens)[int(np.isnan(distance).all(1).argmax())]
        raise Unmeasurable(
            f"the attention of {bad} is not finite, or goes to no patch; `microtome weights` lists layers with NaN."
        )
    layers = {"layer": list(tokens)}
    return {
        "attention_distance": array(distance, ("layer", "head"), "px", layers, "mean attention distance"),
        "twin_attention_distance": array(twin, ("layer", "head"), "px", layers, "untrained twin"),
        "mean_distance": array(np.nanmean(distance, 1), ("layer",), "px", layers, "mean attention distance"),
        "nearest_head": array(np.nanmin(distance, 1), ("layer",), "px", layers, "nearest head"),
        "farthest_head": array(np.nanmax(distance, 1), ("layer",), "px", layers, "farthest head"),
        "twin_mean_distance": array(np.nanmean(twin, 1), ("layer",), "px", layers, "untrained twin"),
        "uniform_distance": array([even[path] for path in tokens], ("layer",), "px", layers, "even attention"),
        "to_the_grid": array(np.nanmean(kept, 1), ("layer",), "share", layers, "to the grid"),
        "grid": array([f"{one.grid[0]} x {one.grid[1]}" for one in tokens.values()], ("layer",), "text", layers, "grid"),
        "windows": array([one.windows for one in tokens.values()], ("layer",), "yes or no", layers),
    }


def _biases(specimen: Specimen, twin: Specimen) -> dict[str, Any]:
    """Learned relative biases over offsets and their Gaussians, beside the twin's."""
    tables, others = _tables(specimen), _tables(twin)
    if not tables:
        return {}
    layers = {"layer": list(tables)}
    fits, twins = ({name: [hill(one) for one in heads] for name, heads in group.items()} for group in (tables, others))
    widest = max(table.shape[1:] for table in tables.values())
    drawn = [name for name, table in tables.items() if table.shape[1:] == widest]
    shown = np.stack([tables[name].mean(0) - tables[name].mean() for name in drawn])
    middle = [_median(one) for one in fits.values()]
    return {
        "bias": array(shown, ("layer", "row", "col"), "logits", {"layer": drawn}, "learned bias, about its mean"),
        "bias_r2_by_head": _padded(fits, layers, "R² by head"),
        "twin_bias_r2_by_head": _padded(twins, layers, "untrained twin"),
        "bias_r2": array([one.r2 for one in middle], ("layer",), "share", layers, "R²"),
        "twin_bias_r2": array([_median(one).r2 for one in twins.values()], ("layer",), "share", layers, "untrained twin"),
        "bias_sigma": array([one.sigma for one in middle], ("layer",), "cells", layers, "sigma"),
        "bias_height": array([one.height for one in middle], ("layer",), "logits", layers, "height"),
    }


def _tables(specimen: Specimen) -> dict[str, np.ndarray[Any, Any]]:
    """By path, the learned bias of an attention module over offsets (head, row, col)."""
    found = {path: relative_bias(specimen.net.get_submodule(path)) for path in attention_paths(specimen.net)}
    return {path: offsets(*one) for path, one in found.items() if one is not None}


def _padded(fits: dict[str, list[Hill]], layers: dict[str, Any], title: str) -> Any:
    filled = np.full((len(fits), max(len(one) for one in fits.values())), np.nan)
    for place, heads in enumerate(fits.values()):
        filled[place, : len(heads)] = [one.r2 for one in heads]
    return array(filled, ("layer", "head"), "share", layers, title)


def _median(fits: Sequence[Hill]) -> Hill:
    """The fit with the (lower) median R²; one of NaN where none was made."""
    known = sorted((one for one in fits if not np.isnan(one.r2)), key=lambda one: one.r2)
    return known[(len(known) - 1) // 2] if known else fits[0]


def _percent(share: Any) -> str:
    value = 100 * float(share)
    return f"{value:.0f} %" if value >= 10 else f"{value:.1f} %" if value >= 0.05 else "under 0.1 %"
