"""The recipes of the shipped networks: everything that decides what a trained network becomes, one frozen row per network."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from microtome import networks
from microtome.errors import UnknownName, did_you_mean


@dataclass(frozen=True, kw_only=True)
class ZooRecipe:
    """One training run: the same recipe on the same machine with the same thread count gives the same weights."""

    network: str  # one of networks.SHIPPED
    epochs: int
    lr: float = 3e-3  # highest learning rate of the one cycle
    warmup: float = 0.15  # fraction of all steps on which the learning rate rises
    batch: int = 64
    halved: float = 0.5  # fraction of all steps, from the first, seen at half the side: a quarter of the work
    weight_decay: float = 0.05  # not on norms and biases
    smoothing: float = 0.05  # fraction of each label spread over all classes
    count: int = 40_000  # scenes to learn from
    seed: int = 0  # first weights, order and augmentation
    muon: float | None = None  # highest rate of Muon on the matrices of the blocks; AdamW keeps all the rest
    radius: float | None = None  # largest RMS of a convolution's filter after each update; what is usual depends on the inputs
    edits: tuple[str, ...] = ()  # edits made before training, as for `microtome edit`
    decorrelated: bool = False  # a transformer's patches enter decorrelated, its positions start as waves, as under a teacher
    teacher: str | None = None  # a network of ours whose probabilities and last maps are part of the target
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])  # of the network's factory
    precision: Literal["32-true", "bf16-mixed"] = "bf16-mixed"
    channels_last: bool = True  # memory order: faster for convolutions, slower for plain vision transformers

    @property
    def segments(self) -> bool:
        """Whether the network learns a class for every pixel."""
        return self.network in networks.SEGMENTING

    def json(self) -> dict[str, Any]:
        """All fields as plain values; those of `_LATER_RECIPES` only where set, so that older runs and cards stay what they were."""
        options = {name: list(value) if isinstance(value, tuple) else value for name, value in self.options.items()}
        fields = asdict(self) | {"edits": list(self.edits), "options": options}
        return {
            name: value for name, value in fields.items() if name not in _LATER_RECIPES or value not in (None, [], {}, False)
        }


_LATER_RECIPES = ("radius", "edits", "decorrelated", "options")

RECIPES: dict[str, ZooRecipe] = {
    recipe.network: recipe
    for recipe in (
        ZooRecipe(network="mini_vgg", epochs=3),
        ZooRecipe(network="mini_resnet", epochs=3),
        ZooRecipe(network="mini_densenet", epochs=3),
        ZooRecipe(network="mini_inception", epochs=3),
        ZooRecipe(network="mini_hrnet", epochs=3),
        ZooRecipe(network="mini_seresnet", epochs=3),
        ZooRecipe(
            network="mini_deit",
            epochs=5,
            lr=2e-3,
            warmup=0.02,
            halved=0.0,
            muon=5e-3,
            teacher="mini_vgg",
            channels_last=False,
        ),
        ZooRecipe(network="mini_deeplab", epochs=4, halved=0.0),  # on half the side its rates would reach beyond the border
    )
}


def zoo_recipe(network: str) -> ZooRecipe:
    """The recipe that the shipped weights of `network` were made by.

    Raises: UnknownName.
    """
    if network not in RECIPES:
        raise UnknownName(f"There is no recipe for '{network}'.{did_you_mean(network, RECIPES)}")
    return RECIPES[network]
