"""Weights that lie in several files: an index names, for each tensor, the file that holds it (Hugging Face's format).

`model.safetensors.index.json` and `pytorch_model.bin.index.json`, given as the index itself or as the folder that it lies in.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

from microtome.errors import CheckpointError

ENDING = ".index.json"
# What a folder of one network holds, in the order in which it is looked for: whole files before parts, safe ones first.
NAMES = (
    "model.safetensors",
    "model.safetensors.index.json",
    "diffusion_pytorch_model.safetensors",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)


def weights_in_folder(folder: Path) -> Path | None:
    """The weights file, or index of shards, of a local Hugging Face folder; None where it has none."""
    return next((folder / name for name in NAMES if (folder / name).is_file()), None)


def index_file(path: Path) -> Path | None:
    """The index of shards that a path means, or None."""
    if path.name.endswith(ENDING):
        return path if path.is_file() else None
    if path.is_dir():
        result = weights_in_folder(path)
        return result if result is not None and result.name.endswith(ENDING) else None
    return None


def read_shards(index: Path, read: Callable[[Path], Any]) -> dict[str, Any]:
    """The tensors of all shards that an index names.

    Raises:
        CheckpointError: the index is damaged, a shard is missing, lies outside the folder, or lacks a tensor.
    """
    try:
        table = cast(Mapping[str, str], json.loads(index.read_text(encoding="utf-8"))["weight_map"])
        wanted = {str(name): str(file) for name, file in table.items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(
            f"The index of shards '{index}' is damaged ({type(error).__name__}: {error}); download it again."
        ) from error
    result: dict[str, Any] = {}
    for file in dict.fromkeys(wanted.values()):
        shard = index.parent / file
        if Path(file).name != file:
            raise CheckpointError(f"The index of shards '{index}' names '{file}', which does not lie beside it.")
        if not shard.is_file():
            missing = sum(each == file for each in wanted.values())
            raise CheckpointError(
                f"'{file}', which holds {missing} of the {len(wanted)} tensors of '{index}', is missing; download it into the same folder."
            )
        tensors = read(shard)
        absent = [name for name, each in wanted.items() if each == file and name not in tensors]
        if absent:
            raise CheckpointError(f"'{shard}' lacks '{absent[0]}', which '{index.name}' says is in it; download it again.")
        result |= {name: tensors[name] for name, each in wanted.items() if each == file}
    return result
