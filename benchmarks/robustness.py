"""Are transformers robust except to contrast, and does PreLayerNorm repair it? `python -m benchmarks robustness` writes a page of docs.

Three groups: real networks trained on CIFAR-10, the shipped mini networks on scenes, and `mini_deit` trained on with and without the edit
`prelayernorm` by the same budget. Rows are kept as they are measured, so that a stopped run goes on.

Source of the claim: Kim et al. 2021, arXiv:2111.08413, of which we had the abstract.
"""

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.nn.functional import cross_entropy

import microtome as mt
from benchmarks import machine, robustness_page
from benchmarks.choice import append_row
from benchmarks.choice_candidates import Candidate, candidates
from benchmarks.choice_real import DATA
from microtome import networks
from microtome.analyses.robustness.conditions import Condition, inputs_under, list_conditions
from microtome.images import Images
from microtome.specimen import Specimen
from microtome.training.zoo.data import TRAINING_SEED, SceneSeries, scene_series
from microtome.training.zoo.loop import Motion, normalise, tint

RESULTS = machine.ROOT / "docs" / "robustness.json"
FOLDER = machine.ROOT / "build" / "robustness"
CORRUPTIONS = ("gaussian_noise", "defocus_blur", "motion_blur", "fog", "brightness", "contrast", "pixelate", "jpeg_compression")
SEVERITIES, SWEEPS = (1, 3, 5), ("contrast", "colour_scale")
OTHER = tuple(name for name in CORRUPTIONS if name != "contrast")
STRONGER = 1.0  # a factor of contrast above this is an enhancement
SEED = 11  # of the scenes that networks are judged on
TRANSFORMERS = ("vit64", "vit128_postnorm", "mini_deit")
READINGS = ((), ("prelayernorm",), ("prelayernorm:reading=pixels",))
Values = np.ndarray[Any, Any]
Row = dict[str, Any]


@dataclass(frozen=True)
class Budget:
    """Images judged; scenes, epochs, highest learning rate and seeds of the training with and without the edit."""

    count: int = 200
    scenes: int = 3000
    epochs: int = 3
    rate: float = 1e-3
    seeds: int = 2
    batch: int = 32


class Subject(NamedTuple):
    """A network to measure, with the images it is measured on."""

    name: str
    group: str
    open: Callable[[], Specimen]
    images: Callable[[], Images]


def subjects(budget: Budget, folder: Path) -> list[Subject]:
    """All networks, in the order of the page; the real ones only where they are."""

    def scenes() -> Images:
        return Images.scenes(budget.count, seed=SEED)

    def photographs() -> Images:
        images = Images.folder(DATA / "images" / "cifar10_test")
        return images.take(images.sample(budget.count))

    real = [Subject(each.name, "CIFAR-10", each.open, photographs) for each in _cifar_networks()]
    mini = [Subject(name, "scenes", lambda name=name: mt.open(f"microtome:{name}"), scenes) for name in networks.NAMES]
    trained = [
        Subject(f"{' + '.join(('mini_deit', *edits))}, seed {seed}", "trained on",
                lambda edits=edits, seed=seed: trained_on(edits, seed, budget, folder), scenes)
        for edits in READINGS for seed in range(budget.seeds)
    ]  # fmt: skip
    return [*real, *mini, *trained]


def _cifar_networks() -> list[Candidate]:
    """Real networks of CIFAR-10 at their own size, but the DenseNet, which needs minutes; none where they are not there."""
    own = [each for each in candidates() if each.source == "CIFAR-10" and each.px == 32]
    deep = Candidate(
        "resnet56", "CIFAR-10", 32, f"{DATA / 'loaders' / 'archs.py'}:CifarResNet(depth=56, opt='A')", "cifar10_resnet56"
    )
    return [*own, deep] if own else []


def trained_on(edits: Sequence[str], seed: int, budget: Budget, folder: Path) -> Specimen:
    """`mini_deit` with its shipped weights, edited, and all of it trained on with the budget; the same scenes and order for all edits."""
    specimen = mt.open("microtome:mini_deit", edits=list(edits))
    data = scene_series(budget.scenes, TRAINING_SEED + 1 + seed, cache=folder)
    train_on(specimen.net, data, budget, seed)
    return specimen


