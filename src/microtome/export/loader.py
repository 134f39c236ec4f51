"""The few lines of Python that load a slimmed network without microtome, as text."""

from microtome.export.architecture import Architecture

WEIGHTS, PROGRAM, LOADER = "weights.safetensors", "network.pt2", "load.py"


def architecture_loader(title: str, architecture: Architecture) -> str:
    """The loader of a network that a library builds by arguments."""
    return f'''"""{title}. Needs {architecture.library} and safetensors."""

from pathlib import Path

import {architecture.library}
from safetensors.torch import load_file


def load(folder=Path(__file__).parent):
    """The network in evaluation mode; README.md says what it expects."""
    net = {architecture.code}
    net.load_state_dict(load_file(Path(folder) / "{WEIGHTS}"))
    return net.eval()
'''


def program_loader(title: str, batch: int | None) -> str:
    """The loader of a network that is a program of `torch.export`, bound to a batch size or not."""
    images = "any number of images" if batch is None else "one image" if batch == 1 else f"{batch} images"
    return f'''"""{title}. Needs torch."""

from pathlib import Path

import torch


def load(folder=Path(__file__).parent):
    """The network in evaluation mode, for {images} at a time; README.md says what it expects."""
    return torch.export.load(Path(folder) / "{PROGRAM}").module()
'''


def quotable(text: str) -> str:
    """A text on one line that can stand inside a docstring."""
    return " ".join(text.replace("\\", "/").replace('"', "'").split())
