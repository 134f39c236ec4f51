"""Which input pixels a cell really answers to: the effective receptive field on your images, with its Gaussian, beside theory and twin.

The mean over units of one cell is differentiated by the input; colours are averaged, the rule (positive part by default) is taken
image by image, and images are added up. One forward pass serves all layers, each costs one backward pass. Beside the field stand
its Gaussian fit, the mass around the cell's centre, the area that holds it, where it is centred against where arithmetic puts the
cell, what theory allows, and the field of an untrained network of the same architecture. Units are px of the input.

A Gaussian describes a field where it leaves little of its variance (R² = 1 - SSE / SST at least 0.5) and at least half of the mass
lies within 3 σ of its centre. The R² that was published, 1 - var(residual) / var(field), stands beside: it forgives a constant, so that a
spike on a flat field fits by it. `--offset true` fits that constant as well.

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

from microtome.analyses.erf.arrays import field_arrays, published_arrays
from microtome.analyses.erf.published_fields import beside
from microtome.analysis import Analysis, Arrays, Measurement, Needs, option
from microtome.errors import BadOption, Unmeasurable, WatchError
from microtome.finding import Finding, array
from microtome.images import Images
from microtome.instruments.input_gradients import Target, input_slopes, mean_at, middle
from microtome.instruments.layer_choice import unmeasured
from microtome.instruments.receptive_fields import fields
from microtome.numerics.receptive.effective import added
from microtome.numerics.receptive.field import Field
from microtome.panels import Curve, Grid, Panel, Question, Table
from microtome.scan import Batch, Pace, Step, batches
from microtome.specimen import Specimen

ANSWER = "answer"
FITS = 0.5  # R² below which a Gaussian describes little of the field
INSIDE = 0.5  # fraction of the mass within 3 σ below which it describes a small part of the field


@final
class Erf(Analysis):
    """Input gradients of chosen cells, added up over images."""

    needs: ClassVar[Needs] = "images"
    question: ClassVar[Question] = "understand"
    title: ClassVar[str] = "Effective receptive fields"
    revision: ClassVar[int] = 2  # 2: the fit is chosen and judged by 1 - SSE / SST

    at: tuple[str, ...] = option(("stages",), "the layers whose cell is asked: names, globs or aliases")
    kind: Literal["mean", "logit", "segmentation"] = option(
        "mean", "what is differentiated: a cell's mean over units, the predicted class' logit, or the middle of a segmentation"
    )
    rule: Literal["relu", "abs", "square", "signed", "replknet"] = option("relu", "how gradients of different sign add up")
    cell: tuple[int, ...] = option((), "row and column of the cell; empty: the middle of the grid (upper left of four)")
    channels: tuple[int, ...] = option((), "the units asked about, by number; empty: the mean of all")
    offset: bool = option(False, "whether a constant under the Gaussian is fitted as well")
    count: int = option(20, "how many images, evenly spread", low=1, high=100000)

    def measure(self, specimen: Specimen, images: Images | None, pace: Pace) -> Measurement:
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
        arrays = field_arrays(specimen, names, own, null, theory, cells, self.rule, self.offset)
        arrays["count"] = array([len(taken)], ("specimen",), "images")
        if self.kind == "mean" and self.rule == "relu" and not self.cell and not self.channels:
            arrays |= published_arrays(specimen, names)
        if silent:
            arrays["silent_layer"] = array(np.array(silent, dtype=object), ("part",), "text")
        asked = self._asked(specimen) if self.kind == "mean" else []
        return Measurement(arrays, {"unmeasured": unmeasured(specimen, asked, [*names, *silent])})

    def _asked(self, specimen: Specimen) -> Sequence[str]:
        return [name for name in self.at if name != "stages" or "stages" in specimen.aliases] or ["last"]

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
        asked = specimen.find(self._asked(specimen))
        found = fields(specimen, asked)
        found = {name: field for name, field in found.items() if field.grid != (1, 1) or specimen.layer(name).grid}
        if not found:
            raise Unmeasurable(
                f"erf: none of {', '.join(asked[:4])} has rows and columns. List layers that do: microtome layers {specimen.name}"
            )
        return found

    def _cell(self, name: str, grid: tuple[int, int]) -> tuple[int, int]:
        if not self.cell:
            return middle(grid)
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
            new = added(slope, self.rule).cpu()
            sums[name] = sums[name] + new if name in sums else new

        targets = {name: self._target(specimen, name, cell) for name, cell in cells.items()}
        answer = None if self.kind == "mean" else self._answer(specimen)
        for batch in batches(specimen, taken, pace):
            input_slopes(specimen, batch.x, targets, each, answer)
            pace.listener(_step(specimen, what, batch, len(taken)))
        return {name: one.numpy() / len(taken) for name, one in sums.items()}

    def _target(self, specimen: Specimen, name: str, cell: tuple[int, int]) -> Target:
        units = specimen.layer(name).units
        if any(not 0 <= unit < units for unit in self.channels):
            raise BadOption(f"erf: channels {','.join(map(str, self.channels))}; {name} has units 0 to {units - 1}.")
        if self.rule != "replknet":
            return mean_at(cell, self.channels)
        return lambda maps: maps[:, :, cell[0], cell[1]].clamp_min(0).sum(1)

    def _answer(self, specimen: Specimen) -> Target:
        def logit(given: Tensor) -> Tensor:
            scores = given.flatten(1)
            return scores.gather(1, scores.detach().argmax(1, keepdim=True))[:, 0]

        def center(given: Tensor) -> Tensor:
            row, col = middle((int(given.shape[-2]), int(given.shape[-1])))
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
        columns = (
            "sigma",
            "r2",
            "inside",
            "r2_published",
            "twin_sigma",
            "twin_r2",
            "theory",
            "center_fit",
            "center",
            "used",
            "area",
        )
        return [*shown, Table(title="All layers", rows="layer", columns=columns)]

    def headline(self, finding: Finding) -> str:
        found = finding.arrays
        name = str(found["field"].coords["layer"].values[-1])
        at = {"layer": name}
        sigma, r2 = found["sigma"].sel(at).values, float(found["r2"].sel(at))
        null = found["twin_sigma"].sel(at).values
        theory = found["theory"].sel(at).values
        allowed = "theory allows the whole picture" if not np.isfinite(theory).all() else f"theory allows {theory.max():.0f} px"
        inside = f"R² {r2:.2f}, {100 * float(found['inside'].sel(at)):.0f} % of the mass within 3 σ"
        if _fitting(found, name):
            spot = f"{name} answers to a spot of σ = {sigma[0]:.1f} x {sigma[1]:.1f} px (rows x columns, {inside})"
        else:
            spot = (
                f"No Gaussian fits {name} ({inside}); {100 * float(found['used'].sel(at)):.0f} % of the pixels hold "
                "95 % of what it answers to"
            )
        twin = f"{null[0]:.1f} x {null[1]:.1f} px" if np.isfinite(null).all() else "not to be told"
        twin += "" if _fitting(found, name, "twin_") else " (a Gaussian fits it badly)"
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
        poor = [str(name) for name in found["r2"].coords["layer"].values if not _fitting(found, str(name))]
        if poor:
            told.append(
                f"A Gaussian describes little of the field of {', '.join(poor)} (R² = 1 − SSE/SST below {FITS}, or less than "
                f"{100 * INSIDE:.0f} % of the mass within 3 σ); its σ means little there."
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
            told.append(beside(name, alike == "same", found["published"].values.tolist(), here))
        lost = [
            str(one)
            for one in found["twin_sigma"].coords["layer"].values
            if not np.isfinite(found["twin_sigma"].sel(layer=one)).all()
        ]
        if lost:
            told.append(f"The untrained twin has no field to fit at {', '.join(lost)}.")
        return told


def _fitting(found: Arrays, name: str, mark: str = "") -> bool:
    """Whether the Gaussian of a layer (of its twin where `mark` says so) describes the field; not where none was fitted."""
    r2, inside = (float(found[f"{mark}{what}"].sel(layer=name)) for what in ("r2", "inside"))
    return r2 >= FITS and inside >= INSIDE


def _step(specimen: Specimen, what: str, batch: Batch, total: int) -> Step:
    return Step(f"{specimen.name}: {what}", int(batch.index[-1]) + 1, total, 0.0)
