"""Squeeze-and-excitation gates by class and by depth, and the variance that the class explains.

A gate is one number per channel that multiplies a map. Gates are found by that, not by names: squeeze-and-excitation of any library,
efficient channel attention, the channel part of CBAM, your own modules. For every gate: mean and spread, the fraction of its variance
over images that lies between classes (with what shuffled labels give, and the untrained twin), saturation, channels that are always
or never open. For the last gate of each stage the curves of the paper: mean gate of some channels by class, and mean ± standard
deviation within a class; and the gates of the first images.

Source: Hu et al. 2018, arXiv:1709.01507v4, section 7.2, figures 6 and 7; η² and its expectation under shuffled labels, Fisher 1925,
Kelley 1935. The paper gives curves and no numbers; the fractions are ours.
"""

from collections.abc import Sequence
from math import nan
from typing import Any, final

import numpy as np
import torch

from microtome.analysis import BatchValues, Census, Measurement, option
from microtome.errors import SpecimenError, UnknownName, Unmeasurable, did_you_mean, weights_hint
from microtome.finding import Finding, array
from microtome.images import Images
from microtome.instruments.gates import Gate, find_gates
from microtome.instruments.untrained_twins import TWINS, over_twins
from microtome.key_numbers import FRACTION, KeyNumber
from microtome.numerics.graph.excitation import (
    CONSTANT_STD,
    OPEN_ABOVE,
    SHUT_BELOW,
    ExplainedVariance,
    GateSummary,
    class_means,
    explained_variance,
    gate_sums,
    summarise_gates,
)
from microtome.panels import Curve, Heat, Panel, Table
from microtome.prose import plural
from microtome.scan import Batch
from microtome.specimen import Specimen
from microtome.tally import Bundle, Rows, Total

MAX_IMAGES = 8  # images whose gates are shown one by one
MAX_CLASSES = 4  # classes with a curve where none are named, as in the paper
ALL_CLASSES = "all classes"


