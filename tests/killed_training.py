"""Trains into a folder and kills itself with SIGKILL after so many updates, for a test: FOLDER UPDATES."""

import os
import signal
import sys
from typing import Any

from microtome.training.recipe import TrainingRecipe, recipe_from
from microtome.training.train import train


def small_recipe() -> TrainingRecipe:
    """Two convolutions with batch norm and dropout, every kind of chance, 4 updates in each of 3 epochs."""
    return recipe_from(
        {
            "network": {"name": "tiny_trainables:conv_net"},
            "data": {"images": "scenes:80,size=16", "size": 16, "validation_fraction": 0.2},
            "augmentation": {"mixup": 0.3, "erase": 0.3},
            "optimiser": {"lr": 0.01},
            "run": {"epochs": 3, "batch": 16},
        }
    )


def kill_after(folder: str, updates: int) -> None:
    """Write the state after every update, and die after so many."""

    def listen(event: dict[str, Any]) -> None:
        if event["event"] == "step" and event["done"] == updates:
            os.kill(os.getpid(), signal.SIGKILL)

    train(small_recipe(), folder, progress=listen, state_every=0.0, device="cpu")


if __name__ == "__main__":
    kill_after(sys.argv[1], int(sys.argv[2]))
