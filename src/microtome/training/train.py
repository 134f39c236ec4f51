"""`train`: any network on any labelled images by a recipe; killed at any moment, the same call goes on to the same weights.

Source: Lightning Fabric for devices and precision; the loop is our own (docs/decisions/0034-training-lab.md).
"""

import json
import math
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from microtome._version import __version__
from microtome.atomic_write import atomic_write, sweep_leftovers
from microtome.errors import BadOption, CheckpointError, SpecimenError, option_name
from microtome.specimen import Specimen
from microtome.specimen.saving import save_network
from microtome.specimen.tracing import input_layout
from microtome.training.augmenting import Augmenter
from microtome.training.data import TrainingData, open_training_data
from microtome.training.loop import Clock, Loop, make_fabric
from microtome.training.network import freeze_all_but, gives_maps, open_network, reopen
from microtome.training.optimisers import make_optimisers
from microtome.training.recipe import TrainingRecipe, load_recipe, recipe_from
from microtome.training.state import STATE_FILE, Progressed, load_state, save_state
from microtome.training.validating import Answers, answer_images

Listener = Callable[[dict[str, Any]], None]
RUN_FILE = "training.json"
WEIGHTS_FILE = "weights.safetensors"
ANSWERS_FILE = "answers.npz"
LOG_FILE = "log.jsonl"
CHECKPOINTS = "checkpoints"
STATE_EVERY_S = 30.0  # within an epoch


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
    def finished(self) -> bool:
        """Whether all epochs are done."""
        return len(self.curves) == self.recipe.run.epochs

    def specimen(self) -> Specimen:
        """The trained network, opened."""
        return reopen(self.recipe.network, self.options, self.weights)


def train(
    recipe: TrainingRecipe | Mapping[str, Any] | str | Path,
    out: str | Path,
    *,
    progress: Listener | None = None,
    stop_after: int | None = None,
    device: str = "auto",
    state_every: float = STATE_EVERY_S,
) -> TrainedRun:
    """Train a network by a recipe (or its TOML file, or its tables) into the folder `out`; a finished one is read back.

    Called again after a kill it goes on; on one device and thread to the same weights to the bit. `progress` gets a dictionary for
    each update ({"event": "step", …}) and each epoch ({"event": "epoch", …}); `stop_after` leaves after so many epochs; the resume
    state is written after each epoch, and within one every `state_every` seconds.

    Raises: BadOption, ImagesError, SpecimenError, CheckpointError, MissingExtra or WriteError, each in one sentence.
    """
    recipe = _as_recipe(recipe)
    recipe.require_names()
    folder = Path(out)
    if (done := _finished_run(folder, recipe)) is not None:
        return done
    with _own_random_state(recipe.run.threads):
        return _Training(recipe, folder, device, state_every, progress or (lambda event: None)).run(stop_after)


