"""The folder of a training: which files it has, and reading back one that is finished."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from microtome.errors import CheckpointError, option_name
from microtome.specimen import Specimen
from microtome.training.network import open_trained
from microtome.training.recipe import TrainingRecipe

RUN_FILE = "training.json"
WEIGHTS_FILE = "weights.safetensors"
ANSWERS_FILE = "answers.npz"
CHECKPOINTS = "checkpoints"


@dataclass(frozen=True)
class TrainedRun:
    """A training and its files."""

    folder: Path
    recipe: TrainingRecipe
    curves: list[dict[str, Any]]  # of each epoch: epoch, loss, learning_rate, validation_loss, validation_accuracy
    options: dict[str, Any]  # of the network's factory, as it was built

    @property
    def weights(self) -> Path:
        """The safetensors file of the trained network."""
        return self.folder / WEIGHTS_FILE

    @property
    def answers(self) -> Path:
        """The .npz file with the predicted class and the label of each validation image."""
        return self.folder / ANSWERS_FILE

    @property
    def checkpoints(self) -> dict[int, Path]:
        """The weights after 0, 1, 2, 4, 8 … epochs."""
        files = sorted((self.folder / CHECKPOINTS).glob("epoch-*.safetensors"))
        return {int(file.stem.removeprefix("epoch-")): file for file in files}

    @property
    def is_finished(self) -> bool:
        """Whether all epochs are done."""
        return len(self.curves) == self.recipe.run.epochs

    def specimen(self) -> Specimen:
        """The trained network, opened."""
        return open_trained(self.recipe.network, self.options, self.weights)


def finished_run(folder: Path, recipe: TrainingRecipe) -> TrainedRun | None:
    """The finished training of this recipe in a folder. Raises CheckpointError where another recipe's is there."""
    try:
        content = json.loads((folder / RUN_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if content["digest"] != recipe.digest:
        raise CheckpointError(
            f"'{folder}' holds a training by another recipe; give another {option_name('out')}, or remove that folder to start again."
        )
    run = TrainedRun(folder, recipe, content["curves"], content["options"])
    return run if run.is_finished and run.weights.is_file() else None
