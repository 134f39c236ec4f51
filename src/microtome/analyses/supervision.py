"""Path lengths from the loss to each layer, and the gradient over depth.

The shortest path from the loss to each weight layer, counted in the weight layers between them, on the graph that was executed:
shortcuts, concatenations and branches count as they run. Beside it the mean over all paths, and the profile of the gradient: for every
image ‖∂loss/∂output‖·‖output‖, the change of the loss for a relative change of the layer's output, which no rescaling of a layer
alters. It is measured on the network and on its untrained twins: at the end of a training and at its start. The loss is the cross
entropy at the true class where the images' classes are the network's, else at the class that it predicts; the finding states which.

Source: the claim of implicit deep supervision, Huang et al. 2017, arXiv:1608.06993, section 5 ("a single classifier on top of the
network provides direct supervision to all layers through at most two or three transition layers"). The paper gives no measurement;
path lengths and gradient profile are ours.
"""

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from math import nan
from typing import Any, NamedTuple, final

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from microtome.analysis import Analysis, Measurement, option
from microtome.errors import Unmeasurable, weights_hint
from microtome.finding import Finding, array
from microtome.images import Images
from microtome.instruments.class_matching import match_classes, why_no_scores
from microtome.instruments.untrained_twins import (
    over_twins,
    range_text,
    reason_for_no_verdict,
    stack_twins,
    untrained_twins,
    verdicts,
)
from microtome.key_numbers import KeyNumber, format_value
from microtome.numerics.graph.paths import PathLength, centre_profile, depth_profile, path_lengths
from microtome.panels import Curve, Panel, Table
from microtome.prose import plural
from microtome.scan import Pace, Step, batches
from microtome.specimen import Specimen, tap
from microtome.specimen.full_gradients import full_gradients
from microtome.specimen.layers import is_weight
from microtome.specimen.outputs import slow_attention
from microtome.specimen.tracing import example_input
from microtome.workload import Workload

BATCH = 8  # images at once: the outputs of all layers and their gradients are kept
LEVEL_DECADES = 0.5  # between first and last third, below which a profile is called level: a factor of about 3


class _Profile(NamedTuple):
    """Of one network: ‖gradient‖·‖output‖ and ‖gradient‖ (2, layer), the loss, and the target class of each image."""

    strengths: np.ndarray[Any, Any]
    loss: float
    classes: np.ndarray[Any, Any]


