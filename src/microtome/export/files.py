"""The files of a slimmed network that need no microtome: weights, a loader, ONNX; each loaded again and compared on real images."""

import runpy
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor, nn

from microtome.errors import Uneditable, hint
from microtome.export.architecture import Architecture, find_architecture
from microtome.export.loader import LOADER, PROGRAM, WEIGHTS, architecture_loader, program_loader, quotable
from microtome.export.programs import write_onnx, write_program
from microtome.export.sample import batch_parts, largest_difference
from microtome.specimen import Specimen
from microtome.specimen.copying import copy_network

TOLERANCE = 1e-5  # of the largest output
ONNX_FILE = "network.onnx"


@dataclass
class WrittenFiles:
    """What was written: (name, what it is) of each file, how the loader builds the network, remarks, and the differences found."""

    files: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    route: str = ""
    batch: int | None = None
    notes: list[str] = field(default_factory=list[str])
    differences: dict[str, float] = field(default_factory=dict[str, float])
    opened_by: str = ""


def write_files(
    folder: Path, out: Path, specimen: Specimen, slimmed: Specimen, removed: tuple[str, ...], x: Tensor, onnx: bool
) -> WrittenFiles:
    """Write the files into `folder`, which is to become `out`; `x` (image, channel, row, col) are real images to try them on.

    Raises:
        Uneditable: what is loaded again gives other outputs, or the network cannot be exported.
        MissingExtra: ONNX is wanted and a package is missing.
    """
    net = copy_network(slimmed.net).cpu().eval()
    title = quotable(slimmed.name)
    written = WrittenFiles()
    if not _write_by_architecture(folder, out, specimen, net, removed, x, title, written):
        _write_as_program(folder, out, slimmed, net, x, title, written)
    (folder / WEIGHTS).chmod(stat.S_IMODE((folder / LOADER).stat().st_mode))  # safetensors lets nobody else read it
    if onnx:
        batch, difference = write_onnx(net, x, folder / ONNX_FILE)
        size = "any number of images" if batch is None else "one image"
        written.files.append((ONNX_FILE, f"ONNX, input `image`, {size} at a time"))
        written.differences["onnx"] = difference
    return written


def _write_by_architecture(
    folder: Path, out: Path, specimen: Specimen, net: nn.Module, removed: tuple[str, ...], x: Tensor, title: str,
    written: WrittenFiles,
) -> bool:  # fmt: skip
    """Write weights and loader for a library that builds the network by arguments; False, and nothing written, where none does."""
    architecture = find_architecture(specimen, removed, net)
    if architecture is None:
        return False
    _save_plain(net, folder / WEIGHTS, architecture.names)
    (folder / LOADER).write_text(architecture_loader(title, architecture), encoding="utf-8")
    difference = largest_difference(net, load_again(folder), batch_parts(x, None))
    if not difference <= TOLERANCE:  # the same tensors in another order of things, as windows that alternate
        (folder / WEIGHTS).unlink()
        (folder / LOADER).unlink()
        return False
    written.route, written.differences["loader"] = architecture.code, difference
    written.files += [
        (WEIGHTS, f"the weights, named as {architecture.library} names them"),
        (LOADER, f"`load()`; needs {architecture.library}"),
    ]
    if architecture.library == "timm":
        written.opened_by = _timm_hint(architecture, f"{out.name}/{WEIGHTS}")
    return True


def _write_as_program(
    folder: Path, out: Path, slimmed: Specimen, net: nn.Module, x: Tensor, title: str, written: WrittenFiles
) -> None:
    """Write weights, a program of torch.export and its loader."""
    if slimmed.maker is None:
        _save_plain(net, folder / WEIGHTS)
    else:
        slimmed.save(folder / WEIGHTS)
        place = f"{out.name}/{WEIGHTS}"
        written.opened_by = hint(f"microtome analyze {place} IMAGES", f"mt.open('{place}')")
    written.batch = write_program(net, x, folder / PROGRAM)
    (folder / LOADER).write_text(program_loader(title, written.batch), encoding="utf-8")
    difference = largest_difference(net, load_again(folder), batch_parts(x, written.batch))
    if not difference <= TOLERANCE:
        raise Uneditable(
            f"Exported by torch.export, {slimmed.name} gives other outputs (difference {difference:.2g} of the largest); "
            "nothing is written."
        )
    written.route, written.differences["loader"] = "torch.export", difference
    if written.batch is not None:
        written.notes.append(
            "The exported program takes one image at a time: torch.export could not leave the batch size open."
        )
    written.files += [
        (WEIGHTS, "the weights alone, named as in the full network"),
        (PROGRAM, "the network with its weights, a program of torch.export"),
        (LOADER, "`load()`; needs torch"),
    ]


def _timm_hint(architecture: Architecture, place: str) -> str:
    """What opens the network in microtome."""
    options = ",".join(f"{name}={value!r}" for name, value in architecture.arguments.items() if name != "pretrained")
    name = f"timm:{architecture.first[1:-1]}({options})"
    return hint(f'microtome analyze "{name}" IMAGES --weights {place}', f"mt.open({name!r}, weights={place!r})")


def load_again(folder: Path) -> Callable[[Tensor], Any]:
    """What the written loader gives."""
    return runpy.run_path(str(folder / LOADER))["load"]()


def _save_plain(net: nn.Module, path: Path, names: Mapping[str, str] | None = None) -> None:
    state = {name: value for name, value in net.state_dict().items() if isinstance(value, Tensor)}
    tensors = {(names or {}).get(name, name): value.detach().contiguous().clone() for name, value in state.items()}
    save_file(tensors, path, metadata={"format": "pt"})
