"""Where a network turns its last map into a vector, and the layer that reads it: found in the trace, and checked by values.

Two forms are known. *Pooled*: a module makes one position of the map, and a fully connected layer (or a 1 x 1 convolution) reads it.
*Flat*: a fully connected layer, or a convolution of the map's size, reads every position. Nothing may change values on the way but
dropout, so the layer can be given another reading of the same map.
"""

from dataclasses import dataclass
from typing import cast
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from microtome.networks.pooling import MapSize
from microtome.specimen import Specimen
from microtome.specimen.copying import copy_network
from microtome.specimen.layers import is_weight, kind_of
from microtome.specimen.tracing import Call, example_input


@dataclass(frozen=True)
class HeadSite:
    """`module` gives the pooled map, or where nothing pools (`pooled` false) the map itself; `reader` is the layer that reads it.

    `size` is that of the map, `averages` whether the pooling is the mean over places, `flat_output` whether the vector has no axes for
    rows and columns.
    """

    module: str
    reader: str
    size: MapSize
    pooled: bool
    averages: bool
    flat_output: bool

    def place_weights(self, reader: nn.Module) -> Tensor:
        """The weights of the reader for every position of the map (output, unit, row, col): of a mean, a fraction for each."""
        weight = cast(Tensor, reader.weight).detach()
        if self.pooled:
            return weight.reshape(len(weight), -1, 1, 1).expand(-1, -1, *self.size[1:]) / self.size.places
        return weight.reshape(len(weight), *self.size)


NO_PLACE = (
    "no module pools its last map to one position for a layer that follows, and no layer reads all positions of it; where a forward "
    "method pools by a function, or pools class scores, no other head can take its place"
)
_known: WeakKeyDictionary[Specimen, HeadSite | str] = WeakKeyDictionary()  # so that no network is copied and run twice


def last_pooling(specimen: Specimen) -> Call | None:
    """The last call that makes one position of a map without weights, before the head; the outermost module of those."""
    trace = specimen.anatomy.trace
    calls = [call for call in trace.calls if kind_of(call.module) == "pool" and _gives_one_place(call) and call.index == 0]
    last = trace.by_path().get(specimen.head or "", [])
    calls = [call for call in calls if not last or call.begun < last[0].begun]
    if not calls:
        return None
    deepest = calls[-1]
    around = [call for call in calls if deepest.path == call.path or deepest.path.startswith(f"{call.path}.")]
    return min(around, key=lambda call: len(call.path))


def find_head_site(specimen: Specimen) -> HeadSite | str:
    """Where the specimen's last map becomes a vector that a layer reads, or why no such place is known, as the end of a sentence."""
    if specimen not in _known:
        _known[specimen] = _site_in(specimen)
    return _known[specimen]


def _site_in(specimen: Specimen) -> HeadSite | str:
    if specimen.outputs is None:
        return "it gives maps, not one score for each class, so nothing pools them for a head"
    weights = [call for call in specimen.anatomy.trace.calls if is_weight(call.module)]
    pool = last_pooling(specimen)
    if pool is None or isinstance(pool.module, nn.MaxPool2d):  # a window that happens to span a small map
        return _flat_site(specimen, weights)
    reader = next((call for call in sorted(weights, key=lambda call: call.begun) if call.begun > pool.begun), None)
    if reader is None:
        return NO_PLACE
    size = MapSize(*pool.inputs[0][1:])
    if not _reads(reader.module, size.units):
        return f"{reader.path}, which follows its pooling {pool.path}, is no layer that reads {size.units} units"
    site = HeadSite(pool.path, reader.path, size, True, _averages(pool.module, size), len(pool.outputs[0]) == 2)
    if _hands_on(specimen, site):
        return site
    return f"what its pooling {pool.path} gives is changed (a norm, an activation, a sum) before {reader.path} reads it"


def _flat_site(specimen: Specimen, weights: list[Call]) -> HeadSite | str:
    """The first layer that reads every position of a map at once."""
    trace = specimen.anatomy.trace
    maps = [call for call in trace.calls if len(call.outputs) == 1 and len(call.outputs[0]) == 4 and call.index == 0]
    for reader in sorted(weights, key=lambda call: call.begun):
        given = reader.inputs[0] if reader.inputs else ()
        if isinstance(reader.module, nn.Linear) and len(given) == 2:
            before = [call for call in maps if call.order < reader.order and _count(call) == given[1]]
        elif _spans_map(reader):
            before = [call for call in maps if call.gives[0] in reader.reads]
        else:
            continue
        if before:
            mark = before[-1].gives[0]
            inner = next(call for call in before if call.gives[0] == mark)
            site = HeadSite(inner.path, reader.path, MapSize(*inner.outputs[0][1:]), False, False, False)
            if _hands_on(specimen, site):
                return site
    return NO_PLACE


def _gives_one_place(call: Call) -> bool:
    if not call.inputs or len(call.outputs) != 1 or len(call.inputs[0]) != 4:
        return False
    given, places = call.outputs[0], call.inputs[0][2] * call.inputs[0][3]
    return places > 1 and given[:2] == call.inputs[0][:2] and all(side == 1 for side in given[2:])


def _reads(module: nn.Module, units: int) -> bool:
    if isinstance(module, nn.Linear):
        return module.in_features == units
    return isinstance(module, nn.Conv2d) and module.kernel_size == (1, 1) and (module.in_channels, module.groups) == (units, 1)


def _spans_map(call: Call) -> bool:
    """Whether a convolution reads all of its map at once: its kernel is as large, with no padding and no groups."""
    conv = call.module
    return (
        isinstance(conv, nn.Conv2d)
        and len(call.inputs[0]) == 4
        and tuple(conv.kernel_size) == call.inputs[0][2:]
        and conv.kernel_size != (1, 1)
        and call.outputs[0][2:] == (1, 1)
        and conv.groups == 1
        and conv.padding in (0, (0, 0), "valid")
    )


def _count(call: Call) -> int:
    return MapSize(*call.outputs[0][1:]).places * call.outputs[0][1] if call.outputs[0][2:] != (1, 1) else -1


def _averages(pool: nn.Module, size: MapSize) -> bool:
    """Whether a pooling gives the mean over places, tried on noise."""
    x = torch.randn(2, *size, generator=torch.Generator().manual_seed(0))
    like = next(pool.parameters(), None)
    with torch.no_grad():
        value = pool(x if like is None else x.to(like.device, like.dtype))
    return bool(torch.allclose(value.reshape(2, -1).float().cpu(), x.mean((2, 3)), atol=1e-5))


def _hands_on(specimen: Specimen, site: HeadSite) -> bool:
    """Whether the site's reader gets exactly what its module gives, seen in a run of a copy."""
    net = copy_network(specimen.net).eval()
    values: dict[str, Tensor] = {}

    def keep_output(_module: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> None:
        values.setdefault("given", output.detach().flatten(1))

    def keep_input(_module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        values.setdefault("read", inputs[0].detach().flatten(1))

    net.get_submodule(site.module).register_forward_hook(keep_output)
    net.get_submodule(site.reader).register_forward_pre_hook(keep_input)
    with torch.no_grad():
        net(example_input(net, specimen.recipe))
    given, read = values["given"], values["read"]
    return given.shape == read.shape and torch.equal(given.nan_to_num(), read.nan_to_num())