@final
class Supervision(Analysis):
    """Path lengths from the loss and the profile of its gradient."""

    needs = "images"
    question = "understand"
    title = "Implicit deep supervision"
    rank = 28
    revision = 4  # 4: verdicts of positive values in both scales
    with_twin = True

    count: int = option(
        16, "number of images that the gradient is averaged over, evenly spread", low=1, high=10_000, quick=8, full=64
    )

    def refusal(self, specimen: Specimen, images: Images | None) -> str:
        if reason := Analysis.refusal(self, specimen, images) or why_no_scores(specimen, images):
            return reason
        return "" if len(_weight_layers(specimen)) > 1 else "it has fewer than two layers with weights, so there is no depth"

    def workload(self, specimen: Specimen, images: Images | None) -> Workload:
        shown = min(self.count, len(images or ()))
        return Workload(backward=shown + specimen.twin_count * min(shown, BATCH), twins=specimen.twin_count)

    def measure(self, specimen: Specimen, images: Images | None, pace: Pace) -> Measurement:
        assert images is not None  # `refusal` has refused before
        names = _weight_layers(specimen)
        lengths = _path_lengths(specimen, names)
        few = min(self.count, len(images))
        taken = images.take([place * len(images) // few for place in range(few)])
        wanted, target = _target_outputs(specimen, taken)
        own = self._profile(specimen, names, taken, wanted, pace)
        few = min(BATCH, len(taken))
        some = [place * len(taken) // few for place in range(few)]
        null = [
            self._profile(twin, names, taken.take(some), own.classes[some], pace) for twin in untrained_twins(specimen, images)
        ]
        arrays, against = _to_arrays(names, lengths, own, null)
        facts = {"target": target, "images": len(taken), "gradient_against_twins": against}
        return Measurement(arrays, facts | {"no_verdict": reason_for_no_verdict(specimen, images)})

    def _profile(
        self, specimen: Specimen, names: Sequence[str], images: Images, wanted: np.ndarray[Any, Any], pace: Pace
    ) -> _Profile:
        """Mean ‖gradient‖·‖output‖ and ‖gradient‖ of each layer, and the loss; of the predicted class where none is wanted (-1)."""
        sums, loss, targets = np.zeros((2, len(names))), 0.0, wanted.copy()
        for batch in batches(specimen, images, replace(pace, batch=min(pace.batch, BATCH))):
            classes = torch.from_numpy(wanted[batch.index]).to(batch.x.device)
            if (classes < 0).any():
                classes = torch.where(classes < 0, specimen.logits(batch.x).detach().argmax(1), classes)
            values, lost = _gradient_sums(specimen, names, batch.x, classes)
            sums, loss = sums + values, loss + lost
            targets[batch.index] = classes.cpu().numpy()
            pace.listener(Step(f"{specimen.name}: gradients", int(batch.index[-1]) + 1, len(images), 0.0))
        return _Profile(sums / len(images), loss / len(images), targets)

    def key_numbers(self, finding: Finding) -> Sequence[KeyNumber]:
        short, profile = finding["shortest"], finding["decades"]
        known = np.isfinite(short.values)
        furthest = int(np.nanargmax(short.values)) if known.any() else 0
        change, twins = (10 ** float(profile.sel(source=source)) for source in ("network", "untrained twins"))
        return [
            KeyNumber(
                name="largest distance from the loss", value=float(short[furthest]), unit="weight layers", better="lower",
                at=str(short.layer.values[furthest]),
            ),
            KeyNumber(
                name="median distance from the loss", value=float(np.median(short[known])) if known.any() else nan,
                unit="weight layers", better="lower",
            ),
            KeyNumber(name="mean path to the first layer", value=float(finding["mean_length"][0]), unit="weight layers"),
            KeyNumber(
                name="gradient, first third over last third", value=change, baseline=twins, baseline_name="untrained twins",
            ),
            KeyNumber(name="weight layers with a path", value=int(known.sum())),
            KeyNumber(name="images", value=finding.facts["images"]),
        ]  # fmt: skip

    def headline(self, finding: Finding) -> str:
        furthest, median = (finding.key(f"{which} distance from the loss") for which in ("largest", "median"))
        layers = finding.key("weight layers with a path").text
        start = "The only weight layer is no" if layers == "1" else f"None of {layers} weight layers is"
        return f"{start} further than {furthest.text} from the loss (median {format_value(median.value)})."

    def panels(self, finding: Finding) -> Sequence[Panel]:
        return [
            Curve(title="Weight layers between each layer and the loss", y=("shortest",), x="layer",
                  note="Shortest path on the graph that was executed; 0 for the classifier."),
            Curve(title="Gradient over depth", y=("profile",), x="layer", null=("twin_profile",), log="y",
                  note="‖∂loss/∂output‖·‖output‖ over its geometric mean: level where all layers get the same gradient. Dashed: the "
                  "untrained twins."),
            Curve(title="Mean length of all paths", y=("mean_length",), x="layer", note="In weight layers."),
            Table(title="Path lengths and gradients", rows="layer",
                  columns=("shortest", "mean_length", "paths", "strength", "twin_strength", "gradient", "twin_gradient")),
        ]  # fmt: skip

    def caveats(self, finding: Finding) -> Sequence[str]:
        caveats = [
            f"The loss is the cross entropy {finding.facts['target']}.",
            "Short paths belong to the architecture: they show how directly a layer could be supervised, not why a network is accurate.",
            "A trained network that is confident has a small loss and a small gradient; compare profiles over depth, not their levels.",
            _change_text(finding),
        ]
        if finding.trained is False:
            caveats.append("These weights are untrained: the gradient is that of the start of a training.")
        if reason := finding.facts["no_verdict"]:
            caveats.append(f"No verdict against the untrained twins: {reason}.")
        if missing := int(np.isnan(finding["shortest"].values).sum()):
            caveats.append(f"{plural(missing, 'layer')} without a path to the class scores.")
        return caveats


def _change_text(finding: Finding) -> str:
    """How the gradient changes from the last third of the layers to the first, and in the untrained twins."""
    decades = float(finding["decades"].sel(source="network"))
    if np.isnan(decades):
        return "The gradient over depth is unknown: it is zero, as where a network is certain of its answers."
    low, high = (10 ** float(finding[f"twin_decades_{end}"]) for end in ("low", "high"))
    level = f" (level: less than a factor of {format_value(10**LEVEL_DECADES)})" if abs(decades) < LEVEL_DECADES else ""
    change = finding.key("gradient, first third over last third")
    twins = f"untrained twins {range_text(low, high, change.baseline_missing)}"
    return f"From the last third of the layers to the first the gradient changes by a factor of {change.text}{level}; {twins}."


def _weight_layers(specimen: Specimen) -> list[str]:
    """The convolutions and linear layers that run, in order, by name."""
    modules = dict(specimen.net.named_modules())
    return [layer.name for layer in specimen.layers if is_weight(modules[layer.path])]


@contextmanager
def _require_gradients(net: torch.nn.Module) -> Generator[None]:
    """Let all parameters require gradients, so that the graph shows where weights come in; no gradient of them is computed."""
    frozen = [weight for weight in net.parameters() if weight.is_floating_point() and not weight.requires_grad]
    for weight in frozen:
        weight.requires_grad_(True)
    try:
        yield
    finally:
        for weight in frozen:
            weight.requires_grad_(False)


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
        with (
            torch.inference_mode(False),
            torch.enable_grad(),
            slow_attention(),
            full_gradients(specimen.net),
            _require_gradients(specimen.net),
        ):
            x = example_input(specimen.net, specimen.recipe).requires_grad_()
            length = path_lengths(specimen.logits(x).sum(), x)
            return [length(nodes[name]) if nodes.get(name) is not None else None for name in names]
    finally:
        for handle in handles:
            handle.remove()


def _target_outputs(specimen: Specimen, images: Images) -> tuple[np.ndarray[Any, Any], str]:
    """The target of the loss at each image (image,), -1 for the predicted class, and in words where it comes from."""
    predicted = np.full(len(images), -1, dtype=np.int64)
    if images.labels is None or not (np.asarray(images.labels) >= 0).any():
        return predicted, "at the class that the network predicts, since the images have no labels"
    try:
        wanted = match_classes(specimen, images, int(specimen.outputs or 0)).targets(np.asarray(images.labels))
    except Unmeasurable:  # an ImageNet head on other classes
        return predicted, "at the class that the network predicts, since the images' classes are not its own"
    known = int((wanted >= 0).sum())
    rest = (
        f" where it is known ({known} of {plural(len(images), 'image')}), else at the predicted one"
        if known < len(images)
        else ""
    )
    return wanted, "at the true class" + rest


def _gradient_sums(specimen: Specimen, names: Sequence[str], x: Tensor, classes: Tensor) -> tuple[np.ndarray[Any, Any], float]:
    """Sums over the images of ‖gradient‖·‖output‖ and of ‖gradient‖, (2, layer), and of the loss.

    Raises:
        Unmeasurable: outputs or gradients are not finite.
    """
    with tap(specimen, names) as taps:
        # in float64, since a network that is certain of its answer has a gradient that float32 rounds to zero
        loss = F.cross_entropy(specimen.logits(x).cpu().double(), classes.cpu(), reduction="sum")
        pairs = taps.gradients(loss)
    norms: list[tuple[float, float]] = []
    for name in names:
        size, steep = (_image_norms(tensor, len(x)) for tensor in pairs[name])
        if not bool(torch.isfinite(size * steep).all()):
            raise Unmeasurable(
                f"{name} of {specimen.name} gives NaN or infinity, or its gradient does; {weights_hint()} lists such layers."
            )
        norms.append((float((size * steep).sum()), float(steep.sum())))
    return np.array(norms).T, float(loss.detach())


def _image_norms(value: Tensor, images: int) -> Tensor:
    """The norm of each image's values, float64; one norm for all where the images are not the first axis."""
    axes = tuple(range(1 if len(value) == images else 0, value.ndim))
    values = value.detach() if axes else value.detach()[:, None]
    return torch.linalg.vector_norm(values, dim=axes or 1, dtype=torch.float64).cpu().reshape(-1)


def _to_arrays(
    names: Sequence[str], lengths: Sequence[PathLength | None], own: _Profile, twins: Sequence[_Profile]
) -> tuple[dict[str, Any], str]:
    """The arrays, and on which side of the untrained twins the change of the gradient lies."""
    layers = {"layer": list(names)}
    missing = PathLength(0, nan, nan)
    short = [nan if length is None else length.shortest for length in lengths]
    null = [_profile_arrays(names, twin, "twin_", "untrained twins") for twin in twins]
    sources = {"source": ["network", "untrained twins"]}
    means = [np.mean([float(twin[f"twin_{name}"]) for twin in null]) for name in ("decades", "spread", "loss")]
    network = _profile_arrays(names, own, "", "network")
    decades = np.atleast_1d(float(network["decades"]))
    arrays = {
        "shortest": array(short, ("layer",), "weight layers", layers, "shortest path"),
        "mean_length": array(
            [(each or missing).mean for each in lengths], ("layer",), "weight layers", layers, "mean over paths"
        ),
        "paths": array([(each or missing).paths for each in lengths], ("layer",), "log10", layers, "paths (powers of ten)"),
        **{name: network[name] for name in ("strength", "gradient", "profile")},
        **over_twins(null),
        "decades": array([decades[0], means[0]], ("source",), "decades", sources, "last third to first"),
        "spread": array(
            [float(network["spread"]), means[1]], ("source",), "decades", sources, "standard deviation over layers"
        ),
        "loss": array([own.loss, means[2]], ("source",), "nats", sources, "mean loss"),
    }
    return arrays, verdicts(decades, decades, stack_twins(null, "twin_decades")[:, None])[0]


def _profile_arrays(names: Sequence[str], own: _Profile, prefix: str, title: str) -> dict[str, Any]:
    """The arrays of one network: strength, gradient and profile by layer, and the shape of the profile."""
    layers = {"layer": list(names)}
    strength, gradient = own.strengths
    shape = depth_profile(strength)
    return {
        f"{prefix}strength": array(strength, ("layer",), "nats", layers, f"‖gradient‖·‖output‖, {title}"),
        f"{prefix}gradient": array(gradient, ("layer",), "nats per unit", layers, f"‖gradient‖, {title}"),
        f"{prefix}profile": array(centre_profile(strength), ("layer",), "1", layers, title),
        f"{prefix}decades": array(shape.decades, (), "decades", title="last third to first"),
        f"{prefix}spread": array(shape.spread, (), "decades", title="standard deviation over layers"),
        f"{prefix}loss": array(own.loss, (), "nats", title="mean loss"),
    }
