"""Grad-CAM of one class of each of 8 images, ResNet-50 at 224 px, last stage; from input tensor to maps in 0..1 at 224 px."""

import copy
import importlib
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import microtome
from benchmarks.timing import INSTALL, Disagreement, Plan, Result, interleaved, row
from microtome.instruments.attribution import attribution_maps, map_kind

TITLE = "Grad-CAM, ResNet-50, layer4, 224 px, 8 images"
TIMED = (
    "From 8 normalised images and one class for each to 8 maps at 224 px, stretched to 0..1. Ours: `attribution.attribution_maps` on "
    "`specimen.on(device)`, what the cam and objects analyses call for each batch, then ReLU, stretching and bilinear "
    "interpolation. Peers: their documented call on their own copy of the same network, hooks already attached; captum's and "
    "torchcam's 7 x 7 maps are interpolated and stretched as ours are. Building and copying the network is timed for nobody."
)
LIMIT = 1e-4  # largest difference between two maps in 0..1
OURS = "microtome"
WIDE = "on a channels-last copy"
MODULES = {"captum": "captum.attr", "torchcam": "torchcam.methods", "pytorch-grad-cam": "pytorch_grad_cam"}
TARGETS = {"captum": 1.2, "torchcam": 1.2, "pytorch-grad-cam": 3.0}
Maps = Callable[[], Tensor]


def run(plan: Plan) -> Result:
    """Rows against every installed peer, on the network as it is and on a channels-last copy."""
    specimen = microtome.open("timm:resnet50", weights=None, zero_init_last=False)
    x = torch.randn(8, 3, 224, 224, generator=torch.Generator().manual_seed(0)).to(plan.device)
    worker = specimen.on(plan.device)
    classes = worker.run(wide(x)).argmax(1).clone()
    result = Result("gradcam", TITLE, TIMED)
    contenders: dict[str, Maps] = {OURS: lambda: ours(worker, x, classes)}
    for name, module in MODULES.items():
        try:
            importlib.import_module(module)
        except ImportError as error:
            result.notes.append(f"{name} is left out ({error}). Install the peers: {INSTALL}")
            continue
        for kind in ("", f" {WIDE}"):
            net = copy.deepcopy(specimen.net).to(plan.device)
            net = net.to(memory_format=torch.channels_last) if kind else net  # pyright: ignore[reportCallIssue]
            contenders[name + kind] = PEERS[name](net, wide(x) if kind else x, classes)
    apart = checked(contenders)
    plain = copy.deepcopy(specimen.net).to(plan.device)
    floors: dict[str, Callable[[], object]] = {
        "forward pass alone": lambda: forward(plain, x),
        f"forward pass alone {WIDE}": lambda: forward(worker.net, wide(x)),
    }
    taken = interleaved(plan, contenders | floors, 2 if plan.quick else plan.rounds)
    for name in contenders:
        if name != OURS:
            target = TARGETS.get(name)
            result.rows.append(row("Grad-CAM, 8 images", taken, OURS, name, target))
    result.rows += [row("Grad-CAM, 8 images", taken, OURS, name) for name in floors]
    result.notes.append("All maps agree: largest difference " + ", ".join(f"{k} {v:.1e}" for k, v in apart.items()) + ".")
    result.notes.append(
        f"The rows '{WIDE}' give the peers the memory layout that microtome chooses by itself: what is left of the ratio there "
        "is not due to it."
    )
    result.details = {"seconds": taken, "largest_difference": apart}
    return result


def checked(contenders: dict[str, Maps]) -> dict[str, float]:
    """The largest difference of each contender's maps from ours.

    Raises:
        Disagreement: a difference above LIMIT, or maps that show nothing.
    """
    own = contenders[OURS]()
    if not bool((own.flatten(1).amax(1) > 0.5).all()):
        raise Disagreement("Some of our maps are empty, so they cannot be compared.")
    apart = {name: float((maps().to(own) - own).abs().max()) for name, maps in contenders.items() if name != OURS}
    for name, most in apart.items():
        if not most <= LIMIT:
            raise Disagreement(f"The maps of {name} differ from ours by up to {most:.2g} (allowed: {LIMIT:.0e}).")
    return apart


def ours(worker: microtome.Specimen, x: Tensor, classes: Tensor) -> Tensor:
    _, (maps,) = attribution_maps(worker, ["layer4"], wide(x), lambda scores: [classes], map_kind("gradcam"))
    return enlarged(maps["layer4"].relu())


def _captum(net: nn.Module, x: Tensor, classes: Tensor) -> Maps:
    from captum.attr import LayerAttribution, LayerGradCam

    cam = LayerGradCam(net, net.get_submodule("layer4"))

    def maps() -> Tensor:
        heat: Any = cam.attribute(x, target=classes, relu_attributions=True)
        return stretched(LayerAttribution.interpolate(heat, (224, 224), "bilinear")[:, 0].detach())

    return maps


def _torchcam(net: nn.Module, x: Tensor, classes: Tensor) -> Maps:
    from torchcam.methods import GradCAM

    cam = GradCAM(net, "layer4")
    wanted = classes.tolist()
    return lambda: enlarged(cam(wanted, net(x))[0].detach())


def _pytorch_grad_cam(net: nn.Module, x: Tensor, classes: Tensor) -> Maps:
    from pytorch_grad_cam import GradCAM
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    cam = GradCAM(model=net, target_layers=[net.get_submodule("layer4")])
    targets = [ClassifierOutputTarget(int(name)) for name in classes]
    return lambda: torch.from_numpy(cam(input_tensor=x, targets=targets))


PEERS = {"captum": _captum, "torchcam": _torchcam, "pytorch-grad-cam": _pytorch_grad_cam}


def forward(net: nn.Module, x: Tensor) -> Tensor:
    with torch.inference_mode():
        return net(x)


def wide(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last)


def stretched(maps: Tensor) -> Tensor:
    """Each map (image, row, col) from 0 to 1."""
    low = maps.amin((1, 2), keepdim=True)
    return (maps - low) / (maps.amax((1, 2), keepdim=True) - low).clamp_min(1e-7)


def enlarged(maps: Tensor, size: int = 224) -> Tensor:
    """Maps (image, row, col) at `size` px, from 0 to 1."""
    return stretched(F.interpolate(stretched(maps)[:, None], size=(size, size), mode="bilinear")[:, 0])
