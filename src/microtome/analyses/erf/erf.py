"""Which input pixels a cell really answers to: the effective receptive field on your images, with its Gaussian, beside theory and twin.

The mean over units of one cell is differentiated by the input; colours are averaged, the rule (positive part by default) is taken
image by image, and images are added up. One forward pass serves all layers, each costs one backward pass. Beside the field stand
its Gaussian fit, the mass around the cell's centre, the area that holds it, where it is centred against where arithmetic puts the
cell, what theory allows, and the field of an untrained network of the same architecture. Units are px of the input.

Where a width was published for the network (torchvision's and timm's ResNets at 224 px), it stands beside: for torchvision's first
ImageNet weights layer4 has σ (rows x columns) 73.7 x 76.5 px in ResNet-18, 97.2 x 96.1 in 34, 62.2 x 64.8 in 50, 60.7 x 60.1 in 101,
58.7 x 60.6 in 152, 67.7 x 70.9 in ResNeXt-50, 77.0 x 77.7 in ResNeXt-101, 60.7 x 58.4 and 59.9 x 56.9 in Wide-ResNet-50-2 and 101-2. Other
weights, and untrained ones, have other fields; we had none of those weights, so that none of these numbers was measured again here.

Source: Luo et al. 2016, arXiv:1701.04128, sec. 2; Kim et al. 2021, arXiv:2108.13576, alg. 1 (rule relu, colour mean first, free
centre); rule replknet, area ratio, Ding et al. 2022, arXiv:2203.06717, app. C. Rules abs, square, signed, and the segmentation
target (mean over classes at the middle of the answer) are ours.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal, final

import numpy as np
from torch import Tensor

from microtome.analyses.erf.published_fields import SIZE, compare_with_published, has_published_weights, published_field
from microtome.analysis import Analysis, Arrays, Needs, option
from microtome.errors import BadOption, Unmeasurable, WatchError
from microtome.finding import Finding, array
from microtome.images import Images
from microtome.instruments.input_gradients import Target, input_gradients, mean_over_units, middle_cell
from microtome.instruments.receptive_fields import receptive_fields
from microtome.numerics.receptive.effective import (
    area_ratio,
    center_of_mass,
    fit_gaussian,
    fraction_holding,
    mass_within_radius,
    replknet_scale,
    sum_gradients,
)
from microtome.numerics.receptive.field import Field
from microtome.panels import Curve, Grid, Panel, Question, Table
from microtome.scan import Batch, Pace, Step, batches
from microtome.specimen import Specimen

RADII = (5, 10, 20, 30, 40, 60, 80)  # px
AREA_FRACTIONS = (0.2, 0.3, 0.5, 0.99)
ANSWER_LAYER = "answer"
MIN_FIT_R2 = 0.5  # R² below which a Gaussian describes little of the field


@final
class Erf(Analysis):
    """Input gradients of chosen cells, added up over images."""

    needs: ClassVar[Needs] = "images"
    question: ClassVar[Question] = "understand"
    title: ClassVar[str] = "Effective receptive fields"

    at: tuple[str, ...] = option(("stages",), "the layers whose cell is asked: names, globs or aliases")
    kind: Literal["mean", "logit", "segmentation"] = option(
        "mean", "what is differentiated: a cell's mean over units, the predicted class' logit, or the middle of a segmentation"
    )
    rule: Literal["relu", "abs", "square", "signed", "replknet"] = option("relu", "how gradients of different sign add up")
    cell: tuple[int, ...] = option((), "row and column of the cell; empty: the middle of the grid (upper left of four)")
    channels: tuple[int, ...] = option((), "the units asked about, by number; empty: the mean of all")
    count: int = option(20, "how many images, evenly spread", low=1, high=100000)

    def measure(self, specimen: Specimen, images: Images | None, pace: Pace) -> Arrays:
        assert images is not None  # `unfit` has refused before
        places = np.unique(np.linspace(0, len(images) - 1, min(self.count, len(images))).round().astype(int))
        taken = images.take(places)
        theory = self._theory(specimen)
        cells = {name: self._cell(name, field.grid) for name, field in theory.items()}
        own = self._maps(specimen, taken, pace, cells, "gradients")
        broken = [name for name, field in own.items() if not np.isfinite(field).all()]
        if broken:
            raise Unmeasurable(
                f"erf: the gradient of {broken[0]} of {specimen.name} is not finite; some of its weights or values are NaN or "
                f"infinite. See which: microtome weights {specimen.name}"
            )
        silent = [name for name, field in own.items() if not np.abs(field).any()]
        if len(silent) == len(own):
            raise WatchError(
                f"erf: the gradient of {', '.join(silent)} is zero everywhere in all {len(taken)} images: "
                "nothing in them answers to the picture."
            )
        twin = specimen.twin(seed=1 if specimen.trained is False else 0).on(specimen.device)
        null = self._maps(twin, taken, pace, cells, "gradients of the untrained twin")
        names = [name for name in own if name not in silent]
        arrays = _to_arrays(specimen, names, own, null, theory, cells, self.rule)
        arrays["count"] = array([len(taken)], ("specimen",), "images")
        if self.kind == "mean" and self.rule == "relu" and not self.cell and not self.channels:
            arrays |= _published_arrays(specimen, names)
        if silent:
            arrays["silent_layer"] = array(np.array(silent, dtype=object), ("part",), "text")
        return arrays

    def _theory(self, specimen: Specimen) -> dict[str, Field]:
        """The theoretical field of each layer asked about; empty where the answer itself is asked."""
        if self.kind == "logit":
            if specimen.outputs is None:
                raise Unmeasurable(f"erf: {specimen.name} gives maps, not one score per class; try --kind segmentation.")
            return {}
        if self.kind == "segmentation":
            if specimen.outputs is not None:
                raise Unmeasurable(f"erf: {specimen.name} gives one score per class, not maps; try --kind logit.")
            return {}
        asked = specimen.find([name for name in self.at if name != "stages" or "stages" in specimen.aliases] or ["last"])
        found = receptive_fields(specimen, asked)
        found = {name: field for name, field in found.items() if field.grid != (1, 1) or specimen.layer(name).grid}
        if not found:
            raise Unmeasurable(
                f"erf: none of {', '.join(asked[:4])} has rows and columns. List layers that do: microtome layers {specimen.name}"
            )
        return found

    def _cell(self, name: str, grid: tuple[int, int]) -> tuple[int, int]:
        if not self.cell:
            return middle_cell(grid)
        if len(self.cell) != 2 or not all(0 <= at < side for at, side in zip(self.cell, grid, strict=True)):
            raise BadOption(
                f"erf: cell is {','.join(map(str, self.cell))}; {name} has {grid[0]} rows and {grid[1]} columns of cells, "
                f"counted from 0. Try --cell {grid[0] // 2},{grid[1] // 2}"
            )
        return self.cell[0], self.cell[1]

    def _maps(
        self, specimen: Specimen, taken: Images, pace: Pace, cells: Mapping[str, tuple[int, int]], what: str
    ) -> dict[str, np.ndarray[Any, Any]]:
        """Sums over images by layer, (row, col) float64."""
        sums: dict[str, Tensor] = {}

        def each(name: str, slope: Tensor) -> None:
            new = sum_gradients(slope, self.rule).cpu()
            sums[name] = sums[name] + new if name in sums else new

        targets = {name: self._target(specimen, name, cell) for name, cell in cells.items()}
        answer = None if self.kind == "mean" else self._answer(specimen)
        for batch in batches(specimen, taken, pace):
            input_gradients(specimen, batch.x, targets, each, answer)
            pace.listener(_batch_step(specimen, what, batch, len(taken)))
        return {name: one.numpy() / len(taken) for name, one in sums.items()}

    def _target(self, specimen: Specimen, name: str, cell: tuple[int, int]) -> Target:
        units = specimen.layer(name).units
        if any(not 0 <= unit < units for unit in self.channels):
            raise BadOption(f"erf: channels {','.join(map(str, self.channels))}; {name} has units 0 to {units - 1}.")
        if self.rule != "replknet":
            return mean_over_units(cell, self.channels)
        return lambda maps: maps[:, :, cell[0], cell[1]].clamp_min(0).sum(1)

    def _answer(self, specimen: Specimen) -> Target:
        def logit(given: Tensor) -> Tensor:
            scores = given.flatten(1)
            return scores.gather(1, scores.detach().argmax(1, keepdim=True))[:, 0]

        def center(given: Tensor) -> Tensor:
            row, col = middle_cell((int(given.shape[-2]), int(given.shape[-1])))
            return given[:, :, row, col].mean(1)

        return logit if self.kind == "logit" else center

    def panels(self, finding: Finding) -> Sequence[Panel]:
        found = finding.arrays
        note = "Square root of the field, each tile on its own scale; below, the untrained twin on the same pictures."
        shown: list[Panel] = [
            Grid(title="What the middle cell answers to", z="shown", across="layer", down="specimen", note=note)
        ]
        if found["field"].sizes["layer"] > 1:
            shown.append(
                Curve(
                    title="Width of the field over depth", y=("sigma_row", "sigma_col"), x="layer",
                    null=("twin_sigma_row", "twin_sigma_col"), log="y", note="σ of the fitted Gaussian; grey: the untrained twin.",
                )
            )  # fmt: skip
            shown.append(Curve(title="Mass around the cell's centre", y=("mass",), x="scale", by="layer"))
        columns = ("sigma", "r2", "twin_sigma", "twin_r2", "theory", "center_fit", "center", "used", "area")
        return [*shown, Table(title="All layers", rows="layer", columns=columns)]

    def headline(self, finding: Finding) -> str:
        found = finding.arrays
        name = str(found["field"].coords["layer"].values[-1])
        at = {"layer": name}
        sigma, r2 = found["sigma"].sel(at).values, float(found["r2"].sel(at))
        null = found["twin_sigma"].sel(at).values
        theory = found["theory"].sel(at).values
        allowed = "theory allows the whole picture" if not np.isfinite(theory).all() else f"theory allows {theory.max():.0f} px"
        if np.isfinite(r2) and r2 >= MIN_FIT_R2:
            spot = f"{name} answers to a spot of σ = {sigma[0]:.1f} x {sigma[1]:.1f} px (rows x columns, R² {r2:.2f})"
        else:
            spot = (
                f"No Gaussian fits {name} (R² {r2:.2f}); {100 * float(found['used'].sel(at)):.0f} % of the pixels hold "
                "95 % of what it answers to"
            )
        twin = f"{null[0]:.1f} x {null[1]:.1f} px" if np.isfinite(null).all() else "not to be told"
        return f"{spot}; {allowed}; untrained twin σ = {twin}; {int(found['count'].values[0])} images."

    def caveats(self, finding: Finding) -> Sequence[str]:
        found = finding.arrays
        told = [
            "A field describes one cell on these images, not all cells on all images; its width is no measure of quality.",
        ]
        off = [
            f"{name} by {float(np.abs(found['center_mass'].sel(layer=name) - found['center'].sel(layer=name)).max()):.1f} px"
            for name in map(str, found["field"].coords["layer"].values)
            if float(np.abs(found["center_mass"].sel(layer=name) - found["center"].sel(layer=name)).max())
            > float(found["jump"].sel(layer=name).max()) / 4
        ]
        if off:
            told.append(
                "The field's centre of mass lies more than a quarter of a cell off the place by arithmetic: "
                + ", ".join(off)
                + "."
            )
        poor = [
            str(name) for name in found["r2"].coords["layer"].values if not float(found["r2"].sel(layer=name)) >= MIN_FIT_R2
        ]
        if poor:
            told.append(
                f"A Gaussian describes little of the field of {', '.join(poor)} (R² below {MIN_FIT_R2}); its σ means little there."
            )
        if "silent_layer" in found:
            told.append(
                f"No gradient leads from {', '.join(map(str, found['silent_layer'].values))} to the picture (the mean over units of a "
                "LayerNorm is constant, for example); those are left out."
            )
        if "published" in found:
            name, alike = (str(one) for one in found["published_of"].values)
            layer = name.partition(" ")[0]
            here = found["sigma"].sel(layer=layer).values.tolist()
            told.append(compare_with_published(name, alike == "same", found["published"].values.tolist(), here))
        lost = [
            str(one)
            for one in found["twin_sigma"].coords["layer"].values
            if not np.isfinite(found["twin_sigma"].sel(layer=one)).all()
        ]
        if lost:
            told.append(f"The untrained twin has no field to fit at {', '.join(lost)}.")
        return told


def _published_arrays(specimen: Specimen, names: Sequence[str]) -> dict[str, Any]:
    """What was published of this network's last map at this size, and for which weights; nothing where nothing was."""
    known = published_field(specimen.name)
    if known is None or known[1].layer not in names or specimen.recipe.size != SIZE:
        return {}
    name, row = known
    told = [f"{row.layer} of {name}", "same" if has_published_weights(specimen.name, specimen.weights) else "other"]
    axes = {"axis": ["row", "col"]}
    return {
        "published": array(np.array(row.sigma), ("axis",), "px", axes, f"published σ of {told[0]}"),
        "published_of": array(
            np.array(told, dtype=object), ("part",), "text", title="network, and whether its weights are the same"
        ),
    }


