"""`train`: any network on any labelled images by a recipe; killed at any moment, the same call goes on to the same weights.

Source: Lightning Fabric for devices and precision; the loop is our own (docs/decisions/0034-training-lab.md).
"""

import math
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from microtome._version import __version__
from microtome.atomic_write import sweep_leftovers, write_json
from microtome.errors import BadOption, SpecimenError, option_name
from microtome.specimen import Specimen
from microtome.specimen.saving import save_network
from microtome.specimen.tracing import input_layout
from microtome.training.augmenting import Augmenter
from microtome.training.curves import ANALYSIS, TensorBoardLog, save_curves, write_log
from microtome.training.data import TrainingData, open_training_data
from microtome.training.loop import Clock, Loop, make_fabric
from microtome.training.network import freeze_all_but, open_network, predicts_pixels
from microtome.training.optimisers import make_optimisers
from microtome.training.recipe import TrainingRecipe, load_recipe, recipe_from
from microtome.training.state import STATE_FILE, load_state, save_state
from microtome.training.trained_run import ANSWERS_FILE, CHECKPOINTS, RUN_FILE, WEIGHTS_FILE, TrainedRun, finished_run
from microtome.training.validating import Answers, answer_images

Listener = Callable[[dict[str, Any]], None]
STATE_EVERY_S = 30.0  # within an epoch


def train(
    recipe: TrainingRecipe | Mapping[str, Any] | str | Path,
    out: str | Path,
    *,
    progress: Listener | None = None,
    stop_after: int | None = None,
    device: str = "auto",
    state_every: float = STATE_EVERY_S,
    tensorboard: bool = False,
) -> TrainedRun:
    """Train a network by a recipe (or its TOML file, or its tables) into the folder `out`; a finished one is read back.

    Called again after a kill it goes on; on one device and thread to the same weights to the bit. `progress` gets a dictionary for
    each update ({"event": "step", …}) and each epoch ({"event": "epoch", …}); `stop_after` leaves after so many epochs; the resume
    state is written after each epoch, and within one every `state_every` seconds; `tensorboard` also writes OUT/tensorboard.

    Raises: BadOption, ImagesError, SpecimenError, CheckpointError, MissingExtra or WriteError, each in one sentence.
    """
    recipe = _as_recipe(recipe)
    recipe.require_names()
    folder = Path(out)
    if (done := finished_run(folder, recipe)) is not None:
        return done
    with _own_random_state(recipe.run.threads):
        training = _Training(recipe, folder, device, state_every, progress or (lambda event: None))
        return training.run(stop_after, tensorboard)


