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
from typing import Any, NamedTuple, final

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from microtome.analysis import Analysis, Measurement, option
from microtome.errors import Unmeasurable
from microtome.finding import Finding, array
from microtome.images import Images
from microtome.instruments.class_matching import match_classes, why_no_scores
from microtome.instruments.untrained_twins import over_twins, reason_for_no_verdict, stacked, untrained_twins, verdicts
from microtome.numerics.graph.paths import PathLength, centre_profile, depth_profile, path_lengths
from microtome.panels import Curve, Panel, Table
from microtome.scan import Pace, Step, batches
from microtome.specimen import Specimen, tap
from microtome.specimen.layers import is_weight
from microtome.specimen.outputs import slow_attention
from microtome.specimen.tracing import example_input

BATCH = 8  # images at once: the outputs of all layers and their gradients are kept
LEVEL_DECADES = 0.5  # decades between first and last third below which a profile is called level: a factor of about 3


class _Profile(NamedTuple):
    """Of one network: ‖gradient‖·‖output‖ and ‖gradient‖ (2, layer), the loss, and the class asked of each image."""

    strengths: np.ndarray[Any, Any]
    loss: float
    classes: np.ndarray[Any, Any]


@final
class Supervision(Analysis):
    """Path lengths from the loss and the profile of its gradient."""

    needs = "images"
    question = "understand"
    title = "Implicit deep supervision"
    revision = 2

    count: int = option(32, "how many images the gradient is averaged over, evenly spread", low=1, high=10_000)

    def refusal(self, specimen: Specimen, images: Images | None) -> str:
        if reason := Analysis.refusal(self, specimen, images) or why_no_scores(specimen):
            return reason
        return "" if len(_weight_layers(specimen)) > 1 else "it has fewer than two layers with weights, so there is no depth"

    def measure(self, specimen: Specimen, images: Images | None, pace: Pace) -> Measurement:
        assert images is not None  # `unfit` has refused before
        names = _weight_layers(specimen)
        far = _path_lengths(specimen, names)
        few = min(self.count, len(images))
        taken = images.take([place * len(images) // few for place in range(few)])
        wanted, asked = _target_outputs(specimen, taken)
        own = self._profile(specimen, names, taken, wanted, pace)
        few = min(BATCH, len(taken))
        some = [place * len(taken) // few for place in range(few)]
        null = [
            self._profile(twin, names, taken.take(some), own.classes[some], pace) for twin in untrained_twins(specimen, images)
        ]
        found = _to_arrays(names, far, own, null, asked, specimen.trained, len(taken))
        return Measurement(found, {"no_verdict": reason_for_no_verdict(specimen, images)})

    def _profile(
        self, specimen: Specimen, names: Sequence[str], images: Images, wanted: np.ndarray[Any, Any], pace: Pace
    ) -> _Profile:
        """Mean ‖gradient‖·‖output‖ and ‖gradient‖ of each layer, and the loss; of the predicted class where none is wanted (-1)."""
        sums, loss, asked = np.zeros((2, len(names))), 0.0, wanted.copy()
        for batch in batches(specimen, images, replace(pace, batch=min(pace.batch, BATCH))):
            classes = torch.from_numpy(wanted[batch.index]).to(batch.x.device)
            if (classes < 0).any():
                classes = torch.where(classes < 0, specimen.logits(batch.x).detach().argmax(1), classes)
            values, lost = _gradient_sums(specimen, names, batch.x, classes)
            sums, loss = sums + values, loss + lost
            asked[batch.index] = classes.cpu().numpy()
            pace.listener(Step(f"{specimen.name}: gradients", int(batch.index[-1]) + 1, len(images), 0.0))
        return _Profile(sums / len(images), loss / len(images), asked)

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
        own = float(found["decades"].sel(source="network"))
        low, high = (10 ** float(found[f"twin_decades_{end}"]) for end in ("low", "high"))
        twins = f"× {low:.2g} to {high:.2g}" if np.isfinite(low) else "unknown"
        return (
            f"No layer of {len(known)} is further than {int(known.max())} weight layers from the loss (median {np.median(known):.0f}; "
            f"the mean path to the first layer passes {found['mean_length'].values[0]:.0f}). From the last third of the layers to "
            f"the first the gradient {_change_text(own)}; untrained twins {twins}."
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
    own: _Profile,
    twins: Sequence[_Profile],
    asked: str,
    trained: bool | None,
    count: int,
) -> dict[str, Any]:
    told = {"layer": list(names)}
    nothing = PathLength(0, float("nan"), float("nan"))
    short = [float("nan") if one is None else one.shortest for one in far]
    null = [_arrays(names, one, "twin_", "untrained twins") for one in twins]
    sources = {"source": ["network", "untrained twins"]}
    means = [np.mean([float(one[f"twin_{name}"]) for one in null]) for name in ("decades", "spread", "loss")]
    mine = _arrays(names, own, "", "network")
    decades = np.atleast_1d(float(mine["decades"]))
    return {
        "shortest": array(short, ("layer",), "weight layers", told, "shortest path"),
        "mean_length": array([(one or nothing).mean for one in far], ("layer",), "weight layers", told, "mean over paths"),
        "paths": array([(one or nothing).paths for one in far], ("layer",), "log10", told, "paths (powers of ten)"),
        **{name: mine[name] for name in ("strength", "gradient", "profile")},
        **over_twins(null),
        "decades": array([decades[0], means[0]], ("source",), "decades", sources, "last third to first"),
        "spread": array([float(mine["spread"]), means[1]], ("source",), "decades", sources, "standard deviation over layers"),
        "loss": array([own.loss, means[2]], ("source",), "nats", sources, "mean loss"),
        "against_twins": array(verdicts(decades, decades, stacked(null, "twin_decades")[:, None]), ("measure",), "text"),
        "asked": array([asked], ("measure",), "text"),
        "count": array([count], ("measure",), "images"),
        "trained": array([trained is not False], ("measure",), "1"),
    }


def _arrays(names: Sequence[str], one: _Profile, prefix: str, title: str) -> dict[str, Any]:
    """What one network gives: strength, gradient and profile by layer, and the shape of the profile."""
    told = {"layer": list(names)}
    strength, steep = one.strengths
    shape = depth_profile(strength)
    return {
        f"{prefix}strength": array(strength, ("layer",), "nats", told, f"‖gradient‖·‖output‖, {title}"),
        f"{prefix}gradient": array(steep, ("layer",), "nats per unit", told, f"‖gradient‖, {title}"),
        f"{prefix}profile": array(centre_profile(strength), ("layer",), "1", told, title),
        f"{prefix}decades": array(shape.decades, (), "decades", title="last third to first"),
        f"{prefix}spread": array(shape.spread, (), "decades", title="standard deviation over layers"),
        f"{prefix}loss": array(one.loss, (), "nats", title="mean loss"),
    }


def _change_text(decades: float) -> str:
    if np.isnan(decades):
        return "cannot be followed (it is zero, as where a network is wholly sure of its answers)"
    if abs(decades) < LEVEL_DECADES:
        return f"stays level (× {10**decades:.2f})"
    return f"{'grows' if decades > 0 else 'shrinks'} (× {10**decades:.2g})"