@final
class Excitation(Census[Bundle]):
    """Channel gates by class and by depth."""

    needs = "labels"
    question = "understand"
    title = "Channel gates"
    rank = 26
    effort = "quick"
    revision = 4  # 4: which images its twins see rests on their contents
    with_twin = True

    at: tuple[str, ...] = option(("stages",), "layers up to each of which the last gate gets curves: names, globs or aliases")
    classes: tuple[str, ...] = option((), "classes with a curve, by name; empty: four, evenly spread")
    units: int = option(50, "channels shown in each curve, evenly spread", low=2, high=4096)

    def refusal(self, specimen: Specimen, images: Images | None) -> str:
        try:
            gates, others = find_gates(specimen)
        except SpecimenError as error:
            return str(error)
        if not gates and others:
            return f"the factors of its channels ({others[0]}{', …' if len(others) > 1 else ''}) come from no single layer's output"
        if not gates:
            return "it has no gate: nowhere does one number per channel, computed from the image, multiply a map"
        return Census.refusal(self, specimen, images)

    def layers_to_watch(self, specimen: Specimen) -> list[str]:
        return list(dict.fromkeys(gate.watch for gate in find_gates(specimen)[0]))

    def empty_tally(self) -> Bundle:
        return Bundle({"sums": Total(), "first": Rows()})

    def reduce(self, specimen: Specimen, name: str, value: torch.Tensor, seen: BatchValues) -> Any:
        return {
            gate.name: gate.values(value.detach().clone()).float().cpu().numpy()
            for gate in find_gates(specimen)[0]
            if gate.watch == name
        }

    def add(self, specimen: Specimen, tally: Bundle, batch: Batch, seen: BatchValues, logits: torch.Tensor) -> None:
        total, first = _split_tally(tally)
        labels = batch.labels if batch.labels is not None else np.full(len(batch.index), -1)
        values = {name: value for each in seen.values() for name, value in each.items()}
        for label in sorted(set(labels[labels >= 0].tolist())):
            mine = labels == label
            sums = {f"{name}|{label}": gate_sums(gate[mine]) for name, gate in values.items()}
            total.add(int(mine.sum()), sums | {f"count|{label}": [float(mine.sum())]})
        early = batch.index < MAX_IMAGES
        if early.any():
            first.add(batch.index[early], {name: value[early] for name, value in values.items()})

    def to_arrays(self, specimen: Specimen, images: Images, tally: Bundle, twins: Sequence[Bundle]) -> Measurement:
        assert images.classes is not None
        gates, others = find_gates(specimen)
        total, first = _split_tally(tally)
        labels = [label for label in range(len(images.classes)) if f"count|{label}" in total]
        if not labels:
            raise Unmeasurable("none of the images has a label, so gates cannot be compared between classes.")
        totals, counts = _stack_sums(total, gates, labels)
        for gate in gates:
            if not np.isfinite(totals[gate.name]).all():
                raise Unmeasurable(f"the gates of {gate.name} are not finite; {weights_hint()} lists layers with NaN.")
        names = [images.classes[label] for label in labels]
        arrays = _layer_arrays(gates, totals, counts)
        arrays |= over_twins([_twin_arrays(gates, _split_tally(twin)[0], len(images.classes)) for twin in twins])
        arrays |= {
            f"gate/{gate.name}": array(class_means(totals[gate.name], counts)[0], ("class", "unit"), "gate", {"class": names})
            for gate in gates
        }
        plotted = self._plotted_gates(specimen, gates)
        arrays |= self._curves(plotted, names, totals, counts)
        shown = {"image": [images.names[place] for place in first.index]} if first.count else {}
        for gate in plotted if first.count else []:
            arrays[f"image_gate/{gate.name}"] = array(first.column(gate.name), ("image", "unit"), "gate", shown, "gate")
        arrays["count"] = array(counts, ("class",), "images", {"class": names}, "images")
        return Measurement(arrays, {"left out": list(others)})

    def _plotted_gates(self, specimen: Specimen, gates: Sequence[Gate]) -> list[Gate]:
        """The gates that get curves: the last one up to each of the layers asked for, or the last of all before them."""
        try:
            ends = [specimen.layer(name).order for name in specimen.find(self.at)]
        except Unmeasurable:
            if self.at != ("stages",):
                raise
            ends = [gate.order for gate in gates]  # a network without stages
        last = [max((gate for gate in gates if gate.order <= end), key=lambda gate: gate.order, default=None) for end in ends]
        kept = {gate.name: gate for gate in last if gate is not None} or {gates[-1].name: gates[-1]}
        return sorted(kept.values(), key=lambda gate: gate.order)

    def _curves(self, plotted: Sequence[Gate], names: list[str], totals: Any, counts: Any) -> dict[str, Any]:
        """Mean gates by class over a few channels, for the classes asked for and for all; mean ± deviation for two of them."""
        for name in self.classes:
            if name not in names:
                raise UnknownName(f"excitation: the images have no class '{name}'.{did_you_mean(name, names)}")
        spread = np.unique(np.linspace(0, len(names) - 1, min(MAX_CLASSES, len(names))).round().astype(int))
        chosen = [names.index(name) for name in self.classes] or spread.tolist()
        arrays: dict[str, Any] = {}
        for gate in plotted:
            units = np.unique(np.linspace(0, gate.units - 1, min(self.units, gate.units)).round().astype(int))
            mean, deviation = class_means(totals[gate.name], counts)
            whole = totals[gate.name][:, 0].sum(0) / counts.sum()
            coords = {"class": [*(names[label] for label in chosen), ALL_CLASSES], "unit": units}
            curve = np.concatenate([mean[chosen], whole[None]])[:, units]
            arrays[f"curve/{gate.name}"] = array(curve, ("class", "unit"), "gate", coords, "mean gate")
            pair = [chosen[0], chosen[-1]] if len(chosen) > 1 else chosen[:1]
            coords = {"class": [names[label] for label in pair], "unit": units}
            for prefix, sign in (("within", 0), ("within_low", -1), ("within_high", 1)):
                values = (mean[pair] + sign * deviation[pair])[:, units]
                arrays[f"{prefix}/{gate.name}"] = array(values, ("class", "unit"), "gate", coords, "mean gate")
        return arrays

    def key_numbers(self, finding: Finding) -> Sequence[KeyNumber]:
        beyond, twin = finding["beyond_chance"].values, finding["twin_beyond_chance"].values
        layers = [str(name) for name in finding["beyond_chance"].layer.values]
        known = np.flatnonzero(~np.isnan(beyond))
        most = int(known[np.argmax(beyond[known])]) if len(known) else 0
        width = float(finding["width"].sum())
        return [
            KeyNumber(name="variance explained by the class, most", value=float(beyond[most]), baseline=float(twin[most]),
                      baseline_name=TWINS, unit=FRACTION, better="higher", at=layers[most]),
            KeyNumber(name="variance explained at the first gate", value=float(beyond[0]), baseline=float(twin[0]), unit=FRACTION,
                      baseline_name=TWINS, at=layers[0]),
            KeyNumber(name=f"gates above {OPEN_ABOVE}", value=float(finding["open"].mean()), unit=FRACTION,
                      baseline=float(np.nanmean(finding["twin_open"].values)) if np.isfinite(finding["twin_open"].values).any() else nan,
                      baseline_name=TWINS),
            KeyNumber(name=f"gates below {SHUT_BELOW}", value=float(finding["shut"].mean()), unit=FRACTION),
            KeyNumber(name="channels always open", value=float(finding["always_open"].sum()) / width, unit=FRACTION, better="lower"),
            KeyNumber(name="channels never open", value=float(finding["never_open"].sum()) / width, unit=FRACTION, better="lower"),
        ]  # fmt: skip

    def headline(self, finding: Finding) -> str:
        explained = finding.key_numbers[0]
        images = plural(int(finding["count"].sum()), "image")
        if np.isnan(explained.value):
            if finding["count"].sizes["class"] < 2:
                return f"All {images} are of one class, so gates cannot differ between classes."
            return f"Nothing is known of the classes on {images}: gates never vary, or images are too few."
        return (
            f"The class explains {explained.text} of the variance of the gates of {explained.at} "
            f"(untrained twins {explained.baseline_text or 'unknown'})."
        )

    def panels(self, finding: Finding) -> Sequence[Panel]:
        panels: list[Panel] = []
        if not np.isnan(finding["beyond_chance"].values).all():
            panels.append(
                Curve(title="Variance of the gates explained by the class", y=("beyond_chance",), x="layer",
                      null=("twin_beyond_chance",),
                      note="Beyond what shuffled labels give: 0 at chance, 1 where the class explains all. Dashed: the untrained twin.")
            )  # fmt: skip
        panels += [
            Curve(title="Open and closed gates over depth", y=("open", "shut"), x="layer", null=("twin_open",),
                  note=f"Gates above {OPEN_ABOVE} and below {SHUT_BELOW}. Dashed: above {OPEN_ABOVE} in the untrained twin."),
            Table(title="Gates by layer", rows="layer",
                  columns=("form", "beyond_chance", "twin_beyond_chance", "telling", "mean", "open", "shut", "always_open",
                           "never_open", "across_units", "across_images", "between_class", "chance"),
                  note="Always open: above 0.9 for every image; never open: below 0.1 for every image."),
        ]  # fmt: skip
        for name in [name.partition("/")[2] for name in finding.arrays if name.startswith("curve/")]:
            images = f"image_gate/{name}"
            panels += [
                Curve(title=f"{name}: mean gate by class", y=(f"curve/{name}",), x="unit", by="class",
                      note="Channels spread evenly, in no meaningful order. Where the curves differ, the gate depends on the class."),
                Curve(title=f"{name}: spread within a class", y=(f"within/{name}",), x="unit", by="class",
                      low=f"within_low/{name}", high=f"within_high/{name}", note="Mean ± one standard deviation over images."),
            ]  # fmt: skip
            if images in finding:
                panels.append(
                    Heat(title=f"{name}: gates of the first images", z=images, note="Rows: images. Columns: channels.")
                )
        return panels

    def caveats(self, finding: Finding) -> Sequence[str]:
        count, classes = int(finding["count"].sum()), finding["count"].sizes["class"]
        lines = [
            "Images drive untrained gates too, and classes differ in colour and size: only what exceeds the twin was learnt.",
            "A gate near 1 does not show that its channel matters, nor one near 0 that it does not: the next layer scales too.",
        ]
        if finding.trained is False:
            lines.append("These weights are untrained.")
        outside = finding["outside"]
        if float(outside.max()) > 0:
            loose = [str(name) for name in outside.layer.values[outside.values > 0]]
            lines.append(f"Not confined to 0 to 1, so open and closed mean little there: {', '.join(loose[:3])}.")
        if constant := int(finding["still"].sum()):
            lines.append(
                f"Gates of {plural(constant, 'channel')} never vary (standard deviation below {CONSTANT_STD:g}) and are left out of the "
                "explained variance."
            )
        if count < 5 * classes:
            lines.append(f"Only {plural(count, 'image')} of {classes} classes: the explained variance is uncertain.")
        if others := finding.facts["left out"]:
            lines.append(f"Left out, since they come from no single layer's output: {', '.join(others[:4])}.")
        return lines