def _batch_step(specimen: Specimen, what: str, batch: Batch, total: int) -> Step:
    return Step(f"{specimen.name}: {what}", int(batch.index[-1]) + 1, total, 0.0)


def _to_arrays(
    specimen: Specimen,
    names: Sequence[str],
    own: Mapping[str, np.ndarray[Any, Any]],
    null: Mapping[str, np.ndarray[Any, Any]],
    theory: Mapping[str, Field],
    cells: Mapping[str, tuple[int, int]],
    rule: str,
) -> dict[str, Any]:
    size = specimen.recipe.size
    layers, axes = {"layer": list(names)}, {"axis": ["row", "col"]}
    both = layers | axes
    half = ((size[0] - 1) / 2, (size[1] - 1) / 2)
    places = {name: _cell_centre(theory[name], cells[name]) if name in theory else half for name in names}
    center = np.array([places[name] for name in names])
    fits, others = [fit_gaussian(own[name]) for name in names], [fit_gaussian(null[name]) for name in names]
    whole = (float("inf"), float("inf"))
    radii = [radius for radius in RADII if radius <= max(size) / 2] or [RADII[0]]
    scales = {"scale": [f"{radius} px" for radius in radii]}
    shares = {"measure": [f"{100 * share:.0f} %" for share in AREA_FRACTIONS]}
    mass = np.array([mass_within_radius(own[name], places[name], radii) for name in names])
    ratios = np.array([_area_ratios(own[name], size, rule) for name in names])
    field, twin_field = (np.stack([_unit_mass(one[name]) for name in names]) for one in (own, null))
    shown = np.stack([np.sqrt(np.abs(field)), np.sqrt(np.abs(twin_field))])
    drawn = {"specimen": ["trained" if specimen.trained else "this network", "untrained twin"]} | layers
    dims = ("layer", "row", "col")
    arrays = {
        "field": array(field.astype(np.float32), dims, "share of the sum", layers),
        "twin_field": array(twin_field.astype(np.float32), dims, "share of the sum", layers),
        "shown": array(shown.astype(np.float32), ("specimen", *dims), "square root of the share", drawn),
        "sigma": array(np.array([one.sigma for one in fits]), ("layer", "axis"), "px", both, "σ"),
        "twin_sigma": array(np.array([one.sigma for one in others]), ("layer", "axis"), "px", both, "σ, untrained"),
        "r2": array(np.array([one.r2 for one in fits]), ("layer",), "1", layers, "R²"),
        "twin_r2": array(np.array([one.r2 for one in others]), ("layer",), "1", layers, "R², untrained"),
        "center_fit": array(np.array([one.center for one in fits]), ("layer", "axis"), "px", both, "fitted centre"),
        "center_mass": array(np.array([center_of_mass(own[name]) for name in names]), ("layer", "axis"), "px", both),
        "twin_center_mass": array(np.array([center_of_mass(null[name]) for name in names]), ("layer", "axis"), "px", both),
        "center": array(center, ("layer", "axis"), "px", both, "centre by arithmetic"),
        "jump": array(np.array([theory[n].jump if n in theory else size for n in names], dtype=float), ("layer", "axis"), "px", both),
        "theory": array(np.array([theory[n].size if n in theory else whole for n in names]), ("layer", "axis"), "px", both, "theory"),
        "mass": array(mass, ("layer", "scale"), "share of the field", layers | scales, "mass within"),
        "area": array(ratios, ("layer", "measure"), "share of the picture", layers | shares, "square that holds"),
        "used": array(
            np.array([fraction_holding(own[n], 0.95) for n in names]), ("layer",), "share of the picture", layers, "pixels with 95 %"
        ),
        "zero": array(np.array([float((own[n] == 0).mean()) for n in names]), ("layer",), "share of the picture", layers),
        "total": array(np.array([float(np.abs(own[n]).sum()) for n in names]), ("layer",), "target per input", layers),
    }  # fmt: skip
    for axis in ("row", "col"):
        for mark in ("", "twin_"):
            values = arrays[f"{mark}sigma"].sel(axis=axis).values
            arrays[f"{mark}sigma_{axis}"] = array(
                values, ("layer",), "px", layers, f"{'untrained ' if mark else ''}σ along {axis}s"
            )
    return arrays


def _cell_centre(field: Field, cell: tuple[int, int]) -> tuple[float, float]:
    """The (row, col) pixel on which a cell is centred by arithmetic."""
    return field.center[0] + field.jump[0] * cell[0], field.center[1] + field.jump[1] * cell[1]


def _area_ratios(field: np.ndarray[Any, Any], size: tuple[int, int], rule: str) -> np.ndarray[Any, Any]:
    scaled = replknet_scale(field) if rule == "replknet" else field
    return area_ratio(scaled, (size[0] // 2, size[1] // 2), AREA_FRACTIONS)


def _unit_mass(field: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The field with absolute values that sum to 1; zeros stay zeros."""
    total = np.abs(field).sum()
    return field / total if total else field
