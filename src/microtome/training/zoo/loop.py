"""The training loop: AdamW, one cycle of the learning rate, light augmentation, resumable, the same result every time.

Source: Loshchilov & Hutter 2019, arXiv:1711.05101 (AdamW); Smith & Topin 2018, arXiv:1708.07120 (one cycle); Szegedy et al.
2016, arXiv:1512.00567 (label smoothing); Liu et al. 2025, arXiv:2502.16982 (Muon for the matrices of a transformer); Howard
2018, DAWNBench (half the side first, then the whole).
"""

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor, nn
from torch.nn import functional

from microtome import networks
from microtome.atomic_write import atomic_write
from microtome.edit import apply_edits
from microtome.errors import BadOption, CheckpointError, MissingExtra, option_name
from microtome.opening.opening import open as open_specimen
from microtome.training.loop import import_fabric
from microtome.training.renormalising import renormalise
from microtome.training.zoo.data import TRAINING_SEED, SceneSeries, scene_series
from microtome.training.zoo.recipes import ZooRecipe
from microtome.training.zoo.teaching import TaughtNetwork, Teacher, prepare_student

Progress = Callable[[dict[str, Any]], None]
_SHIFT = 4  # px: how far augmentation moves a batch


def train_zoo_network(
    recipe: ZooRecipe,
    out: Path,
    *,
    data: SceneSeries | None = None,
    cache: Path | None = None,
    checkpoints: bool = False,
    progress: Progress | None = None,
    stop_after: int | None = None,
) -> Path:
    """The safetensors file of the trained network, in `out`; a killed run resumes from its last whole epoch, bit for bit.

    `data` replaces the scenes that the recipe asks for (kept in `cache` if one is given); `checkpoints` also keeps the weights
    of epochs 0, 1, 2, 4, 8 …; `progress` is told epoch, loss and learning rate; `stop_after` leaves after so many epochs.
    Raises: MissingExtra without lightning-fabric; CheckpointError where `out` holds the state of another recipe; BadOption for
    a network that segments without targets to learn from.
    """
    fabric = import_fabric()(accelerator="cpu", devices=1, precision=recipe.precision)
    out.mkdir(parents=True, exist_ok=True)
    data = scene_series(recipe.count, TRAINING_SEED, masks=recipe.segments, cache=cache) if data is None else data
    if recipe.segments and (data.targets is None or recipe.halved):
        raise BadOption(
            f"{recipe.network} learns a class for every pixel: it needs scenes with targets, and none of them halved."
        )
    some = normalise(torch.from_numpy(data.pixels[:1000])) if recipe.decorrelated else None
    pupil = fresh_network(recipe, some)
    teacher = None if recipe.teacher is None else Teacher(recipe.teacher)
    raw: nn.Module = pupil
    if teacher is not None:
        raw = TaughtNetwork(prepare_student(pupil, normalise(torch.from_numpy(data.pixels[:1000]))), teacher.units, recipe.seed)
    optimizers = _optimizers(raw, recipe)
    first = _resume(out / "state.pt", recipe, raw, optimizers)
    net, *running = fabric.setup(raw, *optimizers)
    last = recipe.epochs if stop_after is None else min(recipe.epochs, stop_after)
    if checkpoints and first == 0:
        _save_weights(pupil, out / "epoch-000.safetensors", recipe)
    for epoch in range(first, last):
        with torch.random.fork_rng(devices=[]):  # dropout draws from torch's own state; it is left as it was
            torch.manual_seed(recipe.seed * 100_003 + epoch)
            loss = _train_epoch(fabric, net, running, teacher, data, recipe, epoch)
        _save_state(out / "state.pt", recipe, raw, optimizers, epoch + 1)
        if checkpoints and (epoch + 1).bit_count() == 1:
            _save_weights(pupil, out / f"epoch-{epoch + 1:03d}.safetensors", recipe)
        if progress is not None:
            progress({"epoch": epoch + 1, "epochs": recipe.epochs, "loss": loss})
    return _save_weights(pupil, out / f"{recipe.network}.safetensors", recipe)


