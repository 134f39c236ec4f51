"""The resume state of a training: everything that the rest of it depends on, in one file that is there whole or not at all."""

from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import torch
from torch import nn

from microtome.atomic_write import atomic_write
from microtome.errors import CheckpointError, option_name

STATE_FILE = "state.pt"


@dataclass
class RunProgress:
    """How far a training is: whole epochs, updates of the present one, its loss so far, and the curves."""

    epoch: int = 0
    step: int = 0
    loss_sum: float = 0.0
    curves: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])


def save_state(path: Path, key: str, net: nn.Module, optimisers: list[Any], progress: RunProgress) -> None:
    """Write the state. Raises WriteError where there is no room; the older state is then still there."""
    state = {
        "key": key,
        "net": net.state_dict(),
        "optimisers": [optimiser.state_dict() for optimiser in optimisers],
        "progress": vars(progress),
    }
    payload = BytesIO()  # torch.save reports a full disk as an error of its own
    torch.save(state, payload)
    with atomic_write(path, "Free some space; the same command goes on from the last state.") as file:
        file.write(payload.getbuffer())


def load_state(path: Path, key: str, net: nn.Module, optimisers: list[Any]) -> RunProgress:
    """How far the training was; network and optimisers are put where they were then. At the start where there is no file.

    Raises: CheckpointError where the file belongs to another recipe or other images, or is damaged.
    """
    if not path.exists():
        return RunProgress()
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever torch raises for a damaged file
        raise CheckpointError(
            f"'{path}' is damaged ({type(error).__name__}); remove it to start this training again."
        ) from error
    if state["key"] != key:
        raise CheckpointError(
            f"'{path.parent}' holds a training of another recipe, or of images that have changed; give another {option_name('out')}, or "
            "remove that folder to start again."
        )
    net.load_state_dict(state["net"])
    for optimiser, kept in zip(optimisers, state["optimisers"], strict=True):
        optimiser.load_state_dict(kept)
    return RunProgress(**state["progress"])
