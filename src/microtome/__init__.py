"""microtome measures vision networks layer by layer on your images: which to choose, what they respond to, where to cut them.

The public surface, imported lazily: `import microtome` costs nothing until a network is opened.
"""

import importlib
from typing import TYPE_CHECKING, Any

from microtome._version import __version__ as __version__

if TYPE_CHECKING:
    from microtome import analyses as analyses
    from microtome import edits as edits
    from microtome import networks as networks
    from microtome import numerics as numerics
    from microtome.errors import MicrotomeError as MicrotomeError
    from microtome.export import slim as slim
    from microtome.finding import Finding as Finding
    from microtome.images import Images as Images
    from microtome.instruments.weight_decay import param_groups as param_groups
    from microtome.opening.opening import open as open
    from microtome.replicate.running import replicate_claim as replicate_claim
    from microtome.runner import analyze as analyze
    from microtome.scan import Pace as Pace
    from microtome.specimen import Recipe as Recipe
    from microtome.specimen import Specimen as Specimen
    from microtome.training.experiment.run import run_experiment as run_experiment
    from microtome.training.recording import record as record
    from microtome.training.train import train as train


_HOMES = {
    "open": "microtome.opening.opening",
    "Specimen": "microtome.specimen",
    "Recipe": "microtome.specimen",
    "Images": "microtome.images",
    "Finding": "microtome.finding",
    "Pace": "microtome.scan",
    "MicrotomeError": "microtome.errors",
    "analyze": "microtome.runner",
    "slim": "microtome.export",
    "train": "microtome.training.train",
    "record": "microtome.training.recording",
    "param_groups": "microtome.instruments.weight_decay",
    "replicate_claim": "microtome.replicate.running",
    "run_experiment": "microtome.training.experiment.run",
}
_SUBPACKAGES = ("analyses", "edits", "networks", "numerics")
__all__ = [
    "Finding",
    "Images",
    "MicrotomeError",
    "Pace",
    "Recipe",
    "Specimen",
    "analyses",
    "analyze",
    "edits",
    "networks",
    "numerics",
    "open",
    "param_groups",
    "record",
    "replicate_claim",
    "run_experiment",
    "slim",
    "train",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    if name in _SUBPACKAGES:
        return importlib.import_module(f"microtome.{name}")
    raise AttributeError(f"module 'microtome' has no attribute '{name}'; it has {', '.join(__all__)}")


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
