"""What a kind of map is: a class that turns the values of one layer into signed maps, and says where it does not apply.

A kind may map the pixels instead (`PixelKind`): its one layer is called `input`.

A new kind is one file under `kinds/` with one final class. The stem of the file is the kind's name (`gradcam_plus_plus.py` is
gradcam++); a package adds one with an entry point in the group `microtome.map_kinds`.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from microtome.instruments.attribution.pixel_targets import PixelTargets
from microtome.instruments.attribution.reruns import Reruns
from microtome.map_kinds import map_kind_entry
from microtome.numerics.receptive.geometry import Where
from microtome.specimen import Layer, Specimen
from microtome.specimen.value_digest import digest_of

MapNeeds = Literal["gradient", "head", "activation", "passes"]


@dataclass(frozen=True, eq=False)
class LayerValues:
    """What a kind may ask about one layer for a batch; maps are (image, unit, row, col), lists hold one entry for each target.

    `gradients` are those of the targets by the activation (needs "gradient"), `head_weights` (image, unit) those by what goes into
    the head (needs "head"), `reruns` gives the targets again with changed values or images (needs "passes").

    Of a kind of the pixels `layer` stands for the pixels, `activation` are the normalised images (image, rgb, row, col), and `pixels` gives
    the targets and their gradients again for changed images (needs "passes").
    """

    layer: Layer
    activation: Tensor
    targets: int
    gradients: Sequence[Tensor] = ()
    head_weights: Sequence[Tensor] = ()
    reruns: Reruns | None = None
    where: Where | None = None
    pixels: PixelTargets | None = None


class MapKind(ABC):
    """A kind of class activation map. Subclasses are final, have no options, and never change what they are given."""

    title: ClassVar[str]  # as the literature writes it
    needs: ClassVar[MapNeeds] = "gradient"
    complete: ClassVar[bool] = False  # True where the sum of the map is the sum of activation times gradient
    depends_on_class: ClassVar[bool] = True
    gaussian: ClassVar[bool] = False  # True where positions are drawn as Gaussians of the layer's receptive field
    for_embeddings: ClassVar[bool] = True  # False where the target has to be a class score
    on_input: ClassVar[bool] = False  # True where the map is of the pixels, not of a layer
    signed: ClassVar[bool] = True  # False where the map shows how much a position matters, not for or against what
    copies: ClassVar[int] = 1  # changed images that run for one image, about
    package: ClassVar[str] = ""  # what has to be installed for it, beside microtome itself

    @abstractmethod
    def maps(self, values: LayerValues) -> list[Tensor]:
        """One signed map (image, row, col) for each target: evidence for it is positive, against it negative."""

    def refusals(self, specimen: Specimen, names: Sequence[str], x: Tensor) -> dict[str, str]:
        """Layer -> why this kind does not apply to it, as a clause, for those of `names` where it does not."""
        return {}

    def remark(self, values: LayerValues) -> str:
        """What to know about the maps of this layer, as a sentence; empty where there is nothing."""
        return ""

    def gaps(self, values: LayerValues, maps: Sequence[Tensor]) -> Tensor | None:
        """By how much maps that should sum to the target's difference from a baseline miss it, as a fraction of it (target, image)."""
        return None


class GradientKind(MapKind):
    """A kind whose map follows from the activation and its gradient alone."""

    @abstractmethod
    def signed_map(self, activation: Tensor, gradient: Tensor) -> Tensor:
        """The map (image, row, col) of activation and gradient (image, unit, row, col)."""

    def maps(self, values: LayerValues) -> list[Tensor]:
        return [self.signed_map(values.activation, gradient) for gradient in values.gradients]


class PixelKind(MapKind):
    """A kind whose map is of the pixels. `needs` is "gradient" (that of the pixels) or "passes" (targets of changed images)."""

    needs: ClassVar[MapNeeds] = "passes"
    on_input: ClassVar[bool] = True


def map_kind(name: str) -> MapKind:
    """The kind of map of that name. Raises UnknownName where there is none."""
    kind = map_kind_entry(name).load()()
    assert isinstance(kind, MapKind)  # the file names MapKind as a base
    return kind


def kind_digest(name: str) -> str:
    """A digest of the code of a kind of another package; empty for our own, whose code has the revision of its analysis."""
    kind = map_kind(name)
    return "" if type(kind).__module__.startswith("microtome.") else digest_of([type(kind)])


def kind_caveats(title: str, *, depends_on_class: bool, signed: bool) -> list[str]:
    """What to know about maps of a kind on which the class has no influence, or that are not for or against anything."""
    caveats: list[str] = []
    if not depends_on_class:
        caveats.append(f"{title} does not depend on the class: its maps show what dominates a layer, not evidence for a class.")
    if not signed:
        caveats.append(f"{title} has no sign: its maps show which pixels matter, not whether they speak for the class.")
    return caveats


def complete_map(activation: Tensor, gradient: Tensor) -> Tensor:
    """Activation times gradient (image, unit, row, col), summed over units: a map whose sum is that of all products."""
    return (activation * gradient).sum(1)


def weighted_sum(activation: Tensor, weights: Tensor) -> Tensor:
    """The sum of the maps (image, unit, row, col), each multiplied by its weight (image, unit)."""
    return torch.einsum("iurc,iu->irc", activation, weights)
