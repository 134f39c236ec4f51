"""Whether a library builds a slimmed network by arguments of its own: found by trying, never by a table of names.

The blocks that are left in each stage are counted, and the counts given to the library as its depth. What comes back must have the
same tensors, once the blocks of a stage are numbered without gaps; whether it gives the same outputs is for the caller to try.
"""

import ast
import importlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from microtome._torchvision import timm, torchvision
from microtome.specimen import Specimen

LISTS = ("layers", "depths", "block_config", "stage_depths", "num_blocks")  # what libraries call the depths of several stages
NUMBERS = ("depth", "num_blocks", "num_layers")  # and of one
REFUSALS = (TypeError, ValueError, RuntimeError, KeyError, AttributeError, AssertionError, IndexError, NotImplementedError)


@dataclass(frozen=True)
class Architecture:
    """A call that builds the network: `function` by its dotted name, its first argument as code, and named arguments.

    `names` gives for each tensor of the slimmed network its name in the one that the call builds.
    """

    function: str
    first: str
    arguments: dict[str, Any]
    names: dict[str, str] = field(default_factory=dict[str, str], repr=False)

    @property
    def library(self) -> str:
        """The package to import."""
        return self.function.partition(".")[0]

    @property
    def code(self) -> str:
        """The call as Python code."""
        words = [*([self.first] if self.first else []), *(f"{name}={value!r}" for name, value in self.arguments.items())]
        return f"{self.function}({', '.join(words)})"

    def build(self) -> nn.Module:
        """The network with untrained weights, in eval mode."""
        first = [_value(self.first)] if self.first else []
        return _value(self.function)(*first, **self.arguments).eval()


def find_architecture(specimen: Specimen, blocks: Sequence[str], slimmed: nn.Module) -> Architecture | None:
    """The call that builds `slimmed`, the specimen's network without these blocks; None where no library can."""
    kept = kept_children(specimen, blocks)
    if kept is None:
        return None
    for tried in _candidates(specimen, _stage_counts(kept, blocks)):
        try:
            built = tried.build()
        except REFUSALS:  # it has no such argument, or not this value
            continue
        names = renumbered_names(slimmed, kept)
        if _shapes(slimmed, names) == _shapes(built):
            return Architecture(tried.function, tried.first, tried.arguments, names)
    return None


def kept_children(specimen: Specimen, blocks: Sequence[str]) -> dict[str, tuple[list[str], list[str]]] | None:
    """For each module that holds blocks: the names of its children, and of those that are left; None where one holds itself."""
    parents = list(dict.fromkeys(block.name.rpartition(".")[0] for block in specimen.blocks))
    if not all(parents):
        return None
    children = {parent: [name for name, _ in specimen.net.get_submodule(parent).named_children()] for parent in parents}
    return {parent: (names, [name for name in names if f"{parent}.{name}" not in blocks]) for parent, names in children.items()}


def renumbered_names(slimmed: nn.Module, kept: dict[str, tuple[list[str], list[str]]]) -> dict[str, str]:
    """For each tensor of the slimmed network its name once the children that are left have the first names, without gaps."""
    places = {
        f"{parent}.{old}.": f"{parent}.{new}."
        for parent, (names, left) in kept.items()
        for old, new in zip(left, names, strict=False)
    }
    return {name: _moved(name, places) for name in slimmed.state_dict()}


def _moved(name: str, places: dict[str, str]) -> str:
    prefix = next((prefix for prefix in places if name.startswith(prefix)), "")
    return places[prefix] + name.removeprefix(prefix) if prefix else name


def _stage_counts(kept: dict[str, tuple[list[str], list[str]]], blocks: Sequence[str]) -> list[int]:
    """How many blocks are left in each stage, of the one group of stages (names alike but for numbers) that blocks left."""
    groups: dict[str, list[str]] = {}
    for parent in kept:
        groups.setdefault(re.sub(r"\d+", "#", parent), []).append(parent)
    changed = [group for group in groups.values() if any(block.rpartition(".")[0] in group for block in blocks)]
    return [len(kept[parent][1]) for parent in changed[0]] if len(changed) == 1 else []


def _candidates(specimen: Specimen, counts: list[int]) -> Iterator[Architecture]:
    built = specimen.maker.json() if specimen.maker is not None else {}
    library, _, name = str(built.get("what", "")).partition(":")
    options = dict(built.get("options", {}))
    if not counts or built.get("edits") or not _is_plain(options):
        return
    if library == "timm" and not name.startswith(("hf-hub", "hf_hub", "local-dir")):
        options.pop("pretrained", None)
        wanted = [(each, counts) for each in LISTS] + [(each, counts[0]) for each in NUMBERS if len(counts) == 1]
        for argument, value in wanted:
            yield Architecture("timm.create_model", repr(name), {"pretrained": False, **options, argument: value})
    if library == "torchvision":
        yield from _torchvision_classes(specimen.net, counts)


def _torchvision_classes(net: Any, counts: list[int]) -> Iterator[Architecture]:
    """The constructors of classes whose builders fix the depth."""
    kind = f"{type(net).__module__}.{type(net).__qualname__}"
    if kind == "torchvision.models.resnet.ResNet":
        block = f"torchvision.models.resnet.{type(net.layer1[0]).__qualname__}"
        arguments = {
            "layers": counts,
            "num_classes": net.fc.out_features,
            "groups": net.groups,
            "width_per_group": net.base_width,
        }
        yield Architecture(kind, block, arguments)
    if kind == "torchvision.models.vision_transformer.VisionTransformer":
        heads = next(iter(net.encoder.layers)).num_heads
        sizes = {name: getattr(net, name) for name in ("image_size", "patch_size", "hidden_dim", "mlp_dim", "num_classes")}
        yield Architecture(kind, "", {**sizes, "num_heads": heads, "num_layers": counts[0]})


def _is_plain(options: dict[str, Any]) -> bool:
    """Whether Python reads these options back from how it writes them."""
    try:
        return ast.literal_eval(repr(options)) == options
    except (ValueError, SyntaxError):
        return False


def _shapes(net: nn.Module, names: dict[str, str] | None = None) -> dict[str, tuple[int, ...]]:
    state = {name: value for name, value in net.state_dict().items() if isinstance(value, Tensor)}
    renamed = names if names is not None else {}
    return {renamed.get(name, name): tuple(value.shape) for name, value in state.items()}


def _value(word: str) -> Any:
    """What a dotted name, or a text in quotes, stands for."""
    if word.startswith(("'", '"')):
        return ast.literal_eval(word)
    timm() if word.startswith("timm.") else torchvision()
    module, _, name = word.rpartition(".")
    return getattr(importlib.import_module(module), name)
