"""The edits, one file each; a file's stem is its name everywhere. `microtome.edits.squeeze_excitation` imports only that one."""

import importlib
import pkgutil
from typing import Any


def __getattr__(name: str) -> Any:
    if not name.startswith("_") and name in __dir__():
        return importlib.import_module(f"{__name__}.{name}")
    from microtome.errors import did_you_mean

    raise AttributeError(f"There is no edit '{name}'.{did_you_mean(name, __dir__())}")


def __dir__() -> list[str]:
    return sorted(module.name for module in pkgutil.iter_modules(__path__))
