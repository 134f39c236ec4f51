"""How directly a loss supervises each layer: path lengths from the loss, and how strong its gradient is there, over depth.

The shortest path from the loss to each weight layer, counted in the weight layers between them, on the graph that was executed:
shortcuts, concatenations and branches count as they run. Beside it the mean over all paths, and the profile of the gradient:
for every image ‖∂loss/∂output‖·‖output‖, what the loss changes for a relative change of the layer's output, which no rescaling of
a layer alters; of the network and of its untrained twin, so at the start of a training and at its end. The loss is the cross entropy at the
true class where the images' classes are the network's, else at the class that it predicts; the finding says which.

Source: the claim of implicit deep supervision, Huang et al. 2017, arXiv:1608.06993, section 5 ("a single classifier on top of the
network provides direct supervision to all layers through at most two or three transition layers"). The paper measures nothing for it;
path lengths, gradient profile and their reading are ours.
"""

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, final

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from microtome.analysis import Analysis, Arrays, option
from microtome.errors import Unmeasurable
from microtome.finding import Finding, array
from microtome.images import Images
from microtome.instruments.class_matching import match_classes, why_no_scores
from microtome.numerics.graph.paths import PathLength, centre_profile, depth_profile, path_lengths
from microtome.panels import Curve, Panel, Table
from microtome.scan import Pace, Step, batches
from microtome.specimen import Specimen, tap
from microtome.specimen.layers import is_weight
from microtome.specimen.outputs import slow_attention
from microtome.specimen.tracing import example_input

BATCH = 8  # images at once: the outputs of all layers and their gradients are kept
LEVEL_DECADES = 0.5  # decades between first and last third below which a profile is called level: a factor of about 3


