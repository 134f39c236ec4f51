"""CKA between the layers of one network at 128 px: blocks of ResNet-18 and ResNet-50, convolutions of ResNet-18."""

import argparse
import contextlib
import copy
import importlib.util
import io
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import microtome
from benchmarks.gradcam import forward
from benchmarks.timing import INSTALL, Disagreement, Plan, Result, interleaved, row
from microtome.analyses.similarity import Similarity
from microtome.analysis import collect_tallies
from microtome.images import Images
from microtome.scan import Pace
from microtome.tally import Bundle

SIZE = 128  # px
TITLE = f"CKA between the layers of one network, {SIZE} px"
TIMED = (
    "Ours: one scan of the similarity analysis over decoded pixels (normalising, forward pass, Gram matrices over all pairs of images "
    "where their features fit into memory, else within batches). "
    "torch_cka: `CKA(net, copy).compare(loader)` over the same images, already normalised, in the same batches, not shuffled. It "
    "runs two networks, ours one; the row of a bare forward pass says how much that is. It takes every Gram matrix once for each "
    "pair of layers, so the ratio grows with the batch and with the number of layers; its own examples take batches of 256."
)
LIMIT = 1e-4
OURS, PEER = "microtome", "torch_cka"
KIND = f"{PEER}, under no_grad, channels-last copies"
TWIN = "microtome with the untrained twin"
ALONE, WIDE = "one forward pass", "one forward pass, channels-last"


@dataclass(frozen=True)
class Case:
    """What is compared: layers whose outputs nothing overwrites in place, else torch_cka would read what was written there."""

    title: str
    network: str
    layers: str
    images: int
    batch: int
    target: float | None = 4.0
    apart: bool = False  # whether it is taken apart: with the twin, and with the peer on channels-last copies without gradients
    size: int = SIZE


CASES = (
    Case("the blocks of ResNet-18", "timm:resnet18", "blocks", 256, 64, apart=True),
    Case("the blocks of ResNet-18", "timm:resnet18", "blocks", 256, 256),
    Case("the blocks of ResNet-50", "timm:resnet50", "blocks", 256, 64),
    Case("the convolutions of ResNet-18", "timm:resnet18", "convs", 64, 64, target=None),
)
MEMORY = Case("the blocks of ResNet-18", "timm:resnet18", "blocks", 64, 32, size=96)
CHECKED = 64  # images whose values are compared before timing


def run(plan: Plan) -> Result:
    """Rows against torch_cka as documented and at its best, and against bare forward passes; growth of memory."""
    result = Result("cka", TITLE, TIMED)
    if importlib.util.find_spec("torch_cka") is None:
        result.notes.append(f"{PEER} is left out, since it is not installed. Install the peers: {INSTALL}")
    for case in CASES:
        _case(replace(case, images=case.batch) if plan.quick else case, plan, result)
    result.notes.append(
        "The twin row is the whole analysis as a user calls it: the network, and at most 128 images through its twin."
    )
    result.details["memory"] = memory(plan, result)
    return result


