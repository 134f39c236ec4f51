"""The dropouts of a network, found by running it: modules, functions called in forward methods, and attention dropout.

Every dropout of torch passes through a handful of functions, whatever module or forward method calls them, so those are intercepted
and nothing is told from names. The run has the training flags on (batch norms excepted), for much is dropped only then.
"""

import copy
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from microtome.specimen.layers import is_norm
from microtome.specimen.noise_images import noise_images
from microtome.specimen.outputs import first_tensor, slow_attention
from microtome.specimen.recipe import Recipe
from microtome.specimen.seeding import seed_generators

Form = Literal["module", "function", "attention"]
Key = tuple[str, int]
InputHook = Callable[[str, str, Tensor], None]  # "in" or "out", path, value
PLAIN = frozenset(("dropout", "dropout_", "dropout1d", "dropout2d", "dropout3d", "feature_dropout", "feature_dropout_",
                   "alpha_dropout", "alpha_dropout_", "feature_alpha_dropout", "feature_alpha_dropout_"))  # fmt: skip
ATTENTION = {
    "scaled_dot_product_attention": (4, None),
    "multi_head_attention_forward": (10, 13),
}  # places of dropout_p, training
POOLING_FUNCTIONS = frozenset(("mean", "adaptive_avg_pool2d", "avg_pool2d", "adaptive_avg_pool1d", "avg_pool1d"))
SIDE = 96  # px: what is dropped does not depend on the image's size


@dataclass(frozen=True)
class DropoutSite:
    """One dropout: `path` is the innermost module that runs it ("" the network itself), `nth` its place among that module's.

    `layer` names it for people: the module, or for a function in the network's own forward the module that ran before. `shape`
    is that of what is dropped, `begun` how many modules had begun by then; `always`: it drops in evaluation as well.
    """

    path: str
    nth: int
    p: float
    form: Form
    layer: str
    shape: tuple[int, ...]
    begun: int
    always: bool = False

    @property
    def key(self) -> Key:
        """What distinguishes it from the others."""
        return self.path, self.nth

    @property
    def description(self) -> str:
        """The dropout in words, with its rate."""
        where = self.layer if self.path else f"behind {self.layer}"
        how = {
            "module": self.layer,
            "function": f"dropout called as a function in {where}" if self.path else f"dropout called as a function {where}",
            "attention": f"the attention dropout of {self.layer}",
        }
        return f"{how[self.form]} (p = {self.p:g})"


@dataclass
class DropoutReport:
    """The dropouts of one network in order, and when each module began first (how many had begun before)."""

    sites: tuple[DropoutSite, ...] = ()
    begun: dict[str, int] = field(default_factory=dict[str, int])