def _split_tally(tally: Bundle) -> tuple[Total, Rows]:
    return tally.total("sums"), tally.rows("first")


def _stack_sums(total: Total, gates: Sequence[Gate], labels: Sequence[int]) -> tuple[dict[str, Any], np.ndarray[Any, Any]]:
    """For each gate the sums (class, kind, unit), and the number of images of each class."""
    counts = np.array([float(total[f"count|{label}"][0]) for label in labels])
    return {gate.name: np.stack([total[f"{gate.name}|{label}"] for label in labels]) for gate in gates}, counts


def _layer_arrays(gates: Sequence[Gate], totals: dict[str, Any], counts: np.ndarray[Any, Any]) -> dict[str, Any]:
    coords = {"layer": [gate.name for gate in gates]}
    summaries: list[GateSummary] = [summarise_gates(totals[gate.name], counts) for gate in gates]
    explained: list[ExplainedVariance] = [explained_variance(totals[gate.name], counts) for gate in gates]
    columns = {
        "mean": ("gate", "mean", [summary.mean for summary in summaries]),
        "across_units": ("gate", "spread over channels", [summary.across_units for summary in summaries]),
        "across_images": ("gate", "spread over images", [summary.across_images for summary in summaries]),
        "open": ("fraction", f"above {OPEN_ABOVE}", [summary.open for summary in summaries]),
        "shut": ("fraction", f"below {SHUT_BELOW}", [summary.shut for summary in summaries]),
        "always_open": ("channels", "always open", [summary.always_open for summary in summaries]),
        "never_open": ("channels", "never open", [summary.never_open for summary in summaries]),
        "outside": ("fraction", "outside 0 to 1", [summary.outside for summary in summaries]),
        "still": ("channels", "never vary", [summary.still for summary in summaries]),
        "between_class": ("fraction", "between classes (η²)", [variance.share for variance in explained]),
        "chance": ("fraction", "shuffled labels", [variance.chance for variance in explained]),
        "beyond_chance": ("fraction", "beyond chance (ε²)", [variance.beyond for variance in explained]),
        "telling": ("fraction", "channels with p < 0.01", [variance.telling for variance in explained]),
        "width": ("channels", "channels", [gate.units for gate in gates]),
        "form": ("text", "activation", [gate.form for gate in gates]),
    }
    return {name: array(values, ("layer",), unit, coords, title) for name, (unit, title, values) in columns.items()}


def _twin_arrays(gates: Sequence[Gate], total: Total, classes: int) -> dict[str, Any]:
    coords = {"layer": [gate.name for gate in gates]}
    labels = [label for label in range(classes) if f"count|{label}" in total]
    nothing = [float("nan")] * len(gates)
    explained, opened = nothing, nothing
    if labels:
        totals, counts = _stack_sums(total, gates, labels)
        explained = [explained_variance(totals[gate.name], counts).beyond for gate in gates]
        opened = [summarise_gates(totals[gate.name], counts).open for gate in gates]
    return {
        "twin_beyond_chance": array(explained, ("layer",), "fraction", coords, "untrained twin"),
        "twin_open": array(opened, ("layer",), "fraction", coords, "untrained twin, above 0.9"),
    }