def fresh_network(recipe: ZooRecipe, some: Tensor | None = None) -> nn.Module:
    """The recipe's network with its first weights; torch's own random state is left as it was.

    What stays when edits are made begins with the weights that it has in the whole network. `some` images
    (image, rgb, row, col) decorrelate the patches of a transformer.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        net = networks.build(recipe.network, **recipe.options)
    if some is not None:
        net = prepare_student(net, some)
    if recipe.edits:
        net = apply_edits(open_specimen(net.eval(), recipe={"size": networks.SIZE}), recipe.edits).net.train()
    return net.to(memory_format=torch.channels_last) if recipe.channels_last else net  # pyright: ignore[reportCallIssue]


def normalise(pixels: Tensor) -> Tensor:
    """Images as the mini networks take them (image, rgb, row, col) float32, from pixels uint8 (image, row, col, rgb)."""
    mean, std = torch.tensor(networks.MEAN), torch.tensor(networks.STD)
    return ((pixels / 255 - mean) / std).permute(0, 3, 1, 2)


@dataclass(frozen=True)
class Motion:
    """Where augmentation moves a batch, so that what belongs to its pixels can be moved with them."""

    flip: Tensor  # (image) bool
    down: int
    over: int

    @classmethod
    def sample(cls, count: int, generator: torch.Generator) -> "Motion":
        """A motion of `count` images: half of them mirrored, all shifted alike."""
        flip = torch.rand(count, generator=generator) < 0.5
        down, over = torch.randint(-_SHIFT, _SHIFT + 1, (2,), generator=generator).tolist()
        return cls(flip, int(down), int(over))

    def __call__(self, values: Tensor) -> Tensor:
        """The moved values (image, row, col, …); what comes in at a border repeats it."""
        flip = self.flip.reshape(-1, *[1] * (values.ndim - 1))
        values = torch.where(flip, values.flip(2), values)
        row = (torch.arange(values.shape[1]) + self.down).clamp(0, values.shape[1] - 1)
        col = (torch.arange(values.shape[2]) + self.over).clamp(0, values.shape[2] - 1)
        return values[:, row][:, :, col]


def tint(pixels: Tensor, generator: torch.Generator) -> Tensor:
    """`pixels` (image, row, col, rgb) float 0..255, each colour of each image a little stronger or weaker."""
    gain = 1 + 0.2 * (torch.rand(len(pixels), 1, 1, 3, generator=generator) - 0.5)
    return (pixels * gain).clamp(0, 255)


def _optimizers(net: nn.Module, recipe: ZooRecipe) -> list[torch.optim.Optimizer]:
    """AdamW, its decay only on kernels (not on norms, biases, tokens, positions); before it Muon, if the recipe wants it."""
    named = dict(net.named_parameters())
    matrices = [
        name
        for name, parameter in named.items()
        if recipe.muon is not None and parameter.ndim == 2 and ".blocks." in f".{name}"
    ]
    decayed = [name for name, parameter in named.items() if parameter.ndim >= 2 and not name.endswith(("token", "pos_embed"))]
    groups = [
        {"params": [named[name] for name in decayed if name not in matrices], "weight_decay": recipe.weight_decay},
        {"params": [parameter for name, parameter in named.items() if name not in decayed], "weight_decay": 0.0},
    ]
    optimizers: list[torch.optim.Optimizer] = [torch.optim.AdamW(groups, lr=recipe.lr, betas=(0.9, 0.98))]
    if recipe.muon is not None:
        if not hasattr(torch.optim, "Muon"):
            raise MissingExtra(
                "This recipe trains with Muon, which torch has since 2.9; install it with: pip install 'torch>=2.9'."
            )
        kernels = [named[name] for name in matrices]
        optimizers.insert(0, torch.optim.Muon(kernels, recipe.muon, recipe.weight_decay, adjust_lr_fn="match_rms_adamw"))
    for group in _all_groups(optimizers):
        group["peak"] = group["lr"]
    return optimizers


def _all_groups(optimizers: list[torch.optim.Optimizer]) -> list[dict[str, Any]]:
    return [group for optimizer in optimizers for group in optimizer.param_groups]


def _learning_rate(recipe: ZooRecipe, share: float) -> float:
    """The learning rate after that fraction of all steps, 1 at its peak: a straight rise, then half a cosine down to nothing."""
    if share < recipe.warmup:
        return 0.02 + 0.98 * share / recipe.warmup
    return 0.5 * (1 + math.cos(math.pi * (share - recipe.warmup) / (1 - recipe.warmup)))


def _train_epoch(
    fabric: Any,
    net: nn.Module,
    optimizers: list[Any],
    teacher: Teacher | None,
    data: SceneSeries,
    recipe: ZooRecipe,
    epoch: int,
) -> float:
    """The mean loss of one epoch; its order and augmentation come from (seed, epoch) alone, so that it can be run again."""
    net.train()
    generator = torch.Generator().manual_seed(recipe.seed * 100_003 + epoch)
    order = torch.randperm(len(data), generator=generator).numpy()
    steps = max(1, len(data) // recipe.batch)
    total = 0.0
    for step in range(steps):
        for group in _all_groups(optimizers):
            group["lr"] = group["peak"] * _learning_rate(recipe, (epoch * steps + step) / (recipe.epochs * steps))
        chosen = order[step * recipe.batch : (step + 1) * recipe.batch]
        x, wanted = _training_batch(data, chosen, recipe, generator)
        if (epoch * steps + step) < recipe.halved * recipe.epochs * steps:
            x = functional.avg_pool2d(x, 2)
        loss = _loss(net, teacher, x, wanted, recipe.smoothing)
        net.zero_grad()
        fabric.backward(loss)
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        for optimizer in optimizers:
            optimizer.step()
        if recipe.radius is not None:
            renormalise(net, recipe.radius)
        total += float(loss.detach())
    return total / steps


def _training_batch(data: SceneSeries, chosen: Any, recipe: ZooRecipe, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Augmented images (image, rgb, row, col) and what is wanted of them: a class each, or one for each pixel (image, row, col)."""
    motion = Motion.sample(len(chosen), generator)
    x = normalise(tint(motion(torch.from_numpy(data.pixels[chosen]).float()), generator))
    x = x.contiguous(memory_format=torch.channels_last if recipe.channels_last else torch.contiguous_format)
    if not recipe.segments:
        return x, torch.from_numpy(data.labels[chosen])
    assert data.targets is not None  # `train` has refused before
    return x, motion(torch.from_numpy(data.targets[chosen])).long()


