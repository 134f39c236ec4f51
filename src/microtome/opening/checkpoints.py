"""Weights from a file: read without running code from it, and fitted to a network by name and shape.

safetensors first; pickled files only through `torch.load(weights_only=True)` with a short list of harmless extra types. A file
that needs more is refused with the names of what it wanted to run.
"""

import argparse
import collections
import json
import pickle
import pickletools
import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import safetensors
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from microtome.errors import CheckpointError, did_you_mean
from microtome.numerics.weights.spectra import is_finite
from microtome.opening import shards
from microtome.prose import plural

State = dict[str, Tensor]
NESTED_KEYS = (
    "state_dict",
    "model",
    "model_state_dict",
    "model_ema",
    "state_dict_ema",
    "ema",
    "net",
    "weights",
    "module",
    "params",
)
WRAPPER_PREFIXES = ("module.", "model.", "backbone.", "_orig_mod.", "net.", "encoder.")
NO_WEIGHTS = ("optim", "sched", "scaler", "lr_", "criterion", "loss")  # keys of what training needs besides
MAX_NAMES = 5


def read_checkpoint(path: str | Path) -> State:
    """The tensors of a weights file by name, the first state dict of several. Raises CheckpointError as `read_file` does."""
    return find_state_dict(read_file(path), str(path))


def read_file(path: str | Path) -> Any:
    """What a weights file holds, or a folder or index of shards. Raises CheckpointError where that cannot be read safely."""
    try:
        return _read_file(path)
    except OSError as error:
        raise CheckpointError(
            f"'{path}' cannot be read ({error.strerror or type(error).__name__}); check its permissions."
        ) from error


def _read_file(path: str | Path) -> Any:
    file = Path(path).expanduser()
    if (index := shards.index_file(file)) is not None:
        return shards.read_shards(index, read_file)
    if file.is_dir() and (inside := shards.weights_in_folder(file)) is not None:
        return read_file(inside)
    if not file.exists():
        folder = file.parent if file.parent.is_dir() else Path()
        near = did_you_mean(file.name, [each.name for each in folder.iterdir() if each.is_file()])
        raise CheckpointError(f"There is no weights file '{path}'.{near}")
    if file.is_dir():
        raise CheckpointError(
            f"'{path}' is a folder; give the weights file inside it, for example {file / 'model.safetensors'}."
        )
    size = file.stat().st_size
    with file.open("rb") as stream:
        start = stream.read(512)
    _refuse_impostors(str(path), start, size)
    if file.suffix == ".safetensors" or start[8:9] == b"{":
        return _read_safetensors(file)
    return _read_pickle(file, start)


def _refuse_impostors(path: str, start: bytes, size: int) -> None:
    if size == 0:
        raise CheckpointError(f"The weights file '{path}' is empty; download or save it again.")
    if start.startswith(b"version https://git-lfs"):
        raise CheckpointError(f"'{path}' is a git-LFS pointer, not the weights themselves; fetch them with: git lfs pull.")
    text = start.lstrip().lower()
    if text.startswith((b"<!doctype", b"<html", b"<?xml")):
        raise CheckpointError(f"'{path}' is a web page, not weights: the download gave an error page; download it again.")
    if start.startswith(b"\x89HDF"):
        raise CheckpointError(
            f"'{path}' is an HDF5 file (Keras); convert it to safetensors with the names of the PyTorch network."
        )
    if start.startswith(b"\x08") and b"onnx" in start[:64].lower():
        raise CheckpointError(f"'{path}' is an ONNX graph, not a state dict; save the PyTorch weights as safetensors.")
    printable = all(byte in b"\t\n\r" or 32 <= byte < 127 for byte in start)
    if printable and start[8:9] != b"{":
        raise CheckpointError(f"'{path}' is a text file, not weights; give a .safetensors, .pth, .pt or .bin file.")


def _read_safetensors(file: Path) -> State:
    try:
        return load_file(str(file))
    except (safetensors.SafetensorError, ValueError, OSError, json.JSONDecodeError) as error:
        raise CheckpointError(
            f"The weights file '{file}' is damaged or cut short ({_first_line(error)}); download or save it again."
        ) from error


def _read_pickle(file: Path, start: bytes) -> Any:
    if start.startswith(b"PK"):
        _refuse_archives(file)
    elif start[:1] != b"\x80" and start[:6] != b"\x93NUMPY":
        raise CheckpointError(
            f"'{file}' is neither a safetensors nor a PyTorch file; give a .safetensors, .pth, .pt or .bin file."
        )
    elif start[:6] == b"\x93NUMPY":
        raise CheckpointError(f"'{file}' is a NumPy array, not a state dict; save the weights by name as safetensors.")
    try:
        with torch.serialization.safe_globals(_safe_types()), warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # about other protocols of pickle
            return torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # what a damaged pickle raises is not one type
        unsafe = _unsafe_globals(file, error)
        if unsafe:
            raise CheckpointError(
                f"'{file}' cannot be read without running code from it: it asks for {', '.join(unsafe)}; "
                "save its state_dict as safetensors where you trust it."
            ) from error
        raise CheckpointError(
            f"The weights file '{file}' is damaged or cut short ({_first_line(error)}); download or save it again."
        ) from error


