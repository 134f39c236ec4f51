"""`analyze` as a whole against the bare forward and backward passes that it makes."""

import cProfile
import importlib
import io
import pstats
import statistics
import tempfile
import time
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import count
from typing import Any

import torch
from torch import Tensor, nn

import microtome
from benchmarks.timing import Plan, Result, Row, interleaved, row
from microtome import catalog
from microtome.images import Images
from microtome.runner import Event, analyze
from microtome.scan import Pace
from microtome.specimen import Specimen, tap

attribution: Any = importlib.import_module("microtome.instruments.attribution.batch_maps")  # a function has its name

TITLE = "analyze as a whole, one network"
ANALYSES = ("weights", "features", "cam", "similarity", "redundancy", "objects", "accuracy", "cost", "probe", "compare")
TIMED = (
    f"Ours: `runner.analyze` with {', '.join(ANALYSES)} (named one by one, so that later analyses do not change what is measured), "
    "on fresh images (drawing and decoding them is timed apart and is in it), "
    "down to findings saved on disk. Bare: the forward and backward passes that this run made, found by recording them, repeated "
    "with the same batch sizes on the same channels-last network without a hook (one, that cuts the graph, where a gradient is "
    "wanted). Importing and opening the network is timed for nobody."
)
TARGET = 1.5
SEEDS = count()  # the last 128 scenes drawn are remembered: with fewer, only other ones have to be drawn again
CASES: dict[str, tuple[Callable[[], Specimen], Callable[[], Images]]] = {
    "timm:resnet18, 128 px, 192 scenes": (
        lambda: microtome.open("timm:resnet18", weights=None, zero_init_last=False, recipe={"size": 128}),
        lambda: Images.scenes(192, seed=0, size=128),
    ),
    "timm:resnet50, 224 px, 48 scenes": (
        lambda: microtome.open("timm:resnet50", weights=None, zero_init_last=False),
        lambda: Images.scenes(48, seed=next(SEEDS), size=224),
    ),
    "microtome:mini_resnet, 64 px, 240 scenes": (
        lambda: microtome.open("microtome:mini_resnet"),
        lambda: Images.scenes(240, seed=0, size=64),
    ),
}


@dataclass
class Pass:
    """A forward pass of `images`, and how many backward passes from its scores to the first of the layers `at`."""

    images: int
    at: tuple[str, ...] = ()
    backwards: int = 0


def run(plan: Plan) -> Result:
    """For each case the ratio of the whole run, and of the run without weight statistics, to the bare passes."""
    result = Result("whole", TITLE, TIMED)
    for name in ANALYSES:
        catalog.analysis_entry(name).load()
    for name, (open_, make) in CASES.items():
        specimen = open_()
        parts = recorded(specimen, make(), plan)
        result.rows += _case(name, specimen, make, parts, plan, result)
        if plan.quick:
            break
    result.notes.append(
        "The weight statistics (singular values, distances between distributions) run no network, so nothing in the bare passes "
        "stands for them; the second row of each network leaves them out."
    )
    return result


