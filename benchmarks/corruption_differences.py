"""How far our corruptions lie from the published code: `python -m benchmarks.corruption_differences FOLDER` writes docs/corruptions.md.

Needs imagecorruptions 1.1.2, scikit-image and opencv-python-headless beside microtome. The package cannot be imported with current
versions of these as it is; what is missing is put in its place here, and nothing of its code is changed. FOLDER holds photographs.
"""

import importlib
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from PIL import Image

from benchmarks import machine
from microtome.images.corruptions import CORRUPTIONS, corrupt

PAGE = machine.ROOT / "docs" / "corruptions.md"
MARKS = ("<!-- generated: differences -->", "<!-- end of generated: differences -->")
SIDE, COUNT, SEVERITIES = 224, 8, (1, 3, 5)


def published() -> Any:
    """The module of the published functions, with stand-ins for names that its dependencies no longer have."""
    import scipy.ndimage
    import skimage.filters

    smooth = skimage.filters.gaussian

    def gaussian(image: Any, *rest: Any, multichannel: bool = False, **options: Any) -> Any:
        return smooth(image, *rest, channel_axis=-1 if multichannel else None, **options)

    skimage.filters.gaussian = gaussian
    np.float_ = np.float64  # type: ignore[attr-defined]
    interpolation = ModuleType("scipy.ndimage.interpolation")
    interpolation.map_coordinates = scipy.ndimage.map_coordinates  # type: ignore[attr-defined]
    sys.modules.setdefault("scipy.ndimage.interpolation", interpolation)
    return importlib.import_module("imagecorruptions.corruptions")


def measure(name: str, severity: int, images: np.ndarray, function: Callable[..., Any]) -> str:
    """A row of the table: differences in 8-bit grey levels, and CPU time for an image."""
    np.random.seed(0)
    began = time.process_time()
    theirs = np.stack([np.uint8(function(Image.fromarray(image), severity)) for image in images]).astype(float)
    middle = time.process_time()
    ours = corrupt(images, name, severity).astype(float)
    taken = [1000 * (end - start) / len(images) for start, end in ((began, middle), (middle, time.process_time()))]
    effects = [np.abs(changed - images).mean() for changed in (theirs, ours)]
    spreads = [changed.std(axis=(1, 2, 3)).mean() for changed in (theirs, ours)]
    return (
        f"| {name} | {severity} | {np.abs(theirs - ours).mean():.2f} | {np.abs(theirs - ours).max():.0f} | {effects[0]:.1f} | "
        f"{effects[1]:.1f} | {spreads[0]:.1f} | {spreads[1]:.1f} | {taken[0]:.1f} | {taken[1]:.1f} |"
    )


def main(folder: str) -> None:
    """Measure every corruption at three severities on photographs, and write the table."""
    torch.set_num_threads(1)
    files = sorted(path for path in Path(folder).iterdir() if path.suffix.lower() in (".jpg", ".jpeg", ".png"))[:COUNT]
    photographs = [Image.open(path).convert("RGB").resize((SIDE, SIDE), Image.Resampling.BILINEAR) for path in files]
    images, module = np.stack([np.asarray(photograph) for photograph in photographs]), published()
    lines = [
        "| corruption | severity | mean difference | largest | effect, published | ours | spread, published | ours | ms, published | "
        "ours |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    lines += [measure(name, severity, images, getattr(module, name)) for name in CORRUPTIONS for severity in SEVERITIES]
    text = PAGE.read_text(encoding="utf-8")
    start, end = text.index(MARKS[0]) + len(MARKS[0]), text.index(MARKS[1])
    PAGE.write_text(text[:start] + "\n" + "\n".join(lines) + "\n" + text[end:], encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