def _case(case: Case, plan: Plan, result: Result) -> None:
    specimen, images, x = given(case)
    worker, x = specimen.on(plan.device), x.to(plan.device)
    names = specimen.find(case.layers)
    pace = Pace(device=plan.device, batch=case.batch)
    plain, wide = copy.deepcopy(specimen.net).to(plan.device), x.contiguous(memory_format=torch.channels_last)
    what = f"{case.title} ({len(names)}), {case.images} images in batches of {case.batch}"
    contenders: dict[str, Callable[[], object]] = {
        OURS: lambda: ours(worker, images, pace, case.layers),
        ALONE: lambda: passes(plain, x, case.batch),
        WIDE: lambda: passes(worker.net, wide, case.batch),
    }
    if case.apart:
        contenders[TWIN] = lambda: Similarity(at=(case.layers,))(specimen, images, pace)
    if importlib.util.find_spec("torch_cka") is not None:
        contenders[PEER] = lambda: theirs(plain, names, x, case.batch)
        if case.apart:
            contenders[KIND] = lambda: theirs_at_best(worker.net, names, wide, case.batch)
        few = replace(case, batch=min(case.batch, CHECKED))
        first = images.take(list(range(few.batch)))
        own = ours(worker, first, replace(pace, batch=few.batch), case.layers)
        exact, single = checked(few, own, plain, names, x[: few.batch])
        result.details[f"{what}: largest difference"] = {"float64": exact, "float32": single}
        result.notes.append(
            f"{what}: values of {few.batch} images in one batch agree, largest difference {exact:.1e} with torch_cka on float64 "
            f"features (allowed: {LIMIT:.0e}; {single:.1e} on float32 ones, as it is timed)."
        )
        if case.apart:
            result.notes.append(noisy(few, specimen, worker, plain, names))
    taken = interleaved(plan, contenders, 1 if plan.quick else max(3, plan.rounds // 3), warm=False)
    for name in contenders:
        if name != OURS:
            result.rows.append(row(f"CKA of {what}", taken, OURS, name, case.target if name == PEER else None))
    if PEER in contenders:
        bound = float(np.median([peer / bare for peer, bare in zip(taken[PEER], taken[WIDE], strict=True)]))
        result.notes.append(
            f"{what}: if CKA cost nothing at all on top of one bare channels-last forward pass, the ratio would be {bound:.1f}; "
            "that is the bound for running the network once, with these kernels."
        )
        result.notes.append(f"{what}, taken apart: {_shares({name: float(np.median(times)) for name, times in taken.items()})}")
    result.details[f"{what}: seconds"] = taken


def given(case: Case) -> tuple[microtome.Specimen, Images, Tensor]:
    """An untrained network, scenes with their pixels decoded, and the same as normalised input (image, rgb, row, col)."""
    specimen = microtome.open(case.network, weights=None, zero_init_last=False, recipe={"size": case.size})
    images = Images.scenes(case.images, seed=0, size=case.size)
    pixels = torch.from_numpy(images.pixels(specimen.recipe))
    assert len(specimen.layers) > 0  # traced here, timed for nobody
    return specimen, images, specimen.recipe.normalise(pixels).contiguous()


def ours(worker: microtome.Specimen, images: Images, pace: Pace, at: str) -> Tensor:
    census = Similarity(at=(at,))
    tally = collect_tallies(worker, images, [census], pace, "scan")[census.name()]
    assert isinstance(tally, Bundle)
    return torch.from_numpy(census.estimate(worker, tally)[0].value)


def theirs(net: nn.Module, names: list[str], x: Tensor, batch: int) -> Tensor:
    from torch.utils.data import DataLoader, TensorDataset
    from torch_cka import CKA

    pair = copy.deepcopy(net), copy.deepcopy(net)  # its hooks stay for good
    measured = CKA(*pair, model1_name="one", model2_name="two", model1_layers=names, model2_layers=names, device=str(x.device))
    loaders = [DataLoader(TensorDataset(x), batch_size=batch, shuffle=False) for _ in pair]
    with contextlib.redirect_stderr(io.StringIO()):  # its progress bar
        measured.compare(*loaders)
    return measured.export()["CKA"].double()


def theirs_at_best(net: nn.Module, names: list[str], x: Tensor, batch: int) -> Tensor:
    with torch.no_grad():
        return theirs(net, names, x, batch)


def passes(net: nn.Module, x: Tensor, batch: int) -> None:
    for part in x.split(batch):
        forward(net, part)


def checked(case: Case, own: Tensor, net: nn.Module, names: list[str], x: Tensor) -> tuple[float, float]:
    """The largest difference from torch_cka's values on float64 and on float32 features.

    Its float32 sums lose digits where features have a large mean, so the first must be at most LIMIT.

    Raises:
        Disagreement: it is above that.
    """
    kind = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)  # it multiplies by ones of that type
    try:
        exact = theirs_at_best(copy.deepcopy(net).double(), names, x.double(), case.batch)
    finally:
        torch.set_default_dtype(kind)
    apart = float((own - exact).abs().max())
    if not apart <= LIMIT:
        raise Disagreement(f"CKA values of {case.title} differ by up to {apart:.2g} (allowed: {LIMIT:.0e}).")
    return apart, float((own - theirs(net, names, x, case.batch)).abs().max())


def noisy(case: Case, specimen: microtome.Specimen, worker: microtome.Specimen, plain: nn.Module, names: list[str]) -> str:
    """How far the values lie apart on noise, where all images look alike to the network, in words."""
    pixels = np.random.default_rng(0).integers(0, 256, (case.batch, case.size, case.size, 3), dtype=np.uint8)
    images = Images.tensors(pixels)
    x = specimen.recipe.normalise(torch.from_numpy(images.pixels(specimen.recipe))).contiguous().to(worker.device)
    own = ours(worker, images, Pace(device=str(worker.device), batch=case.batch), case.layers)
    exact, single = checked(case, own, plain, names, x)
    return (
        f"On {case.batch} noise images instead, the values lie {exact:.1e} apart from torch_cka's on float64 features but "
        f"{single:.1e} on float32 ones: it does not centre the features, and where all images look alike to the network their "
        "common mean takes the digits. So scenes are timed, not noise."
    )


def _shares(seconds: dict[str, float]) -> str:
    """What the ratio is made of: the second network, the memory layout, and the arithmetic of CKA."""
    once = (seconds[PEER] - seconds[ALONE]) / seconds[OURS]
    plain = (seconds[PEER] - seconds[ALONE]) / (seconds[OURS] - seconds[WIDE] + seconds[ALONE])
    over = (seconds[PEER] - 2 * seconds[ALONE]) / max(seconds[OURS] - seconds[WIDE], 1e-9)
    return (
        f"{seconds[PEER] / seconds[OURS]:.1f} in all; {once:.1f} if torch_cka ran the network once; "
        f"{plain:.1f} if, besides, ours ran it in the plain memory layout; {over:.1f} on what comes on top of the passes."
    )


def memory(plan: Plan, result: Result) -> dict[str, Any]:
    """Growth of resident memory in MB by contender and number of images, each in a process of its own; CPU only."""
    if plan.device != "cpu":
        return {}
    if importlib.util.find_spec("psutil") is None:
        result.notes.append(f"Memory was not measured, since psutil is missing. Install the peers: {INSTALL}")
        return {}
    peaks: dict[str, dict[str, float]] = {}
    who = [OURS] if importlib.util.find_spec("torch_cka") is None else [OURS, PEER]
    for name in who:
        for count in (64, 128) if plan.quick else (64, 512):
            words = [sys.executable, "-W", "ignore", "-m", "benchmarks.cka", name, str(count)]
            output = subprocess.run(words, capture_output=True, text=True, check=True).stdout
            peaks.setdefault(name, {})[str(count)] = json.loads(output.splitlines()[-1])
    output = "; ".join(
        f"{name} " + ", ".join(f"{mb:.0f} MB ({n} images)" for n, mb in by_count.items()) for name, by_count in peaks.items()
    )
    result.notes.append(
        f"Peak growth of resident memory while measuring in batches of {MEMORY.batch} at {MEMORY.size} px, pixels already "
        f"decoded: {output}. Neither grows with the number of images."
        if all(max(by_count.values()) <= 1.1 * min(by_count.values()) for by_count in peaks.values())
        else f"Peak growth of resident memory while measuring, pixels already decoded: {output}."
    )
    return peaks


def _growth(who: str, count: int) -> float:
    """The most that resident memory grew, in MB, looked at every 5 ms."""
    import psutil

    case = replace(MEMORY, images=count)
    specimen, images, x = given(case)
    worker, names = specimen.on("cpu"), specimen.find(case.layers)
    process, stop = psutil.Process(), threading.Event()
    before = most = process.memory_info().rss

    def look() -> None:
        nonlocal most
        while not stop.is_set():
            most = max(most, process.memory_info().rss)
            time.sleep(0.005)

    looker = threading.Thread(target=look)
    looker.start()
    if who == OURS:
        ours(worker, images, Pace(device="cpu", batch=case.batch), case.layers)
    else:
        theirs(specimen.net, names, x, case.batch)
    stop.set()
    looker.join()
    return (most - before) / 1e6


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="The growth of memory in MB, for one contender and number of images.")
    parser.add_argument("who", choices=(OURS, PEER))
    parser.add_argument("count", type=int)
    said = parser.parse_args()
    torch.set_num_threads(1)
    print(json.dumps(_growth(said.who, said.count)))