@final
class Supervision(Analysis):
    """Path lengths from the loss and the profile of its gradient."""

    needs = "images"
    question = "understand"
    title = "Implicit deep supervision"

    count: int = option(32, "how many images the gradient is averaged over, evenly spread", low=1, high=10_000)

    def refusal(self, specimen: Specimen, images: Images | None) -> str:
        if reason := Analysis.refusal(self, specimen, images) or why_no_scores(specimen):
            return reason
        return "" if len(_weight_layers(specimen)) > 1 else "it has fewer than two layers with weights, so there is no depth"

    def measure(self, specimen: Specimen, images: Images | None, pace: Pace) -> Arrays:
        assert images is not None  # `unfit` has refused before
        names = _weight_layers(specimen)
        far = _path_lengths(specimen, names)
        few = min(self.count, len(images))
        taken = images.take([place * len(images) // few for place in range(few)])
        wanted, asked = _target_outputs(specimen, taken)
        twin = specimen.twin(seed=1 if specimen.trained is False else 0).on(specimen.device)
        sums = {source: np.zeros((2, len(names))) for source in ("own", "twin")}
        loss = {"own": 0.0, "twin": 0.0}
        for batch in batches(specimen, taken, replace(pace, batch=min(pace.batch, BATCH))):
            classes = torch.from_numpy(wanted[batch.index]).to(batch.x.device)
            if (classes < 0).any():
                classes = torch.where(classes < 0, specimen.logits(batch.x).detach().argmax(1), classes)
            for source, one in (("own", specimen), ("twin", twin)):
                values, lost = _gradient_sums(one, names, batch.x, classes)
                sums[source] += values
                loss[source] += lost
            pace.listener(Step(f"{specimen.name}: gradients", int(batch.index[-1]) + 1, len(taken), 0.0))
        return _to_arrays(names, far, sums, loss, len(taken), asked, specimen.trained)

    def panels(self, finding: Finding) -> Sequence[Panel]:
        return [
            Curve(title="Weight layers between each layer and the loss", y=("shortest",), x="layer",
                  note="The shortest path, on the graph that was executed; 0 for the classifier."),
            Curve(title="The gradient over depth", y=("profile",), x="layer", null=("twin_profile",), log="y",
                  note="‖∂loss/∂output‖·‖output‖ over its geometric mean: level where all layers are supervised alike."),
            Curve(title="Mean length of all paths", y=("mean_length",), x="layer", note="In weight layers."),
            Table(title="Path lengths and gradients", rows="layer",
                  columns=("shortest", "mean_length", "paths", "strength", "twin_strength", "gradient", "twin_gradient")),
        ]  # fmt: skip

    def headline(self, finding: Finding) -> str:
        found = finding.arrays
        short = found["shortest"].values
        known = short[np.isfinite(short)]
        own, twin = (float(found["decades"].sel(source=one)) for one in ("network", "untrained twin"))
        return (
            f"No layer of {len(known)} is further than {int(known.max())} weight layers from the loss (median {np.median(known):.0f}; "
            f"the mean path to the first layer passes {found['mean_length'].values[0]:.0f}). From the last third of the layers to "
            f"the first the gradient {_change_text(own)}; in the untrained twin it {_change_text(twin)}."
            + ("" if bool(found["trained"].values[0]) else " The network is untrained.")
        )

    def caveats(self, finding: Finding) -> Sequence[str]:
        found = finding.arrays
        said = [
            f"The loss is the cross entropy {found['asked'].values[0]}.",
            "Short paths are a property of the architecture: they say how directly a layer could be supervised, not that this is why "
            "a network is accurate. Residual networks have them as well as dense ones.",
            "A trained network that is sure of its answers has a small loss and a small gradient; compare shapes over depth, not levels.",
            f"Called level: less than a factor of {10**LEVEL_DECADES:.1f} between the first and the last third of the layers.",
        ]
        if missing := int(np.isnan(found["shortest"].values).sum()):
            said.append(f"{missing} layers do not lead to the class scores and have no path.")
        return said


def _weight_layers(specimen: Specimen) -> list[str]:
    """The convolutions and linear layers that run, in order, by name."""
    modules = dict(specimen.net.named_modules())
    return [layer.name for layer in specimen.layers if is_weight(modules[layer.path])]


@contextmanager
def _require_gradients(net: torch.nn.Module) -> Generator[None]:
    """Inside, parameters require gradients, so that the graph shows where weights come in; none is ever computed."""
    frozen = [one for one in net.parameters() if one.is_floating_point() and not one.requires_grad]
    for one in frozen:
        one.requires_grad_(True)
    try:
        yield
    finally:
        for one in frozen:
            one.requires_grad_(False)


def _path_lengths(specimen: Specimen, names: Sequence[str]) -> list[PathLength | None]:
    """The length from the class scores to each layer's output, on noise of the recipe's size."""
    nodes: dict[str, Any] = {}
    counts: dict[str, int] = {}
    several = {specimen.layer(name).path for name in names if specimen.layer(name).call is not None}

    def hook(path: str) -> Any:
        def look(_module: Any, _inputs: Any, output: Any) -> None:
            place = counts[path] = counts.get(path, -1) + 1
            if isinstance(output, Tensor):
                nodes[f"{path}#{place}" if path in several else path] = output.grad_fn

        return look

    handles = [module.register_forward_hook(hook(path)) for path, module in specimen.net.named_modules() if is_weight(module)]
    try:
        with torch.inference_mode(False), torch.enable_grad(), slow_attention(), _require_gradients(specimen.net):
            x = example_input(specimen.net, specimen.recipe).requires_grad_()
            length = path_lengths(specimen.logits(x).sum(), x)
            return [length(nodes[name]) if nodes.get(name) is not None else None for name in names]
    finally:
        for handle in handles:
            handle.remove()


def _target_outputs(specimen: Specimen, images: Images) -> tuple[np.ndarray[Any, Any], str]:
    """The output that the loss asks for at each image (image,), -1 for the predicted one, and how that was decided."""
    predicted = np.full(len(images), -1, dtype=np.int64)
    if images.labels is None or not (np.asarray(images.labels) >= 0).any():
        return predicted, "at the class that the network predicts, since the images have no labels"
    try:
        wanted = match_classes(specimen, images, int(specimen.outputs or 0)).targets(np.asarray(images.labels))
    except Unmeasurable:  # an ImageNet head on other classes
        return predicted, "at the class that the network predicts, since the images' classes are not its own"
    known = int((wanted >= 0).sum())
    rest = f" where it is known ({known} of {len(images)} images), else at the predicted one" if known < len(images) else ""
    return wanted, "at the true class" + rest


def _gradient_sums(specimen: Specimen, names: Sequence[str], x: Tensor, classes: Tensor) -> tuple[np.ndarray[Any, Any], float]:
    """Sums over the images of ‖gradient‖·‖output‖ and of ‖gradient‖, (2, layer), and of the loss.

    Raises:
        Unmeasurable: outputs or gradients are not finite.
    """
    with tap(specimen, names) as taps:
        # in float64, since a network that is sure of its answer has a gradient that float32 rounds to zero
        loss = F.cross_entropy(specimen.logits(x).cpu().double(), classes.cpu(), reduction="sum")
        pairs = taps.gradients(loss)
    told: list[tuple[float, float]] = []
    for name in names:
        value, slope = (_image_rows(one, len(x)) for one in pairs[name])
        size, steep = value.norm(dim=1), slope.norm(dim=1)
        if not bool(torch.isfinite(size * steep).all()):
            raise Unmeasurable(
                f"{name} of {specimen.name} gives NaN or infinity, or its gradient does; `microtome weights` lists such layers."
            )
        told.append((float((size * steep).sum()), float(steep.sum())))
    return np.array(told).T, float(loss.detach())


def _image_rows(value: Tensor, images: int) -> Tensor:
    """One row for each image, float64; one for all where the images are not the first axis."""
    return value.detach().cpu().double().reshape(images if len(value) == images else 1, -1)


def _to_arrays(
    names: Sequence[str],
    far: Sequence[PathLength | None],
    sums: dict[str, Any],
    loss: dict[str, float],
    count: int,
    asked: str,
    trained: bool | None,
) -> dict[str, Any]:
    told = {"layer": list(names)}
    nothing = PathLength(0, float("nan"), float("nan"))
    short = [float("nan") if one is None else one.shortest for one in far]
    arrays: dict[str, Any] = {
        "shortest": array(short, ("layer",), "weight layers", told, "shortest path"),
        "mean_length": array([(one or nothing).mean for one in far], ("layer",), "weight layers", told, "mean over paths"),
        "paths": array([(one or nothing).paths for one in far], ("layer",), "log10", told, "paths (powers of ten)"),
    }
    for prefix, source, title in (("", "own", "network"), ("twin_", "twin", "untrained twin")):
        strength, steep = sums[source] / count
        arrays[f"{prefix}strength"] = array(strength, ("layer",), "nats", told, f"‖gradient‖·‖output‖, {title}")
        arrays[f"{prefix}gradient"] = array(steep, ("layer",), "nats per unit", told, f"‖gradient‖, {title}")
        arrays[f"{prefix}profile"] = array(centre_profile(strength), ("layer",), "1", told, title)
    sources = {"source": ["network", "untrained twin"]}
    shapes = [depth_profile(sums[source][0]) for source in ("own", "twin")]
    return arrays | {
        "decades": array([one.decades for one in shapes], ("source",), "decades", sources, "last third to first"),
        "spread": array([one.spread for one in shapes], ("source",), "decades", sources, "standard deviation over layers"),
        "loss": array([loss["own"] / count, loss["twin"] / count], ("source",), "nats", sources, "mean loss"),
        "asked": array([asked], ("measure",), "text"),
        "count": array([count], ("measure",), "images"),
        "trained": array([trained is not False], ("measure",), "1"),
    }


def _change_text(decades: float) -> str:
    if np.isnan(decades):
        return "cannot be followed (it is zero, as where a network is wholly sure of its answers)"
    if abs(decades) < LEVEL_DECADES:
        return f"stays level (× {10**decades:.2f})"
    return f"{'grows' if decades > 0 else 'shrinks'} (× {10**decades:.2g})"
