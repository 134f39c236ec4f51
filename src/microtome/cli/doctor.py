"""The report of `microtome doctor`: versions, devices, plug-ins and weights, with the problems marked."""

import importlib.metadata
import os
import platform
import shutil
import warnings
from collections.abc import Iterator

from microtome import catalog, plugins
from microtome.errors import MicrotomeError

EXTRAS = {
    "lightning-fabric": ("train", "microtome train"),
    "captum": ("captum", "the kinds of map kernelshap and lime"),
    "torch-pruning": ("prune", "the edit prune_channels"),
}


def diagnosis_lines() -> Iterator[str]:
    """One line per check; lines that begin with '!' name a problem and its remedy."""
    from microtome._version import __version__

    yield f"microtome {__version__}, Python {platform.python_version()}, {platform.platform()}"
    import torch

    yield f"torch {torch.__version__}, {torch.get_num_threads()} threads on {os.cpu_count()} cores"
    yield from _device_lines()
    yield from _model_lines()
    for name, (extra, use) in EXTRAS.items():
        version = _installed_version(name)
        yield f"{name} {version} ({use})" if version else f"! {name} is not installed ({use}): pip install 'microtome[{extra}]'"
    unusable = catalog.unusable_plugins()
    yield from (f"! {plugin.text}" for plugin in unusable)
    for name in set(catalog.plugin_names()) - {plugin.name for plugin in unusable}:
        yield f"plug-in {name}: from {plugins.package_named(name)}"
    free = shutil.disk_usage(".").free / 1e9
    yield f"{'! only ' if free < 1 else ''}{free:.1f} GB free on this disk"
    from microtome import networks

    for name in networks.SHIPPED:
        try:
            networks.weights_file(name)
        except MicrotomeError as error:
            yield f"! microtome:{name}: {error}"
        else:
            yield f"microtome:{name}: weights found"


def _device_lines() -> Iterator[str]:
    import torch

    yield "device cpu: yes"
    if torch.cuda.is_available():
        yield f"device cuda: {torch.cuda.get_device_name(0)}"
    else:
        yield "device cuda: no (this torch build or machine has none)"
    yield f"device mps: {'yes' if torch.backends.mps.is_available() else 'no'}"


def _model_lines() -> Iterator[str]:
    from microtome import _torchvision

    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        vision, models = _torchvision.torchvision(), _torchvision.timm()
    broken = any("operators" in str(warning.message) for warning in heard)
    yield f"timm {models.__version__}: {len(models.list_models())} architectures"
    yield f"{'! ' if broken else ''}torchvision {vision.__version__}" + (
        ": its compiled operators do not match this torch; classification works, detection models do not" if broken else ""
    )
    home = os.environ.get("HF_HOME", os.path.expanduser("~/.cache/huggingface"))
    yield f"timm downloads pretrained weights to {home}; microtome makes no other connection"


def _installed_version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
