"""A small network of everything that windows can be cut through, and its tape."""

from collections.abc import Callable, Generator
from contextlib import contextmanager

import torch
from torch import nn

from microtome.instruments.perturbation.recording import Recording
from microtome.instruments.perturbation.tape import Tape


def small() -> nn.Sequential:
    """Convolution, norm, rectifier in place, pool, strided convolution; then means and a linear head."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = nn.Sequential(
            nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.MaxPool2d(2),
            nn.Conv2d(4, 5, 3, stride=2, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, 3),
        )  # fmt: skip
        with torch.no_grad():
            net[1].running_mean.normal_()
            net[1].running_var.uniform_(0.5, 2)
    return net.eval()


def recorded(net: nn.Module, x: torch.Tensor, layer: str = "") -> Recording:
    """The recording of `net` on one image, `layer` watched."""

    @contextmanager
    def watching(look: Callable[[str, torch.Tensor], None]) -> Generator[None]:
        watched = [net.get_submodule(layer)] if layer else []
        handles = [one.register_forward_hook(lambda _module, _inputs, output: look(layer, output)) for one in watched]
        yield
        for handle in handles:
            handle.remove()

    return Recording(net, x, watching, lambda *_: None)


def taped(net: nn.Module, x: torch.Tensor, layer: str = "") -> Tape:
    """The tape of `net` for any number of images."""
    with torch.no_grad():
        return recorded(net, x, layer).tape()
