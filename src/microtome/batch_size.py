"""How many images go through a network at once: as many as were asked for, or fewer where their tensors would not fit in memory."""

from math import prod

import torch

from microtome.errors import BadOption
from microtome.free_memory import free_bytes
from microtome.specimen import Specimen
from microtome.specimen.full_gradients import freeze_parameters
from microtome.specimen.live_memory import peak_live_bytes

ENOUGH = 1.5 * 2**30  # bytes; larger batches are not faster on a CPU
SPARE = 1.5  # kernels need scratch space beside the tensors that are counted
ROUGH = 3.0  # the tensors of a pass with gradients hold at most this many times what the named layers give
UNITS = {"": 1.0, "K": 2.0**10, "M": 2.0**20, "G": 2.0**30, "T": 2.0**40}


def parse_bytes(text: str) -> float:
    """Bytes from a number with a unit: "4G", "512M", "1.5GB", "2GiB".

    Raises:
        BadOption: the text is not a positive size.
    """
    word = text.strip().upper().removesuffix("B").removesuffix("I")
    number, unit = (word[:-1], word[-1]) if word and word[-1] in UNITS else (word, "")
    try:
        size = float(number) * UNITS[unit]
    except ValueError:
        size = 0.0
    if not 0 < size < float("inf"):
        raise BadOption(f"'{text}' is not an amount of memory; write for instance 4G or 512M.")
    return size


def image_bytes(specimen: Specimen, *, gradients: bool) -> int:
    """Bytes that the tensors of one image's pass through the network hold at most, forwards, or forwards and back; measured once."""
    known: dict[bool, int] = specimen.__dict__.setdefault("_image_bytes", {})
    if gradients not in known:
        x = specimen.noise(1)
        known[gradients] = peak_live_bytes(lambda: pass_back(specimen, x) if gradients else _pass_forward(specimen, x))
    return known[gradients]


def fitting_batch(specimen: Specimen, most: int, memory: float | None, *, gradients: bool = False) -> int:
    """`most`, halved until the tensors of so many images fit into `memory` bytes; at least 1.

    None stands for half of what is free, at most 1.5 GiB.
    """
    room = min(free_bytes() / 2, ENOUGH) if memory is None else memory
    rough = 4.0 * ROUGH * sum(prod(layer.shape) for layer in specimen.layers)
    if most * rough <= room:  # far from the limit: nothing needs measuring
        return most
    each = SPARE * image_bytes(specimen, gradients=gradients)
    while most > 1 and most * each > room:
        most //= 2
    return most


def _pass_forward(specimen: Specimen, x: torch.Tensor) -> None:
    with torch.inference_mode(False), torch.no_grad():
        specimen.net(x)


def pass_back(specimen: Specimen, x: torch.Tensor) -> None:
    """One pass and back to the pixels, as attributions take it: parameters get no gradients."""
    with freeze_parameters(specimen.net):
        pixels = x.clone().requires_grad_()
        scores = specimen.answer(pixels)
        if scores.requires_grad:
            torch.autograd.grad(scores.sum(), pixels)
