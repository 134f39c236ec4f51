"""Watched names that refer to the same tensor, such as the output of a block and the input of the next one."""

from collections.abc import Sequence

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
