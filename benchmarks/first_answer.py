"""How long a user waits, beside what the plan said: `python -m benchmarks first_answer` writes the table of docs/effort.md.

Whole commands in processes of their own, from the first import to the written report: README's first line on 30 photographs at each
effort, and DeepLabV3 at 513 px on 24. The photographs are generated scenes in JPEG files of 500 x 375 px; weights are random.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks import machine

PAGE = machine.ROOT / "docs" / "effort.md"
MARKS = ("<!-- generated: first answer -->", "<!-- end of generated: first answer -->")
SIZE = (500, 375)  # px, width and height of a photograph
GIB = 2**30


@dataclass(frozen=True)
class Case:
    """A command, how many photographs it is given, and what is wanted: seconds, and bytes beside the weights (0: not asked)."""

    name: str
    specimens: tuple[str, ...]
    options: tuple[str, ...]
    images: int
    seconds: float
    bytes: float = 0.0


README_LINE = ("timm:resnet18", "torchvision:vgg11")
DEEPLAB = ("torchvision:deeplabv3_resnet50",)
CASES = (
    Case("ResNet-18 and VGG-11, quick", README_LINE, ("--effort", "quick"), 30, 60.0),
    Case("ResNet-18 and VGG-11, standard", README_LINE, ("--effort", "standard"), 30, 180.0),
    Case("DeepLabV3, 513 px, standard", DEEPLAB, ("--recipe", "size=513,crop=1"), 24, 300.0, 3.0 * GIB),
)


@dataclass(frozen=True)
class Answer:
    """What one command took: seconds planned, until the first report, until its end; bytes planned and at its peak, in all."""

    planned: float
    first: float
    whole: float
    planned_bytes: float
    peak: float


def measure(case: Case) -> Answer:
    """Run the command of a case and follow its events."""
    with tempfile.TemporaryDirectory() as folder:
        photos = Path(folder) / "photos"
        write_photos(photos, case.images)
        words = [sys.executable, "-m", "microtome", "analyze", *case.specimens, str(photos), "--weights", "none", "--json"]
        began, planned, planned_bytes, first = time.perf_counter(), float("nan"), float("nan"), float("nan")
        command = [*words, *case.options, "--out", f"{folder}/out"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=_environment_of_users()) as process:
            assert process.stdout is not None
            for line in process.stdout:
                event = json.loads(line) if line.startswith("{") else {}
                if event.get("event") == "plan":
                    planned, planned_bytes = event["seconds"], max((row["bytes"] for row in event["rows"]), default=0.0)
                if first != first and (Path(folder) / "out" / "report.html").exists():
                    first = time.perf_counter() - began
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise RuntimeError(f"{case.name}: the command ended with {process.returncode}")
        return Answer(planned, first, time.perf_counter() - began, planned_bytes, usage.ru_maxrss * 1024.0)


def _environment_of_users() -> dict[str, str]:
    """The environment without the one thread that comparisons with peers are held to: a user's command takes all cores."""
    return {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}


def write_photos(folder: Path, count: int) -> None:
    """Scenes of three classes as JPEG files, one folder for each class."""
    import microtome as mt

    scenes = mt.Images.scenes(count, size=96, seed=1)
    for number in range(count):
        place = folder / "abc"[number % 3] / f"{number:03d}.jpg"
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.asarray(scenes[number].picture)).resize(SIZE).save(place, quality=92)


def table(cases: Sequence[Case], answers: Sequence[Answer]) -> str:
    """The table of the page: what was wanted, planned and measured."""
    lines = [
        "| command | wanted | plan | measured | measured / plan | first report | peak memory |",
        "|---|---|---|---|---|---|---|",
    ]
    for case, answer in zip(cases, answers, strict=True):
        peak = f"{answer.peak / GIB:.1f} GB"
        lines.append(
            f"| {case.name}, {case.images} images | ≤ {case.seconds:.0f} s | {answer.planned:.0f} s | {answer.whole:.0f} s | "
            f"{answer.whole / answer.planned:.2f} | {answer.first:.0f} s | {peak} |"
        )
    return "\n".join(lines)


def write_page(cases: Sequence[Case] = CASES) -> None:
    """Measure all cases and write their table into the page."""
    facts = machine.described("cpu") | {"threads": os.cpu_count()}  # of the commands, not of this process
    text = table(cases, [measure(case) for case in cases])
    page = PAGE.read_text(encoding="utf-8")
    before, rest = page.split(MARKS[0])
    after = rest.split(MARKS[1])[1]
    PAGE.write_text(f"{before}{MARKS[0]}\n{text}\n\n{machine.sentence(facts)}\n{MARKS[1]}{after}", encoding="utf-8")
    print(text)