def _loss(net: nn.Module, teacher: Teacher | None, x: Tensor, labels: Tensor, smoothing: float) -> Tensor:
    """Cross-entropy with the labels; with a teacher, half of it with the teacher's answer, and the distances to its maps."""
    if teacher is None:
        return functional.cross_entropy(net(x).float(), labels, label_smoothing=smoothing)
    probabilities, hints = teacher(x)
    logits, guessed = net(x)
    right = functional.cross_entropy(logits.float(), labels, label_smoothing=smoothing)
    alike = functional.cross_entropy(logits.float(), probabilities)
    return 0.5 * right + 0.5 * alike + sum(map(functional.mse_loss, guessed, hints), torch.zeros(()))


def _resume(path: Path, recipe: ZooRecipe, net: nn.Module, optimizers: list[torch.optim.Optimizer]) -> int:
    """The number of epochs already done; network and optimizers are put where they were then."""
    if not path.exists():
        return 0
    state = torch.load(path, weights_only=True)
    if state["recipe"] != recipe.json():
        raise CheckpointError(
            f"'{path}' belongs to another recipe; give another {option_name('out')}, or remove it to start again."
        )
    net.load_state_dict(state["net"])
    for optimizer, kept in zip(optimizers, state["optimizers"], strict=True):
        optimizer.load_state_dict(kept)
    return int(state["epoch"])


def _save_state(path: Path, recipe: ZooRecipe, net: nn.Module, optimizers: list[torch.optim.Optimizer], epoch: int) -> None:
    kept = [optimizer.state_dict() for optimizer in optimizers]
    state = {"recipe": recipe.json(), "net": net.state_dict(), "optimizers": kept, "epoch": epoch}
    payload = BytesIO()  # torch.save reports a full disk as an error of its own
    torch.save(state, payload)
    with atomic_write(path) as file:
        file.write(payload.getvalue())


def _save_weights(net: nn.Module, path: Path, recipe: ZooRecipe) -> Path:
    """`path`, holding the weights in float32 with the recipe as metadata; there whole or not at all."""
    tensors = {name: tensor.detach().contiguous() for name, tensor in net.state_dict().items()}
    # One key only: safetensors writes several in no fixed order, and equal runs must give equal bytes.
    payload = save(tensors, metadata={"recipe": json.dumps(recipe.json(), sort_keys=True)})
    with atomic_write(path) as file:
        file.write(payload)
    return path