def _case(
    name: str, specimen: Specimen, make: Callable[[], Images], parts: dict[str, list[Pass]], plan: Plan, result: Result
) -> list[Row]:
    worker = specimen.on(plan.device)
    x = torch.randn(64, 3, *specimen.recipe.size, generator=torch.Generator().manual_seed(0)).to(plan.device)
    clocked: list[dict[str, float]] = []
    whole, bare, lean = "analyze", "bare passes", "analyze, without weights"

    def timed() -> None:
        clocked.append(_clocked(specimen, make(), plan))

    contenders = {
        whole: timed,
        bare: lambda: [replay(worker, x, pass_) for passes in parts.values() for pass_ in passes],
        "drawing and decoding": lambda: _decoded(make(), specimen),
    }
    walls: dict[str, list[float]] = {}
    seen = {name: _on_the_wall(work, walls.setdefault(name, [])) for name, work in contenders.items()}
    taken = interleaved(plan, seen, 1 if plan.quick else max(3, plan.rounds // 2), warm=False)
    by_part = {
        part: {
            "analyze": statistics.median(seconds.get(part, 0.0) for seconds in clocked),
            "bare": _seconds(plan, worker, x, passes),
            "images": sum(pass_.images for pass_ in passes),
            "backwards": sum(pass_.backwards * pass_.images for pass_ in passes),
        }
        for part, passes in parts.items()
    }
    taken[lean] = [total - seconds.get("weights", 0.0) for total, seconds in zip(taken[whole], clocked, strict=True)]
    made = sum(int(totals["images"]) for totals in by_part.values())
    back = sum(int(totals["backwards"]) for totals in by_part.values())
    result.notes.append(
        f"{name}: {made} images forward, {back} backward. Median {plan.unit} by part, analyze (bare): "
        + "; ".join(f"{part} {totals['analyze']:.2f} ({totals['bare']:.2f})" for part, totals in by_part.items())
        + f". Drawing and decoding the images and masks once: {statistics.median(taken['drawing and decoding']):.2f}."
    )
    top = profiled(specimen, make(), plan)
    result.details[name] = {"seconds": taken, "wall": walls, "by_part": by_part, "profile": top}
    return [
        row(f"{name}: everything, by the wall clock", walls, whole, bare, TARGET, inverse=True),
        row(f"{name}: everything", taken, whole, bare, TARGET, inverse=True),
        row(f"{name}: what runs the network", taken, lean, bare, TARGET, inverse=True),
    ]


def _on_the_wall(work: Callable[[], object], taken: list[float]) -> Callable[[], None]:
    """The same work, its seconds on the wall noted: images are drawn while the network works, which CPU seconds add up."""

    def timed() -> None:
        began = time.perf_counter()
        work()
        taken.append(time.perf_counter() - began)

    return timed


def _run(specimen: Specimen, images: Images, plan: Plan, listener: Callable[[Event], None] = lambda event: None) -> None:
    with tempfile.TemporaryDirectory() as folder:
        fresh = replace(specimen)  # nothing remembered: traced and hashed again
        outcome = analyze([fresh], images, folder, only=ANALYSES, pace=Pace(device=plan.device), listener=listener)
        if outcome.failed:
            raise RuntimeError(f"analyze failed: {outcome.failed}")


def _clocked(specimen: Specimen, images: Images, plan: Plan) -> dict[str, float]:
    """Seconds by part: analysis, where the first of the censuses to be told stands for the scan that they share."""
    seconds: dict[str, float] = {}
    last = plan.clock()

    def heard(event: Event) -> None:
        nonlocal last
        now = plan.clock()
        seconds[_part(event)] = seconds.get(_part(event), 0.0) + now - last
        last = now

    _run(specimen, images, plan, heard)
    return seconds


def _part(event: Event) -> str:
    shared = event.analysis in ("accuracy", "features", "probe", "redundancy", "similarity")
    return "shared scan" if shared else event.analysis


def recorded(specimen: Specimen, images: Images, plan: Plan) -> dict[str, list[Pass]]:
    """The passes that one run makes, by part."""
    parts: dict[str, list[Pass]] = {}
    with _recording(type(specimen.net)) as made:

        def heard(event: Event) -> None:
            parts.setdefault(_part(event), []).extend(made)
            made.clear()

        _run(specimen, images, plan, heard)
    return parts


@contextmanager
def _recording(kind: type[nn.Module]) -> Generator[list[Pass]]:
    """A list that fills with the passes through networks of that class."""
    made: list[Pass] = []
    tapped: list[tuple[str, ...]] = []
    gradient = torch.autograd.grad
    taking: list[Any] = [importlib.import_module(f"{attribution.__name__}.{name}") for name in ("batch_maps", "visible_layers")]

    def entered(module: nn.Module, given: tuple[Any, ...]) -> None:
        if type(module) is kind and isinstance(given[0], Tensor):
            made.append(Pass(len(given[0]), tapped[-1] if tapped and torch.is_grad_enabled() else ()))

    @contextmanager
    def noted_tap(specimen: Specimen, names: str | Sequence[str]) -> Generator[Any]:
        tapped.append((names,) if isinstance(names, str) else tuple(names))
        try:
            with tap(specimen, names) as taps:
                yield taps
        finally:
            tapped.pop()

    def counted(*given: Any, **named: Any) -> Any:
        if made:
            made[-1].backwards += 1
        return gradient(*given, **named)

    hook = nn.modules.module.register_module_forward_pre_hook(entered)
    torch.autograd.grad = counted
    for module in taking:
        module.tap = noted_tap
    try:
        yield made
    finally:
        torch.autograd.grad = gradient
        for module in taking:
            module.tap = tap
        hook.remove()


def replay(worker: Specimen, x: Tensor, recorded: Pass) -> None:
    """The bare pass: no hook, or for a gradient one that makes the first layer's output a leaf."""
    given = x[: recorded.images].contiguous(memory_format=torch.channels_last)
    if not recorded.backwards:
        with torch.inference_mode():
            worker.net(given)
        return
    first = min((worker.layer(name) for name in worker.find(recorded.at)), key=lambda layer: layer.order)
    leaves: list[Tensor] = []

    def cut(_module: nn.Module, _inputs: Any, value: Tensor) -> Tensor:
        leaves.append(value.detach().requires_grad_())
        return leaves[0].clone()

    for parameter in worker.net.parameters():
        parameter.requires_grad_(False)
    hook = worker.net.get_submodule(first.path).register_forward_hook(cut)
    score = worker.net(given).max(1).values.sum()
    for number in range(recorded.backwards):
        torch.autograd.grad(score, leaves[0], retain_graph=number + 1 < recorded.backwards)
    hook.remove()


def _seconds(plan: Plan, worker: Specimen, x: Tensor, passes: Iterable[Pass]) -> float:
    began = plan.clock()
    for pass_ in passes:
        replay(worker, x, pass_)
    return plan.clock() - began


def _decoded(images: Images, specimen: Specimen) -> None:
    images.pixels(specimen.recipe)
    images.masks(specimen.recipe)


def profiled(specimen: Specimen, images: Images, plan: Plan, most: int = 25) -> list[str]:
    """The functions in which most of the time is spent (own time), from one more run under the profiler."""
    profile = cProfile.Profile(plan.clock)
    profile.enable()
    _run(specimen, images, plan)
    profile.disable()
    text = io.StringIO()
    pstats.Stats(profile, stream=text).strip_dirs().sort_stats("tottime").print_stats(most)
    return [line.strip() for line in text.getvalue().splitlines() if line.strip()][-most:]
