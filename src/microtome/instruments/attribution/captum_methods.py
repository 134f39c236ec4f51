"""Methods that come with captum: loaded when asked for, quiet, and without a trace in the network or the random state."""

import importlib
import warnings
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import torch

from microtome.errors import MissingExtra


def captum_methods(title: str) -> Any:
    """The module `captum.attr`.

    Raises:
        MissingExtra: captum is not installed; `title` names what asked for it.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return importlib.import_module("captum.attr")
    except ImportError as error:
        raise MissingExtra(f"{title} comes with captum; install it with: pip install 'microtome[captum]'.") from error


@contextmanager
def isolated_call(seed: int) -> Generator[None]:
    """Inside, random numbers on the CPU follow from `seed`, and no warning is shown; the random state is as before afterwards."""
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.default_generator.manual_seed(seed)  # `torch.manual_seed` would seed other devices too
        yield