class _Training:
    """One training under way: what was opened for it, and where it writes."""

    def __init__(self, recipe: TrainingRecipe, folder: Path, device: str, state_every: float, progress: Listener) -> None:
        self.recipe, self.folder, self.progress, self.clock = recipe, folder, progress, Clock(state_every)
        self.fabric = make_fabric(recipe.run, device)
        self.data, self.specimen = open_parts(recipe)
        self.key = f"{recipe.digest}-{self.data.digest}"
        self.source = self._origin()
        self.tensorboard: TensorBoardLog | None = None
        raw = self.specimen.net
        edits = [f"Edited: {change.line}" for change in self.specimen.edits]
        self.header: dict[str, Any] = {**self.specimen._header(), "remarks": edits}
        self.layout = input_layout(raw)
        self.head = self._frozen_head()
        optimisers = make_optimisers(self.specimen, recipe.optimiser)
        kernels = [parameter for parameter in raw.parameters() if parameter.dim() == 4 and parameter.shape[-1] > 1]
        if len(kernels) > 1:
            raw.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
            self.layout = torch.channels_last
        self.state = load_state(folder / STATE_FILE, self.key, raw, optimisers)
        net = torch.compile(raw) if recipe.run.compile else raw
        net, *running = self.fabric.setup(net, *optimisers)
        channels = self.specimen.recipe.channels
        segments = self.data.training.segments
        augmenter = Augmenter(
            recipe.augmentation, self.specimen.recipe, len(self.data.classes), segments=segments, channels=channels
        )
        self.loop = Loop(self.fabric, net, raw, running, self.data.training, recipe, augmenter, self.layout, self.head)

    def run(self, stop_after: int | None, tensorboard: bool) -> TrainedRun:
        """Train the remaining epochs; the run."""
        if tensorboard and self.fabric.is_global_zero:
            self.tensorboard = TensorBoardLog(self.folder, self.state.epoch)
        try:
            return self._run(stop_after)
        finally:
            if self.tensorboard is not None:
                self.tensorboard.close()

    def _run(self, stop_after: int | None) -> TrainedRun:
        if self.fabric.is_global_zero:
            self.folder.mkdir(parents=True, exist_ok=True)
            sweep_leftovers(self.folder)
        state = self.state
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
            answers = answers or self._validate_now()
            answers.save(self.folder / ANSWERS_FILE)
        self._write_curves(answers)
        self._write_run()
        self.fabric.barrier()
        return TrainedRun(self.folder, self.recipe, state.curves, self.header["built"]["options"])

    def _origin(self) -> dict[str, Any]:
        """Where the curves come from: network, images, recipe, versions."""
        images = self.data.training.images
        return {
            "analysis": ANALYSIS,
            "key": self.recipe.digest[:16],
            "title": self.recipe.title or f"Training of {self.specimen.name} on {images.name}",
            "specimen": self.specimen.json(),
            "images": images.json(),
            "options": {},
            "facts": {"epochs": self.recipe.run.epochs, "recipe": self.recipe.json()},
            "versions": {"microtome": __version__, "torch": torch.__version__},
            "device": str(self.fabric.device),
            "started": datetime.now(UTC).isoformat(timespec="seconds"),
        }

    def _frozen_head(self) -> str | None:
        """The head's path where only it is trained. Raises BadOption where there is none."""
        if self.recipe.optimiser.train_only == "all":
            return None
        head = self.specimen.head
        if head is None:
            raise BadOption(
                f"optimiser.train_only is head, and {self.specimen.name} has no layer that gives class scores; set it to all."
            )
        freeze_all_but(self.specimen.net, head)
        return head

    def _after_update(self) -> None:
        state = self.state
        epochs = self.recipe.run.epochs
        done = state.epoch * self.loop.steps + state.step
        total = epochs * self.loop.steps
        self.progress({"event": "step", "epoch": state.epoch + 1, "epochs": epochs, "done": done, "total": total})
        if state.step < self.loop.steps and self.clock.due():
            self._save_state()

    def _end_epoch(self, loss: float, answers: Answers | None) -> None:
        """Write what an epoch leaves: log, checkpoint, and last the state."""
        state = self.state
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
        self._write_curves(answers)
        if self.tensorboard is not None:
            self.tensorboard.add(row)
        self.progress({"event": "epoch", "epochs": self.recipe.run.epochs, **row})

    def _write_curves(self, answers: Answers | None) -> None:
        rows = self.state.curves
        if self.fabric.is_global_zero and rows:
            write_log(self.folder, rows)
            specimen = {**self.source["specimen"], **self._weights_facts()}
            save_curves(self.folder, rows, {**self.source, "specimen": specimen}, answers)

    def _weights_facts(self) -> dict[str, Any]:
        epoch = self.state.epoch
        return {"weights": f"trained for {epoch} epochs (seed {self.recipe.run.seed})", "trained": epoch > 0}

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
        where = f"in epoch {epoch + 1}, update {step + 1}"
        return f"The loss became NaN or infinite {where}; {good}. Try {remedy}, in another {option_name('out')}."

    def _save_state(self) -> None:
        if self.fabric.is_global_zero:
            save_state(self.folder / STATE_FILE, self.key, self.specimen.net, self.loop.optimisers, self.state)
        self.clock.restart()

    def _save_weights(self, path: Path) -> None:
        if self.fabric.is_global_zero:
            names = [list(self._class_names()), None]
            save_network(self.specimen.net, {**self.header, **self._weights_facts(), "names": names}, path)

    def _class_names(self) -> tuple[str, ...]:
        names = ("background",) * self.data.training.segments + self.data.classes
        return (*names, *(f"class {number}" for number in range(len(names), self.recipe.network.classes)))

    def _write_run(self) -> None:
        if self.fabric.is_global_zero:
            content = {
                "recipe": self.recipe.json(),
                "digest": self.recipe.digest,
                "curves": self.state.curves,
                "options": self.header["built"]["options"],
                "classes": list(self.data.classes),
                "images": {"training": len(self.data.training), "validation": len(self.data.validation or ())},
                "versions": {"microtome": __version__, "torch": torch.__version__},
            }
            write_json(self.folder / RUN_FILE, content)


def open_parts(recipe: TrainingRecipe) -> tuple[TrainingData, Specimen]:
    """The images and the network of a recipe, fitted to each other."""
    seed, size = recipe.run.seed, recipe.data.size
    segments = predicts_pixels(recipe.network, seed, size)
    data = open_training_data(recipe.data, seed, segments=segments)
    specimen = open_network(recipe.network, len(data.classes) + segments, seed, size)
    if reason := data.training.images.misfit(specimen.recipe.channels):
        raise BadOption(f"{reason[:1].upper()}{reason[1:]}.")
    return data, specimen


def _as_recipe(recipe: TrainingRecipe | Mapping[str, Any] | str | Path) -> TrainingRecipe:
    if isinstance(recipe, TrainingRecipe):
        return recipe
    return recipe_from(recipe) if isinstance(recipe, Mapping) else load_recipe(recipe)


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