class _Training:
    """One training under way: what was opened for it, and where it writes."""

    def __init__(self, recipe: TrainingRecipe, folder: Path, device: str, state_every: float, progress: Listener) -> None:
        self.recipe, self.folder, self.progress, self.clock = recipe, folder, progress, Clock(state_every)
        self.fabric = make_fabric(recipe.run, device)
        self.data, self.specimen = open_parts(recipe)
        self.key = f"{recipe.digest}-{self.data.digest}"
        raw = self.specimen.net
        edits = [f"Edited: {change.line}" for change in self.specimen.edits]
        self.header = {**self.specimen._header(), "remarks": edits}
        self.layout = input_layout(raw)
        self.head = self._frozen_head()
        optimisers = make_optimisers(self.specimen, recipe.optimiser)
        kernels = [parameter for parameter in raw.parameters() if parameter.dim() == 4 and parameter.shape[-1] > 1]
        if len(kernels) > 1:
            raw.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
            self.layout = torch.channels_last
        self.progressed = load_state(folder / STATE_FILE, self.key, raw, optimisers)
        net = torch.compile(raw) if recipe.run.compile else raw
        net, *running = self.fabric.setup(net, *optimisers)
        channels = self.specimen.recipe.channels
        segments = self.data.training.segments
        augmenter = Augmenter(
            recipe.augmentation, self.specimen.recipe, len(self.data.classes), segments=segments, channels=channels
        )
        self.loop = Loop(self.fabric, net, raw, running, self.data.training, recipe, augmenter, self.layout, self.head)

    def run(self, stop_after: int | None) -> TrainedRun:
        """Train the remaining epochs; the run."""
        if self.fabric.is_global_zero:
            self.folder.mkdir(parents=True, exist_ok=True)
            sweep_leftovers(self.folder)
        state = self.progressed
        if state.epoch == state.step == 0:
            self._save_weights(self.folder / CHECKPOINTS / "epoch-000.safetensors")
        last = self.recipe.run.epochs if stop_after is None else min(stop_after, self.recipe.run.epochs)
        answers: Answers | None = None
        while state.epoch < last:
            loss = self.loop.train_epoch(state, self._complaint, self._after_update)
            answers = self._validate()
            self._end_epoch(loss, answers)
        self._save_weights(self.folder / WEIGHTS_FILE)
        if self.data.validation is not None and self.fabric.is_global_zero:
            (answers or self._validate_now()).save(self.folder / ANSWERS_FILE)
        self._write_run()
        self.fabric.barrier()
        return TrainedRun(self.folder, self.recipe, state.curves, self.header["built"]["options"])

    def _frozen_head(self) -> str | None:
        """The head's path where only it is trained. Raises BadOption where there is none."""
        if self.recipe.optimiser.train_only == "all":
            return None
        head = self.specimen.head
        if head is None:
            raise BadOption(f"optimiser.train_only is head, and {self.specimen.name} has no layer that gives class scores; set it to all.")
        freeze_all_but(self.specimen.net, head)
        return head

    def _after_update(self) -> None:
        state = self.progressed
        epochs = self.recipe.run.epochs
        done = state.epoch * self.loop.steps + state.step
        total = epochs * self.loop.steps
        self.progress({"event": "step", "epoch": state.epoch + 1, "epochs": epochs, "done": done, "total": total})
        if state.step < self.loop.steps and self.clock.due():
            self._save_state()

    def _end_epoch(self, loss: float, answers: Answers | None) -> None:
        """Write what an epoch leaves: log, checkpoint, and last the state."""
        state = self.progressed
        row: dict[str, Any] = {
            "epoch": state.epoch + 1,
            "loss": loss,
            "learning_rate": self.loop.rate(state.epoch, self.loop.steps - 1),
            "validation_loss": None if answers is None else answers.loss,
            "validation_accuracy": None if answers is None else answers.accuracy,
        }
        if answers is not None and answers.mean_iou is not None:
            row["validation_mean_iou"] = answers.mean_iou
        if answers is not None and not math.isfinite(answers.loss):
            raise SpecimenError(self._complaint(state.epoch, self.loop.steps - 1))
        state.curves.append(row)
        state.epoch, state.step, state.loss_sum = state.epoch + 1, 0, 0.0
        if state.epoch.bit_count() == 1:
            self._save_weights(self.folder / CHECKPOINTS / f"epoch-{state.epoch:03d}.safetensors")
        self._save_state()
        if self.fabric.is_global_zero:
            with atomic_write(self.folder / LOG_FILE) as file:
                file.writelines((json.dumps(each) + "\n").encode() for each in state.curves)
        self.progress({"event": "epoch", "epochs": self.recipe.run.epochs, **row})

    def _validate(self) -> Answers | None:
        """The answers to the validation images: of the first process for all."""
        if self.data.validation is None:
            return None
        answers = self._validate_now() if self.fabric.is_global_zero else None
        return answers if self.recipe.run.devices == 1 else self.fabric.broadcast(answers)

    def _validate_now(self) -> Answers:
        assert self.data.validation is not None
        return answer_images(self.specimen, self.data.validation, 2 * self.recipe.run.batch, self.layout, self.fabric.autocast)

    def _complaint(self, epoch: int, step: int) -> str:
        """What is said where the loss is not finite any more."""
        kept = sorted((self.folder / CHECKPOINTS).glob("epoch-*.safetensors"))
        good = f"the last good checkpoint is {kept[-1]}" if kept else "there is no checkpoint yet"
        choice = self.recipe.optimiser
        remedy = f"optimiser.lr = {choice.lr / 10:.3g}" + ("" if choice.clip else " or optimiser.clip = 1.0")
        return f"The loss became NaN or infinite in epoch {epoch + 1}, update {step + 1}; {good}. Try {remedy}, in another {option_name('out')}."

    def _save_state(self) -> None:
        if self.fabric.is_global_zero:
            save_state(self.folder / STATE_FILE, self.key, self.specimen.net, self.loop.optimisers, self.progressed)
        self.clock.restart()

    def _save_weights(self, path: Path) -> None:
        if self.fabric.is_global_zero:
            epoch = self.progressed.epoch
            facts = {"weights": f"trained for {epoch} epochs (seed {self.recipe.run.seed})", "trained": epoch > 0}
            names = [list(self._class_names()), None]
            save_network(self.specimen.net, {**self.header, **facts, "names": names}, path)

    def _class_names(self) -> tuple[str, ...]:
        names = ("background",) * self.data.training.segments + self.data.classes
        return (*names, *(f"class {number}" for number in range(len(names), self.recipe.network.classes)))

    def _write_run(self) -> None:
        if self.fabric.is_global_zero:
            content = {
                "recipe": self.recipe.json(),
                "digest": self.recipe.digest,
                "curves": self.progressed.curves,
                "options": self.header["built"]["options"],
                "classes": list(self.data.classes),
                "images": {"training": len(self.data.training), "validation": len(self.data.validation or ())},
                "versions": {"microtome": __version__, "torch": torch.__version__},
            }
            with atomic_write(self.folder / RUN_FILE) as file:
                file.write((json.dumps(content, indent=1) + "\n").encode())


def open_parts(recipe: TrainingRecipe) -> tuple[TrainingData, Specimen]:
    """The images and the network of a recipe, fitted to each other."""
    seed, size = recipe.run.seed, recipe.data.size
    segments = gives_maps(recipe.network, seed, size)
    data = open_training_data(recipe.data, seed, segments=segments)
    specimen = open_network(recipe.network, len(data.classes) + segments, seed, size)
    if reason := data.training.images.misfit(specimen.recipe.channels):
        raise BadOption(f"{reason[:1].upper()}{reason[1:]}.")
    return data, specimen


def _as_recipe(recipe: TrainingRecipe | Mapping[str, Any] | str | Path) -> TrainingRecipe:
    if isinstance(recipe, TrainingRecipe):
        return recipe
    return recipe_from(recipe) if isinstance(recipe, Mapping) else load_recipe(recipe)


def _finished_run(folder: Path, recipe: TrainingRecipe) -> TrainedRun | None:
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
    return run if run.finished and run.weights.is_file() else None


@contextmanager
def _own_random_state(threads: int) -> Generator[None]:
    """Leave torch's random state and number of threads as they were."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
            yield
    finally:
        torch.set_num_threads(before)


__all__ = ["TrainedRun", "open_parts", "train"]
