"""A specimen in one file: weights as safetensors, and in the header how to build the network they belong to.

Nothing in the file is code; `microtome.opening.saved` reads it back.
"""

import json
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor, nn

from microtome.atomic_write import atomic_write
from microtome.errors import BadOption, SpecimenError

HEADER_KEY = "microtome"
SUFFIX = ".safetensors"


def save_network(net: nn.Module, header: Mapping[str, Any], path: str | Path) -> Path:
    """Write the weights of `net` and the header, all or nothing; the path of the file comes back.

    Raises:
        BadOption: a name that does not end in .safetensors.
        SpecimenError: the header holds values that JSON cannot hold.
        WriteError: the disk is full or the folder is not writable.
    """
    path_to_write = weights_path(path)
    try:
        text = json.dumps(header, ensure_ascii=False, sort_keys=True)
    except (TypeError, ValueError) as error:
        raise SpecimenError(
            f"{header.get('name')} was built with options that are no plain values ({error}); give its factory numbers and texts."
        ) from error
    state = {name: value for name, value in net.state_dict().items() if isinstance(value, Tensor)}
    tensors = {name: value.detach().cpu().contiguous().clone() for name, value in state.items()}
    with atomic_write(path_to_write) as file:
        mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)  # save_file makes a file that only its owner can read
        try:
            save_file(tensors, file.name, metadata={"format": "pt", HEADER_KEY: text})
        except SafetensorError as error:  # how it reports a full disk
            raise OSError(str(error)) from error
        Path(file.name).chmod(mode)
    return path_to_write


def weights_path(path: str | Path) -> Path:
    """The path of a file to be written. Raises BadOption where its name does not end in .safetensors."""
    file = Path(path).expanduser()
    if file.suffix != SUFFIX:
        raise BadOption(f"'{path}' does not end in {SUFFIX}; write for example {file.with_suffix(SUFFIX)}.")
    return file