class DropoutMode(TorchFunctionMode):
    """While it is entered, only the dropouts `on` drop; `sites` fills.

    `dropped(key, value)` is told what goes into each, `averaged(layer, value)` what goes into a mean or mean pooling, and behind which
    layer.
    """

    def __init__(
        self,
        on: Collection[Key] = (),
        dropped: Callable[[Key, Tensor], None] | None = None,
        averaged: Callable[[str, Tensor], None] | None = None,
    ) -> None:
        super().__init__()
        self.on, self.dropped, self.averaged = on, dropped, averaged
        self.sites: list[DropoutSite] = []
        self.running: list[str] = [""]
        self.counts: dict[str, int] = {}
        self.begun: dict[str, int] = {}
        self.started, self.last = 0, ""
        self.drops: set[str] = set()  # the modules that do nothing but drop

    def __torch_function__(
        self, func: Callable[..., Any], types: Sequence[type], args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        given, name = kwargs or {}, str(getattr(func, "__name__", ""))
        if name in PLAIN:
            return self._plain(func, name, args, given)
        if name in ATTENTION:
            return self._attention(func, name, args, given)
        if (
            self.averaged is not None
            and name in POOLING_FUNCTIONS
            and isinstance(x := args[0] if args else given.get("input"), Tensor)
        ):
            self.averaged(self.last, x)
        return func(*args, **given)

    def _plain(self, func: Callable[..., Any], name: str, args: tuple[Any, ...], given: dict[str, Any]) -> Any:
        x = cast(Tensor, args[0] if args else given["input"])
        p = float(args[1] if len(args) > 1 else given.get("p", 0.5))
        flag = args[2] if len(args) > 2 else given.get("training", given.get("train", True))
        if not p:
            return x
        form: Form = "module" if self.running[-1] in self.drops else "function"
        return func(x, p, True) if self._note_site(p, form, x, bool(flag)) else x

    def _attention(self, func: Callable[..., Any], name: str, args: tuple[Any, ...], given: dict[str, Any]) -> Any:
        place, flag = ATTENTION[name]
        p = float(args[place] if len(args) > place else given.get("dropout_p", 0.0))
        training = flag is None or bool(args[flag] if len(args) > flag else given.get("training", True))
        on = bool(p) and self._note_site(p, "attention", args[0] if args else given["query"], training)
        if len(args) > place:
            args = (*args[:place], p if on else 0.0, *args[place + 1 :])
        else:
            given = given | {"dropout_p": p if on else 0.0}
        return func(*args, **given)

    def _note_site(self, p: float, form: Form, x: Tensor, training: bool) -> bool:
        """Whether this dropout is on; it is written down."""
        path = self.running[-1]
        nth = self.counts[path] = self.counts.get(path, -1) + 1
        layer = path or self.last
        self.sites.append(DropoutSite(path, nth, p, form, layer, tuple(x.shape), self.started, training))
        if self.dropped is not None:
            self.dropped((path, nth), x)
        return (path, nth) in self.on


def find_dropouts(net: nn.Module, recipe: Recipe) -> DropoutReport:
    """All dropouts with a rate above 0 that run, in order; the network is untouched. Empty where it does not run by itself."""
    evaluated = _trace_dropouts(net, recipe, training=False)
    trained = _trace_dropouts(net, recipe, training=True) or evaluated
    if trained is None or evaluated is None:
        return DropoutReport()
    always = [site for site in evaluated.sites if site.always]
    sites = tuple(_in_evaluation(site, always) for site in trained.sites)
    return DropoutReport(sites, trained.begun)


def run_with_dropout(
    net: nn.Module, x: Tensor, owners: Collection[str], mode: DropoutMode, look: InputHook | None = None
) -> None:
    """Run a copy of `net` on `x` within `mode`, the modules `owners` with the training flag on, under a fixed seed.

    `look` sees the first tensor that goes into ("in") and comes out of ("out") every module.
    """
    trial = copy.deepcopy(net)
    trial.eval()
    for path, module in trial.named_modules():
        module.training = path in owners and not is_norm(module)
        if isinstance(module, nn.modules.dropout._DropoutNd):  # pyright: ignore[reportPrivateUsage]
            mode.drops.add(path)
        if path:
            module.register_forward_pre_hook(_input_hook(mode, path, look), with_kwargs=True)
            module.register_forward_hook(_output_hook(mode, path, look))
    with seed_generators(0), torch.no_grad(), slow_attention(), mode:
        trial(x)


def remove_dropout(net: nn.Module, site: DropoutSite) -> str:
    """What was done in words: `net` does not drop there any more. Empty where that is not possible from outside.

    A module becomes the identity. For a function, the one number of its module that equals p is set to 0 (timm: `drop_rate`).
    """
    owner = net.get_submodule(site.path)
    if site.form == "module":
        parent, _, name = site.path.rpartition(".")
        setattr(net.get_submodule(parent), name, nn.Identity())
        return site.path
    names = [name for name, value in vars(owner).items() if type(value) in (int, float) and value == site.p]
    if len(names) != 1:
        return ""
    setattr(owner, names[0], 0.0)
    return f"{site.path}.{names[0]}".lstrip(".")


def _trace_dropouts(net: nn.Module, recipe: Recipe, training: bool) -> DropoutMode | None:
    """One run that writes the dropouts down, on a small image if the network takes one; None where it runs on none."""
    owners = [path for path, _ in net.named_modules()] if training else []
    for side in (SIDE, None):
        mode = DropoutMode()
        try:
            run_with_dropout(net, noise_images(net, recipe, 2, seed=1, side=side), owners, mode)
        except (RuntimeError, ValueError, AssertionError, TypeError, IndexError, KeyError, AttributeError):
            continue  # some want their own size, some more than an image while they train
        return mode
    return None


def _in_evaluation(site: DropoutSite, always: list[DropoutSite]) -> DropoutSite:
    """The site as evaluation shows it."""
    hit = any(dropout.path == site.path and dropout.p == site.p and dropout.form == site.form for dropout in always)
    return DropoutSite(site.path, site.nth, site.p, site.form, site.layer, site.shape, site.begun, hit)


def _input_hook(mode: DropoutMode, path: str, look: InputHook | None) -> Any:
    def hook(_module: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any]) -> None:
        mode.begun.setdefault(path, mode.started)
        mode.started += 1
        mode.running.append(path)
        value = first_tensor(inputs[0] if inputs else next(iter(named.values()), None))
        if look is not None and value is not None:
            look("in", path, value)

    return hook


def _output_hook(mode: DropoutMode, path: str, look: InputHook | None) -> Any:
    def hook(_module: nn.Module, _inputs: Any, output: Any) -> None:
        mode.running.pop()
        mode.last = path
        value = first_tensor(output)
        if look is not None and value is not None:
            look("out", path, value)

    return hook