def _refuse_archives(file: Path) -> None:
    try:
        with zipfile.ZipFile(file) as archive:
            names = archive.namelist()
    except zipfile.BadZipFile as error:
        raise CheckpointError(
            f"The weights file '{file}' is damaged or cut short ({_first_line(error)}); download or save it again."
        ) from error
    if any("/code/" in name for name in names) and any(name.endswith("constants.pkl") for name in names):
        raise CheckpointError(
            f"'{file}' is a TorchScript archive, which holds code; save its weights with "
            "torch.save(torch.jit.load(file).state_dict(), 'weights.pth')."
        )
    if not any(name.endswith("data.pkl") for name in names):
        what = "a NumPy archive" if any(name.endswith(".npy") for name in names) else "a zip archive"
        raise CheckpointError(f"'{file}' is {what} without PyTorch weights; give a .safetensors, .pth, .pt or .bin file.")


def _safe_types() -> list[Any]:
    """Types that training scripts leave in checkpoints and that run nothing: options, numpy scalars and their dtypes."""
    scalar = cast(Any, np.float64(0).__reduce__())[0]
    dtypes = {type(np.dtype(code)) for code in ("?", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8")}
    old = (scalar, "numpy.core.multiarray.scalar")  # the name it had before NumPy 2
    return [argparse.Namespace, collections.defaultdict, np.dtype, scalar, old, *dtypes]


def _unsafe_globals(file: Path, error: Exception) -> list[str]:
    """What a checkpoint wanted to call beyond what is allowed, read from its pickle without running it."""
    with torch.serialization.safe_globals(_safe_types()):
        try:
            return sorted(torch.serialization.get_unsafe_globals_in_checkpoint(file))
        except (ValueError, RuntimeError, OSError, EOFError, pickle.UnpicklingError):  # the old format has no such list
            # but torch's own refusal names the first one, unless the protocol is one that it does not know
            words = str(error).split("GLOBAL ")
            if len(words) > 1:
                return [words[1].split()[0].strip("`'\"")]
            return _pickled_names(file)


def _pickled_names(file: Path) -> list[str]:
    """What a plain pickle asks for, read from its instructions without carrying them out; none where they are damaged."""
    texts: list[str] = []
    names: set[str] = set()
    try:
        with file.open("rb") as stream:
            for instruction, value, _ in pickletools.genops(stream):
                if isinstance(value, str):
                    texts.append(value)
                if instruction.name == "GLOBAL":
                    names.add(str(value).replace(" ", "."))
                elif instruction.name == "STACK_GLOBAL" and len(texts) > 1:
                    names.add(f"{texts[-2]}.{texts[-1]}")
    except Exception:  # noqa: BLE001  # whatever damaged bytes raise
        return []
    return sorted(names)


def find_state_dict(loaded: Any, path: str) -> State:
    """The first state dict inside what a training script saved. Raises CheckpointError where there is none."""
    states = named_states(loaded, path)
    order = ("", *NESTED_KEYS)
    return min(states, key=lambda pair: order.index(top) if (top := pair[0].partition(".")[0]) in order else len(order))[1]


def named_states(loaded: Any, path: str) -> list[tuple[str, State]]:
    """Every state dict inside what a training script saved, by the keys that lead to it ("ema.state_dict"; "" for the whole file).

    Raises:
        CheckpointError: there is none.
    """
    if isinstance(loaded, nn.Module):
        raise CheckpointError(f"'{path}' holds a whole module; save its state_dict().")
    if not isinstance(loaded, Mapping):
        raise CheckpointError(f"'{path}' holds {type(loaded).__name__}, not a dictionary of tensors.")
    table = cast(Mapping[str, Any], loaded)
    result = _states_inside(table, "", 0)
    if not result:
        raise CheckpointError(
            f"'{path}' has no tensors by name; its entries are {', '.join(list(map(str, table))[:MAX_NAMES])}."
        )
    return result


def _states_inside(table: Mapping[str, Any], name: str, depth: int) -> list[tuple[str, State]]:
    tensors = {str(key): value for key, value in table.items() if isinstance(value, Tensor)}
    if tensors and len(tensors) >= len(table) / 2:
        return [(name, tensors)]
    if depth > 4:
        return []
    result: list[tuple[str, State]] = []
    spare: list[tuple[str, State]] = []
    for key, inner in table.items():
        if isinstance(inner, Mapping):
            inside = _states_inside(cast(Mapping[str, Any], inner), f"{name}.{key}" if name else str(key), depth + 1)
            (spare if str(key).lower().startswith(NO_WEIGHTS) else result).extend(inside)
    return result or spare


@dataclass(frozen=True)
class CheckpointFit:
    """How a file's tensors match a network: what is missing, what is too much, what has another shape."""

    state: State
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    reshaped: tuple[str, ...]
    stripped: str = ""

    def head_classes(self, net: nn.Module) -> int | None:
        """The number of classes of the file, if only the output layer differs and only in that; else None."""
        own = net.state_dict()
        if self.missing or self.unexpected or not self.reshaped:
            return None
        counts = {int(self.state[name].shape[0]) for name in self.reshaped if self.state[name].ndim}
        tails = all(self.state[name].shape[1:] == own[name].shape[1:] for name in self.reshaped)
        outputs = {int(own[name].shape[0]) for name in self.reshaped}
        return counts.pop() if tails and len(counts) == len(outputs) == 1 and len(self.reshaped) <= 4 else None

    def complaint(self, path: str, name: str) -> str:
        """One sentence that lists what does not fit."""
        parts = [
            f"{len(names)} {what}: {', '.join(names[:MAX_NAMES])}{', …' if len(names) > MAX_NAMES else ''}"
            for what, names in (("missing", self.missing), ("unexpected", self.unexpected), ("of another shape", self.reshaped))
            if names
        ]
        return f"The weights in '{path}' do not fit {name} ({'; '.join(parts)}); give the file of this architecture."


def fit_checkpoint(state: State, net: nn.Module) -> CheckpointFit:
    """The best match of a file's tensors to a network, over the usual prefixes that wrappers leave on names."""
    own = net.state_dict()
    best = fit_tensors(state, own, "")
    pending = [(state, "")]
    for _ in range(3):  # prefixes can be nested: module._orig_mod.
        longer: list[tuple[State, str]] = []
        for table, stripped in pending:
            for prefix in WRAPPER_PREFIXES:
                if any(name.startswith(prefix) for name in table):
                    cut = {name[len(prefix) :]: value for name, value in table.items() if name.startswith(prefix)}
                    longer.append((cut, stripped + prefix))
        for table, stripped in longer:
            match = fit_tensors(table, own, stripped)
            if len(match.missing) + len(match.reshaped) < len(best.missing) + len(best.reshaped):
                best = match
        pending = longer
    for prefix in WRAPPER_PREFIXES:  # or the network is the wrapped one
        match = fit_tensors({prefix + name: value for name, value in state.items()}, own, "")
        if len(match.missing) < len(best.missing):
            best = match
    return best


def fit_tensors(state: State, own: Mapping[str, Tensor], stripped: str) -> CheckpointFit:
    """How tensors fit a network's own, name by name; `stripped` is the prefix that was taken off."""
    filled = dict(state)
    filled |= {
        name: value for name, value in own.items() if not isinstance(value, Tensor)
    }  # extra state: the network keeps its own
    for name, value in own.items():  # files older than PyTorch 0.4.1 lack this counter, which nothing here reads
        if name.endswith("num_batches_tracked") and name not in filled:
            filled[name] = value
    missing = tuple(name for name in own if name not in filled)
    unexpected = tuple(name for name in filled if name not in own and not name.endswith(("total_ops", "total_params")))
    tensors = [name for name, value in own.items() if isinstance(value, Tensor)]
    reshaped = tuple(name for name in tensors if name in filled and filled[name].shape != own[name].shape)
    return CheckpointFit(
        {name: value for name, value in filled.items() if name in own}, missing, unexpected, reshaped, stripped
    )


def state_warnings(state: Mapping[str, Tensor]) -> list[str]:
    """Sentences about values that are not numbers, and about reduced precision."""
    notes: list[str] = []
    state = {name: value for name, value in state.items() if isinstance(value, Tensor)}  # extra state may be anything
    broken = [name for name, value in state.items() if value.is_floating_point() and not is_finite(value)]
    if broken:
        shown = ", ".join(broken[:MAX_NAMES]) + (", …" if len(broken) > MAX_NAMES else "")
        notes.append(f"{len(broken)} of {plural(len(state), 'tensor')} hold NaN or infinity: {shown}.")
    low = sorted(
        {str(value.dtype).removeprefix("torch.") for value in state.values() if value.dtype in (torch.float16, torch.bfloat16)}
    )
    if low:
        notes.append(f"The weights are stored in {' and '.join(low)}; they are used in the network's own precision.")
    return notes


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:160] if lines else type(error).__name__
