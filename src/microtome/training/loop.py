"""The updates of a training: order, augmentation and chance of each come from (seed, epoch, step) alone, so that it can go on anywhere.

Runs on Lightning Fabric: one device, or several processes started by torchrun, each with its part of every batch.
"""

import math
import os
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from microtome.errors import BadOption, MissingExtra, SpecimenError
from microtome.images.feeding import prefetch
from microtome.scan import resolve_device
from microtome.specimen.seeding import seed_generators
from microtome.training.augmenting import Augmenter
from microtome.training.data import LabelledImages, Places
from microtome.training.losses import training_loss
from microtome.training.network import train_mode
from microtome.training.optimisers import rate_factor
from microtome.training.recipe import RunChoice, TrainingRecipe
from microtome.training.renormalising import renormalise
from microtome.training.state import RunProgress

Sentence = Callable[[int, int], str]  # of (epoch, step): what to say where the loss is not finite


def import_fabric() -> Any:
    """The class of Lightning Fabric. Raises: MissingExtra where it is not installed."""
    try:
        from lightning_fabric import Fabric
    except ImportError as error:
        raise MissingExtra("Training needs Lightning Fabric; install it with: pip install 'microtome[train]'.") from error
    return Fabric


def make_fabric(run: RunChoice, device: str = "auto") -> Any:
    """Lightning Fabric for one device, or for the processes that torchrun started.

    Raises: MissingExtra without lightning-fabric; BadOption for several devices without torchrun.
    """
    fabric_class = import_fabric()
    world = int(os.environ.get("WORLD_SIZE", "1")) if "TORCHELASTIC_RUN_ID" in os.environ else 1
    if world != run.devices:
        raise BadOption(
            f"run.devices is {run.devices}, and {world} process{'es' * (world != 1)} run; start as many by "
            f"torchrun --nproc-per-node {run.devices} -m microtome train …, or set run.devices = {world}."
        )
    kind = resolve_device(device).partition(":")[0]
    more: dict[str, Any] = {} if world == 1 else {"strategy": "ddp"}
    local = int(os.environ.get("LOCAL_WORLD_SIZE", "1")) if world > 1 else 1
    if world > 1:
        more["num_nodes"] = world // local
    fabric = fabric_class(
        accelerator=kind, devices=local, precision="bf16-mixed" if run.precision == "bf16" else "32-true", **more
    )
    if world > 1:
        fabric.launch()
    return fabric


