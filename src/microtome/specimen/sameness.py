"""Watched names that refer to the same tensor, such as the output of a block and the input of the next one.

The one place that decides it: analyses that measure each tensor once ask here.
"""

from collections.abc import Collection, Sequence

from microtome.specimen.anatomy import OpenedNetwork
from microtome.specimen.tracing import Mark


def same_values(specimen: OpenedNetwork, names: Sequence[str]) -> dict[str, str]:
    """Each of the layer names ("<name": the layer's input) -> the first of them that stands for the same tensor, or itself.

    The same object, at the same version: what an in-place operation changed in between counts as another tensor.
    """
    calls = {(call.path, call.index): call for call in specimen.anatomy.trace.calls}
    first: dict[Mark, str] = {}
    origins: dict[str, str] = {}
    for name in names:
        layer = specimen.layer(name.removeprefix("<"))
        call = calls[layer.path, layer.call or 0]
        inward, branch = name.startswith("<"), layer.branch or 0
        marks = call.reads if inward else call.gives
        known = branch < len(marks) and not (inward and branch)  # which input belongs to a later branch is not told here
        origins[name] = first.setdefault(marks[branch], name) if known else name
    return origins


def distinct_layers(specimen: OpenedNetwork, names: Sequence[str], named: Collection[str] = ()) -> list[str]:
    """`names`, in execution order, without repetitions: of layers that give the same tensor the outermost stays, and all of `named`."""
    first = same_values(specimen, names)
    outermost = {first[name]: name for name in names}
    return [name for name in names if name in named or outermost[first[name]] == name]
