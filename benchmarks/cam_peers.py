"""Kinds of class activation map against the peers that have them: gradient kinds, Ablation-CAM, Score-CAM."""

import contextlib
import copy
import importlib.util
import io
from typing import Any

import torch
from torch import Tensor, nn

import microtome
from benchmarks.gradcam import Maps, enlarged, wide
from benchmarks.timing import INSTALL, Disagreement, Plan, Result, interleaved, row
from microtome.instruments.attribution import attribution_maps, map_kind
from microtome.specimen import Specimen

TITLE = "Kinds of class activation map against torchcam, captum and pytorch-grad-cam"
TIMED = (
    "From normalised images and one class for each to maps at the size of the images, stretched to 0..1; networks untrained. Gradient "
    "kinds: ResNet-50, layer4, 8 images at 224 px. Ablation-CAM and Score-CAM: ResNet-18, layer4 (512 units), 2 images at 128 px; "
    "pytorch-grad-cam in batches of 32 as documented. Each peer runs its documented call on its own copy of the network, hooks attached "
    "beforehand. Score-CAM masks the image, so that every unit costs a whole pass for everybody."
)
LIMIT = 1e-3  # largest difference between two maps in 0..1
FASTER, TWICE = 1.2, 2.0
DIFFERENT = {
    "gradcam++": "it adds 1e-8 to a denominator of the order of squared gradients, which are smaller here",
    "scorecam": "it enlarges masks from corner to corner, ours lie at the centres of the receptive fields; both run the network once for "
    "each unit and image",
}  # why maps of a peer need not agree with ours
GRADIENT_PEERS = {"gradcam++": "GradCAMpp", "xgradcam": "XGradCAM", "layercam": "LayerCAM"}


def run(plan: Plan) -> Result:
    """Rows for every kind that a peer has too."""
    result = Result("cam_peers", TITLE, TIMED)
    missing = [name for name in ("torchcam", "captum", "pytorch_grad_cam") if importlib.util.find_spec(name) is None]
    if missing:
        result.notes.append(f"Left out, not installed: {', '.join(missing)}. Install the peers: {INSTALL}")
    network, size, count = ("timm:resnet18", 96, 2) if plan.quick else ("timm:resnet50", 224, 8)
    worker, x, classes = prepared(network, size, count, plan.device)
    pairs: list[tuple[str, str, Maps]] = []
    if "torchcam" not in missing:
        pairs += [(kind, "torchcam", _torchcam(peer, worker, x, classes)) for kind, peer in GRADIENT_PEERS.items()]
    if "captum" not in missing:
        pairs.append(("hirescam", "captum", _captum(worker, x, classes)))
    for kind, peer, theirs in pairs:
        own = _ours(worker, x, classes, kind)
        _compare(plan, result, (f"{map_kind(kind).title}, {count} images", peer), own, theirs, FASTER, DIFFERENT.get(kind, ""))
    if "pytorch_grad_cam" not in missing:
        worker, x, classes = prepared("timm:resnet18", 64 if plan.quick else 128, 2, plan.device)
        for kind, peer in (("ablationcam", "AblationCAM"), ("scorecam", "ScoreCAM")):
            own, theirs = _ours(worker, x, classes, kind), _pytorch_grad_cam(peer, worker, x, classes)
            what = (f"{map_kind(kind).title}, ResNet-18, 2 images", "pytorch-grad-cam")
            _compare(plan, result, what, own, theirs, TWICE, DIFFERENT.get(kind, ""))
    return result


def prepared(network: str, size: int, count: int, device: str) -> tuple[Specimen, Tensor, Tensor]:
    specimen = microtome.open(network, weights=None, zero_init_last=False, num_classes=10, recipe={"size": size})
    worker = specimen.on(device)
    x = wide(torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(0)).to(device))
    return worker, x, worker.run(x).argmax(1).clone()


def _compare(plan: Plan, result: Result, what: tuple[str, str], own: Maps, theirs: Maps, target: float, reason: str) -> None:
    """A row of two contenders; they are not timed where they should agree and do not."""
    title, peer = what
    first, second = own(), theirs()
    apart = float((first - second.to(first)).abs().max())
    if not reason and not apart <= LIMIT:
        raise Disagreement(f"The maps of {title} by {peer} differ from ours by up to {apart:.2g} (allowed: {LIMIT:.0e}).")
    rounds = 1 if plan.quick else plan.rounds if target == FASTER else max(3, plan.rounds // 3)
    taken = interleaved(plan, {"microtome": own, peer: theirs}, rounds, warm=target == FASTER)
    result.rows.append(row(title, taken, "microtome", peer, target))
    if not reason:
        result.notes.append(f"{title}: maps agree with {peer}'s to {apart:.1e}.")
    else:
        result.notes.append(f"{title}: maps differ from {peer}'s by up to {apart:.2f}: {reason}.")
    result.details[title] = taken


def _ours(worker: Specimen, x: Tensor, classes: Tensor, kind: str) -> Maps:
    def maps() -> Tensor:
        _, (found,) = attribution_maps(worker, ["layer4"], x, lambda _: [classes], map_kind(kind))
        return enlarged(found["layer4"].relu(), int(x.shape[-1]))

    return maps


def _torchcam(peer: str, worker: Specimen, x: Tensor, classes: Tensor) -> Maps:
    import torchcam.methods

    net = plain_copy(worker.net)
    cam = getattr(torchcam.methods, peer)(net, "layer4")
    images, wanted = x.contiguous(), classes.tolist()
    return lambda: enlarged(cam(wanted, net(images), normalized=False)[0].detach().relu(), int(x.shape[-1]))


def _captum(worker: Specimen, x: Tensor, classes: Tensor) -> Maps:
    from captum.attr import LayerGradientXActivation

    net = plain_copy(worker.net)
    method = LayerGradientXActivation(net, net.get_submodule("layer4"))
    images = x.contiguous()

    def maps() -> Tensor:
        heat: Any = method.attribute(images, target=classes)
        return enlarged(heat.sum(1).detach().relu(), int(x.shape[-1]))

    return maps


def _pytorch_grad_cam(peer: str, worker: Specimen, x: Tensor, classes: Tensor) -> Maps:
    import pytorch_grad_cam
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    net = plain_copy(worker.net)
    cam = getattr(pytorch_grad_cam, peer)(model=net, target_layers=[net.get_submodule("layer4")])
    cam.batch_size = 32
    targets, images = [ClassifierOutputTarget(int(name)) for name in classes], x.contiguous()

    def maps() -> Tensor:
        with contextlib.redirect_stderr(io.StringIO()):  # its progress bars
            return torch.from_numpy(cam(input_tensor=images, targets=targets))

    return maps


def plain_copy(net: nn.Module) -> nn.Module:
    """A copy in the memory layout in which networks are built."""
    return copy.deepcopy(net).to(memory_format=torch.contiguous_format)  # pyright: ignore[reportCallIssue]