def update_count(images: int, run: RunChoice) -> int:
    """Updates in one epoch: as many whole batches as there are, at least one."""
    return max(1, images // (run.batch * run.accumulate * run.devices))


def step_seed(seed: int, epoch: int, step: int, rank: int = 0) -> int:
    """The seed of all chance in one update of one process."""
    return int(np.random.SeedSequence([seed, epoch, step, rank]).generate_state(1)[0])


class Loop:
    """Trains a network epoch by epoch; `net` is what runs forward, `raw` the module that holds the weights."""

    def __init__(
        self,
        fabric: Any,
        net: nn.Module,
        raw: nn.Module,
        optimisers: list[Any],
        data: LabelledImages,
        recipe: TrainingRecipe,
        augmenter: Augmenter,
        layout: torch.memory_format,
        head: str | None,
    ) -> None:
        self.fabric, self.net, self.raw, self.optimisers = fabric, net, raw, optimisers
        self.data, self.recipe, self.augmenter, self.layout, self.head = data, recipe, augmenter, layout, head
        self.steps = update_count(len(data), recipe.run)
        if len(data) < recipe.run.devices:
            raise BadOption(f"There are {len(data)} images for {recipe.run.devices} processes; set run.devices = 1.")
        self.parameters = [parameter for parameter in raw.parameters() if parameter.requires_grad]

    def groups(self) -> Iterator[dict[str, Any]]:
        """The parameter groups of all optimisers."""
        for optimiser in self.optimisers:
            yield from optimiser.param_groups

    def rate(self, epoch: int, step: int) -> float:
        """The learning rate of that update."""
        choice = self.recipe.optimiser
        return choice.lr * rate_factor(choice, epoch * self.steps + step, self.recipe.run.epochs * self.steps)

    def train_epoch(self, progress: RunProgress, complaint: Sentence, after: Callable[[], None]) -> float:
        """The mean loss of the present epoch, from the update on at which `progress` is; `after` is called behind each.

        Raises: SpecimenError where a loss or gradient is NaN or infinite, with the sentence that `complaint` makes.
        """
        train_mode(self.raw, self.head)
        order = np.random.default_rng([self.recipe.run.seed, progress.epoch, 3]).permutation(len(self.data))
        waiting: Any = prefetch(
            lambda chosen, _: self._read(chosen),
            (part for step in range(progress.step, self.steps) for part in self._parts(order, step)),
        )
        with closing(waiting):
            for step in range(progress.step, self.steps):
                with seed_generators(step_seed(self.recipe.run.seed, progress.epoch, step, self.fabric.global_rank)):
                    loss = self._update(waiting, progress.epoch, step)
                if not math.isfinite(loss):
                    raise SpecimenError(complaint(progress.epoch, step))
                progress.loss_sum += loss
                progress.step = step + 1
                after()
        return progress.loss_sum / self.steps

    def _parts(self, order: Places, step: int) -> list[Places]:
        """The places of this process in that update, one part for each forward pass."""
        run = self.recipe.run
        count = self._images_per_update()
        own = order[step * count : (step + 1) * count][self.fabric.global_rank :: run.devices]
        return [own[start : start + run.batch] for start in range(0, len(own), run.batch)]

    def _images_per_update(self) -> int:
        """The images of one update, of all processes together."""
        run = self.recipe.run
        return min(run.batch * run.accumulate * run.devices, len(self.data))

    def _read(self, chosen: Places) -> tuple[Tensor, Tensor]:
        framing = self.augmenter.framing
        return torch.from_numpy(self.data.inputs(framing, chosen)), torch.from_numpy(self.data.targets(framing, chosen))

    def _update(self, waiting: Iterator[tuple[Tensor, Tensor]], epoch: int, step: int) -> float:
        """One update; its mean loss over the images, NaN where loss or gradient is not finite."""
        choice, run = self.recipe.optimiser, self.recipe.run
        for group in self.groups():
            group["lr"] = self.rate(epoch, step)
        images = self._images_per_update()
        parts = -(-len(range(self.fabric.global_rank, images, run.devices)) // run.batch)
        total = torch.zeros((), device=self.fabric.device)
        self.raw.zero_grad(set_to_none=True)
        for part in range(parts):
            values, targets = next(waiting)
            fraction = len(values) * run.devices / images  # processes are averaged
            x, wanted = self.augmenter(values, targets, self.layout)
            x, wanted = x.to(self.fabric.device), wanted.to(self.fabric.device)
            with self.fabric.no_backward_sync(self.net, enabled=part + 1 < parts):
                loss = training_loss(self.net(x), wanted, choice.label_smoothing) * fraction
                self.fabric.backward(loss)
            total += loss.detach()
        norm = nn.utils.clip_grad_norm_(self.parameters, choice.clip or math.inf)
        total = self.fabric.all_reduce(total, reduce_op="mean") if run.devices > 1 else total
        if not math.isfinite(float(norm)):
            return math.nan
        for optimiser in self.optimisers:
            optimiser.step()
        if choice.radius:
            renormalise(self.raw, choice.radius)
        return float(total)


class Clock:
    """Whether enough time has passed since the last call that said so."""

    def __init__(self, every_s: float) -> None:
        self.every_s, self.last = every_s, time.monotonic()

    def due(self) -> bool:
        """True, and starts again, once `every_s` have passed."""
        if time.monotonic() - self.last < self.every_s:
            return False
        self.restart()
        return True

    def restart(self) -> None:
        """Count from now on."""
        self.last = time.monotonic()