def train_on(net: torch.nn.Module, data: SceneSeries, budget: Budget, seed: int) -> None:
    """AdamW with one cycle of the learning rate, shifts, flips and tints, in place; at ordinary contrast only."""
    net.train().requires_grad_(True)
    optimizer = torch.optim.AdamW(net.parameters(), lr=budget.rate, weight_decay=0.05)
    steps = budget.epochs * math.ceil(len(data) / budget.batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, budget.rate, total_steps=steps, pct_start=0.15)
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for _ in range(budget.epochs):
            for chosen in torch.randperm(len(data), generator=generator).split(budget.batch):
                pixels = torch.from_numpy(data.pixels[chosen.numpy()]).float()
                x = normalise(tint(Motion.sample(len(chosen), generator)(pixels), generator))
                loss = cross_entropy(net(x).float(), torch.from_numpy(data.labels[chosen.numpy()]))
                optimizer.zero_grad()
                loss.backward()
                torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
                optimizer.step()
                schedule.step()
    net.eval().requires_grad_(False)


def measure_answers(specimen: Specimen, images: Images, conditions: Sequence[Condition], batch: int = 50) -> Values:
    """Right or wrong (image, 1 + condition), clean first, as the analysis `robustness` counts it."""
    assert images.labels is not None
    worker, parts = specimen.on("cpu"), list[Values]()
    for start in range(0, len(images), batch):
        index = range(start, min(start + batch, len(images)))
        pixels = images.inputs(worker.recipe, index)
        x = worker.recipe.normalise(torch.from_numpy(pixels))
        wanted = np.asarray(images.labels)[list(index)]
        views = [x, *(inputs_under(condition, worker, pixels, x, 0) for condition in conditions)]
        parts.append(np.stack([worker.class_scores(worker.run(view)).argmax(1).numpy() == wanted for view in views], axis=1))
    return np.concatenate(parts)


def measure_subject(subject: Subject) -> Row:
    """The row of one network: how many images are right under each condition, and means of each image over sets of conditions."""
    conditions = list_conditions(CORRUPTIONS, SEVERITIES, SWEEPS)
    right = measure_answers(subject.open(), subject.images(), conditions)
    numbered = list(enumerate(conditions, 1))
    sets = {
        "other": [place for place, each in numbered if not each.is_sweep and each.name in OTHER],
        **{
            name: [place for place, each in numbered if each.is_sweep and each.name == name and each.amount > STRONGER]
            for name in SWEEPS
        },
    }
    counts = [[each.name, each.amount, each.is_sweep, int(right[:, place].sum())] for place, each in enumerate(conditions, 1)]
    return {
        "network": subject.name, "group": subject.group, "images": len(right), "clean": right[:, 0].astype(int).tolist(), "right": counts,
        "means": {name: right[:, places].mean(1).round(4).tolist() for name, places in sets.items()},
    }  # fmt: skip


def run(budget: Budget, folder: Path = FOLDER) -> dict[str, Any]:
    """All rows as plain values; those that `folder` holds are not measured again."""
    facts = machine.described("cpu")
    folder = folder / "-".join(f"{value:g}" for value in vars(budget).values())
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "rows.jsonl"
    wanted = subjects(budget, folder)
    for subject in wanted:
        if subject.name not in read_networks(path):
            append_row(path, measure_subject(subject))
            print(subject.name, flush=True)
    known = read_networks(path)
    missing = "" if (DATA / "MANIFEST.json").is_file() else f"no real networks at {DATA} (set MICROTOME_DATA)"
    return {
        "machine": facts, "budget": vars(budget), "skipped": missing, "transformers": list(TRANSFORMERS),
        "rows": [known[subject.name] for subject in wanted],
    }  # fmt: skip


def read_networks(path: Path) -> dict[str, Row]:
    """Rows by network; a last line that was cut off is left out."""
    known: dict[str, Row] = {}
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
        try:
            row = json.loads(line)
        except json.JSONDecodeError:
            continue
        known[row["network"]] = row
    return known


def write_page(budget: Budget | None = None, page_only: bool = False) -> None:
    """Measure what is missing, keep the numbers and write the page; with `page_only` from the numbers kept."""
    torch.set_num_threads(1)
    if not page_only:
        RESULTS.write_text(json.dumps(run(budget or Budget()), indent=0) + "\n", encoding="utf-8")
    robustness_page.write_page(json.loads(RESULTS.read_text(encoding="utf-8")))
